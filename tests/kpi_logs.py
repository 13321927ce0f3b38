"""Small logs by day number for the tests of KPIs, cohorts, journey and affinity: day 0 is 2024-01-01."""

from __future__ import annotations

import dataclasses
import datetime as dt
from collections.abc import Sequence
from typing import Any

import polars as pl

from churn_clv import config, events, kpis

ZERO = dt.date(2024, 1, 1)
RULES = events.Rules("UTC", "USD", 2)


def day(number: float) -> dt.date:
    """The date of a day number."""
    return ZERO + dt.timedelta(days=int(number))


def settings(**own: Any) -> config.Config:
    """Active within 20 days, a horizon of 14, margin share one half; ``own``: the section `kpis`."""
    return config.load(
        dataset="small", timeline={"horizon_days": 14}, population={"active_within_days": 20},
        value={"margin_share": 0.5}, kpis={"window_days": 10} | own,
    )  # fmt: skip


def log(rows: Sequence[tuple[Any, ...]], ends: int = 60) -> events.Log:
    """Of (customer, day, amount) purchases, or (customer, day, amount, more columns); purchases complete from day 0."""
    plain = []
    for customer, when, amount, *more in rows:
        own = {"customer_id": customer, "time": dt.datetime(2024, 1, 1) + dt.timedelta(days=when), "amount": amount,
               "event_type": "purchase"}  # fmt: skip
        plain.append(own | (more[0] if more else {}))
    return events.from_frame(pl.DataFrame(plain, infer_schema_length=None), RULES, day(ends), {"purchase": ZERO})


def other(customer: str, when: float, kind: str, value: float | None = None, **columns: Any) -> tuple[Any, ...]:
    """An event that is no purchase."""
    return (customer, when, None, {"event_type": kind, "value": value} | columns)


def situation(
    of: events.Log, own: config.Config, start: int = 50, end: int = 60, new_from: int = 0, **more: Any
) -> kpis.Situation:  # fmt: skip
    """The days [start, end) of a log; first purchases from ``new_from`` on count as first."""
    found = kpis.period(of, own, day(start), day(end))
    return kpis.Situation(dataclasses.replace(found, new_from=day(new_from)), **more)
