"""RFM: three scores from 1 to 5 against frozen edges, and the named group of their cell (definition D25)."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import polars as pl
from numpy.typing import NDArray

from churn_clv.config import LEVELS
from churn_clv.quantiles import Floats
from churn_clv.segments._state import FREQUENCY, GROUP, MONETARY, RECENCY, SCORES, Edges

# What each score looks at.
MEASURES = {RECENCY: "days_since_last_purchase", FREQUENCY: "purchase_days", MONETARY: "spend"}


def edges(values: Floats, *, falling: bool = False) -> Edges:
    """The edges of a score learnt from customers' ``values`` (n,), none of them NaN.

    score = ceil(5 x mid-rank percentile), in whole numbers: of n customers with b below and e equal it is
    ceil(5 (2b + e) / 2n), so equal values have equal scores and no rounding decides. A level's edge is the lowest
    value that has that score or a higher one; ``falling`` ranks small values high.
    """
    own, equal = np.unique(-values if falling else values, return_counts=True)
    below = np.cumsum(equal) - equal
    score = -(-LEVELS * (2 * below + equal) // (2 * len(values)))
    reached = [own[score >= level] for level in range(2, LEVELS + 1)]
    cuts = [float(found[0]) if len(found) else None for found in reached]
    return Edges(tuple(-c if c is not None and falling else c for c in cuts), falling)


def scores(own: Edges, values: Floats) -> NDArray[np.int64]:
    """The scores of ``values`` (n,), 0 where NaN: 1 and one more for each edge that is reached."""
    with np.errstate(invalid="ignore"):
        reached = [values <= cut if own.falling else values >= cut for cut in own.cuts if cut is not None]
    base = np.where(np.isnan(values), 0, 1).astype(np.int64)
    return sum((more.astype(np.int64) for more in reached), base)


def empty_levels(own: Edges, values: Floats) -> list[int]:
    """The levels that nobody of ``values`` has: where many share a value, it takes several levels."""
    there = set(scores(own, values).tolist())
    return [level for level in range(1, LEVELS + 1) if level not in there]


def grouped(groups: NDArray[np.object_], learnt: Mapping[str, Edges], history: pl.DataFrame) -> dict[str, pl.Series]:
    """The scores and the group (of ``Segments.groups``) of each row of ``history``, which has the ``MEASURES``.

    Null scores for those who have not bought, and for a measure that was not learnt or is not there.
    """
    bought = ~np.isnan(history[MEASURES[RECENCY]].to_numpy())
    found = []
    for name, measure in MEASURES.items():
        there = name in learnt and measure in history.columns
        score = scores(learnt[name], history[measure].to_numpy()) if there else np.zeros(history.height, dtype=np.int64)
        found.append(np.where(bought, score, 0))
    own = {name: pl.Series(name, score).replace(0, None) for name, score in zip(SCORES, found, strict=True)}
    return own | {GROUP: pl.Series(GROUP, groups[tuple(found)].tolist(), dtype=pl.String)}
