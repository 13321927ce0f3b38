"""Two rungs that marketers know: the lifetime rate, and cells of recency, frequency and spend."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import polars as pl

from churn_clv.metrics import Array
from churn_clv.models.baseline import Rung, complete

# A customer's own mean order value counts as many orders as it has, the reference's as this many.
SHRINK_ORDERS = 1.0
# Values above this many medians count as that in a typical value: one wholesaler must not price everybody.
CAP_MEDIANS = 20.0
# A cell's own outcome counts as many rows as it has, that of the wider cell around it as this many.
SHRINK_ROWS = 20.0


def lifetime_rate(matrix: pl.DataFrame, horizon_days: int, reference: pl.DataFrame | None = None) -> Rung:
    """Everybody goes on as on average so far.

    Orders per day are x / T: x the purchase days after the first (which only starts the clock, as in the BTYD
    literature), T the days since the first; both are joined by one horizon at the pooled rate of ``reference``
    (default: ``matrix``), or a customer of yesterday would buy either nothing or every day for ever. That rate in turn
    has half a repeat and one horizon added, so that it is never 0. Spend is rate x horizon x mean order value, shrunk
    towards the reference's; None without amounts. The churn score exp(-rate x horizon) is a ranking: who has left for
    good has a rate too.
    """
    reference = matrix if reference is None else reference
    repeats, days = _life(reference)
    pooled = (repeats.sum() + 0.5) / (days.sum() + horizon_days)
    repeats, days = _life(matrix)
    orders = horizon_days * (repeats + horizon_days * pooled) / (days + horizon_days)
    spend = orders * order_value(matrix, reference) if "mean_order_value" in matrix.columns else None
    return Rung("lifetime_rate", np.exp(-orders), False, spend)


def order_value(matrix: pl.DataFrame, reference: pl.DataFrame) -> Array:
    """Each row's mean order value, shrunk towards the typical one of ``reference``; major units, at least 0."""
    counted, own = complete(matrix, "purchase_days"), complete(matrix, "mean_order_value")
    everybody = typical(complete(reference, "mean_order_value"))
    return np.maximum((counted * own + SHRINK_ORDERS * everybody) / (counted + SHRINK_ORDERS), 0.0)


def typical(values: Array) -> float:
    """The mean of values (n,), those above ``CAP_MEDIANS`` medians counted as that; 0 for none."""
    if not len(values):
        return 0.0
    middle = float(np.median(values))
    return float(np.minimum(values, CAP_MEDIANS * middle).mean()) if middle > 0 else float(values.mean())


def rfm_cells(train: pl.DataFrame, churned: npt.ArrayLike, spend: npt.ArrayLike | None, test: pl.DataFrame) -> Rung:
    """What the customers of the same cell did: fifths of recency x purchase days x spend so far.

    The fifths are cut by the rows of ``train``, whose ``churned`` (rows,) and ``spend`` (rows,) are known; a row's
    place among them is its mid-rank, so ties fall into one fifth. A cell's churn rate and mean spend are shrunk
    towards those of its recency x frequency cell, these towards its recency's, and these towards everybody's; a cell
    without training rows is its parent. Without amounts the third side is left out.
    """
    sides = [c for c in ("days_since_last_purchase", "purchase_days", "spend") if c in train.columns]
    learnt = [complete(train, c) for c in sides]
    cells = [_fifth(values, values) for values in learnt]
    wanted = [_fifth(values, complete(test, c)) for values, c in zip(learnt, sides, strict=True)]
    rate = _shrunk(cells, np.asarray(churned, dtype=np.float64), wanted)
    money = None if spend is None else _shrunk(cells, np.asarray(spend, dtype=np.float64), wanted)
    return Rung("rfm_cells", rate, True, money)


def _life(matrix: pl.DataFrame) -> tuple[Array, Array]:
    """Purchase days after the first, and days since the first (at least 1)."""
    return complete(matrix, "purchase_days") - 1, complete(matrix, "days_since_first_purchase")


def _fifth(learnt: Array, values: Array) -> npt.NDArray[np.int64]:
    """The fifth (0..4) of the distribution ``learnt`` in which each value's mid-rank lies."""
    ordered = np.sort(learnt)
    twice = np.searchsorted(ordered, values, side="left") + np.searchsorted(ordered, values, side="right")
    return np.asarray(np.minimum(5 * twice // (2 * len(ordered)), 4), dtype=np.int64)


def _shrunk(cells: list[npt.NDArray[np.int64]], outcome: Array, wanted: list[npt.NDArray[np.int64]]) -> Array:
    """The outcome's mean in each wanted cell, shrunk level by level from everybody's."""
    estimate, sides = np.array(outcome.mean()), 0
    own, asked = np.zeros(len(outcome), dtype=np.int64), np.zeros(len(wanted[0]), dtype=np.int64)
    for side, there in zip(cells, wanted, strict=True):
        own, asked, sides = own * 5 + side, asked * 5 + there, sides + 1
        rows = np.bincount(own, minlength=5**sides)
        total = np.bincount(own, weights=outcome, minlength=5**sides)
        parent = np.repeat(np.atleast_1d(estimate), 5)
        estimate = (total + SHRINK_ROWS * parent) / (rows + SHRINK_ROWS)
    return np.asarray(estimate[asked])
