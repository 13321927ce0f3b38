"""What the service is asked: the models of requests behind /openapi.json (contracts K7 and K8)."""

from __future__ import annotations

import datetime as dt
from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, FailFast, Field, StringConstraints, model_validator
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
        str,
        StringConstraints(max_length=64),
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
        str | None,
        StringConstraints(max_length=64),
        Field(description="When the event became known, if later than its time. ISO 8601."),
    ] = None
    event_id: Annotated[Text | None, Field(description="Repeats within a customer are dropped and counted.")] = None


class Customer(Asked):
    """One customer with the complete history since the first event, in any order."""

    customer_id: Id
    cutoff: Annotated[
        dt.date | None,
        Field(description="The local midnight that starts this day; events at or after it are ignored, counted."),
    ] = None
    # One bad event is reported per customer: reporting all would let a small body make millions of errors.
    events: Annotated[list[Event], Field(max_length=MAX_EVENTS), FailFast()]


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


class PredictRequest(Asked):
    """Up to 1,000 customers with up to 100,000 events in all."""

    model_config = ConfigDict(json_schema_extra={"additionalProperties": False, "examples": [EXAMPLE]})

    customers: Annotated[list[Customer], Field(min_length=1, max_length=MAX_CUSTOMERS)]
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

    @model_validator(mode="after")
    def _one_history_each(self) -> Self:
        events = sum(len(c.events) for c in self.customers)
        if events > MAX_EVENTS:
            message = "{events} events in all, at most {most} are taken; send fewer customers at a time"
            raise PydanticCustomError("too_many_events", message, {"events": events, "most": MAX_EVENTS})
        if self.explain and len(self.customers) > MAX_EXPLAINED:
            message = "reasons of {customers} customers are asked for, at most {most} are given; send fewer at a time"
            where = {"customers": len(self.customers), "most": MAX_EXPLAINED}
            raise PydanticCustomError("too_many_explained", message, where)
        first: dict[str, int] = {}
        again = [(first[c.customer_id], i) for i, c in enumerate(self.customers)
                 if first.setdefault(c.customer_id, i) != i]  # fmt: skip
        if again:
            message = "{count} customer_id(s) repeated (first: customers {one} and {two}); send one history each"
            where = {"count": len(again), "one": again[0][0], "two": again[0][1]}
            raise PydanticCustomError("repeated_customer_id", message, where)
        return self
