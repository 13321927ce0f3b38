"""A log in pieces of whole customers, on disk, so that no more than two or three are ever in memory.

Which piece a customer belongs to is a hash of the id: pieces are of one size whatever the ids look like. Content is
known by sums of the rows' hashes, which no order and no cut into pieces changes, as no score depends on these: a piece
scored before is known again, also after a kill, and a scoring by the log that it was made of.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import polars as pl

from churn_clv import config, events
from churn_clv.ahead import ahead, side_by_side
from churn_clv.canonical import LOG_SCHEMA, arrange
from churn_clv.errors import UserError
from churn_clv.log_parts import LINES, Extent, LogParts

PIECE_EVENTS = 500_000
Say = Callable[[str], None]
Without = Callable[[pl.DataFrame], pl.DataFrame]


@dataclass(frozen=True)
class Piece:
    """Some customers' whole histories in files; ``customers`` and ``events`` count them, ``sums`` are its content."""

    files: tuple[Path, ...]
    sums: tuple[int, int]
    customers: int
    events: int

    @property
    def name(self) -> str:
        """Sixteen hexadecimal digits of its content."""
        return _digest(self.events, self.sums)

    def frame(self) -> pl.DataFrame:
        """Its events in LOG_SCHEMA, in no order that means anything."""
        return _read(self.files)


def gather(
    settings: config.Config, folder: Path, say: Say, without: Without, piece_events: int = PIECE_EVENTS,
    lines: int = LINES,
) -> tuple[list[Piece], Extent]:  # fmt: skip
    """Read the config's sources once into pieces of about ``piece_events`` events under ``folder``.

    ``without`` takes out of a frame the customers who are not to be known. Raises UserError as ``events.read_log``.
    """
    parts = LogParts(settings, lines)
    number = max(1, math.ceil(parts.estimate() / piece_events))
    folder.mkdir(parents=True, exist_ok=True)
    spilled = _spill(parts, folder, number, say)
    pieces: list[Piece] = []
    last: dt.datetime | None = None
    cut = partial(_cut, spilled=spilled, folder=folder, without=without)
    for piece, latest in side_by_side(cut, range(number)):
        pieces.append(piece)
        say(f"cutting the log: {len(pieces):,} of {number:,} pieces")
        last = max(filter(None, (last, latest)), default=None)
    if last is None:
        raise UserError("the event log is empty: no line of its sources became an event. Check the sources.")
    ends = settings.events.ends or last.date() + dt.timedelta(days=1)
    starts, total = parts.starts(), sum(piece.events for piece in pieces)
    content = _digest(total, [sum(sums) % _WRAP for sums in zip(*(piece.sums for piece in pieces), strict=True)])
    return pieces, Extent(parts.rules, starts, ends, total, events.identify(content, starts, ends))


def mark(log: events.Log, without: Without) -> str:
    """The fingerprint that ``gather`` gives the same log, of one held whole."""
    frame = _full(without(log.frame))
    return events.identify(_digest(frame.height, _sums(frame)), log.starts, log.ends)


def _spill(parts: LogParts, folder: Path, number: int, say: Say) -> list[list[Path]]:
    """For each piece the files of its lines, one of each part of the log that has any."""
    out: list[list[Path]] = [[] for _ in range(number)]
    total = 0
    for part, frame in enumerate(ahead(parts)):
        total += frame.height
        say(f"reading the log: {total:,} events")
        place = (frame["customer_id"].hash(1) % number).to_numpy().astype(np.min_scalar_type(number))
        held = [name for name in LOG_SCHEMA if frame[name].null_count() < frame.height]
        rows, start = frame.select(held)[np.argsort(place, kind="stable")], 0  # small integers: a radix sort
        for piece, count in enumerate(np.bincount(place, minlength=number).tolist()):
            if count:  # a file each: to read a slice of one file costs as much as to read all of it
                out[piece].append(folder / f"lines-{piece:05d}-{part:05d}.arrow")
                rows.slice(start, count).write_ipc_stream(out[piece][-1])
                start += count
    return out


def _cut(
    place: int, spilled: list[list[Path]], folder: Path, without: Without
) -> tuple[Piece, dt.datetime | None]:  # fmt: skip
    """One piece and the time of its last event; written anew only where it is not all of its lines."""
    files = tuple(spilled[place])
    frame = lines = _read(files)
    if frame["event_id"].count():  # which of two with one id comes first is told by the total order
        frame, _ = events.without_repeats(arrange(frame))
    last = events.last_time(frame)
    frame = without(frame)
    if frame.height < lines.height:
        path = folder / f"piece-{place:05d}.arrow"
        frame.write_ipc_stream(path)
        for old in files:
            old.unlink()
        files = (path,)
    return Piece(files, _sums(frame), frame["customer_id"].n_unique(), frame.height), last


def _sums(frame: pl.DataFrame) -> tuple[int, int]:
    """Two sums of the hashes of a frame's rows in LOG_SCHEMA, modulo 2^64.

    Another Polars may hash otherwise; then what was scored is scored again.
    """
    rows = frame.select(*LOG_SCHEMA)
    first, second = (int(rows.hash_rows(seed).to_numpy().sum(dtype=np.uint64)) for seed in (1, 2))
    return first, second


def _digest(rows: int, sums: Sequence[int]) -> str:
    return hashlib.sha256(f"{rows} rows {list(sums)}".encode()).hexdigest()[:16]


_WRAP = 1 << 64


def _read(files: Sequence[Path]) -> pl.DataFrame:
    """The rows of some files, in no order that means anything."""
    found = [pl.read_ipc_stream(path) for path in files]
    return _full(pl.concat(found, how="diagonal") if found else pl.DataFrame(schema=LOG_SCHEMA))


def _full(frame: pl.DataFrame) -> pl.DataFrame:
    """All columns of the log; those that were all empty are not written down."""
    return frame.select(
        pl.col(name) if name in frame.columns else pl.lit(None, dtype).alias(name) for name, dtype in LOG_SCHEMA.items()
    )
