"""Price: how much of the buying is done on discount."""

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


def needs(definitions: Definitions) -> str | None:
    """Discounts."""
    return None if "discount" in definitions.columns else "no source maps 'discount'"


def features(definitions: Definitions) -> list[Feature]:
    """Discounted lines and discount money, lifetime and by window; shares of money where the log has amounts."""
    money = 10**definitions.rules.minor_units
    out = [
        count("_discount", pl.col("discount").sum(), "days"),
        count("_discounted_lines", pl.col("discounted").sum(), "days"),
        count("_priced_lines", pl.col("purchases").sum(), "days"),
        derived("discount", divide(pl.col("_discount"), money), "Discount received before the cutoff.",
                NO_EVENTS_ZERO),
        derived("discounted_lines_share", ratio("_discounted_lines", "_priced_lines"),
                "Share of purchase lines with a discount.", "null without purchase lines"),
        statistic("days_since_last_discount", pl.col("age_days").filter(pl.col("discounted") > 0).min(), "days",
                  "Days from the last purchase with a discount to the cutoff."),
    ]  # fmt: skip
    for w in definitions.windows_days[2:4]:
        out += [
            count(f"_discount_last_{w}d", pl.col("discount").filter(within(w)).sum(), "days", "", w),
            derived(f"discount_last_{w}d", divide(pl.col(f"_discount_last_{w}d"), money),
                    f"Discount received in the last {w} days.", NO_EVENTS_ZERO + WINDOW_NULL),
        ]  # fmt: skip
    return out + _shares(definitions) if "amount" in definitions.columns else out


def _shares(definitions: Definitions) -> list[Feature]:
    paid, share = pl.col("gross"), "Discount as a share of the money before discount"
    out = [
        count("_paid", paid.sum(), "days"),
        derived("discount_share", ratio("_discount", pl.col("_discount") + pl.col("_paid")), f"{share}.",
                "null without money"),
    ]  # fmt: skip
    for w in definitions.windows_days[2:4]:
        part = pl.col(f"_discount_last_{w}d")
        out += [
            count(f"_paid_last_{w}d", paid.filter(within(w)).sum(), "days", "", w),
            derived(f"discount_share_last_{w}d", ratio(part, part + pl.col(f"_paid_last_{w}d")),
                    f"{share} in the last {w} days.", "null without money, or where the window starts before the log"),
        ]  # fmt: skip
    return out
