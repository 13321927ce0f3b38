"""What the service is asked: the models of requests behind /openapi.json (contracts K7 and K8)."""

from __future__ import annotations

import datetime as dt
from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator
from pydantic_core import PydanticCustomError

from churn_clv.canonical import LIMIT, PURCHASE
from churn_clv.errors import nearest
from churn_clv.explain import DEFAULT, MOST, languages

MAX_CUSTOMERS = 1_000
MAX_EVENTS = 100_000
MAX_EXPLAINED = 200  # customers whose scores one request may have explained: each costs milliseconds
MAX_BODY_BYTES = 16 * 1024 * 1024
_SHOWN_KEY = 50

Text = Annotated[str, StringConstraints(max_length=200)]
Number = Annotated[float, Field(ge=-LIMIT, le=LIMIT)]
# The white space that the log's own converter strips: two ids that differ in nothing else are one customer.
Id = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=200)]
Kind = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=100)]
Moment = Annotated[str, StringConstraints(max_length=64)]
# One bad value is reported per column: reporting all would let a small body make millions of errors.
Ids = Annotated[list[Id], Field(max_length=MAX_EVENTS, fail_fast=True)]
Moments = Annotated[list[Moment], Field(max_length=MAX_EVENTS, fail_fast=True)]
Kinds = Annotated[list[Kind], Field(max_length=MAX_EVENTS, fail_fast=True)]
Texts = Annotated[list[Text | None], Field(max_length=MAX_EVENTS, fail_fast=True)]
Numbers = Annotated[list[Number | None], Field(max_length=MAX_EVENTS, fail_fast=True)]
# More words than these in one request are work for another one; of each text the beginning is read.
MAX_TEXTS = 2_000
Words = Annotated[str, StringConstraints(max_length=10_000)]
ManyWords = Annotated[list[Words | None], Field(max_length=MAX_EVENTS, fail_fast=True)]
LateMoments = Annotated[list[Moment | None], Field(max_length=MAX_EVENTS, fail_fast=True)]


class Asked(BaseModel):
    """A part of a request: numbers are JSON numbers, NaN and unknown keys are refused, values are never repeated.

    Unknown keys are let in and then refused by one error that names the first: pydantic's own ``forbid`` makes an
    error of each, and a body of a million of them holds the process for seconds and takes a gigabyte.
    """

    model_config = ConfigDict(
        extra="allow",
        strict=True,
        allow_inf_nan=False,
        hide_input_in_errors=True,
        json_schema_extra={"additionalProperties": False},
    )

    @model_validator(mode="after")
    def _no_unknown_key(self) -> Self:
        if self.model_extra:
            key = next(iter(self.model_extra))[:_SHOWN_KEY]
            hint = nearest(key, type(self).model_fields)
            raise PydanticCustomError("extra_forbidden", "unknown key '{key}'.{hint}", {"key": key, "hint": hint})
        return self


class Event(Asked):
    """One event of a customer, in the log's own columns."""

    time: Annotated[
        Moment,
        Field(
            description="ISO 8601: a date, or a date and time. With an offset (or Z) it is converted to the business's "
            "time zone; without, it is local there already.",
            examples=["2024-03-05T14:30:00+01:00", "2024-03-05 14:30:00", "2024-03-05"],
        ),
    ]
    event_type: Annotated[
        Kind, Field(description="purchase, return, or a type of the training log; others are ignored and counted.")
    ] = PURCHASE
    amount: Annotated[
        Number | None, Field(description="Money in major units: 12.5 is 12 dollars 50. A return may have either sign.")
    ] = None
    order_id: Text | None = None
    product_id: Text | None = None
    category: Text | None = None
    quantity: Annotated[Number | None, Field(description="In units.")] = None
    discount: Annotated[Number | None, Field(description="Money in major units.")] = None
    channel: Text | None = None
    value: Annotated[Number | None, Field(description="Another number of the event, such as a score.")] = None
    known_at: Annotated[
        Moment | None,
        Field(description="When the event became known, if later than its time. ISO 8601."),
    ] = None
    event_id: Annotated[Text | None, Field(description="Repeats within a customer are dropped and counted.")] = None
    margin: Annotated[
        Number | None,
        Field(description="Of the amount what is left when its cost is paid, in major units; where the log tells it."),
    ] = None
    sentiment: Annotated[
        float | None, Field(ge=-1, le=1, description="Of what the customer wrote: -1 to 1. Wins over that of `text`.")
    ] = None
    topics: Annotated[Text | None, Field(description="What it was about: the model's names, a space between.")] = None
    text: Annotated[
        Words | None,
        Field(description="Words of feedback, where the model reads them: they become numbers and are not kept."),
    ] = None


class Customer(Asked):
    """One customer with the complete history since the first event, in any order."""

    customer_id: Id
    cutoff: Annotated[
        dt.date | None,
        Field(description="The local midnight that starts this day; events at or after it are ignored, counted."),
    ] = None
    # One bad event is reported per customer: reporting all would let a small body make millions of errors.
    events: Annotated[list[Event], Field(max_length=MAX_EVENTS, fail_fast=True)]


EXAMPLE: dict[str, Any] = {
    "customers": [
        {
            "customer_id": "c-1001",
            "cutoff": "2024-06-01",
            "events": [
                {"time": "2024-03-05T14:30:00+01:00", "event_type": "purchase", "amount": 24.9, "order_id": "o-1"},
                {"time": "2024-04-19", "amount": 31.0, "order_id": "o-2", "category": "tea", "quantity": 2},
                {"time": "2024-04-23T09:12:00", "event_type": "return", "amount": -15.5, "order_id": "o-2"},
                {"time": "2024-05-28T18:05:00", "amount": 18.0, "order_id": "o-3"},
            ],
        }
    ]
}


EXAMPLE_COLUMNS: dict[str, Any] = {
    "cutoffs": {"customer_id": ["c-1001"], "cutoff": ["2024-06-01"]},
    "events": {
        "customer_id": ["c-1001", "c-1001", "c-1001", "c-1001"],
        "time": ["2024-03-05T14:30:00+01:00", "2024-04-19", "2024-04-23T09:12:00", "2024-05-28T18:05:00"],
        "event_type": ["purchase", "purchase", "return", "purchase"],
        "amount": [24.9, 31.0, -15.5, 18.0],
        "order_id": ["o-1", "o-2", "o-2", "o-3"],
        "category": [None, "tea", None, None],
        "quantity": [None, 2, None, None],
    },
}


class EventColumns(Asked):
    """Events as equally long columns, whosever they are and in any order; a column left out is null throughout."""

    customer_id: Ids
    time: Moments
    event_type: Annotated[Kinds | None, Field(description="Left out: purchases.")] = None
    amount: Annotated[Numbers | None, Field(description="Money in major units.")] = None
    order_id: Texts | None = None
    product_id: Texts | None = None
    category: Texts | None = None
    quantity: Numbers | None = None
    discount: Numbers | None = None
    channel: Texts | None = None
    value: Numbers | None = None
    known_at: LateMoments | None = None
    event_id: Texts | None = None
    margin: Numbers | None = None
    sentiment: Annotated[Numbers | None, Field(description="-1 to 1.")] = None
    topics: Texts | None = None
    text: ManyWords | None = None

    @model_validator(mode="after")
    def _equally_long(self) -> Self:
        _equal(self, len(self.customer_id))
        return self


class CutoffColumns(Asked):
    """Customers' own cutoffs; null for the request's. A customer without any event is named here."""

    customer_id: Annotated[list[Id], Field(max_length=MAX_CUSTOMERS, fail_fast=True)]
    cutoff: Annotated[list[dt.date | None], Field(max_length=MAX_CUSTOMERS, fail_fast=True)]

    @model_validator(mode="after")
    def _one_each(self) -> Self:
        _equal(self, len(self.customer_id))
        _once(self.customer_id, "cutoffs")
        return self


class PredictRequest(Asked):
    """Up to 1,000 customers with up to 100,000 events in all: a list of ``customers``, or ``events`` by columns.

    By columns the answers come in the order of the customers' first events, then those that only ``cutoffs`` names.
    """

    model_config = ConfigDict(
        json_schema_extra={
            "additionalProperties": False,
            "examples": [EXAMPLE, EXAMPLE_COLUMNS],
            # A key that is null is as good as one that is not there, and only ``events`` may be.
            "oneOf": [
                {"required": ["customers"], "properties": {"events": {"type": "null"}}},
                {
                    "required": ["events"],
                    "properties": {"events": {"type": "object"}},
                    "not": {"required": ["customers"]},
                },
            ],
        }
    )

    customers: Annotated[
        list[Customer],
        Field(min_length=1, max_length=MAX_CUSTOMERS, json_schema_extra=lambda schema: schema.pop("default", None)),
    ] = []
    events: EventColumns | None = None
    cutoffs: Annotated[CutoffColumns | None, Field(description="Only with events by columns.")] = None
    cutoff: Annotated[
        dt.date | None,
        Field(description="For customers without their own; default: the latest midnight in the business's time zone."),
    ] = None
    explain: Annotated[
        int,
        Field(
            ge=0,
            le=MOST,
            description=f"How many reasons for each score; above 0 at most {MAX_EXPLAINED:,} customers are taken.",
        ),
    ] = 0
    language: Annotated[
        str,
        Field(pattern=f"^({'|'.join(languages())})$", description=f"Of the reasons: {' or '.join(languages())}."),
    ] = DEFAULT

    segments: Annotated[
        bool, Field(description="Also each customer's segments; null throughout where the model has none.")
    ] = False

    action: Annotated[
        bool, Field(description="Also the action that pays most; null throughout where the service was given none.")
    ] = False

    @model_validator(mode="after")
    def _one_form(self) -> Self:
        if self.customers and (self.events is not None or self.cutoffs is not None):
            raise PydanticCustomError("two_forms", "send customers, or events with cutoffs; not both")
        if not self.customers and self.events is None:
            raise PydanticCustomError("missing", "send customers, or events by columns")
        return self

    @model_validator(mode="after")
    def _one_history_each(self) -> Self:
        events = sum(len(c.events) for c in self.customers)
        if events > MAX_EVENTS:
            message = "{events} events in all, at most {most} are taken; send fewer customers at a time"
            raise PydanticCustomError("too_many_events", message, {"events": events, "most": MAX_EVENTS})
        said = self.events.text or [] if self.events else [e.text for c in self.customers for e in c.events]
        if (texts := len(said) - said.count(None)) > MAX_TEXTS:
            message = "{texts} texts in all, at most {most} are taken; send fewer customers at a time"
            raise PydanticCustomError("too_many_texts", message, {"texts": texts, "most": MAX_TEXTS})
        _once([c.customer_id for c in self.customers], "customers")
        named = len(self.names)
        if self.events is not None and not 1 <= named <= MAX_CUSTOMERS:
            message = "{count} customers, 1 to {most} are taken at a time"
            raise PydanticCustomError("customers", message, {"count": named, "most": MAX_CUSTOMERS})
        if self.explain and len(self.names) > MAX_EXPLAINED:
            message = "reasons of {customers} customers are asked for, at most {most} are given; send fewer at a time"
            where = {"customers": len(self.names), "most": MAX_EXPLAINED}
            raise PydanticCustomError("too_many_explained", message, where)
        return self

    @property
    def names(self) -> list[str]:
        """The customers, in the answers' order."""
        if self.events is None:
            return [c.customer_id for c in self.customers]
        more = self.cutoffs.customer_id if self.cutoffs is not None else []
        return [*dict.fromkeys((*self.events.customer_id, *more))]


def _equal(columns: Asked, rows: int) -> None:
    """Raise unless every given column has so many values."""
    for name in type(columns).model_fields:
        found = getattr(columns, name)
        if found is not None and len(found) != rows:
            message = "{name} has {found} values, customer_id {rows}; columns are equally long"
            raise PydanticCustomError("unequal_columns", message, {"name": name, "found": len(found), "rows": rows})


def _once(names: list[str], where: str) -> None:
    """Raise if a customer is named twice."""
    if len(set(names)) == len(names):
        return
    first: dict[str, int] = {}
    again = [(first[name], i) for i, name in enumerate(names) if first.setdefault(name, i) != i]
    message = "{count} customer_id(s) repeated (first: {where} {one} and {two}); send one history each"
    what = {"count": len(again), "where": where, "one": again[0][0], "two": again[0][1]}
    raise PydanticCustomError("repeated_customer_id", message, what)
