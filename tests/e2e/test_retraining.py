"""Train, promote, train again: what becomes champion, what does not, and what is published."""

from __future__ import annotations

import dataclasses
import datetime as dt
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import kept
import polars as pl
import pytest
import sim

from churn_clv import config, events, figures, promotion, publish, retraining, tracking, training
from churn_clv.bundle import _files
from churn_clv.errors import UserError
from churn_clv.training import Trained

WEEK = dt.timedelta(days=7)


def settings(out: Path, **sections: Any) -> config.Config:
    return sim.settings(promotion={"bootstrap_draws": 200}, **sections).model_copy(update={"out": str(out)})


def until(days_less: int = 0, **columns: pl.Expr) -> events.Log:
    """The simulated log up to some days before its end, with columns replaced."""
    whole = sim.log(1500)
    ends = whole.ends - dt.timedelta(days=days_less)
    frame = whole.frame.filter(pl.col("time").dt.date() < ends).with_columns(**columns)
    named = frozenset(c for c in whole.columns if frame[c].count())
    told = f"{events.fingerprint(frame)}{ends}"
    return dataclasses.replace(whole, frame=frame, ends=ends, columns=named, fingerprint=told)


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("retraining")


@pytest.fixture(scope="module", autouse=True)
def bare() -> Iterator[None]:
    """Without pictures and the reviewers' wrapper: a quarter of a training's time, and tested elsewhere."""
    with pytest.MonkeyPatch.context() as patch:
        kept.without_wrapper(patch)
        patch.setattr(figures, "draw", lambda *_: {})
        yield


@pytest.fixture(scope="module")
def both(out: Path) -> tuple[dict[str, Any], Trained]:
    made: list[Trained] = []
    with pytest.MonkeyPatch.context() as patch:
        train = training.train
        patch.setattr(training, "train", lambda *given: made.append(train(*given)) or made[0])
        return retraining.retrain(settings(out), lambda: until(7)), made[0]


@pytest.fixture(scope="module")
def first(both: tuple[dict[str, Any], Trained]) -> dict[str, Any]:
    return both[0]


@pytest.fixture(scope="module")
def trained(both: tuple[dict[str, Any], Trained]) -> Trained:
    return both[1]


def current(own: config.Config) -> str | None:
    return publish.current(own.bundles_folder)


def test_the_first_run_is_promoted_and_published(out: Path, first: dict[str, Any]) -> None:
    assert first["promoted"] and not first["already_champion"] and "no incumbent" in first["why"]
    assert current(settings(out)) == first["bundle_version"]
    champion = tracking.champion(settings(out))
    assert champion is not None and champion.document["promoted"] is True
    assert champion.document["run_id"] == first["run_id"]


def test_the_same_again_is_already_champion(out: Path, first: dict[str, Any]) -> None:
    again = retraining.retrain(settings(out), lambda: until(7))
    assert again["promoted"] and again["already_champion"] and "already champion" in again["why"]
    assert (again["run_id"], again["ladder"]) == (first["run_id"], first["ladder"])


def test_a_worse_recipe_is_not_promoted(out: Path, first: dict[str, Any]) -> None:
    worse = {"churn": sim.QUICK | {"max_rounds": 1}}
    document = retraining.retrain(settings(out, models=worse), lambda: until(7))
    assert not document["promoted"] and document["why"].startswith("Not promoted")
    assert [rung["rung"] for rung in document["ladder"][:2]] == ["champion", "current_champion"]
    # stored sorted by pseudonym: sums in another order, so not to the last bit
    assert document["ladder"][1]["metrics"] == pytest.approx(first["ladder"][0]["metrics"], rel=1e-12)
    assert current(settings(out)) == first["bundle_version"]


COMPLAINT = {"events": {"is_in": ["complaint"]}, "measure": "present"}


def test_another_target_renews_the_champion_though_churn_is_no_better(out: Path, first: dict[str, Any]) -> None:
    """On the same data the recipe of churn and spend is equal; the bundle answers one question more."""
    document = retraining.retrain(settings(out, targets={"complaint": COMPLAINT}), lambda: until(7))
    assert document["promoted"] and "with other targets beside churned and spend" in document["why"]
    assert list(document["targets"]) == ["complaint"] and current(settings(out)) == document["bundle_version"]


def test_a_run_that_lost_a_target_is_not_promoted(out: Path, first: dict[str, Any]) -> None:
    mute = until(7)
    mute = sim.changed(mute, mute.frame.filter(pl.col("event_type") != "complaint"))
    mute = dataclasses.replace(mute, starts={k: day for k, day in mute.starts.items() if k != "complaint"})
    document = retraining.retrain(settings(out, targets={"complaint": COMPLAINT}), lambda: mute)
    assert not document["promoted"] and "predicts complaint and this run cannot" in document["why"]
    assert "map such events" in document["data"]["targets_refused"]["complaint"]


def test_a_run_that_lost_the_money_is_not_promoted(out: Path, first: dict[str, Any]) -> None:
    bare = until(0, amount=pl.lit(None, dtype=pl.Int64))
    document = retraining.retrain(settings(out), lambda: bare)
    assert not document["promoted"] and "predicts spend and this run cannot" in document["why"]


def test_the_same_recipe_on_newer_data_refreshes(out: Path, first: dict[str, Any]) -> None:
    document = retraining.retrain(settings(out), until)
    assert document["promoted"] and "refreshed" in document["why"]
    assert current(settings(out)) == document["bundle_version"] != first["bundle_version"]


def test_a_folder_that_serves_another_model_is_left_alone(out: Path, first: dict[str, Any]) -> None:
    taken = {"service": {"bundles": str(settings(out).bundles_folder)}}
    other = settings(out, **taken).model_copy(update={"dataset": "another"})
    with pytest.raises(UserError, match="serves the model 'churn-clv-simulated-h28', and"):
        retraining.retrain(other, until)


def test_a_champion_of_an_older_format_is_followed(
    store: Path, trained: Trained, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An upgrade, on the same data: the stored predictions are compared, and the old bundle is not touched."""
    monkeypatch.setattr(training, "train", lambda *_: trained)
    own = settings(store)
    old = retraining.retrain(own, lambda: until(7))
    monkeypatch.setattr(_files, "FORMAT", _files.FORMAT + 1)
    monkeypatch.setattr(tracking, "code_version", lambda: ("1", "newer"))
    document = retraining.retrain(own, lambda: until(7))
    assert document["promoted"] and "refreshed" in document["why"] and document["compared_with"] == 1
    assert document["ladder"][1]["rung"] == "current_champion"
    assert current(own) == document["bundle_version"] != old["bundle_version"]


def test_on_newer_data_the_recipe_of_an_older_format_is_not_run() -> None:
    champion: Any = SimpleNamespace(tags={"fingerprint": "old", "code_hash": tracking.code_version()[1]}, bundle=None)
    log: Any = SimpleNamespace(fingerprint="new")
    said: list[str] = []
    trained: Any = None
    assert retraining._incumbent(champion, trained, log, sim.settings(), said.append) is None
    assert "cannot be run again" in said[0]


def test_what_must_fail_leaves_no_trace(tmp_path: Path) -> None:
    long = settings(tmp_path, timeline={"horizon_days": 300})
    with pytest.raises(UserError, match="labels do not fit"):
        retraining.retrain(long, until)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("refused", [{"spend": "too little of it"}, {}])
def test_a_run_without_spend_is_refused_and_one_with_it_under_any_name_is_not(refused: dict[str, str]) -> None:
    """Spend may come from the two-part model alone: then no head is called spend."""
    decision = promotion.Decision(True, "Promoted.", (), 9, 9, 1, 1, 0)
    champion: Any = SimpleNamespace(document={"ladder": [{"metrics": {"spend_gini": 0.8}}]})

    def kept(gini: float | None) -> promotion.Decision:
        trained: Any = SimpleNamespace(
            bundle=SimpleNamespace(heads=[SimpleNamespace(target="spend_if_active")]),
            ladder=[{"metrics": {"spend_gini": gini}}], data={"targets_refused": refused}, targets={},
        )  # fmt: skip
        return retraining._keeping_heads(champion, trained, decision)

    assert kept(0.7) == decision
    lost = kept(None)
    assert not lost.promote and lost.checks[-1].name == "predicts_spend"
    assert (refused.get("spend") or "no target 'spend'") in lost.why


# --- the grade ----------------------------------------------------------------------------------
def test_each_document_has_a_grade_with_its_reasons(first: dict[str, Any]) -> None:
    graded = first["grade"]
    assert graded["letter"] in "ABC" and graded["why"].startswith(f"Grade {graded['letter']}: ")
    assert {rule["name"] for rule in graded["rules"]} >= {"rungs", "totals", "strata"}
    assert {row["by"] for row in first["strata"]} == {"orders", "rhythm"}
    check = first["checks"][-1]
    assert (check["name"], check["passed"], check["required"]) == ("grade", True, True)


@pytest.mark.parametrize(("skill", "required", "promoted"), [(0.1, "A", True), (-0.04, "C", True), (-0.04, "B", False)])
def test_a_run_below_the_required_grade_is_not_promoted(skill: float, required: str, promoted: bool) -> None:
    """A group whose skill is .04 below 0 makes a C."""
    beaten = promotion.Check("recency_rule.churn_auroc", True, True, "beaten")
    decision = promotion.Decision(True, "Promoted: all is well.", (beaten,), 9, 9, 1, 1, 0)
    own = {"churn_calibration_slope": 1.0, "churn_ece": 0.01, "churn_ece_floor": 0.01, "spend_total_ratio": None}
    group = {"by": "orders", "stratum": "1", "n": 400, "churn_skill": skill, "spend_skill": None}
    trained: Any = SimpleNamespace(
        ladder=[{"metrics": own}], plan=SimpleNamespace(test=dt.date(2024, 3, 4)), total_band=None, strata=[group]
    )
    judged, graded = retraining._graded(trained, decision, sim.settings(grade={"required": required}))
    assert (judged.promote, graded.letter) == (promoted, "A" if skill > 0 else "C")
    if not promoted:
        assert judged.why.startswith("Not promoted: the grade is C, and the config requires B. Grade C: skill -0.04")
        assert not judged.checks[-1].passed and judged.checks[-1].required
