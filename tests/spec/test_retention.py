"""Value beyond the horizon, by hand: coefficients, months, steps from window to window and what they are drawn to."""

from __future__ import annotations

import datetime as dt
import math

import numpy as np
import polars as pl
import pytest
import sim

from churn_clv import config, events, retention, timeline
from churn_clv.models import btyd
from churn_clv.models.retention import Retention, active_probability, days_of, kinds, strata_of, values

DAY = dt.timedelta(days=1)
CURVE = Retention(
    window_days=30, matured=2,
    money={"4+": (1.0, 0.8, 0.5), "lapsed": (1.0, 1.0, 1.0)},
    spend={"lapsed": 2.0}, active={"4+": (1.0, 0.9, 0.6)},
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
    found, beyond = values(CURVE, kinds(["4+", "lapsed", "4+"], cutoffs), first, 2, 0.0)
    assert found[:2] == pytest.approx([10 * 1.8, 2 * (31 + 31) / 30]) and np.isnan(found[2])
    assert beyond[:2] == pytest.approx([0.0, 2 / 62]) and np.isnan(beyond[2])
    alone, _ = values(CURVE, kinds(["4+"], cutoffs[:1]), first[:1], 2, 0.0)
    assert alone[0] == found[0]


def test_a_kind_without_a_curve_has_no_value() -> None:
    found, beyond = values(CURVE, kinds(["history_too_short"], [dt.date(2024, 1, 1)]), np.array([3.0]), 2, 0.0)
    assert np.isnan(found).all() and np.isnan(beyond).all()
    assert strata_of(["lapsed", None, None], [9, 0, 3]) == ["lapsed", "1", "2-3"]


def test_the_chance_to_be_active_by_hand() -> None:
    """P(active) .8; the window that ends after 31 days lies 1/30 of the way from the first to the second."""
    cutoff = dt.date(2024, 1, 1)
    found = {
        m: active_probability(CURVE, kinds(["4+", "lapsed"], [cutoff] * 2), np.array([0.8, 0.8]), m)
        for m in (1, 2, 3, 12)
    }
    assert found[1][0] == pytest.approx(0.8 * (1 - 0.1 / 30))
    assert found[2][0] == pytest.approx(0.8 * 0.9) and days_of(2, cutoff) == 60
    assert found[3][0] == pytest.approx(0.8 * (0.6)) and found[12][0] == found[3][0]  # 91 days; the last value holds
    assert all(np.isnan(f[1]) for f in found.values())
    # Within the first window it is P(active) itself, to the bit.
    assert CURVE.active_share("4+", 30) == CURVE.active_share("4+", 28) == 1.0


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
    definitions = timeline.define(log, own, as_of=when, known_by=when)
    return retention.learn(timeline.until(log, when), definitions, spend, START + 28 * DAY)


def test_who_never_leaves_keeps_all_of_their_value() -> None:
    log, own = steady({})
    found = learnt(log, own, log.ends)
    assert found.money["4+"] == pytest.approx([1.0] * len(found.money["4+"]), abs=0.05)


def test_one_odd_month_counts_once() -> None:
    """The last month three times the others: far levels rest on few cutoffs, but nothing compounds."""
    log, own = steady({12: 30.0})
    plain, odd = learnt(steady({})[0], own, log.ends), learnt(log, own, log.ends)
    assert max(odd.money["4+"]) < 2
    assert odd.coefficient("4+", 730, 0.0)[0] < 1.7 * plain.coefficient("4+", 730, 0.0)[0]


def test_active_customers_are_counted_whatever_they_pay() -> None:
    """Everybody buys in every window, for ever more: money grows, the number of active customers does not."""
    log, own = steady({k: 10.0 * 1.3**k for k in range(13)})
    found = learnt(log, own, log.ends)
    assert found.money["4+"][6] > 1.5
    assert found.active["4+"] == pytest.approx([1.0] * len(found.active["4+"]), abs=0.05)
    assert set(found.active) == {"1", "2-3", "4+"}


def test_half_of_the_customers_stop() -> None:
    """Of 400 customers, 200 never buy again after the sixth window."""
    first, own = steady({})
    names = [f"c{c}" for c in range(200)]
    stopped = first.frame.filter(~pl.col("customer_id").is_in(names) | (pl.col("time").dt.date() < START + 168 * DAY))
    log = sim.changed(first, stopped)
    found = learnt(log, own, log.ends)
    curve = found.active["4+"]
    assert list(curve) == sorted(curve, reverse=True) and curve[0] == 1.0 and 0.5 < curve[4] < 0.9
    definitions = timeline.define(log, own, as_of=log.ends, known_by=log.ends)
    bare = retention.learn(log, definitions, None, START + 28 * DAY)
    assert bare.active == found.active and not bare.money and not bare.spend and bare.matured == found.matured


# --- who has no prediction ------------------------------------------------------------------------
def test_fallbacks_by_hand() -> None:
    """30 one-order customers paid 60, 10 others 180: a mean of 240 / 40 = 6, and curves weighed 1 to 3."""
    curves = {"1": (1.0, 0.4), "2-3": (1.0, 0.9), "4+": (1.0, 0.8), "lapsed": (1.0, 1.1), "prospect": (1.0, 1.0)}
    means, found = retention._fallbacks({"1": (30, 60.0), "4+": (10, 180.0), "lapsed": (50, 25.0)}, curves)
    # Nobody was a prospect: the smallest mean that there is, that of the lapsed.
    assert means == {"lapsed": 0.5, "prospect": 0.5, "history_too_short": 6.0}
    assert found == curves | {"history_too_short": (1.0, pytest.approx(0.7))}
    lone, _ = retention._fallbacks({"1": (30, 60.0), "prospect": (9, 27.0)}, curves)
    assert lone == {"lapsed": 2.0, "prospect": 3.0, "history_too_short": 2.0}


def test_where_nothing_was_learnt_there_is_no_fallback() -> None:
    assert retention._fallbacks({}, {"1": (1.0,)}) == ({}, {"1": (1.0,)})
    means, found = retention._fallbacks({"lapsed": (5, 0.0)}, {"lapsed": (1.0,)})
    assert means == {"lapsed": 0.0, "prospect": 0.0} and "history_too_short" not in found


def test_learnt_from_a_log_without_lapsed_or_prospects() -> None:
    """All 400 buy for 10 in each window: that is all anybody can be told by."""
    log, own = steady({})
    found = learnt(log, own, log.ends)
    assert found.spend == {"lapsed": 10.0, "prospect": 10.0, "history_too_short": 10.0}
    assert found.money["history_too_short"] == pytest.approx(found.money["4+"])


def test_a_window_that_rises_shares_its_level_with_the_one_before() -> None:
    assert retention._falling((1.0, 0.6, 0.8, 0.5)) == pytest.approx((1.0, 0.7, 0.7, 0.5))
    assert retention._falling((1.0, 1.4, 0.8)) == pytest.approx((1.0, 1.0, 0.8)) and retention._falling((1.0,)) == (
        1.0,
    )


def test_how_many_windows_have_matured() -> None:
    """Two cutoffs two horizons apart see it (a horizon apart they share a window).

    From the fourth order, on day 98, to the end there are 266 days: 56 between the cutoffs and seven windows.
    """
    log, own = steady({})
    assert learnt(log, own, log.ends).matured == 7
    assert learnt(log, own, START + 84 * DAY).matured == 1


def table(rows: list[tuple[dt.date, str, int, float, float]]) -> pl.DataFrame:
    """What ``_levels`` reads: cutoff, stratum, window, money, active."""
    return pl.DataFrame(rows, schema=["cutoff", "stratum", "window", "money", "active"], orient="row")


def test_a_level_by_hand() -> None:
    """Stratum 1: 200 active with 1,000, then 500; half of one buyer's 5 on both sides. All strata: 2,000, then 1,300.

    200 active count as much as all strata together.
    """
    when = START + 56 * DAY
    own = [
        (START, "1", 0, 1000.0, 200.0), (START, "1", 1, 500.0, 90.0), (START, "4+", 0, 1000.0, 50.0),
        (START, "4+", 1, 800.0, 45.0), (START, "lapsed", 0, 100.0, 200.0), (START, "lapsed", 1, 0.0, 0.0),
    ]  # fmt: skip
    found = retention._levels(table(own), [START], when, 28)
    all_of_them = math.log((1300 + 4) / (2000 + 4))
    assert found["1", 1] == (pytest.approx((math.log(502.5 / 1002.5) + all_of_them) / 2), 1)
    assert found["4+", 1] == (pytest.approx(0.2 * math.log(810 / 1010) + 0.8 * all_of_them), 1)
    # The lapsed are drawn to a flat curve, and who is all gone still has a finite level.
    assert found["lapsed", 1] == (pytest.approx(math.log(0.25 / 100.25) / 2), 1)
    assert ("prospect", 1) not in found and ("1", 2) not in found


def test_cutoffs_that_share_windows_are_one() -> None:
    """Five cutoffs half a horizon apart span two horizons: two of them share no window."""
    cutoffs = [START + 14 * k * DAY for k in range(5)]
    rows = [(c, "1", w, 100.0, 10.0) for c in cutoffs for w in range(2)]
    assert retention._levels(table(rows), cutoffs, START + 112 * DAY, 28)["1", 1][1] == 2
    assert retention._levels(table(rows[:8]), cutoffs[:4], START + 98 * DAY, 28)["1", 1][1] == 1


def test_a_level_is_drawn_to_the_prior_by_two_cutoffs() -> None:
    assert retention._drawn(-0.6, (0.0, 1)) == pytest.approx(-0.4) and retention._drawn(-0.6, None) == -0.6
    assert retention._drawn(-0.6, (0.0, 4)) == pytest.approx(-0.2)


def test_the_prior_is_the_root_of_the_expected_orders() -> None:
    log, own = sim.log(), sim.settings()
    definitions = timeline.define(log, own, as_of=log.ends, known_by=log.ends)
    found = retention._prior(log, definitions, 4)
    rows = retention.known_at(log, definitions, [log.ends])
    eligible = rows.filter("eligible")
    fit = btyd.fitted(rows.drop_nulls(btyd.TIMING), eligible, 28)
    assert fit is not None
    many = btyd.histories(eligible.filter(stratum="4+"))
    orders = [0.0, *(float(btyd.expected_orders(fit, many, 4.0 * k).sum()) for k in range(1, 5))]
    each = np.diff(orders)
    np.testing.assert_allclose(found["4+"], np.log(each / each[0]) / 2, rtol=1e-9)
    assert found["4+"][3] < -0.01 and found["lapsed"].tolist() == [0.0] * 4


def test_the_ineligible_have_the_mean_of_their_kind_of_late() -> None:
    """At the four newest cutoffs; each window 0 of the lapsed by hand from the log."""
    log, own = sim.log(), sim.settings()
    definitions = timeline.define(log, own, as_of=log.ends, known_by=log.ends)
    found = retention.learn(log, definitions, own.targets["spend"], log.starts["purchase"] + 28 * DAY)
    frame = log.frame.with_columns(day=pl.col("time").dt.date())
    paid, people = 0.0, 0
    for back in (28, 42, 56, 70):
        cutoff = log.ends - back * DAY
        rows = retention.known_at(log, definitions, [cutoff]).filter(reason="lapsed")
        there = frame.filter(pl.col("day").is_between(cutoff, cutoff + 27 * DAY))
        each = there.join(rows, on="customer_id", how="semi").group_by("customer_id").agg(pl.col("amount").sum())
        paid, people = paid + each["amount"].clip(0).sum() / 100, people + rows.height
    assert found.spend["lapsed"] == pytest.approx(paid / people) and paid > 0


def test_nothing_after_the_date_is_learnt() -> None:
    """Blind to the future: what comes from ``when`` on changes no number."""
    log = sim.log()
    when = log.ends - 112 * DAY
    own = sim.settings()
    definitions = timeline.define(log, own, as_of=when, known_by=when)
    spend, earliest = own.targets["spend"], log.starts["purchase"] + 28 * DAY
    late = pl.col("time").dt.date() >= when
    other = log.frame.with_columns(pl.when(late).then(pl.col("amount") * 7).otherwise("amount").alias("amount"))
    cut = log.frame.filter(~late)
    logs = [timeline.until(sim.changed(log, f), when) for f in (log.frame, other, cut)]
    found = [retention.learn(one, definitions, spend, earliest) for one in logs]
    assert found[0] == found[1] == found[2] and found[0].matured > 1
    whole = retention.learn(log, definitions, spend, earliest)
    assert whole != found[0]


def test_what_became_known_late_is_not_learnt() -> None:
    """Events that only became known after ``when`` are as if they had not come yet."""
    log, own = sim.log(), sim.settings()
    when = log.ends - 56 * DAY
    late = log.frame.with_columns(
        known_at=pl.when(pl.col("customer_id").hash() % 3 == 0).then(pl.col("time") + dt.timedelta(days=30))
    )
    definitions = timeline.define(log, own, as_of=when, known_by=when)
    spend, earliest = own.targets["spend"], log.starts["purchase"] + 28 * DAY
    unknown = pl.col("known_at").dt.date() >= when
    dearer = late.with_columns(pl.when(unknown).then(pl.col("amount") * 9).otherwise("amount").alias("amount"))
    assert late.filter(unknown, pl.col("time").dt.date() < when).height > 20
    logs = [timeline.until(sim.changed(log, frame), when) for frame in (late, dearer, log.frame)]
    found = [retention.learn(one, definitions, spend, earliest) for one in logs]
    assert found[0] == found[1] != found[2]
