"""Two steps of a long piece of work at once, in threads: while LightGBM and Polars compute, Python is free.

One query on a piece of a log keeps one processor busy, not two. Results come in the order of the items, and beside
the one in use no more are held than are made at once.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from queue import Full, Queue
from types import TracebackType
from typing import Any, Generic, TypeVar

AT_ONCE = 2
A = TypeVar("A")
R = TypeVar("R")


def side_by_side(work: Callable[[A], R], items: Iterable[A], most: int = AT_ONCE) -> Iterator[R]:
    """``work`` of each item, ``most`` at a time. Its first error ends it: what has not begun is not begun."""
    left = iter(items)
    with ThreadPoolExecutor(most, "side-by-side") as pool:
        waiting: deque[Future[R]] = deque(pool.submit(work, item) for item in islice(left, most))
        try:
            while waiting:
                found = waiting.popleft().result()
                waiting.extend(pool.submit(work, item) for item in islice(left, 1))
                yield found
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def ahead(items: Iterable[A]) -> Iterator[A]:
    """The items, each made while the one before is worked on."""
    left, end = iter(items), object()
    for item in side_by_side(lambda _: next(left, end), iter(int, 1), most=1):
        if item is end:
            return
        yield item  # type: ignore[misc]


class Beside(Generic[A, R]):
    """``work`` on items in a thread of its own, while they are still being made: ``give`` each, then take ``result``.

    What is left without ``result`` breaks the work off: the next item that it asks for raises BrokenOff in it.
    """

    def __init__(self, work: Callable[[Iterator[A]], R], most: int = AT_ONCE) -> None:
        self._items: Queue[Any] = Queue(most)
        self._pool = ThreadPoolExecutor(1, "beside")
        self._done = self._pool.submit(work, self._given())

    def __enter__(self) -> Beside[A, R]:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._put(_BROKEN_OFF)
        self._pool.shutdown(wait=True)

    def give(self, item: A) -> None:
        """Hand an item over; waits where ``most`` are waiting, and never for work that has ended."""
        self._put(item)

    def result(self) -> R:
        """What the work returns of all items given, or its error."""
        self._put(_END)
        return self._done.result()

    def _put(self, item: object) -> None:
        while not self._done.done():
            try:
                return self._items.put(item, timeout=0.1)
            except Full:
                continue

    def _given(self) -> Iterator[A]:
        while (item := self._items.get()) is not _END:
            if item is _BROKEN_OFF:
                raise BrokenOff
            yield item


class BrokenOff(Exception):
    """Work ``Beside`` is not wanted any more."""


_END, _BROKEN_OFF = object(), object()
