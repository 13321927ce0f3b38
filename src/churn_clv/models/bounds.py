"""How far the money of the next months may lie from the expected (definition D20), where the log has seen them mature.

The interval of the horizon's spend (``models.interval``) for a longer time and for everyone known: learnt at a cutoff
so old that all of these months have come, from predictions that knew nothing later. Those of one stratum have their own
interval where enough of them were there; the other eligible have that of all eligible, the other ineligible none.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from churn_clv.metrics import Array
from churn_clv.models.interval import ORDERS, STRATUM_ROWS, Interval, fit_interval


@dataclass(frozen=True)
class Bounds:
    """An interval of money by stratum, and the one of all eligible for those without (None where nobody was)."""

    pooled: Interval | None
    strata: Mapping[str, Interval]

    def apply(self, expected: Array, strata: npt.ArrayLike) -> tuple[Array, Array]:
        """Low and high money (n,) for the expected (n,) of customers of some strata; NaN where nothing was learnt."""
        label = np.array(strata, dtype=np.str_)
        low, high = np.full(len(expected), np.nan), np.full(len(expected), np.nan)
        for name in (*ORDERS, *(s for s in self.strata if s not in ORDERS)):
            own, here = self.strata.get(name, self.pooled), label == name
            if own is not None and here.any():
                ends = own.apply(expected)
                low, high = np.where(here, ends[0], low), np.where(here, ends[1], high)
        return low, high


def fit_bounds(expected: Array, actual: Array, strata: Sequence[str], miss: float = 0.1) -> Bounds:
    """The bounds that about ``miss`` of the actual moneys (n,) exceed, and at most ``miss`` fall short of.

    ``expected`` (n,) is out of time; a stratum needs 200 rows with an expected above 0 for an interval of its own.
    """
    label, some = np.array(strata, dtype=np.str_), expected > 0
    own = {}
    for name in sorted(set(strata)):
        here = some & (label == name)
        if here.sum() >= STRATUM_ROWS:
            own[name] = fit_interval(expected[here], actual[here], miss)
    eligible = some & np.isin(label, ORDERS)
    return Bounds(fit_interval(expected[eligible], actual[eligible], miss) if eligible.any() else None, own)
