"""Basket: lines, units, breadth of products and categories, price level, loyalty to items."""

from __future__ import annotations

import polars as pl

from churn_clv.canonical import divide
from churn_clv.features._feature import (
    NO_EVENTS_ZERO,
    WINDOW_NULL,
    Feature,
    Grain,
    count,
    derived,
    ratio,
    statistic,
    within,
)
from churn_clv.timeline import Definitions


def needs(definitions: Definitions) -> str | None:
    """Products, categories or quantities."""
    if {"product_id", "category", "quantity"} & set(definitions.columns):
        return None
    return "no source maps 'product_id', 'category' or 'quantity'"


def features(definitions: Definitions) -> list[Feature]:
    """What is in the baskets, by what the log has."""
    out = _lines(definitions)
    if "quantity" in definitions.columns:
        out += _units(definitions)
    if "product_id" in definitions.columns:
        out += _items(definitions, "products", "product")
    if "category" in definitions.columns:
        out += _items(definitions, "categories", "category")
    return out


def _lines(definitions: Definitions) -> list[Feature]:
    out = [
        count("purchase_lines", pl.col("purchases").sum(), "days",
              "Purchase lines before the cutoff, those of voided days too."),
        derived("lines_per_purchase_day", ratio("purchase_lines", "purchase_days"),
                "Purchase lines (those of voided days too) per purchase day.", "null without purchase days"),
        statistic("lines_last", pl.col("purchases").last(), "gaps", "Purchase lines on the latest purchase day."),
    ]  # fmt: skip
    for w in definitions.windows_days[2:4]:
        out.append(count(f"purchase_lines_last_{w}d", pl.col("purchases").filter(within(w)).sum(), "days",
                         f"Purchase lines in the last {w} days, those of voided days too.", w))  # fmt: skip
    return out


def _units(definitions: Definitions) -> list[Feature]:
    w = definitions.horizon_window_days
    out = [
        count("_units", pl.col("units").sum(), "days"),
        derived("units", divide(pl.col("_units"), 1000), "Units bought before the cutoff.", NO_EVENTS_ZERO),
        count(f"_units_last_{w}d", pl.col("units").filter(within(w)).sum(), "days", "", w),
        derived(f"units_last_{w}d", divide(pl.col(f"_units_last_{w}d"), 1000),
                f"Units bought in the last {w} days.",
                NO_EVENTS_ZERO + WINDOW_NULL),
        derived("units_per_line", ratio("units", "purchase_lines"), "Units per purchase line.",
                "null without purchase lines"),
    ]  # fmt: skip
    if "amount" in definitions.columns:
        money = 10**definitions.rules.minor_units
        out += [
            count("_gross", pl.col("gross").sum(), "days"),
            derived("price_per_unit", ratio(divide(pl.col("_gross"), money), "units"),
                    "Money of purchases per unit bought: price level.", "null without units"),
            derived("price_per_line", ratio(divide(pl.col("_gross"), money), "purchase_lines"),
                    "Money of purchases per purchase line.", "null without purchase lines"),
        ]  # fmt: skip
    return out


def _items(definitions: Definitions, plural: str, one: str) -> list[Feature]:
    grain: Grain = "products" if one == "product" else "categories"
    days, spent = pl.col("days"), pl.col("spent")
    out = [
        count(f"{plural}_distinct", pl.len().cast(pl.Int64), grain, f"Different {plural} bought before the cutoff."),
        count(f"_{plural}_repeated", (days >= 2).sum().cast(pl.Int64), grain),
        count(f"_{plural}_lines", pl.col("lines").sum(), grain),
        statistic(f"_{one}_top_lines", pl.col("lines").max(), grain),
        derived(f"{plural}_repeated_share", ratio(f"_{plural}_repeated", f"{plural}_distinct"),
                f"Share of the {plural} bought on two or more days.", f"null without {plural}"),
        derived(f"{plural}_per_purchase_day", ratio(f"{plural}_distinct", "purchase_days"),
                f"Different {plural} per purchase day.", "null without purchase days"),
        derived(f"{one}_top_share", ratio(f"_{one}_top_lines", f"_{plural}_lines"),
                f"Share of purchase lines in the customer's most bought {one}, of those that name one.",
                f"null without {plural}"),
    ]  # fmt: skip
    for w in definitions.windows_days[2:5]:
        out.append(count(f"{plural}_distinct_last_{w}d", within(w).sum().cast(pl.Int64), grain,
                         f"Different {plural} bought in the last {w} days.", w))  # fmt: skip
        new = pl.col("first_age_days") <= w
        out.append(count(f"{plural}_new_last_{w}d", new.sum().cast(pl.Int64), grain,
                         f"Different {plural} bought for the first time in the last {w} days.", w))  # fmt: skip
    if "amount" in definitions.columns:
        out += [
            count(f"_{plural}_spent", spent.sum(), grain),
            statistic(f"_{one}_top_spent", spent.max(), grain),
            derived(f"{one}_top_spend_share", ratio(f"_{one}_top_spent", f"_{plural}_spent"),
                    f"Share of the money of purchases in the customer's biggest {one}, of those that name one.",
                    f"null without {plural}, or where they come to 0"),
        ]  # fmt: skip
    return out
