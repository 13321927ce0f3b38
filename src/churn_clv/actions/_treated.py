"""Labels that a campaign has touched (definition D31): a customer contacted in the window is no natural lapse or stay.

Treatments are events. Written as a log source they become features like any other event; the rows whose *label*
window holds a treatment are marked here, to be left out of training or to be told to the model.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import polars as pl

from churn_clv.actions._telling import TREATED

EVENT = "treatment"


def events_of(campaigns: Sequence[dict[str, Any]]) -> pl.DataFrame:
    """What was sent as plain log columns: customer_id, time (the cutoff's midnight), event_type, channel, event_id."""
    parts = [
        one["rows"].filter(arm=TREATED).select(
            "customer_id", time=pl.lit(one["cutoff"]).cast(pl.Datetime("us")), event_type=pl.lit(EVENT),
            channel="channel", product_id="action", event_id=pl.format("{}/{}", pl.lit(one["name"]), "customer_id"),
        )
        for one in campaigns
    ]  # fmt: skip
    schema: dict[str, Any] = {"customer_id": pl.String, "time": pl.Datetime("us"), "event_type": pl.String,
              "channel": pl.String,
              "product_id": pl.String, "event_id": pl.String}  # fmt: skip
    return pl.concat(parts) if parts else pl.DataFrame(schema=schema)


def write_events(campaigns: Sequence[dict[str, Any]], path: Path) -> None:
    """``events_of`` as Parquet, written aside and renamed: a source for the config's ``events.sources``."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}")
    events_of(campaigns).write_parquet(draft)
    draft.replace(path)


def marked(snapshots: pl.DataFrame, treatments: pl.DataFrame, horizon_days: int) -> pl.DataFrame:
    """``snapshots`` (customer_id, cutoff, ...) with ``treated``: a treatment in [cutoff, cutoff + horizon_days).

    In the order given. Filter on it to keep treated labels out of training; its mean is the share to print.
    """
    days = treatments.select("customer_id", day=pl.col("time").dt.date())
    rows = snapshots.select("customer_id", "cutoff").with_row_index("row")
    age = (pl.col("day") - pl.col("cutoff")).dt.total_days()
    hit = rows.join(days, on="customer_id").filter((age >= 0) & (age < horizon_days))["row"].unique()
    return snapshots.with_columns(treated=pl.int_range(pl.len(), dtype=pl.UInt32).is_in(hit.implode()))
