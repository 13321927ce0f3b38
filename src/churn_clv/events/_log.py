"""The log: its events in total order, from when to when they are complete, and the hash of what it holds."""

from __future__ import annotations

import datetime as dt
import hashlib
from dataclasses import dataclass

import polars as pl

from churn_clv.canonical import CONTACTED, LOG_SCHEMA, REQUIRED, Rules, repeated
from churn_clv.errors import UserError
from churn_clv.policies import Count


@dataclass(frozen=True)
class Log:
    """The event log and what is known about it.

    ``frame`` has LOG_SCHEMA, in total order. ``starts``: for each event type, the first day from which its sources are
    complete. ``ends``: the day after ``last_time``. ``columns``: the optional columns that hold any value. ``counts``:
    what reading met and did, zeros included. ``attributes``: tables by name with customer_id and, where their values
    are dated, valid_from; those without are for segments and reports only. ``notes``: sentences for the reader.
    ``fingerprint``: hash of the log's content.
    """

    frame: pl.DataFrame
    rules: Rules
    starts: dict[str, dt.date]
    ends: dt.date
    columns: frozenset[str]
    counts: tuple[Count, ...]
    attributes: dict[str, pl.DataFrame]
    fingerprint: str
    notes: tuple[str, ...] = ()

    def __repr__(self) -> str:
        kinds = ", ".join(self.starts)
        first = min(self.starts.values(), default=None)
        return f"Log({self.frame.height:,} events from {first} until {self.ends}: {kinds}; {self.fingerprint})"


def assembled(
    frame: pl.DataFrame,
    rules: Rules,
    starts: dict[str, dt.date],
    ends: dt.date | None,
    counts: tuple[Count, ...],
    attributes: dict[str, pl.DataFrame],
    notes: tuple[str, ...],
) -> Log:
    """A log of a canonical frame; ``ends`` defaults to the day after its last event. Raises UserError without one."""
    frame, again = without_repeats(frame)
    if again:
        counts = (*counts, Count("repeated_event_id", "log", again, "dropped, the first kept"))
    last = last_time(frame)
    if last is None:
        lines = sum(count.rows for count in counts if count.policy == "lines")
        raise UserError(f"the event log is empty: none of {lines:,} lines read became an event. Check the sources.")
    ends = ends or last.date() + dt.timedelta(days=1)
    content = identify(fingerprint(frame), starts, ends)
    return Log(frame, rules, starts, ends, _columns(frame), counts, attributes, content, notes)


def narrowed(log: Log, frame: pl.DataFrame, ends: dt.date, attributes: dict[str, pl.DataFrame]) -> Log:
    """A log of some of the events of ``log``, as if there were no others.

    Event types and columns are those that these events have. ``counts`` is empty: which of the lines that reading
    dropped belong to a part is not known.
    """
    kinds = set(frame["event_type"].unique())
    starts = {kind: day for kind, day in log.starts.items() if kind in kinds}
    content = identify(fingerprint(frame), starts, ends)
    return Log(frame, log.rules, starts, ends, _columns(frame), (), attributes, content, log.notes)


def without_repeats(frame: pl.DataFrame) -> tuple[pl.DataFrame, int]:
    """A canonical frame without the events whose event_id their customer has already used, and how many these were."""
    if not frame["event_id"].count():
        return frame, 0
    kept = frame.filter(~repeated())
    return kept, frame.height - kept.height


def last_time(frame: pl.DataFrame) -> dt.datetime | None:
    """The time of the last event, contacts that `act --send` wrote aside: they are dated at the cutoff that they were
    planned at, a day of which nothing else is known yet. With them a plan sent again would be another day's."""
    found = frame["time"].filter(frame["event_type"] != CONTACTED).max()
    return found if isinstance(found, dt.datetime) else None


def first_day(frame: pl.DataFrame) -> dt.date | None:
    """The day of the first event of a canonical frame, None without events."""
    first = frame["time"].min()
    return first.date() if isinstance(first, dt.datetime) else None


def fingerprint(frame: pl.DataFrame) -> str:
    """Sixteen hexadecimal digits of a hash over the rows of a frame, in their order; empty columns do not count."""
    digest = hashlib.sha256(f"{frame.height} rows".encode())
    for series in frame.get_columns():
        if series.null_count() == frame.height:
            continue
        digest.update(series.name.encode())
        digest.update(series.is_null().arg_true().to_numpy().tobytes())
        if series.dtype == pl.String:
            text = series.fill_null("")
            digest.update(text.str.len_bytes().to_numpy().tobytes())
            digest.update(text.str.join("").item().encode())
        else:
            digest.update(series.to_physical().fill_null(0).to_numpy().tobytes())
    return digest.hexdigest()[:16]


def identify(content: str, starts: dict[str, dt.date], ends: dt.date) -> str:
    """The log's fingerprint: its content (``fingerprint`` of its frame), and from when to when it is complete."""
    told = f"{content} {sorted(starts.items())} {ends}"
    return hashlib.sha256(told.encode()).hexdigest()[:16]


def _columns(frame: pl.DataFrame) -> frozenset[str]:
    """The optional columns that hold any value."""
    optional = (name for name in LOG_SCHEMA if name not in (*REQUIRED, "event_type"))
    return frozenset(name for name in optional if frame[name].null_count() < frame.height)
