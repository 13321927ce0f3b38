"""Snapshots in, judged and shipped recipe and their report out (contract K3, definitions D7 and D8).

The recipe (``recipe``) makes its choices on validation origins, is fitted on every label that ends by the test cutoff
and is judged there once. What ships is the same recipe, with the same choices, fitted on every label of the log.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import polars as pl

from churn_clv import bundle, config, explain, ladder, matrix, recipe, retention, segmentation, targets, timeline
from churn_clv.events import Log
from churn_clv.models import baseline
from churn_clv.recipe import Say
from churn_clv.segments import Segments
from churn_clv.timeline import Plan
from churn_clv.training._judge import MIN_CLASS, Judged, enough, judge, judge_at, label_of, without_money
from churn_clv.training._lookback import Lookback, horizon_models, look_back, model_of
from churn_clv.training._outlook import clv_bounds, matured_at, months_money, outlook
from churn_clv.training._report import (
    CONFIRM_HORIZONS,
    chosen_as_json,
    describe,
    importance,
    label_return_rate,
    loss_table,
    out_of_time,
    own_metrics,
    rung_metrics,
)
from churn_clv.training._strata import by_stratum, groups
from churn_clv.training._targets import answerable
from churn_clv.training._total import DAYS_A_YEAR, season_learnt, total_band

__all__ = [
    "CONFIRM_HORIZONS",
    "DAYS_A_YEAR",
    "MIN_CLASS",
    "Judged",
    "Lookback",
    "Trained",
    "answerable",
    "check",
    "chosen_as_json",
    "clv_bounds",
    "enough",
    "groups",
    "horizon_models",
    "judge",
    "judge_at",
    "label_return_rate",
    "look_back",
    "matured_at",
    "model_of",
    "months_money",
    "out_of_time",
    "season_learnt",
    "total_band",
    "train",
    "without_money",
]


@dataclass(frozen=True)
class Trained:
    """What a training gives: the shipped bundle and the judged recipe's record.

    ``ladder`` holds a row per rung with every metric key; ``oot`` the out-of-time predictions (customer_id, cutoff,
    churned, churn_probability, spend, expected_spend); ``rungs`` the same rows' predictions by rung; ``importance``
    the judged boosters' gain per feature; ``total_band`` bounds predicted over actual total; ``targets`` has a document
    of each of the user's own targets; ``strata`` rows of how well each group of customers is predicted.
    """

    bundle: bundle.Bundle
    ladder: list[dict[str, Any]]
    oot: pl.DataFrame
    rungs: dict[str, baseline.Rung]
    plan: Plan
    data: dict[str, Any]
    importance: pl.DataFrame
    total_band: tuple[float, float] | None = None
    targets: dict[str, dict[str, Any]] = field(default_factory=dict)
    strata: list[dict[str, Any]] = field(default_factory=list)


def train(
    log: Log, settings: config.Config, say: Say = lambda _: None, previous: Segments | None = None
) -> Trained:  # fmt: skip
    """Judge the recipe at the newest matured cutoff, then refit it on everything and pack the bundle.

    ``previous``: the segments of the model before, after which clusters are named.

    Raises UserError where the labels do not fit, a class is missing, or the targets cannot be answered.
    """
    judged = judge(log, settings, say)
    say("comparing with the rungs")
    rungs = ladder.rungs(judged.shop, judged.plan, judged.test, say)
    rows = [{"rung": "champion", "metrics": own_metrics(judged)}]
    rows += [{"rung": r.name, "metrics": rung_metrics(r, judged)} for r in rungs]
    say("refitting the judged recipe on every label")
    heads = recipe.heads(judged.shop, judged.plan, judged.chosen, judged.plan.ends)
    own = targets.learn(judged.shop, say)
    data = describe(log, judged, settings)
    data["targets_refused"] |= own.refused
    report = {
        "plan": judged.plan.rows(),
        "data": data,
        "ladder": rows,
        "trees": judged.trees,
        "choice": chosen_as_json(judged),
        "test_cutoff": judged.plan.test.isoformat(),
        "matrix_order": matrix.order_hash(judged.snapshots),
        "targets": own.documents,
    }
    hazard = next(h for h in heads if h.kind == "hazard")
    churn = judged.predictions["churn_probability"].to_numpy()
    reference = bundle.make_reference(
        churn,
        label_of(judged.test, "churned", settings),
        settings.bundle,
        judged.interval,
        loss_table(log, judged, settings),
        retention.learn(log, judged.definitions, judged.targets.get("spend"), judged.plan.earliest),
        outlook(log, judged, settings, say),
        own.references,
        explain.learn(hazard, judged.shop.values[judged.shop.rows([judged.plan.test])]),
    )
    shipped = bundle.Bundle(
        definitions=judged.definitions,
        heads=(*heads, *own.heads),
        reference=reference,
        config=settings,
        trained_through=log.ends,
        report=report,
    )
    say("learning segments")
    shipped = replace(shipped, segments=segmentation.learn(shipped, log, previous))
    return Trained(shipped, rows, out_of_time(judged), {r.name: r for r in rungs}, judged.plan, data,
                   importance(judged), total_band(judged), own.documents, by_stratum(log, judged))  # fmt: skip


def check(log: Log, settings: config.Config) -> None:
    """Raise UserError for what can be known to fail before anything is built: targets, segments, plan."""
    answerable(log, settings)
    segmentation.check(log, settings)
    timeline.make_plan(log.starts["purchase"], log.ends, settings.timeline)
