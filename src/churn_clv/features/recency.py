"""Recency: how long ago, and how that compares with the customer's own rhythm."""

from __future__ import annotations

import polars as pl

from churn_clv.features._feature import Feature, derived, ratio, statistic
from churn_clv.timeline import Definitions


def needs(definitions: Definitions) -> str | None:
    """Nothing beyond purchases."""
    return None


def features(definitions: Definitions) -> list[Feature]:
    """Days since the last purchases, and overdue measures against the customer's own gaps."""
    since = pl.col("days_since_last_purchase")
    return [
        statistic("days_since_last_purchase", pl.col("age_days").min(), "gaps",
                  "Days from the last purchase day to the cutoff (1 = the day before)."),
        statistic("days_since_previous_purchase", pl.col("age_days").bottom_k(2).max(), "gaps",
                  "Days from the last purchase day but one to the cutoff; the last one where there is only one."),
        statistic("days_since_fifth_last_purchase", pl.col("age_days").bottom_k(5).max(), "gaps",
                  "Days from the fifth last purchase day to the cutoff; the first one where there are fewer."),
        derived("overdue_ratio", ratio(since, "gap_days_median"),
                "Days since the last purchase over the customer's own median gap.", "null below two purchase days"),
        derived("overdue_mean_ratio", ratio(since, "gap_days_mean"),
                "Days since the last purchase over the customer's own mean gap.", "null below two purchase days"),
        derived("overdue_longest_ratio", ratio(since, "gap_days_max"),
                "Days since the last purchase over the customer's longest gap.", "null below two purchase days"),
        derived("overdue_sd", ratio(since - pl.col("gap_days_mean"), "gap_days_sd"),
                "Days since the last purchase minus the mean gap, in standard deviations of the gaps.",
                "null below three purchase days, or where all gaps are equal"),
        derived("silence_share", ratio(since, "tenure_days"),
                "Days since the last purchase as a share of the days since the first event.", "null without purchases"),
    ]  # fmt: skip
