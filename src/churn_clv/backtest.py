"""Rolling origin: the recipe run again up to earlier cutoffs, each scored once, beside every rung (D8, D10-D14)."""

from __future__ import annotations

import datetime as dt
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from churn_clv import (
    comparison,
    config,
    empc,
    features,
    labels,
    ladder,
    metrics,
    recipe,
    strata,
    timeline,
    training,
)
from churn_clv.comparison import LOSSES, Party, Question, Rows
from churn_clv.errors import UserError
from churn_clv.events import Log
from churn_clv.metrics import Array
from churn_clv.models import interval
from churn_clv.models.baseline import Rung, metrics_of
from churn_clv.recipe import Say, Workshop
from churn_clv.timeline import Plan

CHAMPION = "champion"
EXTRA_KEYS = ("churn_empc", "spend_rmse_winsorised")
# Where a higher value is better; of the rest a lower one is, but for the total, which should be 1.
HIGHER = {
    "churn_auroc", "churn_average_precision", "churn_lift_top_decile", "churn_empc", "spend_gini", "spend_spearman",
    "spend_top_decile_share",
}  # fmt: skip
COMPARED = ("churn_log_loss", "spend_tweedie_deviance", "churn_auroc", "spend_gini")
LOOKS = "looks.jsonl"
# Attributes with more values than this are no strata, and a stratum below this says nothing.
MOST_VALUES, SMALLEST = 12, 50
WINSOR = 0.999


@dataclass(frozen=True)
class Look:
    """The recipe and every rung at one test cutoff: labels, predictions and what the metrics need beside them."""

    judged: training.Judged
    rungs: tuple[Rung, ...]
    band: tuple[float, float] | None
    winsor: float | None

    @property
    def cutoff(self) -> dt.date:
        """The test cutoff."""
        return self.judged.plan.test


def run(settings: config.Config, log: Log, final: bool = False, say: Say = lambda _: None) -> dict[str, Any]:
    """The document of a backtest; docs/backtest.md says what each key means.

    Without ``final`` the log is cut at ``backtest.development_until``, so that nothing after it can be looked at; with
    it the newest cutoffs are judged and the look is logged under ``out``. Raises UserError where no cutoff fits.
    """
    began = time.monotonic()
    targets, refused = training.answerable(log, settings)
    line = settings.backtest.development_until or plans(log, settings)[0].test
    log = log if final else timeline.until(log, line)
    found = plans(log, settings, say)
    shop = Workshop(log, settings, found, targets, say, shipping=False)
    refused = training.without_money(shop, found, refused, say)
    looks = [_look(shop, plan, refused, say) for plan in found]
    say("comparing")
    value = _value(looks, settings)
    document = _document(log, settings, looks, value) | {
        "final": final,
        "development_until": None if final else line.isoformat(),
    }
    document["looks"] = _log_look(document, settings, final)
    return document | {"seconds": round(time.monotonic() - began, 1)}


def plans(log: Log, settings: config.Config, say: Say = lambda _: None) -> list[Plan]:
    """The temporal plans of the test cutoffs, oldest first: the newest matured one and those before it that fit."""
    own, horizon = settings.backtest, settings.timeline.horizon_days
    step, out = own.step_days or -(-horizon // 2), []
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
    rows = [_ladder_row(name, looks, settings, value) for name in _names(looks)]
    season, said = _season(log, looks)
    return {
        "dataset": settings.dataset,
        "horizon_days": horizon,
        "active_within_days": settings.population.active_within_days,
        "currency": settings.events.currency,
        "recipe_hash": settings.recipe_hash,
        "ends": log.ends.isoformat(),
        "cutoffs": [c.isoformat() for c in cutoffs],
        "independent_cutoffs": recipe.independent(cutoffs, horizon),
        "label_return_rate": rate,
        "label_return_within_days": within,
        "policies": [{"policy": c.policy, "source": c.source, "rows": c.rows, "action": c.action} for c in log.counts],
        "ladder": rows,
        "season": season,
        "season_note": said,
        "strata": _strata(log, looks),
        "champion_minus_best": _comparisons(looks, rows, settings),
        "reliability": strata.reliability_table(_pool(looks, "churned"), _pool(looks, "churn_probability")),
        "deciles": _deciles(looks),
        "lift": _gains(looks),
        "intervals": [_coverage(log, look) for look in looks],
        "choices": [training.chosen_as_json(look.judged) for look in looks],
        "value": value,
    }


# --- labels and predictions by rung ---------------------------------------------------------------
def _names(looks: Sequence[Look]) -> list[str]:
    """The champion and every rung that spoke at every cutoff, in the ladder's order."""
    common = set.intersection(*({r.name for r in look.rungs} for look in looks))
    return [CHAMPION, *(r.name for r in looks[-1].rungs if r.name in common)]


def _rung(look: Look, name: str) -> Rung:
    if name != CHAMPION:
        return next(r for r in look.rungs if r.name == name)
    own = look.judged.predictions
    money = own["expected_spend"].to_numpy() if "expected_spend" in own.columns else None
    return Rung(CHAMPION, own["churn_probability"].to_numpy(), True, money)


def _labels(look: Look) -> tuple[Array, Array | None]:
    horizon, test = look.judged.plan.horizon_days, look.judged.test
    money = labels.column("spend", horizon)
    spend = test[money].to_numpy() if "spend" in look.judged.targets else None
    return test[labels.column("churned", horizon)].to_numpy(), spend


def _pool(looks: Sequence[Look], what: str) -> Array:
    """A column over all cutoffs: churned, spend, churn_probability or expected_spend."""
    parts = []
    for look in looks:
        churned, spend = _labels(look)
        own = {"churned": churned, "spend": spend}
        parts.append(own[what] if what in own else look.judged.predictions[what].to_numpy())
    return np.concatenate([np.asarray(p, dtype=np.float64) for p in parts])


# --- the ladder -----------------------------------------------------------------------------------
def _ladder_row(
    name: str, looks: Sequence[Look], settings: config.Config, value: dict[str, float] | None
) -> dict[str, Any]:
    by_cutoff = [_numbers(name, look, settings, value) for look in looks]
    keys = (*metrics.METRIC_KEYS, *EXTRA_KEYS)
    return {
        "rung": name,
        "note": None,
        "mean": {k: _mean([row[k] for row in by_cutoff]) for k in keys},
        "worst": {k: _worst(k, [row[k] for row in by_cutoff]) for k in keys},
        "by_cutoff": by_cutoff,
    }


def _numbers(name: str, look: Look, settings: config.Config, value: dict[str, float] | None) -> dict[str, Any]:
    """Every metric of a rung at a cutoff, and the band of the champion's total."""
    rung, (churned, spend) = _rung(look, name), _labels(look)
    found: dict[str, Any] = {"cutoff": look.cutoff.isoformat()} | metrics_of(rung, churned, spend)
    found |= dict.fromkeys((*EXTRA_KEYS, "spend_total_low", "spend_total_high"))
    if value is not None and rung.churn_score is not None:
        found["churn_empc"] = empc.empc(churned, rung.churn_score, **value, accept=settings.value.accept)[0]
    if rung.spend is not None and spend is not None and look.winsor is not None:
        gap = np.minimum(rung.spend, look.winsor) - np.minimum(spend, look.winsor)
        found["spend_rmse_winsorised"] = float(np.sqrt((gap**2).mean()))
    if name == CHAMPION and look.band is not None:
        found["spend_total_low"], found["spend_total_high"] = look.band
    return found


def _mean(values: Sequence[float | None]) -> float | None:
    known = [v for v in values if v is not None]
    return float(np.mean(known)) if len(known) == len(values) else None


def _worst(key: str, values: Sequence[float | None]) -> float | None:
    known = [v for v in values if v is not None]
    if len(known) < len(values):
        return None
    if key == "spend_total_ratio":
        return max(known, key=lambda v: abs(v - 1))
    return min(known) if key in HIGHER or key == "n" else max(known)


def _value(looks: Sequence[Look], settings: config.Config) -> dict[str, float] | None:
    """What EMPC prices with: from the config, else from the mean spend of those who stayed before the first cutoff."""
    own, look = settings.value, looks[0]
    worth = own.customer_value
    if worth is None:
        if "spend" not in look.judged.targets:
            return None
        plan, shop = look.judged.plan, look.judged.shop
        rows, horizon = shop.rows(plan.judged), plan.horizon_days
        stayed = shop.label("churned", horizon, plan.test)[rows] == 0
        worth = own.margin_share * float(shop.label("spend", horizon, plan.test)[rows][stayed].mean())
    return {"value": worth, "offer": own.offer or worth / 10, "contact": own.contact or worth / 100}


# --- who is better --------------------------------------------------------------------------------
def _comparisons(
    looks: Sequence[Look], rows: Sequence[Mapping[str, Any]], settings: config.Config
) -> dict[str, dict[str, Any]]:
    """The champion against the best rung on each metric: champion minus rung, simultaneous over the rungs (D10)."""
    happened, parties = _rows(looks), {name: _party(looks, name) for name in _names(looks)}
    means = {row["rung"]: row["mean"] for row in rows}
    out = {}
    for metric in COMPARED:
        others = [name for name in parties if name != CHAMPION and means[name][metric] is not None]
        if metric in LOSSES:
            others = [name for name in others if metric != "spend_tweedie_deviance" or _positive(parties[name])]
        if means[CHAMPION][metric] is None or not others:
            continue
        sign = 1 if metric in HIGHER else -1
        best = max(others, key=lambda name: sign * means[name][metric])
        ask = [Question(name, metric) for name in others]
        draws, seed = settings.promotion.bootstrap_draws, settings.seed
        found = comparison.leads(parties[CHAMPION], [parties[n] for n in others], ask, happened, draws, seed)
        dated = [Question(best, metric, cutoff) for cutoff in happened.cutoffs]
        at = comparison.leads(parties[CHAMPION], [parties[best]], dated, happened, draws, seed, joint=False)
        ahead = all(lead.low > 0 for lead in found) and not any(lead.high < 0 for lead in at)
        behind = any(lead.high < 0 for lead in found)
        closest = next(lead for lead in found if lead.question.other == best)
        low, high = (closest.low, closest.high) if sign > 0 else (-closest.high, -closest.low)
        out[metric] = {
            "rung": best,
            "difference": sign * closest.lead,
            "low": low,
            "high": high,
            "verdict": "ahead" if ahead else "behind" if behind else "level",
        }
    return out


def _rows(looks: Sequence[Look]) -> Rows:
    ids = pl.concat([look.judged.test["customer_id"] for look in looks])
    sizes = np.cumsum([0, *(look.judged.test.height for look in looks)])
    cutoffs = {look.cutoff: np.arange(sizes[i], sizes[i + 1]) for i, look in enumerate(looks)}
    money = _pool(looks, "spend") if "spend" in looks[0].judged.targets else None
    return Rows(
        (ids.rank("dense").cast(pl.Int64) - 1).to_numpy().astype(np.intp), cutoffs, _pool(looks, "churned"), money
    )


def _party(looks: Sequence[Look], name: str) -> Party:
    found = [_rung(look, name) for look in looks]
    churn = [r.churn_score for r in found if r.churn_score is not None]
    money = [r.spend for r in found if r.spend is not None]
    return Party(
        name,
        np.concatenate(churn) if len(churn) == len(found) else None,
        found[0].churn_is_probability,
        np.concatenate(money) if len(money) == len(found) else None,
    )


def _positive(party: Party) -> bool:
    """Whether a rung's spend has a Tweedie deviance: a prediction of 0 would cost without limit where money came."""
    return party.spend is not None and bool((party.spend > 0).all())


# --- strata and pictures' numbers -----------------------------------------------------------------
def _strata(log: Log, looks: Sequence[Look]) -> list[dict[str, Any]]:
    """Skill by number of orders, by the customer's own rhythm, and by every attribute (definition D12)."""
    wanted = ("purchase_days", "days_since_last_purchase", "gap_days_median")
    own = pl.concat([look.judged.test.select("customer_id", "cutoff") for look in looks])
    built = features.build(timeline.Past(log.frame, own), looks[0].judged.definitions, wanted)
    orders, since, gap = (built[c].to_numpy() for c in wanted)
    groups = {"orders": strata.by_orders(orders), "rhythm": strata.by_rhythm(since, gap)} | _attributes(log, own)
    churned, risk = _pool(looks, "churned"), _pool(looks, "churn_probability")
    money = "spend" in looks[0].judged.targets
    spend, expected = (_pool(looks, c) if money else None for c in ("spend", "expected_spend"))
    out = []
    for by, names in groups.items():
        found = strata.table(by, names, own["cutoff"].to_list(), churned, risk, spend, expected)
        out += [row for row in found if row["n"] >= SMALLEST]
    return out


def _attributes(log: Log, rows: pl.DataFrame) -> dict[str, list[str]]:
    """Each attribute of few values, as of each row's cutoff: ``attribute:<table>.<column>`` to the rows' values."""
    out = {}
    for table, frame in log.attributes.items():
        known = timeline.attributes_at(frame, rows)
        for column in (c for c in frame.columns if c not in ("customer_id", "valid_from")):
            values = known[column].cast(pl.String).fill_null("unknown")
            if 2 <= values.n_unique() <= MOST_VALUES:
                out[f"attribute:{table}.{column}"] = values.to_list()
    return out


def _deciles(looks: Sequence[Look]) -> list[dict[str, Any]]:
    if "spend" not in looks[0].judged.targets:
        return []
    return strata.decile_table(*(_pool(looks, c) for c in ("expected_spend", "spend", "churn_probability", "churned")))


def _coverage(log: Log, look: Look) -> dict[str, Any]:
    """How often spend lies outside its interval at a cutoff, the tails apart (definition D20)."""
    judged = look.judged
    if judged.interval is None:
        return {"cutoff": look.cutoff.isoformat(), "miss_above": None, "miss_below": None, "worst_decile": None}
    past = timeline.Past(log.frame, judged.test.select("customer_id", "cutoff"))
    orders = features.build(past, judged.definitions, ("purchase_days",))["purchase_days"].to_numpy()
    money, spend = judged.predictions["expected_spend"].to_numpy(), _labels(look)[1]
    assert spend is not None, "an interval comes with spend"
    found = interval.coverage(judged.interval, money, spend, orders)
    worst = max((d["miss_above"] for d in found["deciles"]), key=lambda share: abs(share - 0.1))
    parts = {"miss_above": found["miss_above"], "miss_below": found["miss_below"], "worst_decile": worst}
    return {"cutoff": look.cutoff.isoformat()} | parts


def _gains(looks: Sequence[Look]) -> list[dict[str, Any]]:
    """Share of all churners found in the riskiest tenths, mean over the cutoffs, by rung."""
    curves = {}
    for name in _names(looks):
        if all(_rung(look, name).churn_score is not None for look in looks):
            found = [strata.gains(_labels(look)[0], np.asarray(_rung(look, name).churn_score)) for look in looks]
            curves[name] = np.mean(found, axis=0)
    return [{"share": (i + 1) / 10} | {name: float(curve[i]) for name, curve in curves.items()} for i in range(10)]


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
