"""Price, by hand."""

from __future__ import annotations

import drawn
from written import back, buy, event, part

from churn_clv import features

NAMES = ("discount", "discount_share", "discounted_lines_share", "days_since_last_discount", "discount_last_28d",
         "discount_share_last_28d")  # fmt: skip


def test_discounts() -> None:
    """2 off a price of 10 and 1 off 6, one line at the full price of 12: 3 of 28."""
    events = [buy(40, 8, discount=2), buy(10, 5, discount=1), buy(9, 12, discount=0)]
    assert part(events, *NAMES) == [3.0, 3 / 28, 2 / 3, 10, 1.0, 1 / 18]


def test_a_discount_on_a_return_is_none_received() -> None:
    assert part([buy(9, 8), back(5, 8, discount=2)], *NAMES) == [0, 0, 0, None, 0, 0]


def test_a_gift_is_all_discount() -> None:
    assert part([buy(9, 0, discount=5)], *NAMES) == [5.0, 1.0, 1.0, 9, 5.0, 1.0]


def test_without_money_or_purchases() -> None:
    assert part([buy(40, 0)], *NAMES) == [0, None, 0, None, 0, None]
    assert part([event("visit", 3)], *NAMES) == [0, None, None, None, 0, None]


def test_without_amounts_there_are_no_shares_of_money() -> None:
    only = features.names(drawn.definitions(columns=("discount",)))
    assert "discount" in only and not [n for n in only if n.startswith("discount_share")]
    assert "price" in features.left_out(drawn.definitions(columns=("amount",)))
