"""What leaves: one answer a request, under our own headers, whoever gives it first."""

from __future__ import annotations

import json

from churn_clv.service.asgi import Message, Receive, Send
from churn_clv.service.body import drain
from churn_clv.service.call import ID_HEADER, Call
from churn_clv.service.refusals import Refused

# What tells of the software behind, or is ours to say.
DROPPED = {b"server", b"x-powered-by", b"cache-control", b"x-content-type-options", ID_HEADER}
OURS = [(b"x-content-type-options", b"nosniff"), (b"cache-control", b"no-store")]


class Reply:
    """The answer to one request: a second one, after a refusal, goes nowhere. ``status`` is 0 until it begins."""

    __slots__ = ("_closed", "_headers", "_send", "reason", "status")

    def __init__(self, send: Send, call: Call) -> None:
        self._send = send
        self._headers = [(ID_HEADER, call.id.encode()), *OURS]
        self._closed = False
        self.status = 0
        self.reason: str | None = None

    async def send(self, message: Message) -> None:
        """The application's ``send``."""
        if self._closed:
            return
        if message["type"] == "http.response.start":
            self.status = message["status"]
            kept = [(n, v) for n, v in message.get("headers", ()) if n.lower() not in DROPPED]
            message = {**message, "headers": kept + self._headers}
        await self._send(message)

    async def refuse(self, refused: Refused, receive: Receive | None = None) -> None:
        """Answer with a refusal, unless an answer has begun; with ``receive`` the rest of the request is read first."""
        if self.status:
            return
        self.status, self.reason, self._closed = refused.status, refused.reason, True
        body = json.dumps({"detail": refused.detail}).encode()
        headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
        headers += [(name.lower().encode(), value.encode()) for name, value in refused.headers.items()]
        if refused.status in (408, 413):
            headers.append((b"connection", b"close"))
        start = {"type": "http.response.start", "status": refused.status, "headers": headers + self._headers}
        await self._send(start)
        await self._send({"type": "http.response.body", "body": body, "more_body": True})
        if refused.unread and receive is not None:
            await drain(receive)
        await self._send({"type": "http.response.body", "body": b"", "more_body": False})
