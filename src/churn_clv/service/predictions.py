"""Scores as predictions: a customer's columns by their names in the answer."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import polars as pl

from churn_clv.service import reading
from churn_clv.service.replies import Prediction, Warned

if TYPE_CHECKING:
    from churn_clv.bundle import Bundle

# The columns of the scores that an answer holds under their own names.
AS_SCORED = (
    "churn_probability", "percentile_in_reference", "churn_band", "loss_probability", "reliability", "expected_orders",
    "expected_order_value", "expected_spend", "expected_spend_low", "expected_spend_high", "clv_extrapolated_share",
    "margin_rate", "historic_value", "total_value", "score_valid_until",
)  # fmt: skip
Columns = dict[str, list[Any]]
Reasons = list[list[dict[str, Any]] | None]


def predictions(
    names: Sequence[str], cutoffs: Sequence[dt.date], scored: pl.DataFrame,
    beside: Columns, own_reasons: Mapping[str, Reasons], bundle: Bundle, warnings: list[list[Warned]],
) -> list[dict[str, Any]]:  # fmt: skip
    """One Prediction for each customer, as plain values: a model for each would cost more than the predictions."""
    found = _spread(scored, len(names))
    same = _same(bundle)
    given: Columns = (
        {name: found[name] for name in AS_SCORED}
        | {
            "customer_id": [*names],
            "cutoff": [*cutoffs],
            "eligible": [bool(e) for e in found["eligible"]],
            "reason": [
                "unknown" if e is None else why for e, why in zip(found["eligible"], found["reason"], strict=True)
            ],
            **_nested(found, bundle),
            "targets": _targets(found, own_reasons, bundle),
            **beside,
            "warnings": [*warnings],
        }
        | {name: [value] * len(names) for name, value in same.items()}
    )
    order = [name for name in Prediction.model_fields if name in given]
    return [dict(zip(order, row, strict=True)) for row in zip(*(given[name] for name in order), strict=True)]


def _spread(scored: pl.DataFrame, customers: int) -> Columns:
    """The scores' columns by customer's position; None throughout for customers who have no row."""
    last = scored.height
    row = [last] * customers
    for number, key in enumerate(scored["customer_id"].to_list()):
        row[reading.position(key)] = number
    columns = ((column.name, [*column.to_list(), None]) for column in scored.get_columns())
    return {name: [values[number] for number in row] for name, values in columns}


def _same(bundle: Bundle) -> dict[str, Any]:
    """What every answer of a bundle says alike."""
    return {
        "horizon_days": bundle.horizon_days,
        "currency": bundle.currency,
        "next_order_learnt_days": bundle.silence.learnt_days(bundle.horizon_days),
        "base_rate": bundle.base_rate,
        "model_version": bundle.version,
    }


def _nested(found: Columns, bundle: Bundle) -> Columns:
    """What an answer holds by days and by months; None for customers who have none."""
    clv = bundle.config.clv
    by_days = {str(days): f"churn_probability_{days}d" for days in bundle.edges[:-1]}
    longest = f"clv_{clv.months[-1]}m"
    return {
        "churn_probability_by_days": _each(found, by_days | {str(bundle.horizon_days): "churn_probability"}),
        "next_order_within_days": _each(found, {str(d): f"next_order_within_{d}d" for d in clv.next_order_days}),
        "active_probability_by_months": _each(found, {str(m): f"active_probability_{m}m" for m in clv.active_months}),
        "clv_by_months": _each(found, {str(m): f"clv_{m}m" for m in clv.months}),
        "clv_low_by_months": _each(found, {str(m): f"clv_{m}m_low" for m in clv.months}, longest),
        "clv_high_by_months": _each(found, {str(m): f"clv_{m}m_high" for m in clv.months}, longest),
    }


def _each(found: Columns, columns: dict[str, str], told_by: str | None = None) -> list[dict[str, Any] | None]:
    """For each customer the columns' values by their words; None where ``told_by`` (default: the last) is null."""
    told = found[told_by or [*columns.values()][-1]]
    rows = zip(*(found[name] for name in columns.values()), strict=True)
    return [None if one is None else dict(zip(columns, row, strict=True)) for one, row in zip(told, rows, strict=True)]


def _targets(found: Columns, reasons: Mapping[str, Reasons], bundle: Bundle) -> list[dict[str, Any]]:
    """For each customer the answers to the targets of the user's own, as TargetAnswer has them."""
    out: list[dict[str, Any]] = [{} for _ in found["customer_id"]]
    for head in bundle.own_heads:
        number, rank, *event = bundle.columns_of(head)
        base = bundle.reference.targets[head.target].base
        bands = found[event[1]] if event else [None] * len(out)
        whys = reasons.get(head.target, [None] * len(out))
        rows = zip(out, found[number], found[rank], bands, whys, strict=True)
        for targets, value, place, band, why in rows:
            targets[head.target] = {
                "horizon_days": head.horizon_days,
                "eligible": value is not None,
                "probability": value if event else None,
                "expected": None if event else value,
                "percentile_in_reference": place,
                "base": base,
                "band": band,
                "reasons": why,
            }
    return out
