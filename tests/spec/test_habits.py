"""Cohorts, journey and affinity by hand; day 0 is Monday, 2024-01-01."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import polars as pl
import pytest
from kpi_logs import ZERO, day, log, other

from churn_clv import affinity, cohorts, events, journey

RETURN = {"event_type": "return"}


# --- cohorts ----------------------------------------------------------------------------------------
def test_cohorts_by_month() -> None:
    """January: a and b; a came in February and April, b returned 4 in February. March: c. May is not over."""
    rows = [
        ("a", 5, 10),
        ("a", 35, 20),
        ("a", 95, 30),
        ("b", 10, 40),
        ("b", 40, 4, RETURN),
        ("c", 62, 7),
        ("d", 125, 1),
    ]
    found = cohorts.document(log(rows, 130), day(130), 20)
    assert (found["unit"], found["ages"], found["currency"]) == ("month", 4, "USD")
    first, second = found["cohorts"]
    assert (first["cohort"], first["n"], first["censored"], second["censored"]) == ("2024-01", 2, True, False)
    assert found["new_from"] == "2024-01-21"  # 20 days after the start: gaps last longer, but nobody is active then
    assert first["retention"] == [1, 0.5, 0, 0.5]
    assert first["revenue"] == [25, 8, 0, 15]
    assert (second["cohort"], second["n"], second["retention"]) == ("2024-03", 1, [1, 0, None, None])
    assert second["revenue"] == [7, 0, None, None]
    table = cohorts.table(found, "retention")
    assert table.columns == ["cohort", "n", "month_0", "month_1", "month_2", "month_3"]
    assert table["month_3"].to_list() == [0.5, None]


def test_a_short_log_has_weeks_from_monday_on() -> None:
    rows = [("a", 6, 1), ("a", 7, 1), ("b", 7, 1), ("b", 27, 1)]  # Sunday of week 0, Monday of week 1
    found = cohorts.document(log(rows, 28), day(28), 20)
    assert [(c["cohort"], c["retention"]) for c in found["cohorts"]] == [
        ("2024-01-01", [1, 1, 0, 0]), ("2024-01-08", [1, 0, 1, None]),
    ]  # fmt: skip
    assert cohorts.document(log(rows, 28), day(27), 20)["cohorts"][0]["retention"] == [
        1,
        1,
        0,
    ]  # the last Sunday is missing


def test_cohorts_without_money_or_without_a_whole_unit() -> None:
    found = cohorts.document(log([("a", 1, None), ("a", 9, None)], 20), day(20), 20)
    assert found["money"] is False and found["cohorts"][0]["revenue"] == [None, None]
    assert cohorts.document(log([("a", 1, 1)], 3), day(3), 20)["cohorts"] == []


def test_a_cohort_holds_nothing_of_before_its_first_purchase_or_after_the_end() -> None:
    """a gave something back before the first order that we know. By day 60 all came weekly; later silence says nothing
    of who was there before."""
    rows = [("a", 3, 4, RETURN), ("a", 5, 10)]
    assert cohorts.document(log(rows, 28), day(28), 20)["cohorts"][0]["revenue"][0] == 10
    weekly = [(f"c{n}", when, 1) for n in range(5) for when in range(n, 60, 7)]
    later = [(f"d{n}", 62, 1) for n in range(40)]
    assert cohorts.document(log([*weekly, *later], 90), day(60), 20)["new_from"] == day(7).isoformat()


# --- journey ----------------------------------------------------------------------------------------
STEPS = [
    ("a", 0, 1), other("a", 5, "visit"), ("a", 8, 1), other("a", 20, "visit"),
    ("b", 10, 1), ("b", 35, 1), other("b", 50, "visit"),
]  # fmt: skip


def test_transitions() -> None:
    """b's visit of day 50 is too fresh to say what follows within 20 days; from day 10 to 35 b was silent."""
    found = journey.document(log(STEPS), day(60), 20, 10)["transitions"]
    assert [(r["from"], r["to"], r["n"], r["share"]) for r in found] == [
        ("purchase", "silence", 1, 0.25), ("purchase", "visit", 3, 0.75),
        ("visit", "purchase", 1, 0.5), ("visit", "silence", 1, 0.5),
    ]  # fmt: skip


def test_a_wait_of_exactly_the_active_days_is_followed_or_still_open() -> None:
    """Day 20 is within 20 days of day 0. From day 20 on 20 days are over by day 41, not by day 40."""
    rows = [("a", 0, 1), ("a", 20, 1)]
    for end, lapses in ((40, 0), (41, 1)):
        found = journey.document(log(rows, 60), day(end), 20, 10)
        told = [("purchase", "purchase", 1), ("purchase", "silence", 1)][: 1 + lapses]
        assert [(r["from"], r["to"], r["n"]) for r in found["transitions"]] == told
        assert found["moments"] == {"lapse": lapses, "repeat": 1}


def test_last_steps_before_lapse_and_before_repeat() -> None:
    """Lapsed on days 28 (visit 8 days before), 30 (none) and 55 (5 days before); bought again on day 8 (3 before)."""
    found = journey.document(log(STEPS), day(60), 20, 10)
    assert found["moments"] == {"lapse": 3, "repeat": 1}
    (row,) = found["steps"]
    assert (row["event_type"], row["lapse"], row["repeat"], row["differ"]) == ("visit", pytest.approx(2 / 3), 1, None)
    assert [(p["path"], p["n"]) for p in found["paths"]["lapse"]] == [("visit", 2), ("nothing", 1)]
    # Day 8 before the moment is in a window of 8 days and not in one of 7.
    for days, share in ((8, 2 / 3), (7, 1 / 3)):
        assert journey.document(log(STEPS), day(60), 20, days)["steps"][0]["lapse"] == pytest.approx(share)


def test_what_surely_differs_is_told() -> None:
    """39 of 40 met a visit before they lapsed on day 20, 1 of 40 before buying again on day 8; mails met both alike."""
    rows = [(f"l{n:02d}", 0, 1) for n in range(40)] + [(f"r{n:02d}", when, 1) for n in range(40) for when in (0, 8)]
    rows += [other(f"l{n:02d}", 15, "visit") for n in range(39)] + [other("r00", 5, "visit")]
    rows += [other(f"l{n:02d}", 15, "mail") for n in range(20)] + [other(f"r{n:02d}", 5, "mail") for n in range(20)]
    found = journey.document(log(rows, 21), day(21), 20, 10)["steps"]
    assert [(r["event_type"], r["lapse"], r["repeat"], r["differ"]) for r in found] == [
        ("mail", 0.5, 0.5, False), ("visit", 0.975, 0.025, True),
    ]  # fmt: skip


def test_a_step_on_the_day_of_the_order_is_not_before_it() -> None:
    rows = [("a", 0, 1), other("a", 8, "visit"), ("a", 8.5, 1)]
    assert journey.document(log(rows, 9), day(9), 20, 10)["paths"]["repeat"] == [
        {"path": "nothing", "n": 1, "share": 1.0}
    ]


def test_paths_hold_the_last_three_steps() -> None:
    kinds = [(1, "mail"), (2, "visit"), (3, "visit"), (4, "chat")]
    rows = [("a", 0, 1), *(other("a", when, kind) for when, kind in kinds), ("a", 6, 1)]
    assert journey.document(log(rows, 7), day(7), 20, 10)["paths"]["repeat"][0]["path"] == "visit > visit > chat"


def test_a_log_of_purchases_only_says_so() -> None:
    found = journey.document(log([("a", 0, 1), ("a", 8, 1)]), day(60), 20, 10)
    assert "no events besides purchases" in found["missing"] and found["steps"] == [] and found["how"]
    assert found["transitions"] == [
        {"from": "purchase", "to": "purchase", "n": 1, "share": 0.5},
        {"from": "purchase", "to": "silence", "n": 1, "share": 0.5},
    ]


# --- affinity ---------------------------------------------------------------------------------------
def baskets(rows: list[tuple[str, int, str]], ends: int = 200) -> events.Log:
    return log([(who, when, 1, {"category": item}) for who, when, item in rows], ends)


def test_what_follows_what() -> None:
    """Of each of ten customers: tea - cups - tea - cups - cake. Two of four nexts are cups after tea; in a random order
    4 x (2 x 2) / (5 x 4) = .8, variance 4 x .2 x .8 = .64. A last tea comes too late.
    """
    order = [(0, "tea"), (5, "cups"), (10, "tea"), (15, "cups"), (20, "cake"), (100, "tea")]
    found = affinity.document(baskets([(f"c{i}", when, item) for i in range(10) for when, item in order]), day(200), 28)
    pair = found["pairs"][0]
    assert (pair["first"], pair["then"], pair["times"], pair["expected"], pair["lift"]) == (
        "tea", "cups", 20, pytest.approx(8), pytest.approx(2.5))  # fmt: skip
    assert pair["p"] == pytest.approx(0.5 * math.erfc(12 / math.sqrt(6.4) / math.sqrt(2)))
    assert (found["tested"], found["kept"]) == (2, 1)  # cups then tea comes 10 times of 8; cake is too rare


def test_who_always_buys_both_says_nothing_of_a_pair() -> None:
    """Beside the ten customers above forty who buy tea and cups on each of three days: 2 more of 2 expected each, and
    no doubt about it, so p stays. 4 x .2 x .8 by the ten alone."""
    order = [(0, "tea"), (5, "cups"), (10, "tea"), (15, "cups"), (20, "cake"), (100, "tea")]
    rows = [(f"c{i}", when, item) for i in range(10) for when, item in order]
    rows += [(f"d{i}", when, item) for i in range(40) for when in (0, 5, 10) for item in ("tea", "cups")]
    pair = affinity.document(baskets(rows), day(200), 28)["pairs"][0]
    assert (pair["first"], pair["then"], pair["times"], pair["expected"]) == ("tea", "cups", 100, pytest.approx(88))
    assert pair["p"] == pytest.approx(0.5 * math.erfc(12 / math.sqrt(6.4) / math.sqrt(2)))


def test_benjamini_and_hochberg() -> None:
    pairs: list[dict[str, Any]] = [
        {"first": str(i), "then": "x", "lift": 1.0, "p": p} for i, p in enumerate((0.9, 0.04, 0.02, 0.01))
    ]
    assert [pair["p"] for pair in affinity.discovered(pairs)] == [0.01, 0.02]  # limits .0125, .025, .0375, .05
    assert affinity.discovered([]) == []


def test_tastes_alone_make_no_pair() -> None:
    """Everyone buys at random by own tastes, in no order: pairs at 5% of false discoveries are rare."""
    draw = np.random.default_rng(3)
    rows = []
    for number in range(150):
        taste = draw.dirichlet(np.full(8, 0.5))
        rows += [(f"c{number}", 5 * t, f"i{draw.choice(8, p=taste)}") for t in range(20)]
    found = affinity.document(baskets(rows), day(200), 28)
    assert found["tested"] == 56 and found["kept"] <= 1


def test_two_kinds_of_customers_make_no_pair() -> None:
    """Half buy tea or cups, half books or pens, at random: cups follow tea by taste alone."""
    draw = np.random.default_rng(4)
    kinds = (("tea", "cups"), ("books", "pens"))
    rows = [(f"c{n}", 5 * t, kinds[n % 2][draw.integers(2)]) for n in range(100) for t in range(20)]
    found = affinity.document(baskets(rows), day(200), 28)
    assert found["tested"] == 4 and found["kept"] == 0


def test_the_next_item_out_of_time() -> None:
    """Ten items, four customers each: all buy theirs again. Everyone's top three guess 12 of 40, their own all."""
    rows = [(f"c{n:02d}", when, f"i{n % 10}") for n in range(40) for when in (10, 50, 150, 190)]
    found = affinity.document(baskets(rows), day(200), 28)["next"]
    assert found["split"] == day(172).isoformat() and found["n"] == 40
    assert found["rules"]["popularity"]["hit"] == 0.3 and found["rules"]["own"]["hit"] == 1
    many = [("a", 1, f"i{n:02d}") for n in range(70)] + [("a", 5, "z"), ("a", 9, "z")]
    assert affinity.next_items(baskets(many), day(200), 28, "own")["items"][0][0] == "z"  # not cut off by its name
    told = affinity.next_items(baskets(rows), day(200), 28, "own")
    assert told.filter(pl.col("customer_id") == "c07")["items"][0][0] == "i7"


def test_what_follows_the_last_purchase_is_guessed_first() -> None:
    """Eight items in a ring, twice round: own tastes are even, and after the last item comes the one begun with."""
    rows = [(f"c{n:02d}", 5 * t, f"i{(n + t) % 8}") for n in range(40) for t in range(16)]
    told = affinity.next_items(baskets(rows), day(200), 28, "affinity").sort("customer_id")
    assert [items[0] for items in told["items"]] == [f"i{n % 8}" for n in range(40)]


def test_which_items_are_common_is_learnt_before_and_rare_ones_are_misses() -> None:
    """Sixty items, two customers each. Then all buy theirs and a new one, which may not take a place among the sixty;
    but one buys something rare alone. Own tastes hit 119 of 120, everyone's three (of two each) one less than 6."""
    rows = [(f"c{n:03d}", when, f"i{n // 2:02d}") for n in range(120) for when in (10, 50)]
    rows += [(f"c{n:03d}", 190, item) for n in range(1, 120) for item in (f"i{n // 2:02d}", "new")]
    rows += [("c000", 190, "rare")]
    found = affinity.document(baskets(rows), day(200), 28)["next"]
    assert (found["n"], found["rules"]["own"]["hit"]) == (120, pytest.approx(119 / 120))
    assert found["rules"]["popularity"]["hit"] == pytest.approx(5 / 120)


def test_without_products_nothing_is_made_up() -> None:
    found = affinity.document(log([("a", 0, 1), ("a", 5, 1)]), day(60), 28)
    assert "neither product nor category" in found["missing"] and found["how"]
    assert affinity.document(baskets([("a", 0, "tea")]), day(60), 28)["missing"]
    few = affinity.document(baskets([("a", 0, "tea"), ("b", 0, "cups")]), day(60), 28)
    assert few["missing"] is None and few["pairs"] == [] and "nobody bought both" in few["next"]["missing"]
    assert ZERO.weekday() == 0
