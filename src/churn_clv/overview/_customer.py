"""One customer: who, what happened, scores over time, tastes, reasons, the next action."""

from __future__ import annotations

import datetime as dt
import json
from typing import Any

import polars as pl

from churn_clv import (
    affinity,
    bundle,
    config,
    events,
    explain,
    forgotten,
    playbook,
    scoring,
    segments,
    timeline,
)
from churn_clv.errors import UserError
from churn_clv.log_parts import Extent

REASONS, MOST_STEPS, MOST_TASTES, MOST_TOUCHES = 5, 40, 5, 1_000
TASTES = ("category", "product_id", "channel")
SCORES = (
    "eligible", "reason", "churn_probability", "churn_band", "percentile_in_reference", "base_rate", "reliability",
    "expected_spend", "expected_spend_low", "expected_spend_high", "expected_orders", "historic_value", "total_value",
)  # fmt: skip


def customer(
    settings: config.Config, own: bundle.Bundle, log: events.Log, who: str, cutoff: dt.date | None = None,
    book: playbook.Actions | None = None, language: str = explain.DEFAULT,
) -> dict[str, Any]:  # fmt: skip
    """The document of one customer as of the cutoff (default: the log's end).

    UserError for one who is not known, a cutoff outside the log, or a log that is read otherwise than the model's.
    """
    cutoff = cutoff or log.ends
    scoring.check(own, Extent(log.rules, log.starts, log.ends, log.frame.height, log.fingerprint), cutoff)
    found = forgotten.without(settings)(log.frame.filter(pl.col("customer_id") == who))
    past = timeline.seen_before(found, cutoff).collect()
    if past.is_empty():
        raise UserError(f"customer '{who}' is not known before {cutoff}: no event has this id. Check it against the "
                        "log's customer_id.")  # fmt: skip
    alone = events.narrowed(log, past, cutoff, {})
    scores = own.score_log(past, cutoff)
    row = scores.row(0, named=True)
    days = timeline.money_days(past, cutoff).sort("day").collect()
    months = own.config.clv.months[-1]
    document = {
        "customer_id": who, "dataset": settings.dataset, "cutoff": cutoff, "currency": own.currency,
        "horizon_days": own.horizon_days, "months": months, "model_version": own.version,
        "in_sample": bool(cutoff < own.trained_through),
        "scores": {name: row[name] for name in SCORES if name in row},
        "clv": row.get(f"clv_{months}m"),
        "segments": {name: row[name] for name in segments.COLUMNS if name in row},
        "profile": _profile(past, days, cutoff, 10**log.rules.minor_units, log),
        "attributes": _attributes(log, who, cutoff), "steps": _steps(past, 10**log.rules.minor_units),
        "touches": _touches(past),
        "orders": [{"day": day, "net": net / 10**log.rules.minor_units}
                   for day, net in days.filter("stands").select("day", "net").rows()],
        "tastes": _tastes(past), "scores_over_time": _over_time(settings, own.horizon_days, who, scores),
        "reasons": _reasons(own, past, row, who, cutoff, language),
        "action": _action(settings, book, scores), "next_items": _next(alone, log, settings, cutoff, who),
    }  # fmt: skip
    return dict(json.loads(json.dumps(document, default=str, allow_nan=False)))


def _profile(past: pl.DataFrame, days: pl.DataFrame, cutoff: dt.date, scale: int, log: events.Log) -> dict[str, Any]:
    stood = days.filter("stands")
    known = past["time"].dt.date().min()
    out: dict[str, Any] = {"known_since": known, "events": past.height, "orders": stood.height}
    if stood.height:
        last, first = stood["day"][-1], stood["day"][0]
        gaps = stood["day"].diff().drop_nulls().dt.total_days()
        out |= {"first_order": first, "last_order": last, "days_since_last_order": (cutoff - last).days,
                "usual_gap_days": gaps.median() if len(gaps) else None}  # fmt: skip
        if "amount" in log.columns:
            out |= {
                "spent": int(days["net"].sum()) / scale,
                "order_value": int(stood["net"].sum()) / scale / len(stood),
            }
    return out


def _attributes(log: events.Log, who: str, cutoff: dt.date) -> dict[str, Any]:
    out: dict[str, Any] = {}
    for frame in log.attributes.values():
        held = timeline.attributes_at(frame, timeline.pairs_of([who], [cutoff]))
        own = [c for c in held.columns if c not in ("row", "customer_id", "cutoff", "valid_from", "valid")]
        out |= {name: held[name][0] for name in own if held[name][0] is not None}
    return out


def _steps(past: pl.DataFrame, scale: int) -> list[dict[str, Any]]:
    """The latest days with events of a type, newest first."""
    told = past.group_by("event_type", day=pl.col("time").dt.date()).agg(
        lines=pl.len(), amount=pl.col("amount").sum() / scale, channel=pl.col("channel").drop_nulls().first(),
        value=pl.col("value").drop_nulls().last() / 1000,
    )  # fmt: skip
    return told.sort("day", "event_type", descending=[True, False]).head(MOST_STEPS).to_dicts()


def _touches(past: pl.DataFrame) -> list[dict[str, Any]]:
    """Days with events other than purchases and returns, oldest first."""
    other = past.filter(~pl.col("event_type").is_in(["purchase", "return"]))
    days = other.select("event_type", day=pl.col("time").dt.date()).unique().sort("day", "event_type")
    return days.tail(MOST_TOUCHES).to_dicts()


def _tastes(past: pl.DataFrame) -> dict[str, list[dict[str, Any]]]:
    """By column, what is on most purchase days."""
    bought = past.filter(pl.col("event_type") == "purchase").with_columns(day=pl.col("time").dt.date())
    out = {}
    for name in TASTES:
        days = bought.drop_nulls(name).group_by(name).agg(days=pl.col("day").n_unique())
        rows = days.sort("days", name, descending=[True, False]).head(MOST_TASTES).rows()
        out[name] = [{"item": item, "days": int(n)} for item, n in rows]
    weekdays = bought.group_by(weekday=pl.col("day").dt.weekday()).agg(days=pl.col("day").n_unique()).sort("weekday")
    names = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
    out["weekday"] = [{"item": names[day - 1], "days": int(n)} for day, n in weekdays.rows()]
    return {name: rows for name, rows in out.items() if rows}


def _over_time(settings: config.Config, horizon_days: int, who: str, scores: pl.DataFrame) -> list[dict[str, Any]]:
    """What stored scorings of this horizon said, oldest first, and what is said now; of a cutoff the newest."""
    told: dict[str, dict[str, Any]] = {}
    cutoff: dt.date = scores["cutoff"][0]
    columns = ["churn_probability", "expected_spend"]
    for one in scoring.scorings(scoring.scores_folder(settings)):
        if one.cutoff >= cutoff or one.manifest["horizon_days"] != horizon_days:
            continue
        rows = pl.scan_parquet(scoring.parts_of(one.folder)).filter(pl.col("customer_id") == who).select(columns)
        told |= {one.cutoff.isoformat(): row for row in rows.collect().to_dicts()}
    told[cutoff.isoformat()] = scores.select(columns).to_dicts()[0]
    return [{"cutoff": day, **row} for day, row in sorted(told.items())]


def _reasons(
    own: bundle.Bundle, past: pl.DataFrame, row: dict[str, Any], who: str, cutoff: dt.date, language: str
) -> Any:  # fmt: skip
    if not row["eligible"] or row["churn_probability"] is None:
        return {"reasons": [], "missing": f"not eligible ({row['reason']}), so there is no risk to explain"}
    try:
        told = explain.frame(own, past, timeline.pairs_of([who], [cutoff]), REASONS, language)
    except UserError as error:
        return {"reasons": [], "missing": str(error)}
    return {"reasons": told["reasons"][0].to_list(), "missing": None}


def _action(settings: config.Config, book: playbook.Actions | None, scores: pl.DataFrame) -> dict[str, Any]:
    """The most profitable action by itself, and what it is worth."""
    own = book or playbook.load_actions(playbook.files_of(settings))
    return playbook.recommend(own, scores, settings.value.margin_share).row(0, named=True)


def _next(alone: events.Log, log: events.Log, settings: config.Config, cutoff: dt.date, who: str) -> list[str]:
    """The likeliest items of the next occasion, by the customer's own most frequent ones."""
    if not {"category", "product_id"} & alone.columns:
        return []
    told = affinity.next_items(alone, cutoff, settings.kpis.affinity_days, "own")
    return list(told["items"][0]) if told.height else []
