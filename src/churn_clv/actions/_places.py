"""Where a campaign's files lie under ``out``, and how a plan is written whole."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl

from churn_clv import config
from churn_clv.actions._plan import Plan
from churn_clv.disk import files_written, written

PLAN, DOCUMENT = "plan.parquet", "plan.json"


def folder(settings: config.Config) -> Path:
    """The folder of all campaigns of a data set: ``out``/actions/<dataset>."""
    return Path(settings.out) / "actions" / settings.dataset


def outbox_file(settings: config.Config) -> Path:
    """The SQLite file that knows whom which campaign reached."""
    return folder(settings) / "outbox.sqlite"


def overlay_file(settings: config.Config) -> Path:
    """The measured rates, as ``act --actions`` takes them."""
    return folder(settings) / "measured.yaml"


def write_plan(plan: Plan, place: Path) -> None:
    """``place``/plan.parquet, .csv and .json, replacing those of an earlier plan."""
    with files_written(place, last=DOCUMENT) as new:
        plan.frame.write_parquet(new / PLAN)
        plan.frame.with_columns(pl.col(pl.Float64).round(6)).write_csv(new / "plan.csv")
        write_json(plan.document, new / DOCUMENT)


def write_json(document: dict[str, Any], path: Path) -> None:
    """One JSON document, written aside and renamed."""
    write_text(json.dumps(document, indent=1, allow_nan=False, default=str) + "\n", path)


def write_text(text: str, path: Path) -> None:
    """Text, written aside and renamed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with written(path) as draft:
        draft.write_text(text, encoding="utf-8")
