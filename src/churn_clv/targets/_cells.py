"""Tables of a target: cells of customers, and the mean label of each cell, drawn to a wider mean."""

from __future__ import annotations

import numpy as np

from churn_clv.metrics import Array

Rows = np.ndarray[tuple[int], np.dtype[np.intp]]
TENTHS = 10
# A cell of a table counts as many rows as it has, what it is drawn to as this many.
SHRINK_ROWS = 20.0


def edges(reference: Array, parts: int) -> Array:
    """The quantiles of ``reference`` that part it into ``parts``, each once."""
    return np.unique(np.quantile(reference, np.arange(1, parts) / parts))


def place(reference: Array, values: Array, parts: int) -> Rows:
    """Each value's place between the ``parts`` quantiles of ``reference``; ties fall into one place."""
    return np.searchsorted(edges(reference, parts), values, side="right").astype(np.intp)


def table(cells: Rows, label: Array, wanted: Rows, towards: Array | float | None = None) -> Array:
    """The mean label of each wanted cell, drawn to everybody's mean or, row by row of ``wanted``, to ``towards``."""
    size = int(max(cells.max(), wanted.max())) + 1
    count, total = np.bincount(cells, minlength=size), np.bincount(cells, label, minlength=size)
    mean = label.mean() if towards is None else towards
    return np.asarray((total[wanted] + SHRINK_ROWS * mean) / (count[wanted] + SHRINK_ROWS))
