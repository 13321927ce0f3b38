"""Work beside other work, in a thread that does not keep a process alive which the user has interrupted."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


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
