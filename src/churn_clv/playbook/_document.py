"""What may be done to customers, at what cost and with what effect: ``configs/actions.yaml`` as frozen sections."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, NonNegativeInt, PositiveInt, ValidationError
from pydantic import model_validator as check

from churn_clv.config import Section, expected, parse_yaml, read_yaml, shipped_text
from churn_clv.config._base import Day, Name, Share
from churn_clv.errors import UserError, nearest

SHIPPED = "actions.yaml"
# What an overlay replaces whole instead of key by key.
WHOLE = ("save_rate", "take_rate", "driven_away", "eligible", "when")
# Whose keys are the user's names: null takes one out.
NAMED = ("actions", "playbook", "channels")
Scalar = str | int | float | bool
Words = tuple[str, ...]
Money = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class Criterion(Section):
    """A test on one column of the scores; exactly one comparison. An empty value meets none of them."""

    column: str
    is_in: Annotated[tuple[Scalar, ...], Field(min_length=1)] | None = None
    is_not_in: Annotated[tuple[Scalar, ...], Field(min_length=1)] | None = None
    at_least: float | None = None
    below: float | None = None
    top_share: Annotated[float, Field(gt=0, le=1)] | None = None

    @check(mode="after")
    def _one_comparison(self) -> Criterion:
        if sum(getattr(self, name) is not None for name in COMPARISONS) != 1:
            raise ValueError(f"give exactly one of {', '.join(COMPARISONS)}")
        return self


COMPARISONS = ("is_in", "is_not_in", "at_least", "below", "top_share")


class Rate(Section):
    """A share of customers, by the values of one column of the scores; ``measured`` names the campaigns that say so.

    Without ``measured`` it is assumed. A measured rate keeps the number ``assumed`` before, which it was shrunk to.
    """

    otherwise: Share
    by: str | None = None
    rates: dict[str, Share] = Field(default_factory=dict)
    assumed: Share | None = None
    measured: Words = ()

    @check(mode="after")
    def _rates_go_by_a_column(self) -> Rate:
        if bool(self.rates) != (self.by is not None):
            raise ValueError("`by` names the column whose values `rates` lists; give both or neither")
        return self

    @property
    def prior(self) -> float:
        """The rate that nobody has measured."""
        return self.otherwise if self.assumed is None else self.assumed


def _rate(value: Any) -> Any:
    return {"otherwise": value} if isinstance(value, int | float) and not isinstance(value, bool) else value


AnyRate = Annotated[Rate, BeforeValidator(_rate)]


class Action(Section):
    """One thing that can be done. Money in major units of the config's currency.

    ``contact`` is paid for each customer, ``offer`` (or ``offer_share`` of what the customer spends in the horizon) by
    each who takes it. ``lapse_probability`` and ``value`` are assumed for customers for whom the model gives none.
    """

    channel: Name
    contact: Money
    offer: Money | None = None
    offer_share: Share | None = None
    save_rate: AnyRate
    take_rate: AnyRate = Rate(otherwise=1.0)
    driven_away: AnyRate = Rate(otherwise=0.0)
    eligible: tuple[Criterion, ...] = ()
    capacity: NonNegativeInt | None = None
    lapse_probability: Annotated[float, Field(gt=0, lt=1)] | None = None
    value: Money | None = None

    @check(mode="after")
    def _one_offer(self) -> Action:
        if (self.offer is None) == (self.offer_share is None):
            raise ValueError("say what the offer costs: `offer` (money; 0 for none) or `offer_share` (of the spend)")
        return self

    @property
    def rates(self) -> dict[str, Rate]:
        """The three shares that an experiment can measure."""
        return {"save_rate": self.save_rate, "take_rate": self.take_rate, "driven_away": self.driven_away}


class Rule(Section):
    """Which actions are weighed for customers who meet all of ``when``; the first rule that holds decides."""

    when: tuple[Criterion, ...] = ()
    actions: tuple[Name, ...]


class QuietPeriod(Section):
    """Days on which nobody is contacted, both included."""

    first: Day
    last: Day


class Policy(Section):
    """Who may be contacted (definition D29), from event types of the log; those that it lacks are said."""

    opt_out: Words = ()
    opt_in: Words = ()
    consent_required: bool = False
    contacts: Words = ()
    most_contacts: PositiveInt | None = None
    within_days: PositiveInt = 28
    quiet_days: NonNegativeInt = 0
    quiet_periods: tuple[QuietPeriod, ...] = ()
    complaints: Words = ()
    complaints_closed: Words = ()
    complaint_days: PositiveInt = 28


class Holdout(Section):
    """Shares that are left alone: of each action's selected, and of all customers in every campaign."""

    share: Annotated[float, Field(ge=0, lt=1)] = 0.1
    universal: Annotated[float, Field(ge=0, lt=1)] = 0.03


class Sds(Section):
    """How far a rate may lie from what is assumed, and groups from one another: standard deviations."""

    save_rate: Annotated[float, Field(gt=0)] = 0.1
    driven_away: Annotated[float, Field(gt=0)] = 0.02
    take_rate: Annotated[float, Field(gt=0)] = 0.3


class Measure(Section):
    """How effects are measured; fixed in the plan before the campaign."""

    segment: str = "churn_band"
    takes: Words = ()
    prior_sd: Sds = Sds()
    power: Annotated[float, Field(gt=0.5, lt=1)] = 0.8
    confidence: Annotated[float, Field(gt=0.5, lt=1)] = 0.95
    cap_quantile: Annotated[float, Field(gt=0.5, le=1)] = 0.99
    least: Annotated[int, Field(ge=10)] = 50


class Webhook(Section):
    """Where released audiences are posted, batch by batch."""

    url: Annotated[str, Field(pattern=r"^https?://[^\s]+$")] | None = None
    timeout_seconds: Annotated[float, Field(gt=0, le=120)] = 10.0
    retries: Annotated[int, Field(ge=0, le=10)] = 3
    wait_seconds: Annotated[float, Field(ge=0, le=60)] = 1.0
    batch: Annotated[int, Field(ge=1, le=10_000)] = 500


class Actions(Section):
    """The whole document."""

    on_top: bool = True
    campaign: Name | None = None
    margin_share: Annotated[float, Field(gt=0, le=1)] | None = None
    budget: Money | None = None
    capacity: NonNegativeInt | None = None
    channels: dict[Name, NonNegativeInt] = Field(default_factory=dict)
    actions: Annotated[dict[Name, Action], Field(min_length=1)]
    playbook: Annotated[dict[Name, Rule], Field(min_length=1)]
    policy: Policy = Policy()
    holdout: Holdout = Holdout()
    measure: Measure = Measure()
    webhook: Webhook = Webhook()

    @check(mode="after")
    def _names_are_known(self) -> Actions:
        for name, rule in self.playbook.items():
            for action in rule.actions:
                if action not in self.actions:
                    raise ValueError(f"playbook.{name}: unknown action '{action}'.{nearest(action, self.actions)}")
        used = {a.channel for a in self.actions.values()}
        for channel in self.channels:
            if channel not in used:
                raise ValueError(f"channels: no action goes by '{channel}'.{nearest(channel, used)}")
        return self


def load_actions(paths: Sequence[Path] = ()) -> Actions:
    """The shipped playbook with these overlays, merged left to right; UserError naming file, key and what is expected.

    A file with `on_top: false` leaves out all actions and rules before it.
    """
    merged: dict[str, Any] = parse_yaml(shipped_text(SHIPPED), SHIPPED)
    for path in paths:
        own = read_yaml(path, "actions file")
        if own.get("on_top") is False:
            merged = {k: v for k, v in merged.items() if k not in ("actions", "playbook")}
        merged = _merge(merged, own)
    return actions_of(merged, " + ".join(str(p) for p in paths) or SHIPPED)


def actions_of(values: dict[str, Any], where: str = "actions") -> Actions:
    """Check a plain dictionary written like actions.yaml; UserError where it is none."""
    try:
        return Actions.model_validate(values)
    except ValidationError as error:
        lines = dict.fromkeys(_explain(item) for item in error.errors())
        raise UserError(f"{where}: {len(lines)} setting(s) refused.\n  " + "\n  ".join(lines)) from None


def _merge(base: dict[str, Any], over: dict[str, Any], within: str = "") -> dict[str, Any]:
    """Key by key; null takes out what is named by the user: an action, a rule, a channel's limit."""
    out = dict(base)
    for key, value in over.items():
        old = out.get(key)
        if value is None and within in NAMED and key in out:
            out.pop(key)
        elif isinstance(old, dict) and isinstance(value, dict) and key not in WHOLE:
            out[key] = _merge(old, value, f"{within}.{key}" if within else key)
        elif not (isinstance(old, dict) and value is None):
            out[key] = value
    return out


def _explain(item: Any) -> str:
    """One pydantic complaint as a line that a YAML author can act on."""
    place = [str(part) for part in item["loc"] if not str(part).startswith("function-")]
    key = ".".join(place)
    if item["type"] == "extra_forbidden":
        return f"unknown key '{key}'.{nearest(place[-1], _KEYS)}"
    if item["type"] == "missing":
        return f"{key}: required, and not given.{_NEEDED.get(place[-1], '')}"
    return f"{key}: {expected(item)}.".removeprefix(": ")


_SECTIONS = (Criterion, Rate, Action, Rule, QuietPeriod, Policy, Holdout, Sds, Measure, Webhook, Actions)
_KEYS = sorted({name for section in _SECTIONS for name in section.model_fields})
_NEEDED = {
    "contact": " Give what one contact costs in money, 0 if nothing, as in `contact: 0.02`.",
    "save_rate": " Give the share of would-be lapsers whom it keeps, as in `save_rate: 0.05` (assumed until measured).",
    "channel": " Give how it reaches the customer, as in `channel: email`.",
    "actions": " Give at least one, as in `mail: {channel: email, contact: 0.02, offer: 0, save_rate: 0.03}`.",
    "playbook": " Give at least one rule, as in `playbook: {all: {actions: [mail]}}`.",
}
