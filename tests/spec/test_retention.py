"""Value beyond the horizon, by hand: coefficients, months, steps from window to window and what they are drawn to."""

from __future__ import annotations

import datetime as dt
import math

import numpy as np
import polars as pl
import pytest
import sim

from churn_clv import config, events, retention, timeline
from churn_clv.models.retention import Retention, days_of, values

DAY = dt.timedelta(days=1)
CURVE = Retention(
    window_days=30, matured=2,
    money={"4+": (1.0, 0.8, 0.5), "lapsed": (1.0, 1.0, 1.0)},
    activity={"4+": (1.0, 0.9, 0.7), "lapsed": (1.0, 1.0, 1.0)},
    spend={"lapsed": 2.0}, active={"lapsed": 0.1},
)  # fmt: skip


# --- what serving multiplies with -----------------------------------------------------------------
def test_a_coefficient_by_hand() -> None:
    """75 days: two whole windows and half of the third, which lies beyond what has matured."""
    assert CURVE.coefficient("4+", 75, 0.0) == pytest.approx((1 + 0.8 + 0.25, 0.25))
    assert CURVE.coefficient("4+", 12, 0.0) == pytest.approx((0.4, 0.0))
    # From the fourth window on the last value holds: nobody is written off for ever.
    assert CURVE.coefficient("4+", 150, 0.0) == pytest.approx((1 + 0.8 + 3 * 0.5, 3 * 0.5))


def test_discount_counts_from_the_middle_of_each_window() -> None:
    """At 10% a year, windows of 30 days have their middle at 15 and 45 days, half a one from 60 on at 67.5."""
    parts = [1 / 1.1 ** (15 / 365.25), 0.8 / 1.1 ** (45 / 365.25), 0.25 / 1.1 ** (67.5 / 365.25)]
    assert CURVE.coefficient("4+", 75, 0.1) == pytest.approx((sum(parts), parts[2]), rel=1e-12)


@pytest.mark.parametrize(
    ("cutoff", "months", "days"),
    [("2024-01-31", 1, 29), ("2023-01-31", 1, 28), ("2024-12-15", 3, 90), ("2024-02-29", 12, 365),
     ("2023-03-01", 24, 731)],
)  # fmt: skip
def test_months_have_their_real_length(cutoff: str, months: int, days: int) -> None:
    assert days_of(months, dt.date.fromisoformat(cutoff)) == days


def test_values_row_by_row() -> None:
    cutoffs = [dt.date(2024, 1, 1), dt.date(2023, 12, 1), dt.date(2024, 1, 1)]
    first = np.array([10.0, 2.0, np.nan])
    found, beyond = values(CURVE, ["4+", "lapsed", "4+"], cutoffs, first, 2, 0.0)
    assert found[:2] == pytest.approx([10 * 1.8, 2 * (31 + 31) / 30]) and np.isnan(found[2])
    assert beyond[:2] == pytest.approx([0.0, 2 / 62]) and np.isnan(beyond[2])
    alone, _ = values(CURVE, ["4+"], cutoffs[:1], first[:1], 2, 0.0)
    assert alone[0] == found[0]


def test_activity_between_windows_is_interpolated() -> None:
    assert [CURVE.activity_after("4+", d) for d in (0, 15, 30, 45, 60, 900)] == pytest.approx(
        [1, 0.95, 0.9, 0.8, 0.7, 0.7]
    )


# --- what is learnt -------------------------------------------------------------------------------
START = dt.date(2024, 1, 1)


def steady(pay: dict[int, float], customers: int = 400) -> tuple[events.Log, config.Config]:
    """Customers who buy for 10 on the second day of every 28-day window, and from window k on for ``pay[k]``."""
    rows, money = [], 10.0
    for k in range(13):
        money = pay.get(k, money)
        for c in range(customers):
            time = dt.datetime.combine(START + (28 * k + 1 + c % 3) * DAY, dt.time(12))
            rows.append({"customer_id": f"c{c}", "time": time, "event_type": "purchase", "amount": money})
    own = config.from_dict({"dataset": "steady", "timeline": {"horizon_days": 28},
                            "population": {"active_within_days": 84}})  # fmt: skip
    return events.from_frame(pl.DataFrame(rows), events.rules_of(own.events), START + 364 * DAY), own


def learnt(log: events.Log, own: config.Config, when: dt.date) -> Retention:
    spend = sim.settings().targets["spend"]
    definitions = timeline.define(log, own, as_of=when, seen_by=when)
    return retention.learn(log, definitions, spend, START + 28 * DAY, when)


def test_who_never_leaves_keeps_all_of_their_value() -> None:
    log, own = steady({})
    found = learnt(log, own, log.ends)
    assert found.matured == 12
    assert found.money["4+"] == pytest.approx([1.0] * len(found.money["4+"]), abs=0.05)
    assert found.activity["4+"][:12] == pytest.approx([1.0] * 12, abs=0.02)


def test_a_step_is_the_ratio_of_neighbouring_windows_drawn_to_the_prior() -> None:
    """Spend halves from window 7 on: at the one cutoff where windows 6 and 7 follow, the step between them is 1/2."""
    log, own = steady({7: 5.0})
    when = START + 28 * 8 * DAY
    cutoff = START + 28 * 6 * DAY
    table = retention._table(log, timeline.define(log, own, as_of=when, seen_by=when), sim.settings().targets["spend"],
                             [cutoff], when, None)  # fmt: skip
    assert table.filter(stratum="4+").select("window", "n", "money", "active").rows() == [
        (0, 400, 4000.0, 400.0), (1, 400, 2000.0, 400.0)]  # fmt: skip
    steps, matured = retention._steps(table, [cutoff], when, 28)
    assert matured == 2 and steps["money", "4+", 1] == (pytest.approx(math.log(0.5)), 1)
    assert steps["active", "4+", 1] == (pytest.approx(0.0), 1)


def test_nothing_after_the_date_is_learnt() -> None:
    """Blind to the future: what comes from ``when`` on changes no number."""
    log = sim.log()
    when = log.ends - 112 * DAY
    own = sim.settings()
    definitions = timeline.define(log, own, as_of=when, seen_by=when)
    spend, earliest = own.targets["spend"], log.starts["purchase"] + 28 * DAY
    late = pl.col("time").dt.date() >= when
    other = log.frame.with_columns(pl.when(late).then(pl.col("amount") * 7).otherwise("amount").alias("amount"))
    cut = log.frame.filter(~late)
    found = [retention.learn(sim.changed(log, f), definitions, spend, earliest, when) for f in (log.frame, other, cut)]
    assert found[0] == found[1] == found[2] and found[0].matured > 3
    whole = retention.learn(log, definitions, spend, earliest, log.ends)
    assert whole != found[0]
