"""The log of ``tiny.plain_log`` as files and a config that reads them, so that the batch job can score it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import tiny

from churn_clv import batch, config, publish
from churn_clv.bundle import Bundle
from churn_clv.scoring import Asked
from churn_clv.service.replies import Prediction

FIELDS = tuple(Prediction.model_fields)
SMALL = {"piece_events": 700, "part_rows": 17, "lines": 250}  # two pieces of the 80 customers' log, five parts


def quiet(_: str) -> None:
    """Progress that nobody reads."""


def settings(folder: Path, log: pl.DataFrame | None = None, **over: Any) -> config.Config:
    """A config that reads ``log`` (default: tiny's) from ``folder``/log.parquet and writes to ``folder``/out."""
    plain = tiny.plain_log() if log is None else log
    folder.mkdir(parents=True, exist_ok=True)
    plain.write_parquet(folder / "log.parquet")
    return reading(folder / "log.parquet", folder / "out", plain.columns, **over)


def reading(path: Path, out: Path, columns: list[str], **over: Any) -> config.Config:
    """A config of such a file, whatever its format."""
    source = {"path": str(path), "map": {name: name for name in columns}, "log_starts": tiny.START.isoformat()}
    base = {
        "dataset": "tiny", "out": str(out), "timeline": {"horizon_days": tiny.HORIZON},
        "events": {"timezone": tiny.ZONE, "currency": "USD", "ends": tiny.TRAINED_THROUGH.isoformat(),
                   "after_end": "drop", "sources": {"log": source}},
    }  # fmt: skip
    return config.from_dict(base | over)


def score(
    own: config.Config, bundle: Bundle, say: Callable[[str], None] = quiet, table: bool | None = None, **asked: Any
) -> dict[str, Any]:
    """The batch job, in small portions."""
    return batch.score(own, bundle, Asked(**(SMALL | asked)), FIELDS, say, table)


def published(own: config.Config, folder: Path) -> config.Config:
    """The same config, whose bundles folder holds the bundle of ``folder``."""
    publish.publish(folder, own.bundles_folder)
    return own


def scores(document: dict[str, Any]) -> pl.DataFrame:
    """All that a scoring wrote."""
    return pl.concat(pl.read_parquet(path, memory_map=False) for path in document["files"])
