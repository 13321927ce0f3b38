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


class Contract(Section):
    """What opens or renews a contract, and for how long each opening holds.

    An opening on local day d covers [d, d + term_days), without a term all days until it is cancelled. A renewal before
    d + term_days + grace_days continues it.
    """

    opens: Predicate
    term_days: Days | None = None
    grace_days: Annotated[int, Field(ge=0, le=36_500)] | None = None

    @model_validator(mode="after")
    def _grace_follows_a_term(self) -> Contract:
        if self.term_days is None and self.grace_days is not None:
            raise ValueError("grace_days goes with term_days: what runs until it is cancelled needs no renewal")
        return self

    @property
    def grace(self) -> int:
        """Days after the term's end in which a renewal still continues it; a day where nothing is said."""
        if self.term_days is None:
            return 0
        return 1 if self.grace_days is None else self.grace_days


class Target(Section):
    """A question about the future window: an event predicate, a window, a population and how to count.

    Of the population only those who ``has`` had such an event before the cutoff, and ``has_not`` had such a one. With a
    ``contract`` the question is whether it ends: ``events`` end it at once, and so does a term that is not renewed.
    """

    events: Predicate
    measure: Literal["absent", "present", "count", "amount"]
    horizon_days: Days | None = None
    population: Literal["eligible", "known", "prospects", "one_order", "lapsed", "contract"] = "eligible"
    contract: Contract | None = None
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

    @property
    def predicates(self) -> tuple[Predicate, ...]:
        """Every predicate that the target looks at."""
        opens = self.contract.opens if self.contract else None
        return tuple(p for p in (self.events, self.has, self.has_not, opens) if p)

    def looks_days(self, default: int) -> int:
        """The length of the window in days: its own, or the default horizon."""
        return self.horizon_days or default

    def reach_days(self, default: int) -> int:
        """Days after the cutoff until the label is known: the window, and the grace that ends in it may have."""
        return self.looks_days(default) + (self.contract.grace if self.contract else 0)

    @model_validator(mode="after")
    def _contract_fits(self) -> Target:
        if self.contract is None:
            if self.population == "contract":
                raise ValueError(
                    "population contract means those whose contract is in force: say under `contract` what opens one, "
                    "as in contract: {opens: {is_in: [subscribe]}}"
                )
            return self
        if self.population != "contract":
            raise ValueError(
                f"`contract` goes with population: contract, not {self.population}: only those are asked whose "
                f"contract is in force"
            )
        if self.measure not in ("present", "absent"):
            raise ValueError(f"of a contract is asked whether it ends: measure present or absent, not {self.measure}")
        both = set(self.events.is_in) & set(self.contract.opens.is_in)
        if (
            both
            and self.events.column == self.contract.opens.column
            and set(self.kinds) & set(self.contract.opens.kinds)
        ):
            raise ValueError(f"{', '.join(sorted(both))} both opens and ends a contract: take it out of one of the two")
        return self
