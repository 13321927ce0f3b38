"""Who is asked about: known customers get a row, eligible ones get predictions (definition D1)."""

from __future__ import annotations

import polars as pl

from churn_clv import config
from churn_clv.timeline import Definitions

LAPSED, PROSPECT, SHORT = "lapsed", "prospect", "history_too_short"


def eligibility(
    days_since_last_purchase: pl.Expr, cutoff: pl.Expr, definitions: Definitions
) -> tuple[pl.Expr, pl.Expr]:
    """Expressions ``eligible`` (bool) and ``reason`` (null where eligible), elementwise per known customer.

    ``days_since_last_purchase`` is null for a customer who never bought; ``cutoff`` is a date.
    """
    log_days = (cutoff - pl.lit(definitions.purchases_start)).dt.total_days()
    reason = (
        pl.when(days_since_last_purchase.is_null())
        .then(pl.lit(PROSPECT))
        .when(days_since_last_purchase > definitions.active_within_days)
        .then(pl.lit(LAPSED))
        .when(log_days < definitions.min_history_days)
        .then(pl.lit(SHORT))
        .otherwise(pl.lit(None, dtype=pl.String))
    )
    return reason.is_null(), reason


def asked(
    target: config.Target, days_since_last_purchase: pl.Expr, purchase_days: pl.Expr, cutoff: pl.Expr,
    definitions: Definitions,
) -> pl.Expr:  # fmt: skip
    """Whether a known customer belongs to a target's population; ``has`` and ``has_not`` apart.

    ``purchase_days`` counts all of them. Where the log before the cutoff is too short for the eligible it is too short
    for everyone.
    """
    eligible, reason = eligibility(days_since_last_purchase, cutoff, definitions)
    log_days = (cutoff - pl.lit(definitions.purchases_start)).dt.total_days()
    who = {
        "eligible": eligible,
        "known": pl.lit(True),
        "prospects": reason == PROSPECT,
        "one_order": purchase_days == 1,
        "lapsed": reason == LAPSED,
    }[target.population]
    return (who & (log_days >= definitions.min_history_days)).fill_null(False)
