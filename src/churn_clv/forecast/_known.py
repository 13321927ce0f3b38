"""Money of the known customers: the expected spend of the eligible, and the mean of their kind for the others."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Mapping
from dataclasses import dataclass

import polars as pl

from churn_clv import config, labels, recipe, retention, timeline, training
from churn_clv.errors import UserError
from churn_clv.events import Log
from churn_clv.models.predict import answers
from churn_clv.recipe import Say, Workshop
from churn_clv.timeline import Plan

WANTED, MOST = 6, 12


@dataclass(frozen=True)
class Known:
    """What the known customers of a cutoff will bring (major units): in all, of the eligible, how many of each kind.

    ``unpredicted`` of them have no prediction: of their kind no window has been seen, and they count as nothing.
    """

    expected: float
    eligible: float
    customers: Mapping[str, int]
    unpredicted: int


def plain(settings: config.Config) -> config.Config:
    """The same recipe with the horizon as one part and one validation origin.

    More parts and origins cost eight times the fitting and hardly move a total.
    """
    own = settings.timeline.model_copy(update={"sub_windows": 1, "validation_origins": 1})
    return settings.model_copy(update={"timeline": own})


def origin_plans(log: Log, settings: config.Config) -> tuple[list[Plan], int]:
    """Plans whose tests are the origins, oldest first, and the days between them.

    One horizon apart where so at least WANTED fit the log, else half a horizon, else a third; where not even so,
    whichever gives most; the newest MOST. Where the horizon holds whole training steps so do its parts: the origins
    then share their snapshots.
    """
    horizon, grid = settings.timeline.horizon_days, settings.timeline.step_days
    grid = grid if horizon % grid == 0 else 1
    steps = [-(-horizon // (parts * grid)) * grid for parts in (1, 2, 3)]
    found = {step: _plans(log, settings, step) for step in steps}
    step = max(steps, key=lambda s: (min(len(found[s]), WANTED), s))
    return found[step], step


def _plans(log: Log, settings: config.Config, step: int) -> list[Plan]:
    out: list[Plan] = []
    for k in range(MOST):
        try:
            ends = log.ends - dt.timedelta(days=k * step)
            out.append(timeline.make_plan(log.starts["purchase"], ends, settings.timeline))
        except UserError:  # too little history from here on
            break
    return out[::-1]


def predict(log: Log, shop: Workshop, plan: Plan, say: Say) -> Known:
    """The recipe run up to ``plan.test``: chosen, fitted and asked with nothing that ends after it."""
    say(f"forecasting from {plan.test}")
    recipe.prepare(recipe.for_choice(shop, plan))
    chosen = recipe.choose(shop, plan)
    recipe.prepare(recipe.for_heads(shop, plan, chosen))
    heads = recipe.heads(shop, plan, chosen, plan.test, say)
    money = answers(heads, shop.values[shop.rows([plan.test])])[1]
    assert money is not None, "a workshop with spend has a spend head"
    past = timeline.until(log, plan.test)
    rows = retention.known_at(past, shop.definitions, [plan.test]).filter(~pl.col("eligible"))
    means = retention.learn(past, shop.definitions, shop.targets["spend"], plan.earliest).spend
    kinds = {str(kind): int(n) for kind, n in sorted(rows["reason"].value_counts().rows())}
    rest = math.fsum(means.get(kind, 0.0) * n for kind, n in kinds.items())
    eligible = math.fsum(money)
    unseen = sum(n for kind, n in kinds.items() if kind not in means)
    return Known(eligible + rest, eligible, {"eligible": len(money)} | kinds, unseen)


def too_few(shop: Workshop, plan: Plan) -> str | None:
    """Why a plan cannot be learnt: a slice with too few who churned, stayed or paid; None where all have enough."""
    for role, cutoffs in {"train": plan.train, "validation": plan.origins}.items():
        rows = shop.table(cutoffs, plan.test)
        gone = int(rows[labels.column("churned", plan.horizon_days)].sum())
        paid = int((rows[labels.column("spend", plan.horizon_days)] > 0).sum())
        if min(gone, rows.height - gone, paid) < training.MIN_CLASS:
            return (
                f"of the {rows.height} customer rows of the {role} slice {gone} churned and {paid} spent anything; "
                f"{training.MIN_CLASS} who churned, who stayed and who spent are needed"
            )
    return None
