"""Two stored runs compared: numbers, refusals, and what is attached to the newer run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import kept
import numpy as np
import polars as pl
import pytest
from typer.testing import CliRunner
from world import World

from churn_clv import config, contest, contest_figure, figures, metrics, tracking
from churn_clv.cli import app
from churn_clv.errors import UserError
from churn_clv.tracking.store import connect

POOR, GOOD, _ = kept.three()


@pytest.fixture
def own(store: Path, monkeypatch: pytest.MonkeyPatch) -> config.Config:
    kept.without_wrapper(monkeypatch)
    return kept.settings(store)


def test_the_better_run_is_ahead_and_the_numbers_are_those_of_the_shared_rows(
    own: config.Config, bundles: list[Path]
) -> None:
    fewer = GOOD.filter(pl.col("customer_key") >= "c00100")
    kept.registered(own, bundles[0], POOR)
    kept.registered(own, bundles[1], fewer, tags={"fingerprint": "newer", "grade": "C"})
    found = contest.run(own, "1", "2")
    assert (found["rows"], found["customers"], found["only_a"], found["only_b"]) == (1400, 1400, 100, 0)
    assert (found["newer"], found["same_data"], found["labels_differ"]) == ("b", False, 0)
    assert (found["a"]["grade"], found["b"]["grade"]) == ("A", "C")
    loss = found["metrics"][0]
    shared = POOR.filter(pl.col("customer_key") >= "c00100")
    said = [
        metrics.log_losses(f["churned"].to_numpy(), f["churn_probability"].to_numpy()).mean() for f in (shared, fewer)
    ]
    assert [loss["a"], loss["b"]] == pytest.approx(said) and loss["difference"] == pytest.approx(said[1] - said[0])
    assert loss["low"] < loss["difference"] < loss["high"] < 0 and loss["better"] == "b"
    assert {m["better"] for m in found["metrics"]} == {"b"}
    assert sum(map(sum, found["bands"]["customers"])) == sum(map(sum, found["tiers"]["customers"])) == 1400
    page = Path(found["page"]).read_text()
    assert "://" not in page and "100 that only A made" in page and "data:image/png;base64" in page
    names = [a.path for a in connect(own).list_artifacts(found["attached_to"], f"comparison/{found['a']['run_id']}")]
    assert [n.rsplit("/")[-1] for n in names] == ["contest.html", "contest.json", "contest.png"]
    assert found["attached_to"] == found["b"]["run_id"]


def test_turned_round_the_signs_turn_round_and_the_newer_run_stays_the_newer(
    own: config.Config, bundles: list[Path]
) -> None:
    kept.registered(own, bundles[0], POOR)
    kept.registered(own, bundles[1], GOOD)
    there, back = contest.compare(own, "1", "2")[0], contest.compare(own, "challenger", "1")[0]
    assert (there["newer"], back["newer"]) == ("b", "a")
    for one, other in zip(there["metrics"], back["metrics"], strict=True):
        assert other["difference"] == pytest.approx(-one["difference"])
        assert {one["better"], other["better"]} == {"a", "b"}
    assert np.array_equal(there["tiers"]["customers"], np.transpose(back["tiers"]["customers"]))
    same = contest.compare(own, "1", "2")[0]
    assert same == there


def test_equal_runs_are_not_told_apart(own: config.Config, bundles: list[Path]) -> None:
    for folder in bundles:
        kept.registered(own, folder, GOOD)
    found, _ = contest.compare(own, "1", "2")
    assert {m["better"] for m in found["metrics"]} == {None} and found["tiers"]["moved"] == 0
    assert found["rank_agreement"] == {"churn": pytest.approx(1), "spend": pytest.approx(1)}
    assert found["top_tenth"]["churn"]["share"] == 1


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"tags": {"question": "another", "horizon_days": "56"}}, "different questions"),
        ({"tags": {"id_key": "00000000"}}, "behind different keys"),
        (
            {"plan": [{"role": "judged refit", "labels_end": "2024-04-01"}]},
            "labels of judged refit end after 2024-03-04",
        ),
    ],
)
def test_what_cannot_be_compared_is_refused(
    own: config.Config, bundles: list[Path], change: dict[str, Any], said: str
) -> None:
    kept.registered(own, bundles[0], POOR)
    kept.registered(own, bundles[1], GOOD, **change)
    with pytest.raises(UserError, match=said):
        contest.compare(own, "1", "2")


def test_other_questions_are_refused_by_what_differs(own: config.Config, bundles: list[Path]) -> None:
    other = kept.settings(Path(own.out), model_name="other", timeline={"horizon_days": 56})
    kept.registered(own, bundles[0], POOR)
    run_id = kept.record(other, bundles[1], GOOD)
    tracking.register(other, run_id, bundles[1])
    with pytest.raises(UserError, match=r"timeline\.horizon_days: 28 there, 56 here"):
        contest.compare(own, "1", run_id)


def test_no_row_in_common_and_one_run_twice(own: config.Config, bundles: list[Path]) -> None:
    later = GOOD.with_columns(cutoff=pl.col("cutoff").dt.offset_by("28d"))
    kept.registered(own, bundles[0], POOR)
    kept.registered(own, bundles[1], later)
    with pytest.raises(UserError, match=r"judged at 2024-03-04 .* at 2024-04-01: they share none"):
        contest.compare(own, "1", "2")
    with pytest.raises(UserError, match="Name two runs"):
        contest.compare(own, "2", "challenger")


def test_a_champion_refitted_on_the_labels_it_is_scored_on_is_caught(own: config.Config, bundles: list[Path]) -> None:
    """The classic mistake: the shipped model, which has learnt the test window, scored on it again."""
    world = World(1500, seed=5)
    honest, better = world.recipe(0.4), world.recipe(0.1)
    churned = pl.col("churned").cast(pl.Float64)
    refitted = honest.with_columns(churn_probability=0.5 * pl.col("churn_probability") + 0.5 * churned)
    version = kept.registered(own, bundles[0], honest)
    kept.registered(own, bundles[1], better)
    assert contest.compare(own, str(version), "2")[0]["metrics"][0]["better"] == "b"
    run_id = contest.compare(own, str(version), "2")[0]["a"]["run_id"]
    planted = Path(own.out) / "planted"
    planted.mkdir()
    refitted.write_parquet(planted / "oot_predictions.parquet")
    connect(own).log_artifacts(run_id, str(planted))
    with pytest.raises(UserError, match="a model that has seen these labels"):
        contest.compare(own, str(version), "2")


def test_the_command_and_its_picture(own: config.Config, bundles: list[Path], tmp_path: Path) -> None:
    (tmp_path / "own.yaml").write_text(config.to_yaml(own))
    kept.registered(own, bundles[0], POOR)
    kept.registered(own, bundles[1], GOOD)
    done = CliRunner().invoke(app, ["compare", "1", "challenger", str(tmp_path / "own.yaml"), "--json"])
    assert done.exit_code == 0 and json.loads(done.stdout)["b"]["aliases"] == ["challenger"]
    told = CliRunner().invoke(app, ["compare", "1", "2", str(tmp_path / "own.yaml")])
    assert "B is ahead" in told.stdout and "change value tier, with" in told.stdout
    bare = json.loads(done.stdout) | {"bands": None, "tiers": None}
    _, both = contest.compare(own, "1", "2")
    figures.save({"bare": contest_figure.draw(bare, both)}, tmp_path)
    assert (tmp_path / "bare.png").stat().st_size > 20_000
