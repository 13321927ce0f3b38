"""The batch job: score everyone, write the files, and make it what the SQL table and the service answer with."""

from __future__ import annotations

import datetime as dt
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from itertools import chain
from pathlib import Path
from typing import Any

import polars as pl

from churn_clv import config, forgotten, scoretable, scoring
from churn_clv.ahead import Beside, ahead
from churn_clv.bundle import Bundle
from churn_clv.disk import alone, numbered
from churn_clv.pseudonym import id_key, key_name
from churn_clv.scoretable import Current
from churn_clv.scoring import Asked, Scored

Say = Callable[[str], None]


def table_url(settings: config.Config) -> str:
    """The table of scores: the environment first, then the config, then SQLite under ``out``."""
    given = os.environ.get(scoretable.ENVIRONMENT) or settings.service.scores
    return given or str(scoring.table_file(settings))


def score(
    settings: config.Config, bundle: Bundle, asked: Asked, fields: Sequence[str], say: Say, table: bool | None = True
) -> dict[str, Any]:  # fmt: skip
    """Score, and put the scoring into the table; returns the document of ``churn-clv score``. Waits for another one.

    ``fields`` are those of the service's answers. ``table``: None puts it there unless the table holds a later cutoff,
    True in any case, False never.
    """
    filling = _Filling(settings, bundle, fields, table)
    with alone(scoring.lock_file(settings), say), numbered(Path(settings.out)), filling:
        done = scoring.run(settings, bundle, asked, say, forgotten.without(settings), filling.give)
        held = filling.finish(done, say)
    told = {key: value for key, value in done.manifest.items() if key not in ("columns", "parts")}
    return told | {
        "path": str(done.folder), "files": [str(path) for path in scoring.parts_of(done.folder)], "csv": asked.csv,
        "already_scored": done.already, "changes": done.changes, "changes_asked": asked.changes, "table": held,
        "explained": done.reasons,
    }  # fmt: skip


class _Filling:
    """The table of scores, filled while the scoring's parts are written, and published once the scoring stands.

    A table that cannot be written does not keep the files from being written: its error comes with ``finish``.
    """

    def __init__(self, settings: config.Config, bundle: Bundle, fields: Sequence[str], wanted: bool | None) -> None:
        self._settings, self._bundle, self._fields, self._wanted = settings, bundle, fields, wanted
        self._url = table_url(settings)
        self._done: Future[Scored] = Future()
        self._work: Beside[pl.DataFrame, str] | None = None

    def __enter__(self) -> _Filling:
        return self

    def __exit__(self, *error: Any) -> None:
        if self._work is not None:
            self._done.cancel()
            self._work.__exit__(*error)

    def give(self, part: pl.DataFrame) -> None:
        """A part of the scoring, which need not stand yet."""
        if self._wanted is not False:
            if self._work is None:
                self._work = Beside(self._fill)
            self._work.give(part)

    def finish(self, done: Scored, say: Say) -> dict[str, Any]:
        """Publish the scoring, which stands now; returns where, whether it was, and why not."""
        shown = config.without_password(self._url)
        if self._wanted is False:
            return {"url": shown, "published": False, "why": "not asked for"}
        there = scoretable.current(self._url, self._settings.registered_name)
        if there is not None and there.scoring == done.manifest["sha256"]:
            return {"url": shown, "published": True, "why": "it was there already"}
        if why := self._against(there, dt.date.fromisoformat(done.manifest["cutoff"])):
            return {"url": shown, "published": False, "why": why}
        say(f"publishing to the table of scores ({shown})")
        if self._work is None:
            for path in scoring.parts_of(done.folder):
                self.give(pl.read_parquet(path))
        self._done.set_result(done)
        why = self._work.result() if self._work else "it has no part"
        return {"url": shown, "published": not why, "why": why}

    def _against(self, there: Current | None, cutoff: dt.date) -> str:
        """Why a scoring of ``cutoff`` is not to be put there; "" where it is."""
        if self._wanted is None and there is not None and there.cutoff > cutoff:
            return f"it holds a later cutoff, {there.cutoff} (--table overrides)"
        return ""

    def _fill(self, parts: Iterator[pl.DataFrame]) -> str:
        """Write the parts into the table; returns why not, where it is not wanted there."""
        first = next(parts)
        model = self._settings.registered_name
        if why := self._against(scoretable.current(self._url, model), first["cutoff"][0]):
            return why
        known = forgotten.keys(self._settings)
        frames = (
            scoretable.rows_of(frame, self._bundle, self._fields)
            for part in chain([first], parts)
            for frame in _slices(part)
        )
        unknown = scoretable.unknown_answer(first, self._bundle, self._fields)

        def told() -> Current:
            return self._told(self._done.result(), unknown, bool(known))

        scoretable.publish(self._url, model, self._settings.dataset, ahead(frames), told, sorted(known))
        return ""

    def _told(self, done: Scored, unknown: str, erased: bool) -> Current:
        settings, bundle = self._settings, self._bundle
        return Current(
            model=settings.registered_name,
            dataset=settings.dataset,
            scoring=done.manifest["sha256"],
            cutoff=dt.date.fromisoformat(done.manifest["cutoff"]),
            model_version=bundle.version,
            trained_through=bundle.trained_through,
            timezone=bundle.definitions.rules.timezone,
            stale_after_days=settings.service.stale_after_days,
            rows=done.manifest["rows"],
            scored_at=dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
            unknown=unknown,
            key=key_name(id_key(settings.out)) if erased else "",
        )


SLICE = 20_000


def _slices(part: pl.DataFrame) -> Iterator[pl.DataFrame]:
    """A part in slices: its answers as text are many times its size.

    The eligible apart from the others, of whom most columns are null: what is the same in all rows costs next to
    nothing to write.
    """
    for frame in part.iter_slices(SLICE):
        yield from frame.partition_by("eligible", maintain_order=True)
