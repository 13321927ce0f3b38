"""The outbox: who was sent what by which campaign, once. SQLite, so that two senders at once write each line once.

A campaign is released as a whole, in one transaction, with the holdout beside the treated: what is measured later is
what was assigned here. Releasing the same plan again writes nothing; another plan under a used name is refused.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import hashlib
import json
import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from churn_clv.actions._contact import CONTACTS
from churn_clv.actions._plan import Plan
from churn_clv.actions._telling import TREATED
from churn_clv.disk import written
from churn_clv.errors import UserError

KEPT = (
    "customer_id", "action", "channel", "arm", "segment", "lapse", "value", "save_rate", "take_rate", "driven_away",
    "offer", "contact", "expected_profit", "margin_rate",
)  # fmt: skip
_TABLES = """
create table if not exists campaign (
  name text primary key, plan text not null, cutoff text not null, horizon_days integer not null,
  released_at text not null, document text not null);
create table if not exists assignment (
  campaign text not null references campaign(name), customer_id text not null, action text not null,
  channel text not null, arm text not null, segment text, lapse real, value real, save_rate real, take_rate real,
  driven_away real, offer real, contact real, expected_profit real, batch text, delivered_at text,
  margin_rate real,
  primary key (campaign, customer_id));
"""


@dataclass(frozen=True)
class Released:
    """What a release wrote: new lines of the treated and of the holdout; 0 and 0 when it had been released before."""

    treated: int
    holdout: int


@contextlib.contextmanager
def opened(path: Path) -> Iterator[sqlite3.Connection]:
    """The outbox, made where it is missing. Raises UserError for a file that is none."""
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with contextlib.closing(sqlite3.connect(path, timeout=30, isolation_level=None)) as database:
            database.executescript(_TABLES)
            _with_rates(database)
            yield database
    except sqlite3.DatabaseError as error:
        raise UserError(
            f"the outbox {path} cannot be used ({error}). Check the file, its rights and the disk."
        ) from None


def _with_rates(database: sqlite3.Connection) -> None:
    """An outbox of before there were margin rates gets their column, empty: its campaigns keep one share for all."""
    if "margin_rate" in (row[1] for row in database.execute("pragma table_info(assignment)")):
        return
    try:
        database.execute("alter table assignment add column margin_rate real")
    except sqlite3.OperationalError as error:  # another process was first
        if "duplicate column" not in str(error):
            raise


def contacts(path: Path, campaign: str) -> pl.DataFrame:
    """Contacts of all campaigns but this one: customer_id, day (the cutoff), channel."""
    if not path.exists():
        return pl.DataFrame(schema=CONTACTS)
    with opened(path) as database:
        rows = database.execute(
            "select customer_id, cutoff, a.channel from assignment a join campaign c on c.name = a.campaign"
            " where arm = ? and c.name <> ?",
            (TREATED, campaign),
        ).fetchall()
    return pl.DataFrame(
        [(who, dt.date.fromisoformat(day), channel) for who, day, channel in rows], schema=CONTACTS, orient="row"
    )


def release(path: Path, plan: Plan, batch: int) -> Released:
    """Write a plan's treated and holdout once. Raises UserError where the name stands for another plan."""
    rows = _assigned(plan)
    name, sha = plan.document["campaign"], identity(rows)
    with opened(path) as database:
        database.execute("begin immediate")
        try:
            found = database.execute("select plan from campaign where name = ?", (name,)).fetchone()
            if found is None:
                _insert(database, rows, plan.document, sha, batch)
            database.execute("commit")
        except BaseException:
            database.execute("rollback")
            raise
    _refuse_another(name, found, sha)
    new = rows if found is None else rows.clear()
    treated = new.filter(arm=TREATED).height
    return Released(treated, new.height - treated)


def check(path: Path, plan: Plan) -> None:
    """Raise UserError where the plan's name stands for another plan that was released."""
    if path.exists():
        with opened(path) as database:
            name = plan.document["campaign"]
            found = database.execute("select plan from campaign where name = ?", (name,)).fetchone()
        _refuse_another(name, found, identity(_assigned(plan)))


def identity(rows: pl.DataFrame) -> str:
    """A hash of who is assigned what."""
    told = rows.sort("customer_id").select("customer_id", "action", "arm").write_csv()
    return hashlib.sha256(told.encode()).hexdigest()


def campaigns(path: Path) -> list[dict[str, Any]]:
    """Every released campaign, earliest cutoff first: name, cutoff, horizon_days, document, rows (columns: KEPT)."""
    if not path.exists():
        return []
    with opened(path) as database:
        found = database.execute("select name, cutoff, horizon_days, document from campaign order by cutoff, name")
        out = []
        for name, cutoff, horizon, document in found.fetchall():
            query = f"select {', '.join(KEPT)} from assignment where campaign = ? order by customer_id"
            lines = database.execute(query, (name,)).fetchall()
            text = ("customer_id", "action", "channel", "arm", "segment")
            schema = {column: pl.String if column in text else pl.Float64 for column in KEPT}
            out.append(
                {
                    "name": name, "cutoff": dt.date.fromisoformat(cutoff), "horizon_days": horizon,
                    "document": json.loads(document), "rows": pl.DataFrame(lines, schema=schema, orient="row"),
                }
            )  # fmt: skip
    return out


def waiting(path: Path, campaign: str) -> list[tuple[str, list[dict[str, str]]]]:
    """Batches not delivered yet: (batch's key, its lines), the same after every restart."""
    with opened(path) as database:
        rows = database.execute(
            "select batch, customer_id, action, channel from assignment where campaign = ? and arm = ?"
            " and delivered_at is null order by batch, customer_id",
            (campaign, TREATED),
        ).fetchall()
    batches: dict[str, list[dict[str, str]]] = {}
    for batch, customer, action, channel in rows:
        batches.setdefault(batch, []).append({"customer_id": customer, "action": action, "channel": channel})
    return list(batches.items())


def delivered(path: Path, campaign: str, batch: str) -> None:
    """Note that a batch has arrived."""
    with opened(path) as database:
        database.execute(
            "update assignment set delivered_at = ? where campaign = ? and batch = ?", (_now(), campaign, batch)
        )


def forget(path: Path, customers: Sequence[str]) -> int:
    """Take customers out of every campaign; how many lines went. What a campaign did is measured without them."""
    if not path.exists():
        return 0
    with opened(path) as database:
        database.execute("begin immediate")
        rows = sum(
            database.execute("delete from assignment where customer_id = ?", (name,)).rowcount for name in customers
        )
        database.execute("commit")
        database.execute("vacuum")  # a deleted line's text would stay in the file
    return rows


def write_audiences(plan: Plan, place: Path) -> list[Path]:
    """``place``/<channel>/<action>.csv: customer_id, campaign, action, channel of the treated; the holdout nowhere."""
    out = []
    own = plan.frame.filter(arm=TREATED).select(
        "customer_id", pl.lit(plan.document["campaign"]).alias("campaign"), "action", "channel"
    )
    for (channel, action), rows in own.partition_by("channel", "action", as_dict=True).items():
        path = place / str(channel) / f"{action}.csv"
        path.parent.mkdir(parents=True, exist_ok=True)
        with written(path) as draft:
            rows.sort("customer_id").write_csv(draft)
        out.append(path)
    return sorted(out)


def _assigned(plan: Plan) -> pl.DataFrame:
    return plan.frame.filter(pl.col("arm").is_not_null()).sort("channel", "action", "customer_id")


def _refuse_another(name: str, found: tuple[str] | None, sha: str) -> None:
    if found is not None and found[0] != sha:
        raise UserError(
            f"campaign '{name}' was released before with other customers or actions; what it reached must stay "
            f"measurable. Give this plan a name of its own: --campaign NAME."
        )


def _insert(database: sqlite3.Connection, rows: pl.DataFrame, document: dict[str, Any], sha: str, batch: int) -> None:
    name = document["campaign"]
    database.execute(
        "insert into campaign values (?, ?, ?, ?, ?, ?)",
        (name, sha, document["cutoff"], document["horizon_days"], _now(), json.dumps(document, default=str)),
    )
    places = ", ".join("?" * (len(KEPT) + 2))
    lines = [(name, *row, f"{name}-{number // batch:06d}") for number, row in enumerate(rows.select(KEPT).iter_rows())]
    database.executemany(f"insert into assignment (campaign, {', '.join(KEPT)}, batch) values ({places})", lines)


def _now() -> str:
    return dt.datetime.now(dt.UTC).isoformat(timespec="seconds")
