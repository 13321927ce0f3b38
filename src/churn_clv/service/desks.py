"""Who reads and who answers: small requests at one desk and large ones at another, so that none waits for a giant."""

from __future__ import annotations

import asyncio
import datetime as dt
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

from churn_clv.service.answers import answer
from churn_clv.service.call import Call
from churn_clv.service.contract import MAX_CUSTOMERS, MAX_EVENTS, PredictRequest
from churn_clv.service.deadline import Deadline, TooLate
from churn_clv.service.desk import Desk
from churn_clv.service.measures import Measures
from churn_clv.service.reading import Histories, Unacceptable, read

if TYPE_CHECKING:
    from churn_clv.bundle import Bundle

# Bytes that are read in the event loop: going to a thread and back would cost more.
READ_AT_ONCE = 32 * 1024
# Weights are events and some for each customer (``Histories.weight``). Up to SMALL a request goes to the quick desk.
SMALL = 2_000
QUICK_AT_ONCE, QUICK_WAITING = 20_000, 100_000
LARGEST = MAX_EVENTS + 10 * MAX_CUSTOMERS
LARGE_WAITING = 4 * LARGEST


@dataclass(frozen=True, eq=False)
class _Asked:
    histories: Histories
    bundle: Bundle
    deadline: Deadline


Answered = bytes | Unacceptable | TooLate


class Desks:
    """Bytes in, bytes out, for one application."""

    def __init__(self, measures: Measures | None = None) -> None:
        self._measures = measures
        # More calls at once than processors only wait for each other.
        large = max(1, (os.cpu_count() or 2) - 1)
        self._threads = ThreadPoolExecutor(2 * large + 1, "predict")
        self._quick: Desk[_Asked, Answered] = Desk(
            self._together, self._threads, threads=1, at_once=QUICK_AT_ONCE, most_waiting=QUICK_WAITING
        )
        self._large: Desk[_Asked, Answered] = Desk(
            self._together, self._threads, threads=large, at_once=LARGEST, most_waiting=LARGE_WAITING
        )

    async def answer(self, body: bytes, bundle: Bundle, now: dt.datetime, call: Call | None = None) -> bytes:
        """The JSON text of the answer to a request's body. ``now`` (with a zone) is the server's clock.

        Raises ValidationError, Unacceptable, Full where too much waits, or TooLate past the call's deadline.
        """
        call = call or Call()
        if len(body) <= READ_AT_ONCE:
            histories = _read(body, bundle, now, call)
        else:
            histories = await asyncio.get_running_loop().run_in_executor(self._threads, _read, body, bundle, now, call)
        desk = self._quick if histories.weight <= SMALL else self._large
        found = await desk.ask(_Asked(histories, bundle, call.deadline), histories.weight)
        if isinstance(found, Exception):
            raise found
        return found

    def _together(self, asked: Sequence[_Asked]) -> list[Answered]:
        """Answers in the order of the requests; those that met another bundle, as it was replaced, by their own call.

        Nothing is done for those that waited too long; the others' work goes on while anyone waits for it.
        """
        found: dict[int, Answered] = {place: TooLate() for place, a in enumerate(asked) if not a.deadline.left()}
        for version in dict.fromkeys(id(a.bundle) for a in asked):
            places = [place for place, a in enumerate(asked) if id(a.bundle) == version and place not in found]
            if places:
                check = Deadline.last(asked[place].deadline for place in places).check
                histories = [asked[place].histories for place in places]
                results = answer(histories, asked[places[0]].bundle, self._measures, check)
                found |= dict(zip(places, results, strict=True))
        return [found[place] for place in range(len(asked))]


def _read(body: bytes, bundle: Bundle, now: dt.datetime, call: Call) -> Histories:
    call.deadline.check()
    histories = read(PredictRequest.model_validate_json(body), bundle, now)
    call.note(len(histories.names), len(histories.owner), bundle.version)
    return histories
