"""The loyalty index: stated weights on ranks, and what retention says of it."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import numpy as np
import polars as pl

from churn_clv import config, features, labels, timeline
from churn_clv.events import Log
from churn_clv.ledger import wilson
from churn_clv.timeline import Definitions

QUINTILES = 5
NOT_SUPPORTED = "not supported by the data"


def parts(weights: Mapping[str, float], definitions: Definitions) -> tuple[dict[str, float], list[str]]:
    """The weights of the features that this log gives, and the names of the others; zero weights are neither."""
    there = {f.name for f in features.catalogue(definitions) if not f.hidden}
    own = {name: weight for name, weight in weights.items() if weight}
    return {n: w for n, w in own.items() if n in there}, [n for n in own if n not in there]


def known(log: Log, definitions: Definitions, weights: Mapping[str, float], day: dt.date) -> pl.DataFrame:
    """``customer_id``, ``cutoff``, ``silent`` and the weighed features of everyone known at ``day``."""
    pairs = timeline.known_among(log.frame, timeline.pairs_of(log.frame["customer_id"].unique(), [day]))
    wanted = tuple(dict.fromkeys(("days_since_last_purchase", *weights)))
    rows = features.build(timeline.Past(log.frame, pairs), definitions, wanted)
    return rows.with_columns(silent=pl.col("days_since_last_purchase"))


def index(rows: pl.DataFrame, weights: Mapping[str, float]) -> pl.Series:
    """0 to 100: the weighed mean of each feature's mid-rank share among ``rows``, of a negative weight from above.

    A feature that a customer does not have counts as the middle: no answer is neither good nor bad.
    """
    total = np.zeros(rows.height)
    for name, weight in weights.items():
        column = rows[name]
        rank = ((column.rank("average") - 0.5) / max(column.count(), 1)).fill_null(0.5).to_numpy()
        total += abs(weight) * (rank if weight > 0 else 1 - rank)
    return pl.Series("loyalty_index", 100 * total / sum(map(abs, weights.values())))


def quintiles(value: pl.Series) -> pl.Series:
    """1 to 5 by mid-rank; equal values are in one quintile."""
    share = (value.rank("average") - 0.5) / max(value.count(), 1)
    return (share * QUINTILES).floor().cast(pl.Int64).clip(0, QUINTILES - 1) + 1


def retention(
    log: Log, definitions: Definitions, weights: Mapping[str, float], settings: config.Config
) -> dict[str, Any]:  # fmt: skip
    """Of those active a horizon before the log's end, by quintile of the index then, how many bought in the horizon.

    ``supported``: the shares never fall from one quintile to the next, and the last is significantly above the first.
    """
    day = log.ends - dt.timedelta(days=definitions.horizon_days)
    rows = known(log, definitions, weights, day)
    rows = rows.filter(pl.col("silent") <= definitions.active_within_days)
    if rows.height < QUINTILES:
        return {"cutoff": day.isoformat(), "quintiles": [], "supported": None, "verdict": "too few were active then"}
    pairs = rows.select("customer_id", "cutoff")
    churned = {"churned": settings.targets["churned"]}
    horizon = definitions.horizon_days
    came = labels.build(log.frame, pairs, churned, horizon, minor_units=log.rules.minor_units, ends=log.ends)
    stayed = 1 - came[labels.column("churned", horizon)]
    found = rows.with_columns(quintile=quintiles(index(rows, weights)), stayed=stayed)
    table = found.group_by("quintile").agg(n=pl.len(), stayed=pl.col("stayed").sum()).sort("quintile")
    told = [_quintile(*row) for row in table.iter_rows()]
    good = _supported(told)
    return {
        "cutoff": day.isoformat(),
        "quintiles": told,
        "supported": good,
        "verdict": "retention rises with the index" if good else NOT_SUPPORTED,
    }


def _quintile(quintile: int, n: int, stayed: float) -> dict[str, Any]:
    low, high = wilson(stayed, n)
    return {"quintile": quintile, "customers": n, "retention": stayed / n, "low": low, "high": high}


def _supported(told: list[dict[str, Any]]) -> bool:
    shares = [row["retention"] for row in told]
    return all(a <= b for a, b in pairwise(shares)) and told[-1]["low"] > told[0]["high"]
