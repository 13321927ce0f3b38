"""Recency, by hand."""

from __future__ import annotations

import math

import pytest
from written import INSTANT, NOON, back, buy, event, part

SINCE = "days_since_last_purchase"
LAST_FEW = (SINCE, "days_since_previous_purchase", "days_since_fifth_last_purchase")
OVERDUE = ("overdue_ratio", "overdue_mean_ratio", "overdue_longest_ratio", "overdue_sd")


@pytest.mark.parametrize(
    ("ages", "expected"),
    [
        ([1], [1, 1, 1]),
        ([9, 1], [1, 9, 9]),
        ([60, 50, 41, 33, 26], [26, 33, 60]),
        ([70, 60, 50, 41, 33, 26], [26, 33, 60]),
    ],
)
def test_days_since_the_last_few_purchases(ages: list[int], expected: list[float]) -> None:
    assert part([buy(a) for a in ages], *LAST_FEW) == expected


def test_an_event_at_the_cutoff_is_not_past_and_one_an_instant_before_is() -> None:
    assert part([buy(5), buy(0, at=NOON * 0)], SINCE) == [5]
    assert part([buy(5), buy(0, at=-INSTANT)], SINCE) == [1]
    assert part([buy(5), buy(1, at=NOON * 0)], SINCE) == [1]
    assert part([buy(5), buy(1, at=-INSTANT)], SINCE) == [2]


def test_two_purchases_of_one_day_are_one_purchase_day() -> None:
    assert part([buy(9), buy(3), buy(3, at=INSTANT)], *LAST_FEW) == [3, 9, 9]


def test_a_voided_day_is_no_purchase_day() -> None:
    assert part([buy(9), buy(3, 20), back(3, 20)], SINCE) == [9]
    assert part([buy(9), buy(3, 20), back(3, 19.99)], SINCE) == [3]
    assert part([buy(9), buy(3, 20), back(2, 20)], SINCE) == [3]


def test_overdue_against_own_gaps() -> None:
    """Gaps 10 and 8, then 12 days of silence: median and mean 9, sd sqrt(2)."""
    assert part([buy(a) for a in (30, 20, 12)], *OVERDUE) == [12 / 9, 12 / 9, 12 / 10, 3 / math.sqrt(2)]


def test_overdue_is_null_where_it_has_no_rhythm_to_compare_with() -> None:
    assert part([buy(12)], *OVERDUE) == [None] * 4
    assert part([buy(20), buy(12)], *OVERDUE) == [12 / 8, 12 / 8, 12 / 8, None]
    assert part([buy(28), buy(20), buy(12)], *OVERDUE)[3] is None


def test_silence_as_a_share_of_tenure() -> None:
    assert part([event("visit", 40), buy(30), buy(10)], "silence_share") == [10 / 40]
    assert part([buy(10)], "silence_share") == [1.0]


def test_without_purchases_all_is_null() -> None:
    assert part([event("visit", 40)], *LAST_FEW, *OVERDUE, "silence_share") == [None] * 8
