"""Which stored scoring answers a question: of this log, by this code, and whole."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any

import polars as pl

from churn_clv import __version__, config
from churn_clv.events import Log
from churn_clv.scoring._assemble import checksum
from churn_clv.scoring._past import scorings
from churn_clv.scoring._pieces import Without, mark
from churn_clv.scoring._places import FORMAT, manifest_of, parts_of, scores_folder

MADE_BY = f"churn-clv {__version__}"


def stored(
    settings: config.Config, log: Log, without: Without, cutoff: dt.date, version: str | None = None
) -> tuple[pl.DataFrame, Path] | None:
    """The scores of everyone at a cutoff and their folder, of the scoring last written; None where there is none.

    It counts if it was made of the same events (``without`` takes the forgotten out), by the model ``version`` (None:
    by any), by this version of the code, and its files are what they were.
    """
    made = [s for s in scorings(scores_folder(settings)) if s.cutoff == cutoff and version in (None, s.version)]
    fingerprint = mark(log, without) if made else ""
    for one in reversed(made):
        if standing(one.folder, fingerprint) is not None:
            return pl.read_parquet(parts_of(one.folder), hive_partitioning=False), one.folder
    return None


def standing(folder: Path, fingerprint: str) -> dict[str, Any] | None:
    """The manifest of a scoring that stands whole, of a log of this fingerprint and by this code; else None."""
    known = manifest_of(folder)
    same = {"format": FORMAT, "fingerprint": fingerprint, "made_by": MADE_BY}
    if known is None or any(known.get(key) != value for key, value in same.items()):
        return None
    parts = [folder / part["file"] for part in known["parts"]]
    whole = all(path.exists() for path in parts) and checksum(parts) == known["sha256"]
    return known if whole else None
