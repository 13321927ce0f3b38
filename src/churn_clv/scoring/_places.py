"""Where a scoring lies under ``out``, and what its files are called."""

from __future__ import annotations

import datetime as dt
import json
import shutil
from pathlib import Path
from typing import Any

from churn_clv import config
from churn_clv.disk import recover

MANIFEST, CSV, TABLE = "manifest.json", "scores.csv", "scores.db"
MODEL_DIGITS = 16
ASIDE = "aside"
FORMAT = 2  # of the manifest; 1 had one scores.parquet


def scores_folder(settings: config.Config) -> Path:
    """The folder of all scorings of a data set: ``out``/scores/<dataset>."""
    return Path(settings.out) / "scores" / settings.dataset


def table_file(settings: config.Config) -> Path:
    """The SQLite file of current answers, where no other table is configured."""
    return scores_folder(settings) / TABLE


def lock_file(settings: config.Config) -> Path:
    """Held by whoever writes below ``scores_folder``."""
    return scores_folder(settings) / ".lock"


def scoring_folder(settings: config.Config, cutoff: dt.date, version: str) -> Path:
    """The folder of one scoring."""
    return scores_folder(settings) / f"cutoff={cutoff}" / f"model={version[:MODEL_DIGITS]}"


def work_folder(settings: config.Config) -> Path:
    """What is written aside and thrown away once a scoring stands: the log in pieces, pieces scored."""
    return Path(settings.out) / "work" / f"score-{settings.dataset}"


def aside(settings: config.Config, target: Path) -> tuple[Path, Path]:
    """Where a scoring's folder is made before it takes the place of ``target``, and where what stood there goes."""
    place = work_folder(settings) / ASIDE / target.parent.name / target.name
    return place / "new", place / "old"


def mend(settings: config.Config) -> None:
    """Finish or undo whatever was killed while it replaced a scoring's folder. The caller holds the lock."""
    for place in (work_folder(settings) / ASIDE).glob("*/*"):
        recover(place / "new", scores_folder(settings) / place.parent.name / place.name, place / "old")
    shutil.rmtree(work_folder(settings) / ASIDE, ignore_errors=True)


def parts_of(folder: Path) -> list[Path]:
    """The Parquet files of a scoring, in the order of the customers."""
    return sorted(folder.glob("*.parquet"))


def manifest_of(folder: Path) -> dict[str, Any] | None:
    """A scoring's manifest, None where there is no readable one."""
    try:
        found = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError, json.JSONDecodeError, UnicodeDecodeError):
        return None
    return found if isinstance(found, dict) else None
