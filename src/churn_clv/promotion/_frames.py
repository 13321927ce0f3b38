"""Stored predictions as arrays: frames in, parties and rows for the comparison out."""

from __future__ import annotations

from typing import TypedDict

import numpy as np
import polars as pl

from churn_clv.comparison import Party, Rows
from churn_clv.errors import UserError
from churn_clv.metrics import Array

KEYS = ["customer_key", "cutoff"]


class RungPredictions(TypedDict):
    """A rung's predictions, one per row of the challenger's frame, in its order; None where it makes none."""

    churn_score: Array | None
    churn_is_probability: bool
    spend: Array | None


def party_of(name: str, frame: pl.DataFrame) -> Party:
    """What a recipe predicted."""
    spend = _column(frame, "expected_spend") if _has_money(frame) else None
    return Party(name, _column(frame, "churn_probability"), True, spend)


def party_of_rung(name: str, given: RungPredictions, height: int) -> Party:
    """What a rung predicted; ValueError unless for each of ``height`` rows, and finite."""
    for values in (given["churn_score"], given["spend"]):
        if values is not None and (len(values) != height or not np.isfinite(values).all()):
            raise ValueError(f"rung {name}: {len(values)} predictions for {height} rows, or some not finite")
    return Party(name, given["churn_score"], given["churn_is_probability"], given["spend"])


def rows_of(frame: pl.DataFrame) -> Rows:
    """What happened; ValueError unless each (customer_key, cutoff) stands once."""
    if frame.is_empty() or frame.select(pl.struct(KEYS).is_duplicated().any()).item():
        raise ValueError("predictions must have at least one row, and each (customer_key, cutoff) once")
    customers = (frame["customer_key"].rank("dense").cast(pl.Int64) - 1).to_numpy().astype(np.intp)
    dates = sorted(frame["cutoff"].unique().to_list())
    cutoffs = {date: np.flatnonzero((frame["cutoff"] == date).to_numpy()) for date in dates}
    return Rows(customers, cutoffs, _column(frame, "churned"), _column(frame, "spend") if _has_money(frame) else None)


def matched(challenger: pl.DataFrame, incumbent: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The rows that both recipes predicted, in one order."""
    mine = challenger.join(incumbent.select(KEYS), on=KEYS, how="semi").sort(KEYS)
    theirs = incumbent.join(challenger.select(KEYS), on=KEYS, how="semi").sort(KEYS)
    if mine.is_empty():
        raise UserError(
            f"none of the challenger's {challenger.height:,} predictions matches one of the incumbent's "
            f"{incumbent.height:,} by customer and cutoff. Run the incumbent's recipe at the challenger's cutoffs, "
            "or give this question another model_name."
        )
    if mine.height != theirs.height:
        raise ValueError("each (customer_key, cutoff) must stand once in the incumbent's predictions")
    return mine, theirs


def _column(frame: pl.DataFrame, name: str) -> Array:
    values = frame[name].cast(pl.Float64).to_numpy()
    if not np.isfinite(values).all():
        raise ValueError(f"{name}: {(~np.isfinite(values)).sum()} of {len(values)} values are null or not finite")
    return np.asarray(values)


def _has_money(frame: pl.DataFrame) -> bool:
    names = ("spend", "expected_spend")
    return all(name in frame.columns and frame[name].null_count() < frame.height for name in names)
