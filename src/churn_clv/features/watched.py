"""Watched: the past of what a target counts, where that is a product, a category or a channel."""

from __future__ import annotations

import polars as pl

from churn_clv import config, timeline
from churn_clv.features._feature import Feature, Grain, count, statistic, within
from churn_clv.timeline import Definitions

GRAINS: dict[str, Grain] = {
    "product_id": "product_id_days",
    "category": "category_days",
    "channel": "channel_days",
}


def needs(definitions: Definitions) -> str | None:
    """A target that counts events of a product, a category or a channel."""
    return None if _seen(definitions) else "no target counts a product, a category or a channel"


def features(definitions: Definitions) -> list[Feature]:
    """Days with such an event: all, in two windows, and how long ago the last one was."""
    return [f for name, asked in _seen(definitions).items() for f in _of_target(definitions, name, asked)]


def _seen(definitions: Definitions) -> dict[str, config.Predicate]:
    """Those of whose event types the log has any."""
    return {n: asked for n, asked in definitions.watched.items() if set(asked.kinds) & set(definitions.event_types)}


def _of_target(definitions: Definitions, name: str, asked: config.Predicate) -> list[Feature]:
    grain, of, meant = GRAINS[asked.column], asked.kinds, timeline.matching(asked)
    said, name = f"an event that the target {name} counts", f"target_{name}"
    days = pl.col("age_days").filter(meant)
    out = [
        count(f"{name}_days", days.n_unique().cast(pl.Int64), grain, f"Days with {said}.", of=of, where=meant),
        statistic(f"days_since_last_{name}", days.min(), grain, f"Days from the last day with {said} to the cutoff.",
                  of=of, where=meant),
    ]  # fmt: skip
    for w in definitions.two_windows_days:
        recent = pl.col("age_days").filter(meant & within(w)).n_unique().cast(pl.Int64)
        out.append(count(f"{name}_days_last_{w}d", recent, grain, f"Days with {said} in the last {w} days.", w, of,
                         meant))  # fmt: skip
    return out
