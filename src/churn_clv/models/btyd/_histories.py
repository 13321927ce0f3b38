"""Histories in the literature's terms, and how much of them a fit learns from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from churn_clv.metrics import Array
from churn_clv.models.baseline import complete
from churn_clv.models.renewal import COUNT, FIRST, LAST, history

TIMING = (COUNT, FIRST, LAST)

# Customers a fit learns from: above that the parameters are known far better than the model is true.
FIT_ROWS = 10_000
# A fitted total of orders or of money this many times the lifetime rate's, or this part of it, has diverged.
TOTAL_LIMIT = 4.0
# Standard deviation of the log-parameters in the penalised fits: weak, each is free within a factor of 50.
PENALTY_SD = 2.0


@dataclass(frozen=True)
class Histories:
    """Rows in the literature's terms: repeats x (rows,), weeks t_x and T from the end of the first purchase day."""

    x: Array
    last: Array
    now: Array

    def take(self, rows: Any) -> Histories:
        """Some of the rows."""
        return Histories(self.x[rows], self.last[rows], self.now[rows])


def histories(matrix: pl.DataFrame) -> Histories:
    """The rows of a matrix that holds ``TIMING``."""
    return Histories(*history(*(complete(matrix, column) for column in TIMING)))


def sampled(count: int) -> Any:
    """Which of ``count`` rows a fit learns from: all of them, or a fixed part of ``FIT_ROWS``."""
    if count <= FIT_ROWS:
        return slice(None)
    return np.sort(np.random.default_rng(0).choice(count, FIT_ROWS, replace=False))


def near(found: float, simple: float) -> bool:
    """Whether a total is within ``TOTAL_LIMIT`` of the simple rule's; (nearly) nothing is near nothing."""
    return found <= TOTAL_LIMIT * simple + 1e-9 and simple <= TOTAL_LIMIT * found + 1e-9


def base(rows: Histories, money: Array | None = None) -> Any:
    """The rows as clvkit takes them."""
    import pandas as pd
    from clvkit import CustomerBase

    table = {"frequency": rows.x, "recency": rows.last, "T": rows.now}
    return CustomerBase(
        pd.DataFrame(table if money is None else table | {"monetary_value": money}),
        time_unit="W",
        collapse="D",
        observation_period_end=pd.Timestamp(0),  # not read by the models
        has_monetary=money is not None,
        on_negative="net",
    )
