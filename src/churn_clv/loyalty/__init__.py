"""Loyalty, feedback, service: an index with stated weights, surveys, who waits for an answer (docs/loyalty.md)."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl

from churn_clv import config, disk, forgotten, timeline
from churn_clv.events import Log
from churn_clv.loyalty._index import NOT_SUPPORTED, index, known, parts, quintiles, retention
from churn_clv.loyalty._programme import programme, told
from churn_clv.loyalty._voice import WAITING, dated, detractors, latest, points, said, survey, waiting

__all__ = [
    "NOT_SUPPORTED",
    "dated",
    "detractors",
    "index",
    "latest",
    "loyalty_folder",
    "parts",
    "points",
    "programme",
    "quintiles",
    "retention",
    "run",
    "survey",
    "told",
    "waiting",
    "write",
]

Say = Callable[[str], None]
MONEY = ("purchase", "return")


def loyalty_folder(settings: config.Config) -> Path:
    """The folder of all of a data set's: ``out``/loyalty/<dataset>."""
    return Path(settings.out) / "loyalty" / settings.dataset


def run(
    settings: config.Config, log: Log, scores: pl.DataFrame | None, say: Say = lambda _: None
) -> tuple[pl.DataFrame, dict[str, Any]]:  # fmt: skip
    """Everyone known at the log's end with ``loyalty_index`` and quintile, and the document of ``churn-clv loyalty``.

    ``scores``: a scoring of the log's end, for the value by which those who wait are ordered; without one it is the
    margin of the last ``active_within_days``. ``customers`` of the document are those who wait.
    """
    own, definitions = settings.loyalty, timeline.define(log, settings, log.ends)
    weights, missing = parts(own.weights, definitions)
    say("the index")
    sift = forgotten.without(settings)
    everyone = sift(known(log, definitions, weights, log.ends)) if weights else None
    events = dated(sift(timeline.seen_before(log.frame, log.ends).collect()), log.ends)
    frame = _people(everyone, weights, points(events, own), scores)
    say("surveys, cases and detractors")
    care = _care(events, settings, definitions, frame, scores)
    kinds = sorted(set(events["event_type"].unique()) - set(MONEY))
    document = {
        "dataset": settings.dataset,
        "cutoff": log.ends.isoformat(),
        "horizon_days": definitions.horizon_days,
        "currency": settings.events.currency,
        "customers_known": frame.height,
        "weights": weights,
        "weights_left_out": missing,
        "retention": retention(log, definitions, weights, settings) if weights else None,
        "surveys": {k: found for k, terms in own.surveys.items()
                    if (found := survey(events, k, terms, own.survey_days))},
        "events": said(events, dict.fromkeys(kinds), definitions.horizon_days),
        "levels": _levels(frame, own),
        "programme": programme(settings, log),
        "waiting": _by_reason(care),
        "value_of": "clv" if scores is not None and _clv(scores) in frame.columns else "margin",
        "notes": _notes(own, set(kinds)),
        "customers": care.to_dicts(),
    }  # fmt: skip
    return frame, document


def _people(
    everyone: pl.DataFrame | None, weights: dict[str, float], balance: pl.DataFrame, scores: pl.DataFrame | None
) -> pl.DataFrame:
    if everyone is None:
        return pl.DataFrame(schema={"customer_id": pl.String, "loyalty_index": pl.Float64})
    value = index(everyone, weights)
    rows = everyone.select("customer_id", "cutoff").with_columns(value, quintile=quintiles(value))
    rows = rows.hstack(everyone.select(*weights)).join(balance, on="customer_id", how="left", maintain_order="left")
    if scores is None:
        return rows
    told = [c for c in ("churn_probability", _clv(scores)) if c and c in scores.columns]
    return rows.join(scores.select("customer_id", *told), on="customer_id", how="left", maintain_order="left")


def _clv(scores: pl.DataFrame) -> str | None:
    """The longest CLV's column."""
    found = [c for c in scores.columns if c.startswith("clv_") and c.removeprefix("clv_").rstrip("m").isdigit()]
    return max(found, key=lambda c: int(c[4:-1])) if found else None


def _care(
    events: pl.DataFrame, settings: config.Config, definitions: timeline.Definitions, frame: pl.DataFrame,
    scores: pl.DataFrame | None,
) -> pl.DataFrame:  # fmt: skip
    """Who waits and why, dearest first; a customer with two reasons stands twice."""
    own = settings.loyalty
    found = [waiting(events, name, case, own) for name, case in own.cases.items()]
    found += [detractors(events, kind, terms, own) for kind, terms in own.surveys.items()]
    rows = pl.concat([pl.DataFrame(schema=WAITING), *found])
    clv = _clv(scores) if scores is not None else None
    if clv is not None and clv in frame.columns:
        worth = frame.select("customer_id", value=clv)
    else:
        worth = _margin(events, settings, definitions)
    some = [c for c in ("churn_probability", "loyalty_index") if c in frame.columns]
    rows = rows.join(worth, on="customer_id", how="left").join(
        frame.select("customer_id", *some), on="customer_id", how="left"
    )
    order = [pl.col("value").fill_null(0.0), pl.col("days"), pl.col("customer_id"), pl.col("why")]
    return rows.sort(order, descending=[True, True, False, False])


def _margin(events: pl.DataFrame, settings: config.Config, definitions: timeline.Definitions) -> pl.DataFrame:
    """Margin of the last ``active_within_days``, in major units."""
    near = events.filter(pl.col("age") <= definitions.active_within_days)
    share = settings.value.margin_share / 10**definitions.rules.minor_units
    return near.group_by("customer_id").agg(value=pl.col("amount").sum() * share)


def _by_reason(care: pl.DataFrame) -> list[dict[str, Any]]:
    grouped = care.group_by("why").agg(
        customers=pl.len(), value=pl.col("value").sum(), longest_days=pl.col("days").max()
    )
    return grouped.sort("why").to_dicts()


def _levels(frame: pl.DataFrame, own: config.Loyalty) -> list[dict[str, Any]]:
    if not own.levels or "level" not in frame.columns:
        return []
    there = frame.filter(pl.col("points").is_not_null())
    return there.group_by("level").agg(
        customers=pl.len(), to_next_median=pl.col("points_to_next_level").median()
    ).sort("level", nulls_last=False).to_dicts()  # fmt: skip


def _notes(own: config.Loyalty, kinds: set[str]) -> list[str]:
    """What the log lacks and how to give it."""
    out = []
    for name, case in own.cases.items():
        if set(case.opens) & kinds and not set(case.ends) & kinds:
            out.append(f"the log has no events that end a {name} ({', '.join(case.ends)}): all of the last "
                       f"{own.case_days} days count as waiting")  # fmt: skip
    asked = {k for case in own.cases.values() for k in case.opens} | set(own.surveys)
    if not asked & kinds:
        out.append(f"the log has no feedback (types of events: {', '.join(sorted(asked))}): map them in "
                   "events.sources, with `value` for surveys")  # fmt: skip
    if own.levels and own.points not in kinds:
        out.append(f"loyalty.levels is given, but the log has no '{own.points}' events whose value is the balance")
    return out


def write(frame: pl.DataFrame, document: dict[str, Any], folder: Path) -> None:
    """``folder``/loyalty.parquet, loyalty.csv, waiting.csv and loyalty.json: all or none."""
    with disk.folder_written(folder) as new:
        frame.write_parquet(new / "loyalty.parquet")
        frame.with_columns(pl.col(pl.Float64).round(6)).write_csv(new / "loyalty.csv")
        if document["customers"]:
            pl.DataFrame(document["customers"], infer_schema_length=None).write_csv(new / "waiting.csv")
        text = json.dumps(document, indent=1, allow_nan=False, default=str, ensure_ascii=False)
        (new / "loyalty.json").write_text(text + "\n", encoding="utf-8")
