"""How many purchase days the horizon will bring: P(active) x the orders of an active customer (definition D17).

An active customer has one order at least, and as many more as a Poisson regression says from two things: how often it
bought of late, and the hazard of buying at all. A Poisson quasi-likelihood asks for the mean alone to be right
(Gourieroux, Monfort, Trognon 1984, Econometrica 52(3)), and with an intercept its total is. Learnt out of time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from churn_clv.models.linear import Linear, squeezed

Floats = NDArray[np.float64]
WINDOW, RATE = "purchase_days_last_", "purchase_days_per_week"
RIDGE, STEPS = 1.0, 100
CERTAIN = 1e-9


@dataclass(frozen=True)
class Orders:
    """Orders beyond the first of an active customer: exp of a sum over columns and over the log of the hazard.

    ``linear`` is over the matrix's columns, in their order; the hazard is -log P(no purchase). The sum is kept within
    ``low`` and ``high``, the range that learning saw: a customer beyond all others is no reason to go on.
    """

    linear: Linear
    hazard: float
    low: float
    high: float

    def expected(self, values: Floats, silent: Floats) -> Floats:
        """Expected purchase days in the horizon, at least P(active); (rows,).

        ``values`` (rows, columns) is the matrix, ``silent`` (rows,) P(no purchase in the horizon).
        """
        margin = np.clip(self.linear.margin(values) + self.hazard * log_hazard(silent), self.low, self.high)
        return np.asarray((1 - silent) * (1 + np.exp(margin)))


def fit_orders(values: Floats, columns: Sequence[str], silent: Floats, orders: Floats) -> Orders:
    """The weights from rows (rows, columns) whose ``orders`` (rows,) came, with their P(no purchase) out of time.

    Only who bought is learnt from; ValueError where nobody did. Columns are the purchase days of each window and per
    week; one that is null anywhere says more of the log's age than of customers (so does a lifetime's count), and is
    left out. A weak ridge (one customer's worth) keeps the weights finite.
    """
    active = orders > 0
    if not active.any():
        raise ValueError(f"none of {len(orders)} customers bought: orders cannot be learnt")
    named = [i for i, name in enumerate(columns) if name.startswith(WINDOW) or name == RATE]
    places = [i for i in named if not np.isnan(values[:, i]).any()]
    found = [squeezed(np.ascontiguousarray(values[active, i])) for i in places]
    middles = [float(x.mean()) for x in found]
    filled = [x - m for x, m in zip(found, middles, strict=True)]
    hazard = log_hazard(silent[active])
    design = np.column_stack([*filled, hazard - hazard.mean()])
    level, weights = _poisson(design, orders[active] - 1)
    middle, weight = np.zeros(len(columns)), np.zeros(len(columns))
    middle[places], weight[places] = middles, weights[:-1]
    linear = Linear(level - float(weights[-1] * hazard.mean()), tuple(middle.tolist()), tuple(weight.tolist()),
                    (0.0,) * len(columns))  # fmt: skip
    margin = level + design @ weights
    return Orders(linear, float(weights[-1]), float(margin.min()), float(margin.max()))


def log_hazard(silent: Floats) -> Floats:
    """Log of the horizon's cumulative hazard, -log P(no purchase); (rows,)."""
    return np.asarray(np.log(-np.log(np.clip(silent, CERTAIN, 1 - CERTAIN))))


def _poisson(design: Floats, counts: Floats) -> tuple[float, Floats]:
    """Level and weights of log E[counts] by Newton's method; columns are scaled to deviation 1 for the ridge."""
    spread = design.std(axis=0)
    scaled = design / np.where(spread > CERTAIN, spread, np.inf)
    full = np.column_stack([np.ones(len(counts)), scaled])
    ridge = RIDGE * np.eye(full.shape[1])
    ridge[0, 0] = 0.0
    beta = np.zeros(full.shape[1])
    beta[0] = np.log(max(counts.mean(), CERTAIN))
    if counts.sum() > 0:
        loss = _loss(full, counts, beta, ridge)
        for _ in range(STEPS):
            mean = np.exp(full @ beta)
            step = np.linalg.solve((full * mean[:, None]).T @ full + ridge, full.T @ (counts - mean) - ridge @ beta)
            share = 1.0
            while share > CERTAIN and not _loss(full, counts, beta + share * step, ridge) <= loss:
                share /= 2  # a full step from afar may overshoot
            beta = beta + share * step
            loss = _loss(full, counts, beta, ridge)
            if float(np.abs(share * step).max()) < CERTAIN:
                break
    return float(beta[0]), np.asarray(beta[1:] / np.where(spread > CERTAIN, spread, np.inf))


def _loss(full: Floats, counts: Floats, beta: Floats, ridge: Floats) -> float:
    with np.errstate(over="ignore"):
        margin = full @ beta
        return float(np.exp(margin).sum() - (counts * margin).sum() + beta @ ridge @ beta / 2)
