"""The table as an SQLite file, replaced whole: written aside, flushed, renamed.

Readers open it as immutable: no lock, no journal, nothing written beside it, so a read-only disk will do, and a reader
that has the former file open goes on with it undisturbed. Nobody ever changes a file that others may read.
"""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import astuple, fields
from pathlib import Path
from urllib.parse import quote

import polars as pl

from churn_clv.disk import alone, written
from churn_clv.errors import UserError
from churn_clv.scoretable._rows import COLUMNS, DATE, FLAG, NUMBER, TEXT, WHOLE, Current

OURS = 0x43434C56  # PRAGMA application_id, "CCLV": what tells our file from another database
TYPES = {TEXT: "TEXT", DATE: "TEXT", FLAG: "INTEGER", NUMBER: "REAL", WHOLE: "INTEGER"}
BATCH = 10_000
PAGE_BYTES = 16_384  # a row is some 1,500 bytes: of SQLite's own 4,096 a part would stay empty
MAPPED_BYTES = 1 << 32
OWN = ("customer_id", "answer")  # every row's own, even where there is one row
_SCORES = ", ".join(f"{name} {TYPES[kind]}" for name, kind in COLUMNS.items())
_CURRENT = ", ".join(field.name for field in fields(Current))
SCHEMA = f"""
CREATE TABLE churn_clv_scorings (id INTEGER PRIMARY KEY, {_CURRENT.replace("model,", "model TEXT UNIQUE,", 1)});
CREATE TABLE churn_clv_scores (scoring_id INTEGER NOT NULL, {_SCORES});
CREATE TABLE churn_clv_erased (dataset TEXT, customer_key TEXT, PRIMARY KEY (dataset, customer_key)) WITHOUT ROWID;
CREATE VIEW churn_clv_current AS SELECT s.model, c.* FROM churn_clv_scores c
  JOIN churn_clv_scorings s ON s.id = c.scoring_id;
"""
INDEXES = """
CREATE UNIQUE INDEX churn_clv_by_customer ON churn_clv_scores (scoring_id, customer_id);
CREATE INDEX churn_clv_by_risk ON churn_clv_scores (scoring_id, churn_probability);
CREATE INDEX churn_clv_by_spend ON churn_clv_scores (scoring_id, expected_spend);
"""


def publish(
    file: Path, model: str, dataset: str, frames: Iterable[pl.DataFrame], told: Callable[[], Current],
    erased: Sequence[str],
) -> None:  # fmt: skip
    """Replace the scoring of ``model``; other models' in the same file stay."""
    with _replaced(file) as (draft, before):
        draft.executescript(SCHEMA)
        draft.execute("BEGIN")
        if before:
            _carry(draft, model, dataset)
        own = draft.execute("SELECT coalesce(max(id), 0) + 1 FROM churn_clv_scorings").fetchone()[0]
        for frame in frames:
            plain = frame.with_columns(pl.col(pl.Date).cast(pl.String), pl.col(pl.Boolean).cast(pl.Int8))
            for part in plain.iter_slices(BATCH):
                _insert(draft, own, part)
        draft.execute("COMMIT")
        draft.executescript(INDEXES)
        marks = ", ".join("?" * len(fields(Current)))
        draft.execute(f"INSERT INTO churn_clv_scorings (id, {_CURRENT}) VALUES (?, {marks})", (own, *_values(told())))
        draft.executemany("INSERT OR IGNORE INTO churn_clv_erased VALUES (?, ?)", [(dataset, key) for key in erased])


def _insert(draft: sqlite3.Connection, own: int, part: pl.DataFrame) -> None:
    """Rows of a scoring. What is the same in all of them stands in the statement: to hand a value over costs most."""
    same = {name: None if name in OWN else _literal(part[name]) for name in part.columns}
    marks = ", ".join([str(own), *(told or "?" for told in same.values())])
    varying = part.select(name for name, told in same.items() if told is None)
    # Row by row as they are taken: a list of tuples costs half as much again, most of it the garbage collector's.
    rows = zip(*(column.to_list() for column in varying.get_columns()), strict=True)
    draft.executemany(f"INSERT INTO churn_clv_scores VALUES ({marks})", rows)


def _literal(column: pl.Series) -> str | None:
    """A text, a whole number or null that all rows have, as SQL writes it; None where they differ.

    Not of fractions: SQLite reads the last digits of some otherwise than they were written.
    """
    if column.null_count() == len(column):
        return "NULL"
    if column.dtype.is_float() or column.null_count() or (column != column[0]).any():
        return None
    told = str(column[0])
    return told if column.dtype.is_integer() else None if "\0" in told else "'" + told.replace("'", "''") + "'"


def _carry(draft: sqlite3.Connection, model: str, dataset: str) -> None:
    """Copy the other models' scorings, and whom they have forgotten, from the file that is replaced."""
    kept = draft.execute("SELECT id FROM old.churn_clv_scorings WHERE model <> ?", (model,)).fetchall()
    for (number,) in kept:
        for table, column in (("churn_clv_scorings", "id"), ("churn_clv_scores", "scoring_id")):
            draft.execute(f"INSERT INTO {table} SELECT * FROM old.{table} WHERE {column} = ?", (number,))
    draft.execute("INSERT INTO churn_clv_erased SELECT * FROM old.churn_clv_erased WHERE dataset <> ?", (dataset,))


def _values(current: Current) -> tuple[object, ...]:
    return tuple(str(v) if not isinstance(v, int | str) else v for v in astuple(current))


def forget(file: Path, dataset: str, ids: Sequence[str], keys: Sequence[str]) -> int:
    """Take customers out of a data set's scorings and remember their ``keys``; returns how many rows went.

    In a copy that replaces the file, and overwritten there, not only unlinked.
    """
    if not file.exists():
        return 0
    gone = 0
    with _replaced(file, copy=True) as (draft, _):
        draft.execute("PRAGMA secure_delete = ON")
        draft.execute("BEGIN")
        of = "scoring_id IN (SELECT id FROM churn_clv_scorings WHERE dataset = ?)"
        for name in ids:
            found = draft.execute(f"DELETE FROM churn_clv_scores WHERE {of} AND customer_id = ?", (dataset, name))
            gone += found.rowcount
        counted = "UPDATE churn_clv_scorings SET rows = (SELECT count(*) FROM churn_clv_scores WHERE scoring_id = id)"
        draft.execute(counted)
        draft.executemany("INSERT OR IGNORE INTO churn_clv_erased VALUES (?, ?)", [(dataset, key) for key in keys])
        draft.execute("COMMIT")
        draft.execute("VACUUM")
    return gone


@contextmanager
def _replaced(file: Path, copy: bool = False) -> Iterator[tuple[sqlite3.Connection, bool]]:
    """A connection to a draft that takes the file's place at the end, and whether there was one before (as ``old``)."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with alone(file.with_name(f".{file.name}.lock"), lambda _: None), written(file) as draft:
        before = file.exists()
        if before:
            check(file)
        if copy:
            shutil.copyfile(file, draft)
        with closing(sqlite3.connect(draft, isolation_level=None)) as connection:
            # A draft that breaks off is thrown away: it needs no journal.
            connection.execute(f"PRAGMA page_size = {PAGE_BYTES}")
            connection.execute("PRAGMA journal_mode = OFF")
            connection.execute("PRAGMA synchronous = OFF")
            connection.execute(f"PRAGMA application_id = {OURS}")
            if before and not copy:
                connection.execute("ATTACH ? AS old", (str(file),))
            yield connection, before
            if before and not copy:
                connection.execute("DETACH old")
        draft.chmod(0o644)


def check(file: Path) -> None:
    """Refuse a database that is not ours: it would be replaced."""
    try:
        with closing(connect(file)) as connection:
            found = connection.execute("PRAGMA application_id").fetchone()[0]
    except sqlite3.Error as error:
        raise UserError(
            f"{file} cannot be read as a table of scores: {error}. Move it away, or name another."
        ) from None
    if found != OURS:
        raise UserError(f"{file} is another database, not a table of scores. Name a file of its own (service.scores).")


def connect(file: Path) -> sqlite3.Connection:
    """A connection that only reads, and takes nothing but the file. Text comes as bytes."""
    place = f"file:{quote(str(file.absolute()))}?mode=ro&immutable=1"
    connection = sqlite3.connect(place, uri=True, check_same_thread=False, isolation_level=None)
    connection.text_factory = bytes
    connection.execute(f"PRAGMA mmap_size = {MAPPED_BYTES}")
    return connection
