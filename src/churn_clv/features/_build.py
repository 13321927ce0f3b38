"""From past to feature columns: one aggregation per grain, then elementwise layers.

What is to be computed is worked out once per definitions and kept: for one customer it costs more than the computing.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import polars as pl

from churn_clv import timeline
from churn_clv.features import _catalogue, _history
from churn_clv.features._feature import Feature, Grain
from churn_clv.timeline import Definitions

# How many definitions' plans are kept: a process serves one or two at a time.
KEPT_PLANS = 32


@dataclass(frozen=True)
class _Plan:
    """What to compute: per grain its rows and aggregates, then fills, window masks and the elementwise layers in order.

    A mask comes with the first cutoff whose window lies inside the log: where all cutoffs are later none is needed.
    """

    columns: tuple[str, ...]
    grains: tuple[tuple[Grain, pl.Expr | None, list[pl.Expr]], ...]
    fills: list[pl.Expr]
    windows: tuple[tuple[dt.date, pl.Expr], ...]
    layers: tuple[list[pl.Expr], ...]


def build(past: timeline.Past, definitions: Definitions, wanted: tuple[str, ...] | None = None) -> pl.DataFrame:
    """The ``wanted`` features (default: all) of each pair of ``past``, Float64, in the order of the pairs.

    Columns ``customer_id``, ``cutoff`` and the features. Undefined values (division by zero, too little history,
    a window that starts before the log) are null, never NaN.
    """
    plan = _plan(definitions.model_dump_json(), wanted)
    out = past.pairs.lazy()
    for grain, where, aggregates in plan.grains:
        rows = past.held(past.held(_history.grain(past, grain, where)).group_by("row").agg(aggregates))
        out = past.held(out.join(rows, on="row", how="left", maintain_order="left"))
    first = past.pairs["cutoff"].min()
    masks = [mask for known_from, mask in plan.windows if isinstance(first, dt.date) and first < known_from]
    for layer in (plan.fills, masks, *plan.layers):
        out = past.held(out.with_columns(layer)) if layer else out
    values = pl.col(plan.columns).cast(pl.Float64)
    return _without_nan(past.collect(out.select("customer_id", "cutoff", values)), past.few)


def _without_nan(found: pl.DataFrame, few: bool) -> pl.DataFrame:
    """Null for NaN. There is hardly ever one; for few rows to look is cheaper than to replace."""
    values = pl.DataFrame(found.get_columns()[2:])
    if few and np.count_nonzero(np.isnan(values.to_numpy())) == sum(values.null_count().row(0)):
        return found
    return found.with_columns(pl.col(values.columns).fill_nan(None))


@lru_cache(maxsize=KEPT_PLANS)
def _plan(definitions_json: str, wanted: tuple[str, ...] | None) -> _Plan:
    """The plan of definitions given as JSON: they hold a dictionary, which no cache can take as its key."""
    definitions = Definitions.model_validate_json(definitions_json)
    entries = _catalogue.catalogue(definitions)
    columns = wanted if wanted is not None else _catalogue.names(definitions)
    needed = _needed(entries, columns)
    entries = [f for f in entries if f.name in needed]
    grouped = {grain: [f for f in entries if f.grain == grain] for grain in dict.fromkeys(f.grain for f in entries)}
    grains = ((grain, _any([f.where for f in group]), [f.expr.alias(f.name) for f in group])
              for grain, group in grouped.items() if grain)  # fmt: skip
    fills = [pl.col(f.name).fill_null(f.empty) for f in entries if f.grain and f.empty is not None]
    windows = [_window_known(f, definitions) for f in entries if f.grain and f.window_days]
    return _Plan(columns, tuple(grains), fills, tuple(windows), tuple(_layers(entries)))


def _any(parts: Sequence[pl.Expr | None]) -> pl.Expr | None:
    """What any of the parts wants; None, for everything, where one of them does."""
    wanted = [p for p in parts if p is not None]
    return pl.any_horizontal(wanted) if wanted and len(wanted) == len(parts) else None


def _layers(entries: Sequence[Feature]) -> list[list[pl.Expr]]:
    """The elementwise features, those first whose parts are there."""
    there = {"row", "customer_id", "cutoff"} | {f.name for f in entries if f.grain}
    left, layers = [f for f in entries if not f.grain], []
    while left:
        ready = [f for f in left if set(f.expr.meta.root_names()) <= there]
        if not ready:
            parts = {f.name: sorted(set(f.expr.meta.root_names()) - there) for f in left}
            raise ValueError(f"features whose parts no entry defines: {parts}")
        layers.append([f.expr.alias(f.name) for f in ready])
        there |= {f.name for f in ready}
        left = [f for f in left if f.name not in there]
    return layers


def _needed(entries: list[Feature], columns: tuple[str, ...]) -> set[str]:
    """The wanted columns and every part they are computed from."""
    by_name = {f.name: f for f in entries}
    todo, done = list(columns), set[str]()
    while todo:
        name = todo.pop()
        if name in done or name not in by_name:
            continue
        done.add(name)
        if not by_name[name].grain:
            todo += by_name[name].expr.meta.root_names()
    return done


def _window_known(feature: Feature, definitions: Definitions) -> tuple[dt.date, pl.Expr]:
    """From which cutoff on the feature's window lies inside the log, and the feature, null before that."""
    assert feature.window_days is not None
    start = max(definitions.starts[t] for t in feature.of if t in definitions.starts)
    known_from = start + dt.timedelta(days=feature.window_days)
    return known_from, pl.when(pl.col("cutoff") >= known_from).then(pl.col(feature.name)).alias(feature.name)
