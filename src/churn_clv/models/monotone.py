"""Rising curves over bins of equal mass: what the interval on spend and the loss table are made of.

``interpolate`` is what ships: additions, multiplications and one division per row, so that one row and a batch
agree to the bit (contract K2).
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from churn_clv.metrics import Array, Order

Index = npt.NDArray[np.intp]


def bins(score: Array, most: int, least: int) -> list[Index]:
    """Row numbers of bins of near equal mass, lowest scores first, for scores (n,) with n at least 1.

    At most ``most`` bins, of at least ``least`` rows each unless all are one bin. Equal scores share a bin.
    """
    n = len(score)
    wanted = max(1, min(most, n // least))
    number = np.floor((Order(score).ranks() - 0.5) * wanted / n)
    found: list[Index] = []
    for value in np.unique(number):
        index = np.flatnonzero(number == value)
        if found and min(len(index), len(found[-1])) < least:  # ties left one of the two too small
            found[-1] = np.concatenate((found[-1], index))
        else:
            found.append(index)
    return found


def rising(values: Array, weights: Array) -> Array:
    """The rising sequence nearest to ``values`` in weighted squares, by pooling adjacent violators; (k,).

    Ayer, Brunk, Ewing, Reid and Silverman (1955), Annals of Mathematical Statistics 26(4).
    """
    blocks: list[tuple[float, float, int]] = []  # mean, weight, length
    for mean, weight in zip(values.tolist(), weights.tolist(), strict=True):
        length = 1
        while blocks and blocks[-1][0] > mean:
            before, mass, count = blocks.pop()
            mean = math.fsum((before * mass, mean * weight)) / (mass + weight)
            weight, length = mass + weight, length + count
        blocks.append((mean, weight, length))
    return np.repeat([mean for mean, _, _ in blocks], [length for _, _, length in blocks])


def interpolate(x: Array, knots: tuple[float, ...], values: tuple[float, ...]) -> Array:
    """Straight lines through (knots, values), both rising, constant beyond the ends; NaN where x is NaN. (n,).

    Not ``np.interp``, which takes another path for few rows than for many. Each piece is clipped to its ends, so
    that rounding cannot make the curve fall.
    """
    if len(knots) == 1:
        return np.where(np.isnan(x), np.nan, values[0])
    return along(*stand(x, knots), values)


def stand(x: Array, knots: tuple[float, ...]) -> tuple[Index, Array]:
    """Between which two of the ``knots`` (the lower one's place) and how far from it values stand; (n,) each.

    For several curves over the same knots, two at least.
    """
    at = _array(knots)
    # minimum and maximum are np.clip to the bit, at a third of its price for few rows
    left = np.minimum(np.maximum(np.searchsorted(at, x, side="right") - 1, 0), len(knots) - 2)
    low = at[left]
    return left, (x - low) / (at[left + 1] - low)


def along(left: Index, share: Array, values: tuple[float, ...]) -> Array:
    """The heights of a curve's ``values`` where rows stand, as ``stand`` has them; (n,)."""
    height = _array(values)
    start, stop = height[left], height[left + 1]
    return np.asarray(np.minimum(np.maximum(start + share * (stop - start), start), stop), dtype=np.float64)


@lru_cache(maxsize=512)
def _array(numbers: tuple[float, ...]) -> Array:
    """A bundle's knots as an array that nobody may change."""
    found = np.array(numbers, dtype=np.float64)
    found.flags.writeable = False
    return found
