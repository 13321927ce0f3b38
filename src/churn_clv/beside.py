"""Work beside other work, in threads that do not keep a process alive which the user has interrupted.

Threads, as LightGBM, Polars and numpy leave Python free while they compute.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

A = TypeVar("A")
T = TypeVar("T")
# Pieces of work where nothing else is asked for: more of them need more memory.
AT_ONCE = 2


class Beside(Generic[T]):
    """Begun at once; ``result`` waits for it."""

    def __init__(self, work: Callable[[], T]) -> None:
        self._found: list[T] = []
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, args=(work,), daemon=True)
        self._thread.start()

    def _run(self, work: Callable[[], T]) -> None:
        try:
            self._found.append(work())
        except BaseException as error:  # raised again where the result is asked for
            self._error = error

    def result(self) -> T:
        """What the work gave; raises what it raised."""
        self._thread.join()
        if self._error:
            raise self._error
        return self._found[0]


def together(work: Callable[[A], T], items: Sequence[A], most: int) -> list[T]:
    """``work`` of each item in their order, ``most`` at a time. The first error, or Ctrl-C, begins no other item."""
    left, found = deque(enumerate(items)), dict[int, T]()

    def lane() -> None:
        try:
            while left:
                try:
                    place, item = left.popleft()
                except IndexError:  # another lane took the last one
                    return
                found[place] = work(item)
        except BaseException:
            left.clear()
            raise

    lanes = [Beside(lane) for _ in range(min(most, len(items)) - 1)]
    try:
        lane()
    finally:
        left.clear()
    for other in lanes:
        other.result()
    return [found[place] for place in range(len(items))]
