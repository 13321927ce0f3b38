"""The batch job: score everyone, write the files, and make it what the SQL table and the service answer with."""

from __future__ import annotations

import datetime as dt
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from churn_clv import config, forgotten, scoretable, scoring
from churn_clv.ahead import ahead
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
    with alone(scoring.lock_file(settings), say), numbered(Path(settings.out)):
        done = scoring.run(settings, bundle, asked, say, forgotten.without(settings))
        held = _into_table(settings, bundle, done, fields, say, table)
    told = {key: value for key, value in done.manifest.items() if key not in ("columns", "parts")}
    return told | {
        "path": str(done.folder), "files": [str(path) for path in scoring.parts_of(done.folder)], "csv": asked.csv,
        "already_scored": done.already, "changes": done.changes, "changes_asked": asked.changes, "table": held,
        "explained": done.reasons,
    }  # fmt: skip


def _into_table(
    settings: config.Config, bundle: Bundle, done: Scored, fields: Sequence[str], say: Say, table: bool | None
) -> dict[str, Any]:
    """Publish a finished scoring; returns where, whether it was, and why not."""
    url = table_url(settings)
    shown = config.without_password(url)
    if table is False:
        return {"url": shown, "published": False, "why": "not asked for"}
    there = scoretable.current(url, settings.registered_name)
    own = dt.date.fromisoformat(done.manifest["cutoff"])
    if there is not None and there.scoring == done.manifest["sha256"]:
        return {"url": shown, "published": True, "why": "it was there already"}
    if table is None and there is not None and there.cutoff > own:
        return {"url": shown, "published": False, "why": f"it holds a later cutoff, {there.cutoff} (--table overrides)"}
    say(f"publishing to the table of scores ({shown})")
    parts = scoring.parts_of(done.folder)
    known = forgotten.keys(settings)
    current = Current(
        model=settings.registered_name,
        dataset=settings.dataset,
        scoring=done.manifest["sha256"],
        cutoff=own,
        model_version=bundle.version,
        trained_through=bundle.trained_through,
        timezone=bundle.definitions.rules.timezone,
        stale_after_days=settings.service.stale_after_days,
        rows=done.manifest["rows"],
        scored_at=dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
        unknown=scoretable.unknown_answer(pl.read_parquet(parts[0], n_rows=1), bundle, fields),
        key=key_name(id_key(settings.out)) if known else "",
    )
    frames = (scoretable.rows_of(frame, bundle, fields) for path in parts for frame in _slices(path))
    scoretable.publish(url, current, ahead(frames), sorted(known))
    return {"url": shown, "published": True, "why": ""}


SLICE = 20_000


def _slices(path: Path) -> Iterator[pl.DataFrame]:
    """A part in slices: its answers as text are many times its size.

    The eligible apart from the others, of whom most columns are null: what is the same in all rows costs next to
    nothing to write.
    """
    for frame in pl.read_parquet(path).iter_slices(SLICE):
        yield from frame.partition_by("eligible", maintain_order=True)
