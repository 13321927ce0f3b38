"""Rolling origin: the recipe run again up to earlier cutoffs, each scored once, beside every rung (D8, D10-D14)."""

from __future__ import annotations

import datetime as dt
import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from churn_clv import config, ladder, strata, timeline, training
from churn_clv.backtest._clv import judge_clv
from churn_clv.backtest._ladder import comparisons, ladder_row, value_of
from churn_clv.backtest._looks import Look, pool, rung_names
from churn_clv.backtest._orders import orders_row
from churn_clv.backtest._strata import by_stratum, coverage, deciles, gains
from churn_clv.backtest._targets import judge_targets
from churn_clv.errors import UserError
from churn_clv.events import Log
from churn_clv.recipe import Say, Workshop
from churn_clv.targets import far_plans
from churn_clv.timeline import Plan

__all__ = ["LOOKS", "Look", "looks_file", "plans", "run"]

LOOKS = "looks.jsonl"
WINSOR = 0.999


def run(settings: config.Config, log: Log, final: bool = False, say: Say = lambda _: None) -> dict[str, Any]:
    """The document of a backtest; docs/backtest.md says what each key means.

    Without ``final`` the log is cut at ``backtest.development_until``, so that nothing after it can be looked at; with
    it the newest cutoffs are judged and the look is logged under ``out``. Raises UserError where no cutoff fits.
    """
    began = time.monotonic()
    line = settings.backtest.development_until or plans(log, settings)[0].test
    log = log if final else timeline.until(log, line)
    targets, refused = training.answerable(log, settings)
    found = plans(log, settings, say)
    far = far_plans(log, settings, [p.ends for p in found])
    shop = Workshop(log, settings, found, targets, say, shipping=False, others=far)
    refused = training.without_money(shop, found, refused, say)
    looks = [_look(shop, plan, refused, say) for plan in found]
    own, unasked = judge_targets(shop, found, say)
    found_clv = judge_clv(log, settings, say) if "spend" in shop.targets else None
    say("comparing")
    value = value_of(looks, settings)
    document = _document(log, settings, looks, value) | {
        "clv": found_clv,
        "targets": own,
        "targets_refused": refused | unasked,
        "final": final,
        "development_until": None if final else line.isoformat(),
    }
    document["looks"] = _log_look(document, settings, final)
    return document | {"seconds": round(time.monotonic() - began, 1)}


def plans(log: Log, settings: config.Config, say: Say = lambda _: None) -> list[Plan]:
    """The temporal plans of the test cutoffs, oldest first: the newest matured one and those before it that fit."""
    own, horizon = settings.backtest, settings.timeline.horizon_days
    step, out = own.step_days or -(-horizon // 2), []
    if "purchase" not in log.starts:
        raise UserError(f"backtest: the log has no 'purchase' events before {log.ends}. Map event_type to 'purchase'.")
    for k in range(own.cutoffs):
        try:
            ends = log.ends - dt.timedelta(days=k * step)
            out.append(timeline.make_plan(log.starts["purchase"], ends, settings.timeline))
        except UserError as error:
            if not out:
                raise UserError(f"backtest: not one cutoff fits before {log.ends}: {error}") from None
            say(f"only {len(out)} of {own.cutoffs} test cutoffs fit the log")
            break
    return out[::-1]


def looks_file(settings: config.Config) -> Path:
    """Where the looks across the development line are logged (definition D14)."""
    return Path(settings.out) / "backtest" / f"{settings.dataset}-h{settings.timeline.horizon_days}" / LOOKS


def _look(shop: Workshop, plan: Plan, refused: dict[str, str], say: Say) -> Look:
    judged = training.judge_at(shop, plan, refused, say)
    rungs = ladder.rungs(shop, plan, judged.test, say)
    if "spend" not in judged.targets:
        return Look(judged, tuple(rungs), None, None)
    learnt = shop.label("spend", plan.horizon_days, plan.test)[shop.rows(plan.judged)]
    return Look(judged, tuple(rungs), training.total_band(judged), float(np.quantile(learnt, WINSOR)))


def _document(
    log: Log, settings: config.Config, looks: Sequence[Look], value: dict[str, float] | None
) -> dict[str, Any]:
    horizon = settings.timeline.horizon_days
    cutoffs = [look.cutoff for look in looks]
    rate, within = training.label_return_rate(log, looks[-1].judged, settings)
    rows = [ladder_row(name, looks, settings, value) for name in rung_names(looks)]
    season, said = _season(log, looks)
    return {
        "dataset": settings.dataset,
        "horizon_days": horizon,
        "active_within_days": settings.population.active_within_days,
        "currency": settings.events.currency,
        "recipe_hash": settings.recipe_hash,
        "ends": log.ends.isoformat(),
        "fingerprint": log.fingerprint,
        "cutoffs": [c.isoformat() for c in cutoffs],
        "independent_cutoffs": timeline.independent(cutoffs, horizon),
        "label_return_rate": rate,
        "label_return_within_days": within,
        "policies": [{"policy": c.policy, "source": c.source, "rows": c.rows, "action": c.action} for c in log.counts],
        "ladder": rows,
        "season": season,
        "season_note": said,
        "strata": by_stratum(log, looks),
        "champion_minus_best": comparisons(looks, rows, settings),
        "reliability": strata.reliability_table(pool(looks, "churned"), pool(looks, "churn_probability")),
        "deciles": deciles(looks),
        "lift": gains(looks),
        "intervals": [coverage(log, look) for look in looks],
        "orders": [orders_row(look) for look in looks],
        "choices": [training.chosen_as_json(look.judged) for look in looks],
        "value": value,
    }


def _season(log: Log, looks: Sequence[Look]) -> tuple[str, str]:
    """Whether labels held each season twice before the newest test cutoff (definition D19)."""
    plan = looks[-1].judged.plan
    years = (plan.test - plan.earliest).days / training.DAYS_A_YEAR
    if training.season_learnt(plan):
        return "learnt", f"labels cover {years:.1f} years before the newest test cutoff"
    return "unseen", f"labels cover {years:.1f} years before the newest test cutoff; a season needs two"


def _log_look(document: Mapping[str, Any], settings: config.Config, final: bool) -> list[dict[str, Any]]:
    """Add this look to the log where it crossed the line; all looks so far."""
    path = looks_file(settings)
    said = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    if final:
        now = dt.datetime.now(dt.UTC).isoformat(timespec="seconds")
        look = {"at": now, "cutoffs": document["cutoffs"], "recipe_hash": document["recipe_hash"]}
        said.append(json.dumps(look))
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a", encoding="utf-8") as file:
            file.write(said[-1] + "\n")
    return [json.loads(line) for line in said]
