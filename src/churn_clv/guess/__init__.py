"""From a user's own files to a commented config: what each column seems to be, and why.

Values of the data are never written, only the names and counts of columns; the exceptions are words of our own that
say purchase or return, and a currency's code.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from churn_clv.clock import to_local
from churn_clv.errors import UserError
from churn_clv.guess import _mapping
from churn_clv.guess._columns import Column, describe
from churn_clv.guess._read import LONG_LINES, Sample, read
from churn_clv.guess._roles import PERSONAL, Part, assign
from churn_clv.guess._write import entry, listed, note, scalar

__all__ = ["guess"]

# The horizon follows how often people buy: twice the median gap, at least the default, in whole weeks.
LEAST_HORIZON = 28
GAPS_PER_HORIZON = 2
FEWEST_GAPS = 30


@dataclass(frozen=True)
class File:
    """One file, or several with the same columns under one pattern, and what its columns seem to be."""

    pattern: str
    name: str
    sample: Sample
    columns: list[Column]
    parts: dict[str, Part]
    time_format: str | None
    format_evidence: str

    @property
    def has_events(self) -> bool:
        """Whether it has customers and times."""
        return {"customer_id", "time"} <= self.parts.keys()

    @property
    def has_purchases(self) -> bool:
        """Whether it has anything that goes with buying."""
        return bool(self.parts.keys() & {"amount", "unit_price", "order_id", "product_id", "quantity"})

    @property
    def is_table(self) -> bool:
        """Whether it is a table about customers: named ids, one line each (nearly), and nothing bought."""
        ids = self.parts.get("customer_id")
        return ids is not None and not ids.by_content and not self.has_purchases and ids.column.unique


def guess(paths: list[Path]) -> str:
    """A YAML text for ``config.load``, guessed from the first lines of CSV, Parquet or JSON Lines files.

    Each guess has its evidence as a comment; CHECK marks what a person must confirm. Raises UserError for a file that
    is missing, empty or cannot be read, and where no file has both a customer and a time.
    """
    if not paths:
        raise UserError("no file given. Name at least one CSV, Parquet or JSON Lines file with your customers' events.")
    files = _named(_grouped([read(Path(p)) for p in dict.fromkeys(paths)]))
    many = len(files) > 1
    tables = [f for f in files if f.is_table and (many or not f.has_events)]
    sources = [f for f in files if f.has_events and f not in tables]
    if not sources:
        raise UserError(_nothing_found(files))
    others = [f for f in files if f not in tables and f not in sources]
    lines = _head(files, sources)
    lines += [line for f in sources for line in _source(f, any(s.has_purchases for s in sources))]
    if tables:
        lines += [entry(1, "attributes")] + [line for f in tables for line in _attributes(f)]
    for f in others:
        names = listed([c.name for c in f.columns], 20)
        lines.append(
            note(1, f"{scalar(f.pattern)} is left out: neither dated events nor one line per customer ({names}).")
        )
    return "\n".join([*lines, "", *_timeline(sources)]) + "\n"


def _grouped(samples: list[Sample]) -> list[tuple[str, Sample]]:
    """Files with the same columns in one folder are one source: apart, the log would start with the latest of them."""
    groups: dict[Any, list[Sample]] = {}
    for s in samples:
        groups.setdefault((s.path.parent, s.format, s.separator, tuple(s.frame.columns)), []).append(s)
    out: list[tuple[str, Sample]] = []
    for group in groups.values():
        pattern = _pattern([s.path for s in group])
        out += [(pattern, group[0])] if pattern else [(str(s.path), s) for s in group]
    return out


def _pattern(paths: list[Path]) -> str | None:
    """A path, or a glob that matches these paths and no other file."""
    if len(paths) == 1:
        return str(paths[0])
    names = [p.name for p in paths]
    start = _common_start(names)
    end = _common_start([n[len(start) :][::-1] for n in names])[::-1]
    pattern = f"{start}*{end}"
    if set(re.findall(r"[\[\]?*]", str(paths[0]))) or set(paths[0].parent.glob(pattern)) != set(paths):
        return None
    return str(paths[0].parent / pattern)


def _common_start(names: list[str]) -> str:
    """The letters with which all names start."""
    first, last = min(names), max(names)
    same = next((i for i, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), min(len(first), len(last)))
    return first[:same]


def _named(files: list[tuple[str, Sample]]) -> list[File]:
    """Each file under a name of its own."""
    out: list[File] = []
    for pattern, sample in files:
        stem = Path(pattern).name.split(".")[0].lower()
        base = re.sub(r"[^a-z0-9]+", "_", stem).strip("_") or "events"
        taken = {f.name for f in out}
        name = next(n for n in (base, *(f"{base}_{i}" for i in range(2, len(files) + 2))) if n not in taken)
        columns = [describe(s) for s in sample.frame.get_columns()]
        parts = assign(columns)
        found = _day_or_month(sample, parts["time"].column) if "time" in parts else (None, "")
        out.append(File(pattern, name, sample, columns, parts, *found))
    return out


def _nothing_found(files: list[File]) -> str:
    """Why no file is a source of events."""
    parts = []
    for f in files:
        missing = [word for role, word in (("customer_id", "a customer id"), ("time", "a time")) if role not in f.parts]
        lacks = f"no column looks like {' or '.join(missing)}" if missing else "one line per customer and no purchases"
        parts.append(f"{f.pattern}: {lacks} (columns: {', '.join(c.name for c in f.columns[:20])})")
    return (
        "no event source found. " + "; ".join(parts) + ". Events need a customer and a time (ISO 8601, day and month "
        "in numbers or names, or seconds since 1970; not milliseconds). Write the map by hand: configs/default.yaml "
        "shows how."
    )


def _head(files: list[File], sources: list[File]) -> list[str]:
    zone, currency = _zone_comment(sources), _mapping.currency(sources[0].columns)
    read_ = [
        f"{scalar(f.pattern)} ({'all' if f.sample.whole else 'the first'} {f.sample.frame.height:,} lines)"
        for f in files
    ]
    return [
        note(0, "Guessed from " + ", ".join(read_) + "."),
        note(0, "CHECK marks what only you can know. Then run: churn-clv check THIS_FILE"),
        entry(0, "dataset", sources[0].name, "part of the model's name"),
        "",
        entry(0, "events"),
        entry(1, "timezone", "UTC", f"CHECK: {zone}"),
        entry(1, "currency", currency or "USD", f"CHECK: {_mapping.currency_comment(currency)}"),
        entry(1, "sources"),
    ]


def _zone_comment(sources: list[File]) -> str:
    times = [f.parts["time"].column for f in sources]
    if all(t.zoned for t in times):
        return "the zone of the business, such as Europe/Paris; the times name their offset and are converted to it"
    if not any(t.clocked for t in times):
        return "the zone of the business; the times are days without a clock, which no zone moves"
    return "the zone of the business, such as Europe/Paris; its midnights cut the days"


def _source(file: File, any_purchases: bool) -> list[str]:
    """One source's settings and map."""
    time = file.parts["time"].column
    lines = [entry(2, file.name), *_place(file, 3)]
    if time.time_format == "%s":
        lines.append(entry(3, "timezone", "UTC", "seconds since 1970 count in UTC"))
    elif time.clocked and not time.zoned:
        lines.append(
            note(3, "timezone: UTC   CHECK: set it if the times are written in another zone than events.timezone")
        )
    if file.time_format:
        lines.append(entry(3, "time_format", file.time_format, file.format_evidence))
    if any(part.column.commas for part in file.parts.values()):
        lines.append(entry(3, "decimal", ",", "numbers are written as 1.234,50"))
    if _mapping.currency_column(file.columns):
        lines.append(
            entry(3, "currency", _mapping.currency_column(file.columns), "a line in another currency is refused")
        )
    lines.append(entry(3, "map"))
    kind = None if file.has_purchases or not any_purchases else file.name
    mapped, used = _mapping.lines(file.parts, file.columns, kind)
    left = [c for c in file.columns if c.name not in used]
    lines += [4 * "  " + line for line in mapped]
    return lines + [note(4, f"not mapped: {scalar(c.name)} ({c.evidence})") for c in left]


def _place(file: File, depth: int) -> list[str]:
    """path, and format and separator where they are not the default."""
    lines = [entry(depth, "path", file.pattern)]
    if not file.sample.stated:
        lines.append(entry(depth, "format", file.sample.format, "the name does not tell it"))
    if file.sample.separator != ",":
        lines.append(entry(depth, "separator", file.sample.separator))
    return lines


def _attributes(file: File) -> list[str]:
    """A table about customers, without what names a person."""
    key = file.parts["customer_id"].column
    values = [c for c in file.columns if c.name != key.name and c.kind != "nested"]
    kept = [c.name for c in values if not any(word in c.key for word in PERSONAL)]
    dropped = [c.name for c in values if c.name not in kept]
    dates = [c.name for c in values if c.kind == "time"]
    lines = [entry(2, file.name), *_place(file, 3), entry(3, "customer_id", key.name, f"{key.evidence}{_others(file)}")]
    hint = f"CHECK: valid_from, if a column says since when the values hold ({listed(dates)}?)" if dates else (
        "without valid_from these serve segments and reports, not features"
    )  # fmt: skip
    lines += [note(3, hint), entry(3, "columns", kept)]
    return lines + ([note(3, f"left out as personal: {listed(dropped)}")] if dropped else [])


def _others(file: File) -> str:
    """Other columns that could be the customer."""
    others = file.parts["customer_id"].others
    return f"; or {listed(others)}" if others else ""


def _day_or_month(sample: Sample, time: Column) -> tuple[str | None, str]:
    """The time format, and what speaks for it; more lines are read where day and month could be swapped."""
    formats = [f for f in (time.time_format, time.either) if f]
    if not formats:
        return None, ""
    settled = "some days are above 12, which settles the order of day and month"
    if len(formats) == 1:
        return formats[0], settled if re.match(
            "%[dm][/.-]%[dm]", formats[0]
        ) else "at least 99 of 100 values tried are so"
    text = sample.columns(time.name).to_series().cast(pl.String).str.strip_chars()
    spans: dict[str, tuple[int, float]] = {}
    for f in formats:
        days = to_local(text, "UTC", None, f)[0].dt.date().drop_nulls()
        spans[f] = (days.len(), (days.max() - days.min()).days if days.len() else math.inf)  # type: ignore[operator, union-attr]
    best = max(formats, key=lambda f: (spans[f][0], -spans[f][1]))
    if len({n for n, _ in spans.values()}) > 1:
        return best, settled
    other = next(f for f in formats if f != best)
    return (
        best,
        f"CHECK: day and month could be swapped ({other} reads every line too); this order gives the shorter log",
    )


def _timeline(sources: list[File]) -> list[str]:
    """Horizon and population, from the gaps between a customer's purchase days."""
    buying = next((f for f in sources if f.has_purchases), sources[0])
    gaps, covered, lines = _gaps(buying)
    horizon, why = LEAST_HORIZON, "the default: too few repeated purchases in the lines read to tell"
    if gaps.len() >= FEWEST_GAPS:
        median = float(gaps.median() or 0)  # type: ignore[arg-type]
        horizon = 7 * math.ceil(max(LEAST_HORIZON, GAPS_PER_HORIZON * median) / 7)
        why = f"from the median of {gaps.len():,} gaps between purchase days, {median:.0f} days"
        most = 7 * (covered // 28)
        if lines < LONG_LINES and most < horizon:
            why += f", shortened to fit a log of {covered} days" if most else f"; the log has only {covered} days"
            horizon = most or horizon
    return [
        entry(0, "timeline"),
        entry(1, "horizon_days", horizon, f"{why}; `churn-clv check` judges it"),
        entry(0, "population"),
        entry(1, "active_within_days", 2 * horizon, "two horizons"),
    ]


def _gaps(file: File) -> tuple[pl.Series, int, int]:
    """Days between a customer's consecutive days in the log, the days that the lines cover, and how many were read."""
    customer, time = file.parts["customer_id"].column.name, file.parts["time"].column
    frame = file.sample.columns(*dict.fromkeys((customer, time.name)))
    local, _ = to_local(frame[time.name], "UTC", None, file.time_format)
    days = pl.DataFrame({"customer": frame[customer], "day": local.dt.date()})
    days = days.drop_nulls().unique().sort("customer", "day")
    if days.is_empty():
        return pl.Series([], dtype=pl.Int64), 0, frame.height
    gap = pl.col("day").diff().over("customer").dt.total_days()
    covered = (days["day"].max() - days["day"].min()).days + 1  # type: ignore[operator, union-attr]
    return days.select(gap)["day"].drop_nulls(), covered, frame.height
