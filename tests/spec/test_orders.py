"""Expected orders by hand: one at least for who is active, more by how often it bought, learnt from who bought."""

from __future__ import annotations

import math

import numpy as np
import pytest

from churn_clv.models.linear import Linear
from churn_clv.models.orders import Orders, fit_orders

COLUMNS = ("days_since_last_purchase", "purchase_days_per_week", "purchase_days_last_28d", "purchase_days")


def test_orders_by_hand() -> None:
    """P(active) .6; log1p(3) x .5 + 2 x log(-log .4) = .6931 - .1748: .6 x (1 + exp(.5183)) = 1.6075."""
    own = Orders(Linear(0.0, (0.0,) * 4, (0.0, 0.5, 0.0, 0.0), (0.0,) * 4), 2.0, -5.0, 5.0)
    rows = np.array([[9.0, 3.0, 1.0, 0.0]])
    found = own.expected(rows, np.array([0.4]))
    margin = 0.5 * math.log(4) + 2 * math.log(-math.log(0.4))
    assert found[0] == pytest.approx(0.6 * (1 + math.exp(margin))) == pytest.approx(1.6075, abs=1e-4)


def test_nobody_has_fewer_orders_than_chance_to_be_active_nor_more_than_were_seen() -> None:
    own = Orders(Linear(0.0, (0.0,) * 4, (0.0, 1.0, 0.0, 0.0), (0.0,) * 4), 1.0, -2.0, math.log(9.0))
    silent = np.array([1 - 1e-9, 1e-9, 0.5])
    found = own.expected(np.array([[0.0, 0.0, 0.0, 0.0], [0.0, 1e6, 0.0, 0.0], [0.0, 0.0, 0.0, 0.0]]), silent)
    assert (found >= 1 - silent).all() and found[1] == pytest.approx(10.0)


def test_what_is_learnt_comes_out_right() -> None:
    """1 + Poisson(exp(.2 + .7 log1p(recent))) orders of the active: total and each group's mean come back."""
    draw = np.random.default_rng(1)
    recent = draw.integers(0, 9, 40_000).astype(float)
    silent = np.full(len(recent), 0.5)
    active = draw.random(len(recent)) < 0.5
    orders = np.where(active, 1 + draw.poisson(np.exp(0.2 + 0.7 * np.log1p(recent))), 0).astype(float)
    values = np.column_stack([draw.normal(size=len(recent)), recent, np.full(len(recent), np.nan), recent])
    own = fit_orders(values, COLUMNS, silent, orders)
    assert own.linear.weight[0] == own.linear.weight[2] == own.linear.weight[3] == 0
    assert own.linear.weight[1] == pytest.approx(0.7, abs=0.02)
    found = own.expected(values, silent)
    kept = found[active] / 0.5
    assert kept.sum() == pytest.approx(orders.sum(), rel=1e-3)
    for k in range(9):
        assert found[recent == k].mean() == pytest.approx(0.5 * (1 + math.exp(0.2) * (1 + k) ** 0.7), rel=0.04)


def test_who_is_likelier_to_buy_buys_more_where_nothing_else_is_known() -> None:
    draw = np.random.default_rng(2)
    rate = draw.gamma(2.0, 1.0, 20_000)
    orders = draw.poisson(rate).astype(float)
    own = fit_orders(np.empty((len(rate), 0)), (), np.exp(-rate), orders)
    found = own.expected(np.empty((3, 0)), np.exp(-np.array([0.5, 1.0, 4.0])))
    assert found == pytest.approx([0.5, 1.0, 4.0], rel=0.15)


def test_one_order_each_and_nobody_at_all() -> None:
    orders = np.array([1.0, 0.0, 1.0, 1.0])
    own = fit_orders(np.array([[0.0, 2.0, 1.0, 0.0]] * 4), COLUMNS, np.full(4, 0.25), orders)
    assert own.expected(np.array([[0.0, 2.0, 1.0, 0.0]]), np.array([0.25])) == pytest.approx([0.75])
    with pytest.raises(ValueError, match="none of 2 customers bought"):
        fit_orders(np.zeros((2, 4)), COLUMNS, np.full(2, 0.5), np.zeros(2))


def test_one_row_comes_out_as_among_many() -> None:
    draw = np.random.default_rng(3)
    values = draw.integers(0, 30, (999, 4)).astype(float)
    values[draw.random(values.shape) < 0.1] = np.nan
    silent = draw.random(999)
    own = fit_orders(values, COLUMNS, silent, draw.poisson(2.0, 999).astype(float))
    together = own.expected(values, silent)
    assert [own.expected(values[i : i + 1], silent[i : i + 1])[0] for i in range(0, 999, 37)] == together[::37].tolist()
