"""One scoring from the sources to its files: in pieces, so that memory stays small and a kill costs one piece."""

from __future__ import annotations

import datetime as dt
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from churn_clv import config
from churn_clv.ahead import side_by_side
from churn_clv.bundle import Bundle
from churn_clv.disk import put_in_place, written
from churn_clv.errors import UserError
from churn_clv.explain import DEFAULT
from churn_clv.log_parts import LINES, Extent
from churn_clv.playbook import Actions, identity, recommend
from churn_clv.scoring import _assemble, _places
from churn_clv.scoring._changes import write_changes
from churn_clv.scoring._columns import columns
from churn_clv.scoring._past import Scoring, last_before, with_previous
from churn_clv.scoring._pieces import PIECE_EVENTS, Piece, gather
from churn_clv.scoring._reasons import write_reasons
from churn_clv.scoring._stored import MADE_BY, standing
from churn_clv.scoring._summary import Tally

Say = Callable[[str], None]
Look = Callable[[pl.DataFrame], None]
LOG = "log"
ABANDONED_AFTER_SECONDS = 7 * 86_400
PIECES_AT_ONCE = 3  # on two processors: two would leave some 15% of them waiting for Python [measured]


@dataclass(frozen=True)
class Asked:
    """What a scoring is to make, and in what portions (events a piece, rows a part, lines read at once).

    ``actions``: what may be done to customers; with it the best action of each is a column. ``reasons``: of how many
    customers, those most likely to lapse first; None: of all; 0: of none.
    """

    cutoff: dt.date | None = None
    csv: bool = False
    changes: bool = False
    again: bool = False
    reasons: int | None = 0
    language: str = DEFAULT
    actions: Actions | None = None
    piece_events: int = PIECE_EVENTS
    part_rows: int = _assemble.PART_ROWS
    lines: int = LINES


@dataclass(frozen=True)
class Scored:
    """A finished scoring: its folder and manifest, whether it was there already, changes and reasons if asked for."""

    folder: Path
    manifest: dict[str, Any]
    already: bool
    changes: dict[str, Any] | None
    reasons: dict[str, Any] | None = None


def run(
    settings: config.Config, bundle: Bundle, asked: Asked, say: Say, without: Callable[[pl.DataFrame], pl.DataFrame],
    look: Look = lambda _: None,
) -> Scored:  # fmt: skip
    """Score every known customer of the config's log at a cutoff (default: the log's end) and write it down.

    ``without`` takes out of a frame of events the customers who are not to be scored. Nothing changes where the same
    log was scored by the same model at the same cutoff, unless ``asked.again``. ``look`` is shown every part that is
    written, before the scoring stands; none where it stood already. The caller holds the data set's lock
    (``lock_file``). Raises UserError where the log cannot be read or does not fit the bundle, OSError where the disk is
    full: then what stood there before still stands.
    """
    work = _places.work_folder(settings)
    _places.mend(settings)
    with _swept(settings, work):
        pieces, extent = gather(settings, work / LOG, say, without, asked.piece_events, asked.lines)
        cutoff = asked.cutoff or extent.ends
        check(bundle, extent, cutoff)
        target = _places.scoring_folder(settings, cutoff, bundle.version)
        new, old = _places.aside(settings, target)
        known = None if asked.again else standing(target, extent.fingerprint)
        if known is not None and known["actions"] != (asked.actions and identity(asked.actions)):
            known = None
        already = known is not None
        if known is None:
            scored = work / f"{cutoff}-{target.name}-scored"
            made = _score_pieces(bundle, pieces, cutoff, scored, say)
            known = _write(settings, bundle, extent, cutoff, made, new, asked, say, look)
            put_in_place(new, target, old)
            shutil.rmtree(scored, ignore_errors=True)
        if asked.csv and not (target / _places.CSV).exists():
            with written(target / _places.CSV) as draft:
                _assemble.write_csv(_places.parts_of(target), draft)
        changes = _changes(settings, target, bundle, cutoff, asked) if asked.changes else None
        why = None
        if asked.reasons != 0:
            why = write_reasons(target, settings, bundle, pieces, cutoff, asked.reasons, asked.language, say)
        return Scored(target, known, already, changes, why)


@contextmanager
def _swept(settings: config.Config, work: Path) -> Iterator[None]:
    """Leave no copy of the log behind, nor what another scoring was killed in the middle of long ago.

    Scored pieces stay where a scoring broke off: the next one goes on from them.
    """
    shutil.rmtree(work / LOG, ignore_errors=True)
    try:
        yield
    finally:
        shutil.rmtree(work / LOG, ignore_errors=True)
        for path in work.glob("*"):
            if time.time() - path.stat().st_mtime > ABANDONED_AFTER_SECONDS:
                shutil.rmtree(path, ignore_errors=True)
        _places.mend(settings)
        with suppress(OSError):  # if nothing is left to go on from
            work.rmdir()
            work.parent.rmdir()


def check(bundle: Bundle, log: Extent, cutoff: dt.date) -> None:
    """Refuse a cutoff outside the log, and a log that is read by other rules, or begins later, than in training."""
    first, trained = min(log.starts.values()), bundle.definitions
    if cutoff > log.ends:
        raise UserError(f"cutoff {cutoff} lies after the log's end {log.ends}. Give a date up to then.")
    if cutoff <= first:
        raise UserError(f"cutoff {cutoff} lies before the first event ({first}): nobody is known.")
    if log.rules != trained.rules:
        raise UserError(
            f"the log is read as {log.rules}, and the model was trained on {trained.rules}. Use one config."
        )
    late = {k: day for k, day in log.starts.items() if k in trained.starts and day > trained.starts[k]}
    if late:
        kind, day = min(late.items())
        raise UserError(
            f"the log's {kind} events begin {day}, those of training {trained.starts[kind]}: windows that reach "
            f"further back would count too little. Give the whole history, or train on this log."
        )


def _score_pieces(bundle: Bundle, pieces: list[Piece], cutoff: dt.date, folder: Path, say: Say) -> list[Path]:
    """Each piece's scores in a file of ``folder``, named by the piece's content; those that are there are kept."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{place:05d}-{piece.name}.arrow" for place, piece in enumerate(pieces)]
    there = [path.exists() for path in paths]
    total, done, again = sum(piece.events for piece in pieces), 0, 0

    def score(place: int) -> int:
        if pieces[place].events and not there[place]:
            scores = bundle.score_log(pieces[place].frame(), cutoff)
            with written(paths[place]) as draft:
                scores.write_ipc(draft, record_batch_size=_assemble.BLOCK_ROWS)
        return place

    for place in side_by_side(score, range(len(pieces)), PIECES_AT_ONCE):
        done += pieces[place].events
        again += pieces[place].events * there[place]
        known = f", {again:,} of them before" if again else ""
        say(f"scoring: the customers of {done:,} of {total:,} events{known}")
    return [path for path, piece in zip(paths, pieces, strict=True) if piece.events]


def _write(
    settings: config.Config, bundle: Bundle, log: Extent, cutoff: dt.date, pieces: list[Path], folder: Path,
    asked: Asked, say: Say, look: Look,
) -> dict[str, Any]:  # fmt: skip
    """The finished scoring in ``folder``: parts, then the manifest; returns the manifest."""
    folder.mkdir(parents=True)
    before = _before(settings, bundle, cutoff)
    tally = Tally(bundle)
    heads: list[pl.Schema] = []

    def see(part: pl.DataFrame) -> None:
        tally.add(part)
        heads.append(part.schema)
        look(part)

    def finish(part: pl.DataFrame) -> pl.DataFrame:
        whole = with_previous(part, before)
        return whole if asked.actions is None else whole.hstack(
            recommend(asked.actions, whole, bundle.config.value.margin_share))  # fmt: skip

    parts = _assemble.write_parts(pieces, folder, finish, say, asked.part_rows, see)
    if not parts:
        raise UserError(f"nobody is known at {cutoff}: no event of the log lies before it. Give a later cutoff.")
    if asked.csv:
        _assemble.write_csv(_places.parts_of(folder), folder / _places.CSV)
    manifest = {
        "format": _places.FORMAT,
        **tally.told(),
        "dataset": settings.dataset,
        "model_name": settings.registered_name,
        "config_hash": settings.recipe_hash,
        "fingerprint": log.fingerprint,
        "events": log.events,
        "made_by": MADE_BY,
        "actions": asked.actions and identity(asked.actions),
        "previous": before and {"cutoff": before.cutoff.isoformat(), "model_version": before.version},
        "columns": [column.told() for column in columns(heads[0], bundle)],
        "parts": parts,
        "sha256": _assemble.checksum([folder / part["file"] for part in parts]),
    }
    _assemble.write_manifest(folder, manifest)
    return manifest


def _before(settings: config.Config, bundle: Bundle, cutoff: dt.date) -> Scoring | None:
    return last_before(_places.scores_folder(settings), cutoff, bundle.version, bundle.horizon_days)


def _changes(
    settings: config.Config, target: Path, bundle: Bundle, cutoff: dt.date, asked: Asked
) -> dict[str, Any] | None:
    before = _before(settings, bundle, cutoff)
    return None if before is None else write_changes(target, settings, before, asked.csv)
