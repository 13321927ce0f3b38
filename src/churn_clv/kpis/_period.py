"""A period of the log, as it was known at its end: who bought when, for how much, and who did what else."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

import polars as pl

from churn_clv import config, timeline
from churn_clv.events import Log

DAY = dt.timedelta(days=1)


@dataclass(frozen=True)
class Period:
    """[start, end) of a log. ``days``: ``customer_id``, ``day``, ``net`` (major units), ``stands`` (an occasion).

    ``events``: everything known before ``end`` with its ``day``. ``new_from``: first purchases before it may be those
    of customers of before the log's start (definition D4). ``missing`` KPIs say why with ``Missing``.
    """

    log: Log
    settings: config.Config
    start: dt.date
    end: dt.date
    new_from: dt.date
    days: pl.DataFrame
    events: pl.DataFrame

    @property
    def active_days(self) -> int:
        """Who bought in the last so many days is active."""
        return self.settings.population.active_within_days

    @property
    def length(self) -> int:
        """In days."""
        return (self.end - self.start).days

    @property
    def has_money(self) -> bool:
        """Whether purchases hold amounts."""
        return "amount" in self.log.columns

    @property
    def occasions(self) -> pl.DataFrame:
        """``customer_id``, ``day``, ``net`` of purchase days."""
        return self.days.filter("stands").select("customer_id", "day", "net")

    @property
    def firsts(self) -> pl.DataFrame:
        """``customer_id``, ``first``: the first purchase day of those who are new to us as far as the log can tell."""
        found = self.occasions.group_by("customer_id").agg(first=pl.col("day").min())
        return found.filter(pl.col("first") >= self.new_from)

    def of_kind(self, kinds: tuple[str, ...]) -> pl.DataFrame:
        """The events of these types."""
        return self.events.filter(pl.col("event_type").is_in(list(kinds)))

    def reaches(self, day: dt.date) -> bool:
        """Whether purchases are complete from ``day`` on."""
        return day >= self.log.starts["purchase"]

    def needs(self, kinds: tuple[str, ...], day: dt.date) -> None:
        """Missing where events of these types are not complete from ``day`` on: fewer would be counted than were."""
        late = {kind: self.log.starts[kind] for kind in kinds if self.log.starts.get(kind, day) > day}
        if late:
            kind, start = max(late.items(), key=lambda pair: pair[1])
            raise Missing(f"the log has '{kind}' events from {start} on, and they are counted from {day} on",
                          "give them from earlier on; `log_starts` of their source says from when it is complete",
                          )  # fmt: skip


class Missing(Exception):
    """A KPI cannot be counted: what is missing, and how to give it."""

    def __init__(self, what: str, how: str) -> None:
        super().__init__(what)
        self.what, self.how = what, how


def period(log: Log, settings: config.Config, start: dt.date, end: dt.date, gap: int | None = None) -> Period:
    """The period [start, end) of a log; money in major units. ``gap``: ``usual_gap``, if known."""
    scale = 10**log.rules.minor_units
    days = timeline.money_days(log.frame, end).with_columns(net=pl.col("net") / scale).sort("customer_id", "day")
    events = timeline.seen_before(log.frame, end).with_columns(day=pl.col("time").dt.date()).collect()
    new_from = log.starts["purchase"] + (gap or usual_gap(log, settings.population.active_within_days, end)) * DAY
    return Period(log, settings, start, end, new_from, days.collect(), events)


def usual_gap(log: Log, active_days: int, as_of: dt.date) -> int:
    """Days within which 90% of the gaps end, at most ``active_days``: who was silent for longer counts as new.

    By what was known before ``as_of``; periods that are compared take one day's, so that they mean the same by it.
    """
    return min(active_days, timeline.gap_quantile(log.frame, as_of))


def within(first: dt.date, end: dt.date, column: str = "day") -> pl.Expr:
    """Whether a day lies in [first, end)."""
    return (pl.col(column) >= pl.lit(first, pl.Date)) & (pl.col(column) < pl.lit(end, pl.Date))
