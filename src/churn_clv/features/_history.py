"""The grains that features aggregate: a customer's history at a cutoff, seen as days, gaps, touches or items.

Only integers and order statistics cross rows here (contract K1); everything that divides is elementwise later.
"""

from __future__ import annotations

from collections.abc import Callable

import polars as pl

from churn_clv import timeline
from churn_clv.features._feature import Grain

BOUGHT = pl.col("event_type") == "purchase"
REVERSED = pl.col("event_type") == "return"
MONEY = BOUGHT | REVERSED
EACH = pl.col("event_type").is_not_null()


def grain(past: timeline.Past, name: Grain, where: pl.Expr | None = None) -> pl.LazyFrame:
    """The rows of a grain, each with ``row`` (position of the pair) and ``age_days`` (1 = the cutoff's eve).

    ``where`` says which events a long grain (one that ends in _days) is made of.
    """
    if name.endswith("_days"):
        return _item_days(past, name.removesuffix("_days"), EACH if where is None else where)
    return _GRAINS[name](past)


def _days(past: timeline.Past) -> pl.LazyFrame:
    """The days, made once for all that asks about them."""
    return past.shared("days", lambda: _each_day(past))


def _each_day(past: timeline.Past) -> pl.LazyFrame:
    """One row per day with a purchase or a return, oldest first; ``occasion`` as D2, money in minor units.

    ``value`` is the day's net money where it is an occasion. ``purchases`` and ``returns`` count lines.
    """
    stands = timeline.occasion(pl.col("purchases"), pl.col("returns"), pl.col("net"))
    return (
        past.by(
            where=MONEY,
            sums={
                "purchases": BOUGHT,
                "returns": REVERSED,
                "gross": pl.when(BOUGHT).then("amount"),
                "net": pl.col("amount"),
                "units": pl.when(BOUGHT).then("quantity"),
                "discount": pl.when(BOUGHT).then("discount"),
                "discounted": BOUGHT & (pl.col("discount") > 0),
            },
        )
        .with_columns(occasion=stands)
        .with_columns(value=pl.when("occasion").then("net"))
        .sort("row", "age_days", descending=[False, True])
    )


def _gaps(past: timeline.Past) -> pl.LazyFrame:
    """One row per occasion, oldest first: ``nth`` from 0, ``gap_days`` since the one before (null for the first)."""
    first = pl.col("row") != pl.col("row").shift(1).fill_null(2**32 - 1)
    return (
        _days(past)
        .filter("occasion")
        .with_columns(
            gap_days=pl.when(~first).then(pl.col("age_days").shift(1) - pl.col("age_days")).cast(pl.Int64),
            position=pl.int_range(pl.len(), dtype=pl.Int64),
        )
        .with_columns(nth=pl.col("position") - pl.col("position").min().over("row"))
        .drop("position")
    )


def _touches(past: timeline.Past) -> pl.LazyFrame:
    """One row per day and type of the events that are neither purchase nor return."""
    return past.by("event_type", where=~MONEY, sums={"events": EACH}, maxima={"value_last": pl.col("value")})


def _margins(past: timeline.Past) -> pl.LazyFrame:
    """One row per day of the purchases and returns whose margin is told: it, their money, and whether any is bought."""
    told = MONEY & pl.col("margin").is_not_null() & pl.col("amount").is_not_null()
    sums = {"margin": pl.col("margin"), "money": pl.col("amount"), "purchases": BOUGHT}
    return past.by(where=told, sums=sums).with_columns(bought=(pl.col("purchases") > 0).cast(pl.Int64))


def _texts(past: timeline.Past) -> pl.LazyFrame:
    """One row per day with texts that have a sentiment: how many, the sum of their sentiments, and how many below 0."""
    told, negative = pl.col("sentiment").is_not_null(), pl.col("sentiment") < 0
    return past.by(where=told, sums={"texts": EACH, "sentiment": pl.col("sentiment"), "negative": negative})


def _items(past: timeline.Past, key: str) -> pl.LazyFrame:
    """One row per distinct value of ``key`` bought: days, lines, money, and the ages of the latest and first day."""
    per_day = past.by(key, where=BOUGHT & pl.col(key).is_not_null(), sums={"lines": EACH, "spent": pl.col("amount")})
    return per_day.group_by("row", key).agg(
        days=pl.len().cast(pl.Int64),
        lines=pl.col("lines").sum(),
        spent=pl.col("spent").sum(),
        age_days=pl.col("age_days").min(),
        first_age_days=pl.col("age_days").max(),
    )


def _item_days(past: timeline.Past, key: str, where: pl.Expr) -> pl.LazyFrame:
    """One row per day, type of event and value of ``key``, however many lines there were."""
    keys = dict.fromkeys(("event_type", key))
    return past.by(*keys, where=where & pl.col(key).is_not_null(), sums={"events": EACH})


_GRAINS: dict[str, Callable[[timeline.Past], pl.LazyFrame]] = {
    "days": _days,
    "gaps": _gaps,
    "touches": _touches,
    "margins": _margins,
    "texts": _texts,
    "products": lambda past: _items(past, "product_id"),
    "categories": lambda past: _items(past, "category"),
    "channels": lambda past: _items(past, "channel"),
}
