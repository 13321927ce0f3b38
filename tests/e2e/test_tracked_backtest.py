"""A backtest in a real SQLite store: one run each, with the numbers, the tags and the report of its document."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import judged
import pytest
from mlflow import MlflowClient
from mlflow.entities import Run

from churn_clv import config, tracking
from churn_clv.metrics import METRIC_KEYS
from churn_clv.tracking._metrics import OF_RUNGS, backtest_metrics, training_metrics
from churn_clv.tracking.store import connect

CUTOFFS = ["2017-11-06", "2017-11-20", "2017-12-04"]
EXPERIMENT = "churn-clv-grocer-h28"
REPORT = {"backtest.html": "<p>a page</p>", "backtest.json": "{}", "pictures/ladder.png": "a picture"}


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> config.Config:
    """Settings with a store of their own."""
    out = tmp_path_factory.mktemp("store") / "out"
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        found = config.from_dict({"dataset": "grocer", "out": str(out), "tracking": {"uri": None}})
        tracking.prepare(found)
    return found


@pytest.fixture(autouse=True)
def only_the_given_store(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)


def logged(toy: config.Config, document: dict[str, Any], folder: Path) -> Run:
    """The run of a backtest whose report is REPORT."""
    for name, text in REPORT.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return connect(toy).get_run(tracking.log_backtest(toy, document, folder))


def runs(toy: config.Config) -> list[str]:
    client = connect(toy)
    return [run.info.run_id for run in client.search_runs([client.get_experiment_by_name(EXPERIMENT).experiment_id])]


def test_a_backtest_is_a_run_with_the_numbers_of_its_document(toy: config.Config, tmp_path: Path) -> None:
    document = judged.document(cutoffs=CUTOFFS, final=True, grade={"letter": "B", "why": "Grade B: so.", "rules": []})
    run = logged(toy, document, tmp_path)
    assert run.info.status == "FINISHED"
    assert run.info.run_name == f"backtest 2017-12-04 {toy.recipe_hash[:4]}"  # the newest cutoff names it
    ladder = {row["rung"]: row for row in document["ladder"]}
    champion = ladder.pop("champion")
    own = {key: value for key, value in champion["mean"].items() if key in METRIC_KEYS}
    expected = own | {f"worst/{key}": champion["worst"][key] for key in METRIC_KEYS}
    expected |= {f"only_backtest/{key}": champion["mean"][key] for key in ("churn_empc", "spend_rmse_winsorised")}
    expected |= {"churn_ece_above_floor": own["churn_ece"] - own["churn_ece_floor"], "test_cutoffs": 3}
    expected |= {"label_return_rate": document["label_return_rate"], "grade_points": 3}
    for name, row in ladder.items():
        expected |= {f"vs_{name}/{key}": row["mean"][key] for key in OF_RUNGS}
    assert run.data.metrics == pytest.approx({key: value for key, value in expected.items() if value is not None})
    assert {"churn_auroc", "worst/spend_total_ratio", "vs_btyd/spend_gini", "vs_logistic/churn_ece"} <= {
        *run.data.metrics
    }
    # a ranking has no probabilities, the logistic regression no money: such a metric is left out, not nought
    assert not {"vs_recency_rule/churn_log_loss", "vs_logistic/spend_gini"} & {*run.data.metrics}
    assert run.data.params["timeline.horizon_days"] == "28"
    assert "Grade B: so." in run.data.tags["mlflow.note.content"]


def test_the_sales_forecast_is_among_its_numbers() -> None:
    plain = {m.key: m.value for m in backtest_metrics(judged.document(forecast=None))}
    found = {m.key: m.value for m in backtest_metrics(judged.document(forecast=judged.forecast()))}
    assert {key.removeprefix("only_backtest/forecast_"): found[key] for key in found.keys() - plain.keys()} == {
        "known_expected": 123_457.0, "new_expected": 7_919.0, "total_expected": 131_376.0, "total_low": 117_223.0,
        "total_high": 145_513.0, "last_horizon": 128_461.0, "mape": 0.0417, "naive_mape": 0.0523, "inside_band": 3,
        "banded_origins": 4,
    }  # fmt: skip


def test_its_tags_say_what_was_judged_and_by_what(toy: config.Config, tmp_path: Path) -> None:
    tags = logged(toy, judged.document(cutoffs=CUTOFFS, final=False), tmp_path).data.tags
    own = {"kind": "backtest", "dataset": "grocer", "recipe_hash": toy.recipe_hash, "final": "False",
           "cutoffs": "2017-11-06, 2017-11-20, 2017-12-04", "horizon_days": "28", "grade": "unknown",
           "test_cutoff": "2017-12-04", "code_hash": tracking.made()["code_hash"],
           "mlflow.source.name": "churn-clv backtest", "mlflow.source.type": "LOCAL"}  # fmt: skip
    assert {key: tags.get(key) for key in own} == own
    assert "mlflow.user" not in tags
    assert logged(toy, judged.document(cutoffs=CUTOFFS, final=True), tmp_path).data.tags["final"] == "True"


def test_its_report_is_kept_whole(toy: config.Config, tmp_path: Path) -> None:
    run = logged(toy, judged.document(cutoffs=CUTOFFS), tmp_path)
    kept = Path(run.info.artifact_uri.removeprefix("file://"))
    files = {str(p.relative_to(kept)): p.read_text() for p in kept.rglob("*") if p.is_file()}
    assert {name: files[name] for name in REPORT} == REPORT
    assert files.keys() - REPORT.keys() == {"config.yaml", "ladder.json", "grade.json", "strata.json"}
    assert config.from_dict(config.yaml.safe_load(files["config.yaml"])) == toy


def test_without_money_no_spend_is_recorded(toy: config.Config, tmp_path: Path) -> None:
    found = logged(toy, judged.without_spend() | {"cutoffs": CUTOFFS}, tmp_path).data.metrics
    assert found["churn_auroc"] and found["worst/churn_auroc"]
    assert [key for key in found if "spend_" in key] == []


def test_a_training_and_a_backtest_have_the_same_keys(toy: config.Config, tmp_path: Path) -> None:
    """All but what a training cannot know (only_backtest/...): MLflow's page then compares the two."""
    graded = {"letter": "B", "why": "Grade B.", "rules": []}
    document = judged.document(cutoffs=CUTOFFS, grade=graded)
    found = {m.key for m in backtest_metrics(document)}
    ladder = [{"rung": row["rung"], "metrics": row["mean"]} for row in document["ladder"]]
    other = {m.key for m in training_metrics({"grade": graded, "data": {"label_return_rate": 0.3}}, ladder)}
    assert found ^ other == {"only_backtest/churn_empc", "only_backtest/spend_rmse_winsorised"}
    lowered = [key.casefold() for key in found]
    assert len(set(lowered)) == len(lowered)
    assert not {key for key in found for longer in found if longer.startswith(f"{key}/")}  # a file and a folder at once


def test_the_same_backtest_again_makes_a_run_of_its_own(toy: config.Config, tmp_path: Path) -> None:
    before, document = runs(toy), judged.document(cutoffs=CUTOFFS)
    first, second = (logged(toy, document, tmp_path) for _ in range(2))
    assert first.info.run_id != second.info.run_id and first.info.artifact_uri != second.info.artifact_uri
    assert {*runs(toy)} - {*before} == {first.info.run_id, second.info.run_id}
    assert first.data.metrics == second.data.metrics


def test_one_that_breaks_off_is_marked_failed(
    toy: config.Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def breaks(*_: Any) -> None:
        raise OSError("No space left on device")

    before = runs(toy)
    monkeypatch.setattr(MlflowClient, "log_artifacts", breaks)
    with pytest.raises(OSError, match="No space left"):
        tracking.log_backtest(toy, judged.document(cutoffs=CUTOFFS), tmp_path)
    [failed] = {*runs(toy)} - {*before}
    assert connect(toy).get_run(failed).info.status == "FAILED"


def test_a_second_config_in_one_process_has_its_own_store(toy: config.Config, tmp_path: Path) -> None:
    """MLflow keeps the last store in the environment, which would win over the next config's own."""
    connect(toy)
    other = config.from_dict({"dataset": "grocer", "out": str(tmp_path / "other")})
    assert not {"MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI"} & set(os.environ)
    tracking.prepare(other)
    assert (tmp_path / "other" / "mlflow.db").exists() and runs(other) == []
