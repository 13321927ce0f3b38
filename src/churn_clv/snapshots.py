"""Matrix and labels at many cutoffs: what training learns from and is judged on. Services never reach this."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence

import polars as pl

from churn_clv import config, labels, matrix, timeline
from churn_clv.canonical import CONTACTED
from churn_clv.events import Log
from churn_clv.timeline import Definitions


def build(log: Log, cutoffs: Sequence[dt.date], definitions: Definitions) -> pl.DataFrame:
    """The matrix of the eligible customers at every cutoff, sorted by (cutoff, customer_id); no labels yet."""
    pairs = timeline.pairs_of(log.frame["customer_id"].unique(), cutoffs)
    return matrix.build(log.frame, pairs, definitions, eligible_only=True)


def untreated(log: Log, snapshots: pl.DataFrame, days: int) -> pl.DataFrame:
    """``snapshots`` without those whose label window, [cutoff, cutoff + ``days``), holds a contact of a campaign.

    What such a customer does is no natural lapse or stay (definition D31); who was held out, or contacted before the
    cutoff, stays. In the order given.
    """
    sent = log.frame.filter(event_type=CONTACTED).select("customer_id", day=pl.col("time").dt.date())
    if sent.is_empty():
        return snapshots
    rows = snapshots.select("customer_id", "cutoff").with_row_index("row")
    age = (pl.col("day") - pl.col("cutoff")).dt.total_days()
    hit = rows.join(sent, on="customer_id").filter((age >= 0) & (age < days))["row"].unique()
    return snapshots.filter(~pl.int_range(pl.len(), dtype=pl.UInt32).is_in(hit.implode()))


def with_labels(
    log: Log,
    snapshots: pl.DataFrame,
    settings: config.Config,
    known_by: dt.date | None = None,
    edges: Sequence[int] = (),
) -> pl.DataFrame:
    """Add the label columns, counting only what was known by ``known_by`` (default: all that the log holds).

    ``edges`` adds ``churned_<edge>d`` for the parts of the horizon.
    """
    found = labels.build(
        log.frame,
        snapshots.select("customer_id", "cutoff"),
        settings.targets,
        settings.timeline.horizon_days,
        minor_units=log.rules.minor_units,
        ends=log.ends,
        known_by=known_by,
    )
    out = snapshots.hstack(found.drop("customer_id", "cutoff"))
    if more := [e for e in edges if labels.column("churned", e) not in out.columns]:
        pairs = snapshots.select("customer_id", "cutoff")
        parts = labels.by_parts(log.frame, pairs, settings.targets["churned"], more, ends=log.ends, known_by=known_by)
        out = out.hstack(parts)
    return out
