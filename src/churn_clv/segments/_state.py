"""What is frozen of segments: edges, rhythm, quantiles, centres, names and rules; as JSON and back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from churn_clv.config import LEVELS, Rfm, SegmentRules

# In the order of a customer's life; definition D26.
PROSPECT, NEW, GROWING, MATURE = "prospect", "new", "growing", "mature"
DECLINING, LAPSED, WON_BACK = "declining", "lapsed", "won_back"
STAGES = (PROSPECT, NEW, GROWING, MATURE, DECLINING, LAPSED, WON_BACK)

RECENCY, FREQUENCY, MONETARY = "rfm_recency", "rfm_frequency", "rfm_monetary"
SCORES = (RECENCY, FREQUENCY, MONETARY)
STAGE, STAGE_PERCENTILE = "lifecycle_stage", "stage_percentile"
GROUP, TIER, CELL, CLUSTER = "rfm_group", "value_tier", "value_risk", "cluster"
# The columns of the scores, in their order; those with names of segments.
COLUMNS = (*SCORES, GROUP, TIER, CELL, STAGE, STAGE_PERCENTILE, CLUSTER)
SEGMENTATIONS = (STAGE, GROUP, TIER, CELL, CLUSTER)


@dataclass(frozen=True)
class Edges:
    """Where the levels of an RFM score begin (definition D25): of levels 2 to 5 the value that reaches it.

    ``falling``: few days are better than many. None: no customer of the training reached that level or a higher one.
    """

    cuts: tuple[float | None, ...]
    falling: bool = False


@dataclass(frozen=True)
class Rhythm:
    """The population's gaps between purchase days (definition D27), at most the days after which one has lapsed.

    ``new_days`` is the median from first to second; ``first_days`` and ``later_days`` the quantile of the first and of
    later gaps that the rules name. ``capped`` says which of them the log did not reach.
    """

    new_days: int
    first_days: int
    later_days: int
    capped: tuple[str, ...] = ()


@dataclass(frozen=True)
class Clusters:
    """Centres (k, features) among log1p of features, less ``middle`` and divided by ``scale``; names largest first."""

    features: tuple[str, ...]
    middle: tuple[float, ...]
    scale: tuple[float, ...]
    centres: tuple[tuple[float, ...], ...]
    names: tuple[str, ...]
    agreement: float


@dataclass(frozen=True)
class Segments:
    """Everything that assigns a customer to segments without looking at others.

    ``rfm`` has the edges by score, without one for money where the log has none. ``clv`` are frozen quantiles of the
    longest CLV of all customers, ``stage_clv`` of each stage's; empty where there was none. ``notes`` say what the log
    lacks.
    """

    rules: SegmentRules
    customers: int
    rfm: Mapping[str, Edges]
    rhythm: Rhythm
    clv: tuple[float, ...] = ()
    stage_clv: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    clusters: Clusters | None = None
    notes: tuple[str, ...] = ()

    @cached_property
    def groups(self) -> NDArray[np.object_]:
        """The RFM group of each three scores."""
        return group_table(self.rules.rfm)

    def names(self, column: str) -> tuple[str, ...]:
        """The names that a column of ``SEGMENTATIONS`` may hold, in the order of the rules, least risk first."""
        rules = self.rules
        groups, tiers = (g.name for g in rules.rfm.groups), [r.name for r in rules.value_tiers]
        risks, cells = [r.name for r in reversed(rules.value_risk.risk)], rules.value_risk.cells
        every: dict[str, tuple[str, ...]] = {
            STAGE: STAGES,
            GROUP: (*groups, rules.rfm.without_purchase),
            TIER: tuple(tiers),
            CELL: tuple(dict.fromkeys(cells[tier][risk] for tier in tiers for risk in risks)),
            CLUSTER: () if self.clusters is None else self.clusters.names,
        }
        return every[column]


def group_table(rules: Rfm) -> NDArray[np.object_]:
    """The group by recency, frequency and monetary score; 0 stands for a score that is not known.

    Without a recency score the group of those who have not bought; without a monetary one the group that recency and
    frequency alone decide on, None where they do not.
    """
    out = np.full((LEVELS + 1,) * 3, None, dtype=object)
    out[0] = rules.without_purchase
    for group in rules.groups:
        for cell in (cell for block in group.cells for cell in block.all()):
            out[cell] = group.name
    for r, f in np.ndindex(LEVELS, LEVELS):
        names = set(out[r + 1, f + 1, 1:])
        out[r + 1, f + 1, 0] = names.pop() if len(names) == 1 else None
    return out


def to_json(own: Segments) -> dict[str, Any]:
    """The file ``segments.json`` of a bundle."""
    parts = {name: getattr(own, name) for name in ("customers", "clv", "notes")}
    return parts | {
        "rules": own.rules.model_dump(mode="json"),
        "rfm": {name: asdict(edges) for name, edges in own.rfm.items()},
        "rhythm": asdict(own.rhythm),
        "stage_clv": dict(own.stage_clv),
        "clusters": None if own.clusters is None else asdict(own.clusters),
    }


def from_json(entry: Mapping[str, Any]) -> Segments:
    """What ``to_json`` wrote."""
    rhythm, clusters = entry["rhythm"], entry["clusters"]
    return Segments(
        rules=SegmentRules.model_validate(entry["rules"]),
        customers=entry["customers"],
        rfm={name: Edges(tuple(e["cuts"]), e["falling"]) for name, e in entry["rfm"].items()},
        rhythm=Rhythm(**rhythm | {"capped": tuple(rhythm["capped"])}),
        clv=tuple(entry["clv"]),
        stage_clv={name: tuple(values) for name, values in entry["stage_clv"].items()},
        clusters=None if clusters is None else _clusters(clusters),
        notes=tuple(entry["notes"]),
    )


def _clusters(entry: Mapping[str, Any]) -> Clusters:
    plain = {name: tuple(entry[name]) for name in ("features", "middle", "scale", "names")}
    return Clusters(centres=tuple(tuple(c) for c in entry["centres"]), agreement=entry["agreement"], **plain)
