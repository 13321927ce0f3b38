"""The same phase: what the model said when the customer had last been silent for as many days (definition D32)."""

from __future__ import annotations

import polars as pl

from churn_clv import features, timeline
from churn_clv.bundle import Bundle


def earlier(past: timeline.Past) -> pl.DataFrame:
    """Per pair of ``past`` whose customer was ever silent for as long as now and then bought: ``customer_id``,
    ``cutoff`` (of now) and ``phase_on``, the latest day at which that was so.

    A gap of g days that ended with an order reached the silence of now, s <= g, on the g - s'th day before that order.
    """
    rows = past.collect(features.grain(past, "gaps").select("row", "age_days", "gap_days"))
    silent = rows.group_by("row").agg(silence=pl.col("age_days").min())
    gaps = rows.filter(pl.col("gap_days").is_not_null()).join(silent, on="row")
    reached = gaps.filter(pl.col("gap_days") >= pl.col("silence"))
    latest = reached.sort("row", "age_days").group_by("row", maintain_order=True).first()
    back = pl.col("age_days") + pl.col("gap_days") - pl.col("silence")
    own = past.pairs.with_row_index("row").join(latest, on="row")
    return own.select("customer_id", "cutoff", phase_on=pl.col("cutoff") - pl.duration(days=back))


def risk_then(bundle: Bundle, log: pl.DataFrame, past: timeline.Past) -> pl.DataFrame:
    """``customer_id``, ``phase_on``, ``risk_same_phase`` by the same model (null: not eligible then); no row where the
    customer has never been silent for as long."""
    found = earlier(past)
    if found.is_empty():
        return pl.DataFrame(schema={"customer_id": pl.String, "phase_on": pl.Date, "risk_same_phase": pl.Float64})
    pairs = found.select("customer_id", cutoff="phase_on")
    scored = bundle.predict(bundle.rows_of(log, pairs)).select("customer_id", risk_same_phase="churn_probability")
    return found.select("customer_id", "phase_on").join(scored, on="customer_id", how="left")
