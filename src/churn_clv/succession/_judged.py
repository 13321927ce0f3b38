"""Whether a run's stored predictions are those of its recipe as it was judged, and not of a model that knew more."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import polars as pl

from churn_clv import metrics
from churn_clv.errors import UserError

NOT_JUDGED = ("test", "shipped refit")  # rows of the plan that the judged recipe does not learn from
TOLD = {"churn_log_loss": "log loss", "spend_tweedie_deviance": "Tweedie deviance", "spend_gini": "Gini"}
TOLERANCE = 1e-9  # stored rows are in another order than they were judged in, so sums differ in their last bits


def check_judged(run_id: str, document: Mapping[str, Any], oot: pl.DataFrame) -> None:
    """Raise UserError where the stored predictions are not those of the recipe as it was judged (definition D9).

    A model refitted to the labels of the test window and scored on them looks better than any honest one. Its
    predictions give another log loss than the run recorded, or another Tweedie deviance or Gini; and a plan that
    learns from labels ending after a cutoff that it predicts is refused as well.
    """
    recorded = document["ladder"][0]["metrics"]
    for metric, found in _measured(oot).items():
        if not _close(found, said := recorded.get(metric)):
            raise UserError(
                f"run {run_id}: its stored predictions give a {TOLD[metric]} of {_number(found)}, and the recipe was "
                f"judged at {_number(said)}: they are not the out-of-time predictions (a model that has seen these "
                f"labels?). Train again."
            )
    first = str(oot["cutoff"].min())
    late = [row["role"] for row in document["plan"] if row["role"] not in NOT_JUDGED and row["labels_end"] > first]
    if late:
        raise UserError(
            f"run {run_id}: the labels of {', '.join(late)} end after {first}, where it is judged, so it has seen "
            f"what it predicts. Train again."
        )


def _measured(oot: pl.DataFrame) -> dict[str, float | None]:
    """The stored predictions' metrics; of the money None where they hold none, or not for every row."""
    churned, risk = (oot[name].cast(pl.Float64).to_numpy() for name in ("churned", "churn_probability"))
    out: dict[str, float | None] = dict.fromkeys(TOLD)
    out["churn_log_loss"] = float(metrics.log_losses(churned, risk).mean())
    if oot["expected_spend"].null_count() or oot["spend"].null_count():
        return out
    spend, expected = (oot[name].cast(pl.Float64).to_numpy() for name in ("spend", "expected_spend"))
    out["spend_tweedie_deviance"] = float(metrics.tweedie_deviances(spend, expected).mean())
    order, ideal = metrics.Order(expected), metrics.Order(spend)
    if len(ideal.starts) > 1:  # where all spent the same there is no Gini
        out["spend_gini"] = float(metrics.normalised_gini(order, ideal, spend, np.ones((1, len(spend))))[0])
    return out


def _close(found: float | None, said: float | None) -> bool:
    if found is None or said is None:
        return found is said
    return math.isclose(found, said, rel_tol=TOLERANCE, abs_tol=TOLERANCE)  # a Gini may be near 0


def _number(value: float | None) -> str:
    return "none" if value is None else f"{value:.6f}"
