"""Who changed since the last scoring: band, eligibility or why not, and stage where there is one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl

from churn_clv import config
from churn_clv.disk import written
from churn_clv.scoring._past import CARRIED, Scoring
from churn_clv.scoring._places import MANIFEST, parts_of

WATCHED = ("eligible", "reason", "churn_band", "lifecycle_stage")
# Of a customer whom the last scoring had never met.
UNKNOWN = "unknown"


def changes_folder(settings: config.Config) -> Path:
    """Where the changes of a data set's scorings are written."""
    return Path(settings.out) / "changes" / settings.dataset


def changed(scores: pl.DataFrame, before: Scoring) -> pl.DataFrame:
    """The customers of ``scores`` (sorted by customer_id) who changed since ``before``, with before and after.

    Columns: customer_id, cutoff, previous_cutoff; eligible, reason, churn_band, churn_probability (and lifecycle_stage)
    each with its <name>_before beside it; score_change. Whom the last scoring had not met was ``unknown`` then.
    """
    was = before.of(scores["customer_id"][0], scores["customer_id"][-1])
    both = [name for name in CARRIED if name in scores.columns and name in was.columns]
    renamed = was.select("customer_id", *(pl.col(name).alias(f"{name}_before") for name in both), met=pl.lit(True))
    joined = scores.join(renamed, on="customer_id", how="left", maintain_order="left").with_columns(
        eligible_before=pl.col("eligible_before").fill_null(False),
        reason_before=pl.when("met").then("reason_before").otherwise(pl.lit(UNKNOWN)),
    )
    moved = [pl.col(name).ne_missing(pl.col(f"{name}_before")) for name in WATCHED if name in both]
    pairs = [column for name in both for column in (f"{name}_before", name)]
    return joined.filter(pl.any_horizontal(moved)).select(
        "customer_id", "cutoff", pl.lit(before.cutoff).alias("previous_cutoff"), *pairs, "score_change"
    )


def write_changes(folder: Path, settings: config.Config, before: Scoring, csv: bool) -> dict[str, Any]:
    """Write the changes of the scoring in ``folder`` since ``before`` to ``out``/changes/...; returns path and count.

    One Parquet file, its rows sorted by customer_id; the same name whenever it is written again.
    """
    found = [changed(frame, before) for part in parts_of(folder) if (frame := pl.read_parquet(part)).height]
    rows = pl.concat(found)
    target = changes_folder(settings) / folder.parent.name / folder.name
    target.mkdir(parents=True, exist_ok=True)
    with written(target / "changes.parquet") as draft:
        rows.write_parquet(draft)
    if csv:
        with written(target / "changes.csv") as draft:
            rows.write_csv(draft)
    else:
        (target / "changes.csv").unlink(missing_ok=True)
    return {
        "path": str(target / "changes.parquet"), "rows": rows.height,
        "previous_cutoff": before.cutoff.isoformat(), "previous_model_version": before.version,
        "joined": rows.filter(pl.col("reason_before") == UNKNOWN).height,
    }  # fmt: skip


__all__ = ["MANIFEST", "changed", "changes_folder", "write_changes"]
