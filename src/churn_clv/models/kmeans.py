"""Clusters by k-means and how far two ways to cluster agree; the lab's: serving has the centres only (D34)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
STARTS = 4


def centres(rows: Floats, count: int, seed: int) -> Floats:
    """The centres (count, features) of the best of STARTS runs of k-means on ``rows`` (n, features)."""
    from sklearn.cluster import KMeans

    found = KMeans(count, n_init=STARTS, random_state=seed).fit(rows).cluster_centers_
    return np.asarray(found, dtype=np.float64)


def agreement(one: NDArray[np.int64], other: NDArray[np.int64]) -> float:
    """The adjusted Rand index of two ways to cluster the same rows: 1 the same, 0 as by chance."""
    from sklearn.metrics import adjusted_rand_score

    return float(adjusted_rand_score(one, other))


def paired(overlap: NDArray[np.int64]) -> list[tuple[int, int]]:
    """Row and column of the pairs, each used once, that share most customers; ``overlap`` counts shared ones."""
    from scipy.optimize import linear_sum_assignment

    rows, columns = linear_sum_assignment(-overlap)
    return [(int(r), int(c)) for r, c in zip(rows, columns, strict=True)]
