"""Who reads and who answers: small requests at one desk and large ones at another, so that none waits for a giant."""

from __future__ import annotations

import asyncio
import datetime as dt
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

from churn_clv.playbook import Actions
from churn_clv.service.answers import answer
from churn_clv.service.call import Call
from churn_clv.service.contract import MAX_CUSTOMERS, MAX_EVENTS, MAX_TEXTS, PredictRequest
from churn_clv.service.deadline import Deadline, TooLate
from churn_clv.service.desk import Desk
from churn_clv.service.measures import Measures
from churn_clv.service.reading import WRITTEN, Histories, Unacceptable, read

if TYPE_CHECKING:
    from churn_clv.bundle import Bundle

# Bytes that are read in the event loop: going to a thread and back would cost more.
READ_AT_ONCE = 32 * 1024
# Weights are events and some for each customer (``Histories.weight``). Up to SMALL a request goes to the quick desk.
SMALL = 2_000
QUICK_AT_ONCE, QUICK_WAITING = 20_000, 100_000
LARGEST = MAX_EVENTS + WRITTEN * MAX_TEXTS + 10 * MAX_CUSTOMERS
LARGE_WAITING = 4 * LARGEST


Result = bytes | Unacceptable | TooLate


@dataclass(frozen=True, eq=False)
class _Asked:
    histories: Histories
    bundle: Bundle
    deadline: Deadline


class Desks:
    """Bytes in, bytes out, for one application."""

    def __init__(self, measures: Measures | None = None, actions: Actions | None = None) -> None:
        self._measures, self._actions = measures, actions
        # More calls at once than processors only wait for each other.
        large = max(1, (os.cpu_count() or 2) - 1)
        self._threads = ThreadPoolExecutor(2 * large + 1, "predict")
        self._quick: Desk[_Asked, Result] = Desk(
            self._together, self._threads, threads=1, at_once=QUICK_AT_ONCE, most_waiting=QUICK_WAITING
        )
        self._large: Desk[_Asked, Result] = Desk(
            self._together, self._threads, threads=large, at_once=LARGEST, most_waiting=LARGE_WAITING
        )

    async def answer(self, body: bytes, bundle: Bundle, now: dt.datetime, call: Call | None = None) -> bytes:
        """The JSON text of the answer to a request's body. ``now`` (with a zone) is the server's clock.

        Raises ValidationError, Unacceptable, Full where too much waits, or TooLate after the deadline of ``call``,
        which is also told what was asked.
        """
        call = call or Call()
        if len(body) <= READ_AT_ONCE:
            histories = _read(body, bundle, now)
        else:
            histories = await asyncio.get_running_loop().run_in_executor(self._threads, _read, body, bundle, now)
        call.note(len(histories.names), len(histories.owner), bundle.version)
        desk = self._quick if histories.weight <= SMALL else self._large
        found = await desk.ask(_Asked(histories, bundle, call.deadline), histories.weight)
        if isinstance(found, Exception):
            raise found
        return found

    def _together(self, asked: Sequence[_Asked]) -> list[Result]:
        """Answers in the order of the requests; those that met another bundle, as it was replaced, by their own call.

        For whose deadline is past nothing is done; the work for the others goes on until the last of theirs.
        """
        found: dict[int, Result] = {p: TooLate() for p, a in enumerate(asked) if not a.deadline.left()}
        waiting = [place for place in range(len(asked)) if place not in found]
        for version in dict.fromkeys(id(asked[place].bundle) for place in waiting):
            places = [place for place in waiting if id(asked[place].bundle) == version]
            check = Deadline.last(asked[place].deadline for place in places).check
            histories, bundle = [asked[place].histories for place in places], asked[places[0]].bundle
            results = answer(histories, bundle, check, self._measures, self._actions)
            found |= dict(zip(places, results, strict=True))
        return [found[place] for place in range(len(asked))]


def _read(body: bytes, bundle: Bundle, now: dt.datetime) -> Histories:
    return read(PredictRequest.model_validate_json(body), bundle, now)
