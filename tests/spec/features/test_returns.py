"""Returns, by hand."""

from __future__ import annotations

import drawn
from written import back, buy, event, part

from churn_clv import features

NAMES = ("return_days", "voided_days", "days_since_last_return", "return_days_share", "returned", "returned_share")


def test_returns_on_their_own_days() -> None:
    events = [buy(40, 30), buy(35, 10), back(30, 5), back(30, 3), back(5, 2)]
    assert part(events, *NAMES) == [2, 0, 5, 1.0, 10.0, 0.25]
    names = [f"{what}_last_{w}d" for w in (28, 56) for what in ("return_days", "returned")]
    assert part(events, *names) == [1, 2.0, 2, 10.0]


def test_a_voided_day() -> None:
    assert part([buy(40, 30), buy(5, 10), back(5, 10)], *NAMES) == [1, 1, 5, 1.0, 10.0, 0.25]


def test_a_partial_reversal_voids_nothing() -> None:
    assert part([buy(5, 10), back(5, 4)], *NAMES) == [1, 0, 5, 1.0, 4.0, 0.4]


def test_returns_without_purchases() -> None:
    """Of things bought before the log began."""
    assert part([back(5, 4)], *NAMES) == [1, 0, 5, None, 4.0, None]
    assert part([event("visit", 5)], *NAMES) == [0, 0, None, None, 0.0, None]


def test_only_where_the_log_has_returns() -> None:
    assert "returns" in features.left_out(drawn.definitions(event_types=("purchase",)))
    only = features.names(drawn.definitions(columns=()))
    assert "return_days" in only and "returned" not in only
