"""Tenure, by hand."""

from __future__ import annotations

import datetime as dt

import drawn
import pytest
from written import CUTOFF, back, buy, event, part

NAMES = ("tenure_days", "days_since_first_purchase", "days_from_first_to_second_purchase", "buying_span_share")


def test_tenure_begins_with_the_first_event_of_any_kind() -> None:
    assert part([event("visit", 50), buy(40), buy(31), buy(10)], *NAMES) == [50, 40, 9, 30 / 40]
    assert part([back(50), buy(40)], *NAMES) == [50, 40, None, 0.0]
    assert part([buy(40), event("visit", 3)], *NAMES) == [40, 40, None, 0.0]
    assert part([event("visit", 3)], *NAMES) == [3, None, None, None]


def test_a_voided_first_day_is_an_event_and_no_purchase_day() -> None:
    assert part([buy(50, 5), back(50, 5), buy(40), buy(30)], *NAMES) == [50, 40, 10, 10 / 40]


@pytest.mark.parametrize(("age", "censored"), [(400, 1), (341, 1), (340, 0), (100, 0)])
def test_tenure_is_censored_near_the_start_of_the_log(age: int, censored: int) -> None:
    """The log begins 400 days ago; 90% of gaps end within 60: who came 59 days after the start may be older.

    A purchase before the start would lie at least 60 days before that one; before the next day's, at least 61.
    """
    starts = dict.fromkeys(drawn.KINDS, CUTOFF - dt.timedelta(days=400))
    own = {"starts": starts, "censored_gap_days": 60}
    assert part([event("visit", age), buy(5)], "tenure_is_censored", **own) == [censored]
