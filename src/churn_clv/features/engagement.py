"""Engagement: everything a customer does besides buying and returning."""

from __future__ import annotations

import re

import polars as pl

from churn_clv.canonical import divide
from churn_clv.features._feature import Feature, count, derived, ratio, statistic, within
from churn_clv.timeline import Definitions

MONEY_EVENTS = {"purchase", "return"}


def needs(definitions: Definitions) -> str | None:
    """Some event that is neither a purchase nor a return."""
    if set(definitions.event_types) - MONEY_EVENTS:
        return None
    return "the log has only purchases and returns"


def features(definitions: Definitions) -> list[Feature]:
    """Counts, days since and latest values per event type, and all of them together."""
    kinds = tuple(t for t in definitions.event_types if t not in MONEY_EVENTS)
    w = definitions.horizon_window_days
    out = [
        count("touches", pl.col("events").sum(), "touches", "Events besides purchases and returns.", of=kinds),
        count(f"touches_last_{w}d", pl.col("events").filter(within(w)).sum(), "touches",
              f"Events besides purchases and returns in the last {w} days.", w, kinds),
        count("touch_days", pl.col("age_days").n_unique().cast(pl.Int64), "touches",
              "Days with such an event.", of=kinds),
        statistic("days_since_last_touch", pl.col("age_days").min(), "touches",
                  "Days from the last such event to the cutoff.", of=kinds),
        derived("touches_per_purchase_day", ratio("touches", "purchase_days"), "Such events per purchase day.",
                "null without purchases"),
    ]  # fmt: skip
    for kind in kinds:
        out += _of_kind(definitions, kind)
    return out


def _of_kind(definitions: Definitions, kind: str) -> list[Feature]:
    name = re.sub(r"\W+", "_", kind.lower()).strip("_")
    is_kind, events_ = pl.col("event_type") == kind, pl.col("events")
    out = [
        count(f"{name}_events", events_.filter(is_kind).sum(), "touches", f"'{kind}' events before the cutoff.",
              of=(kind,)),
        statistic(f"days_since_last_{name}", pl.col("age_days").filter(is_kind).min(), "touches",
                  f"Days from the last '{kind}' event to the cutoff.", of=(kind,)),
    ]  # fmt: skip
    for w in definitions.two_windows_days:
        out.append(count(f"{name}_events_last_{w}d", events_.filter(is_kind & within(w)).sum(), "touches",
                         f"'{kind}' events in the last {w} days.", w, (kind,)))  # fmt: skip
    if "value" in definitions.columns:
        has = is_kind & pl.col("value_last").is_not_null()
        latest = pl.col("value_last").filter(has & (pl.col("age_days") == pl.col("age_days").filter(has).min()))
        out += [
            statistic(f"_{name}_value_last", latest.max(), "touches", of=(kind,)),
            derived(f"{name}_value_last", divide(pl.col(f"_{name}_value_last"), 1000),
                    f"Value of the latest '{kind}' event that has one (the largest of that day).",
                    "null without a value"),
        ]  # fmt: skip
    return out
