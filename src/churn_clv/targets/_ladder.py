"""The rungs of a target: its base rate, recency, what the last horizon brought, and logistic regression."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl

from churn_clv import features, metrics, timeline
from churn_clv.metrics import Array
from churn_clv.models.predict import sigmoid
from churn_clv.targets._learn import Judged
from churn_clv.targets._room import Room, Rows

TENTHS = 10
# A cell of a table counts as many rows as it has, everybody's mean as this many.
SHRINK_ROWS = 20.0
EVENT_KEYS = tuple(k.removeprefix("churn_") for k in metrics.CHURN_KEYS)
AMOUNT_KEYS = tuple(k.removeprefix("spend_") for k in metrics.SPEND_KEYS)


@dataclass(frozen=True)
class Rung:
    """A rung's prediction of each judged row: a probability, a count or money."""

    name: str
    predicted: Array


def rungs(judged: Judged) -> list[Rung]:
    """Every rung at the test cutoff, learnt from the labels that the judged recipe learnt from."""
    room, plan = judged.room, judged.plan
    train = room.learning(plan.judged)
    label = room.label(plan.test)[train]
    out = [Rung("base_rate", np.full(len(judged.rows), label.mean()))]
    since, asked = _silence(room, train), _silence(room, judged.rows)
    out.append(Rung("recency", _table(_tenth(since, since), label, _tenth(since, asked))))
    before, now = room.last_time(train), room.last_time(judged.rows)
    known = ~np.isnan(before)
    if known.any() and not np.isnan(now).any():
        if room.kind == "event":
            table = _table(before[known].astype(np.intp), label[known], now.astype(np.intp))
            out.append(Rung("last_horizon", table))
        else:
            out.append(Rung("last_horizon", np.maximum(now, 0.0)))
    if room.kind == "event":
        out.append(Rung("logistic", sigmoid(room.linear(plan, plan.test).margin(room.values[judged.rows]))))
    return out


def metrics_of(kind: str, label: Array, predicted: Array) -> dict[str, float | None]:
    """Every metric of a prediction, by its plain name: ``auroc``, ``log_loss`` ... or ``mae``, ``gini`` ..."""
    if kind == "event":
        found = metrics.churn_metrics(label, predicted)
        return {k.removeprefix("churn_"): v for k, v in found.items()} | {"n": len(label)}
    found = metrics.spend_metrics(np.maximum(label, 0.0), predicted)
    return {k.removeprefix("spend_"): v for k, v in found.items()} | {"n": len(label)}


def _silence(room: Room, rows: Rows) -> Array:
    """Days since the last purchase, or for those who never bought since the last event of any kind."""
    pairs = room.pairs[rows]
    past = timeline.Past(room.shop.log.frame, pairs)
    if room.target.population != "prospects":
        built = features.build(past, room.shop.definitions, ("days_since_last_purchase",))
        return built["days_since_last_purchase"].fill_null(-1.0).to_numpy()
    last = past.by(where=pl.col("time").is_not_null(), sums={}).group_by("row").agg(pl.col("age_days").min())
    found = pairs.with_row_index("row").join(last.collect(), on="row", how="left", maintain_order="left")
    return found["age_days"].cast(pl.Float64).to_numpy()


def _tenth(reference: Array, values: Array) -> Rows:
    """Each value's place between the tenths of ``reference``; ties fall into one place."""
    edges = np.unique(np.quantile(reference, np.arange(1, TENTHS) / TENTHS))
    return np.searchsorted(edges, values, side="right").astype(np.intp)


def _table(cells: Rows, label: Array, wanted: Rows) -> Array:
    """The mean label of each wanted cell, drawn to everybody's mean."""
    size = int(max(cells.max(), wanted.max())) + 1
    count, total = np.bincount(cells, minlength=size), np.bincount(cells, label, minlength=size)
    rate = (total + SHRINK_ROWS * label.mean()) / (count + SHRINK_ROWS)
    return np.asarray(rate[wanted])
