"""The names and rules of segments: shipped in ``configs/segments.yaml``, each part replaced by an overlay's (D25, D26).

A rule is closed: a name, and lines of bounds on known quantities. One line must hold, and in it every bound.
"""

from __future__ import annotations

from collections import Counter
from itertools import product
from typing import TYPE_CHECKING, Annotated

from pydantic import Field, ValidationError, model_validator

from churn_clv.config._base import Section, Share
from churn_clv.config._files import parse_yaml, shipped_text
from churn_clv.errors import UserError

if TYPE_CHECKING:
    from churn_clv.config._whole import Config

SHIPPED_SEGMENTS = "segments.yaml"
LEVELS = 5
SegmentName = Annotated[str, Field(min_length=1, max_length=60)]
Level = Annotated[int, Field(ge=1, le=LEVELS)]
EVERY = (1, LEVELS)


class Bound(Section):
    """What a quantity must be: at least and below a number, or one of some words. Null never is."""

    at_least: float | None = None
    below: float | None = None
    is_in: tuple[str, ...] | None = None

    @model_validator(mode="after")
    def _one_kind(self) -> Bound:
        numbers = self.at_least is not None or self.below is not None
        if numbers == (self.is_in is not None):
            raise ValueError("expected at_least, below or both, or is_in with words")
        return self


Line = Annotated[dict[str, Bound], Field(min_length=1)]


class Rule(Section):
    """A segment's name and who is in it: whoever one of the lines describes; without lines everyone who is left."""

    name: SegmentName
    when: Annotated[tuple[Line, ...], Field(min_length=1)] | None = None


class Cells(Section):
    """A block of RFM cells: from and to level of each score, both included."""

    recency: tuple[Level, Level] = EVERY
    frequency: tuple[Level, Level] = EVERY
    monetary: tuple[Level, Level] = EVERY

    def all(self) -> list[tuple[int, ...]]:
        """The cells (recency, frequency, monetary) of the block."""
        return list(product(*(range(a, b + 1) for a, b in (self.recency, self.frequency, self.monetary))))


class Group(Section):
    """A named group of RFM cells."""

    name: SegmentName
    cells: Annotated[tuple[Cells, ...], Field(min_length=1)]


class Rfm(Section):
    """Named groups that cover all 125 cells exactly once; the name of those who have not bought."""

    groups: Annotated[tuple[Group, ...], Field(min_length=1)]
    without_purchase: SegmentName = "prospect"

    @model_validator(mode="after")
    def _each_cell_once(self) -> Rfm:
        times = Counter(cell for group in self.groups for block in group.cells for cell in block.all())
        twice = sorted(cell for cell, n in times.items() if n > 1)
        left = sorted(set(product(range(1, LEVELS + 1), repeat=3)) - set(times))
        wrong = [f"{len(cells)} {word} (first {'-'.join(map(str, cells[0]))})"
                 for cells, word in ((left, "in no group"), (twice, "in several")) if cells]  # fmt: skip
        if wrong:
            raise ValueError(f"of the 125 cells (recency-frequency-monetary) {' and '.join(wrong)}")
        return self


class Lifecycle(Section):
    """What the stages are told by (definition D26)."""

    quantile: Annotated[float, Field(gt=0, lt=1)] = 0.9
    prior_gaps: Annotated[float, Field(ge=0)] = 5
    change_p: Annotated[float, Field(gt=0, lt=0.5)] = 0.05


class ValueRisk(Section):
    """Who is at risk, and the name of each meeting of value tier and risk."""

    risk: Annotated[tuple[Rule, ...], Field(min_length=1)]
    cells: dict[str, dict[str, SegmentName]]


class ClusterFeature(Section):
    """A feature that clusters are made of, and the words for a cluster that is low or high in it."""

    name: str
    low: SegmentName
    high: SegmentName


class Clusters(Section):
    """How many clusters of what (definition D34)."""

    between: tuple[Annotated[int, Field(ge=2)], Annotated[int, Field(le=20)]] = (4, 8)
    agreement: Share = 0.8
    features: Annotated[tuple[ClusterFeature, ...], Field(min_length=1)]


class Segments(Section):
    """The parts that a config replaces; null: the shipped one."""

    rfm: Rfm | None = None
    lifecycle: Lifecycle | None = None
    value_tiers: Annotated[tuple[Rule, ...], Field(min_length=1)] | None = None
    value_risk: ValueRisk | None = None
    clusters: Clusters | None = None


class SegmentRules(Section):
    """All parts, which fit together."""

    rfm: Rfm
    lifecycle: Lifecycle
    value_tiers: tuple[Rule, ...]
    value_risk: ValueRisk
    clusters: Clusters

    @model_validator(mode="after")
    def _they_fit(self) -> SegmentRules:
        tiers, risks = ([r.name for r in rules] for rules in (self.value_tiers, self.value_risk.risk))
        for what, names in (("value_tiers", tiers), ("value_risk.risk", risks)):
            if len(set(names)) < len(names):
                raise ValueError(f"{what} names a segment twice: {', '.join(names)}")
        cells = {(tier, risk) for tier, row in self.value_risk.cells.items() for risk in row}
        wanted = set(product(tiers, risks))
        for found, word in ((wanted - cells, "has no name for"), (cells - wanted, "names, and no rule gives,")):
            if found:
                raise ValueError(f"value_risk.cells {word} {', '.join(f'{t} x {r}' for t, r in sorted(found))}")
        return self


def segment_rules(settings: Config) -> SegmentRules:
    """The shipped parts with those of the config in their place; UserError where they do not fit together."""
    shipped = Segments.model_validate(parse_yaml(shipped_text(SHIPPED_SEGMENTS), SHIPPED_SEGMENTS)["segments"])
    parts = {name: getattr(settings.segments, name) or getattr(shipped, name) for name in Segments.model_fields}
    try:
        return SegmentRules(**parts)
    except ValidationError as error:
        why = error.errors()[0]["msg"].removeprefix("Value error, ")
        raise UserError(f"segments: {why}. A part that a config gives replaces the shipped one whole.") from None
