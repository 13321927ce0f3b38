"""Where a campaign's files lie under ``out``, and how a plan is written whole."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

import polars as pl

from churn_clv import config
from churn_clv.actions._plan import Plan

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
    """``place``/plan.parquet, .csv and .json, all or none; an earlier plan there is replaced."""
    place.parent.mkdir(parents=True, exist_ok=True)
    aside = Path(tempfile.mkdtemp(prefix=".plan-", dir=place.parent))
    try:
        plan.frame.write_parquet(aside / PLAN)
        plan.frame.with_columns(pl.col(pl.Float64).round(6)).write_csv(aside / "plan.csv")
        write_json(plan.document, aside / DOCUMENT)
        aside.chmod(0o755)
        place.mkdir(exist_ok=True)
        for path in sorted(aside.iterdir()):  # the document last: who finds it finds the rest
            os.replace(path, place / path.name)
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def write_json(document: dict[str, Any], path: Path) -> None:
    """One JSON document, written aside and renamed."""
    write_text(json.dumps(document, indent=1, allow_nan=False, default=str) + "\n", path)


def write_text(text: str, path: Path) -> None:
    """Text, written aside and renamed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{path.name}-", dir=path.parent)
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        file.write(text)
    os.chmod(name, 0o644)
    os.replace(name, path)
