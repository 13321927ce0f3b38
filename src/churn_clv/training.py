"""Snapshots in, judged and shipped recipe and their report out (contract K3, definitions D7 and D8).

The recipe: choose the number of trees at the stopping cutoff, fit the calibration map at the calibration cutoff,
refit on every label that ends by the test cutoff, and be judged there once. What ships is the same recipe, with the
same trees and map, refitted on every label that the log holds.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from churn_clv import bundle, config, features, labels, matrix, metrics, snapshots, timeline
from churn_clv.errors import UserError, nearest
from churn_clv.events import Log
from churn_clv.models import baseline, fit
from churn_clv.models.predict import Head, Kind
from churn_clv.timeline import Definitions, Plan

Say = Callable[[str], None]

# Targets that this version has a place for in its answers, and what their heads predict.
KINDS: dict[str, Kind] = {"churned": "probability", "spend": "amount"}
# The confirmation window of definition D6, in horizons: a customer back within it had only paused.
CONFIRM_HORIZONS = 3
# Below this many customers of each class at a slice nothing can be learnt or judged.
MIN_CLASS = 10


@dataclass(frozen=True)
class Judged:
    """A recipe after its one look at the test cutoff.

    ``heads`` learnt nothing that ends after ``plan.test``; ``test`` is the labelled matrix there; ``predictions``
    goes with it row by row.
    """

    plan: Plan
    definitions: Definitions
    targets: dict[str, config.Target]
    refused: dict[str, str]
    snapshots: pl.DataFrame
    heads: tuple[Head, ...]
    trees: dict[str, int]
    train: pl.DataFrame
    test: pl.DataFrame
    predictions: pl.DataFrame


@dataclass(frozen=True)
class Trained:
    """What a training gives: the shipped bundle and the judged recipe's record.

    ``ladder`` holds a row per rung with every metric key; ``oot`` the out-of-time predictions (customer_id, cutoff,
    churned, churn_probability, spend, expected_spend); ``rungs`` the same rows' predictions by rung; ``importance``
    the judged boosters' gain per feature.
    """

    bundle: bundle.Bundle
    ladder: list[dict[str, Any]]
    oot: pl.DataFrame
    rungs: dict[str, baseline.Rung]
    plan: Plan
    data: dict[str, Any]
    importance: pl.DataFrame


def train(log: Log, settings: config.Config, say: Say = lambda _: None) -> Trained:
    """Judge the recipe at the newest matured cutoff, then refit it on everything and pack the bundle.

    Raises UserError where the labels do not fit, a class is missing, or the targets cannot be answered.
    """
    judged = judge(log, settings, say)
    say("comparing with the rungs")
    rungs = _rungs(log, judged, settings, say)
    ladder = [{"rung": "champion", "metrics": _metrics(judged)}]
    ladder += [{"rung": r.name, "metrics": _rung_metrics(r, judged)} for r in rungs]
    say("refitting the judged recipe on every label")
    heads = _ship(log, judged, settings)
    data = describe(log, judged, settings)
    report = {
        "plan": judged.plan.rows(),
        "data": data,
        "ladder": ladder,
        "trees": judged.trees,
        "test_cutoff": judged.plan.test.isoformat(),
        "matrix_order": matrix.order_hash(judged.snapshots),
    }
    churn = judged.predictions["churn_probability"].to_numpy()
    reference = bundle.make_reference(churn, _label(judged.test, "churned", settings), settings.bundle)
    shipped = bundle.Bundle(
        definitions=judged.definitions,
        heads=heads,
        reference=reference,
        config=settings,
        trained_through=log.ends,
        report=report,
    )
    return Trained(shipped, ladder, out_of_time(judged), {r.name: r for r in rungs}, judged.plan, data,
                   _importance(judged))  # fmt: skip


def judge(log: Log, settings: config.Config, say: Say = lambda _: None) -> Judged:
    """Run the recipe up to its one look at the test cutoff."""
    targets, refused = answerable(log, settings)
    plan = timeline.make_plan(log.starts["purchase"], log.ends, settings.timeline)
    definitions = timeline.define(log, settings, as_of=plan.all_cutoffs[0], seen_by=plan.test)
    say(f"building {len(features.names(definitions))} features at {len(plan.all_cutoffs)} cutoffs")
    snaps = snapshots.build(log, plan.all_cutoffs, definitions)
    known = _labelled(log, snaps, settings, targets, plan.test)
    full = _labelled(log, snaps, settings, targets, None)
    slices = {
        "train": _at(known, plan.train),
        "stopping": _at(known, [plan.stopping]),
        "calibration": _at(known, [plan.calibration]),
        "test": _at(full, [plan.test]),
    }
    for role, rows in slices.items():
        _both_classes(rows, role, settings)
    if "spend" in targets and (why := _no_money(slices | {"judged": _at(known, plan.judged)}, settings)):
        targets, refused = {n: t for n, t in targets.items() if n != "spend"}, refused | {"spend": why}
    heads, trees = [], {}
    for name in targets:
        say(f"training {name}")
        head, trees[name] = _judged_head(name, known, slices, plan, definitions, settings)
        heads.append(head)
    values = matrix.values(slices["test"], features.names(definitions))
    predictions = pl.DataFrame({h.target: h.predict(values) for h in heads}).rename({"churned": "churn_probability"})
    return Judged(plan, definitions, targets, refused, snaps, tuple(heads), trees, _at(known, plan.judged),
                  slices["test"], predictions)  # fmt: skip


def check(log: Log, settings: config.Config) -> None:
    """Raise UserError for what can be known to fail before anything is built: targets, plan."""
    answerable(log, settings)
    timeline.make_plan(log.starts["purchase"], log.ends, settings.timeline)


def answerable(log: Log, settings: config.Config) -> tuple[dict[str, config.Target], dict[str, str]]:
    """The targets to train and those the log cannot answer (with why); churned must be among the first."""
    for name in settings.targets:
        if name not in KINDS:
            raise UserError(f"targets.{name}: this version trains churned and spend.{nearest(name, KINDS)}")
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
    both = judged.test.hstack(judged.predictions.rename({"spend": "expected_spend"}, strict=False))
    return both.select(
        "customer_id",
        "cutoff",
        churned=pl.col(labels.column("churned", horizon)),
        churn_probability=pl.col("churn_probability"),
        spend=pl.col(spend) if spend in both.columns else nothing,
        expected_spend=pl.col("expected_spend") if "expected_spend" in both.columns else nothing,
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
    newest = log.ends - dt.timedelta(days=horizon + within)
    matured = [c for c in judged.plan.all_cutoffs if c <= newest][-1:]
    rows = _labelled(log, _at(judged.snapshots, matured), settings, judged.targets, None)
    churned = rows[labels.column("churned", horizon)]
    return labels.return_rate(log.frame, rows.select("customer_id", "cutoff"), churned, horizon, within), within


def _judged_head(
    name: str, known: pl.DataFrame, slices: Mapping[str, pl.DataFrame], plan: Plan, definitions: Definitions,
    settings: config.Config,
) -> tuple[Head, int]:  # fmt: skip
    """One head judged at the test cutoff: stop, calibrate, refit; returns it and its number of trees."""
    kind, own = KINDS[name], _booster_settings(name, settings)
    label = labels.column(name, settings.timeline.horizon_days)
    columns, seed, threads = features.names(definitions), settings.seed, settings.models.threads
    scale = fit.money_scale(slices["train"], label) if kind == "amount" else 1.0
    trees = fit.rounds(slices["train"], slices["stopping"], label, columns, kind, scale, own, seed, threads)
    intercept, slope = 0.0, 1.0
    if kind == "probability":
        before = _at(known, plan.until_calibration)
        early = fit.booster(before, label, columns, kind, scale, trees, own, seed, threads)
        held = slices["calibration"]
        margin = Head(name, definitions.horizon_days, kind, early).margin(matrix.values(held, columns))
        intercept, slope = fit.logistic_map(margin, held[label].to_numpy())
    final = fit.booster(_at(known, plan.judged), label, columns, kind, scale, trees, own, seed, threads)
    return Head(name, definitions.horizon_days, kind, final, intercept, slope, scale), trees


def _ship(log: Log, judged: Judged, settings: config.Config) -> tuple[Head, ...]:
    """The judged heads refitted on every label of the log: same trees, same map, same scale."""
    rows = _labelled(log, _at(judged.snapshots, judged.plan.shipped), settings, judged.targets, None)
    columns, threads = features.names(judged.definitions), settings.models.threads
    out = []
    for h in judged.heads:
        label = labels.column(h.target, h.horizon_days)
        own = _booster_settings(h.target, settings)
        final = fit.booster(rows, label, columns, h.kind, h.scale, judged.trees[h.target], own, settings.seed, threads)
        out.append(Head(h.target, h.horizon_days, h.kind, final, h.intercept, h.slope, h.scale))
    return tuple(out)


def _booster_settings(name: str, settings: config.Config) -> config.Booster:
    return settings.models.churn if KINDS[name] == "probability" else settings.models.spend


def _labelled(
    log: Log, snaps: pl.DataFrame, settings: config.Config, targets: dict[str, config.Target], known_by: dt.date | None
) -> pl.DataFrame:
    only = settings.model_copy(update={"targets": targets})
    return snapshots.with_labels(log, snaps, only, known_by)


def _at(rows: pl.DataFrame, cutoffs: Sequence[dt.date]) -> pl.DataFrame:
    return rows.filter(pl.col("cutoff").is_in(list(cutoffs)))


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


def _rungs(log: Log, judged: Judged, settings: config.Config, say: Say) -> list[baseline.Rung]:
    """Every baseline on the same test rows, learning from what the judged model learnt from.

    The simple ones look at features of their own: a config that switches these off does not switch off the rung.
    """
    window, columns = judged.definitions.horizon_window_days, features.names(judged.definitions)
    money = f"spend_last_{window}d"
    wanted = ("days_since_last_purchase", *([money] if "spend" in judged.targets else []))
    past = timeline.Past(log.frame, judged.test.select("customer_id", "cutoff"))
    simple = features.build(past, judged.definitions, wanted)
    out = [baseline.recency_rule(simple)]
    if "spend" in judged.targets and not simple[money].null_count():
        out.append(baseline.last_horizon_spend(simple, money, judged.definitions.horizon_days / window))
    elif "spend" in judged.targets:
        say(f"no rung last_horizon_spend: the log is not complete {window} days before the test cutoff")
    out.append(baseline.logistic(judged.train, _label(judged.train, "churned", settings), judged.test, columns))
    return out


def _metrics(judged: Judged) -> dict[str, float | None]:
    horizon = judged.definitions.horizon_days
    churned = judged.test[labels.column("churned", horizon)].to_numpy()
    found: dict[str, float | None] = dict.fromkeys(metrics.METRIC_KEYS)
    found |= metrics.churn_metrics(churned, judged.predictions["churn_probability"].to_numpy())
    if "spend" in judged.targets:
        money = judged.test[labels.column("spend", horizon)].to_numpy()
        found |= metrics.spend_metrics(money, judged.predictions["spend"].to_numpy())
    return found | {"n": judged.test.height}


def _rung_metrics(rung: baseline.Rung, judged: Judged) -> dict[str, float | None]:
    horizon = judged.definitions.horizon_days
    money = labels.column("spend", horizon)
    spend = judged.test[money].to_numpy() if money in judged.test.columns else None
    return baseline.metrics_of(rung, judged.test[labels.column("churned", horizon)].to_numpy(), spend)


def _importance(judged: Judged) -> pl.DataFrame:
    """Gain per feature of the judged boosters: feature, churn_gain, spend_gain, highest churn_gain first."""
    gains = {h.target: h.booster.feature_importance("gain") for h in judged.heads}
    columns = features.names(judged.definitions)
    nothing = np.zeros(len(columns))
    return pl.DataFrame(
        {"feature": columns, "churn_gain": gains["churned"], "spend_gain": gains.get("spend", nothing)}
    ).sort("churn_gain", "feature", descending=[True, False])
