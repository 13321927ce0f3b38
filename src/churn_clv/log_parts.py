"""A log larger than memory: its sources part by part, through the same reading as ``events.read_log``.

What looks at one line at a time does not mind the parts. What looks across lines (repeats of an event_id, the total
order) is left to whoever gathers all events of a customer.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from dataclasses import dataclass

import polars as pl

from churn_clv import events, mapping
from churn_clv.attributes import IdentityMap
from churn_clv.canonical import Rules
from churn_clv.config import Config, Source
from churn_clv.errors import UserError
from churn_clv.policies import Count
from churn_clv.sources import Table, Tables

LINES = 1_000_000


@dataclass(frozen=True)
class Extent:
    """What scoring asks of a whole log: its rules, each event type's first complete day, the day after its last event.

    ``events`` counts what is in it, ``fingerprint`` says whether two are the same.
    """

    rules: Rules
    starts: dict[str, dt.date]
    ends: dt.date
    events: int
    fingerprint: str


class LogParts:
    """The events of a config's sources in parts of about ``lines`` lines; iterate once, then ask for ``starts``.

    A source whose repeated lines are dropped or refused, or that an adapter hands over, is one part: it must fit into
    memory. Raises UserError as ``events.read_log`` does, with the counts of the part where it was met.
    """

    def __init__(self, config: Config, lines: int = LINES) -> None:
        self._events, self._lines = config.events, lines
        self.rules = events.rules_of(config.events)
        events.check_sources(config.events)
        self._tables = Tables(config.events.adapter, config.events.folder)
        self.counts: list[Count] = []
        place = config.events.identity
        self._identity = IdentityMap(place, self._tables, self.counts) if place else None
        self._first: dict[str, dt.date] = {}
        self._kinds: dict[str, set[str]] = {}

    def estimate(self) -> int:
        """About how many lines there are in all."""
        places = self._events.sources.items()
        return sum(self._tables.lines(f"events.sources.{name}", source) for name, source in places)

    def __iter__(self) -> Iterator[pl.DataFrame]:
        """Parts in LOG_SCHEMA, unsorted; a part may be empty."""
        for name, source in self._events.sources.items():
            for table, whole in self._read(name, source):
                yield self._typed(name, source, table, whole)

    def _read(self, name: str, source: Source) -> Iterator[tuple[Table, bool]]:
        key, needed = f"events.sources.{name}", mapping.columns_used(source)
        if self._events.duplicates != "keep":
            yield self._tables.open(key, source, needed), True
            return
        for table in self._tables.batches(key, source, needed, self._lines):
            yield table, False

    def _typed(self, name: str, source: Source, table: Table, whole: bool) -> pl.DataFrame:
        known = self._events, self.rules, self._identity, self.counts
        try:
            frame = events.read_source(name, source, table, *known, whole)
        except UserError as error:
            there = "" if whole else f" (Of a part of the source, from line {table.first:,}.)"
            raise UserError(f"{error}{there}") from None
        if (first := events.first_day(frame)) is not None:
            self._first[name] = min(first, self._first.get(name, first))
        self._kinds.setdefault(name, set()).update(frame["event_type"].unique())
        return frame

    def starts(self) -> dict[str, dt.date]:
        """By event type, the latest of its sources' starts, as ``events.Log`` has it; after the parts are through."""
        starts: dict[str, dt.date] = {}
        for name, kinds in self._kinds.items():
            start = self._events.sources[name].log_starts or self._first.get(name)
            if start is not None:
                starts |= {kind: max(start, starts.get(kind, start)) for kind in kinds}
        return dict(sorted(starts.items()))
