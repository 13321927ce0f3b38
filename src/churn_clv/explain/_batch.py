"""Reasons as columns."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import polars as pl

from churn_clv.bundle import ASKED, Bundle
from churn_clv.explain._reasons import of_rows
from churn_clv.explain._words import DEFAULT, MOST
from churn_clv.models.predict import Floats

REASON = pl.Struct(
    {
        "feature": pl.String,
        "value": pl.Float64,
        "usual": pl.Float64,
        "usual_of": pl.String,
        "direction": pl.String,
        "contribution": pl.Float64,
        "share": pl.Float64,
        "theme": pl.String,
        "text": pl.String,
    }
)
SCHEMA: dict[str, pl.DataType] = {"customer_id": pl.String(), "cutoff": pl.Date(), "reasons": pl.List(REASON)}
# Contributions of so many rows are held at once: five boosters' worth of a few hundred columns each.
CHUNK = 5_000


def of_matrix(
    bundle: Bundle, rows: pl.DataFrame, k: int, language: str = DEFAULT, target: str | None = None
) -> pl.DataFrame:  # fmt: skip
    """``customer_id``, ``cutoff``, ``reasons`` (a list of structs, strongest first) of the eligible rows of a matrix.

    Of churn, or of those of a ``target``'s population why its number is what it is. In the matrix's order; the others
    have no row. ``k`` reasons at most, 1 to 10.
    """
    if not 1 <= k <= MOST:
        raise ValueError(f"k must lie between 1 and {MOST}, found {k}")
    asked = _asked(rows, target)
    found = []
    for start in range(0, asked.height, CHUNK):
        found += of_rows(bundle, _values(bundle, asked.slice(start, CHUNK), target), k, language, target)
    keys = asked.select("customer_id", "cutoff")
    reasons = pl.Series("reasons", [[asdict(r) for r in own] for own in found], dtype=SCHEMA["reasons"])
    return keys.with_columns(reasons)


def by_customer(
    bundle: Bundle, rows: pl.DataFrame, k: int, language: str = DEFAULT, target: str | None = None
) -> dict[str, list[dict[str, Any]]]:  # fmt: skip
    """Customer -> reasons of the rows that are asked about, of a matrix that holds each customer once."""
    asked = _asked(rows, target)
    found = of_rows(bundle, _values(bundle, asked, target), k, language, target)
    return {name: [asdict(r) for r in own] for name, own in zip(asked["customer_id"], found, strict=True)}


def frame(
    bundle: Bundle, log: pl.DataFrame, pairs: pl.DataFrame, k: int = 3, language: str = DEFAULT,
    target: str | None = None,
) -> pl.DataFrame:  # fmt: skip
    """The same for ``pairs`` (``customer_id``, ``cutoff``) of a canonical log, such as the riskiest of a scoring."""
    return of_matrix(bundle, bundle.rows_of(log, pairs), k, language, target)


def _asked(rows: pl.DataFrame, target: str | None) -> pl.DataFrame:
    return rows.filter("eligible" if target is None else ASKED + target)


def _values(bundle: Bundle, rows: pl.DataFrame, target: str | None) -> Floats:
    return bundle.values(rows, None if target is None else bundle.head(target))
