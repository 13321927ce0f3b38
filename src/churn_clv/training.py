"""Snapshots in, judged and shipped recipe and their report out (contract K3, definitions D7 and D8).

The recipe (``recipe``) makes its choices on validation origins, is fitted on every label that ends by the test cutoff
and is judged there once. What ships is the same recipe, with the same choices, fitted on every label of the log.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from churn_clv import bundle, config, features, labels, ladder, matrix, metrics, recipe, strata, timeline
from churn_clv.errors import UserError, nearest
from churn_clv.events import Log
from churn_clv.models import baseline, interval, loss
from churn_clv.models.predict import Head, answers
from churn_clv.recipe import Choice, Say, Workshop
from churn_clv.timeline import Definitions, Plan

# Targets that this version has a place for in its answers.
TARGETS = ("churned", "spend")
# The confirmation window of definition D6, in horizons: a customer back within it had only paused.
CONFIRM_HORIZONS = 3
# Below this many customers of each class at a slice nothing can be learnt or judged.
MIN_CLASS = 10
DAYS_A_YEAR = 365


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


@dataclass(frozen=True)
class Trained:
    """What a training gives: the shipped bundle and the judged recipe's record.

    ``ladder`` holds a row per rung with every metric key; ``oot`` the out-of-time predictions (customer_id, cutoff,
    churned, churn_probability, spend, expected_spend); ``rungs`` the same rows' predictions by rung; ``importance``
    the judged boosters' gain per feature; ``total_band`` bounds predicted over actual total.
    """

    bundle: bundle.Bundle
    ladder: list[dict[str, Any]]
    oot: pl.DataFrame
    rungs: dict[str, baseline.Rung]
    plan: Plan
    data: dict[str, Any]
    importance: pl.DataFrame
    total_band: tuple[float, float] | None = None


def train(log: Log, settings: config.Config, say: Say = lambda _: None) -> Trained:
    """Judge the recipe at the newest matured cutoff, then refit it on everything and pack the bundle.

    Raises UserError where the labels do not fit, a class is missing, or the targets cannot be answered.
    """
    judged = judge(log, settings, say)
    say("comparing with the rungs")
    rungs = ladder.rungs(judged.shop, judged.plan, judged.test, say)
    rows = [{"rung": "champion", "metrics": _metrics(judged)}]
    rows += [{"rung": r.name, "metrics": _rung_metrics(r, judged)} for r in rungs]
    say("refitting the judged recipe on every label")
    heads = recipe.heads(judged.shop, judged.plan, judged.chosen, judged.plan.ends)
    data = describe(log, judged, settings)
    report = {
        "plan": judged.plan.rows(),
        "data": data,
        "ladder": rows,
        "trees": judged.trees,
        "choice": chosen_as_json(judged),
        "test_cutoff": judged.plan.test.isoformat(),
        "matrix_order": matrix.order_hash(judged.snapshots),
    }
    churn = judged.predictions["churn_probability"].to_numpy()
    reference = bundle.make_reference(
        churn, _label(judged.test, "churned", settings), settings.bundle, judged.interval, _loss(log, judged, settings)
    )
    shipped = bundle.Bundle(
        definitions=judged.definitions,
        heads=heads,
        reference=reference,
        config=settings,
        trained_through=log.ends,
        report=report,
    )
    return Trained(shipped, rows, out_of_time(judged), {r.name: r for r in rungs}, judged.plan, data,
                   _importance(judged), total_band(judged))  # fmt: skip


def judge(log: Log, settings: config.Config, say: Say = lambda _: None) -> Judged:
    """Run the recipe up to its one look at the test cutoff."""
    targets, refused = answerable(log, settings)
    plan = timeline.make_plan(log.starts["purchase"], log.ends, settings.timeline)
    shop = Workshop(log, settings, [plan], targets, say)
    return judge_at(shop, plan, without_money(shop, [plan], refused, say), say)


def judge_at(shop: Workshop, plan: Plan, refused: dict[str, str], say: Say = lambda _: None) -> Judged:
    """The same at one of the plans of a workshop."""
    slices = _slices(shop, plan)
    for role, rows in slices.items():
        _both_classes(rows, role, shop.settings)
    say(f"choosing the recipe at {len(plan.origins)} cutoffs before {plan.test}")
    chosen = recipe.choose(shop, plan)
    say(f"fitting it on every label that ends by {plan.test}")
    heads = recipe.heads(shop, plan, chosen, plan.test)
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


def total_band(judged: Judged) -> tuple[float, float] | None:
    """Where predicted over actual total will lie in 9 of 10 cases (definition D18); None without money.

    From the recipe's own ratios at the validation origins. Where labels do not hold every season twice these say too
    little: then also from how far the eligible's total moved from one horizon to the next all through the log, and the
    wider band counts (definition D19).
    """
    plan, shop = judged.plan, judged.shop
    if "spend" not in judged.targets:
        return None
    sums = judged.chosen.validation.group_by("cutoff").agg(pl.col("expected_spend", "spend").sum())
    own = [e / s for e, s in sums.select("expected_spend", "spend").rows() if s > 0 and e > 0]
    bands = (
        [strata.total_band(own, min(timeline.independent(plan.origins, plan.horizon_days), len(own)))] if own else []
    )
    if not season_learnt(plan):
        moves = _moves(shop, plan)
        if moves:
            count = min(timeline.independent(list(moves), plan.horizon_days), len(moves))
            bands.append(strata.total_band(list(moves.values()), count))
    return (min(b[0] for b in bands), max(b[1] for b in bands)) if bands else None


def season_learnt(plan: Plan) -> bool:
    """Whether labels hold every season twice before the test cutoff."""
    return (plan.test - plan.earliest).days >= 2 * DAYS_A_YEAR


def _moves(shop: Workshop, plan: Plan) -> dict[dt.date, float]:
    """Spend of the eligible in the horizon before each cutoff over that in the horizon after it."""
    window = shop.definitions.horizon_window_days
    cutoffs = [c for c in shop.snapshots["cutoff"].unique().sort() if plan.label_ends(c) <= plan.test]
    rows = shop.table(cutoffs, plan.test)
    past = timeline.Past(shop.log.frame, rows.select("customer_id", "cutoff"))
    before = features.build(past, shop.definitions, (f"spend_last_{window}d",))[f"spend_last_{window}d"]
    after = rows[labels.column("spend", plan.horizon_days)]
    both = rows.select("cutoff", before=before.clip(0), after=after).drop_nulls()
    sums = both.group_by("cutoff").agg(pl.col("before", "after").sum()).sort("cutoff")
    scale = plan.horizon_days / window
    return {c: scale * b / a for c, b, a in sums.rows() if a > 0 and b > 0}


def chosen_as_json(judged: Judged) -> dict[str, Any]:
    """What the validation origins chose, for reports."""
    chosen = judged.chosen
    return {
        "cutoff": judged.plan.test.isoformat(),
        "churn_trees": chosen.trees["churned"],
        "spend_trees": chosen.trees.get("spend"),
        "fresh": chosen.fresh,
        "linear_weight": chosen.linear_share,
        "renewal_weight": chosen.renewal_share,
        "two_part_weight": chosen.two_part,
        "intercept": chosen.intercept,
        "slope": chosen.slope,
        "validation_origins": len(judged.plan.origins),
    }


def check(log: Log, settings: config.Config) -> None:
    """Raise UserError for what can be known to fail before anything is built: targets, plan."""
    answerable(log, settings)
    timeline.make_plan(log.starts["purchase"], log.ends, settings.timeline)


def answerable(log: Log, settings: config.Config) -> tuple[dict[str, config.Target], dict[str, str]]:
    """The targets to train and those the log cannot answer (with why); churned must be among the first."""
    for name in settings.targets:
        if name not in TARGETS:
            raise UserError(f"targets.{name}: this version trains churned and spend.{nearest(name, TARGETS)}")
    for name in settings.targets:
        _same_window(name, settings)
    if "churned" in settings.targets and settings.targets["churned"].measure != "absent":
        raise UserError("targets.churned.measure must be 'absent': churned means that no such event comes.")
    refused = labels.refused(settings.targets, tuple(log.starts), tuple(log.columns))
    if "churned" in refused or "churned" not in settings.targets:
        raise UserError(f"targets: 'churned' is needed, and {refused.get('churned', 'it is not declared')}.")
    spend = settings.targets.get("spend")
    if spend and (spend.measure != "amount" or spend.at_least is None or spend.at_least < 0):
        raise UserError("targets.spend: measure must be 'amount' and at_least 0 or more: it is served as money.")
    return {n: t for n, t in settings.targets.items() if n not in refused}, refused


def _same_window(name: str, settings: config.Config) -> None:
    """Refuse what this version has no plan for: a horizon or a population of a target's own."""
    target, horizon = settings.targets[name], settings.timeline.horizon_days
    if target.horizon_days not in (None, horizon):
        raise UserError(
            f"targets.{name}.horizon_days is {target.horizon_days}, and timeline.horizon_days {horizon}. This version "
            f"trains all targets on one horizon: give both the same, or leave the target's out."
        )
    if target.population != "eligible":
        raise UserError(
            f"targets.{name}.population is '{target.population}'. This version trains on the eligible: leave it out."
        )


def out_of_time(judged: Judged) -> pl.DataFrame:
    """The judged recipe's predictions at the test cutoff beside what happened.

    Columns: customer_id, cutoff, churned (0/1), churn_probability, spend and expected_spend (major units, null where
    no spend was trained).
    """
    horizon, nothing = judged.definitions.horizon_days, pl.lit(None, dtype=pl.Float64)
    spend = labels.column("spend", horizon)
    both = judged.test.hstack(judged.predictions)
    money = "expected_spend" in both.columns
    return both.select(
        "customer_id",
        "cutoff",
        churned=pl.col(labels.column("churned", horizon)),
        churn_probability=pl.col("churn_probability"),
        spend=pl.col(spend) if money else nothing,
        expected_spend=pl.col("expected_spend") if money else nothing,
    )


def describe(log: Log, judged: Judged, settings: config.Config) -> dict[str, Any]:
    """What the data were, for the report: rows, policies, who was asked about, and how many come back."""
    rate, within = label_return_rate(log, judged, settings)
    horizon = settings.timeline.horizon_days
    test_ends = judged.plan.label_ends(judged.plan.test)
    everyone = timeline.pairs_of(log.frame["customer_id"].unique(), [judged.plan.test, test_ends])
    known = timeline.known_among(log.frame, everyone)["cutoff"]
    known_before, known_after = int((known == judged.plan.test).sum()), int((known == test_ends).sum())
    net, spend = labels.column("net_spend", horizon), labels.column("spend", horizon)
    clipped = judged.test.select((pl.col(spend) - pl.col(net)).sum()).item() if net in judged.test.columns else None
    return {
        "dataset": settings.dataset,
        "rows": log.frame.height,
        "customers": log.frame["customer_id"].n_unique(),
        "first_day": log.starts["purchase"].isoformat(),
        "ends": log.ends.isoformat(),
        "fingerprint": log.fingerprint,
        "policies": [{"policy": c.policy, "source": c.source, "rows": c.rows, "action": c.action} for c in log.counts],
        "eligible_at_test": judged.test.height,
        "known_at_test": known_before,
        "new_customers_in_test_window": known_after - known_before,
        "clipped_spend_in_test_window": clipped,
        "label_return_rate": rate,
        "label_return_within_days": within,
        "features": len(features.names(judged.definitions)),
        "families_left_out": features.left_out(judged.definitions),
        "targets_refused": judged.refused,
    }


def label_return_rate(log: Log, judged: Judged, settings: config.Config) -> tuple[float | None, int]:
    """Share of those labelled churned who bought again within the confirmation window, and its days (D6).

    Measured at the newest cutoff of the plan whose confirmation window lies inside the log.
    """
    horizon = settings.timeline.horizon_days
    within = CONFIRM_HORIZONS * horizon
    rows = judged.shop.table(_confirmed(log, judged, horizon + within), None)
    churned = rows[labels.column("churned", horizon)]
    return labels.return_rate(log.frame, rows.select("customer_id", "cutoff"), churned, horizon, within), within


def _confirmed(log: Log, judged: Judged, days: int) -> list[dt.date]:
    """The newest snapshots' cutoff that is followed by so many days of log; none where the log is too short."""
    there = judged.snapshots["cutoff"].unique().sort().to_list()
    return [c for c in there if c <= log.ends - dt.timedelta(days=days)][-1:]


def _loss(log: Log, judged: Judged, settings: config.Config) -> loss.LossTable | None:
    """From lapse to loss: who, of those who lapsed at the newest confirmed cutoff, came back (definition D6).

    The judged model ranks them, though it has learnt their lapses: it has never seen what came after these.
    """
    horizon = settings.timeline.horizon_days
    within = CONFIRM_HORIZONS * horizon
    cutoffs = _confirmed(log, judged, horizon + within)
    rows, lapsed = judged.shop.rows(cutoffs), judged.shop.table(cutoffs, None)
    gone = (lapsed[labels.column("churned", horizon)] == 1).to_numpy()
    if not gone.any():
        return None
    risk = answers(judged.heads, judged.shop.values[rows[gone]])[0][-1]
    back = labels.returned(log.frame, lapsed.filter(gone).select("customer_id", "cutoff"), horizon, within)
    return loss.fit_loss(risk, back.to_numpy())


def _label(rows: pl.DataFrame, name: str, settings: config.Config) -> np.ndarray[Any, Any]:
    return rows[labels.column(name, settings.timeline.horizon_days)].to_numpy()


def _both_classes(rows: pl.DataFrame, role: str, settings: config.Config) -> None:
    """Refuse a slice in which nobody, or everybody, churned."""
    churned = int(_label(rows, "churned", settings).sum()) if rows.height else 0
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
        paying = int((_label(rows, "spend", settings) > 0).sum())
        if paying < MIN_CLASS:
            return f"{paying} of {rows.height} customer rows of the {role} slice spend anything; {MIN_CLASS} are needed"
    return None


def _metrics(judged: Judged) -> dict[str, float | None]:
    horizon = judged.definitions.horizon_days
    churned = judged.test[labels.column("churned", horizon)].to_numpy()
    found: dict[str, float | None] = dict.fromkeys(metrics.METRIC_KEYS)
    found |= metrics.churn_metrics(churned, judged.predictions["churn_probability"].to_numpy())
    if "spend" in judged.targets:
        money = judged.test[labels.column("spend", horizon)].to_numpy()
        found |= metrics.spend_metrics(money, judged.predictions["expected_spend"].to_numpy())
    return found | {"n": judged.test.height}


def _rung_metrics(rung: baseline.Rung, judged: Judged) -> dict[str, float | None]:
    horizon = judged.definitions.horizon_days
    money = labels.column("spend", horizon)
    spend = judged.test[money].to_numpy() if money in judged.test.columns else None
    return baseline.metrics_of(rung, judged.test[labels.column("churned", horizon)].to_numpy(), spend)


def _importance(judged: Judged) -> pl.DataFrame:
    """Gain per feature of the judged boosters: feature, churn_gain, spend_gain, highest churn_gain first."""
    columns = features.names(judged.definitions)
    gains = {"churned": np.zeros(len(columns)), "spend": np.zeros(len(columns))}
    for h in judged.heads:  # without the hazard's own last column, the part of the horizon
        gains["churned" if h.kind == "hazard" else "spend"] += h.booster.feature_importance("gain")[: len(columns)]
    return pl.DataFrame({"feature": columns, "churn_gain": gains["churned"], "spend_gain": gains["spend"]}).sort(
        "churn_gain", "feature", descending=[True, False]
    )
