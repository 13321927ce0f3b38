"""The recipe: from snapshots to heads, every choice made on validation origins before the test cutoff (D7, D8).

At each origin a model that learnt only labels ending by then predicts that origin's customers. The pooled predictions
choose the number of trees, whether parts of label windows that are already complete are learnt from too, the share of
the renewal model and of the two-part spend, and the calibration map. Then the chosen recipe is fitted on every label
that ends by the test cutoff, and that is what is judged.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import lightgbm as lgb
import numpy as np
import polars as pl

from churn_clv import config, features, labels, matrix, metrics, snapshots, timeline
from churn_clv.events import Log
from churn_clv.models import btyd, fit
from churn_clv.models.baseline import fit_linear
from churn_clv.models.linear import Linear
from churn_clv.models.predict import (
    PART,
    SPEND_IF_ACTIVE,
    Floats,
    Head,
    Kind,
    Pool,
    logit,
    mapped,
    part_margins,
    pooled,
    raw_margin,
    sigmoid,
    survival,
)
from churn_clv.timeline import Definitions, Plan

Say = Callable[[str], None]
Rows = np.ndarray[Any, np.dtype[np.intp]]

# Shares that validation compares: of the logistic regression and the renewal model in churn, of the two-part model in
# spend.
LINEAR_SHARES = (0.0, 0.15, 0.3, 0.45)
RENEWAL_SHARES = (0.0, 0.15, 0.3, 0.45)
TWO_PART_SHARES = (0.0, 0.5, 1.0)


@dataclass(frozen=True)
class Choice:
    """What the validation origins chose, and the pooled out-of-time predictions that it rests on.

    ``validation`` has customer_id, cutoff, churned, churn_probability, purchase_days and, with money, spend and
    expected_spend; its models knew nothing that ends after their own cutoff.
    """

    fresh: bool
    trees: dict[str, int]
    linear_share: float
    renewal_share: float
    two_part: float
    intercept: float
    slope: float
    validation: pl.DataFrame


class Workshop:
    """Snapshots, labels and boosters of one log, each made once and shared by every plan that needs it."""

    def __init__(
        self, log: Log, settings: config.Config, plans: Sequence[Plan], targets: dict[str, config.Target], say: Say,
        shipping: bool = True,
    ) -> None:  # fmt: skip
        """Build the snapshots of all plans; with ``shipping`` those that only the shipped model learns from too."""
        self.log, self.settings, self.targets = log, settings, targets
        wanted = {c for p in plans for c in (p.all_cutoffs if shipping else p.judged_cutoffs)}
        cutoffs = sorted(wanted)
        # What first appears after the earliest test cutoff shapes no feature: every plan judges the same columns.
        self.definitions: Definitions = timeline.define(
            log, settings, as_of=cutoffs[0], seen_by=min(p.test for p in plans)
        )
        self.columns = features.names(self.definitions)
        say(f"building {len(self.columns)} features at {len(cutoffs)} cutoffs")
        self.snapshots = snapshots.build(log, cutoffs, self.definitions)
        self.values = matrix.values(self.snapshots, self.columns)
        self._labelled: dict[dt.date | None, pl.DataFrame] = {}
        self._boosters: dict[tuple[Any, ...], lgb.Booster] = {}
        self._renewals: dict[dt.date, btyd.Fit | None] = {}
        self._linears: dict[tuple[Any, ...], Linear] = {}
        self._late = log.frame["known_at"].count() > 0
        self._edges = plans[0].edges

    # --- rows and labels ------------------------------------------------------------------------
    @cached_property
    def _places(self) -> dict[dt.date, tuple[int, int]]:
        """First and last-but-one row of each cutoff: the matrix is sorted by cutoff."""
        counts = self.snapshots.group_by("cutoff").agg(n=pl.len()).sort("cutoff")
        ends = counts["n"].cum_sum().to_list()
        return {c: (e - n, e) for c, n, e in zip(counts["cutoff"], counts["n"], ends, strict=True)}

    def rows(self, cutoffs: Sequence[dt.date]) -> Rows:
        """Row numbers of the snapshots at the cutoffs, in the matrix's order."""
        spans = [np.arange(*self._places[c]) for c in sorted(cutoffs) if c in self._places]
        return np.concatenate(spans) if spans else np.empty(0, dtype=np.intp)

    def labelled(self, known_by: dt.date | None = None) -> pl.DataFrame:
        """All snapshots with their labels, counting what was known by then (None: all that the log holds)."""
        key = known_by if self._late else None
        if key not in self._labelled:
            only = self.settings.model_copy(update={"targets": self.targets})
            self._labelled[key] = snapshots.with_labels(self.log, self.snapshots, only, key, self._edges)
        return self._labelled[key]

    def label(self, name: str, days: int, known_by: dt.date | None) -> Floats:
        """A label column over all snapshots, NaN where its window is not complete."""
        column = self.labelled(known_by)[labels.column(name, days)]
        return np.asarray(column.to_numpy(), dtype=np.float64)

    def table(self, cutoffs: Sequence[dt.date], known_by: dt.date | None) -> pl.DataFrame:
        """The labelled snapshots at some cutoffs."""
        return self.labelled(known_by)[self.rows(cutoffs)]

    def learning(self, cutoffs: Sequence[dt.date]) -> Rows:
        """The same for learning: a random part of them where there are more than ``models.max_snapshots``.

        Snapshots are drawn, not customers: a week apart they say nearly the same of one customer.
        """
        rows, most = self.rows(cutoffs), self.settings.models.max_snapshots
        return rows if len(rows) <= most else rows[self._lot[rows] < most / len(rows)]

    @cached_property
    def _lot(self) -> Floats:
        """A number in [0, 1) for each snapshot."""
        return np.random.default_rng(self.settings.seed).random(len(self.values))

    # --- boosters -------------------------------------------------------------------------------
    def hazard(self, plan: Plan, when: dt.date, fresh: bool, trees: int) -> lgb.Booster:
        """A booster of a purchase in each part of the horizon after none before, from labels that end by ``when``.

        With ``fresh`` a part is learnt at every cutoff whose window is complete up to that part, else only at those
        whose whole horizon is.
        """
        known_by = None if when == plan.ends else plan.test
        cutoffs = [plan.learnt_by(when, edge if fresh else None) for edge in plan.edges]
        key = ("hazard", *cutoffs, known_by if self._late else None)
        stacked, bought, before = [], [], np.zeros(len(self.values))
        if (booster := self._kept(key, trees)) is not None:
            return booster
        for part, edge in enumerate(plan.edges):
            silent = self.label("churned", edge, known_by)
            rows = self.learning(cutoffs[part])
            rows = rows[before[rows] == (1.0 if part else 0.0)]
            stacked.append(np.column_stack([self.values[rows], np.full(len(rows), float(part))]))
            bought.append(1.0 - silent[rows])
            before = silent
        values, label = np.vstack(stacked), np.concatenate(bought)
        return self._keep(key, values, label, "hazard", trees, (*self.columns, PART))

    def amount(self, plan: Plan, when: dt.date, trees: int, active_only: bool) -> tuple[lgb.Booster, float]:
        """A booster of spend, of the active only or of all, from labels that end by ``when``, and its money scale."""
        known_by = None if when == plan.ends else plan.test
        cutoffs = plan.learnt_by(when)
        rows, label = self._paying(plan, cutoffs, active_only, known_by)
        scale = fit.money_scale(label)
        key = ("amount", active_only, cutoffs, known_by if self._late else None)
        booster = self._kept(key, trees)
        if booster is None:
            booster = self._keep(key, self.values[rows], label / scale, "amount", trees, self.columns)
        return booster, scale

    def balanced(self, plan: Plan, when: dt.date, trees: int, active_only: bool) -> tuple[lgb.Booster, float, float]:
        """The same with the log factor that brings its training total out right at ``trees`` trees."""
        booster, scale = self.amount(plan, when, trees, active_only)
        known_by = None if when == plan.ends else plan.test
        rows, label = self._paying(plan, plan.learnt_by(when), active_only, known_by)
        return booster, scale, fit.balance(booster, self.values[rows], label / scale, trees)

    def _paying(
        self, plan: Plan, cutoffs: Sequence[dt.date], active_only: bool, known_by: dt.date | None
    ) -> tuple[Rows, Floats]:
        rows, horizon = self.learning(cutoffs), plan.horizon_days
        if active_only:
            rows = rows[self.label("churned", horizon, known_by)[rows] == 0]
        return rows, self.label("spend", horizon, known_by)[rows]

    def linear(self, plan: Plan, when: dt.date) -> Linear:
        """A logistic regression on the whole horizon's labels that end by ``when``."""
        known_by, cutoffs = None if when == plan.ends else plan.test, plan.learnt_by(when)
        key = (cutoffs, known_by if self._late else None)
        if key not in self._linears:
            rows = self.learning(cutoffs)
            label = self.label("churned", plan.horizon_days, known_by)[rows]
            self._linears[key] = fit_linear(self.values[rows], label)
        return self._linears[key]

    def linear_risk(self, plan: Plan, when: dt.date) -> Floats:
        """Its churn probabilities for the rows of the cutoff ``when``."""
        return sigmoid(self.linear(plan, when).margin(self.values[self.rows([when])]))

    def renewal(self, when: dt.date, horizon_days: int) -> btyd.Fit | None:
        """The BG/NBD or MBG/NBD of everyone known at a cutoff, from their history up to it; no label is learnt."""
        if when not in self._renewals:
            test = self.snapshots[self.rows([when])]
            built = features.build(timeline.Past(self.log.frame, test.select("customer_id", "cutoff")),
                                   self.definitions, btyd.TIMING)  # fmt: skip
            self._renewals[when] = btyd.fitted(self.everyone(when, btyd.TIMING), built, horizon_days)
        return self._renewals[when]

    def everyone(self, when: dt.date, columns: tuple[str, ...]) -> pl.DataFrame:
        """Some features of everyone known at a cutoff, eligible or not."""
        pairs = timeline.pairs_of(self.log.frame["customer_id"].unique(), [when])
        known = timeline.known_among(self.log.frame, pairs)
        return features.build(timeline.Past(self.log.frame, known), self.definitions, columns)

    def _kept(self, key: tuple[Any, ...], trees: int) -> lgb.Booster | None:
        found = self._boosters.get(key)
        return found if found is not None and found.num_trees() >= trees else None

    def _keep(
        self, key: tuple[Any, ...], values: Floats, label: Floats, kind: Kind, trees: int, columns: Sequence[str]
    ) -> lgb.Booster:
        settings = self.settings.models
        own = settings.churn if kind == "hazard" else settings.spend
        found = fit.booster(values, label, columns, kind, trees, own, self.settings.seed, settings.threads)
        self._boosters[key] = found
        return found


def choose(shop: Workshop, plan: Plan) -> Choice:
    """Let the validation origins choose: trees, fresh parts, shares and the map."""
    rows = shop.rows(plan.origins)
    horizon = plan.horizon_days
    churned = shop.label("churned", horizon, plan.test)[rows]
    origin = np.repeat(np.arange(len(plan.origins)), [len(shop.rows([o])) for o in plan.origins])
    fresh, trees, risk = _choose_hazard(shop, plan, churned)
    shares, risk = _choose_pool(shop, plan, risk, churned, origin)
    intercept, slope = fit.shrunk_map(logit(risk), churned, origin, independent(plan.origins, horizon))
    risk = mapped(risk, intercept, slope)
    table = shop.snapshots[rows].select("customer_id", "cutoff", "purchase_days" if "purchase_days" in shop.columns
                                        else pl.lit(None, dtype=pl.Float64).alias("purchase_days"))  # fmt: skip
    table = table.with_columns(churned=pl.Series(churned), churn_probability=pl.Series(risk))
    counts, two_part = {"churned": trees}, 0.0
    if "spend" in shop.targets:
        spend = shop.label("spend", horizon, plan.test)[rows]
        own, two_part, money = _choose_amount(shop, plan, risk, spend)
        counts |= own
        table = table.with_columns(spend=pl.Series(spend), expected_spend=pl.Series(money))
    return Choice(fresh, counts, *shares, two_part, intercept, slope, table)


def heads(shop: Workshop, plan: Plan, chosen: Choice, when: dt.date) -> tuple[Head, ...]:
    """The chosen recipe fitted on every label that ends by ``when``: the test cutoff to be judged, the end to ship."""
    horizon = plan.horizon_days
    churn = _cut(shop.hazard(plan, when, chosen.fresh, chosen.trees["churned"]), chosen.trees["churned"])
    pool = _pool(shop, plan, chosen, when)
    out = [Head("churned", horizon, "hazard", churn, chosen.intercept, chosen.slope, edges=plan.edges, pool=pool)]
    for name, share in (("spend", 1 - chosen.two_part), (SPEND_IF_ACTIVE, chosen.two_part)):
        if "spend" in shop.targets and share > 0:
            trees = chosen.trees[name]
            booster, scale, level = shop.balanced(plan, when, trees, active_only=name == SPEND_IF_ACTIVE)
            out.append(Head(name, horizon, "amount", _cut(booster, trees), level, 1.0, scale, weight=share))
    return tuple(out)


def independent(cutoffs: Sequence[dt.date], horizon_days: int) -> int:
    """How many cutoffs can be picked so that no two label windows overlap."""
    last, count = None, 0
    for date in sorted(cutoffs):
        if last is None or (date - last).days >= horizon_days:
            last, count = date, count + 1
    return count


def _cut(booster: lgb.Booster, trees: int) -> lgb.Booster:
    """The booster's first trees as a booster of its own."""
    if booster.num_trees() == trees:
        return booster
    return lgb.Booster(model_str=booster.model_to_string(num_iteration=trees))


def _pool(shop: Workshop, plan: Plan, chosen: Choice, when: dt.date) -> Pool | None:
    """The other models that have a share in churn, learnt by ``when``; None where none has."""
    if not chosen.linear_share and not chosen.renewal_share:
        return None
    # What ships keeps the renewal model of the test cutoff: it learns no label, and months hardly move it.
    found = shop.renewal(min(when, plan.test), plan.horizon_days) if chosen.renewal_share else None
    linear = shop.linear(plan, when) if chosen.linear_share else None
    return Pool(btyd.renewal(found) if found else None, chosen.renewal_share if found else 0.0,
                linear, chosen.linear_share)  # fmt: skip


def _choose_hazard(shop: Workshop, plan: Plan, churned: Floats) -> tuple[bool, int, Floats]:
    """Fresh or not, the number of trees, and the pooled churn probabilities of the origins' rows."""
    own = shop.settings.models.churn
    candidates = []
    for fresh in (False, True) if len(plan.edges) > 1 else (False,):
        boosters = [shop.hazard(plan, o, fresh, own.max_rounds) for o in plan.origins]
        for trees in fit.tree_counts(own):
            curves = [
                survival(part_margins(b, shop.values[shop.rows([o])], len(plan.edges), trees))[-1]
                for b, o in zip(boosters, plan.origins, strict=True)
            ]
            risk = np.concatenate(curves)
            candidates.append((float(metrics.log_losses(churned, risk).mean()), fresh, trees, risk))
    _, fresh, trees, risk = min(candidates, key=lambda c: c[0])
    return fresh, trees, risk


def _choose_pool(
    shop: Workshop, plan: Plan, risk: Floats, churned: Floats, origin: Rows
) -> tuple[tuple[float, float], Floats]:
    """The shares of the logistic regression and of the renewal model, and the probabilities with them.

    A share is given only where it lowers the log loss at every origin, each probability first mapped within its origin:
    else a model would win by erring to the other side of a level that drifts.
    """
    said = np.concatenate([shop.linear_risk(plan, o) for o in plan.origins])
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

    trees, money = {}, {}
    for name, factor in (("spend", np.ones_like(risk)), (SPEND_IF_ACTIVE, 1 - risk)):
        active_only = name == SPEND_IF_ACTIVE
        stages = {n: loss(factor * _pooled_amount(shop, plan, n, active_only, False))
                  for n in fit.tree_counts(shop.settings.models.spend)}  # fmt: skip
        trees[name] = min(stages, key=lambda n: stages[n])
        money[name] = factor * _pooled_amount(shop, plan, trees[name], active_only, True)
    mixed = {s: (1 - s) * money["spend"] + s * money[SPEND_IF_ACTIVE] for s in TWO_PART_SHARES}
    share = min(mixed, key=lambda s: loss(mixed[s]))
    return trees, share, mixed[share]


def _pooled_amount(shop: Workshop, plan: Plan, trees: int, active_only: bool, balanced: bool) -> Floats:
    """Expected spend of the origins' rows; ``balanced``: with the total right on what was learnt from (slower)."""
    out, most = [], shop.settings.models.spend.max_rounds
    for origin in plan.origins:
        booster, scale = shop.amount(plan, origin, most, active_only)
        level = shop.balanced(plan, origin, trees, active_only)[2] if balanced else 0.0
        out.append(scale * np.exp(level + raw_margin(booster, shop.values[shop.rows([origin])], trees)))
    return np.concatenate(out)


__all__ = ["Choice", "Say", "Workshop", "choose", "heads", "independent"]
