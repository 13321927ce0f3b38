"""The rungs of a target: its base rate, recency, what the last horizon brought, and logistic regression.

Of a contract neither the last purchase nor the last horizon says anything: its own rungs stand there (``_contract``).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl

from churn_clv import features, metrics, timeline
from churn_clv.metrics import Array
from churn_clv.models.predict import sigmoid
from churn_clv.targets._cells import TENTHS, Rows, place, table
from churn_clv.targets._contract import contract_rungs
from churn_clv.targets._learn import Judged
from churn_clv.targets._room import Room

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
    own = contract_rungs if room.target.contract else _habit_rungs
    out += [Rung(name, predicted) for name, predicted in own(room, train, judged.rows, label).items()]
    if room.kind == "event":
        linear = room.linear(plan, plan.test, judged.chosen.linear_c)
        out.append(Rung("logistic", sigmoid(linear.margin(room.values[judged.rows]))))
    return out


def _habit_rungs(room: Room, train: Rows, asked: Rows, label: Array) -> dict[str, Array]:
    """``recency`` and ``last_horizon`` of the ``asked`` rows, learnt at ``train`` rows."""
    since, since_asked = _silence(room, train), _silence(room, asked)
    out = {"recency": table(place(since, since, TENTHS), label, place(since, since_asked, TENTHS))}
    before, now = room.last_time(train), room.last_time(asked)
    known = ~np.isnan(before)
    if known.any() and not np.isnan(now).any():
        event = room.kind == "event"
        out["last_horizon"] = (
            table(before[known].astype(np.intp), label[known], now.astype(np.intp)) if event else np.maximum(now, 0.0)
        )
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
