"""What the service answers: the models of answers behind /openapi.json (contract K7)."""

from __future__ import annotations

import datetime as dt
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field


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
        "stale_scoring",
        "other_model",
    ]
    count: Annotated[int, Field(description="Events; for in_sample, stale_model and stale_scoring days.")]
    detail: str


class Reason(Answer):
    """One of the strongest reasons of a score: what the model went by, which need not be the cause."""

    feature: Annotated[str, Field(description="The strongest of a group of features that say the same thing.")]
    value: Annotated[float | None, Field(description="The customer's; null where the feature is not known.")]
    usual: Annotated[float | None, Field(description="What it usually is.")]
    usual_of: Annotated[
        Literal["customer", "population"] | None,
        Field(description="Whose usual: the customer's own, or the median of those asked at the model's test."),
    ]
    direction: Annotated[
        Literal["raises", "lowers"], Field(description="The probability, count or money that is explained.")
    ]
    contribution: Annotated[
        float,
        Field(
            description="Of the group to the log-odds (of a count or money: the logarithm); with the others and a base "
            "it sums to them."
        ),
    ]
    share: Annotated[float, Field(ge=0, le=1, description="Its size over the sizes of all groups' contributions.")]
    theme: Literal["price", "service", "engagement", "product", "rhythm"]
    text: Annotated[str, Field(examples=["no purchase for 74 days against a usual 30"])]


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
    reasons: Annotated[
        list[Reason] | None, Field(description="As those of churn; null where not asked for, or not of its population.")
    ]


class CustomerSegments(Answer):
    """Where a customer belongs, by edges and rules frozen with the model; docs/segments.md says what each means."""

    rfm_recency: Annotated[int | None, Field(ge=1, le=5, description="5: the most recent.")]
    rfm_frequency: Annotated[int | None, Field(ge=1, le=5)]
    rfm_monetary: Annotated[int | None, Field(ge=1, le=5, description="null without amounts.")]
    rfm_group: str | None
    value_tier: Annotated[str | None, Field(description="As the rules name it: core, potential or low.")]
    value_risk: Annotated[str | None, Field(description="Value tier x risk: protect, grow, win_back or let_go.")]
    lifecycle_stage: Annotated[str | None, Field(examples=["new", "growing", "mature", "declining", "lapsed"])]
    stage_percentile: Annotated[
        float | None, Field(ge=0, le=100, description="Of the longest CLV among those of the stage at training.")
    ]
    cluster: str | None


class BestAction(Answer):
    """The action with most profit for a customer by itself: no budget, contact policy or holdout (docs/actions.md)."""

    recommended_action: Annotated[str | None, Field(description="null: none pays.")]
    expected_profit: Annotated[float | None, Field(description="Against leaving the customer alone, major units.")]
    break_even_save_rate: Annotated[
        float | None, Field(description="Of would-be lapsers, the share it must keep to pay; above 1 none can.")
    ]
    save_rate_source: Literal["assumed", "measured"] | None
    value_at_risk: Annotated[
        float | None, Field(description="Margin of the horizon that lapse would take, times its chance; major units.")
    ]


class Prediction(Answer):
    """One customer's answer; predictions are null where the customer is not eligible, never made up."""

    customer_id: str
    cutoff: dt.date
    horizon_days: int
    currency: str
    eligible: bool
    reason: Annotated[
        Literal["lapsed", "prospect", "history_too_short", "unknown", "erased"] | None,
        Field(description="Why not eligible. unknown: no event before the cutoff; erased: forgotten (by id only)."),
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
        Literal["low", "medium", "high", "fallback"] | None,
        Field(description="How much is known: 1, 2-3, 4+ purchase days; fallback: not eligible, CLV is a mean."),
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
    margin_rate: Annotated[
        float | None, Field(ge=-1, le=1, description="Margin expected of a unit of spend: CLV is money times this.")
    ]
    historic_value: Annotated[float | None, Field(description="Net margin so far.")]
    total_value: Annotated[float | None, Field(description="historic_value and the longest CLV.")]
    targets: Annotated[dict[str, TargetAnswer], Field(description="By name: the config's other targets; empty: none.")]
    segments: Annotated[
        CustomerSegments | None,
        Field(description="By id always, from events where asked for; null where the model has none, and for nobody."),
    ]
    action: Annotated[
        BestAction | None,
        Field(description="From events where asked for, by id always; null where no actions are given, or no answer."),
    ]
    score_valid_until: Annotated[
        dt.date | None,
        Field(
            description="The first later midnight at which the score (all numbers but those of `targets`, "
            "`segments` and `action`) differs, if no more events come; null: never."
        ),
    ]
    reasons: Annotated[
        list[Reason] | None, Field(description="Strongest first; null where not asked for, or not eligible.")
    ]
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
