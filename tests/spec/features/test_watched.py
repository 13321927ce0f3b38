"""What a target of a category, a product or a channel counts, in the past, by hand."""

from __future__ import annotations

import drawn
import pytest
from written import CUTOFF, back, buy, event, part

from churn_clv import features

TEA = ("target_tea_days", "days_since_last_target_tea", "target_tea_days_last_28d", "target_tea_days_last_112d")


def test_days_with_the_category() -> None:
    """A day counts once; the window's first day counts, the day before it does not."""
    leaf = {"category": "tea"}
    events = [buy(113, **leaf), buy(112, **leaf), buy(28, **leaf), buy(28, **leaf), buy(29, **leaf), buy(3)]
    assert part(events, *TEA) == [4, 28, 1, 3]
    assert part([buy(3), back(2, **leaf), event("visit", 1, **leaf)], *TEA) == [0, None, 0, 0]


def test_other_event_types_count_where_the_target_says_so() -> None:
    events = [event("visit", 5, channel="store"), event("survey", 9, channel="store"), buy(2, channel="store")]
    assert part(events, "target_shop_call_days", "days_since_last_target_shop_call") == [2, 5]
    assert part(events, "target_two_products_days", "days_since_last_target_two_products") == [0, None]
    assert part(
        [buy(7, product_id="p2"), buy(9, product_id="p1"), buy(1, product_id="x")], "target_two_products_days"
    ) == [2]


def test_a_window_that_starts_before_the_log_is_null() -> None:
    starts = dict.fromkeys(drawn.KINDS, CUTOFF.replace(month=2, day=10))
    assert part([buy(3, category="tea")], *TEA, starts=starts) == [1, 3, None, None]


@pytest.mark.parametrize("watched", [{}, drawn.WATCHED])
def test_the_family_is_there_where_a_target_asks(watched: dict[str, object]) -> None:
    """Where none asks nothing is missing: it is not said to be left out."""
    terms = drawn.definitions(watched=watched)
    assert ("watched" in features.family_of(terms).values()) == bool(watched)
    assert "watched" not in features.left_out(terms)
