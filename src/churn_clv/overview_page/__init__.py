"""The report and a customer's page as HTML that needs nothing else, and the report's tables as CSV beside it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import polars as pl

from churn_clv import disk, overview
from churn_clv.errors import UserError
from churn_clv.overview_page._customer import render as render_customer
from churn_clv.overview_page._page import render

__all__ = ["check_place", "render", "render_customer", "tables_folder", "write", "write_tables"]


def check_place(path: Path) -> None:
    """UserError for a place where no HTML file can go."""
    if path.suffix.lower() not in (".html", ".htm"):
        raise UserError(f"--out {path}: expected a file that ends in .html.")
    if path.is_dir():
        raise UserError(f"--out {path} is a folder. Give a file in it, such as {path / 'report.html'}.")


def write(html: str, path: Path) -> None:
    """The file, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with disk.written(path) as draft:
        draft.write_text(html, encoding="utf-8")


def tables_folder(path: Path) -> Path:
    """The folder beside the page."""
    return path.with_name(f"{path.stem}_tables")


# What a spreadsheet takes for the start of a formula.
FORMULA = r"^[=+\-@\t\r]"


def write_tables(document: Mapping[str, Any], path: Path) -> list[Path]:
    """The CSV files in ``tables_folder``, all or none; those of an earlier report that had more tables go.

    People open them in spreadsheets: a text that would be run there as a formula gets an apostrophe in front.
    """
    folder = tables_folder(path)
    with disk.files_written(folder) as new:
        for name, frame in overview.tables(document).items():
            _harmless(frame).write_csv(new / f"{name}.csv")
        names = sorted(file.name for file in new.iterdir())
    for old in folder.glob("*.csv"):
        if old.name not in names and overview.is_table(old.stem):
            old.unlink()
    return [folder / name for name in names]


def _harmless(frame: pl.DataFrame) -> pl.DataFrame:
    told = pl.col(pl.String)
    return frame.with_columns(pl.when(told.str.contains(FORMULA)).then("'" + told).otherwise(told).name.keep())
