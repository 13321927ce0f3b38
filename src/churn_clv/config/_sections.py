"""The sections that are neither events nor targets."""

from __future__ import annotations

import datetime as dt
from typing import Annotated, Literal

from pydantic import (
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    field_validator,
    model_validator,
)

from churn_clv.config._base import Day, Section, Share
from churn_clv.config._targets import Days


# --- who, when, what ----------------------------------------------------------------------------
class Timeline(Section):
    """How far labels look and which cutoffs are learnt from."""

    horizon_days: Days = 28
    step_days: Days = 7
    max_train_cutoffs: PositiveInt = 16
    min_history_days: Days | None = None
    validation_origins: Annotated[int, Field(gt=0, le=50)] = 3
    sub_windows: Annotated[int, Field(gt=0, le=31)] = 4


class Population(Section):
    """Who gets churn and spend: bought in the last active_within_days."""

    active_within_days: Days = 56


# Features compare short windows with long ones; with fewer lengths these would be the same.
FEWEST_WINDOWS = 5


# Types of events by which a customer shows up unasked, in the words of common logs.
SEEN_BY = ("visit", "session", "login", "app_open", "page_view", "view", "browse", "search", "click", "add_to_cart",
           "wishlist")  # fmt: skip


class Features(Section):
    """Which families and features are built, over which windows, and which events show that a customer is there."""

    families: Annotated[tuple[str, ...], Field(min_length=1)] | None = None
    exclude: tuple[str, ...] = ()
    windows_days: Annotated[tuple[Days, ...], Field(min_length=FEWEST_WINDOWS)] | None = None
    seen_by: tuple[str, ...] = SEEN_BY

    @field_validator("seen_by")
    @classmethod
    def _unasked(cls, kinds: tuple[str, ...]) -> tuple[str, ...]:
        if own := sorted({"purchase", "return"} & {*kinds}):
            raise ValueError(f"{' and '.join(own)} cannot stand here: purchases count anyway, returns never")
        return kinds


# LightGBM reads whole numbers of 32 bits.
INT32 = 2**31 - 1


# --- models, bundle, doors ----------------------------------------------------------------------
class Booster(Section):
    """LightGBM's own parameters for one head, within the bounds that LightGBM sets, and the families it may look at."""

    learning_rate: Annotated[float, Field(gt=0, le=1)] = 0.08
    num_leaves: Annotated[int, Field(ge=2, le=131_072)] = 7
    min_data_in_leaf: Annotated[int, Field(gt=0, le=INT32)] = 100
    feature_fraction: Annotated[float, Field(gt=0, le=1)] = 0.5
    bagging_fraction: Annotated[float, Field(gt=0, le=1)] = 0.8
    bagging_freq: Annotated[int, Field(ge=0, le=INT32)] = 1
    lambda_l2: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 5.0
    max_rounds: PositiveInt = 160
    tweedie_variance_power: Annotated[float, Field(ge=1, lt=2)] = 1.5
    families: Annotated[tuple[str, ...], Field(min_length=1)] | None = None


class Models(Section):
    """The boosters and how many threads they may use; ``targets`` is of all targets but churned and spend."""

    churn: Booster = Booster()
    spend: Booster = Booster()
    targets: Booster = Booster()
    max_snapshots: Annotated[int, Field(ge=1000)] = 150_000
    target_snapshots: Annotated[int, Field(ge=1000)] = 20_000
    threads: Annotated[int, Field(gt=0, le=1024)] = 2


class Backtest(Section):
    """Which cutoffs the recipe is judged at, and the line before which development stays (definition D14)."""

    cutoffs: Annotated[int, Field(gt=0, le=100)] = 3
    step_days: Days | None = None
    development_until: Day | None = None


class Value(Section):
    """What EMPC prices a campaign with; None: from the data (docs/definitions.md)."""

    margin_share: Annotated[float, Field(gt=0, le=1)] = 0.3
    customer_value: PositiveFloat | None = None
    offer: PositiveFloat | None = None
    contact: PositiveFloat | None = None
    accept: tuple[PositiveFloat, PositiveFloat] = (6.0, 14.0)


Months = Annotated[tuple[Annotated[int, Field(ge=1, le=36)], ...], Field(min_length=1)]


class Clv(Section):
    """The value of a customer beyond the horizon (docs/clv.md); margins are the log's, else ``value.margin_share``."""

    months: Months = (3, 6, 12, 24)
    active_months: Months = (1, 3, 6, 12)
    next_order_days: Annotated[tuple[Days, ...], Field(min_length=1)] = (7, 14, 30, 60, 90)
    discount_rate: Annotated[float, Field(ge=0, le=1)] = 0.1
    backtest_windows: Annotated[int, Field(ge=2, le=60)] | None = None

    @model_validator(mode="after")
    def _they_rise(self) -> Clv:
        for name in ("months", "active_months", "next_order_days"):
            if list(found := getattr(self, name)) != sorted(set(found)):
                raise ValueError(f"{name} must rise strictly")
        return self


class Bundle(Section):
    """What is frozen beside the models: the edges of the probability bands."""

    band_edges: tuple[float, ...] | None = None
    band_names: tuple[str, ...] = ("low", "medium", "high")

    @model_validator(mode="after")
    def _one_name_more_than_edges(self) -> Bundle:
        if self.band_edges is not None:
            if list(self.band_edges) != sorted(set(self.band_edges)) or not all(0 < e < 1 for e in self.band_edges):
                raise ValueError("band_edges must rise strictly within (0, 1)")
            if len(self.band_names) != len(self.band_edges) + 1:
                raise ValueError("band_names needs one name more than band_edges")
        elif len(self.band_names) != 3:
            raise ValueError("without band_edges there are three bands: give three band_names")
        return self


class Promotion(Section):
    """When a run becomes champion: the bootstrap behind 'better'."""

    bootstrap_draws: PositiveInt = 2000


LETTERS = ("A", "B", "C", "D")
Limits = tuple[NonNegativeFloat, NonNegativeFloat, NonNegativeFloat]


class Grade(Section):
    """The lowest grade that may be promoted, and how far off each rule may be for an A, a B and a C."""

    required: Literal["A", "B", "C", "D"] = "C"
    slope_off: Limits = (0.1, 0.2, 0.3)
    ece_above_floor: Limits = (0.01, 0.025, 0.05)
    total_outside_band: Limits = (0.0, 0.05, 0.15)
    widest_band: Annotated[float, Field(gt=1, allow_inf_nan=False)] = 2.0
    negative_skill: Limits = (0.0, 0.02, 0.05)
    stratum_least: PositiveInt = 300

    @model_validator(mode="after")
    def _they_rise(self) -> Grade:
        for name in ("slope_off", "ece_above_floor", "total_outside_band", "negative_skill"):
            if list(found := getattr(self, name)) != sorted(found):
                raise ValueError(f"{name} must not fall from A to C")
        return self


class Tracking(Section):
    """Where runs are recorded. MLFLOW_TRACKING_URI wins over uri."""

    uri: str | None = None
    experiment: str | None = None


# An origin as browsers send it, and a host name or address without its port; *.example.com covers its subdomains.
Origin = Annotated[str, Field(pattern=r"^https?://[A-Za-z0-9.\-\[\]:]+$")]
HostName = Annotated[str, Field(pattern=r"^(\*|(\*\.)?[A-Za-z0-9.\-]+|\[[0-9A-Fa-f:]+\])$")]


class Service(Section):
    """The service's address, keys and limits. CHURN_CLV_BUNDLES wins over bundles, CHURN_CLV_SCORES over scores."""

    bundles: str | None = None
    scores: str | None = None
    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=1, le=65535)] = 3000
    poll_seconds: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 2.0
    stale_after_days: PositiveInt = 90
    require_key: bool | None = None
    keys: str | None = None
    timeout_seconds: Annotated[float, Field(gt=0, le=3600)] = 30.0
    max_concurrency: Annotated[int, Field(ge=1, le=10_000)] = 256
    rate_per_second: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    rate_burst: PositiveInt | None = None
    cors_origins: tuple[Origin, ...] = ()
    allowed_hosts: Annotated[tuple[HostName, ...], Field(min_length=1)] | None = None


class Actions(Section):
    """What may be done to customers: files on top of ``configs/actions.yaml``. Without any, scores name none."""

    files: tuple[str, ...] = ()


class Simulate(Section):
    """The synthetic log with known truth; docs/simulator.md says what each law means.

    A customer's orders per day ~ Gamma(order_shape, order_rate_days), chance to leave per day ~ Beta(leave_a, leave_b),
    order amounts ~ Gamma(amount_shape, v) with v ~ Gamma(amount_prior_shape, amount_prior_rate).
    """

    customers: PositiveInt = 5000
    days: Days = 546
    starts: Day = dt.date(2024, 1, 1)
    order_shape: PositiveFloat = 1.0
    order_rate_days: PositiveFloat = 24.0
    leave_a: PositiveFloat = 1.2
    leave_b: PositiveFloat = 240.0
    amount_shape: PositiveFloat = 6.0
    amount_prior_shape: Annotated[float, Field(gt=1)] = 8.0
    amount_prior_rate: PositiveFloat = 35.0
    visits_per_order: NonNegativeFloat = 1.0
    mail_every_days: PositiveInt = 14
    coupon_share: Share = 0.3
    coupon_lift: PositiveFloat = 1.5
    complaint_share: Share = 0.03
    complaint_leave_share: Annotated[float, Field(ge=0, lt=1)] = 0.5
    return_share: Share = 0.06
    return_within_days: PositiveInt = 28
    return_known_after_days: NonNegativeInt = 0
    membership_share: Share = 0.0
    membership_term_days: PositiveInt = 28
    membership_cancel_share: Share = 0.3
