"""Cohorts of first purchase: how many of each came back in each later month, and what they brought (definition D33)."""

from __future__ import annotations

import datetime as dt
from typing import Any

import polars as pl

from churn_clv import kpis, timeline
from churn_clv.events import Log

# A shorter log is cut into weeks.
LEAST_DAYS = 120
DAY = dt.timedelta(days=1)


def document(log: Log, end: dt.date, active_days: int) -> dict[str, Any]:
    """``unit`` (month or week), ``ages``, and per cohort ``cohort``, ``n``, ``censored``, ``retention``, ``revenue``.

    Age 0 is the unit of the first purchase itself. Retention: the share with a purchase day in that unit. Revenue: net
    money in it per customer of the cohort, major units (null without amounts). A unit that is not over by ``end`` is
    null, never 0. ``censored``: some of its first purchases may be those of customers of before the log's start, for
    they lie within the usual gap of it (at most ``active_days``).
    """
    monthly = (end - log.starts["purchase"]).days >= LEAST_DAYS
    unit = _month if monthly else _week
    days = timeline.money_days(log.frame, end).collect()
    first = days.filter("stands").group_by("customer_id").agg(first=pl.col("day").min())
    complete = _complete(end, monthly)
    found = days.join(first, on="customer_id").filter(pl.col("day") >= pl.col("first"))
    found = found.with_columns(cohort=unit("first"), age=unit("day") - unit("first"))
    sizes = first.group_by(cohort=unit("first")).agg(n=pl.len(), first=pl.col("first").min()).sort("cohort")
    cells = found.group_by("cohort", "age").agg(
        back=pl.col("customer_id").filter("stands").n_unique(), net=pl.col("net").sum()
    )
    known = {(c, a): (back, net) for c, a, back, net in cells.rows()}
    money, scale = "amount" in log.columns, 10**log.rules.minor_units
    new_from = log.starts["purchase"] + kpis.usual_gap(log, active_days, end) * DAY
    out = []
    for cohort, n, _ in sizes.filter(pl.col("cohort") < complete).rows():
        cell = [known.get((cohort, age), (0, 0)) for age in range(complete - cohort)]
        out.append({
            "cohort": _name(cohort, monthly), "n": n, "censored": _begins(cohort, monthly) < new_from,
            "retention": [back / n for back, _ in cell],
            "revenue": [net / scale / n if money else None for _, net in cell],
        })  # fmt: skip
    ages = max((len(row["retention"]) for row in out), default=0)
    for row in out:
        for key in ("retention", "revenue"):
            row[key] += [None] * (ages - len(row[key]))
    return {"unit": "month" if monthly else "week", "ages": ages, "cohorts": out, "money": money,
            "currency": log.rules.currency, "new_from": new_from.isoformat()}  # fmt: skip


def table(found: dict[str, Any], what: str) -> pl.DataFrame:
    """``retention`` or ``revenue`` as a table: cohort, n, a column for each age."""
    rows = [{"cohort": r["cohort"], "n": r["n"], **{f"{found['unit']}_{a}": v for a, v in enumerate(r[what])}}
            for r in found["cohorts"]]  # fmt: skip
    return pl.DataFrame(rows, infer_schema_length=None)


def _month(column: str) -> pl.Expr:
    day = pl.col(column)
    return day.dt.year().cast(pl.Int64) * 12 + day.dt.month().cast(pl.Int64) - 1


def _week(column: str) -> pl.Expr:
    """Weeks from Monday on; day 0 of the calendar's count, 1970-01-01, was a Thursday."""
    return (pl.col(column).cast(pl.Int32).cast(pl.Int64) + 3) // 7


def _complete(end: dt.date, monthly: bool) -> int:
    """The first unit that is not over by the midnight ``end``."""
    return int(pl.DataFrame({"day": [end]}).select((_month if monthly else _week)("day")).item())


def _begins(unit: int, monthly: bool) -> dt.date:
    return dt.date(unit // 12, unit % 12 + 1, 1) if monthly else dt.date(1970, 1, 1) + (unit * 7 - 3) * DAY


def _name(unit: int, monthly: bool) -> str:
    begins = _begins(unit, monthly)
    return begins.strftime("%Y-%m") if monthly else begins.isoformat()
