"""The outermost layer: what is not for us is answered here, before any other code sees or counts it (contract K7).

Pure ASGI and outside of BentoML, which labels its metrics with any path it meets and accepts a body of any size. In
order: path, host, key, rate, room, body, room again, deadline. Health endpoints pass by all of them.
"""

from __future__ import annotations

import asyncio
import logging
import time
import traceback

from churn_clv.service import call as calls
from churn_clv.service.asgi import App, Message, Receive, Scope, Send
from churn_clv.service.body import Body, check_headers, replay
from churn_clv.service.call import Call
from churn_clv.service.deadline import Deadline, TooLate
from churn_clv.service.guards import Guards
from churn_clv.service.measures import CONTENT_TYPE, Measures
from churn_clv.service.refusals import INTERNAL, TOO_LATE, Refused, no_room
from churn_clv.service.reply import Reply

HEALTH = frozenset({"/livez", "/readyz", "/healthz"})
METRICS = "/metrics"
NOTHING_HERE = "There is nothing here. POST /predict, GET /model, GET /openapi.json."
log = logging.getLogger("churn_clv.service")
access = logging.getLogger("churn_clv.access")


class Gate:
    """Unknown paths 404; on ``json_paths`` other content types 415, bodies over ``max_body_bytes`` 413, slow ones 408.

    ``guards`` ask for key, rate and room, and end what takes too long. An exception of the application becomes a 500
    and is logged by type and place only: messages may hold values.
    """

    def __init__(
        self,
        app: App,
        paths: frozenset[str],
        json_paths: frozenset[str],
        max_body_bytes: int,
        guards: Guards | None = None,
        measures: Measures | None = None,
    ) -> None:
        self.app, self.paths, self.json_paths, self.max_body_bytes = app, paths, json_paths, max_body_bytes
        self.guards, self.measures = guards or Guards(), measures or Measures()
        self._late: set[asyncio.Task[None]] = set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if scope["type"] == "lifespan":
            return await self.app(scope, receive, send)
        if scope["type"] != "http":
            return await send({"type": "websocket.close", "code": 1000})
        call = calls.begin(scope)
        reply = Reply(send, call)
        self.measures.begin()
        try:
            await self._serve(scope, receive, reply, call)
        except Refused as refused:
            await reply.refuse(refused, receive)
        except TooLate:
            await reply.refuse(_late())
        except Exception as error:
            log.error("%s at %s", type(error).__name__, place(error), extra={"fields": {"request_id": call.id}})
            await reply.refuse(Refused(500, INTERNAL, "error"))
        finally:
            self._done(scope, call, reply)
        return None

    async def _serve(self, scope: Scope, receive: Receive, reply: Reply, call: Call) -> None:
        path = scope["path"]
        if path not in self.paths:
            raise Refused(404, NOTHING_HERE, "path", unread=True)
        if path in HEALTH:
            return await self.app(scope, receive, reply.send)
        self.guards.admit(scope, call)
        if path == METRICS:
            return await self._tell(scope, reply)
        if path in self.json_paths and scope["method"] == "POST":
            return await self._with_body(scope, receive, reply, call)
        return await self._in_time(scope, receive, reply, call)

    async def _with_body(self, scope: Scope, receive: Receive, reply: Reply, call: Call) -> None:
        """Hand on a request whose body has been read. A slow one takes no room among those being answered."""
        check_headers(scope["headers"], self.max_body_bytes)
        if self.guards.requests.taken >= self.guards.requests.most:
            raise no_room(unread=True)
        body = Body(self.max_body_bytes, self.guards.bodies)
        try:
            await self._in_time(scope, replay(await body.read(receive), receive), reply, call)
        finally:
            body.release()

    async def _in_time(self, scope: Scope, receive: Receive, reply: Reply, call: Call) -> None:
        """Let the application answer until the deadline. Its room is given back when its work ends, not before."""
        if not self.guards.requests.take():
            raise no_room(unread=False)
        seconds = self.guards.timeout_seconds
        call.deadline = Deadline(seconds)
        timer = asyncio.get_running_loop().call_later(seconds, self._expire, reply)
        try:
            await self.app(scope, receive, reply.send)
        finally:
            timer.cancel()
            self.guards.requests.give()

    def _expire(self, reply: Reply) -> None:
        """Answer 504 beside the application, which stops at its next look at the deadline."""
        task = asyncio.get_running_loop().create_task(reply.refuse(_late()))
        self._late.add(task)
        task.add_done_callback(self._late.discard)

    async def _tell(self, scope: Scope, reply: Reply) -> None:
        if scope["method"] != "GET":
            raise Refused(405, "GET /metrics.", "method", headers={"Allow": "GET"}, unread=True)
        page = await asyncio.get_running_loop().run_in_executor(None, self.measures.page)
        headers = [(b"content-type", CONTENT_TYPE.encode()), (b"content-length", str(len(page)).encode())]
        start: Message = {"type": "http.response.start", "status": 200, "headers": headers}
        await reply.send(start)
        await reply.send({"type": "http.response.body", "body": page})

    def _done(self, scope: Scope, call: Call, reply: Reply) -> None:
        """One line in the log and one in each metric; health probes, which come all day, are only counted."""
        seconds = time.perf_counter() - call.began
        route = scope["path"] if scope["path"] in self.paths else "other"
        self.measures.end(route, reply.status, seconds, reply.reason)
        if route in HEALTH or not access.isEnabledFor(logging.INFO):
            return
        method = scope["method"] if scope["method"] in ("GET", "POST", "HEAD", "OPTIONS", "PUT", "DELETE") else "other"
        fields = {
            "request_id": call.id, "method": method, "route": route, "status": reply.status,
            "ms": round(seconds * 1000, 2), "key": call.key, "refused": reply.reason, "customers": call.customers,
            "events": call.events, "model_version": call.model_version,
        }  # fmt: skip
        access.info("request", extra={"fields": {name: value for name, value in fields.items() if value is not None}})


def place(error: BaseException) -> str:
    """Where an exception was raised; its message may hold values."""
    frames = traceback.extract_tb(error.__traceback__)
    return f"{frames[-1].filename}:{frames[-1].lineno} in {frames[-1].name}" if frames else "an unknown place"


def _late() -> Refused:
    return Refused(504, TOO_LATE, "timeout")
