"""Monetary, by hand."""

from __future__ import annotations

import math

import drawn
import pytest
from written import NOON, back, buy, event, part

from churn_clv.canonical import Rules

ORDERS = ("mean_order_value", "order_value_sd", "order_value_cv", "order_value_min", "order_value_median",
          "order_value_max", "order_value_first", "order_value_last", "order_value_last_to_mean",
          "order_value_last_three_to_mean")  # fmt: skip


def test_spend_is_purchases_minus_returns_on_their_own_days() -> None:
    events = [buy(30, 100), back(5, 40), buy(3, 7.57)]
    names = ("spend", "spend_last_7d", "spend_last_28d", "spend_last_56d")
    assert part(events, *names) == [67.57, -32.43, -32.43, 67.57]
    assert part(events, "spend_from_28d_to_56d", "spend_from_7d_to_14d") == [100.0, 0.0]


def test_spend_counts_voided_days_too() -> None:
    assert part([buy(3, 20), back(3, 25)], "spend", "spend_last_7d", "mean_order_value") == [-5.0, -5.0, None]


def test_window_edges() -> None:
    assert part([buy(7, 1, at=NOON * 0), buy(8, 2), buy(0, 4)], "spend_last_7d", "spend") == [1.0, 3.0]


def test_rates() -> None:
    """28 in the last 28 days is 1 a day; 56 in 112 is one half."""
    events = [event("visit", 140), buy(100, 28), buy(10, 28)]
    assert part(events, "spend_per_day", "spend_trend_28d_to_112d") == [56 / 140, 2.0]
    assert part([buy(100, 28), back(10, 28)], "spend_trend_28d_to_112d") == [None]
    assert part([event("visit", 10)], "spend", "spend_per_day", "spend_trend_28d_to_112d") == [0, 0, None]


def test_order_values_are_the_net_money_of_purchase_days() -> None:
    """Days of 10, 50 (30 + 20), 24 (30 less 6 returned that day) and 40; a later return changes none."""
    events = [buy(40, 10), buy(30, 30), buy(30, 20), buy(20, 30), back(20, 6), back(15, 9), buy(10, 40)]
    found = dict(zip(ORDERS, part(events, *ORDERS), strict=True))
    sd = math.sqrt((21**2 + 19**2 + 7**2 + 9**2) / 3)
    assert found == {
        "mean_order_value": 31.0,
        "order_value_sd": pytest.approx(sd, rel=1e-12),
        "order_value_cv": pytest.approx(sd / 31, rel=1e-12),
        "order_value_min": 10.0,
        "order_value_median": 32.0,
        "order_value_max": 50.0,
        "order_value_first": 10.0,
        "order_value_last": 40.0,
        "order_value_last_to_mean": 40 / 31,
        "order_value_last_three_to_mean": pytest.approx(38 / 31, rel=1e-12),
    }
    assert part(events, "mean_order_value_last_28d", "mean_order_value_last_56d") == [32.0, 31.0]


def test_one_purchase_of_nothing() -> None:
    assert part([buy(3, 0)], *ORDERS) == [0.0, None, None, 0, 0, 0, 0, 0, None, None]


def test_one_purchase() -> None:
    assert part([buy(3, 0.29)], *ORDERS) == [0.29, None, None, 0.29, 0.29, 0.29, 0.29, 0.29, 1.0, 1.0]


def test_without_purchases() -> None:
    assert part([event("visit", 3)], *ORDERS, "mean_order_value_last_28d") == [None] * 11


def test_a_currency_without_cents() -> None:
    yen = {"rules": Rules("Asia/Tokyo", "JPY", 0)}
    assert part([buy(3, 12.34)], "spend", "mean_order_value", **yen) == [1234.0, 1234.0]


@pytest.mark.parametrize("cents", [1, 29, 57, 1_005, 123_456_789, 9 * 10**13])
def test_money_is_the_nearest_double(cents: int) -> None:
    """Also in a frame of many rows: one cent is 0.01, not 1 times one hundredth rounded twice."""
    events = [buy(3) | {"customer_id": who, "amount": cents} for who in ("c", "d", "e")]
    rows = drawn.matrix_of(events, drawn.definitions())
    assert rows["spend"].to_list() == [cents / 100] * 3
