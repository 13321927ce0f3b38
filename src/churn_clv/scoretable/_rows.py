"""The table's columns, and what it says of the scoring that is current."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import polars as pl

if TYPE_CHECKING:
    from churn_clv.bundle import Bundle

from churn_clv.scoretable._answers import answers

TEXT, DATE, FLAG, NUMBER, WHOLE = "text", "date", "boolean", "double precision", "integer"
# The answer, and of a scoring's columns those that most queries ask for; the others are in the answer.
COLUMNS: dict[str, str] = {
    "customer_id": TEXT,
    "cutoff": DATE,
    "eligible": FLAG,
    "reason": TEXT,
    "churn_probability": NUMBER,
    "percentile_in_reference": NUMBER,
    "percentile_in_scoring": NUMBER,
    "churn_band": TEXT,
    "previous_churn_band": TEXT,
    "score_change": NUMBER,
    "loss_probability": NUMBER,
    "reliability": TEXT,
    "expected_orders": NUMBER,
    "expected_order_value": NUMBER,
    "expected_spend": NUMBER,
    "expected_spend_low": NUMBER,
    "expected_spend_high": NUMBER,
    "clv": NUMBER,
    "clv_months": WHOLE,
    "historic_value": NUMBER,
    "total_value": NUMBER,
    "currency": TEXT,
    "horizon_days": WHOLE,
    "in_sample": FLAG,
    "model_version": TEXT,
    "answer": TEXT,
}


@dataclass(frozen=True)
class Current:
    """The scoring that the table holds of a model: what every answer from it shares.

    ``scoring`` is the sum of its files, ``scored_at`` when it came into the table (UTC, ISO 8601), ``unknown`` what an
    id gets that it does not know, ``key`` the name of the key that erased ids are hashed with, "" without any.
    """

    model: str
    dataset: str
    scoring: str
    cutoff: dt.date
    model_version: str
    trained_through: dt.date
    timezone: str
    stale_after_days: int
    rows: int
    scored_at: str
    unknown: str
    key: str


def rows_of(scores: pl.DataFrame, bundle: Bundle, fields: Sequence[str]) -> pl.DataFrame:
    """The table's rows of a scoring's; ``clv`` is that of the longest number of months."""
    months = bundle.config.clv.months[-1]
    given = scores.with_columns(
        answers(scores, bundle, fields), clv=pl.col(f"clv_{months}m"), clv_months=pl.lit(months, pl.Int64)
    )
    return given.select(COLUMNS.keys())
