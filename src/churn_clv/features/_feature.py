"""What a feature is: data. Names, matrix, bundle, service and docs/features.md follow from these entries."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import polars as pl

from churn_clv.canonical import divide

Grain = Literal[
    "days",
    "gaps",
    "touches",
    "products",
    "categories",
    "channels",
    "product_id_days",
    "category_days",
    "channel_days",
    "event_type_days",
    "margins",
    "texts",
    "topics_days",
]

NO_EVENTS_ZERO = "0 without such events"
NO_EVENTS_NULL = "null without such events"
WINDOW_NULL = "; null where the window starts before the log"


@dataclass(frozen=True)
class Feature:
    """One column of the matrix, or (name with a leading underscore) a part that others are computed from.

    With a ``grain`` the expression aggregates that grain's rows of one customer at one cutoff; without, it is
    elementwise over columns that already exist. ``window_days`` makes it null where the window would reach before
    the log's start for the event types ``of``. ``empty`` is its value for a customer without rows in the grain.
    ``where`` tells of a long grain's rows those that the expression looks at, so that no other is made.
    """

    name: str
    expr: pl.Expr
    meaning: str = ""
    nulls: str = ""
    grain: Grain | None = None
    window_days: int | None = None
    of: tuple[str, ...] = ("purchase",)
    empty: int | None = None
    where: pl.Expr | None = None

    @property
    def hidden(self) -> bool:
        """Whether this is only a part of other features."""
        return self.name.startswith("_")


def count(name: str, expr: pl.Expr, grain: Grain, meaning: str = "", window_days: int | None = None,
          of: tuple[str, ...] = ("purchase",), where: pl.Expr | None = None) -> Feature:  # fmt: skip
    """A count or an exact integer sum: 0 where nothing happened."""
    nulls = NO_EVENTS_ZERO + (WINDOW_NULL if window_days else "")
    return Feature(name, expr, meaning, nulls, grain, window_days, of, 0, where)


def statistic(name: str, expr: pl.Expr, grain: Grain, meaning: str = "", nulls: str = NO_EVENTS_NULL,
              of: tuple[str, ...] = ("purchase",), where: pl.Expr | None = None) -> Feature:  # fmt: skip
    """A minimum, maximum, median or last value: null where nothing happened."""
    return Feature(name, expr, meaning, nulls, grain, None, of, None, where)


def derived(name: str, expr: pl.Expr, meaning: str = "", nulls: str = "null where its parts are null") -> Feature:
    """An elementwise function of columns that already exist."""
    return Feature(name, expr, meaning, nulls)


def within(window_days: int) -> pl.Expr:
    """Whether a row's day lies in [cutoff - window, cutoff)."""
    return pl.col("age_days") <= window_days


def ratio(above: pl.Expr | str, below: pl.Expr | str) -> pl.Expr:
    """above / below as a float, null where below is 0."""
    top = pl.col(above) if isinstance(above, str) else above
    bottom = pl.col(below) if isinstance(below, str) else below
    return pl.when(bottom != 0).then(top / bottom)


def spread(n: str, total: str, squares: str, unit: int = 1) -> pl.Expr:
    """Sample standard deviation from exact integer n, sum and sum of squares (null below two values).

    ``unit`` divides the result (cents to major units). n * squares - total^2 is an exact Int128, so no digits
    cancel: float variances differ between batch and single customer (contract K1).
    """
    size, sum_ = pl.col(n).cast(pl.Int128), pl.col(total).cast(pl.Int128)
    scatter = (size * pl.col(squares).cast(pl.Int128) - sum_ * sum_).cast(pl.Float64)
    freedom = (pl.col(n) * (pl.col(n) - 1)).cast(pl.Float64)
    return pl.when(pl.col(n) >= 2).then(divide((scatter / freedom).sqrt(), unit))


def hashes(catalogue: Iterable[Feature]) -> dict[str, str]:
    """Per visible feature a hash of its definition and of every part it is computed from (contract K6)."""
    by_name = {f.name: f for f in catalogue}
    done: dict[str, str] = {}

    def digest(name: str) -> str:
        if name not in done:
            f = by_name[name]
            parts = [] if f.grain else [digest(p) for p in sorted(f.expr.meta.root_names()) if p in by_name]
            text = "\n".join(
                [
                    f.name,
                    f.grain or "",
                    str(f.window_days),
                    ",".join(f.of),
                    str(f.empty),
                    f.expr.meta.serialize(format="json"),
                    *([] if f.where is None else [f.where.meta.serialize(format="json")]),
                    *parts,
                ]
            )
            done[name] = hashlib.sha256(text.encode()).hexdigest()[:16]
        return done[name]

    return {name: digest(name) for name, f in by_name.items() if not f.hidden}
