"""Requests' events through the log's own converter, one matrix for all their customers, and one answer each."""

from __future__ import annotations

import bisect
import datetime as dt
import itertools
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import polars as pl
from pydantic_core import to_json

from churn_clv import explain, playbook, segments, timeline
from churn_clv.canonical import EXPECTED, Typed, apply_policies, arrange, is_negative, repeated, to_types
from churn_clv.playbook import Actions
from churn_clv.service import reading
from churn_clv.service.deadline import Check, unlimited
from churn_clv.service.measures import Measures
from churn_clv.service.reading import Histories, Unacceptable
from churn_clv.service.replies import Prediction, Problem, Warned
from churn_clv.text import in_numbers

if TYPE_CHECKING:
    from churn_clv.bundle import Bundle

SHOWN = 20
NAMES_SHOWN = 5
# The columns of the scores that an answer holds under their own names.
AS_SCORED = (
    "churn_probability", "percentile_in_reference", "churn_band", "loss_probability", "reliability", "expected_orders",
    "expected_order_value", "expected_spend", "expected_spend_low", "expected_spend_high", "clv_extrapolated_share",
    "margin_rate", "historic_value", "total_value", "score_valid_until",
)  # fmt: skip
Columns = dict[str, list[Any]]


def answer(
    histories: Sequence[Histories],
    bundle: Bundle,
    check: Check = unlimited,
    measures: Measures | None = None,
    actions: Actions | None = None,
) -> list[bytes | Unacceptable]:
    """The JSON text of each request's PredictResponse, or why there is none; in the requests' order.

    All are answered by one call on one table; each comes out as if it were alone, to the bit. ``check`` is called
    between the steps and may raise TooLate; ``measures`` are told the numbers; ``actions`` may be recommended.
    """
    check()
    plain = in_numbers(reading.table(histories), bundle.definitions.rules.text, check)
    typed = to_types(plain, bundle.definitions.rules)
    wrong = _unreadable(typed, histories, bundle)
    if wrong:
        rest = [h for place, h in enumerate(histories) if place not in wrong]
        others = iter(answer(rest, bundle, check, measures, actions) if rest else [])
        return [Unacceptable(wrong[place]) if place in wrong else next(others) for place in range(len(histories))]
    check()
    frame = apply_policies(typed.frame, bundle.definitions.rules)
    # No feature sees the order of events; which of two with one id is the first does.
    frame = arrange(frame) if "event_id" in plain.columns else frame
    cutoffs = [cutoff for h in histories for cutoff in h.cutoffs]
    warnings = _Warnings(len(cutoffs))
    if frame.height < plain.height:
        _count_dropped(typed.frame, frame, warnings)
    frame = _clean(frame, bundle, warnings)
    pairs = pl.DataFrame({"customer_id": reading.keys(pl.int_range(len(cutoffs), dtype=pl.UInt32, eager=True)),
                          "cutoff": pl.Series(cutoffs, dtype=pl.Date)})  # fmt: skip
    _count_later(frame, pairs, warnings)
    _judge_cutoffs(cutoffs, bundle, warnings)
    check()
    rows = bundle.rows_of(frame, pairs)
    check()
    reasons = _reasons(histories, rows, bundle)
    check()
    names = [name for h in histories for name in h.names]
    scored = bundle.predict(rows, frame)
    beside = _beside(histories, frame, rows, scored, bundle, actions)
    found = iter(_predictions(names, cutoffs, scored, {"reasons": reasons, **beside}, bundle, warnings.of))
    if measures is not None:
        _measure(rows, scored, len(cutoffs), bundle, measures)
    return [to_json({"predictions": [*itertools.islice(found, len(h.names))]}) for h in histories]


def _measure(rows: pl.DataFrame, scored: pl.DataFrame, customers: int, bundle: Bundle, measures: Measures) -> None:
    """Tell the numbers of an answer; who has no row is unknown."""
    reasons = scored["reason"].to_list() + ["unknown"] * (customers - scored.height)
    measures.answered(scored["churn_probability"].to_list(), scored["expected_spend"].to_list(), reasons)
    nulls = dict(zip(rows.columns, rows.null_count().row(0), strict=True))
    measures.features({name: nulls[name] for name in bundle.features}, rows.height)


def _reasons(histories: Sequence[Histories], rows: pl.DataFrame, bundle: Bundle) -> list[list[dict[str, Any]] | None]:
    """By customer's position the reasons, as many and in the language that the request asks for, or None."""
    out: list[list[dict[str, Any]] | None] = []
    for h in histories:
        if not h.explain:
            out += [None] * len(h.names)
            continue
        own = reading.keys(pl.int_range(len(out), len(out) + len(h.names), dtype=pl.UInt32, eager=True))
        asked = rows.filter(pl.col("customer_id").is_in(own.implode()))
        found = explain.by_customer(bundle, asked, h.explain, h.language)
        out += [found.get(key) for key in own]
    return out


def _beside(
    histories: Sequence[Histories], frame: pl.DataFrame, rows: pl.DataFrame, scored: pl.DataFrame, bundle: Bundle,
    actions: Actions | None,
) -> Columns:  # fmt: skip
    """By customer's position ``segments`` and ``action``; None where they are not asked for or there are none."""
    customers = sum(len(h.names) for h in histories)
    out: Columns = {"segments": [None] * customers, "action": [None] * customers}
    if not any(h.segments or h.action for h in histories):
        return out
    wanted = [(h.segments, h.action and actions is not None) for h in histories for _ in h.names]
    places = [reading.position(key) for key in rows["customer_id"].to_list()]
    asked = pl.Series([any(wanted[place]) for place in places], dtype=pl.Boolean)
    if not asked.any():
        return out
    places, found = [place for place in places if any(wanted[place])], scored.filter(asked)
    if bundle.segments is not None:
        found = found.hstack(bundle.segmented(frame, rows.filter(asked), found))
        for place, one in zip(places, found.select(segments.COLUMNS).iter_rows(named=True), strict=True):
            out["segments"][place] = one if wanted[place][0] else None
    if actions is not None:
        best = playbook.recommend(actions, found, bundle.config.value.margin_share)
        for place, one in zip(places, best.iter_rows(named=True), strict=True):
            known = wanted[place][1] and (one["recommended_action"] or one["value_at_risk"]) is not None
            out["action"][place] = one if known else None
    return out


class _Warnings:
    """Warnings by customer's position, in the order in which they were given."""

    def __init__(self, customers: int) -> None:
        self.of: list[list[Warned]] = [[] for _ in range(customers)]

    def add(self, key: str | int, code: Any, count: int, detail: str) -> None:
        """To the customer at a position, or of a key."""
        place = reading.position(key) if isinstance(key, str) else key
        self.of[place].append(Warned(code=code, count=count, detail=detail))


def _unreadable(typed: Typed, histories: Sequence[Histories], bundle: Bundle) -> dict[int, list[Problem]]:
    """By the request's position the values that the converter cannot read, and where they stand."""
    wrong: dict[int, list[Problem]] = {}
    for column, marked, message, kind in _refused(typed, bundle):
        starts = [0, *itertools.accumulate(len(h.owner) for h in histories)]
        for row in marked.arg_true():
            place = bisect.bisect_right(starts, row) - 1
            found = wrong.setdefault(place, [])
            if len(found) < SHOWN:
                found.append(reading.problem(histories[place].place(row - starts[place], column), message, kind))
    return wrong


def _refused(typed: Typed, bundle: Bundle) -> Iterator[tuple[str, pl.Series, str, str]]:
    """Column, marked rows, what is wrong with them, and the kind of error."""
    for column, marked in typed.bad.items():
        yield column, marked, f"expected {EXPECTED.get(column, 'text')}", "unreadable"
    if bundle.definitions.rules.negative_amount == "error":
        marked = typed.frame.select(is_negative()).to_series()
        if marked.any():
            what = "a purchase has a negative amount; record it with event_type 'return'"
            yield "amount", marked, what, "value_error"


def _count_dropped(sent: pl.DataFrame, frame: pl.DataFrame, warnings: _Warnings) -> None:
    """Events that the log's policies for purchases of nothing or less left out, as they did in training."""
    kept = dict(frame.group_by("customer_id").len().iter_rows())
    for key, count in sent.group_by("customer_id").len().iter_rows():
        if dropped := count - kept.get(key, 0):
            detail = "Purchases of nothing, or of less, were left out, as they were in training."
            warnings.add(key, "dropped_by_policy", dropped, detail)


def _clean(frame: pl.DataFrame, bundle: Bundle, warnings: _Warnings) -> pl.DataFrame:
    """Without repeats of an event_id and without types the model does not know, each counted."""
    if frame["event_id"].null_count() < frame.height:
        again = frame.select(repeated()).to_series()
        for key, count in frame.filter(again).group_by("customer_id").len().iter_rows():
            warnings.add(key, "duplicate_event_id", count, "Repeats of an event_id were dropped.")
        frame = frame.filter(~again)
    if {*frame["event_type"].unique()} <= {*bundle.event_types}:
        return frame
    known = frame["event_type"].is_in(bundle.event_types)
    strange = frame.filter(~known).group_by("customer_id")
    for key, count, names in strange.agg(pl.len(), names=pl.col("event_type").unique().sort()).iter_rows():
        shown = ", ".join(names[:NAMES_SHOWN]) + (", ..." if len(names) > NAMES_SHOWN else "")
        warnings.add(key, "unknown_event_type", count, f"Event types unknown to the model were ignored: {shown}.")
    return frame.filter(known)


def _count_later(frame: pl.DataFrame, pairs: pl.DataFrame, warnings: _Warnings) -> None:
    """Events that are not past at their customer's cutoff."""
    for key, later in timeline.not_past(frame, pairs).iter_rows():
        detail = "Events at or after the cutoff, or not yet known then, were ignored."
        warnings.add(key, "events_after_cutoff", later, detail)


def _judge_cutoffs(cutoffs: Sequence[dt.date], bundle: Bundle, warnings: _Warnings) -> None:
    """Cutoffs before the end of training, and those too long after it."""
    through, limit = bundle.trained_through, bundle.config.service.stale_after_days
    for place, cutoff in enumerate(cutoffs):
        days = (cutoff - through).days
        if days < 0:
            detail = f"The cutoff lies before {through}, the end of training: the model may have seen what came next."
            warnings.add(place, "in_sample", -days, detail)
        elif days > limit:
            detail = f"The cutoff lies {days} days after {through}, the end of training. Train a newer model."
            warnings.add(place, "stale_model", days, detail)


def _predictions(
    names: Sequence[str], cutoffs: Sequence[dt.date], scored: pl.DataFrame,
    beside: Columns, bundle: Bundle, warnings: list[list[Warned]],
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
            "targets": _targets(found, bundle),
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


def _targets(found: Columns, bundle: Bundle) -> list[dict[str, Any]]:
    """For each customer the answers to the targets of the user's own, as TargetAnswer has them."""
    out: list[dict[str, Any]] = [{} for _ in found["customer_id"]]
    for head in bundle.own_heads:
        number, rank, *event = bundle.columns_of(head)
        base = bundle.reference.targets[head.target].base
        bands = found[event[1]] if event else [None] * len(out)
        for targets, value, place, band in zip(out, found[number], found[rank], bands, strict=True):
            targets[head.target] = {
                "horizon_days": head.horizon_days,
                "eligible": value is not None,
                "probability": value if event else None,
                "expected": None if event else value,
                "percentile_in_reference": place,
                "base": base,
                "band": band,
            }
    return out
