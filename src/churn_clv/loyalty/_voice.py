"""What customers said and how long they wait: surveys, cases, detractors, points."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from typing import Any

import numpy as np
import polars as pl

from churn_clv.config import Case, Loyalty, Survey

Z = 1.959963984540054
VALUE = 1000  # the log holds values in thousandths
WAITING = pl.Schema({"customer_id": pl.String(), "why": pl.String(), "days": pl.Int64(), "value_given": pl.Float64()})


def dated(frame: pl.DataFrame, ends: dt.date) -> pl.DataFrame:
    """Events with ``age``, whole days before the log's end, and ``number``, the value in units."""
    day = pl.col("time").dt.date()
    age = (pl.lit(ends) - day).dt.total_days()
    number = pl.col("value") / VALUE if "value" in frame.columns else pl.lit(None, pl.Float64)
    kept = ("customer_id", "event_type", "time", "amount")
    return frame.select(*kept, age=age, number=number).filter(pl.col("age") >= 1)


def latest(events: pl.DataFrame, kind: str, within_days: int) -> pl.DataFrame:
    """Each customer's latest value of a type of event: ``customer_id``, ``number``, ``age``; at one time the most."""
    own = events.filter(
        (pl.col("event_type") == kind) & pl.col("number").is_not_null() & (pl.col("age") <= within_days)
    )
    return own.sort("time", "number", descending=True).group_by("customer_id", maintain_order=True).first()


def survey(events: pl.DataFrame, kind: str, terms: Survey, within_days: int) -> dict[str, Any] | None:
    """The score of a survey: promoters less detractors in percent, and the share of promoters (of CSAT the top box)."""
    own = latest(events, kind, within_days)
    if own.is_empty():
        return None
    value = own["number"].to_numpy()
    sign = (value >= terms.promoter_at_least).astype(float) - (value <= terms.detractor_at_most)
    half = Z * sign.std() / np.sqrt(len(sign))
    return {
        "answers": len(sign), "promoters": float((sign > 0).mean()), "detractors": float((sign < 0).mean()),
        "net": 100 * float(sign.mean()), "net_low": 100 * float(sign.mean() - half),
        "net_high": 100 * float(sign.mean() + half),
    }  # fmt: skip


def waiting(events: pl.DataFrame, name: str, case: Case, settings: Loyalty) -> pl.DataFrame:
    """Customers whose oldest case without an end is ``after_days`` old or older, first come first served (WAITING).

    An end that finds no case open (a second answer, the end of one of before the log) ends none that comes later.
    """
    opens, ends = (pl.col("event_type").is_in(list(kinds)) for kinds in (case.opens, case.ends))
    moves = events.select("customer_id", "time", "age", step=opens.cast(pl.Int64) - ends.cast(pl.Int64))
    moves = moves.filter(pl.col("step") != 0).sort("customer_id", "time", "step", descending=[False, False, True])
    balance = pl.col("step").cum_sum()
    held = moves.group_by("customer_id", maintain_order=True).agg(
        ages=pl.col("age").filter(pl.col("step") > 0),
        still=balance.last() - pl.min_horizontal(balance.min(), pl.lit(0, pl.Int64)),
    )
    near = pl.element().filter(pl.element() <= settings.case_days)
    oldest = held.with_columns(days=pl.col("ages").list.tail(pl.col("still")).list.eval(near).list.first())
    return _rows(oldest.filter(pl.col("days") >= settings.after_days), f"{name} without an answer")


def detractors(events: pl.DataFrame, kind: str, terms: Survey, settings: Loyalty) -> pl.DataFrame:
    """Customers whose latest answer is a detractor's, ``after_days`` old or older, and whom nobody answered since."""
    own = latest(events, kind, settings.case_days).filter(pl.col("number") <= terms.detractor_at_most)
    answered = events.filter(pl.col("event_type").is_in(list(settings.follow_ups)))
    last = answered.group_by("customer_id").agg(last=pl.col("time").max())
    open_ = own.join(last, on="customer_id", how="left").filter(
        (pl.col("last").is_null() | (pl.col("last") < pl.col("time"))) & (pl.col("age") >= settings.after_days)
    )
    return _rows(open_.with_columns(days="age"), f"{kind} detractor", "number")


def _rows(frame: pl.DataFrame, why: str, given: str | None = None) -> pl.DataFrame:
    value = pl.col(given) if given else pl.lit(None, pl.Float64)
    return frame.select(
        "customer_id", why=pl.lit(why), days=pl.col("days").cast(pl.Int64), value_given=value.cast(pl.Float64)
    )


def points(events: pl.DataFrame, settings: Loyalty) -> pl.DataFrame:
    """Each customer's balance: ``customer_id``, ``points``, ``level`` (null below the first) and
    ``points_to_next_level`` (null on the last, or without levels)."""
    own = latest(events, settings.points, 2**31).select("customer_id", points="number")
    level = pl.lit(None, pl.String)
    away = pl.lit(None, pl.Float64)
    for name, at in sorted(settings.levels.items(), key=lambda pair: pair[1]):
        level = pl.when(pl.col("points") >= at).then(pl.lit(name)).otherwise(level)
    for at in sorted(settings.levels.values(), reverse=True):
        away = pl.when(pl.col("points") < at).then(at - pl.col("points")).otherwise(away)
    return own.with_columns(level=level, points_to_next_level=away)


def said(events: pl.DataFrame, kinds: Mapping[str, Any], days: int) -> list[dict[str, Any]]:
    """How many events of each type in the last ``days`` and in as many before."""
    out = []
    for kind in kinds:
        age = events.filter(pl.col("event_type") == kind)["age"]
        if len(age):
            recent = int((age <= days).sum())
            out.append({"event_type": kind, "recent": recent, "before": int((age <= 2 * days).sum()) - recent})
    return out
