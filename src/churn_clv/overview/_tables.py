"""The report's tables as frames, by the name of their CSV."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl

from churn_clv import cohorts
from churn_clv.segments import SEGMENTATIONS

Document = Mapping[str, Any]


NAMES = (
    "kpis", "balance", "transitions", "steps", "drivers", "realised", "test_tenths", "plan_actions", "plan_curve",
    "affinity", "watch", "cohorts_retention", "cohorts_revenue",
)  # fmt: skip


def is_table(name: str) -> bool:
    """Whether a report may have a table of this name."""
    return name in NAMES or (name.partition("_")[2] in SEGMENTATIONS and name.startswith(("segments_", "migration_")))


def tables(document: Document) -> dict[str, pl.DataFrame]:
    """Every table that has rows; the numbers of the report in full, without its words."""
    out: dict[str, Sequence[Mapping[str, Any]]] = {"kpis": [_kpi(row) for row in document["kpis"]["rows"]]}
    out["balance"] = [document["kpis"]["balance"]]
    if document["segments"]["missing"] is None:
        for column, rows in document["segments"]["segments"].items():
            out[f"segments_{column}"] = rows
        for column, moves in (document["segments"]["migration"] or {}).items():
            out[f"migration_{column}"] = moves["flows"]
    out["transitions"] = document["journey"]["transitions"]
    out["steps"] = document["journey"]["steps"]
    out["drivers"] = document["drivers"].get("themes", ())
    out["realised"] = [_flat(row) for row in document["realised"]["scorings"]]
    out["test_tenths"] = document["reliability"]["tenths"]
    out["plan_actions"] = document["plan"].get("actions", ())
    out["plan_curve"] = document["plan"].get("curve", {}).get("points", ())
    out["affinity"] = document["affinity"].get("pairs", ())
    out["watch"] = [_flat(row) for row in document["watch"].get("customers", ())]
    frames = {name: pl.DataFrame(rows, infer_schema_length=None) for name, rows in out.items() if rows}
    if document["cohorts"]["cohorts"]:
        for what in ("retention", "revenue"):
            frames[f"cohorts_{what}"] = cohorts.table(dict(document["cohorts"]), what)
    return frames


def _kpi(row: Document) -> dict[str, Any]:
    before = {f"{key}_before": row["before"][key] for key in ("value", "low", "high", "n")}
    names = ("name", "title", "unit", "value", "low", "high", "n", "n_of", "matured", "change", "p", "change_is",
             "target", "status", "owner", "due", "note", "missing", "how")  # fmt: skip
    return {key: row[key] for key in names} | before


def _flat(row: Document) -> dict[str, Any]:
    """Without lists and nested rows, which no CSV holds."""
    return {key: value for key, value in row.items() if not isinstance(value, list | dict)}
