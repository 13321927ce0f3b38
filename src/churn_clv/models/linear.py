"""A logistic regression as a bundle carries it: what each column is squeezed, filled and weighted by."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
# Rows at a time: the terms of all columns are in memory at once.
AT_ONCE = 4096


@dataclass(frozen=True)
class Linear:
    """The log-odds of churn as a sum over columns, in the matrix's order (columns,).

    A column counts ``weight`` x (signed log1p of its value - ``middle``), or ``missing`` where it is null.
    """

    intercept: float
    middle: tuple[float, ...]
    weight: tuple[float, ...]
    missing: tuple[float, ...]

    def margin(self, values: Floats) -> Floats:
        """Log-odds of churn; (rows,). Column after column, so that one row comes out as in a batch to the bit."""
        parts = [self._margin(values[start : start + AT_ONCE]) for start in range(0, len(values), AT_ONCE)]
        return np.concatenate(parts or [np.empty(0)])

    @cached_property
    def _counting(self) -> tuple[NDArray[np.intp], Floats, Floats, Floats]:
        """The places of the columns that count, and what is done with them; (columns, 1) each."""
        places = [i for i, (w, m) in enumerate(zip(self.weight, self.missing, strict=True)) if w != 0 or m != 0]
        middle, weight, missing = (
            np.array([given[i] for i in places], dtype=np.float64).reshape(-1, 1)
            for given in (self.middle, self.weight, self.missing)
        )
        return np.array(places, dtype=np.intp), middle, weight, missing

    def _margin(self, values: Floats) -> Floats:
        """One term after another is added, as a loop over columns would: a sum over an axis has another order."""
        places, middle, weight, missing = self._counting
        columns = np.ascontiguousarray(values.T[places])
        terms = np.empty((len(places) + 1, len(values)))
        terms[0] = self.intercept
        terms[1:] = np.where(np.isnan(columns), missing, weight * (squeezed(columns) - middle))
        return np.ascontiguousarray(np.cumsum(terms, axis=0)[-1])

    def terms(self, values: Floats) -> Iterator[tuple[int, Floats]]:
        """What each column that counts adds, as (its place, (rows,))."""
        for place, (middle, weight, missing) in enumerate(zip(self.middle, self.weight, self.missing, strict=True)):
            if weight == 0 and missing == 0:
                continue
            column = np.ascontiguousarray(values[:, place])
            yield place, np.where(np.isnan(column), missing, weight * (squeezed(column) - middle))


def squeezed(values: Floats) -> Floats:
    """Signed log1p: skewed counts and money become comparable."""
    return np.asarray(np.sign(values) * np.log1p(np.abs(values)))
