"""Who is better, and how sure: one paired bootstrap over customers behind every claim (definition D10)."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from churn_clv import metrics
from churn_clv.metrics import Array, Order

LOSSES = ("churn_log_loss", "spend_tweedie_deviance")  # the primary metrics; less is better
CONFIDENCE = 0.95
SIMPLE_RUNGS = ("recency_rule", "last_horizon_spend")  # a model that does not beat these is not worth its keep
# Where a higher value is better; of the rest a lower one is, but for the total, which should be 1.
HIGHER = {
    "churn_auroc", "churn_average_precision", "churn_lift_top_decile", "churn_empc", "spend_gini", "spend_spearman",
    "spend_top_decile_share",
}  # fmt: skip

Index = npt.NDArray[np.intp]
Statistic = Callable[[Array], Array]  # row weights (draws, rows) -> (draws,)


@dataclass(frozen=True)
class Party:
    """Who predicted, and what: the challenger, the incumbent or a rung."""

    name: str
    churn: Array | None
    is_probability: bool
    spend: Array | None


@dataclass(frozen=True)
class Rows:
    """What happened: the customer of each row as 0..k-1, the row numbers of each cutoff, the labels."""

    customers: Index
    cutoffs: dict[dt.date, Index]
    churned: Array
    spend: Array | None


class Question(NamedTuple):
    """Is the challenger better than ``other`` on ``metric``, over all cutoffs or at one?"""

    other: str
    metric: str
    cutoff: dt.date | None = None


class Lead(NamedTuple):
    """The answer to a question: both values, the challenger's lead and its interval."""

    question: Question
    mine: float
    theirs: float
    lead: float
    low: float
    high: float


def leads(
    mine: Party, others: Sequence[Party], questions: Sequence[Question], rows: Rows,
    draws: int, seed: int, joint: bool = True,
) -> list[Lead]:  # fmt: skip
    """Answer the questions by one paired bootstrap; intervals simultaneous over them if ``joint``."""
    if not questions:
        return []
    parties = {party.name: party for party in (mine, *others)}
    asked = {Question(who, q.metric, q.cutoff) for q in questions for who in (mine.name, q.other)}
    drawn = _resample({q: _statistic(parties[q.other], q, rows) for q in sorted(asked, key=str)}, rows, draws, seed)
    pairs = [(drawn[Question(mine.name, q.metric, q.cutoff)], drawn[q]) for q in questions]
    lead = np.stack([(b - a) if q.metric in LOSSES else (a - b) for q, (a, b) in zip(questions, pairs, strict=True)])
    observed, again = lead[:, 0], lead[:, 1:]
    again = again[:, np.isfinite(again).all(axis=0)]  # a draw may lack a class
    error = again.std(axis=1, ddof=1) if again.shape[1] > 1 else np.full(len(questions), np.nan)
    with np.errstate(invalid="ignore", divide="ignore"):
        distance = np.nan_to_num(np.abs(again - observed[:, None]) / error[:, None])
    if joint:
        distance = np.broadcast_to(distance.max(axis=0), distance.shape)
    reach = error * (np.quantile(distance, CONFIDENCE, axis=1) if again.shape[1] else np.nan)
    return [
        Lead(q, float(a[0]), float(b[0]), float(d), float(d - r), float(d + r))
        for q, (a, b), d, r in zip(questions, pairs, observed, reach, strict=True)
    ]


def verdicts(
    mine: Party, others: Sequence[Party], means: Mapping[str, Mapping[str, float | None]], asked: Sequence[str],
    rows: Rows, draws: int, seed: int,
) -> dict[str, dict[str, Any]]:  # fmt: skip
    """``mine`` minus the best of ``others`` on each metric, and whether it is ahead, level or behind (definition D10).

    ``means`` has every party's metrics. Ahead: the simultaneous interval against every one of them lies above 0, and no
    cutoff is significantly behind the best. Keys: rung, difference, low, high, verdict; ``rungs``: whether ahead of,
    level with or behind each one, by those simultaneous intervals.
    """
    out = {}
    for metric in asked:
        able = [p for p in others if means[p.name][metric] is not None]
        if metric in LOSSES:
            able = [p for p in able if metric != "spend_tweedie_deviance" or _positive(p)]
        if means[mine.name][metric] is None or not able:
            continue
        sign = 1 if metric in HIGHER else -1
        best = max(able, key=lambda p: sign * (means[p.name][metric] or 0.0))
        found = leads(mine, able, [Question(p.name, metric) for p in able], rows, draws, seed)
        dated = [Question(best.name, metric, cutoff) for cutoff in rows.cutoffs]
        at = leads(mine, [best], dated, rows, draws, seed, joint=False)
        ahead = all(lead.low > 0 for lead in found) and not any(lead.high < 0 for lead in at)
        behind = any(lead.high < 0 for lead in found)
        closest = next(lead for lead in found if lead.question.other == best.name)
        low, high = (closest.low, closest.high) if sign > 0 else (-closest.high, -closest.low)
        out[metric] = {
            "rung": best.name,
            "difference": sign * closest.lead,
            "low": low,
            "high": high,
            "verdict": "ahead" if ahead else "behind" if behind else "level",
            "rungs": {lead.question.other: _side(lead) for lead in found},
        }
    return out


def _side(lead: Lead) -> str:
    return "ahead" if lead.low > 0 else "behind" if lead.high < 0 else "level"


def _positive(party: Party) -> bool:
    """Whether a rung's spend has a Tweedie deviance: a prediction of 0 would cost without limit where money came."""
    return party.spend is not None and bool((party.spend > 0).all())


def _resample(statistics: Mapping[Question, Statistic], rows: Rows, draws: int, seed: int) -> dict[Question, Array]:
    """Each statistic as observed, then on each draw of customers (with all their cutoffs): (1 + draws,)."""
    random, count = np.random.default_rng(seed), int(rows.customers.max()) + 1
    size = max(1, 50_000 // len(rows.customers))  # draws at a time: the weights stay in the cache
    found = {name: [statistic(np.ones((1, len(rows.customers))))] for name, statistic in statistics.items()}
    for first in range(0, draws, size):
        some = min(size, draws - first)
        picked = random.integers(count, size=(some, count)) + count * np.arange(some)[:, None]
        times = np.bincount(picked.ravel(), minlength=some * count).reshape(some, count)
        weights = times.astype(np.float64)[:, rows.customers]
        for name, statistic in statistics.items():
            found[name].append(statistic(weights))
    return {name: np.concatenate(values) for name, values in found.items()}


def _statistic(party: Party, question: Question, rows: Rows) -> Statistic:
    """A metric as a function of row weights. Losses are pooled; rankings are made within each cutoff, then averaged."""
    at = [index for cutoff, index in rows.cutoffs.items() if question.cutoff in (None, cutoff)]
    if question.metric in LOSSES:
        index, losses = np.concatenate(at), losses_of(party, question.metric, rows)
        return lambda weights: np.asarray(weights[:, index] @ losses[index] / weights[:, index].sum(axis=1))
    parts = [_ranking(party, question.metric, rows, index) for index in at]
    return lambda weights: np.asarray(np.mean([part(weights) for part in parts], axis=0))


def losses_of(party: Party, metric: str, rows: Rows) -> Array:
    if metric == "churn_log_loss":
        assert party.churn is not None
        return metrics.log_losses(rows.churned, party.churn)
    assert party.spend is not None and rows.spend is not None
    return metrics.tweedie_deviances(rows.spend, party.spend)


def _ranking(party: Party, metric: str, rows: Rows, index: Index) -> Statistic:
    if metric == "spend_gini":
        assert party.spend is not None and rows.spend is not None
        spend = rows.spend[index]
        order, ideal = Order(party.spend[index]), Order(spend)
        return lambda weights: metrics.normalised_gini(order, ideal, spend, weights[:, index])
    assert party.churn is not None
    score, churned = Order(party.churn[index]), rows.churned[index]
    measure = metrics.auroc if metric == "churn_auroc" else metrics.average_precision
    return lambda weights: measure(score, churned, weights[:, index])
