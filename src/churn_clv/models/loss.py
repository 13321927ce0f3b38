"""From lapse to loss: how many of those who pause stay away (definition D6).

A lapse is no purchase in the horizon; a loss is none in the confirmation window after it either. The churn model
knows lapses, which mature first; the share of them that become losses is read from cutoffs old enough.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from churn_clv.metrics import Array
from churn_clv.models import monotone

BINS, BIN_ROWS = 10, 50
SHRINKAGE = 20.0  # each bin is read as if so many more customers had the overall share


@dataclass(frozen=True)
class LossTable:
    """P(no purchase in the confirmation window either | none in the horizon) at some churn probabilities.

    ``knots`` are probabilities, ``share`` the share lost; both rise.
    """

    knots: tuple[float, ...]
    share: tuple[float, ...]

    def apply(self, probability: Array) -> Array:
        """P(loss) = probability x share at it, of shape (n,): rising, at most the probability; NaN where that is."""
        return probability * monotone.interpolate(probability, self.knots, self.share)


def fit_loss(probability: Array, returned: npt.NDArray[np.bool_]) -> LossTable:
    """The table of customers who lapsed at cutoffs whose confirmation windows are complete.

    ``probability`` (n,): their churn probabilities, out of time. ``returned`` (n,): bought in the confirmation
    window. Up to ten bins of equal mass of at least 50 lapsed, each shrunk to the overall share, then made to rise by
    pooling; under 100 lapsed (or all with one probability) the overall share holds for all. ValueError when nobody
    lapsed, or on a probability outside [0, 1].
    """
    p, lost = np.asarray(probability, dtype=np.float64), ~np.asarray(returned, dtype=np.bool_)
    if p.ndim != 1 or p.shape != lost.shape:
        raise ValueError(f"probability and returned must be two arrays of one length, found {p.shape}, {lost.shape}")
    if not len(p):
        raise ValueError("nobody lapsed at a cutoff with a complete confirmation window: no share can be learnt")
    if (bad := ~((p >= 0) & (p <= 1))).any():
        raise ValueError(f"{bad.sum()} of {len(p)} probabilities are NaN or outside [0, 1]")
    overall = lost.sum() / len(p)
    members = monotone.bins(p, BINS, BIN_ROWS)
    sizes = np.array([float(len(index)) for index in members])
    hits = np.array([float(lost[index].sum()) for index in members])
    share = np.clip(monotone.rising((hits + SHRINKAGE * overall) / (sizes + SHRINKAGE), sizes), 0.0, 1.0)
    knots = [float(np.median(p[index])) for index in members]
    return LossTable(tuple(knots), tuple(share.tolist()))
