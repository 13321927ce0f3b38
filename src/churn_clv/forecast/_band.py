"""How far a forecast may lie from what comes: from its own errors at earlier origins (definitions D18, D19)."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Sequence
from dataclasses import dataclass

from churn_clv import strata, timeline


@dataclass(frozen=True)
class Pair:
    """What was said of the window from ``cutoff`` on, and what came (major units)."""

    cutoff: dt.date
    said: float
    came: float


def band(
    expected: float, origins: Sequence[Pair], moves: Sequence[Pair], horizon_days: int
) -> tuple[float, float] | None:
    """Where the money will lie in 9 of 10 cases; None without origins.

    From the ratios said / came of the ``origins``. ``moves`` say of each window what the one before it brought: given
    where no season is learnt, the wider of the two counts. Where a window brought or was said to bring nothing, ratios
    say nothing, and the differences take their place.
    """
    if not origins:
        return None
    found = [_reach(expected, pairs, horizon_days) for pairs in (origins, moves) if pairs]
    return min(low for low, _ in found), max(high for _, high in found)


def _reach(expected: float, pairs: Sequence[Pair], horizon_days: int) -> tuple[float, float]:
    alone = timeline.independent([p.cutoff for p in pairs], horizon_days)
    if expected > 0 and all(p.said > 0 and p.came > 0 for p in pairs):
        low, high = strata.total_band([p.said / p.came for p in pairs], alone)
        return expected / high, expected / low
    off = [p.said - p.came for p in pairs]
    unit = max(abs(o) for o in off)
    if unit == 0:
        return expected, expected
    # The same reach of plain differences: a band of ratios is one of their logarithms.
    reach = unit * math.log(strata.total_band([math.exp(o / unit) for o in off], alone)[1])
    return max(0.0, expected - reach), expected + reach
