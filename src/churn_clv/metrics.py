"""How good predictions are: ranking, calibration and money, for arrays of one population.

Every number is safe under ties: rows with equal predictions share their average rank, and a tenth that cuts
through them gets the expected share over all orders of the tied (so the order of rows never matters). Measures
are defined in docs/definitions.md. The sorted forms (``Order`` and the functions that take one) accept weights
of shape (draws, n), so that a bootstrap sorts once; a plain metric is the same function with every weight 1.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]

CHURN_KEYS = (
    "churn_auroc",
    "churn_average_precision",
    "churn_log_loss",
    "churn_brier",
    "churn_ece",
    "churn_ece_floor",
    "churn_calibration_slope",
    "churn_lift_top_decile",
    "churn_rate",
)
SPEND_KEYS = (
    "spend_mae",
    "spend_rmse",
    "spend_wape",
    "spend_total_ratio",
    "spend_tweedie_deviance",
    "spend_spearman",
    "spend_gini",
    "spend_decile_mape",
    "spend_top_decile_share",
)
METRIC_KEYS = (*CHURN_KEYS, *SPEND_KEYS, "n")

PROBABILITY_CLIP = 1e-15  # a probability of 0 or 1 that is wrong costs 34.5, not infinity
SPEND_FLOOR = 0.01  # major units: the Tweedie deviance of a zero prediction is infinite where money came


class Order:
    """The ascending order of a score of shape (n,), equal scores in one group.

    ``starts`` holds each group's first position, so that ``starts`` and ``n`` bound the groups.
    """

    def __init__(self, score: Array) -> None:
        self.n = len(score)
        self.order = np.argsort(score, kind="stable")
        ascending = score[self.order]
        self.starts = np.flatnonzero(np.concatenate(([True], ascending[1:] != ascending[:-1])))

    def sums(self, values: Array) -> Array:
        """Sums of values (..., n) within each group: (..., groups), from the lowest score up."""
        return self.grouped(values[..., self.order])

    def grouped(self, ordered: Array) -> Array:
        """The same for values that already stand in this order."""
        return ordered if len(self.starts) == self.n else np.add.reduceat(ordered, self.starts, axis=-1)

    def tenths(self, values: Array | npt.NDArray[np.bool_]) -> Array:
        """Sums of values (..., n) over ten bins of equal mass: (..., 10), lowest scores first.

        A bin's edge may fall inside a row or a group of ties: each side gets its fraction.
        """
        bounds, edges = np.append(self.starts, self.n), np.arange(11) * self.n / 10
        group = np.clip(np.searchsorted(bounds, edges, side="right") - 1, 0, len(self.starts) - 1)
        below, above = bounds[group], bounds[group + 1]
        cuts = np.unique(np.concatenate((below, above)))  # 0, n and the groups that an edge falls into
        parts = np.add.reduceat(values[..., self.order], cuts[:-1], axis=-1, dtype=np.float64)
        total = np.concatenate((np.zeros((*values.shape[:-1], 1)), np.cumsum(parts, axis=-1)), axis=-1)
        low, high = total[..., np.searchsorted(cuts, below)], total[..., np.searchsorted(cuts, above)]
        return np.diff(low + (edges - below) / (above - below) * (high - low), axis=-1)

    def ranks(self) -> Array:
        """Average rank of each row, 1 for the lowest: (n,)."""
        ends = np.append(self.starts[1:], self.n)
        ranks = np.empty(self.n)
        ranks[self.order] = np.repeat((self.starts + ends + 1) / 2, ends - self.starts)
        return ranks


def auroc(order: Order, churned: Array, weights: Array) -> Array:
    """P(a churner scores above a stayer), ties counting one half; (draws,), NaN with one class."""
    churners = weights @ churned
    with np.errstate(invalid="ignore", divide="ignore"):
        pairs = churners * (weights.sum(axis=-1) - churners)
        return np.asarray(0.5 + _rank_moment(order, churned, weights) / pairs)


def average_precision(order: Order, churned: Array, weights: Array) -> Array:
    """Sum over thresholds of precision x gain in recall, one threshold per distinct score; (draws,)."""
    hits = order.sums(weights * churned)[..., ::-1]
    taken = np.cumsum(order.sums(weights)[..., ::-1], axis=-1)
    with np.errstate(invalid="ignore", divide="ignore"):
        precision = np.where(taken > 0, np.cumsum(hits, axis=-1) / taken, 0.0)
        return np.asarray((hits * precision).sum(axis=-1) / hits.sum(axis=-1))


def normalised_gini(order: Order, ideal: Order, spend: Array, weights: Array) -> Array:
    """Gini of the actual money ordered by prediction over its Gini ordered by itself; (draws,).

    As in Wang, Liu, Miao (2019), arXiv 1912.07753, but by trapezoids, so that a constant prediction scores
    exactly 0 (their step sum leaves 1/n on both sides of the ratio). NaN where all spent the same.
    """
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(_rank_moment(order, spend, weights) / _rank_moment(ideal, spend, weights))


def log_losses(churned: Array, probability: Array) -> Array:
    """Minus the log-likelihood of each row, probabilities clipped to [1e-15, 1 - 1e-15]; (n,)."""
    p = np.clip(probability, PROBABILITY_CLIP, 1 - PROBABILITY_CLIP)
    return -np.where(churned > 0, np.log(p), np.log1p(-p))


def tweedie_deviances(spend: Array, predicted: Array) -> Array:
    """Unit Tweedie deviance of power 1.5, 4 (sqrt y - sqrt m)^2 / sqrt m; (n,).

    Consistent for the mean and defined at y = 0. Predictions below ``SPEND_FLOOR`` count as that.
    """
    root = np.sqrt(np.maximum(predicted, SPEND_FLOOR))
    return np.asarray(4 * (np.sqrt(spend) - root) ** 2 / root)


def expected_calibration_error(churned: Array, probability: Array) -> float:
    """Sum over ten bins of equal mass of n_b / n |mean churned - mean probability|."""
    gaps = Order(probability).tenths(churned - probability)
    return float(np.abs(gaps).sum() / len(probability))


def calibration_floor(probability: Array, draws: int = 200, seed: int = 0) -> float:
    """The mean calibration error that a perfectly calibrated model with these predictions shows.

    Simulated, with churned ~ Bernoulli(probability). An error no larger than this says nothing. Above 200,000
    rows a quarter of the draws will do: the mean is then known to 4% of itself.
    """
    draws = draws if len(probability) <= 200_000 else max(1, draws // 4)
    p = np.sort(probability)  # sorted first: the same draws whatever the order of the rows
    order, random, size = Order(p), np.random.default_rng(seed), max(1, 200_000 // len(p))
    expected, single, total = order.tenths(p), p.astype(np.float32), 0.0
    for first in range(0, draws, size):
        uniform = random.random((min(size, draws - first), len(p)), dtype=np.float32)
        total += float(np.abs(order.tenths(uniform < single) - expected).sum())
    return total / draws / len(p)


def calibration_slope(churned: Array, probability: Array) -> float | None:
    """Slope of a logistic regression of churned on logit(probability): 1 is right, below 1 is overconfident.

    Newton's method with halved steps. None with one class, a constant prediction or a perfect separation.
    """
    p = np.clip(probability, PROBABILITY_CLIP, 1 - PROBABILITY_CLIP)
    x = np.column_stack((np.ones(len(p)), np.log(p) - np.log1p(-p)))
    if len(p) == 0 or not 0 < churned.mean() < 1 or np.ptp(x[:, 1]) == 0:
        return None
    beta = np.array([np.log(churned.mean() / (1 - churned.mean())), 0.0])
    for _ in range(100):
        fitted = 1 / (1 + np.exp(-(x @ beta)))
        curvature = (x * (fitted * (1 - fitted))[:, None]).T @ x
        if np.linalg.matrix_rank(curvature) < 2:
            return None
        step = np.linalg.solve(curvature, x.T @ (churned - fitted))
        while _fit_loss(x, churned, beta + step) > _fit_loss(x, churned, beta) + 1e-9 and np.abs(step).max() > 1e-9:
            step /= 2
        beta = beta + step
        if np.abs(step).max() < 1e-8:
            return float(beta[1])
    return None


def churn_metrics(churned: npt.ArrayLike, score: npt.ArrayLike, *, score_only: bool = False) -> dict[str, float | None]:
    """Every key of ``CHURN_KEYS`` for labels (n,) in {0, 1} and probabilities (n,), or scores that only rank.

    None where a number does not apply: the five that need probabilities with ``score_only``, the ranking with
    one class only, all with no rows. ValueError on NaN, infinity, other labels or probabilities outside [0, 1].
    """
    y, s = _checked(churned, score)
    if not np.isin(y, (0.0, 1.0)).all():
        raise ValueError("churned must hold only 0 and 1")
    if not score_only and ((s < 0) | (s > 1)).any():
        raise ValueError(f"{((s < 0) | (s > 1)).sum()} of {len(s)} probabilities lie outside [0, 1]")
    out: dict[str, float | None] = dict.fromkeys(CHURN_KEYS)
    if len(y) == 0:
        return out
    out["churn_rate"] = float(y.mean())
    if 0 < y.sum() < len(y):
        order, ones = Order(s), np.ones((1, len(s)))
        out["churn_auroc"] = float(auroc(order, y, ones)[0])
        out["churn_average_precision"] = float(average_precision(order, y, ones)[0])
        out["churn_lift_top_decile"] = float(10 * order.tenths(y)[-1] / y.sum())
    if not score_only:
        out["churn_log_loss"] = float(log_losses(y, s).mean())
        out["churn_brier"] = float(((y - s) ** 2).mean())
        out["churn_ece"] = expected_calibration_error(y, s)
        out["churn_ece_floor"] = calibration_floor(s)
        out["churn_calibration_slope"] = calibration_slope(y, s)
    return out


def spend_metrics(spend: npt.ArrayLike, predicted: npt.ArrayLike) -> dict[str, float | None]:
    """Every key of ``SPEND_KEYS`` for actual spend (n,), at least 0, and predicted spend (n,), major units.

    ``spend_decile_mape`` leaves out tenths in which nobody spent: their relative error is undefined. None where
    a number does not apply (nobody spent, all spent the same, no rows). ValueError on NaN, infinity or an actual
    spend below 0.
    """
    y, m = _checked(spend, predicted)
    if (y < 0).any():
        raise ValueError(f"{(y < 0).sum()} of {len(y)} actual spends are below 0; the target is max(0, net)")
    out: dict[str, float | None] = dict.fromkeys(SPEND_KEYS)
    if len(y) == 0:
        return out
    out["spend_mae"] = float(np.abs(m - y).mean())
    out["spend_rmse"] = float(np.sqrt(((m - y) ** 2).mean()))
    out["spend_tweedie_deviance"] = float(tweedie_deviances(y, m).mean())
    order, ideal, ones = Order(m), Order(y), np.ones((1, len(y)))
    if len(ideal.starts) > 1:
        out["spend_gini"] = float(normalised_gini(order, ideal, y, ones)[0])
        if len(order.starts) > 1:
            out["spend_spearman"] = float(np.corrcoef(order.ranks(), ideal.ranks())[0, 1])
    if y.sum() > 0:
        actual, expected = order.tenths(y), order.tenths(m)
        some = actual > 0
        out["spend_wape"] = float(np.abs(m - y).sum() / y.sum())
        out["spend_total_ratio"] = float(m.sum() / y.sum())
        out["spend_decile_mape"] = float((np.abs(expected - actual)[some] / actual[some]).mean())
        out["spend_top_decile_share"] = float(actual[-1] / y.sum())
    return out


def _rank_moment(order: Order, values: Array, weights: Array) -> Array:
    """Sum of weight x value x (average rank - middle rank); (draws,). AUC and Gini are this, rescaled."""
    weighted = weights[..., order.order]  # one gather for both sums: this is the bootstrap's inner loop
    mass, worth = order.grouped(weighted), order.grouped(weighted * values[order.order])
    middle = np.cumsum(mass, axis=-1)
    middle -= middle[..., -1:] / 2 + mass / 2
    return np.asarray(np.einsum("...g,...g->...", worth, middle))


def _fit_loss(x: Array, y: Array, beta: Array) -> float:
    z = x @ beta
    return float(np.logaddexp(0.0, z).sum() - y @ z)


def _checked(actual: npt.ArrayLike, predicted: npt.ArrayLike) -> tuple[Array, Array]:
    y, s = np.asarray(actual, dtype=np.float64), np.asarray(predicted, dtype=np.float64)
    if y.ndim != 1 or y.shape != s.shape:
        raise ValueError(f"actual and predicted must be two arrays of one length, found {y.shape} and {s.shape}")
    for name, values in (("actual", y), ("predicted", s)):
        if not np.isfinite(values).all():
            raise ValueError(f"{(~np.isfinite(values)).sum()} of {len(values)} {name} values are NaN or infinite")
    return y, s
