"""CLV is judged from nothing later than its cutoff, on everyone known there, and its numbers are sums that add up."""

from __future__ import annotations

import datetime as dt
from typing import Any

import numpy as np
import polars as pl
import pytest
import sim

from churn_clv import labels, retention, timeline, training
from churn_clv.backtest import _clv

DAY = dt.timedelta(days=1)
SETTINGS = sim.settings(
    clv={"backtest_windows": 3}, models={"threads": 1, "churn": sim.QUICK | {"max_rounds": 10}, "spend": sim.QUICK},
)  # fmt: skip


@pytest.fixture(scope="module")
def judged() -> dict[str, Any]:
    found = _clv.judge_clv(sim.log(), SETTINGS, lambda _: None)
    assert found is not None
    return found


def test_the_cutoffs_leave_every_window_inside_the_log(judged: dict[str, Any]) -> None:
    ends = sim.log().ends
    assert judged["cutoffs"] == [(ends - d * DAY).isoformat() for d in (3 * 28 + 14, 3 * 28)]
    assert (judged["window_days"], judged["windows_judged"], judged["days"]) == (28, 3, 84)


def test_actual_money_is_counted_from_the_log(judged: dict[str, Any]) -> None:
    """Net money of everyone known, window by window, not below zero for any customer."""
    frame = sim.log().frame.with_columns(day=pl.col("time").dt.date())
    for row in judged["by_cutoff"]:
        cutoff = dt.date.fromisoformat(row["cutoff"])
        known = frame.filter(pl.col("day") < cutoff)["customer_id"].unique()
        assert row["n"] == len(known)
        for k, window in enumerate(row["windows"]):
            inside = pl.col("day").is_between(cutoff + 28 * k * DAY, cutoff + 28 * (k + 1) * DAY, closed="left")
            paid = frame.filter(inside, pl.col("customer_id").is_in(known.implode()))
            each = paid.group_by("customer_id").agg(pl.col("amount").sum())["amount"].clip(0)
            assert window["actual"] == pytest.approx(float(each.sum()) / 100, rel=1e-12)


def test_totals_are_the_windows_sums(judged: dict[str, Any]) -> None:
    for row in judged["by_cutoff"]:
        for what in ("predicted", "actual"):
            assert row[what] == pytest.approx(sum(w[what] for w in row["windows"]))
        assert row["total_ratio"] == pytest.approx(row["predicted"] / row["actual"])
    ratios = [row["total_ratio"] for row in judged["by_cutoff"]]
    assert judged["total_ratio"] == pytest.approx(sum(ratios) / 2)
    assert judged["worst"] == max(ratios, key=lambda r: abs(r - 1))
    own = judged["rungs"][0]
    assert own["rung"] == "champion" and own["total_ratio"] == pytest.approx(judged["total_ratio"])
    assert {r["rung"] for r in judged["rungs"]} == {
        "champion", "btyd", "last_horizon_spend", "product_formula", "no_lapse"}  # fmt: skip
    assert 0 <= judged["extrapolated_share"] <= 1


def test_bounds_are_judged_after_what_they_were_learnt_from(judged: dict[str, Any]) -> None:
    """Three months fit twice before 30 December 2024: from 30 September they are judged, two cutoffs lie before."""
    found = judged["bounds"]
    assert (found["months"], found["cutoff"]) == (3, "2024-09-30") and found["first_window_by"] == "horizon model"
    assert found["learnt_at"] == ["2024-03-30", "2024-06-30"]  # the end of the six months' too
    # Fewer than 200 lapsed were there to learn from: they have no bounds.
    assert 150 < found["n"] < 400 and 0.03 < found["miss_above"] < 0.25
    assert found["miss_below"] is None or found["miss_below"] < 0.25
    # With the total set right no end moves against the way that the total was off.
    assert (found["miss_above_level_aside"] - found["miss_above"]) * (found["total_ratio"] - 1) >= 0
    low, high = found["total_band"]
    assert low < 1 < high and found["total_inside"] == (low <= found["total_ratio"] <= high)


def test_it_is_nearer_than_the_formulas_that_companies_use(judged: dict[str, Any]) -> None:
    """On a log whose customers do leave: taking the last horizon for ever is far off, and ranks worse."""
    own, last = judged["rungs"][0], next(r for r in judged["rungs"] if r["rung"] == "last_horizon_spend")
    assert abs(own["total_ratio"] - 1) < abs(last["total_ratio"] - 1) and own["gini"] > last["gini"]


def test_nothing_later_than_the_cutoff_is_learnt(judged: dict[str, Any]) -> None:
    """All money from the older cutoff on times five: its predictions stay to the bit, only what came moves."""
    log, cutoff = sim.log(), dt.date.fromisoformat(judged["cutoffs"][0])
    later = pl.col("time").dt.date() >= cutoff
    dearer = log.frame.with_columns(pl.when(later).then(pl.col("amount") * 5).otherwise("amount").alias("amount"))
    targets, _ = training.answerable(log, SETTINGS)
    logs = (log, sim.changed(log, dearer))
    models = [training.horizon_models(own, SETTINGS, targets, [cutoff]) for own in logs]
    looks = [_clv._look(own, SETTINGS, targets, cutoff, 3, m[cutoff]) for own, m in zip(logs, models, strict=True)]
    for name, money in looks[0].predicted.items():
        assert (money == looks[1].predicted[name]).all(), name
    assert looks[1].actual.sum() == pytest.approx(5 * looks[0].actual.sum())


def test_the_formulas_by_hand(judged: dict[str, Any]) -> None:
    """Last horizon's money for ever; and the rate of the active window x the share of the last eligible who bought."""
    log, cutoff = sim.log(), dt.date.fromisoformat(judged["cutoffs"][1])
    past = timeline.until(log, cutoff)
    targets, _ = training.answerable(log, SETTINGS)
    look = _clv._look(log, SETTINGS, targets, cutoff, 3, None)
    frame = past.frame.with_columns(day=pl.col("time").dt.date())

    def paid(days: int) -> float:
        rows = frame.filter(pl.col("day") >= cutoff - days * DAY).group_by("customer_id").agg(pl.col("amount").sum())
        return float(rows["amount"].clip(0).sum()) / 100

    assert look.predicted["last_horizon_spend"].sum(axis=0) == pytest.approx([paid(28)] * 3)
    definitions = timeline.define(past, SETTINGS, as_of=cutoff, known_by=cutoff)
    before = retention.known_at(past, definitions, [cutoff - 28 * DAY]).filter("eligible")
    bought = labels.build(past.frame, before.select("customer_id", "cutoff"), targets, 28, minor_units=2, ends=cutoff)
    kept = 1 - float(bought["churned_28d"].mean())  # type: ignore[arg-type]
    assert look.predicted["product_formula"].sum(axis=0) == pytest.approx([paid(84) * 28 / 84 * kept] * 3)
    assert 0.3 < kept < 1


def test_later_windows_follow_the_strata_and_the_ineligible_count(judged: dict[str, Any]) -> None:
    """First window x the stratum's curve; the lapsed by the mean of their kind; BTYD's first where no model is."""
    log, cutoff = sim.log(), dt.date.fromisoformat(judged["cutoffs"][1])
    past = timeline.until(log, cutoff)
    targets, _ = training.answerable(log, SETTINGS)
    look = _clv._look(log, SETTINGS, targets, cutoff, 3, None)
    definitions = timeline.define(past, SETTINGS, as_of=cutoff, known_by=cutoff)
    rows = retention.known_at(past, definitions, [cutoff])
    learnt = retention.learn(past, definitions, targets["spend"], log.starts["purchase"] + 28 * DAY)
    eligible, lapsed = rows["eligible"].to_numpy(), (rows["reason"] == "lapsed").fill_null(False).to_numpy()
    own, first = look.predicted["champion"], look.predicted["btyd"][:, 0]
    assert (own[eligible, 0] == first[eligible]).all() and lapsed.sum() > 20
    assert own[lapsed, 0].tolist() == [learnt.spend["lapsed"]] * int(lapsed.sum()) and learnt.spend["lapsed"] > 0
    for k in (1, 2):
        times = np.array([learnt.money[s][k] for s in rows["stratum"]])
        np.testing.assert_allclose(own[:, k], own[:, 0] * times, rtol=1e-12)
    assert look.source.startswith("BTYD")


def test_without_money_or_windows_there_is_no_clv() -> None:
    short = sim.log(days=84)
    assert _clv.judge_clv(short, SETTINGS, lambda _: None) is None
