"""Settings of what comes after the scores: whom to watch, whether they held. They change nothing of what is learnt."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, model_validator

from churn_clv.config._base import Day, Section

Count = Annotated[int, Field(ge=1)]
Chance = Annotated[float, Field(gt=0, lt=1)]


class Watch(Section):
    """The early-warning list: its length, and how it is told (docs/watch.md)."""

    capacity: Count = 50
    stay: Annotated[float, Field(ge=1, allow_inf_nan=False)] = 1.25
    reasons: Annotated[int, Field(ge=1, le=10)] = 3
    changes: Annotated[int, Field(ge=1, le=10)] = 3
    change_p: Chance = 0.05


class Ledger(Section):
    """When the scores no longer hold (docs/ledger.md): what is tolerated, and how often the alarm may be false."""

    false_alarms: Chance = 0.05
    log_odds: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.2
    spend_share: Annotated[float, Field(ge=0, lt=1)] = 0.2
    lead: Annotated[float, Field(ge=-1, le=1)] = 0.0


Kinds = tuple[str, ...]


class Case(Section):
    """Something that waits for an answer: the types of events that open it, and those that end it."""

    opens: Annotated[Kinds, Field(min_length=1)]
    ends: Kinds = ()


class Survey(Section):
    """What a survey's values mean: up to where they are of detractors, and from where on of promoters."""

    detractor_at_most: float
    promoter_at_least: float


WEIGHTS: dict[str, float] = {
    "days_since_last_purchase": -2.0, "purchase_days_per_week": 2.0, "tenure_days": 1.0, "touches": 0.5,
    "nps_value_last": 2.0, "csat_value_last": 1.0, "survey_value_last": 1.0, "complaint_events": -1.0,
    "complaint_closing_waiting": -1.0, "ticket_answer_waiting": -1.0, "return_days_share": -0.5,
    "referral_events": 1.0, "review_events": 0.5, "social_events": 0.5, "unsubscribe_events": -1.0,
    "points_value_last": 1.0,
}  # fmt: skip


class Programme(Section):
    """The loyalty programme's comparison: in which arm of a table of attributes each customer was drawn, since when."""

    attributes: str
    column: str
    treated: Annotated[Kinds, Field(min_length=1)]
    control: Annotated[Kinds, Field(min_length=1)]
    control_share: Chance
    since: Day
    until: Day | None = None
    cost: Annotated[float, Field(ge=0, allow_inf_nan=False)]

    @model_validator(mode="after")
    def _two_arms(self) -> Programme:
        if set(self.treated) & set(self.control):
            raise ValueError("treated and control name the same arm")
        if self.until is not None and self.until <= self.since:
            raise ValueError("until must be later than since")
        return self


class Loyalty(Section):
    """The loyalty index, surveys, cases and points (docs/loyalty.md). Names in ``weights`` are features of the log."""

    weights: Annotated[dict[str, Annotated[float, Field(allow_inf_nan=False)]], Field(min_length=1)] = Field(
        default_factory=lambda: dict(WEIGHTS)
    )
    surveys: dict[str, Survey] = Field(
        default_factory=lambda: {
            "nps": Survey(detractor_at_most=6, promoter_at_least=9),
            "csat": Survey(detractor_at_most=2, promoter_at_least=4),
        }
    )
    cases: dict[str, Case] = Field(
        default_factory=lambda: {
            "complaint": Case(opens=("complaint",), ends=("complaint_closed",)),
            "ticket": Case(opens=("ticket_opened",), ends=("ticket_answered",)),
        }
    )
    follow_ups: Kinds = ("complaint_closed", "ticket_answered", "follow_up")
    after_days: Annotated[int, Field(ge=0)] = 3
    case_days: Count = 90
    survey_days: Count = 365
    points: str = "points"
    levels: dict[str, Annotated[float, Field(gt=0, allow_inf_nan=False)]] = Field(default_factory=dict)
    programme: Programme | None = None
