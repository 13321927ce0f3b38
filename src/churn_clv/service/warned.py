"""What an answer warns of: events left out, types unknown to the model, cutoffs that it was not made for."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import polars as pl

from churn_clv import timeline
from churn_clv.canonical import repeated
from churn_clv.service import reading
from churn_clv.service.replies import Warned

if TYPE_CHECKING:
    from churn_clv.bundle import Bundle

NAMES_SHOWN = 5


class Warnings:
    """Warnings by customer's position, in the order in which they were given."""

    def __init__(self, customers: int) -> None:
        self.of: list[list[Warned]] = [[] for _ in range(customers)]

    def add(self, key: str | int, code: Any, count: int, detail: str) -> None:
        """To the customer at a position, or of a key."""
        place = reading.position(key) if isinstance(key, str) else key
        self.of[place].append(Warned(code=code, count=count, detail=detail))


def count_dropped(sent: pl.DataFrame, frame: pl.DataFrame, warnings: Warnings) -> None:
    """Events that the log's policies for purchases of nothing or less left out, as they did in training."""
    kept = dict(frame.group_by("customer_id").len().iter_rows())
    for key, count in sent.group_by("customer_id").len().iter_rows():
        if dropped := count - kept.get(key, 0):
            detail = "Purchases of nothing, or of less, were left out, as they were in training."
            warnings.add(key, "dropped_by_policy", dropped, detail)


def clean(frame: pl.DataFrame, bundle: Bundle, warnings: Warnings) -> pl.DataFrame:
    """Without repeats of an event_id and without types the model does not know, each counted."""
    if frame["event_id"].null_count() < frame.height:
        again = frame.select(repeated()).to_series()
        for key, count in frame.filter(again).group_by("customer_id").len().iter_rows():
            warnings.add(key, "duplicate_event_id", count, "Repeats of an event_id were dropped.")
        frame = frame.filter(~again)
    if {*frame["event_type"].unique()} <= {*bundle.event_types}:
        return frame
    known = frame["event_type"].is_in(bundle.event_types)
    strange = frame.filter(~known).group_by("customer_id")
    for key, count, names in strange.agg(pl.len(), names=pl.col("event_type").unique().sort()).iter_rows():
        shown = ", ".join(names[:NAMES_SHOWN]) + (", ..." if len(names) > NAMES_SHOWN else "")
        warnings.add(key, "unknown_event_type", count, f"Event types unknown to the model were ignored: {shown}.")
    return frame.filter(known)


def count_later(frame: pl.DataFrame, pairs: pl.DataFrame, warnings: Warnings) -> None:
    """Events that are not past at their customer's cutoff."""
    for key, later in timeline.not_past(frame, pairs).iter_rows():
        detail = "Events at or after the cutoff, or not yet known then, were ignored."
        warnings.add(key, "events_after_cutoff", later, detail)


def judge_cutoffs(cutoffs: Sequence[dt.date], bundle: Bundle, warnings: Warnings) -> None:
    """Cutoffs before the end of training, and those too long after it."""
    through, limit = bundle.trained_through, bundle.config.service.stale_after_days
    for place, cutoff in enumerate(cutoffs):
        days = (cutoff - through).days
        if days < 0:
            detail = f"The cutoff lies before {through}, the end of training: the model may have seen what came next."
            warnings.add(place, "in_sample", -days, detail)
        elif days > limit:
            detail = f"The cutoff lies {days} days after {through}, the end of training. Train a newer model."
            warnings.add(place, "stale_model", days, detail)
