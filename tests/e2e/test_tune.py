"""`churn-clv tune` as a user runs it, and what MLflow holds of it afterwards."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import sim
import yaml
from mlflow import MlflowClient
from typer.testing import CliRunner

from churn_clv import cli, config, events, tracking, training
from churn_clv.tracking import Told
from churn_clv.tracking.store import connect

SPACE = {
    "trial": {"rows": 1000, "rounds": 8},
    "step": [1, 2],
    "churn": {"num_leaves": {"low": 2, "high": 15}, "families": ["monetary", "tenure"]},
    "spend": {"num_leaves": {"low": 2, "high": 15}},
}


@pytest.fixture(autouse=True)
def only_the_given_store(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)


def document(**changes: Any) -> dict[str, Any]:
    found = {
        "dataset": "shop", "fingerprint": "abc", "verdict": "churn: tuning paid", "step_days": 14, "notes": ["short"],
        "n_complete": 2, "n_pruned": 1, "search_cutoffs": ["2024-01-01"], "judged_cutoffs": ["2024-03-01"],
        "best": {"churn": {"value": 0.5, "default_value": 0.6, "params": {"num_leaves": 3, "families": None}}},
        "tuned_minus_default": {"churn_log_loss": {"tuned": 0.4, "default": 0.5, "difference": -0.1, "low": -0.2,
                                                   "high": -0.01, "verdict": "ahead"}},
    }  # fmt: skip
    return found | changes


def test_a_tuning_is_a_parent_run_with_a_child_per_trial(tmp_path: Path) -> None:
    own = config.from_dict({"dataset": "shop", "out": str(tmp_path / "out")})
    tracking.prepare(own)
    (tmp_path / "made" / "plots").mkdir(parents=True)
    (tmp_path / "made" / "plots" / "churn_history.png").write_text("a picture")
    trials = [
        Told("churn", 0, False, 0.5, 12, {"num_leaves": 3}, {0: 0.55, 1: 0.5}, 1_700_000_000_000, 1_700_000_002_000),
        Told("churn", 1, True, None, None, {"num_leaves": 9}, {0: 0.9}, 1_700_000_002_000, 1_700_000_003_000),
    ]
    run_id = tracking.log_study(own, document(), trials, tmp_path / "made")
    client = connect(own)
    parent, (seen, cut) = client.get_run(run_id), children(client, run_id)
    assert parent.info.status == "FINISHED" and parent.data.tags["kind"] == "tuning"
    assert "**shop**: churn: tuning paid" in parent.data.tags["mlflow.note.content"]
    assert parent.data.metrics == {
        "n_complete": 2, "n_pruned": 1, "churn_best": 0.5, "churn_at_default": 0.6, "tuned/churn_log_loss": 0.4,
        "default/churn_log_loss": 0.5, "tuned_minus_default/churn_log_loss": -0.1,
    }  # fmt: skip
    assert parent.data.params == {"step_days": "14", "churn.num_leaves": "3", "churn.families": "null"}
    assert [f.path for f in client.list_artifacts(run_id, "plots")] == ["plots/churn_history.png"]
    assert [r.info.run_name for r in (seen, cut)] == ["churn 0", "churn 1"]
    assert {r.info.status for r in (seen, cut)} == {"FINISHED"}
    assert (
        seen.data.metrics == {"loss_so_far": 0.5, "value": 0.5, "trees": 12} and seen.data.params["num_leaves"] == "3"
    )
    assert (seen.info.start_time, seen.info.end_time) == (1_700_000_000_000, 1_700_000_002_000)
    assert cut.data.tags["pruned"] == "True" and cut.data.metrics == {"loss_so_far": 0.9}
    assert [m.value for m in client.get_metric_history(seen.info.run_id, "loss_so_far")] == [0.55, 0.5]


def children(client: MlflowClient, run_id: str) -> list[Any]:
    """The child runs by name."""
    experiment = client.get_run(run_id).info.experiment_id
    found = client.search_runs([experiment], f"tags.`mlflow.parentRunId` = '{run_id}'")
    return sorted(found, key=lambda r: str(r.info.run_name))


def test_the_command_refuses_what_cannot_be_before_it_reads_anything(tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text(f"dataset: x\nout: {tmp_path}/out\n")
    (tmp_path / "s.yaml").write_text("churn: {num_leafs: [3]}\n")
    for options, said in (
        (["--trials", "0"], "--trials must be 1 or more"),
        (["--space", str(tmp_path / "s.yaml")], "unknown setting 'num_leafs'"),
        (["--to", str(tmp_path)], "is a folder"),
    ):
        result = CliRunner().invoke(cli.app, ["tune", str(tmp_path / "c.yaml"), *options])
        assert result.exit_code != 0 and said in str(result.exception), result.output


@pytest.mark.check
@pytest.mark.parametrize("jobs", [1, 2])
def test_the_command_from_log_to_overlay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, jobs: int) -> None:
    """The document, the overlay that train's own loader takes as it is, and the run with its pictures."""
    settings = sim.settings().model_copy(update={"out": str(tmp_path / "out")})
    (tmp_path / "c.yaml").write_text(config.to_yaml(settings))
    (tmp_path / "s.yaml").write_text(yaml.safe_dump(SPACE))
    monkeypatch.setattr(events, "read_log", lambda settings: sim.log(300))
    to = tmp_path / "mine" / "tuned.yaml"
    options = ["--trials", "13", "--jobs", str(jobs), "--space", str(tmp_path / "s.yaml"), "--to", str(to), "--json"]
    result = CliRunner().invoke(cli.app, ["tune", str(tmp_path / "c.yaml"), *options], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert found["n_complete"] == found["n_trials"] == 13 and found["overlay"] == str(to)
    assert [found["best"][h]["n_complete"] for h in ("churn", "spend")] == [7, 6]
    assert all(b["value"] <= b["default_value"] for b in found["best"].values())
    tuned = config.load(tmp_path / "c.yaml", to)
    assert tuned.recipe_hash == found["recipe_hash"] != settings.recipe_hash
    assert tuned.models.churn.model_dump(mode="json") == found["best"]["churn"]["params"]
    assert tuned.timeline.step_days == found["step_days"] in (14, 28)
    assert f"VERDICT: {found['verdict']}" in to.read_text() and found["fingerprint"] in to.read_text()
    for row in found["tuned_minus_default"].values():
        assert row["low"] <= row["difference"] <= row["high"] and math.isclose(
            row["difference"], row["tuned"] - row["default"], abs_tol=1e-12
        )
    same = judged_apart(tuned, found)
    assert found["tuned_minus_default"]["churn_log_loss"]["tuned"] == pytest.approx(same, rel=1e-9)
    client = connect(settings)
    assert len(children(client, found["run_id"])) == 13
    names = {f.path for f in client.list_artifacts(found["run_id"], "plots")}
    assert {f"plots/{h}_{p}.png" for h in ("churn", "spend") for p in ("history", "importance", "slice")} == names


def judged_apart(tuned: config.Config, found: dict[str, Any]) -> float:
    """The tuned config judged by the backtest's own plans of the same development log, from nothing."""
    from churn_clv import backtest, metrics, timeline
    from churn_clv.recipe import Workshop

    whole = sim.log(300)
    log = timeline.until(whole, backtest.plans(whole, sim.settings())[0].test)
    plans = backtest.plans(log, tuned)
    assert [p.test.isoformat() for p in plans] == found["judged_cutoffs"]
    shop = Workshop(log, tuned, plans, dict(tuned.targets), lambda _: None, shipping=False)
    oot = [training.out_of_time(training.judge_at(shop, plan, {})) for plan in plans]
    losses = [metrics.log_losses(f["churned"].to_numpy(), f["churn_probability"].to_numpy()) for f in oot]
    return float(sum(x.sum() for x in losses) / sum(len(x) for x in losses))
