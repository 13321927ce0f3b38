"""The recipe of a target: choices at validation origins, one look at a test cutoff, the head that ships (D7, D8)."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from churn_clv import metrics, timeline
from churn_clv.beside import AT_ONCE, together
from churn_clv.metrics import Array
from churn_clv.models import fit
from churn_clv.models.baseline import CS, best_c
from churn_clv.models.predict import CERTAIN, Head, Pool, logit, mixture, sigmoid
from churn_clv.targets._cells import Rows
from churn_clv.targets._room import Room
from churn_clv.timeline import Plan

# Fewer customers than these of either kind at a slice, and nothing can be learnt or judged.
MIN_CLASS = 10
SHARES = (0.0, 0.25, 0.5, 0.75, 1.0)
# A share that the origins chose is believed as if one other independent origin had asked for none.
PRIOR_ORIGINS = 1.0


@dataclass(frozen=True)
class Choice:
    """What the validation origins chose: trees, the calibration map, the regression's C, and two shares.

    Those of the logistic regression in its mean with the booster, and of the table of recency in the mean with both.
    """

    trees: int
    linear_c: float
    linear_share: float
    recency_share: float
    intercept: float
    slope: float


@dataclass(frozen=True)
class Judged:
    """A target's recipe after its one look at the test cutoff; ``predicted`` and ``label`` go with ``rows``."""

    room: Room
    plan: Plan
    chosen: Choice
    head: Head
    rows: Rows
    predicted: Array
    label: Array


def judge(room: Room, plan: Plan) -> Judged:
    """Choose at the origins, fit on every label that ends by the test cutoff, and predict there."""
    chosen = choose(room, plan)
    made = head(room, plan, chosen, plan.test)
    rows = room.rows([plan.test])
    return Judged(room, plan, chosen, made, rows, made.predict(room.values[rows]), room.label(None)[rows])


def fitted(room: Room, plan: Plan) -> Plan:
    """The plan without the oldest origins that have too little to learn from, but for the newest one."""
    enough = [o for o in plan.origins if _rarer(room, room.learning(plan.learnt_by(o)), plan.test) >= MIN_CLASS]
    return replace(plan, origins=tuple(enough) or plan.origins[-1:])


def too_few(room: Room, plan: Plan, shipping: bool) -> str | None:
    """Why nothing can be learnt or judged at a plan; None where there is enough."""
    slices = {
        "train": (room.learning(plan.train), plan.test),
        "validation": (room.rows(plan.origins), plan.test),
        "judged refit": (room.learning(plan.judged), plan.test),
        "test": (room.rows([plan.test]), None),
    }
    if shipping:
        slices["shipped refit"] = (room.learning(plan.shipped), None)
    for role, (rows, known) in slices.items():
        if (rarer := _rarer(room, rows, known)) < MIN_CLASS:
            what = "of the rarer kind" if room.kind == "event" else "with any"
            return (
                f"{rarer} of {len(rows)} customer rows of the {role} slice are {what}; {MIN_CLASS} are needed (test "
                f"cutoff {plan.test})"
            )
    return None


def _rarer(room: Room, rows: Rows, known_by: dt.date | None) -> int:
    """How many rows are of the rarer kind; of a count or money, how many have any."""
    some = int((room.label(known_by)[rows] > (room.target.at_least or 0.0)).sum())
    return min(some, len(rows) - some) if room.kind == "event" else some


def choose(room: Room, plan: Plan) -> Choice:
    """Trees, the logistic regression's C and share, that of recency, and the map, at the origins' pooled rows."""
    own = room.shop.settings.models.targets
    parts = [room.rows([o]) for o in plan.origins]
    origin = np.repeat(np.arange(len(parts)), [len(p) for p in parts])
    label = np.concatenate([room.label(plan.test)[p] for p in parts])
    _prepare(room, plan)
    found = [room.booster(plan, o, own.max_rounds) for o in plan.origins]
    counts = fit.tree_counts(own)
    margins = [fit.staged_margins(b, room.values[p], counts) for (b, _), p in zip(found, parts, strict=True)]

    def predicted(stage: int) -> Array:
        if room.kind == "event":
            return np.clip(sigmoid(np.concatenate([m[stage] for m in margins])), CERTAIN, 1 - CERTAIN)
        return np.concatenate([scale * np.exp(m[stage]) for (_, scale), m in zip(found, margins, strict=True)])

    stages = {n: predicted(stage) for stage, n in enumerate(counts)}
    losses = {n: float(_losses(room, label, p).mean()) for n, p in stages.items()}
    trees = min(losses, key=lambda n: losses[n])
    if room.kind != "event":
        return Choice(trees, 0.0, 0.0, 0.0, 0.0, 1.0)
    count = timeline.independent(plan.origins, plan.horizon_days)
    mixed, shares = stages[trees], []
    c, said = _linear(room, plan, parts, label)
    for other in (said, _recency(room, plan, parts)):
        shares.append(_share(mixed, other, label, count))
        mixed = mixed if other is None else mixture(mixed, other, shares[-1])
    intercept, slope = fit.shrunk_map(logit(mixed), label, origin, count)
    return Choice(trees, c, shares[0], shares[1], intercept, slope)


def _prepare(room: Room, plan: Plan) -> None:
    """Learn side by side what the choices rest on; the room keeps it."""
    models = room.shop.settings.models
    most = min(AT_ONCE, models.threads)
    work: list[Callable[[], object]] = [
        partial(room.booster, plan, o, models.targets.max_rounds, most) for o in plan.origins
    ]
    if room.kind == "event":
        work += [partial(room.linear, plan, o, c) for o in plan.origins for c in CS]
    together(lambda learn: learn(), work, most)


def _linear(room: Room, plan: Plan, parts: Sequence[Rows], label: Array) -> tuple[float, Array]:
    """The C whose logistic regressions say the label best, and what that of each origin says of its rows."""

    def said(c: float) -> Array:
        margins = [room.linear(plan, o, c).margin(room.values[p]) for o, p in zip(plan.origins, parts, strict=True)]
        return sigmoid(np.concatenate(margins))

    found = {c: said(c) for c in CS}
    return (best := best_c(found, label)), found[best]


def _recency(room: Room, plan: Plan, parts: Sequence[Rows]) -> Array | None:
    """The same of the table of recency; None where there is none."""
    tables = [room.recency(plan, o) for o in plan.origins]
    said = [t.chance(room.values[p], room.columns) for t, p in zip(tables, parts, strict=True) if t is not None]
    return np.concatenate(said) if said else None


def head(room: Room, plan: Plan, chosen: Choice, when: dt.date) -> Head:
    """The chosen recipe fitted on every label that ends by ``when``: the test cutoff to be judged, the end to ship."""
    booster, scale = room.booster(plan, when, chosen.trees)
    booster = fit.cut(booster, chosen.trees)
    if room.kind == "event":
        linear = room.linear(plan, when, chosen.linear_c) if chosen.linear_share else None
        table = room.recency(plan, when) if chosen.recency_share else None
        pool = Pool(None, 0.0, linear, chosen.linear_share, table, chosen.recency_share) if linear or table else None
        return Head(room.name, room.horizon_days, "event", booster, chosen.intercept, chosen.slope, pool=pool)
    rows = room.learning(plan.learnt_by(when))
    label = room.label(None if when == plan.ends else plan.test)[rows]
    level = fit.balance(booster, room.values[rows], label / scale)
    return Head(room.name, room.horizon_days, room.kind, booster, level, 1.0, scale)


def _losses(room: Room, label: Array, predicted: Array) -> Array:
    if room.kind == "event":
        return metrics.log_losses(label, predicted)
    return metrics.tweedie_deviances(label, predicted)


def _share(own: Array, other: Array | None, label: Array, independent: int) -> float:
    """The share of ``other`` that lowers the log loss at the origins most, drawn to none by how few there are.

    Levels count, as they will: mapped within each origin, what is far too high at one would be forgiven.
    """
    if other is None:
        return 0.0
    best = min(SHARES, key=lambda share: metrics.log_losses(label, mixture(own, other, share)).mean())
    return best * independent / (independent + PRIOR_ORIGINS)
