"""Margin: what is told of it, for CLV alone. No model learns from these, and no matrix of features has them."""

from __future__ import annotations

import polars as pl

from churn_clv.canonical import divide
from churn_clv.features._feature import Feature, count, derived
from churn_clv.timeline import Definitions

# Margin told so far, the money of the events that tell it (both in major units), and the days on which any was bought.
MARGIN, MONEY, DAYS = NAMES = ("_margin", "_margin_money", "_margin_days")


def needs(definitions: Definitions) -> str | None:
    """Margins."""
    return None if "margin" in definitions.columns else "no source maps 'margin' or 'cost'"


def names(definitions: Definitions) -> tuple[str, ...]:
    """The columns that CLV asks for beside the matrix; none where the log tells no margin."""
    return () if needs(definitions) else NAMES


def features(definitions: Definitions) -> list[Feature]:
    """Sums over all purchases and returns before the cutoff whose margin is told."""
    unit, both = 10**definitions.rules.minor_units, ("purchase", "return")
    return [
        count("_margin_minor", pl.col("margin").sum(), "margins", of=both),
        count("_margin_money_minor", pl.col("money").sum(), "margins", of=both),
        count(DAYS, pl.col("bought").sum(), "margins"),
        derived(MARGIN, divide(pl.col("_margin_minor"), unit)),
        derived(MONEY, divide(pl.col("_margin_money_minor"), unit)),
    ]
