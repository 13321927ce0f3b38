"""Every KPI by hand: the period is the days 50 to 59, active is who bought in the last 20 days."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
import polars as pl
import pytest
from kpi_logs import day, log, other, settings, situation

from churn_clv import config, kpis
from churn_clv.errors import UserError

RETURN = {"event_type": "return"}
BUYERS = [
    ("a", 35, 10), ("a", 52, 20),
    ("b", 45, 10),
    ("c", 31, 10),
    ("d", 55, 30, {"channel": "web"}),
    ("e", 5, 10), ("e", 58, 40),
    ("f", 38, 10), ("f", 51, 10), ("f", 51, 10, RETURN),  # reversed on its day: no occasion
    ("g", 33, 50), ("g", 53, 0),  # an order of zero is one
    ("h", 36, 5), ("h", 50, 5),
]  # fmt: skip


def counted(name: str, rows: Any = BUYERS, new_from: int = 0, start: int = 50, **own: Any) -> kpis.Estimate:
    """The estimate of one KPI of a log."""
    more = {k: own.pop(k) for k in ("scores", "measured") if k in own}
    of = settings(**own)
    made = kpis.known(of)[name].of(situation(log(rows), of, start=start, new_from=new_from, **more))
    if isinstance(made, kpis.Sample):
        made = kpis.estimate(made)
    if isinstance(made, tuple):
        made = made[0]
    assert made is not None
    return made


def missing(name: str, rows: Any = BUYERS, **own: Any) -> str:
    with pytest.raises(kpis.Missing) as found:
        counted(name, rows, **own)
    assert found.value.how
    return str(found.value)


def near(found: kpis.Estimate, value: float, half: float | None = None) -> None:
    assert found.value == pytest.approx(value)
    if half is not None:
        assert (found.low, found.high) == (
            pytest.approx(value - 1.959964 * half),
            pytest.approx(value + 1.959964 * half),
        )


def cost(kind: str, amount: float, first: int = 50, last: int = 59, **more: Any) -> dict[str, Any]:
    return {"kind": kind, "first": day(first), "last": day(last), "amount": amount, **more}


# --- who stays, comes and goes --------------------------------------------------------------------
def test_retention_and_lapse() -> None:
    """Active at the start: a, b, c, f, g, h. a, g and h bought; c and f are no longer active."""
    kept, gone = counted("retention"), counted("lapse")
    assert (kept.value, kept.n, gone.value, gone.n) == (0.5, 6, pytest.approx(1 / 3), 6)
    assert (kept.low, kept.high) == (pytest.approx(0.1876, abs=1e-4), pytest.approx(0.8124, abs=1e-4))  # Wilson, 3 of 6


def test_active_is_the_last_twenty_days_to_the_day() -> None:
    """Before day 50: days 30 to 49."""
    rows = [("p", 29, 1), ("q", 30, 1), ("r", 49, 1), ("s", 50, 1), ("t", 2, 1)]
    assert counted("retention", rows).n == 2


def test_the_balance_is_right_to_the_customer() -> None:
    own = settings()
    found = kpis.balance(situation(log(BUYERS), own).period)
    assert found == {"active_start": 6, "lapsed": 2, "new": 1, "won_back": 1, "active_end": 6, "came_and_went": 0}
    near(counted("balance"), 0, math.sqrt(4))  # d and e came, c and f went
    # From day 20 to 80 everyone but e first bought, and nobody bought in the last 20 days.
    whole = kpis.balance(situation(log(BUYERS, 80), own, start=20, end=80).period)
    assert whole == {"active_start": 1, "lapsed": 1, "new": 0, "won_back": 0, "active_end": 0, "came_and_went": 7}


@pytest.mark.parametrize(("days", "hits"), [(15, 1), (14, 1), (13, 0)])
def test_repeat_within_days_of_the_first(days: int, hits: int) -> None:
    """h bought on days 36 and 50. First purchases of the ten days before day 60 - days: a, f, h; f, h, b; f, b."""
    found = counted("repeat", repeat_days=days)
    assert found.n == (3 if days > 13 else 2)
    assert found.value == pytest.approx(hits / found.n)


def test_activation() -> None:
    """First on days 30 to 39: c, g (20 days later again), a, h; f's second day is no occasion."""
    assert counted("activation", activation_orders=2, activation_days=20).value == pytest.approx(3 / 5)


def test_first_purchases_near_the_logs_start_are_not_first() -> None:
    assert "cannot be told" in missing("repeat", repeat_days=15, new_from=40)
    assert "starts" in missing("retention", start=19)


def test_who_is_new_as_far_as_the_log_can_tell() -> None:
    """Most never come back: new is who was not seen for the 20 days of activity. Where all come weekly, for 7."""
    rows = [("a", when, 1) for when in range(0, 60, 7)] + [(f"b{n}", 2 * n, 1) for n in range(9)]
    own = settings()
    assert kpis.period(log(rows), own, day(50), day(60)).new_from == day(20)
    weekly = [(f"c{n}", when, 1) for n in range(5) for when in range(n, 60, 7)]
    assert kpis.period(log(weekly), own, day(50), day(60)).new_from == day(7)


def test_conversion() -> None:
    """Seen on days 40 to 49: one buys after 8 days, one after 10, one after 11, one never; a buyer is no prospect."""
    rows = [
        other("v1", 42, "visit"), ("v1", 50, 1), other("v2", 44, "visit"), other("v3", 49, "visit"), ("v3", 59, 1),
        other("v4", 41, "visit"), ("v4", 52, 1), other("v5", 50, "visit"), ("v6", 43, 1), other("v6", 44, "visit"),
    ]  # fmt: skip
    found = counted("conversion", rows, conversion_days=10)
    assert (found.value, found.n) == (0.5, 4)
    assert "known before the first purchase" in missing("conversion")


def test_who_is_first_seen_with_a_purchase_or_a_return_is_no_prospect() -> None:
    """By days alone a's mail and order are of one time, whatever their types are called; b's return is of an order
    from before the log. c was seen first and bought 3 days later."""
    rows = [other("a", 42, "mail"), ("a", 42, 1), other("d", 42, "visit"), ("d", 42, 1), ("b", 43, 5, RETURN),
            ("b", 45, 1), other("c", 44, "visit"), ("c", 47, 1)]  # fmt: skip
    found = counted("conversion", rows, conversion_days=10)
    assert (found.value, found.n) == (1, 1)


def test_what_is_new_is_not_told_by_what_comes_later() -> None:
    """Known by day 60: weekly buyers and a few with open gaps. Later ones who all stay away change nothing of it."""
    weekly = [(f"c{n}", when, 1) for n in range(5) for when in range(n, 60, 7)]
    later = [(f"d{n}", 62, 1) for n in range(40)]
    own = settings()
    assert kpis.usual_gap(log([*weekly, *later], 90), 20, day(60)) == 7
    for rows, ends in ((weekly, 60), ([*weekly, *later], 90)):
        assert kpis.period(log(rows, ends), own, day(50), day(60)).new_from == day(7)
    told = [kpis.document(log(rows, 90), own, day(60)) for rows in (weekly, [*weekly, *later])]
    assert told[0] == told[1]


def test_events_that_begin_within_the_period_are_not_too_few() -> None:
    """Tickets, referrals and mails come from day 52 on; the period is the days 50 to 59. From day 43 (or 48) on all are
    there: mails of 7 days before count, and tickets of 2 days before had their time."""
    rows = [*BUYERS, other("a", 53, "referral"), other("a", 53, "ticket_opened"), other("a", 54, "ticket_closed"),
            other("a", 51, "mail")]  # fmt: skip
    own = settings(costs=[cost("campaign", 25), cost("support", 25)], events={"contact": ["mail"]})
    kinds = ("referral", "ticket_opened", "ticket_closed", "mail")
    asked = {"referral": 50, "support_in_time": 48, "support_cost": 50, "attributed_roas": 43}
    for name, first in asked.items():
        for late in (0, 1):
            of = log(rows)
            of = dataclasses.replace(of, starts=of.starts | dict.fromkeys(kinds, day(first + late)))
            made = situation(of, own)
            if late:
                with pytest.raises(kpis.Missing, match="events from"):
                    kpis.known(own)[name].of(made)
            else:
                assert kpis.known(own)[name].of(made) is not None


# --- money ------------------------------------------------------------------------------------------
def test_order_value_revenue_and_margin() -> None:
    """Days: a 20, d 30, e 40, g 0, h 5. f's day nets to nothing and is no occasion."""
    near(counted("order_value"), 19, math.sqrt(44.8 * 5 / 4))
    near(counted("revenue"), 95, math.sqrt(2925))
    near(counted("margin"), 47.5, math.sqrt(2925) / 2)
    assert counted("order_value").n == 5


def test_without_amounts_there_is_no_money() -> None:
    rows = [("a", 35, None), ("a", 52, None)]
    for name in ("order_value", "revenue", "margin", "payback"):
        assert missing(name, rows) == "no purchase has an amount"


def test_margins_that_the_log_tells_are_not_passed_over_in_silence() -> None:
    own = settings()
    for rows, told in ((BUYERS, False), ([*BUYERS, ("z", 51, 10, {"margin": 9.0})], True)):
        made = kpis.known(own)["margin"].of(situation(log(rows), own))
        assert ("are not in it" in made.note) is told  # type: ignore[union-attr, operator]


def scores() -> pl.DataFrame:
    return pl.DataFrame({
        "customer_id": ["a", "b", "d", "x"], "value_tier": ["core", "core", "low", None],
        "clv": [10.0, 30.0, 5.0, None], "total_value": [20.0, 40.0, 125.0, None],
    })  # fmt: skip


def test_clv_by_tier() -> None:
    found = kpis.document(log(BUYERS), settings(), day(60), scores=scores())
    rows = {row["name"]: row for row in found["rows"]}
    assert rows["clv"]["value"] == 15 and rows["clv"]["n"] == 3 and rows["clv"]["matured"] is False
    core = rows["clv:core"]
    assert core["value"] == 20 and core["high"] == pytest.approx(20 + 1.959964 * 10)  # u = 5 and -5, times 2 / 1
    assert rows["clv:low"]["value"] == 5 and rows["clv:low"]["low"] is None


def test_cac_takes_the_part_of_a_cost_that_falls_into_the_period() -> None:
    """100 over the days 50 to 69 is 50 in the period; d is its only first-time buyer."""
    own = {"costs": [cost("acquisition", 100, 50, 69, source="web")]}
    assert counted("cac", **own).value == 50
    assert counted("cac:web", **own).value == 50
    assert counted("clv_to_cac", **own, scores=scores()).value == pytest.approx(2.5)
    assert "first bought through mail" in missing("cac:mail", costs=[cost("acquisition", 1, source="mail")])
    assert "no acquisition cost" in missing("cac", costs=[cost("acquisition", 9, 40, 49)])


def test_cac_by_source_is_of_first_purchases() -> None:
    """k came by mail and bought on the web later: of the web there is d alone."""
    rows = [*BUYERS, ("k", 53, 1, {"channel": "mail"}), ("k", 57, 1, {"channel": "web"})]
    found = counted("cac:web", rows, costs=[cost("acquisition", 30, source="web")])
    assert (found.value, found.n) == (30, 1)


@pytest.mark.parametrize(("money", "months"), [(35, (1, 1, 2)), (40, (2, 1, 2)), (80, None)])
def test_payback(money: float, months: tuple[int, int, int] | None) -> None:
    """Margin of the first 30 days: p 15, q 20, mean 17.5; p's next 30: 15. Two first-time buyers share the cost."""
    rows = [("p", 0, 10), ("p", 10, 20), ("p", 40, 30), ("q", 20, 40)]
    own = settings(costs=[cost("acquisition", money, 0, 59)])
    found, why = kpis.known(own)["payback"].of(situation(log(rows), own, start=0))  # type: ignore[misc]
    if months is None:
        assert found is None and why == "not within 2 months: 32.50 of 40.00 earned by then"
        return
    assert (found.value, found.low, found.high) == months  # band of month 1: 17.5 +- 3.46


def test_retention_cost() -> None:
    near(counted("retention_cost", costs=[cost("retention", 30)]), 10, 10 / math.sqrt(3))


def test_attributed_roas() -> None:
    """Contacts 7 days, 1 day and 0 days before a purchase count, 8 days do not: 20 + 30 + 5 for 25."""
    mails = [other(name, when, "mail") for name, when in (("a", 45), ("d", 54), ("e", 50), ("h", 50))]
    found = counted("attributed_roas", [*BUYERS, *mails], costs=[cost("campaign", 25)], events={"contact": ["mail"]})
    near(found, 2.2, math.sqrt(400 + 900 + 25) / 25)
    assert "kpis.costs" not in missing("attributed_roas", costs=[cost("campaign", 25)])


def test_incremental_roas_is_of_campaigns_with_a_holdout() -> None:
    one = {"measurable": True, "cutoff": day(40).isoformat(), "horizon_days": 14, "cost": 60.0, "treated": 90,
           "holdout": 10, "spend": {"effect": 2.0, "low": 1.5, "high": 2.5}}  # fmt: skip
    late = one | {"cutoff": day(50).isoformat()}
    found = counted("incremental_roas", measured={"campaigns": [one, late, one | {"measurable": False}]})
    assert (found.value, found.n) == (pytest.approx(90 * 2.0 / 60), 100)  # 180 sold that else would not have been
    assert found.low == pytest.approx(90 * 1.5 / 60)
    assert "holdout" in missing("incremental_roas", measured={"campaigns": [late]})
    # Two of them: 180 sold by one, 270 by the other, for 120; whatever margin their plans went by.
    both = counted("incremental_roas", measured={"campaigns": [one, one | {
        "margin_share": 0.25, "spend": {"effect": 3.0, "low": 2.0, "high": 4.0}}]})  # fmt: skip
    assert both.value == pytest.approx(450 / 120)
    assert both.low == pytest.approx((450 - math.sqrt(45**2 + 90**2)) / 120)


# --- what customers say -----------------------------------------------------------------------------
def test_nps_takes_each_customers_latest_answer() -> None:
    said = [("a", 51, 9), ("a", 52, 6), ("b", 53, 10), ("c", 54, 7), ("d", 55, 8.5), ("e", 49, 9), ("f", 56, 10)]
    rows = [*BUYERS, *(other(n, w, "nps", v) for n, w, v in said)]
    own = settings()
    made = kpis.known(own)["nps"].of(situation(log(rows), own))
    found = kpis.estimate(made)  # type: ignore[arg-type]
    assert found is not None and (found.value, found.n) == (25, 4)  # -1, +1, 0, +1
    assert made.note == "1 answers that are not whole numbers from 0 to 10 were left out"  # type: ignore[union-attr]
    assert "nobody answered" in missing("nps", [*BUYERS, other("a", 3, "nps", 9)])


def test_money_and_points_of_0_and_1_are_no_shares() -> None:
    """Five passives are an NPS of 0 without spread; orders of 1, 1 and 0 are worth 2/3 +- 1.96 x 1/3, not Wilson's."""
    rows = [*BUYERS, *(other(name, 51, "nps", 7) for name in "abcde")]
    near(counted("nps", rows), 0, 0)
    orders = [("a", 51, 1), ("b", 52, 1), ("c", 53, 0)]
    near(counted("order_value", orders), 2 / 3, math.sqrt(6 / 81 * 3 / 2))


def test_csat_is_the_best_two() -> None:
    rows = [*BUYERS, other("a", 51, "csat", 5), other("b", 52, "csat", 4), other("c", 53, "csat", 3)]
    assert counted("csat", rows).value == pytest.approx(2 / 3)


def test_support() -> None:
    """Opened on days 48 to 57 had two days' time: closed after 1 day, after exactly 2, after 3.5, never."""
    rows = [*BUYERS]
    for name, opened, closed in (("a", 48, 49), ("b", 50, 52), ("c", 55, 58.5), ("d", 59, 59.5), ("e", 56, None)):
        rows.append(other(name, opened, "ticket_opened"))
        rows += [other(name, closed, "ticket_closed")] if closed else []
    assert counted("support_in_time", rows).value == 0.5
    assert counted("support_cost", rows, costs=[cost("support", 80)]).value == 20


def test_referral() -> None:
    rows = [*BUYERS, other("a", 51, "referral"), other("h", 49, "referral"), other("c", 55, "referral")]
    found = counted("referral", rows)  # c is no longer active
    assert (found.value, found.n) == (pytest.approx(1 / 6), 6)


# --- real or noise, aims, what is missing -----------------------------------------------------------
def estimated(value: float, u: list[float], start: int = 0) -> kpis.Estimate:
    ids = [f"c{start + i:02d}" for i in range(len(u))]
    return kpis.Estimate(value, None, None, len(u), pl.DataFrame({"customer_id": ids, "u": u}))


def test_the_test_of_a_change_pairs_customers() -> None:
    now, before = estimated(5, [0.3, 0.1] * 20), estimated(3, [0.2, 0.2] * 20)
    assert kpis.p_of_change(now, before) == pytest.approx(math.erfc(2 / math.sqrt(0.4) / math.sqrt(2)))
    others = estimated(3, [0.2, 0.2] * 20, 40)
    variance = 20 * (0.09 + 0.01) + 40 * 0.04
    assert kpis.p_of_change(now, others) == pytest.approx(math.erfc(2 / math.sqrt(variance) / math.sqrt(2)))
    assert kpis.p_of_change(now, estimated(3, [0.2] * 29)) is None


def test_holm() -> None:
    assert kpis.holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert kpis.holm([]) == [] and kpis.holm([0.9, 0.8]) == [1.0, 1.0]


def test_equal_periods_are_rarely_called_different() -> None:
    """400 pairs of periods of 200 lasting customers with their own rate: about 5% have p below .05."""
    draw = np.random.default_rng(5)
    ids, low = [f"c{i:03d}" for i in range(200)], 0
    for _ in range(400):
        rate = draw.beta(2, 2, 200)
        frames = [pl.DataFrame({"customer_id": ids, "x": (draw.random(200) < rate) * 1.0, "y": 1.0}) for _ in range(2)]
        both = [kpis.estimate(kpis.Sample(frame, "active")) for frame in frames]
        assert both[0] and both[1]
        p = kpis.p_of_change(both[0], both[1])
        assert p is not None
        low += p < 0.05
    assert 8 <= low <= 34  # binomial(400, .05) lies there in 99.9 of 100


def test_the_document_lists_every_kpi_and_what_is_missing() -> None:
    aims = {"retention": {"target": 0.6, "owner": "Ann", "due": "2024-06-30"}, "revenue": {"target": 500},
            "lapse": {"target": 0.9}, "nps": {"target": 30}}  # fmt: skip
    found = kpis.document(log(BUYERS), settings(aims=aims), day(60))
    rows = {row["name"]: row for row in found["rows"]}
    assert set(rows) == set(config.KPIS)
    for row in found["rows"]:
        assert (row["value"] is None) == (row["missing"] is not None) == (row["how"] is not None)
    assert (found["from"], found["until"], found["against_from"]) == ("2024-02-20", "2024-03-01", "2024-02-10")
    assert rows["retention"]["status"] == "open" and rows["retention"]["owner"] == "Ann"
    assert rows["revenue"]["status"] == "missed" and rows["lapse"]["status"] == "reached"  # less lapse is better
    assert rows["nps"]["status"] is None and rows["nps"]["target"] == 30
    assert all(row["change_is"] is None for row in found["rows"])  # six customers are too few to test


def test_a_real_change_is_told_from_noise() -> None:
    """60 customers bought 10 in the period before; in this one 20 each, or 10 for half of them and 9 or 11 else."""
    before = [(f"c{i:02d}", 45, 10) for i in range(60)]
    doubled = before + [(f"c{i:02d}", 55, 20 + i % 2) for i in range(60)]
    same = before + [(f"c{i:02d}", 55, 9 + i % 3) for i in range(60)]
    for rows, said in ((doubled, "real"), (same, "noise")):
        found = {r["name"]: r for r in kpis.document(log(rows), settings(), day(60))["rows"]}
        assert (
            found["revenue"]["change_is"] == found["margin"]["change_is"] == found["order_value"]["change_is"] == said
        )


def test_a_period_is_what_was_known_at_its_end() -> None:
    """A return of day 55 that became known on day 61 is not yet in the period."""
    late = {"event_type": "return", "known_at": "2024-03-02T00:00:00"}
    rows = [("a", 52, 20), ("a", 55, 5, late)]
    own = settings()
    for end, revenue in ((60, 20.0), (62, 15.0)):
        made = kpis.known(own)["revenue"].of(situation(log(rows, 70), own, start=50, end=end))
        found = kpis.estimate(made)  # type: ignore[arg-type]
        assert found is not None and found.value == revenue


@pytest.mark.parametrize(
    ("own", "said"),
    [
        ({"aims": {"retentoin": {"target": 1}}}, "retention"),
        ({"aims": {"nps:core": {"target": 1}}}, "unknown KPI"),
        ({"costs": [{"kind": "campaign", "first": "2024-02-02", "last": "2024-02-01", "amount": 1}]}, "before first"),
        ({"costs": [{"kind": "support", "first": "2024-02-01", "last": "2024-02-01", "amount": 1, "source": "x"}]},
         "by source"),
    ],
)  # fmt: skip
def test_mistakes_in_the_section_are_said(own: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError, match=said):
        settings(**own)


def test_the_section_is_no_part_of_the_recipe() -> None:
    assert settings().recipe_hash == settings(repeat_days=99, aims={"nps": {"target": 1}}).recipe_hash


def test_a_period_before_the_log_has_no_numbers() -> None:
    """The window before day 60 is day 50 to 59; the one before day 8 would begin on day -2."""
    rows = {r["name"]: r for r in kpis.document(log(BUYERS), settings(), day(60), day(8), scores=scores())["rows"]}
    for name, row in rows.items():
        assert row["before"]["value"] is None, name
    assert rows["revenue"]["value"] == 95 and "within or after" in rows["revenue"]["before"]["missing"]


def test_the_dates_must_fit() -> None:
    with pytest.raises(UserError, match="after the log's end"):
        kpis.document(log(BUYERS), settings(), day(61))
    with pytest.raises(UserError, match="earlier date"):
        kpis.document(log(BUYERS), settings(), day(60), day(60))
