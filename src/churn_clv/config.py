"""Configuration: one frozen section per YAML section, unknown keys refused, overlays merged left to right.

Defaults live in ``configs/default.yaml`` (shipped in the wheel as ``churn_clv/default.yaml``), complete and
commented; other files are overlays of a few lines. Units stand in the key names.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import os
import re
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin

import yaml
from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PlainValidator,
    PositiveFloat,
    PositiveInt,
    Tag,
    ValidationError,
    model_validator,
)

from churn_clv.errors import UserError, nearest

DEFAULT = "default.yaml"


def _name(value: str) -> str:
    if re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]*", value):
        return value
    raise ValueError("expected letters, digits, '_', '.' and '-' only, such as my-shop")


Name = Annotated[str, AfterValidator(_name)]
Share = Annotated[float, Field(ge=0, le=1)]


class Section(BaseModel):
    """A frozen group of settings that refuses keys it does not know."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


# --- events: sources -> the log -----------------------------------------------------------------
def _scalar(value: Any) -> str | int | float | bool:
    if isinstance(value, str | int | float | bool):
        return value
    raise ValueError("expected text, a number or true/false")


Scalar = Annotated[str | int | float | bool, PlainValidator(_scalar)]


class Condition(Section):
    """A test on one source column; exactly one of the comparisons is given."""

    column: str
    equals: Scalar | None = None
    starts_with: str | None = None
    less_than: float | None = None

    @model_validator(mode="after")
    def _one_comparison(self) -> Condition:
        if sum(v is not None for v in (self.equals, self.starts_with, self.less_than)) != 1:
            raise ValueError("give exactly one of equals, starts_with, less_than")
        return self


class Multiply(Section):
    """The product of two source columns."""

    multiply: tuple[str, str]


class Constant(Section):
    """The same value on every line."""

    constant: Scalar


class When(Section):
    """One of two mappings, by a condition."""

    when: Condition
    then: Mapping
    otherwise: Mapping | None = Field(default=None, alias="else")


def _kind(value: Any) -> str | None:
    """Which mapping a value is meant to be, so that pydantic complains about that one only."""
    if isinstance(value, str):
        return _COLUMN
    keys = value.keys() if isinstance(value, dict) else {type(value).__name__.lower()}
    return next((f"<{kind}>" for kind in MAPPINGS if kind in keys), None)


MAPPINGS = ("multiply", "constant", "when")
_COLUMN = "<column>"
Mapping = Annotated[
    Annotated[str, Tag(_COLUMN)]
    | Annotated[Multiply, Tag("<multiply>")]
    | Annotated[Constant, Tag("<constant>")]
    | Annotated[When, Tag("<when>")],
    Discriminator(
        _kind,
        custom_error_type="mapping",
        custom_error_message="not a mapping; expected a column name or one of {multiply}, {constant}, {when}",
    ),
]
When.model_rebuild()


class Source(Section):
    """One set of files (or one adapter table) and how its columns become the log's."""

    path: str | None = None
    table: str | None = None
    format: Literal["csv", "parquet", "jsonl"] | None = None
    separator: Annotated[str, Field(min_length=1, max_length=1)] = ","
    timezone: str | None = None
    time_format: str | None = None
    log_starts: dt.date | None = None
    currency: Mapping | None = None
    map: dict[str, Mapping]

    @model_validator(mode="after")
    def _one_place(self) -> Source:
        if (self.path is None) == (self.table is None):
            raise ValueError("give exactly one of path (files) and table (of the adapter)")
        return self


class Attributes(Section):
    """A table of customer attributes; without valid_from its columns are refused as features."""

    path: str | None = None
    table: str | None = None
    format: Literal["csv", "parquet", "jsonl"] | None = None
    separator: Annotated[str, Field(min_length=1, max_length=1)] = ","
    customer_id: str
    valid_from: str | None = None
    columns: tuple[str, ...] | None = None


class Identity(Section):
    """A map from source ids to one customer id."""

    path: str | None = None
    table: str | None = None
    format: Literal["csv", "parquet", "jsonl"] | None = None
    separator: Annotated[str, Field(min_length=1, max_length=1)] = ","
    source_id: str
    customer_id: str
    unmapped: Literal["keep", "drop", "error"] = "keep"


class Events(Section):
    """Where the log comes from and by which policies its lines are read."""

    adapter: str | None = None
    folder: str | None = None
    timezone: str = "UTC"
    currency: str = "USD"
    minor_units: Annotated[int, Field(ge=0, le=4)] = 2
    ends: dt.date | None = None
    duplicates: Literal["keep", "drop"] = "keep"
    missing_customer: Literal["drop", "error"] = "drop"
    unparsable: Literal["error", "drop"] = "error"
    zero_amount: Literal["keep", "drop"] = "keep"
    negative_amount: Literal["return", "drop", "error"] = "return"
    after_end: Literal["drop", "error"] = "drop"
    sources: dict[str, Source] = {}
    attributes: dict[str, Attributes] = {}
    identity: Identity | None = None


# --- who, when, what ----------------------------------------------------------------------------
class Timeline(Section):
    """How far labels look and which cutoffs are learnt from."""

    horizon_days: PositiveInt = 28
    step_days: PositiveInt = 7
    max_train_cutoffs: PositiveInt = 16
    min_history_days: PositiveInt | None = None


class Population(Section):
    """Who gets churn and spend: bought in the last active_within_days."""

    active_within_days: PositiveInt = 56


class Predicate(Section):
    """Which events count towards a target: the column's value is one of these."""

    column: Literal["event_type", "product_id", "category", "channel"] = "event_type"
    is_in: tuple[str, ...]


class Target(Section):
    """A question about the future window: an event predicate, a window, a population and how to count."""

    events: Predicate
    measure: Literal["absent", "present", "count", "amount"]
    horizon_days: PositiveInt | None = None
    population: Literal["eligible", "known"] = "eligible"
    at_least: float | None = None


# Features compare short windows with long ones; with fewer lengths these would be the same.
FEWEST_WINDOWS = 5


class Features(Section):
    """Which families and features are built, and over which windows."""

    families: tuple[str, ...] | None = None
    exclude: tuple[str, ...] = ()
    windows_days: Annotated[tuple[PositiveInt, ...], Field(min_length=FEWEST_WINDOWS)] | None = None


# --- models, bundle, doors ----------------------------------------------------------------------
class Booster(Section):
    """LightGBM's own parameters for one head."""

    learning_rate: float = 0.04
    num_leaves: PositiveInt = 15
    min_data_in_leaf: PositiveInt = 100
    feature_fraction: float = 0.5
    bagging_fraction: float = 0.8
    bagging_freq: int = 1
    lambda_l2: float = 5.0
    max_rounds: PositiveInt = 1500
    early_stopping_rounds: PositiveInt = 60
    tweedie_variance_power: float = 1.5


class Models(Section):
    """The two boosters and how many threads they may use."""

    churn: Booster = Booster()
    spend: Booster = Booster()
    threads: PositiveInt = 2


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


class Tracking(Section):
    """Where runs are recorded. MLFLOW_TRACKING_URI wins over uri."""

    uri: str | None = None
    experiment: str | None = None


class Service(Section):
    """The prediction service's address and limits. CHURN_CLV_BUNDLES wins over bundles."""

    bundles: str | None = None
    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=1, le=65535)] = 3000
    poll_seconds: float = 2.0
    stale_after_days: PositiveInt = 90


class Simulate(Section):
    """The synthetic log with known truth; docs/simulator.md says what each law means.

    A customer's orders per day ~ Gamma(order_shape, order_rate_days), chance to leave per day ~ Beta(leave_a, leave_b),
    order amounts ~ Gamma(amount_shape, v) with v ~ Gamma(amount_prior_shape, amount_prior_rate).
    """

    customers: PositiveInt = 5000
    days: PositiveInt = 546
    starts: dt.date = dt.date(2024, 1, 1)
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


class Config(Section):
    """The whole configuration; every section frozen."""

    dataset: Name
    model_name: Name | None = None
    seed: int = 7
    out: str = "out"
    events: Events = Events()
    timeline: Timeline = Timeline()
    population: Population = Population()
    targets: dict[str, Target] = {}
    features: Features = Features()
    models: Models = Models()
    bundle: Bundle = Bundle()
    promotion: Promotion = Promotion()
    tracking: Tracking = Tracking()
    service: Service = Service()
    simulate: Simulate = Simulate()

    @property
    def registered_name(self) -> str:
        """The registered model of this question (contract K4)."""
        return self.model_name or f"churn-clv-{self.dataset}-h{self.timeline.horizon_days}"

    @property
    def recipe_hash(self) -> str:
        """Hash of all that changes what is learnt; where results go and how they are served does not."""
        part = self.model_dump(
            mode="json", by_alias=True, exclude={"out", "tracking", "service", "simulate", "promotion"}
        )
        part["events"].pop("folder")
        part["models"].pop("threads")
        return hashlib.sha256(json.dumps(part, sort_keys=True).encode()).hexdigest()[:16]

    @property
    def tracking_uri(self) -> str:
        """MLflow's address: the environment first, then the config, then SQLite under ``out``."""
        given = os.environ.get("MLFLOW_TRACKING_URI") or self.tracking.uri
        return given or f"sqlite:///{(Path(self.out) / 'mlflow.db').resolve()}"

    @property
    def bundles_folder(self) -> Path:
        """The folder the service reads: the environment first, then the config, then ``out``/bundles."""
        given = os.environ.get("CHURN_CLV_BUNDLES") or self.service.bundles
        return Path(given) if given else Path(self.out) / "bundles"


def default_text() -> str:
    """The text of default.yaml: from the wheel, or from the checkout's configs/ folder."""
    shipped = resources.files("churn_clv").joinpath(DEFAULT)
    if shipped.is_file():
        return shipped.read_text(encoding="utf-8")
    return (Path(__file__).parents[2] / "configs" / DEFAULT).read_text(encoding="utf-8")


def load(*paths: str | Path, **settings: Any) -> Config:
    """Merge default.yaml, the given overlays, left to right, and ``settings`` by section; check the result.

    ``load("a.yaml", timeline={"horizon_days": 56})`` reads as an overlay with those lines would. Raises UserError
    naming the file, the key, the nearest known key and what is expected.
    """
    merged: dict[str, Any] = _parse(default_text(), DEFAULT)
    for path in paths:
        try:
            text = Path(path).read_text(encoding="utf-8")
        except FileNotFoundError:
            raise UserError(f"config file not found: {path}. Give the path of a YAML file.") from None
        except (OSError, UnicodeDecodeError) as error:
            raise UserError(f"config file {path} cannot be read: {error}.") from None
        merged = _merge(merged, _parse(text, str(path)))
    return from_dict(_merge(merged, settings), where=" + ".join(str(p) for p in paths) or DEFAULT)


def from_dict(values: dict[str, Any], where: str = "config") -> Config:
    """Check a plain dictionary (defaults already merged in) and freeze it."""
    try:
        return Config.model_validate(values)
    except ValidationError as error:
        lines = [_explain(item) for item in error.errors()]
        raise UserError(f"{where}: {len(lines)} setting(s) refused.\n  " + "\n  ".join(dict.fromkeys(lines))) from None


def to_yaml(config: Config) -> str:
    """The resolved config as YAML; ``load`` of it gives an equal config."""
    return yaml.safe_dump(config.model_dump(mode="json", by_alias=True), sort_keys=False)


def _parse(text: str, name: str) -> dict[str, Any]:
    try:
        values = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise UserError(f"{name} is not valid YAML: {error}") from None
    if values is None:
        return {}
    if not isinstance(values, dict):
        raise UserError(f"{name}: expected keys and values at the top, found {type(values).__name__}.")
    return values


def _merge(base: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    """Sections merge key by key; an empty section changes nothing; a mapping replaces the one before it whole."""
    out = dict(base)
    for key, value in over.items():
        old = out.get(key)
        if isinstance(old, dict) and value is None:
            continue
        if isinstance(old, dict) and isinstance(value, dict) and not set(MAPPINGS) & (set(old) | set(value)):
            value = _merge(old, value)
        out[key] = value
    return out


def _explain(item: Any) -> str:
    """One pydantic complaint as a line a YAML author can act on."""
    place = [str(part) for part in item["loc"] if not str(part).startswith("<")]
    key = ".".join(place)
    if item["type"] == "extra_forbidden":
        return f"unknown key '{key}'.{nearest(place[-1], _known_keys(item['loc'][:-1]))}"
    if item["type"] == "missing":
        return f"{key}: required, and not given."
    return f"{key}: {item['msg'].removeprefix('Value error, ')}."


def _known_keys(loc: tuple[Any, ...]) -> list[str]:
    """The keys of the section that a location points at."""
    annotation: Any = Config
    for part in loc:
        annotation = _inside(annotation, str(part))
    return [field.alias or name for model in _models_in(annotation)[:1] for name, field in model.model_fields.items()]


def _inside(annotation: Any, part: str) -> Any:
    """The type found one step down: a field of a section, an entry of a dictionary, or a kind of mapping."""
    if part.startswith("<"):
        return {"<multiply>": Multiply, "<constant>": Constant, "<when>": When}.get(part, str)
    if get_origin(annotation) is dict:
        return get_args(annotation)[1]
    fields = {
        field.alias or name: field for model in _models_in(annotation)[:1] for name, field in model.model_fields.items()
    }
    return fields[part].annotation if part in fields else None


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for inner in get_args(annotation) for model in _models_in(inner)]
