"""The table in PostgreSQL, through pg8000 (BSD; extra ``sql``): rows keyed by scoring, and one row that points at it.

All of a scoring is one transaction: rows copied in, the pointer moved, the former rows deleted. Two at once of one
model wait for each other by an advisory lock.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import astuple, fields
from typing import Any

import polars as pl

from churn_clv.errors import UserError
from churn_clv.scoretable._address import Address
from churn_clv.scoretable._rows import COLUMNS, Current

LOCK = "churn_clv scores"
_SCORES = ", ".join(f"{name} {kind}" for name, kind in COLUMNS.items())
_FIELDS = [field.name for field in fields(Current)]
_TYPES = {"cutoff": "date", "trained_through": "date", "stale_after_days": "integer", "rows": "bigint"}
_CURRENT = ", ".join(f"{name} {_TYPES.get(name, 'text')} NOT NULL" for name in _FIELDS)
SCHEMA = (
    "CREATE SEQUENCE IF NOT EXISTS churn_clv_scoring_ids",
    f"CREATE TABLE IF NOT EXISTS churn_clv_scorings (id bigint NOT NULL UNIQUE, {_CURRENT}, PRIMARY KEY (model))",
    f"CREATE TABLE IF NOT EXISTS churn_clv_scores (scoring_id bigint NOT NULL, {_SCORES}, "
    "PRIMARY KEY (scoring_id, customer_id))",
    "CREATE INDEX IF NOT EXISTS churn_clv_by_risk ON churn_clv_scores (scoring_id, churn_probability)",
    "CREATE INDEX IF NOT EXISTS churn_clv_by_spend ON churn_clv_scores (scoring_id, expected_spend)",
    "CREATE TABLE IF NOT EXISTS churn_clv_erased (dataset text, customer_key text, "
    "PRIMARY KEY (dataset, customer_key))",
    "CREATE OR REPLACE VIEW churn_clv_current AS SELECT s.model, c.* FROM churn_clv_scores c "
    "JOIN churn_clv_scorings s ON s.id = c.scoring_id",
)  # fmt: skip


def publish(
    address: Address, model: str, dataset: str, frames: Iterable[pl.DataFrame], told: Callable[[], Current],
    erased: Sequence[str],
) -> None:  # fmt: skip
    """Replace the scoring of ``model`` in one transaction."""
    with _transaction(address) as run:
        _make(run)
        run("SELECT pg_advisory_xact_lock(hashtext(:a), hashtext(:b))", a=LOCK, b=model)
        own = run("SELECT nextval('churn_clv_scoring_ids')")[0][0]
        for frame in frames:
            text = io.BytesIO()
            frame.select(pl.lit(own), pl.all()).write_csv(text, include_header=False)
            text.seek(0)
            run("COPY churn_clv_scores FROM STDIN WITH (FORMAT csv)", stream=text)
        was = run("SELECT id FROM churn_clv_scorings WHERE model = :m", m=model)
        run("DELETE FROM churn_clv_scorings WHERE model = :m", m=model)
        names = ", ".join(_FIELDS)
        marks = ", ".join(f":{name}" for name in _FIELDS)
        values = dict(zip(_FIELDS, astuple(told()), strict=True))
        run(f"INSERT INTO churn_clv_scorings (id, {names}) VALUES (:id, {marks})", id=own, **values)
        if was:
            run("DELETE FROM churn_clv_scores WHERE scoring_id = :was", was=was[0][0])
        _remember(run, dataset, erased)


def forget(address: Address, dataset: str, ids: Sequence[str], keys: Sequence[str]) -> int:
    """Take customers out of a data set's scorings and remember their ``keys``; returns how many rows went."""
    with _transaction(address) as run:
        _make(run)
        for (model,) in run("SELECT model FROM churn_clv_scorings WHERE dataset = :d ORDER BY model", d=dataset):
            run("SELECT pg_advisory_xact_lock(hashtext(:a), hashtext(:b))", a=LOCK, b=model)
        of = "scoring_id IN (SELECT id FROM churn_clv_scorings WHERE dataset = :d)"
        gone = run(
            f"WITH gone AS (DELETE FROM churn_clv_scores WHERE {of} AND customer_id = ANY(:ids) RETURNING 1) "
            "SELECT count(*) FROM gone", d=dataset, ids=list(ids),
        )[0][0]  # fmt: skip
        if gone:
            run(
                "UPDATE churn_clv_scorings s SET rows = "
                "(SELECT count(*) FROM churn_clv_scores c WHERE c.scoring_id = s.id) WHERE dataset = :d",
                d=dataset,
            )
        _remember(run, dataset, keys)
    return int(gone)


def current(address: Address, model: str) -> Current | None:
    """What the table says of a model's current scoring; None where it has none."""
    with connected(address) as connection:
        if connection.run("SELECT to_regclass('churn_clv_scorings')")[0][0] is None:
            return None
        found = connection.run(f"SELECT {', '.join(_FIELDS)} FROM churn_clv_scorings WHERE model = :m", m=model)
    return Current(*found[0]) if found else None


def connect(address: Address, timeout: float | None = None) -> Any:
    """A pg8000 connection. Raises UserError without the driver; the driver's own errors pass.

    ``timeout``: seconds that a single answer of the server may take (None: any time).
    """
    try:
        import pg8000.native
    except ModuleNotFoundError:
        raise UserError(
            f"the table of scores {address.shown} needs the driver 'pg8000': install churn-clv[sql]."
        ) from None
    return pg8000.native.Connection(timeout=timeout, application_name="churn_clv", **dict(address.login))


@contextmanager
def connected(address: Address) -> Iterator[Any]:
    """A connection that is closed at the end."""
    connection = connect(address)
    try:
        yield connection
    finally:
        connection.close()


@contextmanager
def _transaction(address: Address) -> Iterator[Callable[..., Any]]:
    """Run statements in one transaction: all of them, or none."""
    with connected(address) as connection:
        connection.run("BEGIN")
        yield connection.run
        connection.run("COMMIT")


def _make(run: Callable[..., Any]) -> None:
    """The tables, made once; two that make them at once would break each other, whatever IF NOT EXISTS says."""
    if run("SELECT to_regclass('churn_clv_current')")[0][0] is None:
        run("SELECT pg_advisory_xact_lock(hashtext(:a))", a=LOCK)
        for statement in SCHEMA:
            run(statement)


def _remember(run: Callable[..., Any], dataset: str, keys: Sequence[str]) -> None:
    if keys:
        run(
            "INSERT INTO churn_clv_erased SELECT :d, unnest(CAST(:keys AS text[])) ON CONFLICT DO NOTHING",
            d=dataset, keys=list(keys),
        )  # fmt: skip
