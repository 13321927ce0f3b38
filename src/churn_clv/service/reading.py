"""Requests of either form as one table of events: whose each is, and where in its request it stands."""

from __future__ import annotations

import bisect
import datetime as dt
import itertools
import operator
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import numpy as np
import polars as pl
from numpy.typing import NDArray

from churn_clv.canonical import LOG_SCHEMA, MONEY, PURCHASE, UNITS
from churn_clv.explain import DEFAULT
from churn_clv.service.contract import PredictRequest
from churn_clv.service.replies import Problem
from churn_clv.text import TEXT

if TYPE_CHECKING:
    from churn_clv.bundle import Bundle

Location = tuple[str | int, ...]
# The plain columns of a request: ids and times are text, everything else is a number.
NUMBERS = (*MONEY, *UNITS)
PLAIN = {
    name: pl.Float64() if name in NUMBERS else pl.String() for name in (*LOG_SCHEMA, TEXT) if name != "customer_id"
}
# Text that no feature and no predicate sees; text is never unreadable, so that this column need not be read at all.
UNSEEN = "order_id"
FIRST_KEY = 1_000_000_000
WRITTEN = 20  # the weight of a text more than that of another event
EXPLAINED = 400  # the weight of a customer whose score is explained


class Unacceptable(Exception):
    """A well-formed request that cannot be answered as it stands."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__(f"{len(problems)} problem(s)")
        self.problems = problems


@dataclass(frozen=True, eq=False)
class Histories:
    """One request: its customers (``names``, ``cutoffs``) and all their events as plain columns (``columns``).

    ``owner`` has, for each event, the position of its customer. Columns that are null throughout are left out.
    ``starts`` tells where each customer's events begin in a request by rows; None for one by columns. ``explain`` is
    how many reasons are asked for, in ``language``; ``segments`` and ``action`` whether they are.
    """

    names: list[str]
    cutoffs: list[dt.date]
    owner: NDArray[np.int64]
    columns: dict[str, Sequence[Any]]
    starts: list[int] | None
    explain: int = 0
    language: str = DEFAULT
    segments: bool = False
    action: bool = False

    @property
    def weight(self) -> int:
        """How much work it is: events, more for one with a text; a few for each customer, more for reasons."""
        texts = self.columns.get(TEXT, ())
        read = WRITTEN * (len(texts) - texts.count(None)) if texts else 0
        return len(self.owner) + read + (EXPLAINED if self.explain else 10) * len(self.names)

    def place(self, event: int, column: str) -> Location:
        """Where a value of the table stands in the request."""
        if self.starts is None:
            return ("events", column, event)
        customer = bisect.bisect_right(self.starts, event) - 1
        return ("customers", customer, "events", event - self.starts[customer], column)


def read(request: PredictRequest, bundle: Bundle, now: dt.datetime) -> Histories:
    """The request's table. ``now`` (with a zone) is the server's clock. Raises Unacceptable for cutoffs to come."""
    names = request.names
    cutoffs = _cutoffs(request, names, bundle, now)
    if request.events is not None:
        place = {name: i for i, name in enumerate(names)}
        owner = np.array([place[name] for name in request.events.customer_id], dtype=np.int64)
        columns, starts = {name: getattr(request.events, name) for name in PLAIN}, None
    else:
        counts = [len(c.events) for c in request.customers]
        owner, starts = np.repeat(np.arange(len(counts)), counts), [*itertools.accumulate(counts, initial=0)]
        # pydantic keeps a model's values in its dictionary; going there is a fraction of the price of asking the model
        events = [event for customer in request.customers for event in customer.events]
        told = set().union(*(event.model_fields_set for event in events))
        rows = [*map(vars, events)]
        columns = {name: [*map(operator.itemgetter(name), rows)] for name in PLAIN if name in told}
    unseen = (UNSEEN,) if bundle.definitions.rules.text else (UNSEEN, TEXT)
    given = {name: values for name, values in columns.items()
             if values and name not in unseen and any(value is not None for value in values)}  # fmt: skip
    return Histories(
        names, cutoffs, owner, given, starts, request.explain, request.language, request.segments, request.action
    )


def problem(place: Location, message: str, kind: str) -> Problem:
    """What is wrong at a place of the body."""
    return Problem(loc=["body", *place], msg=message, type=kind)


def table(histories: Sequence[Histories]) -> pl.DataFrame:
    """All events of some requests as plain columns, with ``customer_id`` the customer's position among all of them.

    A position and not the id: two requests may carry one customer with two histories. Positions are written so that
    their order as text is theirs as numbers.
    """
    given = [name for name in PLAIN if any(name in h.columns for h in histories)]
    starts = itertools.accumulate((len(h.names) for h in histories), initial=0)
    owner = [h.owner + start for start, h in zip(starts, histories, strict=False)]
    found = {"customer_id": pl.Series(np.concatenate(owner) + FIRST_KEY)}  # the log's converter makes it text
    for name in given:
        absent = PURCHASE if name == "event_type" else None
        parts = [h.columns.get(name) or [absent] * len(h.owner) for h in histories]
        values = parts[0] if len(parts) == 1 else [*itertools.chain.from_iterable(parts)]
        found[name] = pl.Series(name, values, dtype=PLAIN[name])
    found.setdefault("time", pl.Series([], dtype=pl.String))
    return pl.DataFrame(found)


def keys(positions: pl.Series) -> pl.Series:
    """Positions as text of one width."""
    return (positions.cast(pl.UInt32) + FIRST_KEY).cast(pl.String).alias("customer_id")


def position(key: str) -> int:
    """The position that a key was made of."""
    return int(key) - FIRST_KEY


def _cutoffs(request: PredictRequest, names: Sequence[str], bundle: Bundle, now: dt.datetime) -> list[dt.date]:
    """Each customer's cutoff. Tomorrow is allowed: it ends the day that is running somewhere."""
    today = now.astimezone(ZoneInfo(bundle.definitions.rules.timezone)).date()
    own, where = _own_cutoffs(request, names)
    found = [cutoff or request.cutoff or today for cutoff in own]
    late = [place if cutoff else () for cutoff, place, day in zip(own, where, found, strict=True)
            if (day - today).days > 1]  # fmt: skip
    if late:
        message = "the cutoff lies in the future; events up to it cannot be known yet"
        told = [(*place, "cutoff") if not place or place[0] == "customers" else place for place in dict.fromkeys(late)]
        raise Unacceptable([problem(place, message, "future_cutoff") for place in told])
    return found


def _own_cutoffs(request: PredictRequest, names: Sequence[str]) -> tuple[list[dt.date | None], list[Location]]:
    """The cutoffs that the request gives to customers, and where."""
    if request.events is None:
        return [c.cutoff for c in request.customers], [("customers", i) for i in range(len(names))]
    given = request.cutoffs
    own = {} if given is None else dict(zip(given.customer_id, given.cutoff, strict=True))
    place = {} if given is None else {name: i for i, name in enumerate(given.customer_id)}
    return [own.get(n) for n in names], [("cutoffs", "cutoff", place.get(n, 0)) for n in names]
