"""How silences end: Kaplan-Meier over the gaps between occasions, each customer's open gap censored.

Every silence weighs the same, because on any day a customer is in exactly one: the share of the silences of N days
that end within a window is then the share of customers, seen silent for N days at a cutoff, who buy in it. Weights
of one over the number of a customer's gaps would not do: that number depends on whether the gap ended.
"""

from __future__ import annotations

import numpy as np
import polars as pl

from churn_clv import timeline
from churn_clv.advice._records import FEWEST, MARKS, MOST_RETURN, Gaps


class Silences:
    """Kaplan-Meier over gaps (``gap`` in days, ``closed``), looked up by day."""

    def __init__(self, spells: pl.DataFrame) -> None:
        curve = timeline.kaplan_meier(_counted(spells))
        length, self.longest = curve["gap"].to_numpy(), int(curve["gap"].max() or 0)  # type: ignore[arg-type]
        days = np.arange(self.longest + 2)
        # lasts[t]: share of the gaps of t days or more; seen[t]: how many gaps were observed for so long.
        at = np.searchsorted(length, days, side="left")
        self.lasts = np.concatenate([[1.0], curve["alive"].to_numpy()])[at]
        self.seen = np.concatenate([curve["at_risk"].to_numpy(), [0.0]])[at]

    def return_share(self, silent_days: int, window_days: int) -> float | None:
        """P(buys in the ``window_days`` that follow | silent for ``silent_days``).

        None where fewer than FEWEST silences were observed so long. Silent for N days means that a gap lasts N days or
        more: the last purchase lies N days before the cutoff, and the next one at the cutoff or later.
        """
        end = silent_days + window_days
        if end > self.longest or self.seen[end] < FEWEST or self.lasts[silent_days] <= 0:
            return None
        return float(1.0 - self.lasts[end] / self.lasts[silent_days])

    def by_day(self, window_days: int) -> tuple[float | None, ...]:
        """``return_share`` of 1, 2, ... silent days, as far as it is seen."""
        return tuple(self.return_share(n, window_days) for n in range(1, max(1, self.longest - window_days) + 1))

    def window(self, window_days: int) -> tuple[int, float] | None:
        """The fewest silent whole weeks after which at most MOST_RETURN come back, in days, with that share.

        Where none is so low, the one with the lowest; None where nothing can be measured.
        """
        seen = [(n, self.return_share(n, window_days)) for n in range(7, self.longest + 1, 7)]
        known = [(n, share) for n, share in seen if share is not None]
        low = [(n, share) for n, share in known if share <= MOST_RETURN]
        return low[0] if low else min(known, key=lambda pair: (pair[1], pair[0]), default=None)


def _counted(spells: pl.DataFrame) -> pl.DataFrame:
    """Each gap once; an open one is known to last up to the eve of the log's end, no longer."""
    return spells.select(gap=pl.col("gap") - (~pl.col("closed")).cast(pl.Int64), closed="closed", weight=1.0)


def gaps(name: str, spells: pl.DataFrame) -> Gaps:
    curve = timeline.kaplan_meier(_counted(spells)).with_columns(over=1.0 - pl.col("alive"))
    marks = {f"{share:.0%}": curve.filter(pl.col("over") >= share - 1e-12)["gap"].min() for share in MARKS}
    drawn = curve.filter(pl.col("ended") > 0)
    return Gaps(
        name=name,
        gaps=spells.height,
        open=int((~spells["closed"]).sum()),
        days=tuple(drawn["gap"].to_list()),
        ended=tuple(drawn["over"].to_list()),
        marks=marks,  # type: ignore[arg-type]
    )
