"""Requests that wait are answered together: one call for all of them as soon as a thread is free.

A call on tables costs nearly as much for one customer as for twenty, most of it planning. Who comes first is answered
alone at once, and who comes meanwhile is answered together by the next call. Between two calls the event loop gets its
turn: callers that were just answered mostly ask again, and would otherwise miss the next call by a hair, so that they
split into two halves that wait for each other.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

A = TypeVar("A")
R = TypeVar("R")
log = logging.getLogger("churn_clv.service")
# Seconds in which nobody new has come before the next call begins, and how long it waits for that: as long as the last
# call took, between these two. To leave before all have asked again costs a call more, which is dearer than to wait.
QUIET, PATIENCE, MOST_PATIENCE = 0.002, 0.02, 0.1


class Full(Exception):
    """Too much waits already."""


@dataclass(frozen=True, eq=False)
class _Waiting(Generic[A, R]):
    """A request, how much work it is, and who waits for its answer."""

    asked: A
    weight: int
    future: asyncio.Future[R]
    loop: asyncio.AbstractEventLoop


class Desk(Generic[A, R]):
    """Up to ``threads`` calls at a time, each of all that waits up to ``at_once`` weight (one request may weigh more).

    ``together`` gives an answer for each of some requests, in their order; it must answer each as it would alone. If it
    raises, each request is asked again alone, so that nobody fails for a neighbour. Beyond ``most_waiting`` weight a
    request is turned away with Full, unless nothing else waits.
    """

    def __init__(
        self, together: Callable[[Sequence[A]], Sequence[R]], executor: Executor, *, threads: int, at_once: int,
        most_waiting: int,
    ) -> None:  # fmt: skip
        self._together, self._executor = together, executor
        self._threads, self._at_once, self._most = threads, at_once, most_waiting
        self._lock = threading.Lock()
        self._queue: deque[_Waiting[A, R]] = deque()
        self._weight, self._running, self._come = 0, 0, 0

    async def ask(self, asked: A, weight: int) -> R:
        """The answer to ``asked``. Raises Full, and whatever the call raises for this request alone."""
        loop = asyncio.get_running_loop()
        waiting = _Waiting(asked, weight, loop.create_future(), loop)
        with self._lock:
            if self._queue and self._weight + weight > self._most:
                raise Full
            self._queue.append(waiting)
            self._weight += weight
            self._come += 1
            start = self._running < self._threads
            self._running += start
        if start:
            self._executor.submit(self._drain)
        found: R = await waiting.future
        return found

    def _drain(self) -> None:
        """Answer until nothing waits."""
        while batch := self._take():
            began = time.monotonic()
            self._deliver([w for w in batch if not w.future.cancelled()])
            if self._queue or len(batch) > 1:
                self._listen(batch[-1].loop, patience(time.monotonic() - began))

    def _listen(self, loop: asyncio.AbstractEventLoop, seconds: float) -> None:
        """Let the loop hand out answers and read who comes, until for a moment nobody has; so many seconds at most."""
        ends, heard = time.monotonic() + seconds, -1
        while heard != self._come and (left := ends - time.monotonic()) > 0:
            heard, quiet = self._come, threading.Event()
            try:  # a timer of the loop's, which is late where the loop is busy
                loop.call_soon_threadsafe(loop.call_later, QUIET, quiet.set)
            except RuntimeError:  # closed: nobody comes
                return
            quiet.wait(left)

    def _take(self) -> list[_Waiting[A, R]]:
        with self._lock:
            batch: list[_Waiting[A, R]] = []
            taken = 0
            while self._queue and (not batch or taken + self._queue[0].weight <= self._at_once):
                batch.append(self._queue.popleft())
                taken += batch[-1].weight
            self._weight -= taken
            self._running -= not batch
        return batch

    def _deliver(self, batch: list[_Waiting[A, R]]) -> None:
        try:
            found: list[R | Exception] = [*self._together([w.asked for w in batch])] if batch else []
            if len(found) != len(batch):
                raise ValueError("as many answers as requests are needed")
        except Exception as error:
            if len(batch) == 1:
                found = [error]
            else:
                name = type(error).__name__
                log.warning("%s in a shared call of %d requests; each is repeated alone", name, len(batch))
                for waiting in batch:
                    self._deliver([waiting])
                return
        for loop in {w.loop for w in batch}:
            own = [(w.future, result) for w, result in zip(batch, found, strict=True) if w.loop is loop]
            try:
                loop.call_soon_threadsafe(_tell, own)
            except RuntimeError:  # the loop is closed: nobody waits any longer
                continue


def patience(took: float) -> float:
    """Seconds to wait for callers after a call that took so many."""
    return max(PATIENCE, min(took, MOST_PATIENCE))


def _tell(answers: list[tuple[asyncio.Future[Any], Any]]) -> None:
    """Hand out answers, in the loop that waits for them; who gave up gets none."""
    for future, result in answers:
        if future.done():
            continue
        if isinstance(result, Exception):
            future.set_exception(result)
        else:
            future.set_result(result)
