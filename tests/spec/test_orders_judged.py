"""Expected orders beside what came: totals and Poisson deviance by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from churn_clv.backtest import _clv_bounds, _orders
from churn_clv.models.bounds import Bounds
from churn_clv.models.interval import Interval


def test_poisson_deviance_by_hand() -> None:
    """2 x [2 log(2 / 1) - 2 + 1] = .7726 and 2 x .5 = 1 where none came; their mean .8863."""
    found = _orders.poisson_deviance(np.array([2.0, 0.0]), np.array([1.0, 0.5]))
    assert found == pytest.approx((2 * (2 * math.log(2) - 1) + 1) / 2) == pytest.approx(0.8863, abs=1e-4)
    assert _orders.poisson_deviance(np.array([2.0, 1.0]), np.array([2.0, 1.0])) == 0.0


def test_a_rung_that_cannot_be_judged_is_null() -> None:
    assert _orders._judged(np.array([1.0]), None) == (None, None)
    assert _orders._judged(np.array([0.0]), np.array([1.0])) == (None, None)
    assert _orders._judged(np.array([1.0]), np.array([2.0]))[0] == 2.0


def test_shares_outside_by_hand() -> None:
    """Four with bounds, of whom one lies above; two with a lower end above 0, of whom one lies below it."""
    low = np.array([0.0, 2.0, 2.0, 0.0, np.nan])
    high = np.array([5.0, 5.0, 5.0, 5.0, np.nan])
    found = _clv_bounds.outside(low, high, np.array([6.0, 1.0, 3.0, 0.0, 99.0]))
    assert found == {"n": 4, "miss_above": 0.25, "miss_below": 0.5, "lower_above_zero": 0.5}
    assert _clv_bounds.outside(low[:1], high[:1], np.array([1.0]))["miss_below"] is None


def test_shares_above_had_the_total_been_right_by_hand() -> None:
    """The upper end is twice the expected: 180 is within that of 100 each, not of the 75 that would have been right."""
    own = Bounds(Interval((100.0,), (0.0,), (200.0,)), {"4+": Interval((100.0,), (0.0,), (200.0,))})
    expected, actual, kinds = np.full(4, 100.0), np.array([180.0, 60.0, 60.0, 0.0]), ["4+"] * 4
    assert _clv_bounds.outside(*own.apply(expected, kinds), actual)["miss_above"] == 0.0
    assert _clv_bounds.level_aside(own, expected, kinds, actual) == 0.25
    assert _clv_bounds.level_aside(own, expected, kinds, np.zeros(4)) is None
