"""The table, whichever database it is in: publish, forget, and the reader that the service keeps open."""

from __future__ import annotations

import datetime as dt
import os
import sqlite3
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Protocol

import polars as pl

from churn_clv.errors import UserError
from churn_clv.scoretable import _postgres, _sqlite
from churn_clv.scoretable._address import Address, address_of
from churn_clv.scoretable._rows import Current

_FIELDS = ", ".join(field.name for field in fields(Current))
READ_SECONDS = 5.0


class TableError(Exception):
    """The database does not answer, or not as it should; what it said is for the log, and holds no customer."""


def publish(
    url: str, model: str, dataset: str, frames: Iterable[pl.DataFrame], told: Callable[[], Current],
    erased: Sequence[str],
) -> None:  # fmt: skip
    """Replace a model's scoring by ``frames`` of ``rows_of``; ``erased`` are the keys of ids to answer ``erased`` to.

    ``told`` is asked once all frames are taken, so that they can be taken while they are made: it says what they are,
    of this model and data set. All of it or nothing, and nothing where ``frames`` or ``told`` raise. Raises UserError
    where the database cannot be reached or written, OSError on a full disk.
    """
    address = address_of(url)
    with _explained(address):
        if address.file:
            _sqlite.publish(address.file, model, dataset, frames, told, erased)
        else:
            _postgres.publish(address, model, dataset, frames, told, erased)


def forget(url: str, dataset: str, ids: Sequence[str], keys: Sequence[str]) -> int:
    """Take customers out of a data set's scorings, and remember their ``keys``; returns how many rows went."""
    address = address_of(url)
    with _explained(address):
        if address.file:
            return _sqlite.forget(address.file, dataset, ids, keys)
        return _postgres.forget(address, dataset, ids, keys)


def current(url: str, model: str) -> Current | None:
    """What the table says of a model's current scoring; None without a table or a scoring of it."""
    address = address_of(url)
    with _explained(address):
        if not address.file:
            return _postgres.current(address, model)
        if not address.file.exists():
            return None
        _sqlite.check(address.file)
        with closing(_sqlite.connect(address.file)) as connection:
            return _current(connection, model)


@contextmanager
def _explained(address: Address) -> Iterator[None]:
    """A database's error as one of the user's, without a password; a full disk stays what it is."""
    try:
        yield
    except sqlite3.Error as error:
        if error.sqlite_errorname == "SQLITE_FULL":
            raise OSError(28, "No space left on device", str(address.file)) from None
        raise UserError(f"the table of scores {address.shown}: {error}. Check the path, or name another.") from None
    except Exception as error:
        if type(error).__module__.split(".")[0] != "pg8000":
            raise
        raise UserError(
            f"the table of scores {address.shown}: {_said(error)} Check the address and that the server runs."
        ) from None


def _said(error: Exception) -> str:
    """The server's message without its details, which may quote a row."""
    told = error.args[0] if error.args else type(error).__name__
    text = str(told.get("M", told) if isinstance(told, Mapping) else told)
    return text if text.endswith(".") else text + "."


def _current(connection: sqlite3.Connection, model: str) -> Current | None:
    found = connection.execute(f"SELECT {_FIELDS} FROM churn_clv_scorings WHERE model = ?", (model,)).fetchone()
    return None if found is None else _typed(found)


def _typed(values: Sequence[Any]) -> Current:
    """A row of SQLite as a record: its text is bytes, its dates are text."""
    plain = [v.decode() if isinstance(v, bytes) else v for v in values]
    named: dict[str, Any] = dict(zip((field.name for field in fields(Current)), plain, strict=True))
    for name in ("cutoff", "trained_through"):
        named[name] = dt.date.fromisoformat(named[name])
    return Current(**named)


# --- reading -----------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Found:
    """The answers there are, as JSON by id, and the scoring that they are of (None: the table holds none)."""

    current: Current | None
    answers: Mapping[str, bytes]


class Reader(Protocol):
    """A table kept open. ``quick`` says that a lookup of one id is too short to be worth a thread."""

    quick: bool

    def find(self, model: str, ids: Sequence[str]) -> Found:
        """The answers to ``ids``, all of one scoring, the one that is current at this moment. Raises TableError."""

    def is_erased(self, dataset: str, key: str) -> bool:
        """Whether an id of this key was forgotten. Raises TableError."""


def open_reader(url: str) -> Reader:
    """A reader of the table at ``url``, which need not exist yet. Raises UserError for no address."""
    address = address_of(url)
    return _SqliteReader(address.file) if address.file else _PostgresReader(address)


class _SqliteReader:
    """Looks at the file's stamp on every call: another file is another scoring, opened at once, by each thread."""

    quick = True

    def __init__(self, file: Path) -> None:
        self._file, self._local = file, threading.local()

    def find(self, model: str, ids: Sequence[str]) -> Found:
        try:
            connection = self._connection()
            if connection is None:
                return Found(None, {})
            known = self._local.known.get(model)
            if known is None:
                known = self._local.known[model] = self._known(connection, model)
            own, current = known
            if current is None:
                return Found(None, {})
            ask = connection.execute
            rows = ((i, ask(_ONE, (own, i)).fetchone()) for i in dict.fromkeys(ids))
            return Found(current, {i: row[0] for i, row in rows if row is not None})
        except (sqlite3.Error, OSError) as error:
            self._local.stamp = None
            raise TableError(f"{type(error).__name__}: {error}") from None

    def is_erased(self, dataset: str, key: str) -> bool:
        try:
            connection = self._connection()
            found = connection and connection.execute(
                "SELECT 1 FROM churn_clv_erased WHERE dataset = ? AND customer_key = ?", (dataset, key)
            ).fetchone()  # fmt: skip
            return bool(found)
        except (sqlite3.Error, OSError) as error:
            raise TableError(f"{type(error).__name__}: {error}") from None

    def _connection(self) -> sqlite3.Connection | None:
        """This thread's, of the file that is there now; None without one."""
        local = self._local
        try:
            seen = os.stat(self._file)
        except FileNotFoundError:
            local.stamp = None
            return None
        stamp = (seen.st_ino, seen.st_mtime_ns, seen.st_size)
        if getattr(local, "stamp", None) != stamp:
            # The file may be replaced between the look and the opening: then the next call opens it again.
            local.connection, local.known, local.stamp = _sqlite.connect(self._file), {}, stamp
        connection: sqlite3.Connection = local.connection
        return connection

    @staticmethod
    def _known(connection: sqlite3.Connection, model: str) -> tuple[int, Current | None]:
        found = connection.execute("SELECT id FROM churn_clv_scorings WHERE model = ?", (model,)).fetchone()
        return (0, None) if found is None else (int(found[0]), _current(connection, model))


_ONE = "SELECT answer FROM churn_clv_scores WHERE scoring_id = ? AND customer_id = ?"


class _PostgresReader:
    """One connection a thread, opened when first needed and again after it broke."""

    quick = False

    def __init__(self, address: Address) -> None:
        self._address, self._local = address, threading.local()

    def find(self, model: str, ids: Sequence[str]) -> Found:
        for _ in range(2):  # a scoring may be replaced between the two statements
            rows = self._run(_FIND, model=model, ids=list(dict.fromkeys(ids)))
            if not rows:
                return Found(None, {})
            current = self._current(model, rows[0][0])
            if current is not None:
                return Found(current, {i: answer.encode() for _, i, answer in rows if i is not None})
        raise TableError("the scoring was replaced twice within one request")

    def is_erased(self, dataset: str, key: str) -> bool:
        return bool(self._run(_ERASED, dataset=dataset, key=key))

    def _current(self, model: str, own: int) -> Current | None:
        known: dict[str, tuple[int, Current]] = self._local.__dict__.setdefault("known", {})
        if model not in known or known[model][0] != own:
            rows = self._run(f"SELECT {_FIELDS} FROM churn_clv_scorings WHERE model = :model AND id = :own",
                             model=model, own=own)  # fmt: skip
            if not rows:
                return None
            known[model] = (own, Current(*rows[0]))
        return known[model][1]

    def _run(self, statement: str, **values: Any) -> Any:
        """Ask; a connection that has gone is opened again, once."""
        local = self._local.__dict__
        for attempt in range(2):
            try:
                if "connection" not in local:
                    local["connection"], local["prepared"] = _postgres.connect(self._address, READ_SECONDS), {}
                prepared = local["prepared"]
                if statement not in prepared:
                    prepared[statement] = local["connection"].prepare(statement)
                return prepared[statement].run(**values)
            except UserError as error:
                raise TableError(str(error)) from None
            except Exception as error:
                if (broken := local.pop("connection", None)) is not None:
                    _close(broken)
                if attempt:
                    raise TableError(f"{type(error).__name__} of the database") from None
        return None


_FIND = """SELECT s.id, c.customer_id, c.answer FROM churn_clv_scorings s LEFT JOIN churn_clv_scores c
ON c.scoring_id = s.id AND c.customer_id = ANY(CAST(:ids AS text[])) WHERE s.model = :model"""
_ERASED = "SELECT 1 FROM churn_clv_erased WHERE dataset = :dataset AND customer_key = :key"


def _close(connection: Any) -> None:
    try:
        connection.close()
    except Exception:
        return  # it is broken already
