"""One estimator for all KPIs: a ratio of sums over customers, its interval, and whether it really changed.

Every KPI is r = (a + sum x) / (b + sum y) over customers. Each customer moves r by u = (x - r y) / (b + sum y), so the
variance of r is the sum of u squared (linearised ratio; Cochran, Sampling Techniques, 1977, 6.3). Two periods share
customers: the variance of the change is the sum of (u now - u before) squared, who is absent counting 0. A share's
interval is Wilson's (1927).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl

Z = 1.959963984540054
# Fewer customers than this in either period are too few for a normal test.
LEAST = 30
REAL = 0.05
SCHEMA: dict[str, pl.DataType] = {"customer_id": pl.String(), "x": pl.Float64(), "y": pl.Float64()}


@dataclass(frozen=True)
class Sample:
    """What a KPI is made of. ``frame``: ``customer_id`` (once each), ``x``, ``y``; ``a`` and ``b``: money or 1 that
    belongs to nobody. ``of``: what n counts. ``note``: what the reader should know of this number. ``amounts``: ``x``
    is money or points, so no share of customers even where each happens to be 0 or 1."""  # fmt: skip

    frame: pl.DataFrame
    of: str
    a: float = 0.0
    b: float = 0.0
    note: str | None = None
    matured: bool = True
    amounts: bool = False


@dataclass(frozen=True)
class Estimate:
    """A number with its 95% interval; ``n`` customers behind it; ``parts``: ``customer_id``, ``u``."""

    value: float
    low: float | None
    high: float | None
    n: int
    parts: pl.DataFrame


def make(rows: pl.DataFrame) -> pl.DataFrame:
    """Rows with ``customer_id``, ``x`` and ``y``, added up by customer, in the order of their names."""
    added = rows.group_by("customer_id").agg(pl.col("x").cast(pl.Float64).sum(), pl.col("y").cast(pl.Float64).sum())
    return added.sort("customer_id")


def estimate(sample: Sample) -> Estimate | None:
    """The KPI of a sample; None where its denominator is 0."""
    frame = sample.frame
    n, bottom = frame.height, sample.b + math.fsum(frame["y"])
    if not bottom:
        return None
    value = (sample.a + math.fsum(frame["x"])) / bottom
    parts = frame.select("customer_id", u=(pl.col("x") - value * pl.col("y")) / bottom)
    if _is_share(sample):
        low, high = wilson(math.fsum(frame["x"]), n)
        return Estimate(value, low, high, n, parts)
    if n < 2:
        return Estimate(value, None, None, n, parts)
    half = Z * math.sqrt(math.fsum(parts["u"] ** 2) * _correction(sample, n))
    return Estimate(value, value - half, value + half, n, parts)


def p_of_change(now: Estimate, before: Estimate) -> float | None:
    """Two-sided p of "nothing changed", by customer; None where either has fewer than LEAST customers."""
    if min(now.n, before.n) < LEAST:
        return None
    both = now.parts.join(before.parts, on="customer_id", how="full", coalesce=True, suffix="_before").fill_null(0.0)
    sd = math.sqrt(math.fsum((both["u"] - both["u_before"]) ** 2))
    change = now.value - before.value
    if not sd:
        return None if change else 1.0
    return math.erfc(abs(change) / sd / math.sqrt(2))


def holm(p: Sequence[float]) -> list[float]:
    """Each p adjusted so that all together mark a chance change at most once in 1 / REAL reports (Holm 1979)."""
    order = sorted(range(len(p)), key=lambda i: p[i])
    out, worst = [0.0] * len(p), 0.0
    for rank, place in enumerate(order):
        worst = max(worst, min(1.0, (len(p) - rank) * p[place]))
        out[place] = worst
    return out


def wilson(hits: float, n: int) -> tuple[float, float]:
    """The 95% interval of a share."""
    p, z2 = hits / n, Z * Z
    centre, half = p + z2 / (2 * n), Z * math.sqrt(p * (1 - p) / n + z2 / (4 * n * n))
    return max(0.0, (centre - half) / (1 + z2 / n)), min(1.0, (centre + half) / (1 + z2 / n))


def _is_share(sample: Sample) -> bool:
    if sample.amounts or sample.a or sample.b:
        return False
    return bool((sample.frame["y"] == 1).all()) and bool(sample.frame["x"].is_in([0.0, 1.0]).all())


def _correction(sample: Sample, n: int) -> float:
    """Of a mean: what centring at the mean itself takes away. A total is not centred, nor is a sum over a count."""
    return 1.0 if sample.a or sample.b else n / (n - 1)
