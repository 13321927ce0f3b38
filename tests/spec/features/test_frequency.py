"""Frequency, by hand."""

from __future__ import annotations

import math

import pytest
from written import INSTANT, NOON, back, buy, event, part

GAPS = ("gap_days_mean", "gap_days_sd", "gap_days_cv", "gap_days_min", "gap_days_max", "gap_days_median",
        "gap_days_last", "gap_last_to_mean", "gap_last_three_to_mean", "gap_days_slope", "clumpiness")  # fmt: skip


@pytest.mark.parametrize("window", [7, 14, 28, 56, 112, 224])
def test_a_window_holds_its_first_instant_and_not_the_one_before(window: int) -> None:
    name = f"purchase_days_last_{window}d"
    assert part([buy(window, at=NOON * 0)], name) == [1]
    assert part([buy(window, at=-INSTANT)], name) == [0]
    assert part([buy(0, at=-INSTANT), buy(0, at=NOON * 0)], name) == [1]


def test_purchase_days_and_their_rate() -> None:
    names = ("purchase_days", "purchase_days_last_28d", "purchase_days_per_week")
    assert part([event("visit", 35), buy(30), buy(28), buy(3), buy(3)], *names) == [3, 2, 3 * 7 / 35]
    assert part([event("visit", 35)], *names) == [0, 0, 0]


@pytest.mark.parametrize(
    ("events", "days"),
    [
        ([buy(3, 0)], 1),
        ([buy(3, None)], 1),
        ([buy(3, 20), back(3, 20)], 0),
        ([buy(3, 20), back(3, 30)], 0),
        ([buy(3, 20), back(3, 19)], 1),
        ([buy(3, 0), back(3, 0)], 0),
        ([back(3)], 0),
        ([buy(3, 20), buy(3, 5), back(3, 20)], 1),
    ],
)
def test_what_an_occasion_is(events: list[dict[str, object]], days: int) -> None:
    """A purchase whose day does not net to zero or below by returns; an order of zero is one."""
    assert part(events, "purchase_days") == [days]


def test_purchase_events_are_lines_on_purchase_days() -> None:
    events = [buy(29), buy(28), buy(5), buy(5), buy(4), back(4)]
    assert part(events, "purchase_events_last_28d") == [3]


def test_blocks_and_their_trends() -> None:
    """3 days in the last week and 1 in the week before: 3/7 - 1/7 over 4/14 is 1."""
    events = [buy(a) for a in (30, 10, 3, 2, 1)]
    assert part(events, "purchase_days_from_7d_to_14d", "purchase_days_trend_7d_to_14d") == [1, 1.0]
    # 4 of the last 14 days, none of the 14 before: 4/14 over 4/28
    assert part(events, "purchase_days_from_14d_to_28d", "purchase_days_trend_14d_to_28d") == [0, 2.0]
    # 4/28 - 1/28 over 5/56
    assert part(events, "purchase_days_from_28d_to_56d", "purchase_days_trend_28d_to_56d") == [1, 1.2]
    assert part([buy(30)], "purchase_days_trend_7d_to_14d", "purchase_days_trend_28d_to_56d") == [None, -2.0]


def test_gaps() -> None:
    """Purchase days 31, 21, 19 and 12 days ago: gaps 10, 2, 7."""
    found = dict(zip(GAPS, part([buy(a) for a in (31, 21, 19, 12)], *GAPS), strict=True))
    sd = math.sqrt(((10 - 19 / 3) ** 2 + (2 - 19 / 3) ** 2 + (7 - 19 / 3) ** 2) / 2)
    entropy = -sum(p / 19 * math.log(p / 19) for p in (10, 2, 7))
    assert found == {
        "gap_days_mean": 19 / 3,
        "gap_days_sd": pytest.approx(sd, rel=1e-12),
        "gap_days_cv": pytest.approx(sd / (19 / 3), rel=1e-12),
        "gap_days_min": 2,
        "gap_days_max": 10,
        "gap_days_median": 7,
        "gap_days_last": 7,
        "gap_last_to_mean": 7 / (19 / 3),
        "gap_last_three_to_mean": 1.0,
        "gap_days_slope": -1.5,  # (7 - 10) / 2
        "clumpiness": pytest.approx(1 - entropy / math.log(3), abs=2e-6),
    }


def test_the_last_three_gaps() -> None:
    """Gaps 20, 2, 3, 4: the last three average 3, all four 29/4."""
    assert part([buy(a) for a in (39, 19, 17, 14, 10)], "gap_last_three_to_mean") == [3 / (29 / 4)]


@pytest.mark.parametrize(
    ("ages", "expected"),
    [
        ([40, 30, 20, 10], 0.0),
        ([110, 11, 10], 0.91921),  # 99 and 1 of 100: 1 + (.99 log .99 + .01 log .01) / log 2
        ([110, 109, 10], 0.91921),
    ],
)
def test_clumpiness(ages: list[int], expected: float) -> None:
    """0 for even gaps, near 1 where one gap holds nearly all of the time, in whichever order."""
    assert part([buy(a) for a in ages], "clumpiness") == [pytest.approx(expected, abs=1e-5)]


def test_few_purchase_days_leave_gaps_null() -> None:
    assert part([buy(10)], *GAPS) == [None] * len(GAPS)
    assert part([event("visit", 10)], *GAPS) == [None] * len(GAPS)
    assert part([buy(20), buy(10)], *GAPS) == [10, None, None, 10, 10, 10, 10, 1, 1, None, None]


def test_weekdays() -> None:
    """One day before the Monday is a Sunday, two a Saturday, three a Friday."""
    names = ("weekend_share", "weekdays_distinct")
    assert part([buy(3), buy(2), buy(1)], *names) == [2 / 3, 3]
    assert part([buy(8), buy(1), buy(15)], *names) == [1.0, 1]
    assert part([buy(7)], *names) == [0.0, 1]
    assert part([event("visit", 1)], *names) == [None, None]


def test_active_weeks_count_back_from_the_cutoff() -> None:
    names = ("active_weeks_last_112d", "active_weeks_share_last_112d")
    assert part([buy(1), buy(7)], *names) == [1, 1 / 16]
    assert part([buy(7), buy(8), buy(112), buy(113)], *names) == [3, 3 / 16]
    # a window of 30 days has five weeks, the last one cut short
    odd = {"windows_days": (7, 14, 28, 30, 60)}
    events = [buy(a) for a in (1, 8, 15, 22, 29, 31)]
    assert part(events, "active_weeks_last_30d", "active_weeks_share_last_30d", **odd) == [5, 1.0]
