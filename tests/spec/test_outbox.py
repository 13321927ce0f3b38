"""Releasing a plan: once by customer and campaign, audiences without the holdout, a webhook that is bounded."""

from __future__ import annotations

import datetime as dt
import hashlib
import hmac
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import polars as pl
import pytest
import shop

from churn_clv import actions, forgetting
from churn_clv.actions import _outbox
from churn_clv.errors import UserError
from churn_clv.playbook import Webhook

DAY = dt.date(2024, 3, 1)


def plan(campaign: str = "spring", customers: int = 10, action: str = "mail") -> actions.Plan:
    """Customers c0, c1, ...; every fifth is held out, the last gets nothing."""
    rows = [(f"c{i}", action, "email", "holdout" if i % 5 == 4 else "treated", "all") for i in range(customers - 1)] + [
        (f"c{customers - 1}", None, None, None, "all")
    ]
    frame = pl.DataFrame(rows, schema=["customer_id", "action", "channel", "arm", "segment"], orient="row")
    numbers = {k: pl.lit(0.5) for k in _outbox.KEPT if k not in frame.columns}
    document = {"campaign": campaign, "cutoff": DAY.isoformat(), "horizon_days": 28, "margin_share": 0.3}
    return actions.Plan(frame.with_columns(**numbers), document)


def test_releasing_twice_writes_nothing_new(tmp_path: Path) -> None:
    path = tmp_path / "outbox.sqlite"
    first, again = actions.release(path, plan(), 4), actions.release(path, plan(), 4)
    assert (first.treated, first.holdout, again.treated, again.holdout) == (8, 1, 0, 0)
    (one,) = actions.campaigns(path)
    assert one["rows"].height == 9 and one["cutoff"] == DAY
    with pytest.raises(UserError, match="was released before with other customers"):
        actions.release(path, plan(action="call"), 4)
    assert actions.campaigns(path)[0]["rows"]["action"].unique().to_list() == ["mail"]


def test_two_senders_at_once_release_once(tmp_path: Path) -> None:
    path, found = tmp_path / "outbox.sqlite", []
    threads = [
        threading.Thread(target=lambda: found.append(actions.release(path, plan(), 4).treated)) for _ in range(6)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(found) == [0, 0, 0, 0, 0, 8]


def test_other_campaigns_contacts_are_known_by_the_treated(tmp_path: Path) -> None:
    path = tmp_path / "outbox.sqlite"
    assert actions.contacts(path, "summer").is_empty()
    actions.release(path, plan(), 4)
    found = actions.contacts(path, "summer")
    assert found.schema == actions.CONTACTS and found["day"].unique().to_list() == [DAY]
    assert sorted(found["customer_id"]) == ["c0", "c1", "c2", "c3", "c5", "c6", "c7", "c8"]
    assert actions.contacts(path, "spring").is_empty()


def test_audiences_hold_the_treated_alone(tmp_path: Path) -> None:
    (path,) = actions.write_audiences(plan(), tmp_path)
    assert path == tmp_path / "email" / "mail.csv"
    frame = pl.read_csv(path)
    assert frame["customer_id"].to_list() == ["c0", "c1", "c2", "c3", "c5", "c6", "c7", "c8"]
    assert frame.columns == ["customer_id", "campaign", "action", "channel"]


def test_a_damaged_outbox_is_the_users_matter(tmp_path: Path) -> None:
    path = tmp_path / "outbox.sqlite"
    path.write_bytes(b"no database" * 100)
    with pytest.raises(UserError, match="cannot be used"):
        actions.release(path, plan(), 4)


# --- the webhook, against a real server ------------------------------------------------------------
class Receiver(ThreadingHTTPServer):
    """Answers with ``codes`` in turn, then 200; keeps what it got."""

    codes: list[int]
    got: list[tuple[dict[str, str], bytes]]


class Handler(BaseHTTPRequestHandler):
    server: Receiver

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.got.append((dict(self.headers), body))
        code = self.server.codes.pop(0) if self.server.codes else 200
        if code == 0:
            time.sleep(0.6)  # longer than the caller waits
            code = 200
        self.send_response(code)
        if code == 302:
            self.send_header("Location", "/elsewhere")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        pass


@contextmanager
def receiver(*codes: int) -> Iterator[Receiver]:
    server = Receiver(("127.0.0.1", 0), Handler)
    server.codes, server.got = list(codes), []
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def hook(server: Receiver, **changes: Any) -> Webhook:
    url = f"http://127.0.0.1:{server.server_address[1]}/in"
    return Webhook(**{"url": url, "wait_seconds": 0.01, "timeout_seconds": 0.3, "retries": 2} | changes)


def test_batches_arrive_once_signed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHURN_CLV_WEBHOOK_SECRET", "s3cret")
    path = tmp_path / "outbox.sqlite"
    actions.release(path, plan(), 4)
    with receiver() as server:
        assert actions.deliver(path, "spring", hook(server)) == 8
        assert actions.deliver(path, "spring", hook(server)) == 0
        customers = [c["customer_id"] for _, body in server.got for c in json.loads(body)["customers"]]
        assert sorted(customers) == ["c0", "c1", "c2", "c3", "c5", "c6", "c7", "c8"] and len(server.got) == 3
        for headers, body in server.got:
            assert headers["X-Signature"] == "sha256=" + hmac.digest(b"s3cret", body, hashlib.sha256).hex()
        assert len({headers["Idempotency-Key"] for headers, _ in server.got}) == 3


def test_two_senders_at_once_post_each_batch_once(tmp_path: Path) -> None:
    """The first answer takes .6 s: the other sender must wait, and then finds nothing left."""
    from churn_clv.cli._act import _release

    outbox, posted = tmp_path / "outbox.sqlite", []
    with receiver(0) as server:
        own = SimpleNamespace(webhook=hook(server, timeout_seconds=30, batch=4))

        def send() -> None:
            posted.append(_release(own, plan(), outbox, tmp_path / "spring", shop.quiet)["posted"])

        senders = [threading.Thread(target=send) for _ in range(2)]
        for one in senders:
            one.start()
        for one in senders:
            one.join()
        assert sorted(posted) == [0, 8] and len(server.got) == 3


@pytest.mark.parametrize("code", [500, 503, 429, 0])
def test_what_may_pass_is_tried_again(tmp_path: Path, code: int) -> None:
    path = tmp_path / "outbox.sqlite"
    actions.release(path, plan(), 100)
    with receiver(code) as server:
        assert actions.deliver(path, "spring", hook(server)) == 8
        assert [headers["Idempotency-Key"] for headers, _ in server.got] == ["spring-000000"] * 2


@pytest.mark.parametrize(("code", "tries"), [(400, 1), (302, 1), (500, 3)])
def test_tries_are_bounded_and_the_next_run_goes_on(tmp_path: Path, code: int, tries: int) -> None:
    path = tmp_path / "outbox.sqlite"
    actions.release(path, plan(), 4)
    with receiver(200, *[code] * tries) as server:
        with pytest.raises(UserError, match=r"did not arrive .* 4 lines"):
            actions.deliver(path, "spring", hook(server))
        assert len(server.got) == 1 + tries
        assert actions.deliver(path, "spring", hook(server)) == 4  # the rest, the first batch not again


def test_nobody_there_is_said(tmp_path: Path) -> None:
    path = tmp_path / "outbox.sqlite"
    actions.release(path, plan(), 4)
    with receiver() as server:
        closed = hook(server, retries=1)
    with pytest.raises(UserError, match="did not arrive"):
        actions.deliver(path, "spring", closed)


def test_the_forgotten_leave_campaigns_plans_and_audiences(tmp_path: Path) -> None:
    """Treated, held out and never selected; no byte of their ids stays, and the others' lines do."""
    settings = shop.settings(tmp_path)
    place = actions.folder(settings) / "spring"
    actions.write_plan(plan(), place)
    actions.release(actions.outbox_file(settings), plan(), 4)
    actions.write_audiences(plan(), place / "audience")
    actions.write_events(actions.campaigns(actions.outbox_file(settings)), place.parent / "treatments.parquet")
    told = forgetting.forget(settings, ["c2", "c4", "c9"], shop.quiet)
    assert told["rows_removed"] == 2 + 3 + 3 + 1 + 1  # outbox, plan.parquet, plan.csv, audience, treatments
    assert [one for one in told["remains"] if "not written" in one["why"]] == []
    for path in (p for p in actions.folder(settings).rglob("*") if p.is_file() and p.suffix != ".parquet"):
        held = path.read_bytes()
        assert not any(name in held for name in (b"c2", b"c4", b"c9")), path
    (one,) = actions.campaigns(actions.outbox_file(settings))
    assert one["rows"]["customer_id"].to_list() == ["c0", "c1", "c3", "c5", "c6", "c7", "c8"]
    assert pl.read_parquet(place / "plan.parquet").height == 7
    assert forgetting.forget(settings, ["c2"], shop.quiet)["rows_removed"] == 0


def test_an_outbox_of_before_there_were_margin_rates_is_read(tmp_path: Path) -> None:
    """Its campaigns have none, so that they keep the one share of their plan; opened twice it is changed once."""
    path = tmp_path / "outbox.db"
    with _outbox.opened(path) as database:
        database.execute("alter table assignment drop column margin_rate")
        database.execute("insert into campaign values ('x', 's', '2024-01-01', 28, 'now', '{}')")
        database.execute("insert into assignment (campaign, customer_id, action, channel, arm) values "
                         "('x', 'a', 'mail', 'email', 'treated')")  # fmt: skip
    for _ in range(2):
        (one,) = actions.campaigns(path)
        assert one["rows"]["margin_rate"].to_list() == [None] and one["rows"]["customer_id"].to_list() == ["a"]
