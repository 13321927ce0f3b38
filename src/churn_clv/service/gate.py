"""The outermost layer: what is not for us is answered here, before any other code sees or counts it (contract K7).

Pure ASGI and outside of BentoML, which labels its metrics with any path it meets and accepts a body of any size.
"""

from __future__ import annotations

import asyncio
import json
import logging
import traceback
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

log = logging.getLogger("churn_clv.service")

# How long a body may take to arrive, and how long the rest of a refused one is read so that its sender sees the answer.
BODY_SECONDS = 30.0
DRAIN_SECONDS = 5.0
INTERNAL = "Internal error; the service's log says where."


class _Refused(Exception):
    """An answer instead of the application's; ``unread`` where more of the body may be on its way."""

    def __init__(self, status: int, detail: str, unread: bool = True) -> None:
        super().__init__(detail)
        self.status, self.detail, self.unread = status, detail, unread


class Gate:
    """Unknown paths 404; on ``json_paths`` other content types 415, bodies over ``max_body_bytes`` 413, slow ones 408.

    An exception of the application becomes a 500 and is logged by type and place only: messages may hold values.
    """

    def __init__(self, app: App, paths: frozenset[str], json_paths: frozenset[str], max_body_bytes: int) -> None:
        self.app, self.paths, self.json_paths, self.max_body_bytes = app, paths, json_paths, max_body_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if scope["type"] == "lifespan":
            return await self.app(scope, receive, send)
        if scope["type"] != "http":
            return await send({"type": "websocket.close", "code": 1000})
        started = False

        async def watched(message: Message) -> None:
            nonlocal started
            started = True
            await send(message)

        try:
            await self.app(scope, await self._admit(scope, receive), watched)
        except _Refused as refused:
            await _answer(send, refused.status, refused.detail, receive if refused.unread else None)
        except Exception as error:
            log.error("%s at %s", type(error).__name__, _place(error))
            if not started:
                await _answer(send, 500, INTERNAL)
        return None

    async def _admit(self, scope: Scope, receive: Receive) -> Receive:
        """The ``receive`` to hand on; where JSON is expected the body has been read."""
        if scope["path"] not in self.paths:
            raise _Refused(404, "There is nothing here. POST /predict, GET /model, GET /openapi.json.")
        if scope["path"] not in self.json_paths or scope["method"] != "POST":
            return receive
        self._check_headers(scope["headers"])
        try:
            async with asyncio.timeout(BODY_SECONDS):
                body = await self._read(receive)
        except TimeoutError:
            raise _Refused(408, f"The body did not arrive within {BODY_SECONDS:.0f} seconds.") from None
        return _replay(body, receive)

    def _check_headers(self, headers: list[tuple[bytes, bytes]]) -> None:
        given = [value.decode("latin-1").lower() for name, value in headers if name.lower() == b"content-type"]
        kind, *parameters = [part.strip() for part in given[0].split(";")] if len(given) == 1 else [""]
        if kind != "application/json" or any(p and p.replace('"', "") != "charset=utf-8" for p in parameters):
            raise _Refused(415, "Send Content-Type: application/json (UTF-8).")
        if any(n.lower() == b"content-encoding" and v.lower() != b"identity" for n, v in headers):
            raise _Refused(415, "Compressed bodies are not taken; send plain JSON.")
        for name, value in headers:
            if name.lower() == b"content-length" and not value.isdigit():
                raise _Refused(400, "Content-Length is not a number.")
            if name.lower() == b"content-length" and (len(value) > 15 or int(value) > self.max_body_bytes):
                raise self._too_large()

    async def _read(self, receive: Receive) -> bytes:
        parts, size, more = [], 0, True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise _Refused(400, "The connection closed before the body was complete.", unread=False)
            part, more = message.get("body", b""), message.get("more_body", False)
            size += len(part)
            if size > self.max_body_bytes:
                raise self._too_large(unread=more)
            parts.append(part)
        return b"".join(parts)

    def _too_large(self, unread: bool = True) -> _Refused:
        detail = f"The body is larger than {self.max_body_bytes} bytes; send fewer customers at a time."
        return _Refused(413, detail, unread)


def _replay(body: bytes, receive: Receive) -> Receive:
    told = False

    async def again() -> Message:
        nonlocal told
        if told:
            return await receive()
        told = True
        return {"type": "http.request", "body": body, "more_body": False}

    return again


async def _answer(send: Send, status: int, detail: str, unread: Receive | None = None) -> None:
    """A JSON refusal; with ``unread`` the rest of the request is read and thrown away before the answer ends.

    A connection closed on a client that still writes is reset, and the client never sees why.
    """
    body = json.dumps({"detail": detail}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    if status in (408, 413):
        headers.append((b"connection", b"close"))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body, "more_body": True})
    if unread is not None:
        await _drain(unread)
    await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _drain(receive: Receive) -> None:
    try:
        async with asyncio.timeout(DRAIN_SECONDS):
            message: Message = {"more_body": True}
            while message.get("more_body", False):
                message = await receive()
    except TimeoutError:
        pass


def _place(error: BaseException) -> str:
    frame = traceback.extract_tb(error.__traceback__)[-1]
    return f"{frame.filename}:{frame.lineno} in {frame.name}"
