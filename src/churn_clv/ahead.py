"""Two steps of a long piece of work at once, in threads: while LightGBM and Polars compute, Python is free.

One query on a piece of a log keeps one processor busy, not two. Results come in the order of the items, and beside
the one in use no more are held than are made at once.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

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
