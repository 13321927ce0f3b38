"""Channel: through how many channels the customer buys, and how faithfully."""

from __future__ import annotations

import polars as pl

from churn_clv.features._feature import Feature, count, derived, ratio, statistic, within
from churn_clv.timeline import Definitions


def needs(definitions: Definitions) -> str | None:
    """Channels."""
    return None if "channel" in definitions.columns else "no source maps 'channel'"


def features(definitions: Definitions) -> list[Feature]:
    """Different channels, the share of the most used one, and newly tried ones."""
    top = pl.col("days").max()
    out = [
        count("channels_distinct", pl.len().cast(pl.Int64), "channels", "Different channels bought through."),
        count("_channel_days", pl.col("days").sum(), "channels"),
        statistic("_channel_top_days", top, "channels"),
        derived("channel_top_share", ratio("_channel_top_days", "_channel_days"),
                "Share of purchase days in the most used channel (a day in two channels counts in both).",
                "null without purchases"),
        statistic("days_since_last_top_channel", pl.col("age_days").filter(pl.col("days") == top).min(), "channels",
                  "Days since the last purchase in the most used channel (the nearest where several tie)."),
        statistic("days_since_new_channel", pl.col("first_age_days").min(), "channels",
                  "Days since a channel was used for the first time."),
    ]  # fmt: skip
    for w in definitions.two_windows_days:
        out.append(count(f"channels_distinct_last_{w}d", within(w).sum().cast(pl.Int64), "channels",
                         f"Different channels bought through in the last {w} days.", w))  # fmt: skip
    return out
