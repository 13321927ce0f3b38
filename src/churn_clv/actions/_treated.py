"""Labels that a campaign has touched (definition D31): a customer contacted in the window is no natural lapse or stay.

Contacts are events. Written as a log source they become features like any other event, and ``snapshots.untreated``
leaves out the rows whose *label* window holds one.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import polars as pl

from churn_clv.actions._telling import TREATED
from churn_clv.canonical import CONTACTED


def events_of(campaigns: Sequence[dict[str, Any]]) -> pl.DataFrame:
    """What was sent as plain log columns: customer_id, time (the cutoff's midnight), event_type, channel, event_id."""
    parts = [
        one["rows"].filter(arm=TREATED).select(
            "customer_id", time=pl.lit(one["cutoff"]).cast(pl.Datetime("us")), event_type=pl.lit(CONTACTED),
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
