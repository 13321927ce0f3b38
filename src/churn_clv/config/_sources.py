"""The ``events`` section: sources, the closed mapping grammar (contract K11), attributes, identity, policies."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, PlainValidator, Tag, model_validator

from churn_clv.config._base import Day, Section
from churn_clv.config._text import Text


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


class Place(Section):
    """Where a table comes from: files, or one table of the adapter."""

    path: str | None = None
    table: str | None = None
    format: Literal["csv", "parquet", "jsonl"] | None = None
    separator: Annotated[str, Field(min_length=1, max_length=1)] = ","

    @model_validator(mode="after")
    def _one_place(self) -> Place:
        if (self.path is None) == (self.table is None):
            raise ValueError("give exactly one of path (files) and table (of the adapter)")
        return self


class Source(Place):
    """One set of files (or one adapter table) and how its columns become the log's."""

    timezone: str | None = None
    time_format: str | None = None
    decimal: Literal[".", ","] = "."
    log_starts: Day | None = None
    currency: Mapping | None = None
    map: dict[str, Mapping]


class Attributes(Place):
    """A table of customer attributes; without valid_from its columns are refused as features."""

    customer_id: str
    valid_from: str | None = None
    columns: tuple[str, ...] | None = None


class Identity(Place):
    """A map from source ids to one customer id."""

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
    ends: Day | None = None
    duplicates: Literal["keep", "drop"] = "keep"
    missing_customer: Literal["drop", "error"] = "drop"
    unparsable: Literal["error", "drop"] = "error"
    zero_amount: Literal["keep", "drop"] = "keep"
    negative_amount: Literal["return", "drop", "error"] = "return"
    after_end: Literal["drop", "error"] = "drop"
    sources: dict[str, Source] = Field(default_factory=dict)
    attributes: dict[str, Attributes] = Field(default_factory=dict)
    identity: Identity | None = None
    text: Text = Text()
