"""Sources -> the log. Every event enters the system here: mapped, converted, checked, and each lost line counted."""

from __future__ import annotations

import datetime as dt
from typing import Any

import polars as pl

from churn_clv import datasets, mapping
from churn_clv.attributes import IdentityMap, read_attributes
from churn_clv.canonical import LOG_SCHEMA, Rules, arrange, canonical
from churn_clv.config import Config, Events, Source
from churn_clv.errors import UserError
from churn_clv.events._log import (
    Log,
    assembled,
    fingerprint,
    first_day,
    identify,
    last_time,
    narrowed,
    without_repeats,
)
from churn_clv.events._sources import check_places, check_sources, read_source
from churn_clv.policies import Count, at_or_after
from churn_clv.sources import Table, Tables
from churn_clv.text import reading

__all__ = [
    "LOG_SCHEMA",
    "Count",
    "Log",
    "Rules",
    "canonical",
    "check_places",
    "check_sources",
    "fingerprint",
    "first_day",
    "from_frame",
    "identify",
    "last_time",
    "narrowed",
    "read_log",
    "read_source",
    "rules_of",
    "to_polars",
    "without_repeats",
]


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
    return assembled(frame, rules, _starts(parts, events), events.ends, tuple(counts), attributes, _notes(events))


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
    return assembled(log, rules, known | (starts or {}), ends, tuple(counts), {}, ())


def rules_of(events: Events) -> Rules:
    """The rules by which a config's events are read."""
    money = events.currency, events.minor_units, events.zero_amount, events.negative_amount
    return Rules(events.timezone, *money, reading(events.text))


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


def _open(name: str, source: Source, tables: Tables) -> Table:
    return tables.open(f"events.sources.{name}", source, mapping.columns_used(source))


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
