"""One source to its events: checked before a file is opened, converted, judged, and each lost line counted."""

from __future__ import annotations

import polars as pl

from churn_clv import mapping
from churn_clv.attributes import IdentityMap
from churn_clv.canonical import Rules, apply_policies, to_types
from churn_clv.clock import check_zone
from churn_clv.config import Events, Source
from churn_clv.errors import UserError
from churn_clv.policies import Count, Sieve, judge_currency, judge_lines, judge_values, without_float_ids
from churn_clv.sources import Table, Tables
from churn_clv.text import TEXT


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
