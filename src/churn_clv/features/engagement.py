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
    """Counts, days since and latest values by type of event and of all, and when the customer was seen last."""
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
    shown = tuple(k for k in definitions.seen_by if k in kinds)
    return out + (_seen(shown) if shown else [])


def _seen(kinds: tuple[str, ...]) -> list[Feature]:
    """Buying and the types of events by which a customer shows up, as one rhythm: together they tell of it sooner."""
    times = [pl.col("purchase_days"), *(pl.col(f"{_name(k)}_events") for k in kinds)]
    since = [pl.col("days_since_last_purchase"), *(pl.col(f"days_since_last_{_name(k)}") for k in kinds)]
    shown = f"a purchase or one of: {', '.join(kinds)}"
    return [
        *(derived(f"{name}_missed", _missed(f"days_since_last_{name}", f"{name}_events"),
                  f"'{kind}' events that would have come since the last one, at the customer's mean rate.",
                  "null without such events") for kind, name in ((kind, _name(kind)) for kind in kinds)),
        derived("times_seen", pl.sum_horizontal(times), f"Purchase days and other times seen ({', '.join(kinds)}).",
                "never null for a known customer"),
        derived("times_seen_per_week", ratio(pl.col("times_seen") * 7, "tenure_days"),
                "Times seen per week since the first event.", "never null for a known customer"),
        derived("days_since_last_seen", pl.min_horizontal(since), f"Days from the last of {shown} to the cutoff.",
                "null where never seen"),
        derived("times_seen_missed", _missed("days_since_last_seen", "times_seen"),
                "Times that the customer would have been seen since the last one, at the mean rate of the time known.",
                "null where never seen"),
    ]  # fmt: skip


def _missed(since: str, times: str) -> pl.Expr:
    """How many would have come since the last one at the mean rate of the whole tenure, silence included."""
    return ratio(pl.col(since) * pl.col(times), "tenure_days")


def _name(kind: str) -> str:
    return re.sub(r"\W+", "_", kind.lower()).strip("_")


def _of_kind(definitions: Definitions, kind: str) -> list[Feature]:
    name = _name(kind)
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
