"""Who is on the list: by value at risk, with a bonus for those who are on it already (hysteresis, definition D32)."""

from __future__ import annotations

import numpy as np
import polars as pl
from numpy.typing import NDArray

from churn_clv.playbook import own_rates, value_of

Floats = NDArray[np.float64]
NEW, STANDING = "new", "standing"
BEFORE = pl.Schema({"customer_id": pl.String(), "since": pl.Date()})


def at_risk(scores: pl.DataFrame, margin: float) -> pl.DataFrame:
    """``scores`` with ``value_at_risk``: p V, the margin that lapse would take within the horizon; null without one.

    V is the margin in the horizon of who stays active (docs/actions.md). ``margin``: margin per unit of spend of those
    whose own rate the scores do not know.
    """
    risk, spend = (_floats(scores, name) for name in ("churn_probability", "expected_spend"))
    found = risk * value_of(spend, risk, own_rates(scores, margin))
    return scores.with_columns(value_at_risk=pl.Series(found, dtype=pl.Float64).fill_nan(None))


def listed(scores: pl.DataFrame, capacity: int, stay: float, before: pl.DataFrame) -> pl.DataFrame:
    """The ``capacity`` eligible customers with most ``value_at_risk`` (where nobody has any: most risk), most first.

    ``before`` (BEFORE) are those of the last list whose episode goes on: they count ``stay`` times. Added: ``rank``
    from 1, ``alert`` (new or standing) and ``since``, the cutoff of the list on which the episode began.
    """
    by = measure_of(scores)
    there = scores.filter(pl.col("eligible") & pl.col(by).is_not_null()).join(before, on="customer_id", how="left")
    weight = pl.when(pl.col("since").is_null()).then(1.0).otherwise(stay)
    order = there.with_columns(_by=pl.col(by) * weight).sort("_by", "customer_id", descending=[True, False])
    kept = order.head(capacity).sort(by, "customer_id", descending=[True, False]).drop("_by")
    return kept.with_columns(
        rank=pl.int_range(1, pl.len() + 1, dtype=pl.Int64),
        alert=pl.when(pl.col("since").is_null()).then(pl.lit(NEW)).otherwise(pl.lit(STANDING)),
        since=pl.col("since").fill_null(pl.col("cutoff")),
    )


def measure_of(scores: pl.DataFrame) -> str:
    """What the list goes by: value at risk, or the risk where the model predicts no money."""
    return "value_at_risk" if scores["value_at_risk"].count() else "churn_probability"


def going_on(last: pl.DataFrame, silent_days: pl.DataFrame) -> pl.DataFrame:
    """Those of the last list (BEFORE) who have not ordered since their episode began: an order ends it.

    ``silent_days``: customer_id, ``cutoff`` and ``days_since_last_purchase`` of now.
    """
    ordered = pl.col("cutoff") - pl.duration(days=pl.col("days_since_last_purchase").cast(pl.Int64))
    met = last.join(silent_days, on="customer_id").with_columns(ordered=ordered)
    return met.filter(pl.col("ordered") < pl.col("since")).select(BEFORE.names())


def _floats(scores: pl.DataFrame, name: str) -> Floats:
    if name not in scores.columns:
        return np.full(scores.height, np.nan)
    return scores[name].cast(pl.Float64).fill_null(np.nan).to_numpy()
