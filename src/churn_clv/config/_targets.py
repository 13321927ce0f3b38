"""Targets: questions about the future window as data."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from churn_clv.config._base import Section

# A century at most: beyond it dates overflow, and no log is so long.
Days = Annotated[int, Field(gt=0, le=36_500)]

# The targets with a recipe of their own.
CORE = ("churned", "spend")
# The columns of the scores that a target of this name would give are there already.
TAKEN = ("churn", "loss", "orders", "order_value", "spend_low", "spend_high", "spend_if_active")
# What columns are made of a name with; a name of that form could stand for another target's column.
BEFORE, BEHIND = ("expected_",), ("_probability", "_percentile_in_reference", "_base_rate", "_band")
LONGEST_NAME = 60


def _target_name(value: str) -> str:
    if not re.fullmatch(r"[a-z][a-z0-9_]*", value) or len(value) > LONGEST_NAME:
        raise ValueError(
            f"expected at most {LONGEST_NAME} small letters, digits and '_' as in second_order: columns are named by it"
        )
    if value.startswith(BEFORE) or value.endswith(BEHIND):
        raise ValueError(f"a name may not begin with {BEFORE[0]} or end with {', '.join(BEHIND)}: columns do")
    if value in TAKEN:
        raise ValueError(f"the scores have columns of this name already ({', '.join(TAKEN)}); take another")
    return value


TargetName = Annotated[str, AfterValidator(_target_name)]


def _values(values: tuple[str, ...]) -> tuple[str, ...]:
    """Without white space around them, as the log's converter reads values, and each once."""
    return tuple(dict.fromkeys(v.strip() for v in values))


Values = Annotated[tuple[str, ...], Field(min_length=1), AfterValidator(_values)]


class Predicate(Section):
    """Which events are meant: the column's value is one of ``is_in``.

    With another column than event_type, events of ``event_types`` alone (default: purchases).
    """

    column: Literal["event_type", "product_id", "category", "channel"] = "event_type"
    is_in: Values
    event_types: Values | None = None

    @model_validator(mode="after")
    def _types_stand_once(self) -> Predicate:
        if self.column == "event_type" and self.event_types is not None:
            raise ValueError("event_types goes with another column; with event_type give is_in alone")
        return self

    @property
    def kinds(self) -> tuple[str, ...]:
        """The event types that are meant."""
        return self.is_in if self.column == "event_type" else self.event_types or ("purchase",)


class Target(Section):
    """A question about the future window: an event predicate, a window, a population and how to count.

    Of the population only those who ``has`` had such an event before the cutoff, and ``has_not`` had such a one.
    """

    events: Predicate
    measure: Literal["absent", "present", "count", "amount"]
    horizon_days: Days | None = None
    population: Literal["eligible", "known", "prospects", "one_order", "lapsed"] = "eligible"
    has: Predicate | None = None
    has_not: Predicate | None = None
    at_least: Annotated[float, Field(allow_inf_nan=False)] | None = None

    @model_validator(mode="after")
    def _only_money_has_a_floor(self) -> Target:
        if self.at_least is not None and self.measure != "amount":
            raise ValueError("at_least goes with measure amount alone")
        return self

    @property
    def kinds(self) -> tuple[str, ...]:
        """The event types that are counted; money of a product or category is net of its returns unless said."""
        own = self.events
        if self.measure == "amount" and own.column != "event_type" and own.event_types is None:
            return ("purchase", "return")
        return own.kinds
