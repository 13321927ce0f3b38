"""Returns: money given back, on the day it was given back."""

from __future__ import annotations

import polars as pl

from churn_clv.canonical import divide
from churn_clv.features._feature import (
    NO_EVENTS_ZERO,
    WINDOW_NULL,
    Feature,
    count,
    derived,
    ratio,
    statistic,
    within,
)
from churn_clv.timeline import Definitions

BOTH = ("purchase", "return")


def needs(definitions: Definitions) -> str | None:
    """Return events."""
    return None if "return" in definitions.event_types else "the log has no 'return' events"


def features(definitions: Definitions) -> list[Feature]:
    """Return days, money and shares, and purchase days that were voided."""
    money = 10**definitions.rules.minor_units
    returned = pl.col("returns") > 0
    back = pl.col("gross") - pl.col("net")
    voided = (pl.col("purchases") > 0) & ~pl.col("occasion")
    out = [
        count("return_days", returned.sum().cast(pl.Int64), "days", "Days with a return before the cutoff.", of=BOTH),
        count("voided_days", voided.sum().cast(pl.Int64), "days",
              "Days whose purchases same-day reversals brought to zero or below.", of=BOTH),
        statistic("days_since_last_return", pl.col("age_days").filter(returned).min(), "days",
                  "Days from the last return to the cutoff.", of=BOTH),
        derived("return_days_share", ratio("return_days", "purchase_days"), "Return days per purchase day.",
                "null without purchase days"),
    ]  # fmt: skip
    if "amount" in definitions.columns:
        out += [
            count("_returned", back.sum(), "days", of=BOTH),
            count("_sold", pl.col("gross").sum(), "days"),
            derived("returned", divide(pl.col("_returned"), money), "Money returned before the cutoff.",
                    NO_EVENTS_ZERO),
            derived("returned_share", ratio("_returned", "_sold"), "Money returned over money of purchases.",
                    "null where purchases come to 0"),
        ]  # fmt: skip
    for w in definitions.windows_days[2:4]:
        out.append(count(f"return_days_last_{w}d", (returned & within(w)).sum().cast(pl.Int64), "days",
                         f"Days with a return in the last {w} days.", w, BOTH))  # fmt: skip
        if "amount" in definitions.columns:
            out.append(count(f"_returned_last_{w}d", back.filter(within(w)).sum(), "days", "", w, BOTH))
            out.append(derived(f"returned_last_{w}d", divide(pl.col(f"_returned_last_{w}d"), money),
                               f"Money returned in the last {w} days.", NO_EVENTS_ZERO + WINDOW_NULL))  # fmt: skip
    return out
