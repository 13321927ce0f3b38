"""Who may ask, how much at once and for how long: the rules of the gate, around an application of a few lines."""

from __future__ import annotations

import asyncio
import gc
import json
import logging
import threading
import time
import weakref
from collections.abc import Callable, Coroutine
from typing import Any

import bentoml
import httpx
import pytest
from bentoml._internal.server.http.traffic import TimeoutMiddleware

from churn_clv.service import call as calls
from churn_clv.service import keys
from churn_clv.service.asgi import App, Message, Receive, Scope, Send
from churn_clv.service.deadline import Deadline, TooLate
from churn_clv.service.gate import HEALTH, Gate
from churn_clv.service.guards import Guards, is_loopback
from churn_clv.service.keys import Keys
from churn_clv.service.limits import Rate
from churn_clv.service.measures import Measures

KEY, LINE = keys.make("shop")
OTHER, OTHER_LINE = keys.make("crm")
PATHS = frozenset({"/predict", "/model", "/metrics"}) | HEALTH
Work = Callable[[Scope], Coroutine[Any, Any, None]]


async def at_once(scope: Scope) -> None:
    """An application's work that is done already."""


def app_of(work: Work = at_once, headers: tuple[tuple[bytes, bytes], ...] = ()) -> App:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await work(scope)
        await send({"type": "http.response.start", "status": 200, "headers": list(headers)})
        await send({"type": "http.response.body", "body": b"{}"})

    return app


def gate_of(guards: Guards, work: Work = at_once, measures: Measures | None = None) -> Gate:
    return Gate(app_of(work), PATHS, frozenset({"/predict"}), 1000, guards, measures)


Ask = Callable[..., Coroutine[Any, Any, httpx.Response]]


def talk(gate: App, script: Callable[[Ask], Coroutine[Any, Any, Any]]) -> Any:
    """Run ``script`` with a function that asks: path (POST for /predict) and headers."""

    async def run() -> Any:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(gate), base_url="http://service") as client:

            async def ask(path: str = "/predict", **headers: str) -> httpx.Response:
                named = {name.replace("_", "-"): value for name, value in headers.items()}
                if path == "/predict":
                    return await client.post(path, content=b"{}", headers={"content-type": "application/json"} | named)
                return await client.get(path, headers=named)

            return await script(ask)

    return asyncio.run(asyncio.wait_for(run(), 30))


def once(gate: App, path: str = "/predict", **headers: str) -> httpx.Response:
    answer = talk(gate, lambda ask: ask(path, **headers))
    assert isinstance(answer, httpx.Response)
    return answer


# --- keys, hosts, rates ---------------------------------------------------------------------------
def test_without_a_key_only_health_answers() -> None:
    gate = gate_of(Guards(keys=Keys(given=LINE)))
    assert {path: once(gate, path).status_code for path in sorted(PATHS)} == {
        "/healthz": 200, "/livez": 200, "/readyz": 200, "/metrics": 401, "/model": 401, "/predict": 401,
    }  # fmt: skip
    refused = once(gate)
    assert refused.headers["www-authenticate"] == "Bearer" and "X-API-Key" in refused.json()["detail"]
    assert {once(gate, path, x_api_key=KEY).status_code for path in PATHS} == {200}
    assert {once(gate, path, authorization=f"Bearer {KEY}").status_code for path in PATHS} == {200}
    assert once(gate, x_api_key=KEY + "x").status_code == 401


def test_one_callers_rate_is_not_anothers() -> None:
    gate = gate_of(Guards(keys=Keys(given=f"{LINE}\n{OTHER_LINE}"), rate=Rate(0.5, 3)))

    async def script(ask: Ask) -> None:
        got = [await ask(x_api_key=KEY) for _ in range(5)]
        assert [a.status_code for a in got] == [200, 200, 200, 429, 429]
        assert got[-1].headers["retry-after"] == "2"
        assert [(await ask(x_api_key=OTHER)).status_code for _ in range(3)] == [200] * 3
        assert [(await ask("/livez")).status_code for _ in range(10)] == [200] * 10
        assert [(await ask(x_api_key="guess")).status_code for _ in range(5)] == [401] * 3 + [429] * 2

    talk(gate, script)


@pytest.mark.parametrize(
    ("host", "status"),
    [("shop.example", 200), ("SHOP.example:8443", 200), ("a.b.example", 200), ("b.example", 400), ("evil.test", 400),
     ("shop.example.evil.test", 400), ("", 400), ("[::1]:3000", 200), ("[::2]", 400)],
)  # fmt: skip
def test_only_named_hosts_are_served_and_probes_may_use_any(host: str, status: int) -> None:
    gate = gate_of(Guards(hosts=["shop.example", "*.b.example", "[::1]"]))
    assert once(gate, host=host).status_code == status
    assert once(gate, "/livez", host=host).status_code == 200


def test_loopback_is_told_from_the_rest() -> None:
    assert [is_loopback(h) for h in ("127.0.0.1", "localhost", "::1", "127.8.8.8")] == [True] * 4
    assert [is_loopback(h) for h in ("0.0.0.0", "::", "10.0.0.1", "example.org", "", None)] == [False] * 6


# --- how much at once, how long -------------------------------------------------------------------
def test_one_more_than_there_is_room_for_is_503_at_once_and_nothing_waits() -> None:
    release = asyncio.Event()
    held: list[int] = []

    async def hold(scope: Scope) -> None:
        if scope["path"] not in HEALTH:
            held.append(1)
            await release.wait()

    guards = Guards(max_concurrency=2)

    async def script(ask: Ask) -> None:
        first = [asyncio.ensure_future(ask()) for _ in range(2)]
        while len(held) < 2:
            await asyncio.sleep(0)
        began = time.monotonic()
        refused = [await ask() for _ in range(5)] + [await ask("/model")]
        assert time.monotonic() - began < 10
        assert {a.status_code for a in refused} == {503} and refused[0].headers["retry-after"] == "1"
        assert (await ask("/livez")).status_code == 200 and (await ask("/metrics")).status_code == 200
        release.set()
        assert [(await task).status_code for task in first] == [200, 200]
        assert (await ask()).status_code == 200

    talk(gate_of(guards, hold), script)
    assert guards.requests.taken == guards.bodies.taken == 0


def test_callers_without_a_key_take_no_room() -> None:
    """S10: a flood of them is told 401 whatever is going on, and leaves the room to callers with keys."""
    release = asyncio.Event()

    async def hold(scope: Scope) -> None:
        await release.wait()

    guards = Guards(keys=Keys(given=LINE), max_concurrency=1)

    async def script(ask: Ask) -> None:
        held = asyncio.ensure_future(ask(x_api_key=KEY))
        await asyncio.sleep(0.01)
        assert {(await ask()).status_code for _ in range(50)} == {401} and guards.requests.taken == 1
        assert (await ask(x_api_key=KEY)).status_code == 503
        release.set()
        assert (await held).status_code == 200

    talk(gate_of(guards, hold), script)


def test_bodies_in_memory_have_a_bound_and_slow_ones_take_no_room() -> None:
    guards = Guards(max_concurrency=1, bodies=1500)
    gate = gate_of(guards)
    got: list[int] = []

    async def slow(pieces: list[Message], done: asyncio.Event) -> None:
        async def receive() -> Message:
            if not pieces:
                await done.wait()
                return {"type": "http.request", "body": b"", "more_body": False}
            return pieces.pop(0)

        async def send(message: Message) -> None:
            if message["type"] == "http.response.start":
                got.append(message["status"])

        headers = [(b"content-type", b"application/json")]
        scope = {"type": "http", "path": "/predict", "method": "POST", "headers": headers, "client": ("1.1.1.1", 1)}
        await gate(scope, receive, send)

    async def script(ask: Ask) -> None:
        done = asyncio.Event()
        chunk = {"type": "http.request", "body": b"x" * 900, "more_body": True}
        crawling = asyncio.ensure_future(slow([chunk], done))
        await asyncio.sleep(0.01)
        assert (guards.bodies.taken, guards.requests.taken) == (900, 0)
        assert (await ask()).status_code == 200
        done.set()
        await slow([dict(chunk)], done)
        await crawling
        assert sorted(got) == [200, 503]

    talk(gate, script)
    assert guards.bodies.taken == 0


def test_what_takes_too_long_is_504_and_its_thread_ends_at_its_next_look() -> None:
    """The slot is given back when the work ends, so that running handlers never exceed the limit."""
    looks: list[str] = []
    most: list[int] = []
    running = 0
    lock = threading.Lock()

    def work(deadline: Deadline) -> None:
        nonlocal running
        with lock:
            running += 1
            most.append(running)
        try:
            for _ in range(200):
                deadline.check()
                time.sleep(0.01)
            looks.append("never")
        except TooLate:
            looks.append("ended")
            raise
        finally:
            with lock:
                running -= 1

    async def in_thread(scope: Scope) -> None:
        await asyncio.get_running_loop().run_in_executor(None, work, calls.of(scope).deadline)

    guards = Guards(max_concurrency=2, timeout_seconds=0.15)

    async def script(ask: Ask) -> None:
        began = time.monotonic()
        answers = await asyncio.gather(*(ask() for _ in range(6)))
        assert time.monotonic() - began < 10
        assert sorted(a.status_code for a in answers) == [503] * 4 + [504] * 2
        late = next(a for a in answers if a.status_code == 504)
        assert "took too long" in late.json()["detail"] and late.headers["content-type"] == "application/json"
        while guards.requests.taken:
            await asyncio.sleep(0.01)

    talk(gate_of(guards, in_thread), script)
    assert looks == ["ended"] * 2 and max(most) == 2 and running == 0


def test_work_that_never_looks_holds_its_room_and_nobody_else_waits_for_it() -> None:
    stuck = threading.Event()

    async def deaf(scope: Scope) -> None:
        if scope["path"] not in HEALTH:
            await asyncio.get_running_loop().run_in_executor(None, stuck.wait, 10)

    guards = Guards(max_concurrency=1, timeout_seconds=0.05)

    async def script(ask: Ask) -> None:
        asking = asyncio.ensure_future(ask())
        await asyncio.sleep(0.2)
        assert guards.requests.taken == 1
        assert (await ask()).status_code == 503 and (await ask("/livez")).status_code == 200
        stuck.set()
        assert (await asking).status_code == 504
        assert guards.requests.taken == 0 and (await ask()).status_code == 200

    talk(gate_of(guards, deaf), script)


def test_the_last_of_shared_deadlines_counts() -> None:
    soon, later = Deadline(0.0), Deadline(60.0)
    with pytest.raises(TooLate):
        soon.check()
    shared = Deadline.last([soon, later])
    shared.check()
    assert shared.at == later.at and 59 < shared.left() <= 60
    Deadline.last([]).check()


def left_behind(app: App) -> tuple[int, float]:
    """After 1,000 requests: how many of their ``send`` something still holds, and objects that stayed, each."""

    class Line:
        """A connection, as a server holds it: whoever keeps its ``send`` keeps the request and its answer."""

        async def send(self, message: Message) -> None:
            """Nothing is sent."""

        async def receive(self) -> Message:
            return {"type": "http.request", "body": b"{}", "more_body": False}

    seen: weakref.WeakSet[Line] = weakref.WeakSet()

    async def ask(times: int) -> int:
        for _ in range(times):
            line = Line()
            seen.add(line)
            headers = [(b"content-type", b"application/json")]
            scope = {"type": "http", "path": "/predict", "method": "POST", "headers": headers, "client": ("1.1.1.1", 1)}
            await app(scope, line.receive, line.send)
            await asyncio.sleep(0)  # the loop's turn: it sweeps cancelled timers
        del line, scope
        gc.collect()
        return len(gc.get_objects())

    async def grown() -> float:
        before = await ask(300)
        return (await ask(1_000) - before) / 1_000

    return asyncio.run(_held(grown, seen))


async def _held(grown: Callable[[], Coroutine[Any, Any, float]], seen: Any) -> tuple[int, float]:
    """Counted while the loop still runs: a timer that was not cancelled lives in it."""
    objects = await grown()
    return len(seen), objects


def test_a_request_that_is_over_leaves_nothing_behind() -> None:
    """BentoML's own timeout keeps some objects of every request until it is over, 60 s later; ours lets them go."""
    lines, objects = left_behind(gate_of(Guards(timeout_seconds=60)))
    assert lines == 0 and abs(objects) < 0.5
    _, objects = left_behind(TimeoutMiddleware(app_of(), timeout=60))
    assert objects >= 2


def test_bentomls_timeout_metrics_and_access_log_are_taken_out() -> None:
    """What ``without_replaced`` looks for is there in the installed version; what it does not know stays."""
    from churn_clv.service import bento

    app = bentoml.Service.to_asgi(bento.ChurnService)
    before = [layer.cls.__name__ for layer in app.user_middleware]
    bento.without_replaced(app)
    after = [layer.cls.__name__ for layer in app.user_middleware]
    assert set(bento.REPLACED) <= set(before) and [n for n in before if n not in bento.REPLACED] == after


# --- what leaves ----------------------------------------------------------------------------------
def test_every_answer_carries_our_headers_and_none_of_the_servers() -> None:
    inner = app_of(headers=((b"server", b"BentoML/1.4.39"), (b"cache-control", b"public"), (b"x-powered-by", b"x")))
    gate = Gate(inner, PATHS, frozenset({"/predict"}), 1000)
    for answer in (once(gate), once(gate, "/livez"), once(gate, "/nothing"), once(gate, content_type="text/plain")):
        assert answer.headers["x-content-type-options"] == "nosniff" and answer.headers["cache-control"] == "no-store"
        assert len(answer.headers["x-request-id"]) == 32
        assert not {"server", "x-powered-by", "access-control-allow-origin"} & set(answer.headers)


@pytest.mark.parametrize(
    ("given", "kept"),
    [("0af7651916cd43dd8448eb211c80319c", True), ("a-b_C-12345", True), ("short", False), ("x" * 65, False),
     ("jane.doe@example.com", False), ("a b c d e f g h", False), ('"><script>alert(1)', False)],
)  # fmt: skip
def test_a_request_id_is_the_callers_where_it_is_a_plain_token(given: str, kept: bool) -> None:
    assert (once(gate_of(Guards()), x_request_id=given).headers["x-request-id"] == given) == kept


def test_the_access_log_counts_and_names_no_value(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "churn_clv.access")

    async def noted(scope: Scope) -> None:
        calls.of(scope).note(3, 40, "f" * 64)

    measures = Measures()
    gate = gate_of(Guards(keys=Keys(given=LINE)), noted, measures)
    once(gate, x_api_key=KEY, x_request_id="trace-12345")
    once(gate, "/nothing/jane@example.com?q=jane")
    once(gate, "/livez")
    lines = [record.fields for record in caplog.records]  # type: ignore[attr-defined]
    assert lines[0].pop("ms") >= 0 and lines[0] == {
        "request_id": "trace-12345", "method": "POST", "route": "/predict", "status": 200, "key": "shop",
        "customers": 3, "events": 40, "model_version": "f" * 64,
    }  # fmt: skip
    assert (lines[1]["route"], lines[1]["refused"], len(lines)) == ("other", "path", 2)
    assert "jane" not in json.dumps(lines) and KEY not in json.dumps(lines)
    page = measures.page().decode()
    assert 'churn_clv_requests_total{route="/predict",status="200"} 1.0' in page
    assert 'churn_clv_refused_total{reason="path"} 1.0' in page and "churn_clv_requests_in_flight 0.0" in page
