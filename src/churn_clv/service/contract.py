"""What the service is asked and what it answers: the models behind /openapi.json (contracts K7 and K8)."""

from __future__ import annotations

import datetime as dt
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, FailFast, Field, StringConstraints, model_validator
from pydantic_core import PydanticCustomError

from churn_clv.canonical import LIMIT, PURCHASE
from churn_clv.errors import nearest

MAX_CUSTOMERS = 1_000
MAX_EVENTS = 100_000
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

    @model_validator(mode="after")
    def _one_history_each(self) -> Self:
        events = sum(len(c.events) for c in self.customers)
        if events > MAX_EVENTS:
            message = "{events} events in all, at most {most} are taken; send fewer customers at a time"
            raise PydanticCustomError("too_many_events", message, {"events": events, "most": MAX_EVENTS})
        first: dict[str, int] = {}
        again = [(first[c.customer_id], i) for i, c in enumerate(self.customers)
                 if first.setdefault(c.customer_id, i) != i]  # fmt: skip
        if again:
            message = "{count} customer_id(s) repeated (first: customers {one} and {two}); send one history each"
            where = {"count": len(again), "one": again[0][0], "two": again[0][1]}
            raise PydanticCustomError("repeated_customer_id", message, where)
        return self


# --- answers ------------------------------------------------------------------------------------
class Answer(BaseModel):
    """A part of an answer."""

    model_config = ConfigDict(frozen=True)


class Warned(Answer):
    """Something that was done to the request, or that the reader of the prediction should know."""

    code: Literal[
        "events_after_cutoff",
        "unknown_event_type",
        "duplicate_event_id",
        "dropped_by_policy",
        "in_sample",
        "stale_model",
    ]
    count: Annotated[int, Field(description="Events; for in_sample and stale_model days.")]
    detail: str


class TargetAnswer(Answer):
    """What is foreseen of one target of the config beside churned and spend; null for who is not of its population."""

    horizon_days: Annotated[int, Field(description="How far this target looks.")]
    eligible: Annotated[bool, Field(description="Whether the customer belongs to the target's population.")]
    probability: Annotated[float | None, Field(ge=0, le=1, description="Of an event; null for a count or money.")]
    expected: Annotated[float | None, Field(ge=0, description="A count, or money in major units; else null.")]
    percentile_in_reference: Annotated[float | None, Field(ge=0, le=100)]
    base: Annotated[float, Field(description="The share, or mean, of its population at the test cutoff.")]
    band: Annotated[
        str | None, Field(description="Of a probability: low below the base rate, high from twice its odds on.")
    ]


class Prediction(Answer):
    """One customer's answer; predictions are null where the customer is not eligible, never made up."""

    customer_id: str
    cutoff: dt.date
    horizon_days: int
    currency: str
    eligible: bool
    reason: Annotated[
        Literal["lapsed", "prospect", "history_too_short", "unknown"] | None,
        Field(description="Why not eligible. unknown: no event before the cutoff."),
    ]
    churn_probability: Annotated[float | None, Field(ge=0, le=1, description="Of no purchase in the horizon.")]
    percentile_in_reference: Annotated[
        float | None, Field(ge=0, le=100, description="Rank among those at the model's test; higher is riskier.")
    ]
    churn_band: str | None
    churn_probability_by_days: Annotated[
        dict[str, float] | None, Field(description="Of no purchase in the first so many days; falls with the days.")
    ]
    loss_probability: Annotated[
        float | None,
        Field(
            ge=0,
            le=1,
            description="Of no purchase in the horizon nor in the confirmation window after it; "
            "null where the log was too short to learn it.",
        ),
    ]
    reliability: Annotated[
        Literal["low", "medium", "high"] | None, Field(description="How much is known: 1, 2-3, 4+ purchase days.")
    ]
    next_order_within_days: Annotated[
        dict[str, float] | None,
        Field(description="Of at least one purchase in the first so many days; rises with the days."),
    ]
    next_order_learnt_days: Annotated[
        int, Field(description="Beyond so many days no silence has matured in the log: such chances are extrapolated.")
    ]
    active_probability_by_months: Annotated[
        dict[str, float] | None,
        Field(description="Of at least one purchase in the window of one horizon that ends so many months ahead."),
    ]
    base_rate: Annotated[float, Field(ge=0, le=1, description="Share without a purchase at the model's test.")]
    expected_orders: Annotated[
        float | None, Field(ge=0, description="Purchase days in the horizon; at least 1 - churn_probability.")
    ]
    expected_order_value: Annotated[
        float | None, Field(ge=0, description="expected_spend / expected_orders, major units.")
    ]
    expected_spend: Annotated[float | None, Field(ge=0, description="Net money in the horizon, major units.")]
    expected_spend_low: Annotated[float | None, Field(ge=0, description="At most 10% of customers come to less.")]
    expected_spend_high: Annotated[float | None, Field(ge=0, description="10% of customers come to more.")]
    clv_by_months: Annotated[
        dict[str, float] | None,
        Field(description="Discounted net margin of the next so many months; also for those not eligible."),
    ]
    clv_low_by_months: Annotated[
        dict[str, float | None] | None,
        Field(description="At most 10% of customers come to less; null where no such months have matured in the log."),
    ]
    clv_high_by_months: Annotated[
        dict[str, float | None] | None,
        Field(description="10% of customers come to more; null where no such months have matured in the log."),
    ]
    clv_extrapolated_share: Annotated[
        float | None, Field(ge=0, le=1, description="Of the longest CLV: beyond what the log has seen mature.")
    ]
    historic_value: Annotated[float | None, Field(description="Net margin so far.")]
    total_value: Annotated[float | None, Field(description="historic_value and the longest CLV.")]
    targets: Annotated[dict[str, TargetAnswer], Field(description="By name: the config's other targets; empty: none.")]
    model_version: str
    warnings: list[Warned]


class PredictResponse(Answer):
    """One prediction per customer, in the request's order."""

    predictions: list[Prediction]


class Band(Answer):
    """A named range of churn probabilities: at or above ``at_least``, below ``below``."""

    name: str
    at_least: float
    below: float | None


class RefusedBundle(Answer):
    """The last bundle that was published but not taken, and why."""

    bundle: str | None
    why: str
    at: dt.datetime


class LoadedModel(Answer):
    """What the service answers with."""

    version: Annotated[str, Field(description="The SHA-256 sum of the bundle's manifest.")]
    dataset: str
    horizon_days: int
    currency: str
    trained_through: Annotated[dt.date, Field(description="The day after the last day that was learnt from.")]
    base_rate: float
    bands: list[Band]
    features: list[str]
    definitions: Annotated[dict[str, Any], Field(description="All that decides what a number means.")]
    metrics: Annotated[dict[str, float | None], Field(description="Of the judged recipe, at its test cutoff.")]
    libraries: dict[str, str]
    loaded_at: dt.datetime


class ModelInfo(Answer):
    """What is loaded (null before the first verified bundle), and what was refused since."""

    ready: bool
    model: LoadedModel | None
    last_refused: RefusedBundle | None


class Problem(Answer):
    """One thing wrong with a request: where, and what; never the value itself."""

    loc: Annotated[list[str | int], Field(examples=[["body", "customers", 0, "events", 3, "time"]])]
    msg: str
    type: str


class Problems(Answer):
    """What is wrong with the request; the first of ``errors``."""

    detail: list[Problem]
    errors: int


class Refusal(Answer):
    """Why the service did not look at the request."""

    detail: str
