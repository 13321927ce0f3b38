"""Lifecycle stages by a customer's own rhythm (definition D26): history decides, never the model's risk."""

from __future__ import annotations

from fractions import Fraction
from functools import lru_cache
from math import comb

import polars as pl

from churn_clv.config import Lifecycle
from churn_clv.segments._state import (
    DECLINING,
    GROWING,
    LAPSED,
    MATURE,
    NEW,
    PROSPECT,
    STAGE,
    WON_BACK,
    Rhythm,
)
from churn_clv.timeline import Definitions


def staged(history: pl.DataFrame, own: Rhythm, rules: Lifecycle, definitions: Definitions) -> pl.Series:
    """The stage of each row of ``history`` (``_history.read``); the first that holds of:

    prospect (no purchase), lapsed (the last one more than A days ago: ``active_within_days``), won back (within A days
    of an order that came after a gap above A), new (first order at most the population's median first gap ago),
    declining (silent for longer than the own rhythm, or significantly fewer orders in the last A days than in the A
    days before), growing (the first order at most A days ago, or significantly more orders), mature.
    """
    away, gaps = definitions.active_within_days, pl.col("_gaps")
    since, first = pl.col("days_since_last_purchase"), pl.col("days_since_first_purchase")
    usual = pl.when(gaps > 0).then(pl.lit(float(own.later_days))).otherwise(pl.lit(float(own.first_days)))
    rhythm = (gaps * pl.col("_own_gap").fill_null(0.0) + rules.prior_gaps * usual) / (gaps + rules.prior_gaps)
    rhythm = pl.when(gaps + rules.prior_gaps > 0).then(rhythm)
    log_days = (pl.col("cutoff") - pl.lit(definitions.purchases_start)).dt.total_days()
    orders = history["_near"] + history["_before"]
    few = {n: critical(n, rules.change_p) for n in orders.unique().to_list()}
    rows = history.with_columns(_few=orders.replace_strict(few, return_dtype=pl.Int64))
    fall = (pl.col("_near") <= pl.col("_few")) & (log_days >= 2 * away)
    rise = (pl.col("_before") <= pl.col("_few")) & (first >= 2 * away)
    stage = (
        pl.when(since.is_null()).then(pl.lit(PROSPECT))
        .when(since > away).then(pl.lit(LAPSED))
        .when(pl.col("_back") <= away).then(pl.lit(WON_BACK))
        .when(first <= own.new_days).then(pl.lit(NEW))
        .when((since > rhythm) | fall).then(pl.lit(DECLINING))
        .when(rise | (first <= away)).then(pl.lit(GROWING))
        .otherwise(pl.lit(MATURE))
    )  # fmt: skip
    return rows.select(stage.alias(STAGE)).to_series()


@lru_cache(maxsize=4096)
def critical(orders: int, p: float) -> int:
    """Of ``orders`` in two windows of equal length, the most in one of them that chance alone gives with P < ``p``.

    Two Poisson counts of one rate, given their sum, are binomial with one half (Przyborowski and Wilenski 1940): exact,
    in whole numbers. -1: no count is so rare.
    """
    limit, below = Fraction(str(p)) * 2**orders, 0
    for found in range(orders + 1):
        below += comb(orders, found)
        if below >= limit:
            return found - 1
    return orders
