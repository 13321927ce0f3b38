"""Bodies are JSON, measured while they arrive, and in memory only so many bytes of them at once."""

from __future__ import annotations

import asyncio

from churn_clv.service import refusals
from churn_clv.service.asgi import Message, Receive
from churn_clv.service.limits import Room
from churn_clv.service.refusals import Refused, no_room, too_large


def check_headers(headers: list[tuple[bytes, bytes]], most: int) -> None:
    """Raise Refused unless the headers announce plain JSON of at most ``most`` bytes."""
    given = [value.decode("latin-1").lower() for name, value in headers if name.lower() == b"content-type"]
    kind, *parameters = [part.strip() for part in given[0].split(";")] if len(given) == 1 else [""]
    if kind != "application/json" or any(p and p.replace('"', "") != "charset=utf-8" for p in parameters):
        raise Refused(415, "Send Content-Type: application/json (UTF-8).", "content_type", unread=True)
    if any(n.lower() == b"content-encoding" and v.lower() != b"identity" for n, v in headers):
        raise Refused(415, "Compressed bodies are not taken; send plain JSON.", "content_type", unread=True)
    for name, value in headers:
        if name.lower() == b"content-length" and not value.isdigit():
            raise Refused(400, "Content-Length is not a number.", "body", unread=True)
        if name.lower() == b"content-length" and (len(value) > 15 or int(value) > most):
            raise too_large(most)


class Body:
    """A request's body, read whole; its bytes are taken from ``room`` until ``release``."""

    def __init__(self, most: int, room: Room) -> None:
        self.most, self.room, self.size = most, room, 0

    async def read(self, receive: Receive) -> bytes:
        """All of it. Raises Refused when it is too large, too slow, breaks off, or there is no room."""
        try:
            async with asyncio.timeout(refusals.BODY_SECONDS):
                return await self._read(receive)
        except TimeoutError:
            detail = f"The body did not arrive within {refusals.BODY_SECONDS:.0f} seconds."
            raise Refused(408, detail, "body", unread=True) from None

    async def _read(self, receive: Receive) -> bytes:
        parts, more = [], True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise Refused(400, "The connection closed before the body was complete.", "body")
            part, more = message.get("body", b""), message.get("more_body", False)
            if self.size + len(part) > self.most:
                raise too_large(self.most, unread=more)
            if not self.room.take(len(part)):
                raise no_room(unread=more)
            self.size += len(part)
            parts.append(part)
        return b"".join(parts)

    def release(self) -> None:
        """Its bytes are no longer held."""
        self.room.give(self.size)
        self.size = 0


def replay(body: bytes, receive: Receive) -> Receive:
    """A ``receive`` that hands on the body that was read, then what the server says."""
    told = False

    async def again() -> Message:
        nonlocal told
        if told:
            return await receive()
        told = True
        return {"type": "http.request", "body": body, "more_body": False}

    return again


async def drain(receive: Receive) -> None:
    """Read and throw away the rest of a refused body: a connection closed on a client that still writes is reset."""
    try:
        async with asyncio.timeout(refusals.DRAIN_SECONDS):
            message: Message = {"more_body": True}
            while message.get("more_body", False):
                message = await receive()
    except TimeoutError:
        pass
