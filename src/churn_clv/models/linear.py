"""A logistic regression as a bundle carries it: what each column is squeezed, filled and weighted by."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


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
        total = np.full(len(values), self.intercept)
        for _, term in self.terms(values):
            total += term
        return total

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
