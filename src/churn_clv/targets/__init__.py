"""Targets of the user's own: any question that a config can put about events, learnt and judged like churn (D7-D12).

Churned and spend have recipes of their own (``recipe``). Every other target under ``targets`` is one booster beside a
logistic regression and a table of recency, its trees, shares and calibration map chosen at validation origins, judged
once at a test cutoff beside its rungs, and shipped as one more head of the same bundle. Docs: docs/targets.md.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from churn_clv import bundle, comparison, config, explain, labels
from churn_clv.comparison import Party
from churn_clv.config import CORE
from churn_clv.errors import UserError
from churn_clv.events import Log
from churn_clv.metrics import Array
from churn_clv.models.predict import Head
from churn_clv.recipe import Say, Workshop
from churn_clv.targets._ladder import AMOUNT_KEYS, EVENT_KEYS, Rung, metrics_of, rungs
from churn_clv.targets._learn import Judged, fitted, head, judge, too_few
from churn_clv.targets._room import Room, plan_of, unseen
from churn_clv.timeline import Plan

__all__ = [
    "AMOUNT_KEYS",
    "CORE",
    "EVENT_KEYS",
    "Judged",
    "Learnt",
    "Room",
    "Rung",
    "about",
    "declared",
    "describe",
    "far_plans",
    "learn",
    "look",
    "metrics_of",
    "minus_best",
    "plan_of",
    "rungs",
    "unknown",
]

CHAMPION = "champion"
# These verdicts inform and decide nothing: on very many rows fewer draws do.
MANY_ROWS, DRAWS = 50_000, 200


@dataclass(frozen=True)
class Learnt:
    """What the targets of a config add to a bundle, what is said of them, and which could not be learnt, and why."""

    heads: tuple[Head, ...]
    references: dict[str, bundle.TargetReference]
    documents: dict[str, dict[str, Any]]
    refused: dict[str, str]


def declared(log: Log, settings: config.Config) -> tuple[dict[str, config.Target], dict[str, str]]:
    """The targets beside churned and spend, and those of them that the log cannot answer, with why.

    Raises UserError for one that no log could answer.
    """
    own = {n: t for n, t in settings.targets.items() if n not in CORE}
    for name, target in own.items():
        if target.measure == "amount" and (target.at_least is None or target.at_least < 0):
            raise UserError(f"targets.{name}.at_least must be 0 or more: money is predicted from 0 up.")
    refused = labels.refused(own, tuple(log.starts), tuple(log.columns), labels.values_of(log.frame, own))
    return {n: t for n, t in own.items() if n not in refused}, refused


def unknown(log: Log, settings: config.Config) -> dict[str, list[str]]:
    """By target the values it asks for that the log does not hold, beside one that it does."""
    own = {n: t for n, t in settings.targets.items() if n not in CORE}
    return labels.unknown(own, tuple(log.starts), labels.values_of(log.frame, own))


def learn(shop: Workshop, say: Say = lambda _: None) -> Learnt:
    """Judge every target at its newest matured cutoff, then refit it on every label of the log."""
    asked, refused = declared(shop.log, shop.settings)
    heads, references, documents = [], {}, {}
    for name, target in asked.items():
        found, why = look(name, target, shop, [shop.log.ends], say)
        if why:
            refused[name] = why
            continue
        judged = found[0]
        heads.append(head(judged.room, judged.plan, judged.chosen, judged.plan.ends))
        usual = explain.learn(heads[-1], judged.room.values[judged.rows])
        references[name] = bundle.target_reference(judged.predicted, judged.label, usual)
        documents[name] = describe(judged)
    return Learnt(tuple(heads), references, documents, refused)


def far_plans(log: Log, settings: config.Config, ends: Sequence[dt.date]) -> list[Plan]:
    """The plans of targets that look further than the horizon: what is learnt by the main plans may be later news."""
    out, own = [], settings.timeline.horizon_days
    for target in declared(log, settings)[0].values():
        for end in ends if (target.horizon_days or own) > own else ():
            try:
                out.append(plan_of(target, log, settings, end))
            except UserError:  # it will be refused in words
                continue
    return out


def look(
    name: str, target: config.Target, shop: Workshop, ends: Sequence[dt.date], say: Say = lambda _: None,
    shipping: bool = True,
) -> tuple[list[Judged], str | None]:  # fmt: skip
    """The target judged at the newest cutoff whose labels end by each of ``ends``, or why it cannot be."""
    if why := unseen(target, shop.definitions):
        return [], why
    try:
        plans = [plan_of(target, shop.log, shop.settings, end) for end in ends]
    except UserError as error:
        return [], str(error).rstrip(".")
    say(f"target {name}: {len({c for p in plans for c in p.judged_cutoffs})} cutoffs")
    room = Room(name, target, plans, shop, shipping)
    plans = [fitted(room, plan) for plan in plans]
    for plan in plans:
        if why := too_few(room, plan, shipping):
            return [], why
    return [judge(room, plan) for plan in plans], None


def describe(judged: Judged) -> dict[str, Any]:
    """A target at its test cutoff: who was asked, the ladder, and whether the champion beats every rung."""
    ladder = {CHAMPION: judged.predicted} | {r.name: r.predicted for r in rungs(judged)}
    kind = judged.room.kind
    found = {name: metrics_of(kind, judged.label, predicted) for name, predicted in ladder.items()}
    return about(judged) | {
        "test_cutoff": judged.plan.test.isoformat(),
        "n": len(judged.rows),
        "base": float(judged.label.mean()),
        "trees": judged.chosen.trees,
        "linear_c": judged.chosen.linear_c,
        "linear_weight": judged.chosen.linear_share,
        "recency_weight": judged.chosen.recency_share,
        "plan": judged.plan.rows(),
        "ladder": [{"rung": name, "metrics": row} for name, row in found.items()],
        "minus_best": minus_best([judged], [ladder], found),
    }


def about(judged: Judged) -> dict[str, Any]:
    """What was asked of whom."""
    target = judged.room.target
    return {
        "target": judged.room.name,
        "measure": target.measure,
        "population": target.population,
        "has": list(target.has.is_in) if target.has else [],
        "has_not": list(target.has_not.is_in) if target.has_not else [],
        "horizon_days": judged.room.horizon_days,
    }


def minus_best(
    judged: Sequence[Judged], ladders: Sequence[Mapping[str, Array]], means: Mapping[str, Mapping[str, float | None]]
) -> dict[str, dict[str, Any]]:
    """The champion minus the best rung on the primary metric and on ranking, over all judged cutoffs (D10)."""
    room = judged[0].room
    event = room.kind == "event"
    prefix, asked = ("churn_", ("log_loss", "auroc")) if event else ("spend_", ("tweedie_deviance", "gini"))
    ids = pl.concat([room.pairs[j.rows]["customer_id"] for j in judged])
    sizes = np.cumsum([0, *(len(j.rows) for j in judged)])
    cutoffs = {j.plan.test: np.arange(sizes[i], sizes[i + 1]) for i, j in enumerate(judged)}
    label = np.concatenate([j.label for j in judged])
    rows = comparison.Rows(
        (ids.rank("dense").cast(pl.Int64) - 1).to_numpy().astype(np.intp), cutoffs, label, None if event else label
    )
    names = [n for n in ladders[-1] if all(n in ladder for ladder in ladders)]
    values = {n: np.concatenate([ladder[n] for ladder in ladders]) for n in names}
    parties = [Party(n, v if event else None, event, None if event else v) for n, v in values.items()]
    prefixed = {n: {prefix + k: v for k, v in row.items()} for n, row in means.items()}
    draws, seed = room.shop.settings.promotion.bootstrap_draws, room.shop.settings.seed
    draws = min(draws, DRAWS) if len(label) > MANY_ROWS else draws
    keys = [prefix + k for k in asked]
    found = comparison.verdicts(parties[0], parties[1:], prefixed, keys, rows, draws, seed)
    return {k.removeprefix(prefix): v for k, v in found.items()}
