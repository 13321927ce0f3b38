"""Who became champion, when, over whom, by whom and why: a record that is only ever added to.

Each move of the alias is one tag of the registered model, a key of its own with a JSON value, so that two people who
promote at once lose no record. It is written before the alias moves: a move without its reason cannot happen, and a
record whose move broke off is known by the next one's ``over``, or by where the alias stands.
"""

from __future__ import annotations

import datetime as dt
import getpass
import json
import os
import re
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace

from mlflow import MlflowClient

PREFIX = "move."
USER = "CHURN_CLV_USER"
MOST_LETTERS = 5000  # of a registered model's tag: the column's width in Postgres, where SQLite takes more
MOST_OF_NAME = 200
CUT = " ..."
WIDEST = 6  # letters of JSON that one of a reason takes at most
PROMOTE, ROLLBACK = "promote", "rollback"


@dataclass(frozen=True)
class Move:
    """One move of the alias ``champion``: to ``version``, from ``over`` (None: there was no champion).

    ``at`` is UTC, ISO 8601 to the microsecond. ``happened`` is not stored: ``told`` finds it out.
    """

    at: str
    move: str
    version: int
    over: int | None
    who: str
    why: str
    forced: bool
    bundle: str
    happened: bool = True


def who() -> str:
    """The user's name for the record: CHURN_CLV_USER first, then the system's."""
    given = os.environ.get(USER, "").strip()
    try:
        return (given or getpass.getuser())[:MOST_OF_NAME]
    except (KeyError, OSError):  # a container may run as a number without a name
        return f"uid {os.getuid()}"


def write(client: MlflowClient, name: str, move: Move) -> None:
    """Add one record; its key sorts by time and is nobody else's. A reason that is too long loses its end."""
    stamp = re.sub(r"[-:]|\+.*", "", move.at)
    client.set_registered_model_tag(name, f"{PREFIX}{stamp}.{secrets.token_hex(4)}", encoded(move))


def encoded(move: Move) -> str:
    """The record as JSON of at most ``MOST_LETTERS`` characters."""
    text, why = _json(move), move.why
    while why and (over := len(text) - MOST_LETTERS) > 0:
        why = why[: -max(1, over // WIDEST)]
        text = _json(replace(move, why=why + CUT))
    return text


def _json(move: Move) -> str:
    value = asdict(move)
    del value["happened"]
    plain = json.dumps(value, sort_keys=True, ensure_ascii=False)
    return plain.encode("utf-8", "replace").decode()  # a command line may hold bytes that are no letters


def next_instant(tags: Mapping[str, str]) -> str:
    """Now, or just after the latest record where this machine's clock is behind it."""
    now = dt.datetime.now(dt.UTC)
    if found := [move.at for move in _read(tags)]:
        now = max(now, dt.datetime.fromisoformat(max(found)) + dt.timedelta(microseconds=1))
    return now.isoformat(timespec="microseconds")


def told(tags: Mapping[str, str], now: int | None) -> list[Move]:
    """The records of a registered model's tags, oldest first; ``now`` is where the alias stands.

    A move happened where the next record starts from it, or, of the last one, where the alias stands there.
    """
    found = _read(tags)
    after = [*(move.over for move in found[1:]), now]
    return [replace(move, happened=move.version == start) for move, start in zip(found, after, strict=False)]


def reigned(moves: Sequence[Move], instant: dt.datetime) -> Move | None:
    """The move that had made the champion of an instant (with a zone); None before the first that is recorded."""
    before = [m for m in moves if m.happened and dt.datetime.fromisoformat(m.at) < instant]
    return before[-1] if before else None


def line(moves: Sequence[Move], now: int | None) -> list[int]:
    """The champions that a rollback would go back through, the present one last.

    A rollback takes out those it went back over, so that a second one goes further back and not forth again.
    """
    out: list[int] = []
    for move in (m for m in moves if m.happened):
        if move.over is not None and out[-1:] != [move.over]:
            out.append(move.over)  # before there were records, or moved on MLflow's page
        if move.move == ROLLBACK and move.version in out:
            del out[len(out) - out[::-1].index(move.version) :]
        else:
            out.append(move.version)
    return out if now is None or out[-1:] == [now] else [*out, now]


def _read(tags: Mapping[str, str]) -> list[Move]:
    return [Move(**json.loads(value)) for key, value in sorted(tags.items()) if key.startswith(PREFIX)]
