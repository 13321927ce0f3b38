"""Price: how much of the buying is done on discount."""

from __future__ import annotations

import polars as pl

from churn_clv.features._feature import Feature, count, derived, ratio, statistic, within
from churn_clv.timeline import Definitions


def needs(definitions: Definitions) -> str | None:
    """Discounts."""
    return None if "discount" in definitions.columns else "no source maps 'discount'"


def features(definitions: Definitions) -> list[Feature]:
    """Discounted lines and discount money, lifetime and by window."""
    money = 10**definitions.rules.minor_units
    out = [
        count("_discount", pl.col("discount").sum(), "days"),
        count("_discounted_lines", pl.col("discounted").sum(), "days"),
        count("_priced_lines", pl.col("purchases").sum(), "days"),
        count("_paid", pl.col("gross").sum(), "days"),
        derived("discount", pl.col("_discount") / money, "Discount received before the cutoff."),
        derived("discount_share", ratio("_discount", pl.col("_discount") + pl.col("_paid")),
                "Discount as a share of the money before discount.", "null without money"),
        derived("discounted_lines_share", ratio("_discounted_lines", "_priced_lines"),
                "Share of purchase lines with a discount.", "null without purchases"),
        statistic("days_since_last_discount", pl.col("age_days").filter(pl.col("discounted") > 0).min(), "days",
                  "Days from the last purchase with a discount to the cutoff."),
    ]  # fmt: skip
    for w in definitions.windows_days[2:4]:
        out += [
            count(f"_discount_last_{w}d", pl.col("discount").filter(within(w)).sum(), "days", "", w),
            count(f"_paid_last_{w}d", pl.col("gross").filter(within(w)).sum(), "days", "", w),
            derived(f"discount_last_{w}d", pl.col(f"_discount_last_{w}d") / money,
                    f"Discount received in the last {w} days."),
            derived(f"discount_share_last_{w}d",
                    ratio(f"_discount_last_{w}d", pl.col(f"_discount_last_{w}d") + pl.col(f"_paid_last_{w}d")),
                    f"Discount as a share of the money before discount in the last {w} days.", "null without money"),
        ]  # fmt: skip
    return out
