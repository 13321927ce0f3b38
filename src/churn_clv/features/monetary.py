"""Monetary: net money per window, order value and its spread."""

from __future__ import annotations

from itertools import pairwise

import polars as pl

from churn_clv.canonical import divide
from churn_clv.features._feature import (
    NO_EVENTS_ZERO,
    WINDOW_NULL,
    Feature,
    count,
    derived,
    ratio,
    spread,
    statistic,
    within,
)
from churn_clv.timeline import Definitions


def needs(definitions: Definitions) -> str | None:
    """Amounts."""
    return None if "amount" in definitions.columns else "no source maps 'amount'"


def features(definitions: Definitions) -> list[Feature]:
    """Net spend by window and block, order value, spread; money in major units."""
    return [*_spend(definitions), *_order_value(definitions)]


def _major(expr: pl.Expr, definitions: Definitions) -> pl.Expr:
    return divide(expr, 10**definitions.rules.minor_units)


def _spend(definitions: Definitions) -> list[Feature]:
    out: list[Feature] = [count("_net", pl.col("net").sum(), "days", of=("purchase", "return"))]
    for w in definitions.windows_days:
        out.append(count(f"_net_last_{w}d", pl.col("net").filter(within(w)).sum(), "days", "", w,
                         ("purchase", "return")))  # fmt: skip
        out.append(derived(f"spend_last_{w}d", _major(pl.col(f"_net_last_{w}d"), definitions),
                           f"Purchases minus returns dated in the last {w} days.",
                           NO_EVENTS_ZERO + WINDOW_NULL))  # fmt: skip
    out.append(derived("spend", _major(pl.col("_net"), definitions), "Purchases minus returns before the cutoff.",
                       NO_EVENTS_ZERO))  # fmt: skip
    for near, far in pairwise(definitions.windows_days):
        out.append(derived(f"spend_from_{near}d_to_{far}d",
                           _major(pl.col(f"_net_last_{far}d") - pl.col(f"_net_last_{near}d"), definitions),
                           f"Purchases minus returns dated between {far} and {near} days before the cutoff.",
                           "null where the longer window starts before the log"))  # fmt: skip
    out.append(derived("spend_per_day", ratio(_major(pl.col("_net"), definitions), "tenure_days"),
                       "Net spend per day since the first event.", "never null for a known customer"))  # fmt: skip
    for short, long in pairwise(definitions.two_windows_days):
        out.append(derived(f"spend_trend_{short}d_to_{long}d",
                           ratio(pl.col(f"_net_last_{short}d") * long, pl.col(f"_net_last_{long}d") * short),
                           f"Daily net spend of the last {short} days over that of the last {long} days.",
                           "null where the longer window nets to 0 or starts before the log"))  # fmt: skip
    return out


def _order_value(definitions: Definitions) -> list[Feature]:
    value, unit = pl.col("value"), 10**definitions.rules.minor_units
    squares = value.cast(pl.Int128) * value.cast(pl.Int128)
    out = [
        count("_value_total", value.sum(), "gaps"),
        count("_value_squares", squares.sum(), "gaps"),
        derived("mean_order_value", divide(ratio("_value_total", "purchase_days"), unit),
                "Mean net money of a purchase day.", "null without purchases"),
        derived("order_value_sd", spread("purchase_days", "_value_total", "_value_squares", unit),
                "Standard deviation of the net money of purchase days.", "null below two purchase days"),
        derived("order_value_cv", ratio("order_value_sd", "mean_order_value"),
                "Coefficient of variation of the net money of purchase days.",
                "null below two purchase days, or where the mean is 0"),
    ]  # fmt: skip
    pieces = {
        "min": ("Smallest", value.min()),
        "median": ("Median", value.median()),
        "max": ("Largest", value.max()),
        "last": ("Latest", value.last()),
        "first": ("First", value.first()),
    }
    for name, (word, expr) in pieces.items():
        out.append(statistic(f"_value_{name}", expr, "gaps"))
        out.append(derived(f"order_value_{name}", divide(pl.col(f"_value_{name}"), unit),
                           f"{word} net money of a purchase day.", "null without purchases"))  # fmt: skip
    out += [
        derived("order_value_last_to_mean", ratio("order_value_last", "mean_order_value"),
                "Latest net money of a purchase day over the mean.", "null without purchases, or where the mean is 0"),
        count("_last_three_values", value.tail(3).sum(), "gaps"),
        derived("order_value_last_three_to_mean",
                ratio(divide(ratio("_last_three_values", pl.min_horizontal("purchase_days", 3)), unit),
                      "mean_order_value"),
                "Mean net money of the last three purchase days over the mean of all.",
                "null without purchases, or where the mean is 0"),
    ]  # fmt: skip
    for w in definitions.windows_days[2:5]:
        out.append(count(f"_value_last_{w}d", value.filter(within(w)).sum(), "gaps", "", w))
        out.append(derived(f"mean_order_value_last_{w}d",
                           divide(ratio(f"_value_last_{w}d", f"purchase_days_last_{w}d"), unit),
                           f"Mean net money of a purchase day in the last {w} days.",
                           "null without purchases in it, or where it starts before the log"))  # fmt: skip
    return out
