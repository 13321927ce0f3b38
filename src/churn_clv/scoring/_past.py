"""The scoring before this one, and what it said of each customer."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from churn_clv.scoring._places import MANIFEST, manifest_of, parts_of

# What is carried over into the next scoring, or compared with it.
CARRIED = ("eligible", "reason", "churn_band", "churn_probability", "lifecycle_stage")


@dataclass(frozen=True)
class Scoring:
    """A finished scoring: its folder, cutoff and manifest."""

    folder: Path
    cutoff: dt.date
    manifest: dict[str, Any]

    @property
    def version(self) -> str:
        """The model's version."""
        return str(self.manifest["model_version"])

    def of(self, first: str, last: str) -> pl.DataFrame:
        """What it said of the customers from ``first`` to ``last``: customer_id and CARRIED, as far as it has them."""
        every = pl.scan_parquet(parts_of(self.folder))
        held = every.collect_schema().names()
        return (
            every.select("customer_id", *(name for name in CARRIED if name in held))
            .filter(pl.col("customer_id").is_between(pl.lit(first), pl.lit(last)))
            .collect()
        )


def scorings(folder: Path) -> list[Scoring]:
    """All finished scorings below ``folder`` (of one data set), by cutoff and then by when they were written."""
    found = []
    for path in folder.glob("cutoff=*/model=*"):
        manifest = manifest_of(path)
        if manifest is None or not {"cutoff", "model_version", "rows", "horizon_days"} <= set(manifest):
            continue
        written = (path / MANIFEST).stat().st_mtime_ns
        found.append((Scoring(path, dt.date.fromisoformat(manifest["cutoff"]), manifest), written))
    return [one for one, _ in sorted(found, key=lambda pair: (pair[0].cutoff, pair[1], pair[0].version))]


def last_before(folder: Path, cutoff: dt.date, version: str, horizon_days: int) -> Scoring | None:
    """The scoring before the one of ``cutoff`` and ``version``: of the latest cutoff up to it, the newest.

    Scorings of another horizon answer another question and do not count.
    """
    others = [s for s in scorings(folder) if (s.cutoff, s.version) != (cutoff, version)]
    asked = [s for s in others if s.cutoff <= cutoff and s.manifest["horizon_days"] == horizon_days]
    return asked[-1] if asked else None


def with_previous(scores: pl.DataFrame, before: Scoring | None) -> pl.DataFrame:
    """Scores (sorted by customer_id) with ``previous_churn_band`` and ``score_change``, null where there is none."""
    if before is None or scores.is_empty():
        return scores.with_columns(previous_churn_band=pl.lit(None, pl.String), score_change=pl.lit(None, pl.Float64))
    was = before.of(scores["customer_id"][0], scores["customer_id"][-1]).select(
        "customer_id", previous_churn_band="churn_band", was="churn_probability"
    )
    joined = scores.join(was, on="customer_id", how="left", maintain_order="left")
    return joined.with_columns(score_change=pl.col("churn_probability") - pl.col("was")).drop("was")
