"""Who is predicted how well, and how far totals may be off: the evaluation's tables, as pure functions.

Skill is judged in strata, against each stratum's own base (definition D12): a model that only knows who is new
ranks well overall and says nothing among the new. Totals have one shock for all customers, so their band comes from
past cutoffs, never from the customers' intervals (definition D18).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from churn_clv import metrics
from churn_clv.metrics import Array, Order
from churn_clv.models import interval

Row = dict[str, Any]
Z95 = 1.959963984540054
LEVEL_ORIGINS, LEVEL_SHRINKAGE = 3, 4.0


def by_orders(purchase_days: npt.ArrayLike) -> list[str]:
    """The stratum "1", "2-3" or "4+" of each number of purchase days (n,)."""
    return interval.stratum(purchase_days)


def by_rhythm(days_since_last: npt.ArrayLike, median_gap: npt.ArrayLike) -> list[str]:
    """Each customer (n,) "on time" or "overdue" by the own median gap, "no gap yet" where that is NaN."""
    since, gap = np.asarray(days_since_last, dtype=np.float64), np.asarray(median_gap, dtype=np.float64)
    names = ("overdue", "on time", "no gap yet")
    return [names[i] for i in np.where(np.isnan(gap), 2, since <= gap)]


def table(
    by: str, labels: Sequence[str], cutoffs: Sequence[Any], churned: Array, probability: Array,
    spend: Array | None, expected: Array | None,
) -> list[Row]:  # fmt: skip
    """One row for each stratum in ``labels`` (n,), sorted: how good the predictions (n,) are within it.

    ``churn_skill`` is 1 - log loss / that of the stratum's own churn rate at each cutoff; ``spend_skill`` 1 -
    Tweedie(1.5) deviance / that of the stratum's own mean spend at each cutoff. Both bases are the best constants in
    hindsight, so 0 is no disgrace in a small stratum; below 0 is. ``churn_auroc`` is made within each cutoff, then
    averaged. None where undefined: one class at every cutoff, nobody spends, all spend the same.
    """
    lengths = {len(x) for x in (labels, cutoffs, churned, probability, spend, expected) if x is not None}
    if len(lengths) != 1 or (spend is None) != (expected is None):
        raise ValueError(f"all columns must have one length, found {sorted(lengths)}, and spend and expected come both")
    label, rows = np.array(labels, dtype=np.str_), []
    codes = {cutoff: i for i, cutoff in enumerate(dict.fromkeys(cutoffs))}
    at = np.array([codes[cutoff] for cutoff in cutoffs], dtype=np.intp)
    for name in sorted(set(labels)):
        here = label == name
        y, p, when = churned[here], probability[here], at[here]
        row: Row = {"by": by, "stratum": name, "n": int(here.sum()), "churn_rate": float(y.mean())}
        row["churn_skill"] = _skill(metrics.log_losses, y, p, when)
        row["spend_skill"] = None
        if spend is not None and expected is not None:
            row["spend_skill"] = _skill(metrics.tweedie_deviances, spend[here], expected[here], when)
        row["churn_auroc"] = _auroc(y, p, when)
        row["mean_churn_probability"] = float(p.mean())
        rows.append(row)
    return rows


def total_band(ratios: Sequence[float], independent: int, miss: float = 0.1) -> tuple[float, float]:
    """Where predicted / actual total will lie at the next cutoff, but for ``miss``, from past rolling origins.

    exp(-r), exp(r) with r = t x RMS of the log ratios x sqrt(1 + 1 / k), where k is the number of ``independent``
    origins (whose labels do not overlap) and t the Student quantile with k degrees of freedom. The RMS is about 0:
    totals are not corrected for their level, so a constant error widens the band. With the level known to be 0 the
    factor sqrt(1 + 1 / k) errs to the safe side. ValueError without ratios above 0 or an independent origin.
    """
    logs = _logs(ratios)
    if not 1 <= independent <= len(logs):
        raise ValueError(f"a band needs between 1 and {len(logs)} independent origins, found {independent}")
    if not 0 < miss < 1:
        raise ValueError(f"miss must lie between 0 and 1, found {miss}")
    from scipy.stats import t  # here: only the lab has scipy

    reach = float(t.ppf(1 - miss / 2, independent)) * math.sqrt(float((logs**2).mean()) * (1 + 1 / independent))
    return math.exp(-reach), math.exp(reach)


def level_factor(ratios: Sequence[float], independent: int) -> float:
    """What to multiply totals by, from past predicted / actual: 1 unless three independent origins agree.

    Where at least three ``independent`` origins exist and all ratios lie on one side of 1: the inverse of their
    geometric mean, shrunk to 1 by k / (k + 4) in the exponent. A factor from one origin made totals worse.
    """
    logs = _logs(ratios)
    if independent < LEVEL_ORIGINS or not ((logs > 0).all() or (logs < 0).all()):
        return 1.0
    return math.exp(-float(logs.mean()) * independent / (independent + LEVEL_SHRINKAGE))


def decile_table(expected: Array, spend: Array, probability: Array, churned: Array) -> list[Row]:
    """Means of what was predicted and what came, in ten bins of equal mass by expected spend, decile 10 the highest.

    All (n,); a row that an edge cuts counts on each side by its part, so ``n`` may be a fraction. No rows: [].
    """
    columns = {"expected_spend": expected, "spend": spend, "churn_probability": probability, "churn_rate": churned}
    return tenths(expected, columns)


def tenths(by: Array, columns: Mapping[str, Array]) -> list[Row]:
    """Means of some columns (n,) in ten bins of equal mass by a prediction, as in ``decile_table``."""
    if not len(by):
        return []
    order, size = Order(by), len(by) / 10
    means = {name: (order.tenths(values) / size).tolist() for name, values in columns.items()}
    return [{"decile": i + 1, "n": size} | {name: means[name][i] for name in columns} for i in range(10)]


def reliability_table(churned: Array, probability: Array) -> list[Row]:
    """Predicted against actual churn rate in ten bins of equal mass by probability, lowest first.

    ``low`` and ``high`` are Wilson's 95% interval of the rate (Wilson 1927, JASA 22(158)). No rows: [].
    """
    if not len(churned):
        return []
    order, n = Order(probability), len(churned) / 10
    rate = np.clip(order.tenths(churned) / n, 0.0, 1.0)
    centre = (rate + Z95**2 / (2 * n)) / (1 + Z95**2 / n)
    reach = Z95 / (1 + Z95**2 / n) * np.sqrt(rate * (1 - rate) / n + Z95**2 / (4 * n**2))
    columns = {
        "mean_probability": order.tenths(probability) / n,
        "churn_rate": rate,
        "low": np.clip(centre - reach, 0.0, rate),  # rounding must not put the rate outside
        "high": np.clip(centre + reach, rate, 1.0),
    }
    return [{"n": n} | {name: float(values[i]) for name, values in columns.items()} for i in range(10)]


def gains(churned: Array, score: Array) -> list[float]:
    """Share of all churners among the top 10%, 20% ... 100% by score, ties shared; [] where nobody churned."""
    if not np.any(churned):
        return []
    found = np.cumsum(Order(score).tenths(churned)[::-1]) / churned.sum()
    return [float(share) for share in found]


def _skill(losses: Callable[[Array, Array], Array], actual: Array, predicted: Array, when: Array) -> float | None:
    """1 - loss / loss of each cutoff's own mean, pooled over cutoffs; None where the means leave nothing."""
    groups, counts = np.unique(when, return_inverse=True)[1], np.unique(when, return_counts=True)[1]
    mean = (np.bincount(groups, weights=actual) / counts)[groups]
    if np.allclose(mean, actual, rtol=1e-9, atol=0):  # their loss would be a rounding error instead of 0
        return None
    return 1 - float(losses(actual, predicted).sum() / losses(actual, mean).sum())


def _auroc(churned: Array, probability: Array, when: Array) -> float | None:
    found = []
    for cutoff in np.unique(when):
        y, p = churned[when == cutoff], probability[when == cutoff]
        if 0 < y.sum() < len(y):
            found.append(float(metrics.auroc(Order(p), y, np.ones((1, len(y))))[0]))
    return math.fsum(found) / len(found) if found else None


def _logs(ratios: Sequence[float]) -> Array:
    values = np.asarray(ratios, dtype=np.float64)
    if (bad := ~(np.isfinite(values) & (values > 0))).any():
        raise ValueError(f"{bad.sum()} of {len(values)} ratios are not finite and above 0")
    return np.log(values)
