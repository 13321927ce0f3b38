"""Simulated customers who respond to actions: takers among the stayers, some driven away, more saved in some groups.

The response law is ours alone: nothing in ``src`` knows it. Histories, risks and money are the simulator's, where the
best that can be known of each customer from the history is closed form (``Simulated.truth``); what would have come
without an action is what the simulated log holds.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
from typing import Any

import lightgbm as lgb
import numpy as np
import polars as pl
import sim

from churn_clv import actions, events, labels, playbook, scoring, timeline, training
from churn_clv.actions import HOLDOUT, NOBODY, TREATED
from churn_clv.simulate import simulate

MARGIN, HORIZON, KEY = 0.3, 28, b"0123456789abcdef0123456789abcdef"
GROUPS = ("low", "medium", "high")  # reliability: one order, two or three, four or more
# By action and group: (saved of would-be lapsers, takers among would-be stayers, driven away among them).
LAW = {
    "reminder": {"low": (0.00, 0.0, 0.000), "medium": (0.03, 0.0, 0.010), "high": (0.08, 0.0, 0.002)},
    "coupon": {"low": (0.05, 0.9, 0.000), "medium": (0.15, 0.6, 0.010), "high": (0.30, 0.4, 0.020)},
}  # fmt: skip
# What somebody believed before any experiment.
ASSUMED: dict[str, Any] = {
    "actions": {
        "reminder": {"channel": "email", "contact": 0.05, "offer": 0, "take_rate": 0, "save_rate": 0.04,
                     "driven_away": 0.002},
        "coupon": {"channel": "email", "contact": 0.05, "offer": 1.0, "take_rate": 0.7, "save_rate": 0.12,
                   "driven_away": 0.005},
    },
    "playbook": {"everyone": {"actions": ["reminder", "coupon"]}},
    "holdout": {"share": 0.2, "universal": 0.02},
    "measure": {"segment": "reliability", "takes": ["take"]},
}  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Moment:
    """One cutoff: ``scores`` of the eligible with what is true of each (``p_churn_bayes``, ``spend_bayes``) and what
    came without an action (``lapsed``, ``spend``)."""

    scores: pl.DataFrame
    log: pl.DataFrame


def moments(customers: int, seed: int, count: int = 4) -> list[Moment]:
    """Cutoffs one horizon apart, scored by one model that was trained on the log before the first."""
    own = sim.settings(simulate={"customers": customers, "days": 546})
    made = simulate(own.simulate, seed)
    log = events.from_frame(made.log, events.rules_of(own.events), made.ends)
    cutoffs = [made.ends - dt.timedelta(days=HORIZON * (count - k)) for k in range(count)]
    bundle = training.train(timeline.until(log, cutoffs[0]), own).bundle
    out = []
    for cutoff in cutoffs:
        seen = timeline.until(log, cutoff)
        scores = scoring.score(bundle, seen, cutoff).filter("eligible")
        truth = made.truth(cutoff, HORIZON).drop("cutoff")
        both = scores.join(truth, on="customer_id", how="left", maintain_order="left")
        core = {name: own.targets[name] for name in ("churned", "spend")}
        came = labels.build(
            log.frame, both.select("customer_id", "cutoff"), core, HORIZON, minor_units=2, ends=log.ends
        )
        out.append(Moment(both.with_columns(lapsed=came["churned_28d"], spend=came["spend_28d"]), seen.frame))
    return out


def read_through_noise(customers: int, seed: int, times: int = 1, noise: float = 0.6, count: int = 4) -> list[Moment]:
    """The same without a trained model: a reader sees the truth through noise and has learnt at an earlier cutoff.

    Each customer stands ``times`` times, every copy read and living on its own: what comes without an action is drawn
    from the truth given the history, so that large campaigns cost little.
    """
    own = sim.settings(simulate={"customers": customers, "days": 546})
    made = simulate(own.simulate, seed)
    log = events.from_frame(made.log, events.rules_of(own.events), made.ends)
    cutoffs = [made.ends - dt.timedelta(days=HORIZON * (count - k)) for k in range(-1, count)]
    draw = np.random.default_rng([seed, 1])
    earlier, *seen = [_read(made.truth(c, HORIZON), log, c, draw, noise, times) for c in cutoffs]
    inputs = ["seen_p", "seen_v"]
    models = [
        _learner(earlier.select(inputs).to_numpy(), earlier[name].to_numpy()) for name in ("p_churn_bayes", "active")
    ]
    out = []
    for frame in seen:
        p, money = (m.predict(frame.select(inputs).to_numpy(), num_threads=1) for m in models)
        p, money, n = np.clip(p, 0.001, 0.999), np.maximum(money, 0.1), frame.height
        lapsed = draw.random(n) < frame["p_churn_bayes"].to_numpy()
        spend = np.where(lapsed, 0.0, draw.gamma(2.0, np.maximum(frame["active"].to_numpy(), 0.01) / 2))
        scores = frame.with_columns(
            churn_probability=pl.Series(p), expected_spend=pl.Series((1 - p) * money), eligible=pl.lit(True),
            reason=pl.lit(None, pl.String), horizon_days=pl.lit(HORIZON), lapsed=pl.Series(lapsed.astype(float)),
            spend=pl.Series(spend),
        )  # fmt: skip
        out.append(Moment(scores, log.frame.clear()))
    return out


def _read(
    truth: pl.DataFrame, log: events.Log, cutoff: dt.date, draw: np.random.Generator, noise: float, times: int
) -> pl.DataFrame:
    """Buyers of the last 84 days, with what is seen of their risk and money."""
    day = pl.col("time").dt.date()
    past = timeline.until(log, cutoff).frame.filter(pl.col("event_type") == "purchase")
    bought = past.group_by("customer_id").agg(n=day.n_unique(), last=day.max())
    own = truth.join(bought, on="customer_id").filter((pl.lit(cutoff) - pl.col("last")).dt.total_days() <= 84)
    own = own.filter(pl.col("p_churn_bayes") < 0.999).sort("customer_id")
    copies = [own.with_columns(customer_id=pl.format("{}-{}", "customer_id", pl.lit(k))) for k in range(times)]
    own = pl.concat(copies).with_columns(active=(pl.col("spend_bayes") / (1 - pl.col("p_churn_bayes"))).clip(0.01))
    p = own["p_churn_bayes"].to_numpy()
    return own.with_columns(
        seen_p=pl.Series(np.log(p / (1 - p)) + draw.normal(0, noise, len(p))),
        seen_v=pl.Series(np.log(own["active"].to_numpy()) + draw.normal(0, noise / 2, len(p))),
        reliability=pl.when(pl.col("n") == 1).then(pl.lit("low")).when(pl.col("n") < 4).then(pl.lit("medium"))
        .otherwise(pl.lit("high")),
    )  # fmt: skip


def _learner(seen: np.ndarray, true: np.ndarray) -> lgb.Booster:
    settings = {"objective": "regression", "num_leaves": 15, "min_data_in_leaf": 50, "learning_rate": 0.1,
                "verbose": -1, "num_threads": 1, "deterministic": True, "seed": 1}  # fmt: skip
    return lgb.train(settings, lgb.Dataset(seen, true), num_boost_round=80)


def true_terms(scores: pl.DataFrame, document: playbook.Actions) -> playbook.Terms:
    """The terms of one who knows the law and reads the history as well as can be."""
    p = scores["p_churn_bayes"].to_numpy()
    worth = playbook.value_of(np.maximum(scores["spend_bayes"].to_numpy(), 0.0), p, MARGIN)
    shape = (len(p), len(document.actions))
    law = np.array([[LAW[a][g] for a in document.actions] for g in scores["reliability"]])
    own = list(document.actions.values())
    return playbook.Terms(
        np.broadcast_to(p[:, None], shape), np.broadcast_to(np.nan_to_num(worth)[:, None], shape), law[..., 0],
        law[..., 1], law[..., 2], np.broadcast_to([a.offer or 0.0 for a in own], shape).astype(float),
        np.broadcast_to([a.contact for a in own], shape).astype(float),
    )  # fmt: skip


def worth(choice: np.ndarray, terms: playbook.Terms) -> float:
    """The true expected profit of giving each customer this action (NOBODY: none)."""
    rows = np.flatnonzero(choice != NOBODY)
    return float(terms.profit()[rows, choice[rows]].sum())


def best(terms: playbook.Terms) -> np.ndarray:
    """The best policy that knows the terms."""
    profit = terms.profit()
    return np.where(profit.max(axis=1) > 0, profit.argmax(axis=1), NOBODY)


def chosen(frame: pl.DataFrame, document: playbook.Actions) -> np.ndarray:
    """A plan's choice as numbers, the held out with what they were selected for."""
    return (
        frame["action"].replace_strict(list(document.actions), range(len(document.actions)), default=NOBODY).to_numpy()
    )


def planned(document: playbook.Actions, moment: Moment, name: str) -> actions.Plan:
    return actions.make(
        document, actions.Situation(moment.scores, moment.log, pl.DataFrame(schema=actions.CONTACTS), KEY, name, MARGIN)
    )


def carried_out(plan: actions.Plan, moment: Moment, name: str, draw: np.random.Generator) -> pl.DataFrame:
    """What came of a campaign: its rows with lapsed, margin, took, as ``actions.outcomes`` reads them from a log."""
    own = plan.frame.hstack(moment.scores.select("reliability", "lapsed", "spend", "p_churn_bayes", "spend_bayes"))
    own = own.filter(pl.col("arm").is_not_null())
    law = np.array([LAW[a][g] for a, g in own.select("action", "reliability").iter_rows()])
    treated = (own["arm"] == TREATED).to_numpy()
    lapser = own["lapsed"].to_numpy() > 0
    luck = draw.random(len(law))
    saved = treated & lapser & (luck < law[:, 0])
    away = treated & ~lapser & (luck < law[:, 2])
    took = saved | (treated & ~lapser & ~away & (draw.random(len(law)) < law[:, 1]))
    mean = own["spend_bayes"].to_numpy() / np.maximum(1 - own["p_churn_bayes"].to_numpy(), 1e-9)
    spend = np.where(saved, draw.gamma(2.0, np.maximum(mean, 0.01) / 2), np.where(away, 0.0, own["spend"].to_numpy()))
    cap = plan.document["winsor_cap"]
    return own.with_columns(
        lapsed=pl.Series(((lapser & ~saved) | away).astype(float)),
        margin=pl.Series(np.minimum(MARGIN * spend, cap)),
        took=pl.Series((took & (own["offer"].to_numpy() > 0)).astype(float)),
        campaign=pl.lit(name),
    )


def learnt(document: dict[str, Any], rows: list[pl.DataFrame]) -> playbook.Actions:
    """The document with what these campaigns measured on top."""
    import yaml

    base = playbook.actions_of(document)
    rates = actions.measured_rates(base, pl.concat(rows))
    over = yaml.safe_load(actions.overlay(base, rates)) or {"actions": {}}
    merged = {name: own | over["actions"].get(name, {}) for name, own in document["actions"].items()}
    return playbook.actions_of(document | {"actions": merged})


def paid(rows: pl.DataFrame) -> float:
    """The treated's margin gained against the holdout less what they cost: what one would write down."""
    t, h = rows.filter(arm=TREATED), rows.filter(arm=HOLDOUT)
    cost = (t["contact"] + t["offer"] * t["took"]).sum()
    return t.height * (float(t["margin"].mean()) - float(h["margin"].mean())) - cost  # type: ignore[arg-type]
