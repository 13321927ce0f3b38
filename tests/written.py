"""Histories written by hand, to be read at a Monday: events so many days before it, and the one row that they give."""

from __future__ import annotations

import datetime as dt
from typing import Any

import drawn
import polars as pl

from churn_clv import matrix, timeline

CUTOFF = drawn.CUTOFF  # Monday, 4 March 2024: one day ago is a Sunday
NOON = dt.timedelta(hours=12)
INSTANT = dt.timedelta(microseconds=1)

Event = dict[str, Any]


def midnight(days_ago: int) -> dt.datetime:
    """The start of the local day that lies so many days before the cutoff; 0 is the cutoff itself."""
    return dt.datetime.combine(CUTOFF, dt.time()) - dt.timedelta(days=days_ago)


def event(kind: str, days_ago: int, amount: float | None = None, *, at: dt.timedelta = NOON, **columns: Any) -> Event:
    """An event of customer "c"; amount and discount in major units, quantity and value in units."""
    scales = {"discount": 100, "quantity": 1000, "value": 1000}
    found = {name: round(v * scales[name]) if name in scales and v is not None else v for name, v in columns.items()}
    money = None if amount is None else round(amount * 100)
    start = {"customer_id": "c", "time": midnight(days_ago) + at, "event_type": kind, "amount": money}
    return dict.fromkeys(drawn.LOG_SCHEMA) | start | found


def buy(days_ago: int, amount: float | None = 10.0, **columns: Any) -> Event:
    """A purchase line."""
    return event("purchase", days_ago, amount, **columns)


def back(days_ago: int, amount: float | None = 10.0, **columns: Any) -> Event:
    """A return of so much money."""
    return event("return", days_ago, None if amount is None else -amount, **columns)


def row(events: list[Event], **definitions: Any) -> dict[str, Any]:
    """The matrix's one row for customer "c" at the cutoff."""
    pairs = timeline.pairs_of(["c"], [CUTOFF])
    return matrix.build(drawn.frame(events), pairs, drawn.definitions(**definitions)).row(0, named=True)


def part(events: list[Event], *names: str, **definitions: Any) -> list[Any]:
    """Those cells of the row."""
    found = row(events, **definitions)
    return [found[name] for name in names]


def frame(events: list[Event]) -> pl.DataFrame:
    """The events as a log frame."""
    return drawn.frame(events)
