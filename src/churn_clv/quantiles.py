"""Frozen quantiles, and where a value stands among them (contract K9): nobody moves because others did."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

QUANTILES = 1001


def quantiles_of(values: Floats, count: int = QUANTILES) -> tuple[float, ...]:
    """``count`` quantiles, each a value that occurs."""
    return tuple(float(q) for q in np.quantile(values, np.linspace(0, 1, count), method="inverted_cdf"))


def percentile(quantiles: Sequence[float], values: Floats) -> Floats:
    """Mid-rank position among frozen quantiles, 0 to 100."""
    frozen = np.asarray(quantiles)
    below, upto = np.searchsorted(frozen, values, "left"), np.searchsorted(frozen, values, "right")
    rank = (below + upto) / 2 - 0.5
    return np.clip(rank / (len(frozen) - 1), 0.0, 1.0) * 100
