"""Requests' events through the log's own converter, one matrix for all their customers, and one answer each."""

from __future__ import annotations

import bisect
import itertools
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import polars as pl
from pydantic_core import to_json

from churn_clv import explain, playbook, segments
from churn_clv.canonical import EXPECTED, Typed, apply_policies, arrange, is_negative, to_types
from churn_clv.playbook import Actions
from churn_clv.service import reading
from churn_clv.service.deadline import Check, unlimited
from churn_clv.service.measures import Measures
from churn_clv.service.predictions import Columns, Reasons, predictions
from churn_clv.service.reading import Histories, Unacceptable
from churn_clv.service.replies import Problem
from churn_clv.service.warned import Warnings, clean, count_dropped, count_later, judge_cutoffs
from churn_clv.text import in_numbers

if TYPE_CHECKING:
    from churn_clv.bundle import Bundle

SHOWN = 20


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
    warnings = Warnings(len(cutoffs))
    if frame.height < plain.height:
        count_dropped(typed.frame, frame, warnings)
    frame = clean(frame, bundle, warnings)
    pairs = pl.DataFrame({"customer_id": reading.keys(pl.int_range(len(cutoffs), dtype=pl.UInt32, eager=True)),
                          "cutoff": pl.Series(cutoffs, dtype=pl.Date)})  # fmt: skip
    count_later(frame, pairs, warnings)
    judge_cutoffs(cutoffs, bundle, warnings)
    check()
    rows = bundle.rows_of(frame, pairs)
    check()
    reasons = _reasons(histories, rows, bundle)
    own_reasons = {target: _reasons(histories, rows, bundle, target) for target in explain.own_targets(bundle)}
    check()
    names = [name for h in histories for name in h.names]
    scored = bundle.predict(rows, frame)
    beside = _beside(histories, frame, rows, scored, bundle, actions)
    found = iter(predictions(names, cutoffs, scored, {"reasons": reasons, **beside}, own_reasons, bundle, warnings.of))
    if measures is not None:
        _measure(rows, scored, len(cutoffs), bundle, measures)
    return [to_json({"predictions": [*itertools.islice(found, len(h.names))]}) for h in histories]


def _measure(rows: pl.DataFrame, scored: pl.DataFrame, customers: int, bundle: Bundle, measures: Measures) -> None:
    """Tell the numbers of an answer; who has no row is unknown."""
    reasons = scored["reason"].to_list() + ["unknown"] * (customers - scored.height)
    measures.answered(scored["churn_probability"].to_list(), scored["expected_spend"].to_list(), reasons)
    nulls = dict(zip(rows.columns, rows.null_count().row(0), strict=True))
    measures.features({name: nulls[name] for name in bundle.features}, rows.height)


def _reasons(histories: Sequence[Histories], rows: pl.DataFrame, bundle: Bundle, target: str | None = None) -> Reasons:
    """By customer's position the reasons of churn or of a target of the user's own, or None.

    As many and in the language that the request asks for.
    """
    out: Reasons = []
    for h in histories:
        if not h.explain:
            out += [None] * len(h.names)
            continue
        own = reading.keys(pl.int_range(len(out), len(out) + len(h.names), dtype=pl.UInt32, eager=True))
        asked = rows.filter(pl.col("customer_id").is_in(own.implode()))
        found = explain.by_customer(bundle, asked, h.explain, h.language, target)
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
