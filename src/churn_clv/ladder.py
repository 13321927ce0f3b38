"""The ladder: every baseline on the rows the recipe is judged on, learning from what the recipe may learn from."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import polars as pl

from churn_clv import features, labels, timeline
from churn_clv.metrics import Array
from churn_clv.models import baseline, btyd, fit, tables
from churn_clv.models.baseline import Rung
from churn_clv.models.predict import Floats, raw_margin, sigmoid
from churn_clv.recipe import Lesson, Say, Workshop
from churn_clv.timeline import Plan

# Trees of the single-snapshot rung: a usual fixed choice, as one snapshot leaves no later one to choose on.
SINGLE_TREES = 100


def rungs(shop: Workshop, plan: Plan, test: pl.DataFrame, say: Say = lambda _: None) -> list[Rung]:
    """Every rung's predictions for the rows of ``test``, the labelled snapshots of ``plan.test``.

    The simple ones look at features of their own: a config that switches these off does not switch off the rung.
    """
    horizon, money = plan.horizon_days, "spend" in shop.targets
    window = shop.definitions.horizon_window_days
    last = f"spend_last_{window}d"
    wanted = (*btyd.TIMING, *((*btyd.MONEY, "spend", last) if money else ()))
    simple = _features(shop, test, wanted)
    out = [baseline.recency_rule(simple)]
    if money and not simple[last].null_count():
        out.append(baseline.last_horizon_spend(simple, last, horizon / window))
    elif money:
        say(f"no rung last_horizon_spend: the log is not complete {window} days before the test cutoff")
    everyone = shop.everyone(plan.test, wanted[: 3 + 2 * money])
    out.append(tables.lifetime_rate(simple, horizon, everyone.filter(pl.col("purchase_days") > 0)))
    out.append(_cells(shop, plan, simple))
    out.append(Rung("logistic", shop.linear_risk(Lesson(plan, plan.test), shop.linear_c(plan)), True, None))
    bought, _ = btyd.rung(everyone, simple, horizon, shop.renewal(plan.test, horizon))
    out.append(bought if money else replace(bought, spend=None))
    out.append(_single(shop, plan))
    return out


def _features(shop: Workshop, rows: pl.DataFrame, wanted: tuple[str, ...]) -> pl.DataFrame:
    past = timeline.Past(shop.log.frame, rows.select("customer_id", "cutoff"))
    return features.build(past, shop.definitions, wanted)


def _cells(shop: Workshop, plan: Plan, simple: pl.DataFrame) -> Rung:
    """The RFM-cell table of the newest cutoff whose labels have ended."""
    newest = plan.judged[-1:]
    train = shop.table(newest, plan.test)
    money = "spend" in shop.targets
    wanted = ("days_since_last_purchase", "purchase_days", *(("spend",) if money else ()))
    built = _features(shop, train, wanted)
    churned = train[labels.column("churned", plan.horizon_days)].to_numpy()
    spend = train[labels.column("spend", plan.horizon_days)].to_numpy() if money else None
    return tables.rfm_cells(built, churned, spend, simple)


def _single(shop: Workshop, plan: Plan) -> Rung:
    """LightGBM on the one newest snapshot whose labels have ended: what most tutorials do."""
    rows, own = shop.rows(plan.judged[-1:]), shop.settings.models
    test = shop.values[shop.rows([plan.test])]

    def fitted(kind: str, label: Array) -> Floats:
        booster = fit.booster(
            shop.values[rows], label, shop.columns, "hazard" if kind == "churn" else "amount", SINGLE_TREES,
            own.churn if kind == "churn" else own.spend, shop.settings.seed, own.threads, shop.family_of,
        )  # fmt: skip
        return raw_margin(booster, test)

    churn = sigmoid(fitted("churn", shop.label("churned", plan.horizon_days, plan.test)[rows]))
    if "spend" not in shop.targets:
        return Rung("single_snapshot", churn, True, None)
    label = shop.label("spend", plan.horizon_days, plan.test)[rows]
    scale = fit.money_scale(label)
    return Rung("single_snapshot", churn, True, scale * np.exp(fitted("spend", label / scale)))
