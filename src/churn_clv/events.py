"""Sources -> the log. Every event enters the system here: mapped, converted, checked, and each lost line counted."""

from __future__ import annotations

import datetime as dt
import hashlib
from dataclasses import dataclass
from typing import Any

import polars as pl

from churn_clv import datasets, mapping
from churn_clv.attributes import IdentityMap, read_attributes
from churn_clv.canonical import (
    CONTACTED,
    LOG_SCHEMA,
    REQUIRED,
    Rules,
    apply_policies,
    arrange,
    canonical,
    repeated,
    to_types,
)
from churn_clv.clock import check_zone
from churn_clv.config import Config, Events, Source
from churn_clv.errors import UserError
from churn_clv.policies import Count, Sieve, at_or_after, judge_currency, judge_lines, judge_values, without_float_ids
from churn_clv.sources import Table, Tables
from churn_clv.text import TEXT, reading

__all__ = [
    "LOG_SCHEMA",
    "Count",
    "Log",
    "Rules",
    "canonical",
    "fingerprint",
    "from_frame",
    "last_time",
    "narrowed",
    "read_log",
    "rules_of",
]


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


def read_log(config: Config) -> Log:
    """Read every source of ``config.events`` into one log.

    Raises UserError for whatever a user can mend: a missing or unreadable file, a column that is not there, values
    that cannot be read (unless policy drops them), a second currency, an empty log.
    """
    events = config.events
    rules = rules_of(events)
    check_sources(events)
    tables = Tables(events.adapter, events.folder)
    counts: list[Count] = []
    identity = IdentityMap(events.identity, tables, counts) if events.identity else None
    parts = {
        name: read_source(name, source, _open(name, source, tables), events, rules, identity, counts)
        for name, source in events.sources.items()
    }
    attributes = {
        name: read_attributes(name, place, tables, rules, identity, counts) for name, place in events.attributes.items()
    }
    frame = arrange(pl.concat(parts.values()))
    return _log(frame, rules, _starts(parts, events), events.ends, tuple(counts), attributes, _notes(events))


def from_frame(frame: Any, rules: Rules, ends: dt.date | None = None, starts: dict[str, dt.date] | None = None) -> Log:
    """A log from one frame, pandas or Polars, with plain columns (see ``canonical``). Raises UserError likewise.

    ``ends`` defaults to the day after the last event (later events are dropped and counted), ``starts`` of a type to
    the first day of the frame.
    """
    plain = to_polars(frame)
    log = canonical(plain, rules)
    counts = [Count("lines", "frame", plain.height, "read")]
    if ends is not None:
        late = log.filter(at_or_after(ends)).height
        counts.append(Count("after_end", "frame", late, "dropped"))
        log = log.filter(~at_or_after(ends))
    first = first_day(log)
    known = {} if first is None else dict.fromkeys(sorted(log["event_type"].unique()), first)
    return _log(log, rules, known | (starts or {}), ends, tuple(counts), {}, ())


def last_time(frame: pl.DataFrame) -> dt.datetime | None:
    """The time of the last event, contacts that `act --send` wrote aside: they are dated at the cutoff that they were
    planned at, a day of which nothing else is known yet. With them a plan sent again would be another day's."""
    found = frame["time"].filter(frame["event_type"] != CONTACTED).max()
    return found if isinstance(found, dt.datetime) else None


def narrowed(log: Log, frame: pl.DataFrame, ends: dt.date, attributes: dict[str, pl.DataFrame]) -> Log:
    """A log of some of the events of ``log``, as if there were no others.

    Event types and columns are those that these events have. ``counts`` is empty: which of the lines that reading
    dropped belong to a part is not known.
    """
    kinds = set(frame["event_type"].unique())
    starts = {kind: day for kind, day in log.starts.items() if kind in kinds}
    content = identify(fingerprint(frame), starts, ends)
    return Log(frame, log.rules, starts, ends, _columns(frame), (), attributes, content, log.notes)


def rules_of(events: Events) -> Rules:
    """The rules by which a config's events are read."""
    money = events.currency, events.minor_units, events.zero_amount, events.negative_amount
    return Rules(events.timezone, *money, reading(events.text))


def without_repeats(frame: pl.DataFrame) -> tuple[pl.DataFrame, int]:
    """A canonical frame without the events whose event_id their customer has already used, and how many these were."""
    if not frame["event_id"].count():
        return frame, 0
    kept = frame.filter(~repeated())
    return kept, frame.height - kept.height


def to_polars(frame: Any) -> pl.DataFrame:
    """A pandas or Polars frame as a Polars frame (an index is left out). Raises UserError for anything else."""
    if isinstance(frame, pl.DataFrame):
        return frame
    if isinstance(frame, pl.LazyFrame):
        return frame.collect()
    if type(frame).__module__.split(".")[0] != "pandas" or not hasattr(frame, "columns"):
        raise UserError(f"expected a pandas or Polars frame, found {type(frame).__name__}.")
    columns = {}
    for name in frame.columns:
        try:
            columns[str(name)] = pl.from_pandas(frame[name])
        except (TypeError, ValueError, AttributeError, pl.exceptions.PolarsError):
            raise UserError(f"column '{name}' mixes types; give it one type, such as text.") from None
    return pl.DataFrame(columns)


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


def check_sources(events: Events) -> None:
    """What can be refused before any file is opened."""
    if not events.sources:
        raise UserError("events.sources is empty. Name at least one source; `churn-clv init FILE` writes one.")
    for name, source in events.sources.items():
        mapping.check_map(name, source)
        if TEXT in source.map and not events.text.read:
            raise UserError(
                f"events.sources.{name}.map: texts are mapped, and events.text.read is false. Set it to true (they "
                "become numbers and are never kept), or take `text` out."
            )
        check_zone(source.timezone or events.timezone, f"events.sources.{name}.timezone")


def check_places(events: Events) -> None:
    """Raise UserError where a file is not there that a source, an attribute or the identity map names: in no time."""
    tables = Tables(events.adapter, events.folder)
    for section, places in (("sources", events.sources), ("attributes", events.attributes)):
        for name, place in places.items():
            tables.look(f"events.{section}.{name}", place)
    if events.identity is not None:
        tables.look("events.identity", events.identity)


def _open(name: str, source: Source, tables: Tables) -> Table:
    return tables.open(f"events.sources.{name}", source, mapping.columns_used(source))


def read_source(
    name: str,
    source: Source,
    table: Table,
    events: Events,
    rules: Rules,
    identity: IdentityMap | None,
    counts: list[Count],
    whole: bool = True,
) -> pl.DataFrame:
    """One source's events in LOG_SCHEMA, unsorted; ``whole`` is false for a part of its ``table``."""
    counts.append(Count("lines", name, table.frame.height, "read"))
    sieve = Sieve(name, table, counts)
    try:
        plain = mapping.plain_columns(table.frame, source)
        judge_lines(sieve, plain, events, whole)
        judge_currency(sieve, source, events)
        plain = without_float_ids(plain, sieve)
        typed = to_types(plain, rules, source.timezone, source.time_format)
    except (pl.exceptions.PolarsError, UserError) as error:
        raise UserError(
            f"events.sources.{name}: {error}".replace(f"events.sources.{name}: events.", "events.")
        ) from None
    judge_values(sieve, plain, typed, source, events)
    frame = apply_policies(sieve.sift(typed.frame), rules)
    if identity is not None:
        frame = identity.resolve(name, frame, counts)
    counts.append(Count("events", name, frame.height, "entered the log"))
    return frame


def _starts(parts: dict[str, pl.DataFrame], events: Events) -> dict[str, dt.date]:
    """By event type, the latest of its sources' starts: declared, else the first day the source has."""
    starts: dict[str, dt.date] = {}
    for name, part in parts.items():
        start = events.sources[name].log_starts or first_day(part)
        for event_type in part["event_type"].unique():
            if start is not None:
                starts[event_type] = max(start, starts.get(event_type, start))
    return dict(sorted(starts.items()))


def _notes(events: Events) -> tuple[str, ...]:
    notes = [datasets.NOTICES[events.adapter]] if events.adapter in datasets.NOTICES else []
    for name, place in events.attributes.items():
        if place.valid_from is None:
            notes.append(
                f"attributes '{name}' have no valid_from: used in segments and reports, refused as features "
                "(today's values would leak into past cutoffs)."
            )
        else:
            notes.append(f"attributes '{name}' are dated: kept for segments and reports; no feature reads them yet.")
    return tuple(notes)


def first_day(frame: pl.DataFrame) -> dt.date | None:
    """The day of the first event of a canonical frame, None without events."""
    first = frame["time"].min()
    return first.date() if isinstance(first, dt.datetime) else None


def _columns(frame: pl.DataFrame) -> frozenset[str]:
    """The optional columns that hold any value."""
    optional = (name for name in LOG_SCHEMA if name not in (*REQUIRED, "event_type"))
    return frozenset(name for name in optional if frame[name].null_count() < frame.height)


def _log(
    frame: pl.DataFrame,
    rules: Rules,
    starts: dict[str, dt.date],
    ends: dt.date | None,
    counts: tuple[Count, ...],
    attributes: dict[str, pl.DataFrame],
    notes: tuple[str, ...],
) -> Log:
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
