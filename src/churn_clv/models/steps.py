"""A probability that is the same between the cuts of one column: what a table says, as a bundle carries it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
# A null counts as this: before the first of all days.
NEVER = -1.0


@dataclass(frozen=True)
class Steps:
    """``levels[i]`` where so many of the rising ``cuts`` are at most the ``column``; one level more than cuts."""

    column: str
    cuts: tuple[float, ...]
    levels: tuple[float, ...]

    def chance(self, values: Floats, columns: Sequence[str]) -> Floats:
        """The probability of each row of ``values`` (rows, columns); (rows,)."""
        asked = values[:, list(columns).index(self.column)]
        known = np.where(np.isnan(asked), NEVER, asked)
        return np.array(self.levels)[np.searchsorted(np.array(self.cuts), known, side="right")]
