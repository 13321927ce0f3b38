"""Targets of a contract: nothing is learnt before its grace is over, it has its own rungs, and it is scored."""

from __future__ import annotations

import datetime as dt
import random
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import sim

from churn_clv import backtest, bundle, config, events, labels, matrix, readiness, targets, timeline, training
from churn_clv.recipe import Workshop
from churn_clv.simulate import simulate

CONTRACT: dict[str, Any] = {"opens": {"is_in": ["subscribe", "renew"]}, "term_days": 28, "grace_days": 7}
CLOSED: dict[str, Any] = {"events": {"is_in": ["cancel"]}, "measure": "present", "population": "contract"}
OWN: dict[str, Any] = {
    "ended": CLOSED | {"contract": CONTRACT},
    "stays": CLOSED | {"contract": CONTRACT | {"grace_days": 14}, "measure": "absent", "horizon_days": 21},
    "cancelled": CLOSED | {"contract": {"opens": {"is_in": ["subscribe"]}}},
}
REACH = {"ended": 35, "stays": 35, "cancelled": 28}
LOOKS = {"ended": 28, "stays": 21, "cancelled": 28}
DAY = dt.timedelta(days=1)
QUICK = sim.QUICK | {"max_rounds": 20}


def settings(own: dict[str, Any] = OWN, **sections: Any) -> config.Config:
    models = {"threads": 1, "churn": QUICK, "spend": QUICK, "targets": QUICK}
    members = {"customers": 1500, "days": 364, "membership_share": 0.8}
    return sim.settings(
        targets=own, models=models, simulate=members, promotion={"bootstrap_draws": 100}, **sections
    )  # fmt: skip


@cache
def log() -> events.Log:
    own = settings()
    made = simulate(own.simulate, 2)
    return events.from_frame(made.log, events.rules_of(own.events), made.ends)


def shop_of(whole: events.Log, own: config.Config) -> Workshop:
    core, _ = training.answerable(whole, own)
    plan = timeline.make_plan(whole.starts["purchase"], whole.ends, own.timeline)
    return Workshop(whole, own, [plan], core, lambda _: None)


@cache
def shop() -> Workshop:
    return shop_of(log(), settings())


def judged(shop: Workshop, name: str) -> targets.Judged:
    found, why = targets.look(name, shop.settings.targets[name], shop, [shop.log.ends])
    assert why is None, why
    return found[0]


@cache
def of(name: str) -> targets.Judged:
    return judged(shop(), name)


# --- time ---------------------------------------------------------------------------------------------
@pytest.mark.parametrize("name", OWN)
def test_every_label_ends_with_its_grace_before_what_it_helps_to_predict(name: str) -> None:
    found = of(name)
    room, plan, reach = found.room, found.plan, REACH[name] * DAY
    for when in (*plan.origins, plan.test, plan.ends):
        cutoffs = room.pairs[room.learning(plan.learnt_by(when))]["cutoff"]
        assert len(cutoffs) and cutoffs.max() + reach <= when
    assert max(plan.origins) + reach <= plan.test and plan.test + reach == log().ends
    assert room.horizon_days == found.head.horizon_days == LOOKS[name]
    assert targets.about(found)["horizon_days"] == LOOKS[name]


@pytest.mark.parametrize("name", OWN)
def test_a_label_is_the_same_without_what_came_after_it_was_learnt(name: str) -> None:
    """The log cut off at a cutoff holds all that the labels learnt for that cutoff depend on."""
    found = of(name)
    room, plan, target = found.room, found.plan, shop().settings.targets[name]
    label = room.label(None)
    for when in (*plan.origins, plan.test):
        rows = room.learning(plan.learnt_by(when))
        before = log().frame.filter(pl.col("time").dt.date() < when)
        again = labels.build(before, room.pairs[rows], {name: target}, 28, minor_units=2, ends=when)
        assert again[f"{name}_{LOOKS[name]}d"].to_list() == label[rows].tolist()
        assert 0 < label[rows].mean() < 1


@pytest.mark.parametrize("name", OWN)
def test_what_comes_after_the_test_cutoff_changes_no_prediction_of_it(name: str) -> None:
    before = of(name)
    later = pl.col("time") >= pl.lit(dt.datetime.combine(before.plan.test, dt.time()))
    rows, ids, draw = log().frame.filter(later), sorted(set(log().frame["customer_id"])), random.Random(5)
    rows = rows.with_columns(customer_id=pl.Series([draw.choice(ids) for _ in range(rows.height)]))
    frame = pl.concat([log().frame.filter(~later), rows]).sort("customer_id", "time")
    after = judged(shop_of(sim.changed(log(), frame), settings()), name)
    assert after.chosen == before.chosen and after.predicted.tolist() == before.predicted.tolist()
    assert after.label.tolist() != before.label.tolist()
    for one, other in zip(targets.rungs(after), targets.rungs(before), strict=True):
        assert one.name == other.name and one.predicted.tolist() == other.predicted.tolist()


# --- the rungs ----------------------------------------------------------------------------------------
def test_a_contract_has_rungs_of_its_own() -> None:
    assert [r.name for r in targets.rungs(of("ended"))] == ["base_rate", "hazard", "days_to_end", "logistic"]
    assert [r.name for r in targets.rungs(of("cancelled"))] == ["base_rate", "hazard", "logistic"]


def openings(who: str, cutoff: dt.date) -> list[tuple[int, str]]:
    """Age in days and plan of the openings of a customer before a cutoff, oldest first."""
    own = log().frame.filter(
        (pl.col("customer_id") == who) & pl.col("event_type").is_in(["subscribe", "renew"])
        & (pl.col("time").dt.date() < cutoff)
    ).sort("time")  # fmt: skip
    return [((cutoff - t.date()).days, p) for t, p in own.select("time", "product_id").iter_rows()]


def test_the_tables_again_by_hand() -> None:
    """A few customers' cells, counted in plain Python."""
    found = of("ended")
    room, train = found.room, found.room.learning(found.plan.judged)
    label = room.label(found.plan.test)[train]
    past = [openings(*room.pairs.row(int(row))) for row in train]
    hazard, to_end = (next(r.predicted for r in targets.rungs(found) if r.name == n) for n in ("hazard", "days_to_end"))
    first, left = np.array([p[0][0] for p in past]), np.array([28 - p[-1][0] for p in past])
    plan = np.array([p[-1][1] for p in past])
    fifths, tenths = (np.unique(np.quantile(v, np.arange(1, n) / n)) for v, n in ((first, 5), (left, 10)))
    mean = label.mean()
    for i in range(0, len(found.rows), 40):
        asked = openings(*room.pairs.row(int(found.rows[i])))
        alike = (first[:, None] >= fifths).sum(1) == (asked[0][0] >= fifths).sum()
        of_tenure = (label[alike].sum() + 20 * mean) / (alike.sum() + 20)
        same = alike & (plan == asked[-1][1])
        assert hazard[i] == pytest.approx((label[same].sum() + 20 * of_tenure) / (same.sum() + 20))
        near = (left[:, None] >= tenths).sum(1) == (28 - asked[-1][0] >= tenths).sum()
        assert to_end[i] == pytest.approx((label[near].sum() + 20 * mean) / (near.sum() + 20))


def test_the_model_sees_the_plan() -> None:
    """One of the plans is left more often: the model and the table rank by it, the days to the end do not."""
    said = {r["rung"]: r["metrics"] for r in targets.describe(of("ended"))["ladder"]}
    assert said["champion"]["auroc"] > 0.55 and said["champion"]["log_loss"] < said["base_rate"]["log_loss"]
    plans = [c for c in of("ended").room.columns if c.startswith("ended_plan_")]
    assert plans == ["ended_plan_p200", "ended_plan_p201"]


# --- from the check to the scores ---------------------------------------------------------------------
def test_check_says_what_the_log_holds() -> None:
    own = settings(OWN | {"none": CLOSED | {"contract": {"opens": {"is_in": ["join"]}, "term_days": 30}}})
    rows = {r.target: r for r in readiness.check(log(), own).targets}
    assert all(rows[name].ready for name in OWN), rows
    assert "contracts open by events of type join" in rows["none"].why_not[0]
    counts = {m.name.split(" after")[0]: m.found for m in rows["ended"].minimums}
    ends = int(of("ended").label.sum())
    assert counts == {"with the event": ends, "without it": len(of("ended").label) - ends}


def test_it_is_learnt_bundled_and_scored(tmp_path: Path) -> None:
    own = settings({"ended": OWN["ended"]})
    trained = training.train(log(), own)
    bundle.save(trained.bundle, tmp_path / "bundle")
    loaded = bundle.load_bundle(tmp_path / "bundle")
    assert loaded.definitions.contracts == {"ended": own.targets["ended"].contract}
    assert [(h.target, h.horizon_days) for h in loaded.own_heads] == [("ended", 28)]
    assert trained.targets["ended"]["horizon_days"] == 28 and trained.targets["ended"]["population"] == "contract"
    scores = loaded.score_log(log().frame, log().ends)
    inside = matrix.members(log().frame, scores.select("customer_id", "cutoff"), own.targets | {}, loaded.definitions)
    assert (scores["ended_probability"].is_not_null() == inside["ended"]).all()
    assert 50 < inside["ended"].sum() < scores.height - 50
    assert scores["ended_probability"].drop_nulls().is_between(0, 1).all()


@pytest.mark.check
def test_the_backtest_judges_it(tmp_path: Path) -> None:
    own = settings({"ended": OWN["ended"]}, backtest={"cutoffs": 2}).model_copy(update={"out": str(tmp_path)})
    found = backtest.run(own, log(), final=True)["targets"]["ended"]
    newest = dt.date.fromisoformat(found["cutoffs"][-1])
    assert len(found["cutoffs"]) == 2 and newest + 35 * DAY == log().ends
    assert {"hazard", "days_to_end"} < {r["rung"] for r in found["ladder"]}
