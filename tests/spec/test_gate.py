"""The outermost layer: only what is ours passes, and bodies are measured before anyone parses them."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator
from typing import Any

import pytest
from tiny import Client

from churn_clv.service import refusals
from churn_clv.service.asgi import Message, Receive, Scope, Send
from churn_clv.service.gate import Gate

LIMIT = 1000


class Echo:
    """An application that answers with the length of the body, and remembers what reached it."""

    def __init__(self, error: Exception | None = None) -> None:
        self.met: list[str] = []
        self.error = error

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.met.append(scope.get("path", scope["type"]))
        if self.error:
            raise self.error
        body = (await receive())["body"]
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": str(len(body)).encode()})


def through(app: Echo) -> Gate:
    return Gate(app, frozenset({"/predict", "/model"}), frozenset({"/predict"}), LIMIT)


async def pieces(size: int, of: int = 100) -> AsyncIterator[bytes]:
    for start in range(0, size, of):
        yield b"x" * min(of, size - start)


@pytest.mark.parametrize("path", ["/", "/favicon.ico", "/predict/", "//predict", "/PREDICT", "/docs.json", "/models"])
def test_unknown_paths_reach_nobody(path: str) -> None:
    app = Echo()
    answer = Client(through(app)).get(path)
    assert (answer.status_code, app.met) == (404, [])
    assert "POST /predict" in answer.json()["detail"]


@pytest.mark.parametrize("kind", ["application/json", "Application/JSON", 'application/json; charset="UTF-8"'])
def test_json_passes(kind: str) -> None:
    assert Client(through(Echo())).post("/predict", content=b"{}", content_type=kind).text == "2"


@pytest.mark.parametrize(
    "kind",
    [
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "application/json;charset=utf-16",
        "application/vnd.bentoml+pickle",
        "application/jsonp",
        "",
        "application/json, text/html",
    ],
)
def test_other_content_is_415(kind: str) -> None:
    app = Echo()
    answer = Client(through(app)).post("/predict", content=b"{}", content_type=kind)
    assert (answer.status_code, app.met) == (415, [])


def test_compressed_bodies_are_415() -> None:
    assert Client(through(Echo())).post("/predict", content=b"x", content_encoding="gzip").status_code == 415


def test_the_limit_holds_to_the_byte_with_a_length_and_without() -> None:
    app = Echo()
    client = Client(through(app))
    for size, status in ((LIMIT, 200), (LIMIT + 1, 413), (50 * LIMIT, 413)):
        assert client.post("/predict", content=b"x" * size).status_code == status
        assert client.post("/predict", content=pieces(size)).status_code == status
    assert app.met == ["/predict"] * 2
    assert client.post("/predict", content=pieces(LIMIT)).text == str(LIMIT)


@pytest.mark.parametrize("length", ["-1", "1e3", "ten", "", "9" * 400])
def test_a_length_that_is_none_is_the_clients_mistake(length: str) -> None:
    assert Client(through(Echo())).post("/predict", content=b"{}", content_length=length).status_code in (400, 413)


class Wire:
    """One connection by hand: ``sent`` is what the client sends; after that it is silent."""

    def __init__(self, *sent: Message, kind: str = "http", path: str = "/predict") -> None:
        headers = [(b"content-type", b"application/json")]
        self.scope: dict[str, Any] = {"type": kind, "path": path, "method": "POST", "headers": headers}
        self.left, self.got = list(sent), list[Message]()

    async def receive(self) -> Message:
        if not self.left:
            await asyncio.sleep(3600)
        return self.left.pop(0)

    async def send(self, message: Message) -> None:
        self.got.append(message)

    def run(self, app: Echo) -> int | None:
        """The status of the answer, within a second."""

        async def call() -> None:
            async with asyncio.timeout(1):
                await through(app)(self.scope, self.receive, self.send)

        asyncio.run(call())
        return self.got[0].get("status")


def chunk(size: int, more: bool) -> Message:
    return {"type": "http.request", "body": b"x" * size, "more_body": more}


def test_a_body_that_does_not_come_is_408(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(refusals, "BODY_SECONDS", 0.05)
    monkeypatch.setattr(refusals, "DRAIN_SECONDS", 0.05)
    app, wire = Echo(), Wire(chunk(10, more=True))
    assert (wire.run(app), app.met) == (408, [])


def test_the_rest_of_a_refused_body_is_read_so_that_the_answer_arrives() -> None:
    wire = Wire(chunk(LIMIT + 1, more=True), chunk(10, more=True), chunk(10, more=False))
    assert wire.run(Echo()) == 413
    assert wire.left == [] and (b"connection", b"close") in wire.got[0]["headers"]
    assert [m.get("more_body") for m in wire.got] == [None, True, False]


def test_a_body_declared_too_large_is_refused_before_it_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(refusals, "DRAIN_SECONDS", 0.05)
    wire = Wire()
    wire.scope["headers"].append((b"content-length", str(LIMIT + 1).encode()))
    assert wire.run(Echo()) == 413


def test_a_body_refused_at_its_end_is_not_waited_for() -> None:
    assert Wire(chunk(LIMIT + 1, more=False)).run(Echo()) == 413


def test_a_client_that_leaves_reaches_nobody() -> None:
    app = Echo()
    assert Wire(chunk(1, more=True), {"type": "http.disconnect"}).run(app) == 400
    assert app.met == []


def test_after_its_body_a_request_hears_what_the_server_says() -> None:
    heard: list[Message] = []

    class Listens(Echo):
        async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
            heard.extend([await receive(), await receive()])
            await send({"type": "http.response.start", "status": 204, "headers": []})

    assert Wire(chunk(3, more=True), chunk(2, more=False), {"type": "http.disconnect"}).run(Listens()) == 204
    assert heard == [{"type": "http.request", "body": b"xxxxx", "more_body": False}, {"type": "http.disconnect"}]


def test_websockets_are_closed_and_lifespan_passes() -> None:
    app, wire = Echo(), Wire(kind="websocket")
    wire.run(app)
    assert (wire.got, app.met) == ([{"type": "websocket.close", "code": 1000}], [])
    wire = Wire({"type": "lifespan.startup", "body": b""}, kind="lifespan")
    del wire.scope["path"]
    wire.run(app)
    assert app.met == ["lifespan"]


def test_an_exception_is_a_500_logged_without_its_message(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    answer = Client(through(Echo(KeyError("jane@example.com")))).post("/predict", content=b"{}")
    assert answer.status_code == 500 and json.loads(answer.text)["detail"]
    assert "KeyError at " in caplog.text and "jane" not in caplog.text + answer.text
