"""A request's events through the log's own converter, one matrix for all its customers, and one answer each."""

from __future__ import annotations

import bisect
import datetime as dt
import itertools
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import polars as pl

from churn_clv import timeline
from churn_clv.canonical import EXPECTED, LOG_SCHEMA, MONEY, UNITS, canonical, repeated, to_types
from churn_clv.errors import UserError
from churn_clv.service.contract import Customer, PredictRequest
from churn_clv.service.deadline import Check, unlimited
from churn_clv.service.replies import Prediction, PredictResponse, Problem, TargetAnswer, Warned

if TYPE_CHECKING:
    from churn_clv.bundle import Bundle

Location = tuple[str | int, ...]
# The plain columns of a request: ids and times are text, everything else is a number.
NUMBERS = (*MONEY, *UNITS)
PLAIN = {name: pl.Float64() if name in NUMBERS else pl.String() for name in LOG_SCHEMA}
SHOWN = 20
UNKNOWN = {"eligible": False, "reason": "unknown"}
NAMES_SHOWN = 5


class Unacceptable(Exception):
    """A well-formed request that cannot be answered as it stands."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__(f"{len(problems)} problem(s)")
        self.problems = problems


def answer(request: PredictRequest, bundle: Bundle, now: dt.datetime, check: Check = unlimited) -> PredictResponse:
    """Predictions in the request's order. ``now`` (with a zone) is the server's clock.

    ``check`` is called between the steps and may raise TooLate. Raises Unacceptable for values that the log's
    converter cannot read and for cutoffs in the future.
    """
    customers = request.customers
    cutoffs = _cutoffs(request, bundle, now)
    frame = _read(customers, bundle)
    check()
    warnings = _Warnings(c.customer_id for c in customers)
    _count_dropped(customers, frame, warnings)
    frame = _clean(frame, bundle, warnings)
    pairs = pl.DataFrame(
        {"customer_id": list(cutoffs), "cutoff": list(cutoffs.values())},
        schema={"customer_id": pl.String, "cutoff": pl.Date},
    )
    check()
    _count_later(frame, pairs, warnings)
    _judge_cutoffs(cutoffs, bundle, warnings)
    check()
    found = {row["customer_id"]: row for row in bundle.score_pairs(frame, pairs).iter_rows(named=True)}
    check()
    return PredictResponse(
        predictions=[_one(c, cutoff, found.get(c, UNKNOWN), bundle, warnings.of[c]) for c, cutoff in cutoffs.items()]
    )


class _Warnings:
    """Warnings by customer, in the order in which they were given."""

    def __init__(self, ids: Iterable[str]) -> None:
        self.of: dict[str, list[Warned]] = {name: [] for name in ids}

    def add(self, customer: str, code: Any, count: int, detail: str) -> None:
        self.of[customer].append(Warned(code=code, count=count, detail=detail))


def _cutoffs(request: PredictRequest, bundle: Bundle, now: dt.datetime) -> dict[str, dt.date]:
    """Customer -> cutoff. Tomorrow is allowed: it ends the day that is running somewhere."""
    today = now.astimezone(ZoneInfo(bundle.definitions.rules.timezone)).date()
    found = {c.customer_id: c.cutoff or request.cutoff or today for c in request.customers}
    late = [i for i, day in enumerate(found.values()) if (day - today).days > 1]
    if late:
        message = "the cutoff lies in the future; events up to it cannot be known yet"
        own = [("customers", i) if request.customers[i].cutoff else () for i in late]
        raise Unacceptable([_problem((*place, "cutoff"), message, "future_cutoff") for place in dict.fromkeys(own)])
    return found


def _read(customers: Sequence[Customer], bundle: Bundle) -> pl.DataFrame:
    """All events as one canonical log frame."""
    events = [event for customer in customers for event in customer.events]
    given = [name for name in PLAIN if name != "customer_id"]
    columns: dict[str, list[Any]] = {name: [getattr(event, name) for event in events] for name in given}
    columns["customer_id"] = [customer.customer_id for customer in customers for _ in customer.events]
    plain = pl.DataFrame(columns, schema_overrides=PLAIN)
    try:
        return canonical(plain, bundle.definitions.rules)
    except UserError as error:
        places = list(itertools.islice(_unreadable(plain, customers, bundle), SHOWN))
        raise Unacceptable(places or [_problem(("customers",), str(error), "value_error")]) from None


def _unreadable(plain: pl.DataFrame, customers: Sequence[Customer], bundle: Bundle) -> Iterator[Problem]:
    """Where the values stand that the converter cannot read."""
    starts = [0, *itertools.accumulate(len(c.events) for c in customers)]
    for column, bad in to_types(plain, bundle.definitions.rules).bad.items():
        for row in bad.arg_true():
            customer = bisect.bisect_right(starts, row) - 1
            place = ("customers", customer, "events", row - starts[customer], column)
            yield _problem(place, f"expected {EXPECTED.get(column, 'text')}", "unreadable")


def _count_dropped(customers: Sequence[Customer], frame: pl.DataFrame, warnings: _Warnings) -> None:
    """Events that the log's policies for purchases of nothing or less left out, as they did in training."""
    kept = dict(frame.group_by("customer_id").len().iter_rows())
    for customer in customers:
        dropped = len(customer.events) - kept.get(customer.customer_id, 0)
        if dropped:
            detail = "Purchases of nothing, or of less, were left out, as they were in training."
            warnings.add(customer.customer_id, "dropped_by_policy", dropped, detail)


def _clean(frame: pl.DataFrame, bundle: Bundle, warnings: _Warnings) -> pl.DataFrame:
    """Without repeats of an event_id and without types the model does not know, each counted."""
    again = repeated()
    for name, count in frame.filter(again).group_by("customer_id").len().iter_rows():
        warnings.add(name, "duplicate_event_id", count, "Repeats of an event_id were dropped.")
    frame = frame.filter(~again)
    strange = ~pl.col("event_type").is_in(bundle.event_types)
    found = frame.filter(strange).group_by("customer_id").agg(pl.len(), names=pl.col("event_type").unique().sort())
    for name, count, names in found.iter_rows():
        shown = ", ".join(names[:NAMES_SHOWN]) + (", ..." if len(names) > NAMES_SHOWN else "")
        warnings.add(name, "unknown_event_type", count, f"Event types unknown to the model were ignored: {shown}.")
    return frame.filter(~strange)


def _count_later(frame: pl.DataFrame, pairs: pl.DataFrame, warnings: _Warnings) -> None:
    """Events that are not past at their customer's cutoff: all of them less those that are."""
    every = pl.col("time").is_not_null()
    past = timeline.Past(frame, pairs).by(where=every, sums={"known": every}).group_by("row").agg(pl.col("known").sum())
    counts = (
        pairs.with_row_index("row")
        .join(frame.group_by("customer_id").agg(sent=pl.len()), on="customer_id")
        .join(past.collect(), on="row", how="left")
        .select("customer_id", later=pl.col("sent") - pl.col("known").fill_null(0))
    )
    for name, later in counts.filter(pl.col("later") > 0).iter_rows():
        detail = "Events at or after the cutoff, or not yet known then, were ignored."
        warnings.add(name, "events_after_cutoff", later, detail)


def _judge_cutoffs(cutoffs: dict[str, dt.date], bundle: Bundle, warnings: _Warnings) -> None:
    """Cutoffs before the end of training, and those too long after it."""
    through, limit = bundle.trained_through, bundle.config.service.stale_after_days
    for name, cutoff in cutoffs.items():
        days = (cutoff - through).days
        if days < 0:
            detail = f"The cutoff lies before {through}, the end of training: the model may have seen what came next."
            warnings.add(name, "in_sample", -days, detail)
        elif days > limit:
            detail = f"The cutoff lies {days} days after {through}, the end of training. Train a newer model."
            warnings.add(name, "stale_model", days, detail)


def _one(name: str, cutoff: dt.date, row: dict[str, Any], bundle: Bundle, warnings: list[Warned]) -> Prediction:
    return Prediction(
        customer_id=name,
        cutoff=cutoff,
        horizon_days=bundle.horizon_days,
        currency=bundle.currency,
        eligible=row["eligible"],
        reason=row["reason"],
        churn_probability=row.get("churn_probability"),
        percentile_in_reference=row.get("percentile_in_reference"),
        churn_band=row.get("churn_band"),
        churn_probability_by_days=_by_days(row, bundle),
        loss_probability=row.get("loss_probability"),
        reliability=row.get("reliability"),
        next_order_within_days=_each(row, bundle.config.clv.next_order_days, "next_order_within_{}d"),
        next_order_learnt_days=bundle.silence.learnt_days(bundle.horizon_days),
        active_probability_by_months=_each(row, bundle.config.clv.active_months, "active_probability_{}m"),
        base_rate=bundle.base_rate,
        expected_orders=row.get("expected_orders"),
        expected_order_value=row.get("expected_order_value"),
        expected_spend=row.get("expected_spend"),
        expected_spend_low=row.get("expected_spend_low"),
        expected_spend_high=row.get("expected_spend_high"),
        clv_by_months=_each(row, bundle.config.clv.months, "clv_{}m"),
        clv_low_by_months=_bounds(row, bundle, "low"),
        clv_high_by_months=_bounds(row, bundle, "high"),
        clv_extrapolated_share=row.get("clv_extrapolated_share"),
        historic_value=row.get("historic_value"),
        total_value=row.get("total_value"),
        targets=_targets(row, bundle),
        model_version=bundle.version,
        warnings=warnings,
    )


def _by_days(row: dict[str, Any], bundle: Bundle) -> dict[str, float] | None:
    """The chance of no purchase by each part of the horizon; None for customers who get no predictions."""
    if row.get("churn_probability") is None:
        return None
    parts = {str(days): row[f"churn_probability_{days}d"] for days in bundle.edges[:-1]}
    return parts | {str(bundle.horizon_days): row["churn_probability"]}


def _each(row: dict[str, Any], keys: Sequence[int], column: str) -> dict[str, float] | None:
    """A column's value by number of months or days; None for a customer who has none."""
    if row.get(column.format(keys[-1])) is None:
        return None
    return {str(key): row[column.format(key)] for key in keys}


def _bounds(row: dict[str, Any], bundle: Bundle, end: str) -> dict[str, float | None] | None:
    """An end of CLV by months, null where it was not learnt; None where there is no CLV at all."""
    months = bundle.config.clv.months
    if row.get(f"clv_{months[-1]}m") is None:
        return None
    return {str(m): row[f"clv_{m}m_{end}"] for m in months}


def _targets(row: dict[str, Any], bundle: Bundle) -> dict[str, TargetAnswer]:
    """The answers to the targets of the user's own."""
    out = {}
    for head in bundle.own_heads:
        number, rank, *event = bundle.columns_of(head)
        found = row.get(number)
        out[head.target] = TargetAnswer(
            horizon_days=head.horizon_days,
            eligible=found is not None,
            probability=found if event else None,
            expected=None if event else found,
            percentile_in_reference=row.get(rank),
            base=bundle.reference.targets[head.target].base,
            band=row.get(event[1]) if event else None,
        )
    return out


def _problem(place: Location, message: str, kind: str) -> Problem:
    return Problem(loc=["body", *place], msg=message, type=kind)
