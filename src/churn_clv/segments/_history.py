"""What segments look at: a customer's own past at a cutoff, in exact numbers (contract K1)."""

from __future__ import annotations

from functools import lru_cache

import polars as pl

from churn_clv import features, timeline
from churn_clv.config import SegmentRules
from churn_clv.timeline import Definitions

# Quantities that rules may name beside the log's features; those that hold words.
ENGAGEMENT, EARNED, GROWTH = "engagement", "_earned", "growth"
KEPT = 32
BASE = ("days_since_last_purchase", "days_since_first_purchase", "purchase_days")


def offered(definitions: Definitions) -> frozenset[str]:
    """The features that this log can give, those too that its models leave out."""
    return _offered(definitions.model_dump_json())


@lru_cache(maxsize=KEPT)
def _offered(definitions_json: str) -> frozenset[str]:
    """Kept: for one customer the catalogue costs more than all the rest. By JSON: definitions hold dictionaries."""
    catalogue = features.catalogue(Definitions.model_validate_json(definitions_json))
    return frozenset(f.name for f in catalogue if not f.hidden)


def columns(definitions: Definitions, wanted: set[str]) -> tuple[str, ...]:
    """The features that ``read`` looks at, as far as the log can give them: its own, and the ``wanted`` ones."""
    there = offered(definitions)
    return tuple(dict.fromkeys((*BASE, *_named(definitions).values(), *sorted(wanted & there))))


def _named(definitions: Definitions) -> dict[str, str]:
    """Quantities of a horizon window or of all time that this log has, and the features that they are."""
    there, window = offered(definitions), definitions.horizon_window_days
    named = {"spend": "spend", EARNED: f"spend_last_{window}d", ENGAGEMENT: f"touches_last_{window}d"}
    return {name: own for name, own in named.items() if own in there}


def read(
    past: timeline.Past, definitions: Definitions, rules: SegmentRules, wanted: set[str],
    rows: pl.DataFrame | None = None,
) -> pl.DataFrame:  # fmt: skip
    """One row per pair of ``past``, in its order. Features that ``rows`` (the matrix of those pairs) has are not made
    again.

    ``customer_id``, ``cutoff``, BASE, ``spend`` and ``_earned`` (net spend of the last horizon window; both only where
    the log has money), ``engagement`` (events beside purchases and returns in that window, where it has any), the
    ``wanted`` features, and of the gaps between purchase days: ``_gaps`` (how many), ``_own_gap`` (their quantile: the
    shortest that at least that share do not exceed), ``_back`` (days since the latest purchase day that came after a
    gap of more than the days after which one has lapsed), ``_near`` and ``_before`` (purchase days in the last so many
    days, and in as many before).
    """
    asked = columns(definitions, wanted)
    found = past.pairs.hstack([] if rows is None else rows.select(c for c in asked if c in rows.columns))
    if left := tuple(c for c in asked if c not in found.columns):
        found = found.hstack(features.build(past, definitions, left).select(left))
    rhythm = _rhythm(definitions.active_within_days, rules)
    gaps = past.collect(features.grain(past, "gaps").group_by("row").agg(rhythm))
    out = found.join(gaps, on="row", how="left", maintain_order="left")
    return out.select(
        pl.exclude("row", "_gaps", "_near", "_before"), pl.col("_gaps", "_near", "_before").fill_null(0),
        *(pl.col(own).alias(name) for name, own in _named(definitions).items() if name != own),
    )  # fmt: skip


def _rhythm(window_days: int, rules: SegmentRules) -> list[pl.Expr]:
    gap, age = pl.col("gap_days"), pl.col("age_days")
    closed = gap.drop_nulls().sort()
    # ceil(n x quantile), with a hair less: .9 x 10 gaps is the 9th whatever a float makes of it
    place = ((gap.count() * rules.lifecycle.quantile - 1e-9).ceil().cast(pl.Int64) - 1).clip(0)
    return [
        gap.count().cast(pl.Int64).alias("_gaps"),
        closed.get(place, null_on_oob=True).cast(pl.Float64).alias("_own_gap"),
        age.filter(gap > window_days).min().cast(pl.Int64).alias("_back"),
        (age <= window_days).sum().cast(pl.Int64).alias("_near"),
        ((age > window_days) & (age <= 2 * window_days)).sum().cast(pl.Int64).alias("_before"),
    ]
