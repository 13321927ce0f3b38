"""The table of scores in Debian's Postgres, started here on loopback; skipped where there is none, or no driver."""

from __future__ import annotations

import datetime as dt
import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import shop
import tiny
from tiny import Client

from churn_clv import forgetting, scoretable
from churn_clv.bundle import Bundle
from churn_clv.cli._score import stored_environment
from churn_clv.errors import UserError
from churn_clv.scoretable import TableError, _postgres, address_of
from churn_clv.service.app import create_app
from churn_clv.service.bento import gated
from churn_clv.service.holder import Holder, Loaded
from tests.check.test_postgres import postgres as postgres  # the server's fixture

pytestmark = pytest.mark.check
NOW = dt.datetime(2024, 6, 4, 12, tzinfo=dt.UTC)
EARLIER = tiny.TRAINED_THROUGH - dt.timedelta(days=28)
SQL = "x'; DROP TABLE churn_clv_scores; --"


@pytest.fixture
def url(postgres: str) -> Iterator[str]:
    yield postgres


def run(url: str, statement: str, **values: Any) -> Any:
    with _postgres.connected(address_of(url)) as connection:
        return connection.run(statement, **values)


def test_scores_are_published_read_replaced_and_forgotten(
    url: str, tiny_bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    odd = tiny.plain_log().with_columns(customer_id=pl.col("customer_id").replace("c001", SQL))
    own = shop.settings(tmp_path, odd, service={"scores": url})
    assert scoretable.current(url, own.registered_name) is None
    told = shop.score(own, tiny_bundle)
    assert told["table"] == {"url": url, "published": True, "why": ""}
    scores = shop.scores(told)
    columns = ("customer_id", "cutoff", "eligible", "reason", "churn_probability", "churn_band", "expected_spend")
    found = run(url, f'SELECT {", ".join(columns)} FROM churn_clv_current ORDER BY customer_id COLLATE "C"')
    assert [tuple(row) for row in found] == scores.select(columns).rows()  # every digit, null as null
    for name, value in stored_environment(own).items():
        monkeypatch.setenv(name, value)
    held = Holder(Path("nowhere"))
    held.loaded = Loaded(tiny_bundle, NOW)
    client = Client(gated(create_app(held, lambda: NOW)))

    def ask(*ids: str) -> Any:
        answer = client.post("/predict/stored", {"customer_ids": list(ids)})
        assert answer.status_code == 200, answer.text
        return json.loads(answer.content)["predictions"]

    there = {row["customer_id"]: row for row in scores.iter_rows(named=True)}
    for row in ask(SQL, "c002", "nobody", SQL):
        known = there.get(row["customer_id"], {"churn_probability": None, "reason": "unknown"})
        assert (row["churn_probability"], row["reason"]) == (known["churn_probability"], known["reason"])
    assert len(ask(*sorted(there) * 12)) == 960
    shop.score(own, tiny_bundle, cutoff=EARLIER, table=True)
    assert ask("c002")[0]["cutoff"] == EARLIER.isoformat()
    assert run(url, "SELECT count(DISTINCT scoring_id) FROM churn_clv_scores") == [[1]]
    forgetting.forget(own, ["c002"], shop.quiet)
    assert [row["reason"] for row in ask("c002", "nobody")] == ["erased", "unknown"]
    assert run(url, "SELECT count(*) FROM churn_clv_scores WHERE answer LIKE '%c002%'") == [[0]]
    assert forgetting.forget(own, ["c002"], shop.quiet)["rows_removed"] == 0
    # The server ends every connection: the next request opens another.
    run(url, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND state = 'idle'")
    assert ask("c003")[0]["customer_id"] == "c003"


def test_concurrent_scorings_of_one_table(url: str, tiny_bundle: Bundle, tmp_path: Path) -> None:
    """Two machines of one model and one of another publish at once, while readers look: never a mix, nothing left."""
    ours = [shop.settings(tmp_path / str(i), service={"scores": url}) for i in range(2)]
    other = shop.settings(tmp_path / "other", tiny.plain_log(40, 7), service={"scores": url}, dataset="other")
    cutoffs = (tiny.TRAINED_THROUGH, EARLIER)
    for own, cutoff in zip(ours, cutoffs, strict=True):
        shop.score(own, tiny_bundle, cutoff=cutoff, table=False)
    shop.score(ours[0], tiny_bundle, table=True)
    reader, ids = scoretable.open_reader(url), [f"c{i:03d}" for i in range(80)]
    stop, wrong, looks = threading.Event(), [], 0

    def watch() -> None:
        nonlocal looks
        while not stop.is_set():
            found = reader.find(ours[0].registered_name, ids)
            assert found.current is not None
            seen = {json.loads(text)["cutoff"] for text in found.answers.values()}
            looks += 1
            if seen != {found.current.cutoff.isoformat()} or len(found.answers) != found.current.rows:
                wrong.append((seen, found.current, len(found.answers)))

    thread = threading.Thread(target=watch)
    thread.start()
    with ThreadPoolExecutor(3) as pool:
        jobs = []
        for turn in range(4):
            jobs += [
                pool.submit(shop.score, own, tiny_bundle, shop.quiet, True, cutoff=cutoff)
                for own, cutoff in zip(ours, cutoffs if turn % 2 else cutoffs[::-1], strict=True)
            ]
            jobs.append(pool.submit(shop.score, other, tiny_bundle, shop.quiet, True, cutoff=cutoffs[turn % 2]))
        told = [job.result(timeout=200) for job in jobs]
    stop.set()
    thread.join(60)
    assert all(one["table"]["published"] for one in told) and not wrong and looks > 3
    counted = run(url, "SELECT model, count(*) FROM churn_clv_current GROUP BY model ORDER BY model")
    assert [name for name, _ in counted] == sorted([ours[0].registered_name, other.registered_name])
    assert run(url, "SELECT count(DISTINCT scoring_id) FROM churn_clv_scores") == [[2]]


def test_a_publish_that_breaks_off_changes_nothing(url: str, tiny_bundle: Bundle, tmp_path: Path) -> None:
    own = shop.settings(tmp_path, service={"scores": url})
    shop.score(own, tiny_bundle)
    before = run(url, "SELECT scoring_id, customer_id, answer FROM churn_clv_scores ORDER BY customer_id")

    def torn(*_: object) -> object:
        raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_postgres, "_remember", torn)  # after every row and the pointer
        with pytest.raises(KeyboardInterrupt):
            shop.score(own, tiny_bundle, cutoff=EARLIER, table=True)
    assert run(url, "SELECT scoring_id, customer_id, answer FROM churn_clv_scores ORDER BY customer_id") == before


def test_a_server_that_is_not_there(tiny_bundle: Bundle, tmp_path: Path) -> None:
    gone = "postgresql+pg8000://tester:hunter2@127.0.0.1:1/none"
    own = shop.settings(tmp_path, service={"scores": gone})
    with pytest.raises(UserError, match="the table of scores postgresql") as told:
        shop.score(own, tiny_bundle)
    assert "hunter2" not in str(told.value)
    with pytest.raises(TableError) as broken:
        scoretable.open_reader(gone).find("m", ["a"])
    assert "hunter2" not in str(broken.value)
