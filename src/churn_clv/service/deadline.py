"""Until when a request is worth answering: set once, looked at between the steps of its work."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable

# What work calls between its steps; it raises TooLate.
Check = Callable[[], None]


class TooLate(Exception):
    """Nobody waits for this answer any more."""


class Deadline:
    """A moment of the monotonic clock, ``seconds`` from now."""

    __slots__ = ("at",)

    def __init__(self, seconds: float = math.inf) -> None:
        self.at = time.monotonic() + seconds

    def left(self) -> float:
        """Seconds until then, never below 0."""
        return max(0.0, self.at - time.monotonic())

    def check(self) -> None:
        """Raise TooLate when it is past: the hook to call between two steps of the work."""
        if time.monotonic() >= self.at:
            raise TooLate

    @classmethod
    def last(cls, deadlines: Iterable[Deadline]) -> Deadline:
        """The latest of several, of work that is shared: it goes on while anyone waits. Of none: never."""
        out = cls()
        out.at = max((d.at for d in deadlines), default=math.inf)
        return out


def unlimited() -> None:
    """The check of work that may take as long as it needs."""
