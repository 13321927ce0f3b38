"""The recipe run up to its one look at a test cutoff."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from churn_clv import config, labels, recipe, timeline
from churn_clv.errors import UserError
from churn_clv.events import Log
from churn_clv.models import interval
from churn_clv.models.predict import Head, answers
from churn_clv.recipe import Choice, Say, Workshop
from churn_clv.targets import far_plans
from churn_clv.timeline import Definitions, Plan
from churn_clv.training._targets import answerable

# Below this many customers of each class at a slice nothing can be learnt or judged.
MIN_CLASS = 10


@dataclass(frozen=True)
class Judged:
    """A recipe after its one look at the test cutoff.

    ``heads`` learnt nothing that ends after ``plan.test``; ``test`` is the labelled matrix there; ``predictions``
    (churn_probability, expected_spend where there is money) goes with it row by row; ``chosen`` is what the validation
    origins decided.
    """

    plan: Plan
    definitions: Definitions
    targets: dict[str, config.Target]
    refused: dict[str, str]
    shop: Workshop
    chosen: Choice
    heads: tuple[Head, ...]
    interval: interval.ByOrders | None
    test: pl.DataFrame
    predictions: pl.DataFrame

    @property
    def snapshots(self) -> pl.DataFrame:
        """The matrix at every cutoff of the plan."""
        return self.shop.snapshots

    @property
    def trees(self) -> dict[str, int]:
        """Number of trees of each head."""
        return {h.target: self.chosen.trees[h.target] for h in self.heads}


def judge(log: Log, settings: config.Config, say: Say = lambda _: None) -> Judged:
    """Run the recipe up to its one look at the test cutoff."""
    targets, refused = answerable(log, settings)
    plan = timeline.make_plan(log.starts["purchase"], log.ends, settings.timeline)
    shop = Workshop(log, settings, [plan], targets, say, others=far_plans(log, settings, [plan.ends]))
    return judge_at(shop, plan, without_money(shop, [plan], refused, say), say)


def enough(shop: Workshop, plan: Plan) -> dict[str, pl.DataFrame]:
    """What is learnt from first, validated on and judged on; UserError where too few churned or stayed in one."""
    slices = _slices(shop, plan)
    for role, rows in slices.items():
        _both_classes(rows, role, shop.settings)
    return slices


def judge_at(
    shop: Workshop, plan: Plan, refused: dict[str, str], say: Say = lambda _: None, chosen: Choice | None = None
) -> Judged:
    """The same at one of the plans of a workshop; ``chosen`` is what ``recipe.choose`` gave there, where it has."""
    slices = enough(shop, plan)
    if chosen is None:
        say(f"choosing the recipe at {len(plan.origins)} cutoffs before {plan.test}")
        recipe.prepare(recipe.for_choice(shop, plan))
        chosen = recipe.choose(shop, plan)
    say(f"fitting it on every label that ends by {plan.test}")
    recipe.prepare(recipe.for_heads(shop, plan, chosen))
    heads = recipe.heads(shop, plan, chosen, plan.test, say)
    curve, money = answers(heads, shop.values[shop.rows([plan.test])])
    predictions = pl.DataFrame({"churn_probability": curve[-1]})
    bounds = None
    if money is not None:
        predictions = predictions.with_columns(expected_spend=pl.Series(money))
        expected, spend, orders = chosen.validation.select("expected_spend", "spend", "purchase_days").to_numpy().T
        bounds = interval.fit_by_orders(expected, spend, orders)
    return Judged(
        plan, shop.definitions, dict(shop.targets), refused, shop, chosen, heads, bounds, slices["test"], predictions
    )


def without_money(shop: Workshop, plans: Sequence[Plan], refused: dict[str, str], say: Say) -> dict[str, str]:
    """Drop spend from the workshop where any plan has too little of it; the refused targets with the reason."""
    for plan in plans if "spend" in shop.targets else ():
        slices = _slices(shop, plan) | {"judged": shop.table(plan.judged, plan.test)}
        if why := _no_money(slices, shop.settings):
            shop.targets = {n: t for n, t in shop.targets.items() if n != "spend"}
            say(f"no spend: {why} (test cutoff {plan.test})")
            return refused | {"spend": why}
    return refused


def _slices(shop: Workshop, plan: Plan) -> dict[str, pl.DataFrame]:
    """What is learnt from first, validated on and judged on, with labels as they may be known."""
    return {
        "train": shop.table(plan.train, plan.test),
        "validation": shop.table(plan.origins, plan.test),
        "test": shop.table([plan.test], None),
    }


def label_of(rows: pl.DataFrame, name: str, settings: config.Config) -> np.ndarray[Any, Any]:
    """A target's labels at the configured horizon."""
    return rows[labels.column(name, settings.timeline.horizon_days)].to_numpy()


def _both_classes(rows: pl.DataFrame, role: str, settings: config.Config) -> None:
    """Refuse a slice in which nobody, or everybody, churned."""
    churned = int(label_of(rows, "churned", settings).sum()) if rows.height else 0
    stayed = rows.height - churned
    if min(churned, stayed) < MIN_CLASS:
        horizon = settings.timeline.horizon_days
        more = "shorter" if churned < stayed else "longer"
        raise UserError(
            f"the {role} slice has {rows.height} eligible customer rows, of which {churned} churned and {stayed} did "
            f"not; at least {MIN_CLASS} of each are needed. A {more} timeline.horizon_days than {horizon} days gives "
            f"more of the rarer kind; `churn-clv check` shows the plan."
        )


def _no_money(slices: Mapping[str, pl.DataFrame], settings: config.Config) -> str | None:
    """Why spend cannot be learnt: a slice in which too few customers spend anything; None where all have enough."""
    for role, rows in slices.items():
        paying = int((label_of(rows, "spend", settings) > 0).sum())
        if paying < MIN_CLASS:
            return f"{paying} of {rows.height} customer rows of the {role} slice spend anything; {MIN_CLASS} are needed"
    return None
