"""What came in, window by window: of customers known at its start, and of new ones."""

from __future__ import annotations

import datetime as dt
import math
from dataclasses import dataclass

import polars as pl

from churn_clv import config, labels, timeline
from churn_clv.events import Log
from churn_clv.timeline import Definitions


@dataclass(frozen=True)
class Money:
    """Spend (definition D3, major units) in one window of one horizon; new: no event before its start."""

    known: float
    new: float

    @property
    def total(self) -> float:
        return self.known + self.new


class Takings:
    """The money of a log in windows of one horizon, each window read once.

    Before ``settled`` (definition D4: the log's start and the population's 90% gap) many an old customer looks new.
    """

    def __init__(self, log: Log, spend: config.Target, definitions: Definitions) -> None:
        self.starts, self.horizon_days = log.starts["purchase"], definitions.horizon_days
        self.settled = self.starts + dt.timedelta(days=definitions.censored_gap_days)
        self._spend, self._minor_units = spend, log.rules.minor_units
        self._late = log.frame["known_at"].count() > 0
        # Days instead of lines: a window's sum is the same, and its cost a hundredth.
        keys = dict.fromkeys(("customer_id", "event_type", "known_at", spend.events.column))
        day = pl.col("time").dt.date().cast(pl.Datetime("us"))
        self._days = log.frame.group_by(*keys, time=day).agg(pl.col("amount").sum())
        self._customers = log.frame["customer_id"].unique()
        self._read: dict[tuple[dt.date, dt.date | None], Money] = {}

    def at(self, start: dt.date, known_by: dt.date | None = None) -> Money:
        """The money of [start, start + horizon), counting what was known by then (None: all that the log holds)."""
        key = (start, known_by if self._late else None)
        if key not in self._read:
            self._read[key] = self._count(*key)
        return self._read[key]

    def newest(self, when: dt.date, earliest: dt.date, step_days: int) -> list[dt.date]:
        """Starts of the windows that end by ``when``, ``step_days`` apart back to ``earliest``, oldest first."""
        first = when - dt.timedelta(days=self.horizon_days)
        count = max(0, (first - earliest).days // step_days + 1)
        return [first - dt.timedelta(days=k * step_days) for k in reversed(range(count))]

    def _count(self, start: dt.date, known_by: dt.date | None) -> Money:
        days = timeline.known_before(self._days.lazy(), known_by).collect()
        pairs = timeline.pairs_of(self._customers, [start])
        ends = start + dt.timedelta(days=self.horizon_days)
        found = labels.by_windows(days, pairs, self._spend, self.horizon_days, minor_units=self._minor_units, ends=ends)
        who = pairs.with_row_index(labels.ROW).join(found, on=labels.ROW, how="inner")
        known = who.join(timeline.known_among(days, pairs), on="customer_id", how="semi")
        new = who.join(known, on="customer_id", how="anti")
        return Money(*(math.fsum(rows["money"].fill_null(0.0)) for rows in (known, new)))
