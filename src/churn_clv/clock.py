"""Time zones: whatever a source writes becomes naive time in the business's own zone."""

from __future__ import annotations

import datetime as dt
import re
import zoneinfo
from functools import lru_cache

import polars as pl

from churn_clv.errors import UserError, nearest

Read = tuple[pl.Series, pl.Series]
LOCAL = pl.Datetime("us")
EARLIEST, LATEST = dt.datetime(1900, 1, 1), dt.datetime(2200, 1, 1)
_FIRST, _LAST = ((end - dt.datetime(1970, 1, 1)) // dt.timedelta(microseconds=1) for end in (EARLIEST, LATEST))
_ISO = (
    r"^(?<day>[0-9]{4}-[0-9]{2}-[0-9]{2})(?:[ T](?<clock>[0-9]{2}:[0-9]{2}(?::[0-9]{2}(?:\.[0-9]+)?)?))?"
    r"\s*(?<offset>Z|[+-][0-9]{2}:?[0-9]{2})?$"
)
# What most callers write: nothing to be told apart, and no fraction of a second.
_WHOLE = re.compile(r"^[0-9]{4}-[0-9]{2}-[0-9]{2}[ T][0-9]{2}:[0-9]{2}:[0-5][0-9]$")
_HOURS = re.compile(r"%[-_0]?[HIkrRTXcs+]")


@lru_cache(maxsize=64)
def check_zone(zone: str, key: str = "timezone") -> str:
    """Return ``zone`` if Polars knows it. Raises UserError with the nearest known name."""
    try:
        if not zone:
            raise pl.exceptions.ComputeError("an empty zone is none to Polars")
        pl.Series([dt.datetime(2000, 1, 1)]).dt.replace_time_zone(zone)
    except pl.exceptions.PolarsError:
        hint = nearest(zone, zoneinfo.available_timezones()) if len(zone) > 3 else ""
        raise UserError(f"{key}: unknown time zone '{zone}'.{hint} Use an IANA name such as Europe/London.") from None
    return zone


def to_local(values: pl.Series, zone: str, source_zone: str | None = None, time_format: str | None = None) -> Read:
    """Times as naive microseconds in ``zone``, null where they cannot be read; and a mark on those that were moved.

    ``source_zone`` is the zone of values that name none (default: ``zone``). A date alone is the local midnight of
    that date, whatever the source's zone; an offset in a text or a zone in the type wins over ``source_zone``.
    Of a time that the source's clock showed twice the earlier one is taken; one that it skipped is moved one hour
    forward and marked. Years outside 1900 to 2199 are unreadable: they stand for "unknown" or "never".

    Raises UserError where the type holds no time.
    """
    local, moved = _read(values, zone, source_zone or zone, time_format)
    micros = local.cast(pl.Int64)
    # In microseconds: Python has no year 0, and asking for the few that lie outside costs more than for the ends.
    low, high = (end if isinstance(end, int) else None for end in (micros.min(), micros.max()))
    if low is not None and high is not None and (low < _FIRST or high >= _LAST):
        local = local.set(~local.is_between(EARLIEST, LATEST, closed="left"), None)
    return local, moved


def _read(values: pl.Series, zone: str, source_zone: str, time_format: str | None) -> Read:
    dtype = values.dtype
    if time_format is not None and not dtype.is_temporal():
        return _by_format(values.cast(pl.String).str.strip_chars(), time_format, source_zone, zone)
    if dtype in (pl.Date, pl.Null):
        return _unmoved(values.cast(LOCAL))
    if isinstance(dtype, pl.Datetime):
        if dtype.time_zone is not None:
            return _unmoved(_drop_zone(values, zone))
        return _convert(values.cast(LOCAL), source_zone, zone)
    if dtype == pl.String:
        return _iso(values, source_zone, zone)
    raise UserError(
        f"time is {dtype}; expected a date, a time or text. For numbers like 20240131 give time_format: '%Y%m%d'."
    )


def _unmoved(local: pl.Series) -> Read:
    return local, pl.Series([False], dtype=pl.Boolean).new_from_index(0, local.len())


def _drop_zone(aware: pl.Series, zone: str) -> pl.Series:
    return aware.dt.convert_time_zone(zone).dt.replace_time_zone(None).cast(LOCAL)


def _convert(naive: pl.Series, source_zone: str, zone: str) -> Read:
    if source_zone == zone:
        return _unmoved(naive)
    placed = _place(naive, source_zone)
    moved = placed.is_null() & naive.is_not_null()
    if moved.any():
        placed = placed.zip_with(~moved, _place(naive + dt.timedelta(hours=1), source_zone))
    return _drop_zone(placed, zone), moved


def _place(naive: pl.Series, zone: str) -> pl.Series:
    return naive.dt.replace_time_zone(zone, ambiguous="earliest", non_existent="null")


def _by_format(text: pl.Series, time_format: str, source_zone: str, zone: str) -> Read:
    if "%z" in time_format:
        aware = text.str.to_datetime(time_format, time_unit="us", time_zone="UTC", strict=False)
        return _unmoved(_drop_zone(aware, zone))
    naive = text.str.to_datetime(time_format, time_unit="us", strict=False)
    return _convert(naive, source_zone, zone) if _HOURS.search(time_format) else _unmoved(naive)


def _iso(text: pl.Series, source_zone: str, zone: str) -> Read:
    """ISO 8601, value by value: a date, a local time, or a time with an offset (which may all stand in one column)."""
    if (whole := _all_whole(text)) is not None:
        return _convert(whole, source_zone, zone)
    # Few calls: each costs as much as hundreds of values, and a request has forty.
    parts = text.to_frame().select(pl.first().str.strip_chars().str.extract_groups(_ISO)).to_series().struct.unnest()
    clock, offset = pl.col("clock"), parts["offset"]
    seconds = pl.when(clock.str.len_bytes() > len("00:00")).then(clock).otherwise(clock + ":00")
    written = pl.col("day") + " " + seconds
    # Reading fractions takes four times as long; a 60th second is read only by the way that reads them.
    fractions = parts.select(clock.str.contains(r"[.]|:60").any()).item()
    naive, alone = parts.select(
        naive=written.str.to_datetime(f"%Y-%m-%d %H:%M:%S{'%.f' * fractions}", time_unit="us", strict=False),
        alone=pl.when(clock.is_null() & pl.col("offset").is_null()).then(
            pl.col("day").str.to_date("%Y-%m-%d", strict=False).cast(LOCAL)
        ),
    ).get_columns()
    local, moved = _convert(naive, source_zone, zone)
    if offset.null_count() < offset.len():
        utc = (naive - _duration(offset)).dt.replace_time_zone("UTC")
        local, moved = local.zip_with(offset.is_null(), _drop_zone(utc, zone)), moved & offset.is_null()
    if alone.null_count() < alone.len():
        local = local.zip_with(alone.is_null(), alone)
    return local, moved


def _all_whole(text: pl.Series) -> pl.Series | None:
    """Times of a column where every text is a whole one, as ``_WHOLE`` has them; None where some are not."""
    first = text.first()
    if not isinstance(first, str) or not _WHOLE.fullmatch(first):
        return None
    each = pl.nth(0)
    moment = each.str.slice(0, 10) + " " + each.str.slice(11)
    whole, read = (
        text.to_frame()
        .select(
            whole=each.str.contains(_WHOLE.pattern).all(),
            read=moment.str.to_datetime("%Y-%m-%d %H:%M:%S", time_unit="us", strict=False),
        )
        .get_columns()
    )
    return read.rename(text.name) if whole[0] else None


def _duration(offset: pl.Series) -> pl.Series:
    """'Z', '+02:00' or '-0530' as a duration."""
    digits = offset.str.replace(":", "", literal=True).replace("Z", "+0000")
    hours, minutes = (digits.str.slice(start, 2).cast(pl.Int64, strict=False) for start in (1, 3))
    ahead = hours * 60 + minutes
    signed = ahead.zip_with(digits.str.starts_with("+"), -ahead)
    return (signed * 60_000_000).cast(pl.Duration("us"))
