"""Who is asked about: known customers get a row, eligible ones get predictions (definition D1)."""

from __future__ import annotations

import polars as pl

from churn_clv import config, timeline
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
    """Whether a known customer belongs to a target's population; ``has``, ``has_not`` and contracts apart.

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
        "contract": pl.lit(True),  # of them those of ``in_force``
    }[target.population]
    return (who & (log_days >= definitions.min_history_days)).fill_null(False)


def in_force(past: timeline.Past, target: config.Target) -> pl.Series:
    """The numbers of the pairs whose contract is in force at their cutoff, as it was known then.

    Some opening came before, nothing that ends it at or after the latest opening, and the term of that opening is not
    over: its day is fewer than ``term_days`` ago.
    """
    contract = target.contract
    assert contract is not None
    opens, closes = timeline.matching(contract.opens), timeline.matching(target.events, target.kinds)
    moments = {"opened": pl.when(opens).then("time"), "closed": pl.when(closes).then("time")}
    days = past.by(where=opens | closes, maxima=moments)
    since = pl.col("age_days").filter(pl.col("opened").is_not_null())
    latest = days.group_by("row").agg(pl.col("opened").max(), pl.col("closed").max(), since=since.min())
    runs = pl.col("opened").is_not_null() & (pl.col("closed").is_null() | (pl.col("opened") > pl.col("closed")))
    if contract.term_days is not None:
        runs = runs & (pl.col("since") < contract.term_days)
    return latest.filter(runs).select("row").collect()["row"]
