"""What is learnt for a customer's value comes from matured windows only, and from nothing later than its cutoff."""

from __future__ import annotations

import datetime as dt

import numpy as np
import polars as pl
import pytest
import sim

from churn_clv import config, training
from churn_clv.training import _lookback, _outlook

DAY = dt.timedelta(days=1)
SETTINGS = sim.settings(models={"threads": 1, "churn": sim.QUICK | {"max_rounds": 10}, "spend": sim.QUICK})


def test_which_cutoffs_have_matured() -> None:
    """The log runs from 3 January to 29 December 2024: two horizons of history, then so many months."""
    log = sim.log()
    assert (log.starts["purchase"], log.ends) == (dt.date(2024, 1, 3), dt.date(2024, 12, 30))
    june, september = dt.date(2024, 6, 30), dt.date(2024, 9, 30)
    assert training.matured_at(log, SETTINGS, 3) == [june, september]  # the six months' serves both
    # Six months fit once: the second cutoff lies half a horizon before the first.
    assert training.matured_at(log, SETTINGS, 6) == [dt.date(2024, 6, 16), june]
    assert training.matured_at(log, SETTINGS, 12) == []
    plain = SETTINGS.model_dump(by_alias=True)
    alone = config.from_dict(plain | {"clv": {"months": [3]}})
    assert training.matured_at(log, alone, 3) == [june, september]  # three months before
    long = config.from_dict(plain | {"timeline": {"min_history_days": 180}})
    assert training.matured_at(log, long, 6) == [] and training.matured_at(log, long, 3)[-1] == september


def test_a_light_model_knows_nothing_later_than_its_cutoff() -> None:
    """All money from the cutoff on times five: what was expected then stays to the bit."""
    log, cutoff = sim.log(), dt.date(2024, 9, 30)
    later = pl.col("time").dt.date() >= cutoff
    dearer = log.frame.with_columns(pl.when(later).then(pl.col("amount") * 5).otherwise("amount").alias("amount"))
    targets, _ = training.answerable(log, SETTINGS)
    looks = []
    for own in (log, sim.changed(log, dearer)):
        model = _lookback.light_models(own, SETTINGS, targets, [cutoff], 20)[cutoff]
        look = training.look_back(own, SETTINGS, targets["spend"], cutoff, model)
        assert look.source == "horizon model" and look.btyd is None
        looks.append(_outlook.months_money(own, targets["spend"], look, 3))
    (said, came, strata), (again, more, _) = looks
    assert (said == again).all() and more.sum() == pytest.approx(5 * came.sum())
    assert 0.6 < said.sum() / came.sum() < 1.6 and {"1", "2-3", "4+", "lapsed"} <= set(strata)


def test_money_of_the_months_is_counted_from_the_log() -> None:
    """Net money of everyone known from 30 September on, for 91 days, not below zero for any customer."""
    log, cutoff = sim.log(), dt.date(2024, 9, 30)
    targets, _ = training.answerable(log, SETTINGS)
    look = training.look_back(log, SETTINGS, targets["spend"], cutoff, None)
    assert look.source.startswith("BTYD")
    _, came, _ = _outlook.months_money(log, targets["spend"], look, 3)
    frame = log.frame.with_columns(day=pl.col("time").dt.date())
    known = frame.filter(pl.col("day") < cutoff)["customer_id"].unique()
    paid = frame.filter(pl.col("day") >= cutoff, pl.col("customer_id").is_in(known.implode()))
    each = paid.group_by("customer_id").agg(pl.col("amount").sum())["amount"].clip(0)
    assert came.sum() == pytest.approx(float(each.sum()) / 100) and len(came) == len(known)


def test_without_spend_or_history_there_are_no_bounds() -> None:
    log = sim.log()
    targets, _ = training.answerable(log, SETTINGS)
    assert training.clv_bounds(log, SETTINGS, {"churned": targets["churned"]}, 20) == ({}, {})
    assert training.clv_bounds(sim.log(days=84), SETTINGS, targets, 20) == ({}, {})


def test_orders_are_counted_as_days() -> None:
    """Purchase days of the horizon, of each customer at each cutoff, from the log."""
    log = sim.log()
    judged = training.judge(log, SETTINGS)
    shop, cutoff = judged.shop, judged.plan.test
    rows = shop.rows([cutoff])
    asked = shop.snapshots[rows]["customer_id"].implode()
    frame = log.frame.filter(pl.col("customer_id").is_in(asked)).with_columns(day=pl.col("time").dt.date())
    inside = pl.col("day").is_between(cutoff, cutoff + 27 * DAY)
    returned = frame.filter(inside, pl.col("event_type") == "return").select("customer_id", "day")
    bought = frame.filter(inside, pl.col("event_type") == "purchase").select("customer_id", "day").unique()
    same_day = bought.join(returned, on=["customer_id", "day"]).height
    found = shop.orders(rows, None, 28)
    assert bought.height - same_day <= found.sum() <= bought.height and found.max() > 2 and not np.isnan(found).any()
