"""A log in pieces of whole customers, on disk, so that no more than two or three are ever in memory.

Which piece a customer belongs to is a hash of the id: pieces are of one size whatever the ids look like. Content is
known by sums of the rows' hashes, which no order and no cut into pieces changes, as no score depends on these: a piece
scored before is known again, also after a kill, and a scoring by the log that it was made of.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import polars as pl

from churn_clv import config, events
from churn_clv.ahead import side_by_side
from churn_clv.canonical import LOG_SCHEMA, arrange
from churn_clv.errors import UserError
from churn_clv.log_parts import LINES, Extent, LogParts

PIECE_EVENTS = 500_000
Say = Callable[[str], None]
Without = Callable[[pl.DataFrame], pl.DataFrame]


@dataclass(frozen=True)
class Piece:
    """Some customers' whole histories in files: so many ``events``, whose content is ``sums``."""

    files: tuple[Path, ...]
    sums: tuple[int, int]
    events: int

    @property
    def name(self) -> str:
        """Sixteen hexadecimal digits of its content."""
        return _digest(self.events, self.sums)

    def frame(self) -> pl.DataFrame:
        """Its events in LOG_SCHEMA, in no order that means anything."""
        return _read(self.files)


@dataclass(frozen=True)
class _Part:
    """What a part of the log gave: its share of each piece, by the piece's place, and the time of its last event.

    ``identified``: its lines have event_ids, which other parts may repeat. Nothing else is known of these shares yet.
    """

    shares: dict[int, Piece]
    last: dt.datetime | None
    identified: bool


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
    spill = partial(_spill, folder=folder, number=number, without=without)
    spilled: list[_Part] = []
    total = 0
    for part in side_by_side(spill, enumerate(parts)):
        spilled.append(part)
        total += sum(share.events for share in part.shares.values())
        say(f"reading the log: {total:,} events")
    pieces = [_joined([part.shares[place] for part in spilled if place in part.shares]) for place in range(number)]
    lasts = [part.last for part in spilled if not part.identified]
    unsure = sorted({place for part in spilled if part.identified for place in part.shares})
    cut = partial(_cut, pieces=pieces, folder=folder, without=without)
    for done, (piece, latest) in enumerate(side_by_side(cut, unsure)):
        pieces[unsure[done]] = piece
        lasts.append(latest)
        say(f"cutting the log: {done + 1:,} of {len(unsure):,} pieces")
    last = max(filter(None, lasts), default=None)
    if last is None:
        raise UserError("the event log is empty: no line of its sources became an event. Check the sources.")
    ends = settings.events.ends or last.date() + dt.timedelta(days=1)
    starts, whole = parts.starts(), _joined(pieces)
    content = _digest(whole.events, whole.sums)
    return pieces, Extent(parts.rules, starts, ends, whole.events, events.identify(content, starts, ends))


def mark(log: events.Log, without: Without) -> str:
    """The fingerprint that ``gather`` gives the same log, of one held whole."""
    frame = _full(without(log.frame))
    return events.identify(_digest(frame.height, _content(frame)), log.starts, log.ends)


def _spill(numbered: tuple[int, pl.DataFrame], folder: Path, number: int, without: Without) -> _Part:
    """A part of the log in files, one for each piece that it has lines of."""
    part, lines = numbered
    identified = bool(lines["event_id"].count())
    frame = lines if identified else without(lines)  # of repeats, only all lines of a customer tell which one stays
    place = (frame["customer_id"].hash(1) % number).to_numpy().astype(np.min_scalar_type(number))
    held = [name for name in LOG_SCHEMA if frame[name].null_count() < frame.height]
    rows = frame.select(held)[np.argsort(place, kind="stable")]  # small integers: a radix sort
    counts = np.bincount(place, minlength=number)
    here = np.flatnonzero(counts)
    starts = (np.cumsum(counts) - counts)[here]
    sums = [_NOTHING] * len(here) if identified else _sums(rows, starts)
    shares: dict[int, Piece] = {}
    for piece, start, count, content in zip(here.tolist(), starts.tolist(), counts[here].tolist(), sums, strict=True):
        # A file each: to read a slice of one file costs as much as to read all of it. Compressed they are a fifth: to
        # copy what is written and read into fresh memory may cost more than the compression [measured].
        path = folder / f"lines-{piece:05d}-{part:05d}.arrow"
        rows.slice(start, count).write_ipc_stream(path, compression="lz4")
        shares[piece] = Piece((path,), content, count)
    return _Part(shares, events.last_time(lines), identified)


def _joined(shares: Iterable[Piece]) -> Piece:
    """All of some pieces as one."""
    files: list[Path] = []
    sums, count = _NOTHING, 0
    for share in shares:
        files += share.files
        sums = (sums[0] + share.sums[0]) % _WRAP, (sums[1] + share.sums[1]) % _WRAP
        count += share.events
    return Piece(tuple(files), sums, count)


def _cut(
    place: int, pieces: Sequence[Piece], folder: Path, without: Without
) -> tuple[Piece, dt.datetime | None]:  # fmt: skip
    """A piece without repeated events and the time of its last; written anew where these are not all of its lines."""
    files = pieces[place].files
    lines = _read(files)
    frame, _ = events.without_repeats(arrange(lines))  # which of two with one id comes first is told by the total order
    last = events.last_time(frame)
    frame = without(frame)
    if frame.height < lines.height:
        path = folder / f"piece-{place:05d}.arrow"
        frame.write_ipc_stream(path, compression="lz4")
        for old in files:
            old.unlink()
        files = (path,)
    return Piece(files, _content(frame), frame.height), last


def _content(frame: pl.DataFrame) -> tuple[int, int]:
    """The sums of a whole frame."""
    return _sums(frame, np.zeros(1, dtype=np.int64))[0] if frame.height else _NOTHING


def _sums(rows: pl.DataFrame, starts: np.ndarray) -> list[tuple[int, int]]:
    """Of the rows from each of ``starts`` to the next two sums modulo 2^64: of their hashes in LOG_SCHEMA, and of these
    hashes stirred once more: to hash the rows again would cost twenty times as much.

    Another Polars may hash otherwise; then what was scored is scored again.
    """
    first = _full(rows).hash_rows(1).to_numpy()
    second = (first ^ (first >> np.uint64(29))) * _STIR
    both = (np.add.reduceat(hashes, starts).tolist() for hashes in (first, second))
    return list(zip(*both, strict=True))


def _digest(rows: int, sums: Sequence[int]) -> str:
    return hashlib.sha256(f"{rows} rows {list(sums)}".encode()).hexdigest()[:16]


_WRAP = 1 << 64
_NOTHING = (0, 0)
_STIR = np.uint64(0xBF58476D1CE4E5B9)  # odd, so that no two hashes become one


def _read(files: Sequence[Path]) -> pl.DataFrame:
    """The rows of some files, in no order that means anything."""
    found = [pl.read_ipc_stream(path) for path in files]
    return _full(pl.concat(found, how="diagonal") if found else pl.DataFrame(schema=LOG_SCHEMA))


def _full(frame: pl.DataFrame) -> pl.DataFrame:
    """All columns of the log; those that were all empty are not written down."""
    return frame.select(
        pl.col(name) if name in frame.columns else pl.lit(None, dtype).alias(name) for name, dtype in LOG_SCHEMA.items()
    )
