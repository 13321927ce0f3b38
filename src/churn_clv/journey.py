"""The journey: what follows what, and what customers met last before they lapsed or bought again.

A step is a customer's day with an event of a type. Nothing here is a cause: who buys often meets more.
"""

from __future__ import annotations

import datetime as dt
from typing import Any

import polars as pl

from churn_clv import kpis, timeline
from churn_clv.events import Log

SILENCE, NOTHING = "silence", "nothing"
PATH_STEPS, MOST_PATHS = 3, 5
PURCHASE, RETURN = "purchase", "return"


def document(log: Log, end: dt.date, active_days: int, window_days: int) -> dict[str, Any]:
    """What follows each type of event, and the last steps of two kinds of moments.

    ``transitions``: ``from``, ``to``, ``n``, ``share`` of all that follows ``from``; ``to`` is ``silence`` where no
    event comes within ``active_days``; steps that are too fresh to tell are left out.

    ``steps``: per type other than purchases, the share of moments with such an event in the ``window_days`` before:
    ``lapse``: the moment ``active_days`` after a purchase that nothing followed till then; ``repeat``: a purchase
    within ``active_days`` of the one before. With 95% intervals by customer, and whether they differ (Holm).
    ``paths``: the commonest last steps of both.
    """
    window_days = min(window_days, active_days)
    steps = _steps(log, end)
    moments = _moments(log, end, active_days)
    touches = steps.filter(~pl.col("event_type").is_in([PURCHASE, RETURN]))
    missing = "the log has no events besides purchases and returns" if touches.is_empty() else None
    met = _met(moments, touches, window_days)
    return {
        "active_days": active_days, "window_days": window_days,
        "transitions": transitions(steps, end, active_days),
        "moments": {kind: moments.filter(pl.col("kind") == kind).height for kind in ("lapse", "repeat")},
        "steps": [] if missing else _compared(moments, met),
        "paths": {} if missing else {kind: _paths(moments, met, kind) for kind in ("lapse", "repeat")},
        "missing": missing, "how": "map sources of visits, mails, tickets and the like" if missing else None,
    }  # fmt: skip


def _steps(log: Log, end: dt.date) -> pl.DataFrame:
    """``customer_id``, ``day``, ``event_type``: in the order in which they happened, of one day by the clock."""
    seen = timeline.seen_before(log.frame, end)
    return (
        seen.group_by("customer_id", "event_type", day=pl.col("time").dt.date())
        .agg(clock=pl.col("time").min())
        .sort("customer_id", "day", "clock", "event_type")
        .select("customer_id", "day", "event_type")
        .collect()
    )


def transitions(steps: pl.DataFrame, end: dt.date, active_days: int) -> list[dict[str, Any]]:
    """How often a step is followed by which, of steps whose ``active_days`` are over or that were followed."""
    after = pl.col("day").shift(-1).over("customer_id")
    kind = pl.col("event_type").shift(-1).over("customer_id")
    wait = (after.fill_null(pl.lit(end)) - pl.col("day")).dt.total_days()
    told = steps.with_columns(wait=wait, to=kind).with_columns(
        to=pl.when(pl.col("wait") > active_days).then(pl.lit(SILENCE)).otherwise(pl.col("to"))
    )
    counts = told.drop_nulls("to").group_by("event_type", "to").agg(n=pl.len())
    counts = counts.with_columns(share=pl.col("n") / pl.col("n").sum().over("event_type"))
    return counts.sort("event_type", "to").rename({"event_type": "from"}).to_dicts()


def _moments(log: Log, end: dt.date, active_days: int) -> pl.DataFrame:
    """Every matured end of a wait after a purchase: ``row``, ``customer_id``, ``day`` of the moment, ``kind``."""
    days = timeline.occasion_days(log.frame, end).sort("customer_id", "day").collect()
    after = pl.col("day").shift(-1).over("customer_id")
    wait = (after.fill_null(pl.lit(end)) - pl.col("day")).dt.total_days()
    lapsed = wait > active_days
    moment = pl.when(lapsed).then(pl.col("day") + pl.duration(days=active_days)).otherwise(after)
    kind = pl.when(lapsed).then(pl.lit("lapse")).otherwise(pl.lit("repeat"))
    return days.select("customer_id", day=moment, kind=kind).drop_nulls("day").with_row_index("row")


def _met(moments: pl.DataFrame, touches: pl.DataFrame, window_days: int) -> pl.DataFrame:
    """The touches of the days before each moment: ``row``, ``event_type``, in order."""
    met = moments.join(touches.rename({"day": "touched"}), on="customer_id")
    before = (pl.col("day") - pl.col("touched")).dt.total_days()
    return met.filter((before >= 1) & (before <= window_days)).sort("row", "touched", maintain_order=True)


def _compared(moments: pl.DataFrame, met: pl.DataFrame) -> list[dict[str, Any]]:
    out, tested = [], []
    for kind in sorted(met["event_type"].unique()):
        rows = met.filter(pl.col("event_type") == kind)["row"].unique()
        both = {name: _share(moments.filter(pl.col("kind") == name), rows) for name in ("lapse", "repeat")}
        row: dict[str, Any] = {"event_type": kind}
        for name, found in both.items():
            row |= {
                name: found and found.value,
                f"{name}_low": found and found.low,
                f"{name}_high": found and found.high,
            }
        p = kpis.p_of_change(both["lapse"], both["repeat"]) if both["lapse"] and both["repeat"] else None
        tested += [] if p is None else [(row, p)]
        out.append(row | {"differ": None})
    for (row, _), p in zip(tested, kpis.holm([p for _, p in tested]), strict=True):
        next(r for r in out if r["event_type"] == row["event_type"])["differ"] = p < kpis.REAL
    return out


def _share(moments: pl.DataFrame, rows: pl.Series) -> kpis.Estimate | None:
    """The share of moments among ``rows``; a customer may have many, so they count by customer."""
    if moments.is_empty():
        return None
    hit = pl.col("row").is_in(rows.implode()).cast(pl.Float64)
    return kpis.estimate(kpis.Sample(kpis.make(moments.select("customer_id", x=hit, y=pl.lit(1.0))), "moments"))


def _paths(moments: pl.DataFrame, met: pl.DataFrame, kind: str) -> list[dict[str, Any]]:
    """The commonest last steps before moments of a kind: ``path``, ``n``, ``share``."""
    own = moments.filter(pl.col("kind") == kind).select("row")
    told = met.group_by("row", maintain_order=True).agg(pl.col("event_type").tail(PATH_STEPS).str.join(" > "))
    paths = own.join(told, on="row", how="left").with_columns(path=pl.col("event_type").fill_null(NOTHING))
    counts = paths.group_by("path").agg(n=pl.len()).with_columns(share=pl.col("n") / max(1, own.height))
    return counts.sort("n", "path", descending=[True, False]).head(MOST_PATHS).to_dicts()
