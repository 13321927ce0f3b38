"""One training from log to champion: train, compare with rungs and incumbent, track, register, promote, publish.

The incumbent is compared recipe against recipe (definition D9): by its stored out-of-time predictions where they are
about the same rows, else by running its recipe again on this log. No bundle is scored on labels it has seen.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from dataclasses import asdict, replace
from typing import Any

import polars as pl
import yaml

from churn_clv import bundle, config, promotion, publish, recording, strata, succession, tracking, training
from churn_clv import grade as grading
from churn_clv.events import Log
from churn_clv.metrics import Array
from churn_clv.models import baseline
from churn_clv.pseudonym import id_key, key_name
from churn_clv.recipe import Say
from churn_clv.tracking import Champion
from churn_clv.training import Trained

CURRENT = "current_champion"
DIFFERS = {
    "same_data": "The data are not those of that run (another fingerprint): its numbers will not come again.",
    "same_code": "The code is not that of that run (another code_hash): its numbers may not come again.",
    "same_recipe": "The recipe is not that of that run: an overlay changes what is learnt.",
}


def retrain(
    settings: config.Config, read: Callable[[], Log], say: Say = lambda _: None, again: tracking.Recorded | None = None
) -> dict[str, Any]:
    """Train on the log that ``read`` gives and promote where definition D9 allows; returns the run's document.

    Keys: run_id, model_version, bundle_version, promoted, already_champion, why, code, checks, compared_with, grade,
    plan, data, ladder, strata, reliability, total_band, targets, trees.
    The same recipe and code on the same data is already champion: nothing is trained, the stored document is returned.
    With ``again``, the run whose config this is, it is trained all the same; ``reproduces`` says how the two compare.
    The same recipe on newer data, or by newer code on the same data, replaces the champion where it is not worse; on
    newer data and by newer code, or where the champion's bundle is of a format that is not read here, the old recipe
    cannot be run, and the rungs decide.
    Raises UserError before any training where the labels do not fit, the registered model answers another question, or
    the bundles folder serves another model.
    """
    publish.check_owner(settings)
    say("reading the log")
    log = read()
    training.check(log, settings)
    say("opening the tracking store")
    tracking.prepare(settings)
    tracking.check_same_question(settings)
    id_key(settings.out)  # made, or found to be unusable, before hours of training
    champion = tracking.champion(settings)
    already = champion is not None and _same(champion, settings, log)
    if champion and champion.bundle and already and again is None:
        succession.publish_champion(settings, champion.version, champion.bundle)
        why = f"already champion: version {champion.version} is this recipe on this data."
        return champion.document | {"promoted": True, "already_champion": True, "why": why}
    before = bundle.segments_of(champion.bundle) if champion and champion.bundle else None
    trained = training.train(log, settings, say, before)
    incumbent = _incumbent(champion, trained, log, settings, say)
    decision = _decide(champion, incumbent, trained, log, settings, say)
    decision, graded = _graded(trained, _keeping_heads(champion, trained, decision), settings)
    if champion and incumbent is None:
        told = f"version {champion.version} is champion, by code that is not here, so the rungs alone decide"
        decision = replace(decision, why=decision.why.replace("there is no incumbent", told))
    if champion and already:
        why = f"already champion: version {champion.version} is this recipe on this data. {decision.why}"
        decision = replace(decision, promote=False, why=why)
    document = _document(trained, decision, graded, _ladder(trained, incumbent), champion)
    document |= {"already_champion": already}
    if again is not None:
        document["reproduces"] = compared(again, log, trained, settings)
    return recording.record(settings, trained, document, say)


def compared(again: tracking.Recorded, log: Log, trained: Trained, settings: config.Config) -> dict[str, Any]:
    """How a training compares with the run whose config it took: data, code, recipe, and each metric that differs.

    Keys: run_id, same_data, same_code, same_recipe, differing ([metric, then, now]) and notes, sentences to read.
    """
    then, now = again.document["ladder"][0]["metrics"], trained.ladder[0]["metrics"]
    differing = [[key, then[key], now.get(key)] for key in then if then[key] != now.get(key)]
    same = {
        "same_data": again.tags.get("fingerprint") == log.fingerprint,
        "same_code": again.tags.get("code_hash") == tracking.code_version()[1],
        "same_recipe": again.tags.get("recipe_hash") == settings.recipe_hash,
    }
    notes = [text for key, text in DIFFERS.items() if not same[key]]
    said = (
        f"{len(differing)} of its {len(then)} metrics differ" if differing else "every metric is the same, to the digit"
    )
    return {"run_id": again.run_id, **same, "differing": differing, "notes": [*notes, f"Against that run {said}."]}


def _same(champion: Champion, settings: config.Config, log: Log) -> bool:
    """Whether the champion is this recipe, by this code, on these data, and can be loaded here.

    Training would give it again. Under other libraries a bundle may be refused though nothing of ours has changed.
    """
    if not (_same_recipe(champion, settings) and _same_code(champion) and _same_data(champion, log)):
        return False
    if champion.bundle is None:
        return False
    try:
        bundle.load_bundle(champion.bundle)
    except bundle.BundleError:
        return False
    return True


def _same_recipe(champion: Champion, settings: config.Config) -> bool:
    return champion.tags["recipe_hash"] == settings.recipe_hash


def _same_code(champion: Champion) -> bool:
    return champion.tags["code_hash"] == tracking.code_version()[1]


def _same_data(champion: Champion, log: Log) -> bool:
    return champion.tags["fingerprint"] == log.fingerprint


def _incumbent(
    champion: Champion | None, trained: Trained, log: Log, settings: config.Config, say: Say
) -> pl.DataFrame | None:
    """The incumbent recipe's predictions of this run's test cutoff, keyed by pseudonym; None without a champion."""
    if champion is None:
        return None
    same_key = champion.tags.get("id_key") == key_name(id_key(settings.out))
    if same_key and _same_data(champion, log):
        succession.check_judged(champion.run_id, champion.document, champion.oot)
        return champion.oot
    if champion.bundle is None or not _same_code(champion):
        say("the champion's code is not this one: on newer data it cannot be run again")
        return None
    if _same_recipe(champion, settings):
        # One recipe by one code on one log gives one set of predictions; there is nothing to run again.
        return tracking.keyed_predictions(settings, trained.oot)
    say("running the incumbent's recipe on this log")
    stored = yaml.safe_load((champion.bundle / "config.yaml").read_text(encoding="utf-8"))
    recipe = config.from_dict(stored, where=f"the config of version {champion.version}")
    return tracking.keyed_predictions(settings, training.out_of_time(training.judge(log, recipe, say)))


def _decide(
    champion: Champion | None, incumbent: pl.DataFrame | None, trained: Trained, log: Log, settings: config.Config,
    say: Say,
) -> promotion.Decision:  # fmt: skip
    say("deciding on promotion")
    mine = tracking.keyed_predictions(settings, trained.oot)
    rungs = {
        name: promotion.RungPredictions(
            churn_score=r.churn_score, churn_is_probability=r.churn_is_probability, spend=r.spend
        )
        for name, r in trained.rungs.items()
    }
    kin = succession.Kinship(False, False, "")
    if champion:
        code = {"code_hash": tracking.code_version()[1]}
        own = {"recipe_hash": settings.recipe_hash, "core_hash": settings.core_hash} | code
        then = dt.date.fromisoformat(champion.document["data"]["ends"])
        kin = succession.kinship(own, champion.tags, log.ends, then, after=True)
    return promotion.decide(
        mine,
        incumbent,
        rungs,
        same_recipe=kin.same_recipe,
        newer_data=kin.newer,
        renewed=kin.renewed,
        horizon_days=settings.timeline.horizon_days,
        total_band=trained.total_band,
        draws=settings.promotion.bootstrap_draws,
        seed=settings.seed,
    )


def _keeping_heads(champion: Champion | None, trained: Trained, decision: promotion.Decision) -> promotion.Decision:
    """Refuse a run that predicts less than the champion does, though its config asks for it: that is worse.

    Spend is asked for always: a config without it is another question's.
    """
    if champion is None:
        return decision
    now = {"ladder": trained.ladder, "data": trained.data, "targets": trained.targets}
    for check in succession.lost(champion.document, now):
        why = f"Not promoted: {check.text}."
        decision = replace(decision, promote=False, why=why, checks=(*decision.checks, check))
    return decision


def _graded(
    trained: Trained, decision: promotion.Decision, settings: config.Config
) -> tuple[promotion.Decision, grading.Grade]:
    """The run's grade; a run below the grade that the config requires is refused."""
    own, test = trained.ladder[0]["metrics"], trained.plan.test.isoformat()
    found = grading.of_training(own, test, trained.total_band, trained.strata, decision.checks, settings.grade)
    passed = found.at_least(settings.grade.required)
    check = promotion.Check("grade", passed, True, f"{found.why} Required: {settings.grade.required}.")
    decision = replace(decision, checks=(*decision.checks, check))
    if not passed:
        below = f"the grade is {found.letter}, and the config requires {settings.grade.required}"
        why = f"Not promoted: {below}. {found.why}" if decision.promote else f"{decision.why} Also, {below}."
        decision = replace(decision, promote=False, why=why)
    return decision, found


def _ladder(trained: Trained, incumbent: pl.DataFrame | None) -> list[dict[str, Any]]:
    """The ladder with the incumbent's recipe behind this run's, each on the rows it predicted."""
    if incumbent is None:
        return trained.ladder
    spend = None if incumbent["expected_spend"].null_count() else incumbent["expected_spend"].to_numpy()
    rung = baseline.Rung(CURRENT, incumbent["churn_probability"].to_numpy(), True, spend)
    money = None if incumbent["spend"].null_count() else incumbent["spend"].to_numpy()
    found = baseline.metrics_of(rung, incumbent["churned"].to_numpy(), money)
    return [trained.ladder[0], {"rung": CURRENT, "metrics": found}, *trained.ladder[1:]]


def _document(
    trained: Trained,
    decision: promotion.Decision,
    graded: grading.Grade,
    ladder: list[dict[str, Any]],
    champion: Champion | None,
) -> dict[str, Any]:
    return {
        "run_id": None,
        "code": tracking.made(),
        "model_version": None,
        "bundle_version": None,
        "promoted": decision.promote,
        "already_champion": False,
        "why": decision.why,
        "checks": [asdict(c) for c in decision.checks],
        "compared_with": champion.version if champion else None,
        "grade": graded.document(),
        "plan": trained.plan.rows(),
        "plan_note": trained.plan.note,
        "data": trained.data,
        "ladder": ladder,
        "strata": trained.strata,
        "reliability": strata.reliability_table(*_judged_risk(trained)),
        "total_band": trained.total_band,
        "targets": trained.targets,
        "trees": trained.bundle.report["trees"],
    }


def _judged_risk(trained: Trained) -> tuple[Array, Array]:
    """What came and what was predicted, at the test cutoff."""
    came, said = trained.oot.select(pl.col("churned", "churn_probability").cast(pl.Float64))
    return came.to_numpy(), said.to_numpy()
