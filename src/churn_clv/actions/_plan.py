"""Who gets which action: expected profit of each by D28, contact policy, holdouts, budget and capacity."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from churn_clv.actions import _contact
from churn_clv.actions._draw import UNIVERSAL, held_out
from churn_clv.actions._solve import NOBODY, Solution, solve
from churn_clv.actions._telling import ALL, HOLDOUT, TREATED, document_of, gaps
from churn_clv.errors import UserError
from churn_clv.playbook import Actions, Bools, Floats, Terms, model_of, offered, rates_of, source, terms_of

NO_RULE, NO_PROFIT, LIMITS, NO_PREDICTION = (
    "no rule or not eligible",
    "no action pays",
    "budget or capacity",
    "no prediction",
)
NEEDED = ("customer_id", "cutoff", "eligible", "reason", "churn_probability", "expected_spend", "horizon_days")


@dataclass(frozen=True)
class Situation:
    """What a plan is made from. ``scores``: a scoring's columns, one cutoff. ``log``: the log's frame. ``sent``: other
    campaigns' contacts (``_contact.CONTACTS``). ``key`` draws the holdouts. ``margin``: margin per unit of spend of
    those whose own is not known."""

    scores: pl.DataFrame
    log: pl.DataFrame
    sent: pl.DataFrame
    key: bytes
    campaign: str
    margin: float

    @property
    def cutoff(self) -> dt.date:
        """The day of the plan."""
        day: dt.date = self.scores["cutoff"][0]
        return day


@dataclass(frozen=True)
class Plan:
    """``frame``: a row per known customer, columns as ``docs/actions.md`` lists them; ``document``: what to say."""

    frame: pl.DataFrame
    document: dict[str, Any]


def make(actions: Actions, situation: Situation) -> Plan:
    """The plan of a campaign. Raises UserError where the scores lack what it needs."""
    scores = _checked(situation.scores)
    terms = terms_of(actions, scores, situation.margin)
    allowed, rules, notes = offered(actions, scores)
    known = np.isfinite(terms.profit())
    barred = _barred(actions, situation, scores)
    free = allowed & known
    for who in barred.values():
        free = free & ~who
    profit = np.where(free, terms.profit(), -np.inf)
    use, limit = _limits(actions, terms)
    found = solve(profit, use, limit)
    arms = _arms(actions, situation, scores, found)
    why = _why(scores, allowed, known, barred, profit, found)
    frame = _frame(actions, scores, terms, profit, found, rules, situation.margin).with_columns(arm=arms, why_not=why)
    notes += _contact.notes(actions.policy, sorted(situation.log["event_type"].unique()))
    document = document_of(actions, situation, frame, terms, profit, found, barred)
    return Plan(frame, document | {"notes": notes + gaps(actions, document, allowed, scores)})


def _checked(scores: pl.DataFrame) -> pl.DataFrame:
    if missing := [name for name in NEEDED if name not in scores.columns]:
        raise UserError(
            f"the scores lack {', '.join(missing)}. Train with the targets churned and spend, then score again."
        )
    return scores


def _barred(actions: Actions, situation: Situation, scores: pl.DataFrame) -> dict[str, Bools]:
    """By rule, whom it bars from which action, (customers, actions); first the universal holdout."""
    ids, own = scores["customer_id"], list(actions.actions.values())
    apart = held_out(ids, actions.holdout.universal, situation.key, UNIVERSAL)
    channels = [a.channel for a in own]
    rules = _contact.blocked(actions.policy, ids, channels, situation.log, situation.sent, situation.cutoff)
    return {UNIVERSAL: np.repeat(apart[:, None], len(own), axis=1)} | rules


def _limits(actions: Actions, terms: Terms) -> tuple[Floats, Floats]:
    """What each choice uses of budget, capacity, channels and actions; how much there is of each."""
    own = list(actions.actions.values())
    one = np.ones_like(terms.lapse)
    rows: list[tuple[Floats, float]] = []
    if actions.budget is not None:
        rows.append((np.nan_to_num(terms.cost()), actions.budget))
    if actions.capacity is not None:
        rows.append((one, actions.capacity))
    for channel, most in actions.channels.items():
        rows.append((one * np.array([a.channel == channel for a in own]), most))
    for place, action in enumerate(own):
        if action.capacity is not None:
            rows.append((one * (np.arange(len(own)) == place), action.capacity))
    shape = (0, *terms.lapse.shape)
    return np.stack([u for u, _ in rows]) if rows else np.zeros(shape), np.array([float(m) for _, m in rows])


def _arms(actions: Actions, situation: Situation, scores: pl.DataFrame, found: Solution) -> pl.Series:
    """Of those selected, who is left alone to measure by; null for all others."""
    held = held_out(scores["customer_id"], actions.holdout.share, situation.key, situation.campaign)
    arms = np.where(held, HOLDOUT, TREATED)
    return pl.Series("arm", np.where(found.choice == NOBODY, "", arms), dtype=pl.String).replace("", None)


def _why(
    scores: pl.DataFrame, allowed: Bools, known: Bools, barred: dict[str, Bools], profit: Floats, found: Solution
) -> pl.Series:
    """The first reason why a customer gets nothing; null for the selected."""
    why = np.full(scores.height, "", dtype=object)

    def mark(rows: Any, reason: str) -> None:
        why[rows & (why == "") & (found.choice == NOBODY)] = reason

    mark(barred[UNIVERSAL].all(axis=1), UNIVERSAL)
    for reason in sorted(set(scores["reason"].drop_nulls())):
        mark(
            ~known.any(axis=1) & (scores["reason"] == reason).fill_null(False).to_numpy(), f"{NO_PREDICTION}: {reason}"
        )
    mark(~known.any(axis=1), NO_PREDICTION)
    mark(~(allowed & known).any(axis=1), NO_RULE)
    left = allowed & known
    for rule, who in barred.items():
        left = left & ~who
        mark(~left.any(axis=1), rule)
    mark(~(profit > 0).any(axis=1), NO_PROFIT)
    mark(np.ones(len(why), dtype=bool), LIMITS)
    return pl.Series("why_not", why, dtype=pl.String).replace("", None)


def _frame(
    actions: Actions, scores: pl.DataFrame, terms: Terms, profit: Floats, found: Solution, rules: pl.Series,
    margin: float,
) -> pl.DataFrame:  # fmt: skip
    names, n = list(actions.actions), scores.height
    rows = np.arange(n)
    best = profit.argmax(axis=1) if n else np.zeros(0, dtype=np.int64)
    pays = profit[rows, best] > 0
    chosen = found.choice != NOBODY
    # the numbers of the chosen action, else of the best that was allowed
    place = np.where(chosen, found.choice, best)
    told = chosen | np.isfinite(profit[rows, best])

    def of(values: Floats) -> pl.Series:
        return pl.Series(np.where(told, values[rows, place], np.nan), dtype=pl.Float64).fill_nan(None)

    def named(which: Any, where: Bools) -> pl.Series:
        return pl.Series([names[w] if ok else None for w, ok in zip(which, where, strict=True)], dtype=pl.String)

    # where nothing may be done, the model's own numbers
    lapse = pl.Series(np.where(told, terms.lapse[rows, place], model_of(scores, "churn_probability"))).fill_nan(None)
    value = pl.Series(np.where(told, terms.value[rows, place], terms.value[:, 0])).fill_nan(None)
    segment = actions.measure.segment
    return scores.select("customer_id", "cutoff", "churn_probability").with_columns(
        action=named(found.choice, chosen),
        channel=pl.Series([actions.actions[names[w]].channel if ok else None
                           for w, ok in zip(found.choice, chosen, strict=True)], dtype=pl.String),
        arm=pl.lit(None, pl.String), why_not=pl.lit(None, pl.String), rule=rules,
        segment=scores[segment].cast(pl.String) if segment in scores.columns else pl.lit(ALL),
        margin_rate=pl.Series(rates_of(actions, scores, margin)),
        lapse=lapse, value=value, value_at_risk=lapse * value, value_kept=of(terms.kept()),
        expected_profit=of(terms.profit()), expected_cost=of(terms.cost()), save_rate=of(terms.save),
        take_rate=of(terms.take), driven_away=of(terms.away), offer=of(terms.offer), contact=of(terms.contact),
        rates=pl.Series([source(actions, names[w]) if ok else None for w, ok in zip(place, told, strict=True)],
                        dtype=pl.String),
        break_even_save_rate=of(terms.break_even()), best_action=named(best, pays),
        **{f"profit_{name}": pl.Series(terms.profit()[:, k]).fill_nan(None) for k, name in enumerate(names)},
    )  # fmt: skip
