"""Where a watch list lies under ``out``, and the one before it."""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path
from typing import Any

import polars as pl

from churn_clv import config, disk
from churn_clv.watch._list import BEFORE

TABLE, CSV, DOCUMENT = "watch.parquet", "watch.csv", "watch.json"


def watch_folder(settings: config.Config) -> Path:
    """The folder of all lists of a data set: ``out``/watch/<dataset>."""
    return Path(settings.out) / "watch" / settings.dataset


def list_folder(settings: config.Config, cutoff: dt.date) -> Path:
    """The folder of one list."""
    return watch_folder(settings) / f"cutoff={cutoff}"


def before(settings: config.Config, cutoff: dt.date) -> pl.DataFrame:
    """Who was on the newest list of an earlier cutoff, since when (BEFORE); nobody where there is none that is whole.

    A list of more than a year ago says nothing of today's episodes, but an order will have ended those anyway.
    """
    found = sorted(p for p in watch_folder(settings).glob(f"cutoff=*/{TABLE}") if p.parent.name < f"cutoff={cutoff}")
    if not found:
        return pl.DataFrame(schema=BEFORE)
    try:
        return pl.read_parquet(found[-1], columns=BEFORE.names(), hive_partitioning=False)
    except (OSError, pl.exceptions.PolarsError):
        return pl.DataFrame(schema=BEFORE)


def write(frame: pl.DataFrame, document: dict[str, Any], folder: Path) -> None:
    """``folder``/watch.parquet, .csv and .json: all or none; what stood there is replaced."""
    with disk.folder_written(folder) as new:
        frame.write_parquet(new / TABLE)
        flat(frame).write_csv(new / CSV)
        text = json.dumps(document, indent=1, allow_nan=False, default=str, ensure_ascii=False)
        (new / DOCUMENT).write_text(text + "\n", encoding="utf-8")


def flat(frame: pl.DataFrame) -> pl.DataFrame:
    """Reasons as one text, changes only in words: for a table of plain columns."""
    texts = pl.col("reasons").list.eval(pl.element().struct.field("text")).list.join("; ")
    return frame.drop("changes").with_columns(texts.alias("reasons"), pl.col(pl.Float64).round(6))
