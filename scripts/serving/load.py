"""Load on a loopback port: a closed loop of clients, or requests at a constant rate whatever the answers do.

    python scripts/serving/load.py < ask.json

``ask.json``: port, path, bodies (a file, one JSON body a line, sent in turn), clients, seconds, and for an open loop
``rate`` (requests a second). Prints one JSON document: requests, failures by status, and milliseconds. In an open loop
a time runs from the moment the request was due, so that a stall is not hidden by requests that were never sent.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import math
import sys
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httptools
import uvloop

WARM_UP_S = 1.0
MOST_CONNECTIONS = 256


class Connection(asyncio.Protocol):
    """One kept-alive connection: a request at a time; ``done`` is told the status and when it was sent."""

    def __init__(self, done: Callable[[Connection, int, float], None]) -> None:
        self._done = done
        self._parser: Any = None
        self._transport: Any = None  # uvloop's transports are no asyncio.Transport
        self.since = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def send(self, request: bytes, since: float) -> None:
        """Ask; ``since`` is the moment that the answer's time is counted from."""
        self.since, self._parser = since, httptools.HttpResponseParser(self)
        self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_message_complete(self) -> None:
        status, since, self.since = self._parser.get_status_code(), self.since, 0.0
        self._done(self, status, since)

    def connection_lost(self, error: Exception | None) -> None:
        if self.since:
            self._done(self, 0, self.since)

    def close(self) -> None:
        """Hang up, whatever is under way."""
        self.since = 0.0
        if self._transport is not None:
            self._transport.abort()


class Load:
    """What was sent and what came back."""

    def __init__(self, port: int, path: str, bodies: list[bytes]) -> None:
        self.port = port
        head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Type: application/json\r\nContent-Length: "
        self._requests: Iterator[bytes] = itertools.cycle(
            [head.encode() + str(len(body)).encode() + b"\r\n\r\n" + body for body in bodies]
        )
        self.statuses: Counter[int] = Counter()
        self.times: list[float] = []
        self.began = self.ends = 0.0
        self.all, self.first, self.last = 0, math.inf, 0.0

    def note(self, status: int, since: float) -> None:
        """Count an answer, once the warm-up is over."""
        self.all += 1
        if since >= self.began:
            self.last = time.perf_counter()
            self.first = min(self.first, since)
            self.statuses[status] += 1
            self.times.append(self.last - since)

    async def connect(self, done: Callable[[Connection, int, float], None]) -> Connection:
        """A new connection."""
        _, made = await asyncio.get_running_loop().create_connection(lambda: Connection(done), "127.0.0.1", self.port)
        return made

    async def closed(self, clients: int, seconds: float) -> None:
        """So many clients, each asking again as soon as it is answered."""
        left, over = clients, asyncio.Event()

        def done(connection: Connection, status: int, since: float) -> None:
            nonlocal left
            self.note(status, since)
            if status and (time.perf_counter() < self.ends or not self.times):
                connection.send(next(self._requests), time.perf_counter())
                return
            left -= 1
            connection.close()
            if not left:
                over.set()

        connections = [await self.connect(done) for _ in range(clients)]
        self.began = time.perf_counter() + WARM_UP_S
        self.ends = self.began + seconds
        for connection in connections:
            connection.send(next(self._requests), time.perf_counter())
        await over.wait()

    async def open(self, rate: float, seconds: float) -> None:
        """So many requests a second, evenly, on as many connections as it takes."""
        free: deque[Connection] = deque()
        waiting: deque[float] = deque()
        connections: list[Connection] = []

        def done(connection: Connection, status: int, since: float) -> None:
            self.note(status, since)
            if not status:
                connections.remove(connection)
            elif waiting:
                connection.send(next(self._requests), waiting.popleft())
            else:
                free.append(connection)

        self.began = time.perf_counter()
        self.ends = self.began + seconds
        for number in range(int(rate * seconds)):
            due = self.began + number / rate
            if (early := due - time.perf_counter()) > 0:
                await asyncio.sleep(early)
            if not free and len(connections) < MOST_CONNECTIONS:
                connections.append(await self.connect(done))
                free.append(connections[-1])
            if free:
                free.popleft().send(next(self._requests), due)
            else:
                waiting.append(due)
        for _ in range(300):
            if not waiting and len(free) == len(connections):
                break
            await asyncio.sleep(0.1)
        unanswered = len(waiting) + len(connections) - len(free)
        self.statuses[0] += unanswered
        for connection in connections:
            connection.close()

    def told(self) -> dict[str, Any]:
        """The document that is printed."""
        ordered = sorted(self.times)
        good = sum(count for status, count in self.statuses.items() if status == 200)

        def at(share: float) -> float | None:
            return round(ordered[min(len(ordered) - 1, int(share * len(ordered)))] * 1000, 3) if ordered else None

        return {
            "requests": len(ordered),
            "with_warm_up": self.all,
            "failed": sum(self.statuses.values()) - good,
            "statuses": {str(status): count for status, count in sorted(self.statuses.items())},
            "per_second": good / (self.last - self.first) if ordered else 0.0,
            "p50_ms": at(0.5), "p99_ms": at(0.99), "p999_ms": at(0.999), "max_ms": at(1.0),
        }  # fmt: skip


def main() -> None:
    """Read what is asked, do it, print what came."""
    asked = json.load(sys.stdin)
    load = Load(asked["port"], asked["path"], Path(asked["bodies"]).read_bytes().splitlines())
    if asked.get("rate"):
        uvloop.run(load.open(asked["rate"], asked["seconds"]))
    else:
        uvloop.run(load.closed(asked["clients"], asked["seconds"]))
    print(json.dumps(load.told()))


if __name__ == "__main__":
    main()
