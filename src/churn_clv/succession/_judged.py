"""Whether a run's stored predictions are those of its recipe as it was judged, and not of a model that knew more."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import polars as pl

from churn_clv import metrics
from churn_clv.errors import UserError

NOT_JUDGED = ("test", "shipped refit")  # rows of the plan that the judged recipe does not learn from
TOLERANCE = 1e-9  # stored rows are in another order than they were judged in, so sums differ in their last bits


def check_judged(run_id: str, document: Mapping[str, Any], oot: pl.DataFrame) -> None:
    """Raise UserError where the stored predictions are not those of the recipe as it was judged (definition D9).

    A model refitted to the labels of the test window and scored on them looks better than any honest one. Its
    predictions give another log loss than the run recorded; and a plan that learns from labels ending after a cutoff
    that it predicts is refused as well.
    """
    said = document["ladder"][0]["metrics"]["churn_log_loss"]
    churned, risk = (oot[name].cast(pl.Float64).to_numpy() for name in ("churned", "churn_probability"))
    found = float(metrics.log_losses(churned, risk).mean())
    if said is None or not math.isclose(found, said, rel_tol=TOLERANCE):
        raise UserError(
            f"run {run_id}: its stored predictions give a log loss of {found:.6f}, and the recipe was judged at "
            f"{said:.6f}: they are not the out-of-time predictions (a model that has seen these labels?). Train again."
        )
    first = str(oot["cutoff"].min())
    late = [row["role"] for row in document["plan"] if row["role"] not in NOT_JUDGED and row["labels_end"] > first]
    if late:
        raise UserError(
            f"run {run_id}: the labels of {', '.join(late)} end after {first}, where it is judged, so it has seen "
            f"what it predicts. Train again."
        )
