"""The rungs: baselines that every report shows beside the model and that promotion compares it with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from churn_clv import metrics
from churn_clv.metrics import Array
from churn_clv.models.linear import Linear, squeezed
from churn_clv.models.predict import sigmoid

# The logistic regression's ridge penalties that validation compares, as scikit-learn's C. Its default, the first, is
# too weak for snapshots that say nearly the same of one customer week after week.
CS = (1.0, 0.1, 0.01, 0.001)


@dataclass(frozen=True)
class Rung:
    """A baseline's predictions, row by row of the matrix it was asked about.

    ``churn_score`` rises with the risk and is a probability where ``churn_is_probability``; ``spend`` is in major
    units. None where the rung has nothing to say.
    """

    name: str
    churn_score: Array | None
    churn_is_probability: bool
    spend: Array | None


def recency_rule(matrix: pl.DataFrame, column: str = "days_since_last_purchase") -> Rung:
    """The longer silent, the likelier to churn: a ranking, no probability."""
    return Rung("recency_rule", complete(matrix, column), False, None)


def last_horizon_spend(matrix: pl.DataFrame, column: str, scale: float = 1.0) -> Rung:
    """Each customer spends again what the last horizon brought, at least 0.

    ``column`` holds the net spend of a window of about the horizon's length; ``scale`` turns it into major units
    and the exact length (cents to euros: .01; a 28-day window for a 30-day horizon: 30 / 28).
    """
    return Rung("last_horizon_spend", None, False, np.maximum(complete(matrix, column) * scale, 0.0))


def logistic(train: pl.DataFrame, churned: npt.ArrayLike, test: pl.DataFrame, columns: Sequence[str]) -> Rung:
    """Logistic regression on the same matrix: P(churned) of the rows of ``test``.

    Learnt from ``train``, in which ``churned`` (rows,) is known. Skewed columns are squeezed by a signed log1p,
    nulls take the training median beside a 0/1 column that marks them, all is scaled to mean 0 and deviation 1, and
    the ridge penalty is scikit-learn's default (C = 1). ValueError where ``churned`` holds one class.
    """
    fitted = fit_linear(_raw(train, columns), np.asarray(churned, dtype=np.float64))
    return Rung("logistic", sigmoid(fitted.margin(_raw(test, columns))), True, None)


def fit_linear(values: Array, churned: Array, c: float = CS[0]) -> Linear:
    """Logistic regression of ``churned`` (rows,) on (rows, columns), ridge penalty 1 / ``c`` (scikit-learn's C).

    Columns are squeezed and scaled to deviation 1, nulls take the training median beside a 0/1 column that marks them.
    ValueError where ``churned`` holds one class.
    """
    from sklearn.linear_model import LogisticRegression  # here: only the lab has scikit-learn

    if len(np.unique(churned)) != 2:
        found = f"{churned.sum():.0f} of {len(churned)} churned"
        raise ValueError(f"logistic needs churners and stayers to learn from, found {found}")
    unknown = np.isnan(values)
    known = ~unknown.all(axis=0)  # a column that training never saw says nothing
    marked = known & unknown.any(axis=0)
    middle = np.zeros(values.shape[1])
    middle[known] = np.nanmedian(squeezed(values[:, known]), axis=0)
    filled = np.where(unknown, middle, squeezed(values))
    full = np.hstack((filled[:, known], unknown[:, marked].astype(np.float64)))
    mean, spread = full.mean(axis=0), full.std(axis=0)
    varies = spread > 1e-9 * np.maximum(1.0, np.abs(full).max(axis=0))
    # Newton's steps with a Cholesky factor: a dozen suffice however collinear the columns, lbfgs needs hundreds.
    model = LogisticRegression(C=c, solver="newton-cholesky", max_iter=200)
    model.fit((full - mean)[:, varies] / spread[varies], churned)
    raw = np.zeros(full.shape[1])
    raw[varies] = model.coef_[0] / spread[varies]
    weight, missing = np.zeros(values.shape[1]), np.zeros(values.shape[1])
    weight[known], missing[marked] = raw[: known.sum()], raw[known.sum() :]
    level = float(model.intercept_[0]) - float((raw * mean).sum()) + float((weight * middle).sum())
    return Linear(level, tuple(middle.tolist()), tuple(weight.tolist()), tuple(missing.tolist()))


def best_c(said: Mapping[float, Array], churned: Array) -> float:
    """The C by which the probabilities ``said`` (rows,) have the lowest log loss; the stronger penalty of equals."""
    return min(sorted(said), key=lambda c: metrics.log_losses(churned, said[c]).mean())


def metrics_of(rung: Rung, churned: npt.ArrayLike, spend: npt.ArrayLike | None) -> dict[str, float | None]:
    """Every key of ``metrics.METRIC_KEYS`` for a rung; None where it does not apply.

    ``churned`` (n,) holds 0 and 1; ``spend`` (n,) is in major units, None where the data has no money.
    """
    found: dict[str, float | None] = dict.fromkeys(metrics.METRIC_KEYS)
    labels = np.asarray(churned, dtype=np.float64)
    if rung.churn_score is not None:
        found |= metrics.churn_metrics(labels, rung.churn_score, score_only=not rung.churn_is_probability)
    if rung.spend is not None and spend is not None:
        found |= metrics.spend_metrics(spend, rung.spend)
    rate = float(labels.mean()) if len(labels) else None
    return found | {"churn_rate": rate, "n": len(labels)}


def complete(matrix: pl.DataFrame, column: str) -> Array:
    values = matrix[column].cast(pl.Float64)
    if values.null_count():
        raise ValueError(f"{column} is null in {values.null_count()} of {matrix.height} rows; a rung needs them all")
    return np.asarray(values.to_numpy())


def _raw(matrix: pl.DataFrame, columns: Sequence[str]) -> Array:
    """The columns as (rows, columns) float64, NaN where null."""
    return np.asarray(matrix.select(pl.col(columns).cast(pl.Float64)).to_numpy())
