"""Tenure: how long the customer has been known, and how that began."""

from __future__ import annotations

import polars as pl

from churn_clv.features._feature import Feature, derived, ratio, statistic
from churn_clv.timeline import Definitions


def needs(definitions: Definitions) -> str | None:
    """Nothing beyond purchases."""
    return None


def features(definitions: Definitions) -> list[Feature]:
    """Days since the first event, whether the log's start cuts that off, and the first two purchases."""
    log_days = (pl.col("cutoff") - pl.lit(min(definitions.starts.values()))).dt.total_days()
    return [
        statistic("days_since_first_purchase", pl.col("age_days").max(), "gaps",
                  "Days from the first purchase day to the cutoff."),
        statistic("_first_money", pl.col("age_days").max(), "days"),
        statistic("_first_touch", pl.col("age_days").max(), "touches"),
        derived("tenure_days", pl.max_horizontal("_first_money", "_first_touch"),
                "Days from the first event to the cutoff.", "never null for a known customer"),
        derived("tenure_is_censored",
                (log_days - pl.col("tenure_days") < definitions.censored_gap_days).cast(pl.Int8),
                "1 where the first event lies so near the log's start (within the population's 90% gap) that the "
                "customer may be older.", "never null for a known customer"),
        statistic("days_from_first_to_second_purchase", pl.col("gap_days").filter(pl.col("nth") == 1).max(), "gaps",
                  "Days between the first and the second purchase day.", "null below two purchase days"),
        derived("buying_span_share",
                ratio(pl.col("days_since_first_purchase") - pl.col("days_since_last_purchase"),
                      pl.col("days_since_first_purchase")),
                "Share of the time since the first purchase that lies before the last one.", "null without purchases"),
    ]  # fmt: skip
