"""What the validation origins choose: trees, fresh parts, a penalty, the shares of the pooled models, calibration."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from churn_clv import metrics, timeline
from churn_clv.models import btyd, fit
from churn_clv.models.orders import Orders, fit_orders
from churn_clv.models.predict import (
    SPEND_IF_ACTIVE,
    Floats,
    logit,
    mapped,
    pooled,
    raw_margin,
)
from churn_clv.models.priced import Priced
from churn_clv.recipe._workshop import Lesson, Rows, Workshop
from churn_clv.timeline import Plan

# Shares that validation compares: of the logistic regression and the renewal model in churn, of the two-part model in
# spend, and of expected orders x order value in what comes out: of that the boosters keep half at least.
LINEAR_SHARES = (0.0, 0.15, 0.3, 0.45)
RENEWAL_SHARES = (0.0, 0.15, 0.3, 0.45)
TWO_PART_SHARES = (0.0, 0.5, 1.0)
PRICED_SHARES = (0.25, 0.5)


@dataclass(frozen=True)
class Choice:
    """What the validation origins chose, and the pooled out-of-time predictions that it rests on.

    ``Lesson`` says what fresh means.

    ``validation`` has customer_id, cutoff, churned, churn_probability, purchase_days and, with money, spend and
    expected_spend; its models knew nothing that ends after their own cutoff.
    """

    fresh: bool
    trees: dict[str, int]
    linear_c: float
    linear_share: float
    renewal_share: float
    two_part: float
    orders: Orders
    priced: float
    intercept: float
    slope: float
    validation: pl.DataFrame


def choose(shop: Workshop, plan: Plan) -> Choice:
    """Let the validation origins choose: trees, fresh parts, penalty, shares and the map."""
    rows = shop.rows(plan.origins)
    horizon = plan.horizon_days
    churned = shop.label("churned", horizon, plan.test)[rows]
    origin = np.repeat(np.arange(len(plan.origins)), [len(shop.rows([o])) for o in plan.origins])
    fresh, trees, risk = _choose_hazard(shop, plan, churned, origin)
    c = shop.linear_c(plan)
    shares, risk = _choose_pool(shop, plan, risk, c, churned, origin)
    intercept, slope = fit.shrunk_map(logit(risk), churned, origin, timeline.independent(plan.origins, horizon))
    risk = mapped(risk, intercept, slope)
    table = shop.snapshots[rows].select("customer_id", "cutoff", "purchase_days" if "purchase_days" in shop.columns
                                        else pl.lit(None, dtype=pl.Float64).alias("purchase_days"))  # fmt: skip
    table = table.with_columns(churned=pl.Series(churned), churn_probability=pl.Series(risk))
    came = shop.orders(rows, plan.test, horizon)
    orders = fit_orders(shop.values[rows], shop.columns, risk, came)
    counts, two_part, priced = {"churned": trees}, 0.0, 0.0
    if "spend" in shop.targets:
        spend = shop.label("spend", horizon, plan.test)[rows]
        own, two_part, money = _choose_amount(shop, plan, risk, spend)
        counts |= own
        priced, money = _choose_priced(shop, plan, risk, came, money, spend, origin)
        table = table.with_columns(spend=pl.Series(spend), expected_spend=pl.Series(money))
    return Choice(fresh, counts, c, *shares, two_part, orders, priced, intercept, slope, table)


def _choose_hazard(shop: Workshop, plan: Plan, churned: Floats, origin: Rows) -> tuple[bool, int, Floats]:
    """Fresh or not, the number of trees, and the pooled churn probabilities of the origins' rows.

    Fresh parts are learnt only where, each with its best number of trees, they lower the log loss at every origin: a
    mean that is lower by the luck of one origin is no reason.
    """
    own, best = shop.settings.models.churn, []
    for fresh in (False, True) if len(plan.edges) > 1 else (False,):
        stages, found = fit.tree_counts(own), []
        risks = [shop.risks(Lesson(plan, o, fresh), own.max_rounds, stages) for o in plan.origins]
        for trees, risk in zip(stages, np.concatenate(risks, axis=1), strict=True):
            loss = metrics.log_losses(churned, risk)
            found.append((float(loss.mean()), trees, risk, [loss[origin == o].mean() for o in np.unique(origin)]))
        best.append(min(found, key=lambda c: c[0]))
    fresh = len(best) > 1 and all(new < old for old, new in zip(best[0][3], best[1][3], strict=True))
    _, trees, risk, _ = best[fresh]
    return fresh, trees, risk


def _choose_pool(
    shop: Workshop, plan: Plan, risk: Floats, c: float, churned: Floats, origin: Rows
) -> tuple[tuple[float, float], Floats]:
    """The shares of the logistic regression and of the renewal model, and the probabilities with them.

    A share is given only where it lowers the log loss at every origin, each probability first mapped within its origin:
    else a model would win by erring to the other side of a level that drifts.
    """
    said = np.concatenate([shop.linear_risk(Lesson(plan, o), c) for o in plan.origins])
    given = np.full_like(risk, np.nan)
    if {*btyd.TIMING} <= {*shop.columns}:
        found = [(o, shop.renewal(o, plan.horizon_days)) for o in plan.origins]
        if all(f is not None for _, f in found):
            given = np.concatenate([
                btyd.renewal(f).curve(shop.values[shop.rows([o])], shop.columns, [plan.horizon_days])[0]
                for o, f in found if f is not None
            ])  # fmt: skip
    renewals = RENEWAL_SHARES if not np.isnan(given).all() else (0.0,)

    def by_origin(mixed: Floats) -> Floats:
        parts = []
        for place in range(len(plan.origins)):
            here = origin == place
            margin = logit(mixed[here])
            a, b = fit.logistic_map(margin, churned[here])
            parts.append(metrics.log_losses(churned[here], mapped(mixed[here], a, b)).mean())
        return np.array(parts)

    alone = by_origin(risk)
    best, shares, out = float(alone.mean()), (0.0, 0.0), risk
    for linear in LINEAR_SHARES:
        for renewal in renewals:
            mixed = pooled(risk, said, linear, given, renewal)
            loss = by_origin(mixed)
            if (loss <= alone).all() and loss.mean() < best:
                best, shares, out = float(loss.mean()), (linear, renewal), mixed
    return shares, out


def _choose_amount(shop: Workshop, plan: Plan, risk: Floats, spend: Floats) -> tuple[dict[str, int], float, Floats]:
    """Trees of both spend models, the two-part model's share, and the pooled expected spend of the origins."""

    def loss(money: Floats) -> float:
        return float(metrics.tweedie_deviances(spend, money).mean())

    lessons, trees, money = [Lesson(plan, o) for o in plan.origins], {}, {}
    for name, factor in (("spend", np.ones_like(risk)), (SPEND_IF_ACTIVE, 1 - risk)):
        active_only, stages = name == SPEND_IF_ACTIVE, fit.tree_counts(shop.settings.models.spend)
        tried = np.concatenate([_amounts(shop, lesson, stages, active_only) for lesson in lessons], axis=1)
        losses = {n: loss(factor * found) for n, found in zip(stages, tried, strict=True)}
        trees[name] = min(losses, key=lambda n: losses[n])
        money[name] = factor * np.concatenate([_balanced(shop, o, trees[name], active_only) for o in lessons])
    mixed = {s: (1 - s) * money["spend"] + s * money[SPEND_IF_ACTIVE] for s in TWO_PART_SHARES}
    share = min(mixed, key=lambda s: loss(mixed[s]))
    return trees, share, mixed[share]


def _choose_priced(
    shop: Workshop, plan: Plan, risk: Floats, came: Floats, money: Floats, spend: Floats, origin: Rows
) -> tuple[float, Floats]:
    """The share of expected orders x order value, and the expected spend with it.

    Given only where it lowers the deviance at every origin, each origin's orders told by what the others have learnt
    from those that ``came``: by its own they would know its level. With one origin there is none.
    """
    found = [shop.order_value(o) for o in plan.origins]
    if len(found) == 1 or any(value is None for value in found):
        return 0.0, money
    parts, values = [], shop.values[shop.rows(plan.origins)]
    for place, value in enumerate(found):
        here = origin == place
        assert value is not None
        orders = fit_orders(values[~here], shop.columns, risk[~here], came[~here])
        parts.append(Priced(orders, value, 1.0).money(values[here], shop.columns, risk[here]))
    other = np.concatenate(parts)

    def by_origin(mixed: Floats) -> Floats:
        lost = metrics.tweedie_deviances(spend, mixed)
        return np.array([lost[origin == o].mean() for o in np.unique(origin)])

    alone = by_origin(money)
    tried = {share: by_origin((1 - share) * money + share * other) for share in PRICED_SHARES}
    better = {share: float(loss.mean()) for share, loss in tried.items() if (loss <= alone).all()}
    share = min(better, key=lambda s: better[s], default=0.0)
    return share, (1 - share) * money + share * other


def _amounts(shop: Workshop, lesson: Lesson, stages: Sequence[int], active_only: bool) -> Floats:
    """Expected spend of the origin's rows at each number of trees; (stages, rows)."""
    booster, scale = shop.amount(lesson, shop.settings.models.spend.max_rounds, active_only)
    return np.asarray(scale * np.exp(fit.staged_margins(booster, shop.values[shop.rows([lesson.when])], stages)))


def _balanced(shop: Workshop, lesson: Lesson, trees: int, active_only: bool) -> Floats:
    """The same at one number of trees, with the total right on what was learnt from (slower); (rows,)."""
    booster, scale, level = shop.balanced(lesson, trees, active_only)
    return np.asarray(scale * np.exp(level + raw_margin(booster, shop.values[shop.rows([lesson.when])])))
