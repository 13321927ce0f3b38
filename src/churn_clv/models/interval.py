"""How far actual spend may lie from the expected: two tails with miss rates of their own (definition D20).

Learnt from pooled out-of-time predictions: in bins of equal mass by the prediction, never by the outcome, the
conformal quantiles of actual / expected (split conformal prediction: Lei, G'Sell, Rinaldo, Tibshirani and Wasserman
2018, JASA 113(523)). For one bin of n rows, and a new row from the same source, P(actual > high) is
1 - ceil((n + 1)(1 - miss)) / (n + 1) on average over samples, whatever the distribution. A shock that all customers
share is not in it: that is the totals' band (definition D18).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from churn_clv.metrics import Array, Order
from churn_clv.models import monotone

BINS, BIN_ROWS = 10, 50  # a bin of 50 knows its miss rate of .1 to .04
STRATUM_ROWS = 200  # four bins
ORDERS = ("1", "2-3", "4+")
RELIABILITY = dict(zip(ORDERS, ("low", "medium", "high"), strict=True))


@dataclass(frozen=True)
class Interval:
    """Low and high money at some predictions (``knots``, above 0); all three rise, low <= knot <= high.

    Between the knots money is interpolated, below the first and above the last its ratio to the prediction is
    constant. Money lines, not lines of ratios: so both ends rise and enclose the prediction by construction.
    """

    knots: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]

    def apply(self, expected: Array) -> tuple[Array, Array]:
        """Low and high money of shape (n,) for expected spend (n,), at least 0; NaN where that is NaN."""
        left, share = monotone.stand(expected, (0.0, *self.knots))
        beyond, last = expected > self.knots[-1], self.knots[-1]
        low, high = (
            np.where(beyond, expected * (money[-1] / last), monotone.along(left, share, (0.0, *money)))
            for money in (self.low, self.high)
        )
        return np.minimum(low, expected), np.maximum(high, expected)


@dataclass(frozen=True)
class ByOrders:
    """An interval for each stratum of orders that had rows enough, and the one of all rows for the others."""

    pooled: Interval
    strata: Mapping[str, Interval]

    def apply(self, expected: Array, orders: npt.ArrayLike) -> tuple[Array, Array]:
        """As ``Interval.apply``, each row by its number of orders (n,)."""
        low, high = self.pooled.apply(expected)
        label = np.array(stratum(orders), dtype=np.str_)
        for name, own in self.strata.items():
            here = label == name
            if here.any():
                ends = own.apply(expected)
                low, high = np.where(here, ends[0], low), np.where(here, ends[1], high)
        return low, high


def stratum(orders: npt.ArrayLike) -> list[str]:
    """The stratum of each number of orders (n,): "1", "2-3" or "4+"; none or unknown counts as one."""
    n = np.asarray(orders, dtype=np.float64)
    return [ORDERS[i] for i in (n >= 2).astype(int) + (n >= 4)]


def reliability(orders: npt.ArrayLike) -> list[str]:
    """How much a customer's own history can tell, by the number of orders (n,): one "low", 2-3 "medium", 4+ "high".

    A word about evidence, not about the model: with one order there is no gap and no second amount to learn from, so
    the prediction is mostly that of customers alike.
    """
    return [RELIABILITY[name] for name in stratum(orders)]


def fit_interval(expected: Array, actual: Array, miss: float = 0.1) -> Interval:
    """The interval that about ``miss`` of the actual spends exceed, and at most ``miss`` fall short of.

    ``expected`` and ``actual`` (n,) are out-of-time predictions, pooled over origins, and what came: money, at least
    0. Rows with an expected spend of 0 have no ratio and are left out. Up to ten bins of at least 50 rows; fewer rows
    make one bin, and below 9 rows (at a miss of .1) the largest ratio stands in for a quantile that does not exist.
    Upper money that falls between bins is pooled, lower money takes the least above it (the safe side). An upper end
    never lies below the prediction, nor a lower one above it: where fewer than ``miss`` of customers spend more than
    expected, fewer than ``miss`` are missed. ValueError without a usable row, on NaN, infinity or money below 0.
    """
    expected, actual = _checked(expected, actual)
    if not 0 < miss < 0.5:
        raise ValueError(f"miss must lie between 0 and .5, found {miss}")
    some = expected > 0
    expected, actual = expected[some], actual[some]
    if not len(expected):
        raise ValueError("no row with an expected spend above 0: an interval needs at least one")
    members = monotone.bins(expected, BINS, BIN_ROWS)
    knots = np.array([np.median(expected[index]) for index in members])
    tails = np.array([_tails(actual[index] / expected[index], miss) for index in members])
    sizes = np.array([float(len(index)) for index in members])
    low, high = knots * tails[:, 0], knots * tails[:, 1]
    # The minimum of noisy ends is a safe lower end. Their running maximum would cover too much: pool instead.
    low = np.minimum(np.minimum.accumulate(low[::-1])[::-1], knots)
    high = np.maximum(monotone.rising(high, sizes), knots)
    return Interval(tuple(knots.tolist()), tuple(low.tolist()), tuple(high.tolist()))


def fit_by_orders(expected: Array, actual: Array, orders: npt.ArrayLike, miss: float = 0.1) -> ByOrders:
    """``fit_interval`` of all rows, and of each stratum of orders with at least 200 rows of its own."""
    expected, actual = _checked(expected, actual)
    label = np.array(stratum(orders), dtype=np.str_)
    if label.shape != expected.shape:
        raise ValueError(f"expected and orders must have one length, found {expected.shape} and {label.shape}")
    own = {}
    for name in ORDERS:
        here = (label == name) & (expected > 0)
        if here.sum() >= STRATUM_ROWS:
            own[name] = fit_interval(expected[here], actual[here], miss)
    return ByOrders(fit_interval(expected, actual, miss), own)


def coverage(
    interval: Interval | ByOrders, expected: Array, actual: Array, orders: npt.ArrayLike | None = None
) -> dict[str, Any]:
    """Shares of rows outside an interval: overall and per tenth of the prediction, lowest first.

    ``n``, ``miss_above``, ``miss_below`` (among rows whose lower end is above 0, None without any),
    ``lower_above_zero`` (the share of such rows), ``deciles``: [{``decile`` 1..10, ``miss_above``, ``miss_below``}].
    An interval by orders needs the ``orders`` (n,). ValueError without rows.
    """
    expected, actual = _checked(expected, actual)
    if not len(expected):
        raise ValueError("no rows: coverage needs at least one")
    if isinstance(interval, Interval):
        low, high = interval.apply(expected)
    elif orders is not None:
        low, high = interval.apply(expected, orders)
    else:
        raise ValueError("an interval by orders needs the orders of each row")
    above, below, judged = actual > high, actual < low, low > 0
    order, n = Order(expected), len(expected)
    parts = zip(order.tenths(above) * 10 / n, order.tenths(below), order.tenths(judged), strict=True)
    return {
        "n": n,
        "miss_above": float(above.mean()),
        "miss_below": _share(float(below.sum()), float(judged.sum())),
        "lower_above_zero": float(judged.mean()),
        "deciles": [
            {"decile": i, "miss_above": float(over), "miss_below": _share(float(under), float(of))}
            for i, (over, under, of) in enumerate(parts, 1)
        ],
    }


def _tails(ratio: Array, miss: float) -> tuple[float, float]:
    """The lower and the upper conformal quantile of one bin's ratios."""
    ordered, n = np.sort(ratio), len(ratio)
    k = math.floor(round((n + 1) * miss, 9))  # rows that may lie outside; rounded: 100 x .29 is not 29 in floats
    upper = ordered[min(n, n + 1 - k) - 1]  # ceil((n + 1)(1 - miss)) from below
    return (float(ordered[k - 1]) if k else 0.0), float(upper)


def _share(part: float, of: float) -> float | None:
    return part / of if of > 0 else None


def _checked(expected: npt.ArrayLike, actual: npt.ArrayLike) -> tuple[Array, Array]:
    e, a = np.asarray(expected, dtype=np.float64), np.asarray(actual, dtype=np.float64)
    if e.ndim != 1 or e.shape != a.shape:
        raise ValueError(f"expected and actual must be two arrays of one length, found {e.shape} and {a.shape}")
    for name, values in (("expected", e), ("actual", a)):
        if (bad := ~(np.isfinite(values) & (values >= 0))).any():
            raise ValueError(f"{bad.sum()} of {len(values)} {name} spends are NaN, infinite or below 0")
    return e, a
