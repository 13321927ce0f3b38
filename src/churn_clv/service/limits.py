"""How much may be asked: requests a second of one caller, requests at once, and bytes of bodies in memory.

Each is a number or two per caller and none keeps a queue: what is too much is refused at once, and said when to return.
"""

from __future__ import annotations

import time
from collections import OrderedDict

CALLERS = 10_000


class Rate:
    """A token bucket for each caller, kept as one number: when the caller's bucket will be full again (GCRA).

    Of at most ``CALLERS`` callers; the one that asked longest ago is forgotten first, and starts anew.
    """

    def __init__(self, per_second: float, burst: int | None = None) -> None:
        self.each = 1.0 / per_second
        self.spare = self.each * max(0, (burst or max(1, round(2 * per_second))) - 1)
        self._full_at: OrderedDict[str, float] = OrderedDict()

    def wait(self, caller: str, now: float | None = None) -> float:
        """0 when the caller may ask now, and it is counted; else the seconds until it may."""
        now = time.monotonic() if now is None else now
        full_at = max(self._full_at.get(caller, now), now)
        if full_at - now > self.spare + 1e-9:
            return full_at - now - self.spare
        self._full_at[caller] = full_at + self.each
        self._full_at.move_to_end(caller)
        if len(self._full_at) > CALLERS:
            self._full_at.popitem(last=False)
        return 0.0

    def __len__(self) -> int:
        return len(self._full_at)


class Room:
    """So much of something may be taken at once: requests being answered, or bytes held."""

    def __init__(self, most: int) -> None:
        self.most, self.taken = most, 0

    def take(self, amount: int = 1) -> bool:
        """Whether there was room; then it is taken."""
        if self.taken + amount > self.most:
            return False
        self.taken += amount
        return True

    def give(self, amount: int = 1) -> None:
        """Give it back."""
        self.taken -= amount
