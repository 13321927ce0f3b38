"""Segments of every known customer: RFM, lifecycle, value tiers, value x risk, clusters (definitions D25, D26, D34).

Edges, rhythm, centres and rules are learnt once (``segmentation``) and frozen in the bundle; assigning looks at one
customer's past and scores only, so that a customer moves by acting alone. Docs: docs/segments.md.
"""

from churn_clv.segments._clusters import logs, nearest_centre, placed
from churn_clv.segments._columns import assign, columns, features_read, floats, read
from churn_clv.segments._history import offered
from churn_clv.segments._lifecycle import critical, staged
from churn_clv.segments._migration import NONE, UNKNOWN, matrix, migration, moved, sizes
from churn_clv.segments._rfm import MEASURES, edges, empty_levels, grouped, scores
from churn_clv.segments._rules import check, choose, features_of, looked_at
from churn_clv.segments._state import (
    CELL,
    CLUSTER,
    COLUMNS,
    FREQUENCY,
    GROUP,
    MONETARY,
    RECENCY,
    SCORES,
    SEGMENTATIONS,
    STAGE,
    STAGE_PERCENTILE,
    STAGES,
    TIER,
    Clusters,
    Edges,
    Rhythm,
    Segments,
    from_json,
    group_table,
    to_json,
)

__all__ = [
    "CELL",
    "CLUSTER",
    "COLUMNS",
    "FREQUENCY",
    "GROUP",
    "MEASURES",
    "MONETARY",
    "NONE",
    "RECENCY",
    "SCORES",
    "SEGMENTATIONS",
    "STAGE",
    "STAGES",
    "STAGE_PERCENTILE",
    "TIER",
    "UNKNOWN",
    "Clusters",
    "Edges",
    "Rhythm",
    "Segments",
    "assign",
    "check",
    "choose",
    "columns",
    "critical",
    "edges",
    "empty_levels",
    "features_of",
    "features_read",
    "floats",
    "from_json",
    "group_table",
    "grouped",
    "logs",
    "looked_at",
    "matrix",
    "migration",
    "moved",
    "nearest_centre",
    "offered",
    "placed",
    "read",
    "scores",
    "sizes",
    "staged",
    "to_json",
]
