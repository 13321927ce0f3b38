"""What every plan of a log shares: snapshots, labels, and the models learnt from them, each made once."""

from __future__ import annotations

import copy
import datetime as dt
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import lightgbm as lgb
import numpy as np
import polars as pl

from churn_clv import config, features, labels, matrix, snapshots, timeline
from churn_clv.events import Log
from churn_clv.models import btyd, fit
from churn_clv.models.baseline import CS, best_c, fit_linear
from churn_clv.models.linear import Linear
from churn_clv.models.predict import PART, Floats, Kind, averaged, by_part, sigmoid, survival
from churn_clv.models.priced import OrderValue
from churn_clv.models.renewal import COUNT
from churn_clv.timeline import Definitions, Plan

Say = Callable[[str], None]
ORDERS = config.Target(events=config.Predicate(is_in=("purchase",)), measure="count")
Rows = np.ndarray[Any, np.dtype[np.intp]]
# The boosters of a lesson: of the horizon's parts, of the whole of it, of everyone's spend, of the active ones' spend.
What = Literal["hazard", "whole", "amount", "active"]
MONEY: tuple[What, ...] = ("amount", "active")


@dataclass(frozen=True)
class Lesson:
    """Which labels a model learns: those of a plan that end by ``when``.

    With ``fresh`` a part of the horizon is learnt at every cutoff whose window is complete up to that part, else only
    at those whose whole horizon is.
    """

    plan: Plan
    when: dt.date
    fresh: bool = False

    @property
    def known_by(self) -> dt.date | None:
        """What labels may count: what was known by the test cutoff, or all when everything is learnt to ship."""
        return None if self.when == self.plan.ends else self.plan.test

    def cutoffs(self, edge: int | None = None) -> tuple[dt.date, ...]:
        """The cutoffs learnt at: for the whole horizon, or for its part that ends after ``edge`` days."""
        return self.plan.learnt_by(self.when, edge if self.fresh else None)


class Workshop:
    """Snapshots, labels and boosters of one log, each made once and shared by every plan that needs it."""

    def __init__(
        self, log: Log, settings: config.Config, plans: Sequence[Plan], targets: dict[str, config.Target], say: Say,
        shipping: bool = True, others: Sequence[Plan] = (),
    ) -> None:  # fmt: skip
        """Build the snapshots of all plans; with ``shipping`` those that only the shipped model learns from too.

        ``others`` are plans of which only the definitions must know nothing either: those of the other targets.
        """
        self.log, self.settings, self.targets = log, settings, targets
        wanted = {c for p in plans for c in (p.all_cutoffs if shipping else p.judged_cutoffs)}
        cutoffs = sorted(wanted)
        # What first appears after the earliest test cutoff shapes no feature: every plan judges the same columns.
        self.definitions: Definitions = timeline.define(
            log,
            settings,
            as_of=min([cutoffs[0], *(p.judged_cutoffs[0] for p in others)]),
            known_by=min(p.test for p in (*plans, *others)),
        )
        self.columns = features.core(self.definitions)
        self.family_of = features.family_of(self.definitions)
        say(f"building {len(self.columns)} features at {len(cutoffs)} cutoffs")
        built = snapshots.build(log, cutoffs, self.definitions)
        self.snapshots = snapshots.untreated(log, built, settings.timeline.horizon_days)
        self.treated = built.height - self.snapshots.height
        if self.treated:
            say(f"left out {self.treated:,} of {built.height:,} snapshots: a campaign reached them in the label window")
        self.values = matrix.values(self.snapshots, self.columns)
        self._labelled: dict[dt.date | None, pl.DataFrame] = {}
        self._boosters: dict[tuple[Any, ...], lgb.Booster] = {}
        self._scales: dict[tuple[Any, ...], float] = {}
        self._levels: dict[tuple[Any, ...], float] = {}
        self._renewals: dict[dt.date, btyd.Fit | None] = {}
        self._values: dict[dt.date, OrderValue | None] = {}
        self._linears: dict[tuple[Any, ...], Linear] = {}
        self._late = log.frame["known_at"].count() > 0
        self._edges = plans[0].edges

    def under(self, settings: config.Config) -> Workshop:
        """The same snapshots and labels, to learn under other ``models``; what learns without boosters is shared."""
        other = copy.copy(self)
        other.settings, other._boosters, other._scales, other._levels = settings, {}, {}, {}
        return other

    def beside(self, jobs: int) -> Workshop:
        """The same workshop, and what it keeps, to learn ``jobs`` models at once: each has its share of the threads.

        No number depends on them. LightGBM keeps one number of threads for a whole process, so all models that are
        learnt at once ask for the same.
        """
        models = self.settings.models
        own = models.model_copy(update={"threads": max(1, models.threads // jobs)})
        other = copy.copy(self)
        other.settings = self.settings.model_copy(update={"models": own})
        return other

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
    def hazard(self, lesson: Lesson, trees: int) -> lgb.Booster:
        """A booster of a purchase in each part of the horizon after none before."""
        return self._learnt("hazard", lesson, trees)

    def whole(self, lesson: Lesson, trees: int) -> lgb.Booster:
        """A booster of no purchase in the whole horizon."""
        return self._learnt("whole", lesson, trees)

    def risks(self, lesson: Lesson, most: int, stages: Sequence[int]) -> Floats:
        """P(no purchase in the horizon) of the customers at ``lesson.when``: the mean of both boosters.

        Of boosters of ``most`` trees the first k are asked, for each k of ``stages``, rising; (stages, rows).
        """
        values, parts = self.values[self.rows([lesson.when])], len(lesson.plan.edges)
        margins = fit.staged_margins(self.hazard(lesson, most), by_part(values, parts), stages)
        whole = fit.staged_margins(self.whole(lesson, most), values, stages)
        return np.stack([averaged(survival(own.reshape(parts, len(values)))[-1], other)
                         for own, other in zip(margins, whole, strict=True)])  # fmt: skip

    def amount(self, lesson: Lesson, trees: int, active_only: bool) -> tuple[lgb.Booster, float]:
        """A booster of spend, of the active only or of all, and its money scale."""
        what: What = "active" if active_only else "amount"
        return self._learnt(what, lesson, trees), self._scales[self._key(what, lesson)]

    def balanced(self, lesson: Lesson, trees: int, active_only: bool) -> tuple[lgb.Booster, float, float]:
        """Its first ``trees`` trees, with the log factor that brings their training total out right."""
        booster, scale = self.amount(lesson, trees, active_only)
        booster = fit.cut(booster, trees)
        what: What = "active" if active_only else "amount"
        key = (*self._key(what, lesson), trees)
        if key not in self._levels:
            (rows,), label = self._taught(what, lesson)
            self._levels[key] = fit.balance(booster, self.values[rows], label / scale)
        return booster, scale, self._levels[key]

    def learn(self, what: What, lesson: Lesson, trees: int, binned: lgb.Dataset | None = None) -> lgb.Dataset | None:
        """Keep a booster of ``trees`` trees or more; the binned rows, for others that learn from them (``rows_of``).

        ``binned`` are those that another gave; None where nothing had to be learnt.
        """
        key = self._key(what, lesson)
        if (found := self._boosters.get(key)) is not None and found.num_trees() >= trees:
            return binned
        money, (rows, label), models = what in MONEY, self._taught(what, lesson), self.settings.models
        columns = (*self.columns, PART) if what == "hazard" else self.columns
        if money:
            self._scales[key] = scale = fit.money_scale(label)
            label = label / scale
        if binned is None:
            values = self._stacked(rows) if what == "hazard" else self.values[rows[0]]
            binned = fit.binned(values, label, columns, self.settings.seed, models.threads)
        kind: Kind = "amount" if money else "hazard"
        own = models.spend if money else models.churn
        self._boosters[key] = fit.learnt(binned, label, columns, kind, trees, own, self.settings.seed, models.threads,
                                         self.family_of)  # fmt: skip
        return binned

    def rows_of(self, what: What, lesson: Lesson) -> tuple[Any, ...]:
        """What is equal where boosters, of this workshop or of those ``under`` other models, learn from equal rows."""
        return (id(self.values), self.settings.seed, *self._key("whole" if what == "amount" else what, lesson))

    def _learnt(self, what: What, lesson: Lesson, trees: int) -> lgb.Booster:
        self.learn(what, lesson, trees)
        return self._boosters[self._key(what, lesson)]

    def _key(self, what: What, lesson: Lesson) -> tuple[Any, ...]:
        edges = lesson.plan.edges if what == "hazard" else (None,)
        return (what, *(lesson.cutoffs(edge) for edge in edges), self._version(lesson))

    def _taught(self, what: What, lesson: Lesson) -> tuple[list[Rows], Floats]:
        """The rows learnt from, of a hazard those of each part of the horizon, and their labels end to end."""
        if what == "hazard":
            return self._parts(lesson)
        rows, horizon = self.learning(lesson.cutoffs()), lesson.plan.horizon_days
        churned = self.label("churned", horizon, lesson.known_by)
        if what == "whole":
            return [rows], churned[rows]
        rows = rows[churned[rows] == 0] if what == "active" else rows
        return [rows], self.label("spend", horizon, lesson.known_by)[rows]

    def _parts(self, lesson: Lesson) -> tuple[list[Rows], Floats]:
        """Who had bought nothing before each part of the horizon, and whether they bought in it."""
        learnt, bought, before = [], [], np.zeros(len(self.values))
        for part, edge in enumerate(lesson.plan.edges):
            silent = self.label("churned", edge, lesson.known_by)
            rows = self.learning(lesson.cutoffs(edge))
            learnt.append(rows[before[rows] == (1.0 if part else 0.0)])
            bought.append(1.0 - silent[learnt[-1]])
            before = silent
        return learnt, np.concatenate(bought)

    def _stacked(self, rows: Sequence[Rows]) -> Floats:
        return np.vstack([np.column_stack([self.values[r], np.full(len(r), float(p))]) for p, r in enumerate(rows)])

    def linear(self, lesson: Lesson, c: float) -> Linear:
        """A logistic regression on the whole horizon's labels, with ridge penalty 1 / ``c``."""
        cutoffs = lesson.cutoffs()
        key = (c, cutoffs, self._version(lesson))
        if key not in self._linears:
            rows = self.learning(cutoffs)
            label = self.label("churned", lesson.plan.horizon_days, lesson.known_by)[rows]
            self._linears[key] = fit_linear(self.values[rows], label, c)
        return self._linears[key]

    def linear_risk(self, lesson: Lesson, c: float) -> Floats:
        """Its churn probabilities for the customers at ``lesson.when``."""
        return sigmoid(self.linear(lesson, c).margin(self.values[self.rows([lesson.when])]))

    def linear_c(self, plan: Plan) -> float:
        """The C whose regressions say best what came after the plan's validation origins."""
        churned = self.label("churned", plan.horizon_days, plan.test)[self.rows(plan.origins)]
        lessons = [Lesson(plan, o) for o in plan.origins]
        return best_c({c: np.concatenate([self.linear_risk(lesson, c) for lesson in lessons]) for c in CS}, churned)

    def renewal(self, when: dt.date, horizon_days: int) -> btyd.Fit | None:
        """The BG/NBD or MBG/NBD of everyone known at a cutoff, from their history up to it; no label is learnt."""
        if when not in self._renewals:
            test = self.snapshots[self.rows([when])]
            built = features.build(timeline.Past(self.log.frame, test.select("customer_id", "cutoff")),
                                   self.definitions, btyd.TIMING)  # fmt: skip
            self._renewals[when] = btyd.fitted(self.everyone(when, btyd.TIMING), built, horizon_days)
        return self._renewals[when]

    def order_value(self, when: dt.date) -> OrderValue | None:
        """What an order of each customer brings, from everyone's history up to a cutoff; no label is learnt.

        None where nobody has bought twice, or the config leaves out a feature that it needs.
        """
        needed = {COUNT, *btyd.MONEY}
        if when not in self._values and needed <= {*self.columns}:
            everyone = self.everyone(when, (COUNT, *btyd.MONEY))
            found = btyd.fitted_value(everyone.filter(pl.col(COUNT) > 0).drop_nulls())
            self._values[when] = found[0] if found else None
        return self._values.get(when)

    def orders(self, rows: Rows, known_by: dt.date | None, days: int) -> Floats:
        """Purchase days of snapshots in the first ``days`` after their cutoff; (rows,)."""
        pairs, own = self.snapshots[rows].select("customer_id", "cutoff"), {"orders": ORDERS}
        found = labels.build(self.log.frame, pairs, own, days, minor_units=self.log.rules.minor_units,
                             ends=self.log.ends, known_by=known_by)  # fmt: skip
        return found[labels.column("orders", days)].to_numpy()

    def everyone(self, when: dt.date, columns: tuple[str, ...]) -> pl.DataFrame:
        """Some features of everyone known at a cutoff, eligible or not."""
        pairs = timeline.pairs_of(self.log.frame["customer_id"].unique(), [when])
        known = timeline.known_among(self.log.frame, pairs)
        return features.build(timeline.Past(self.log.frame, known), self.definitions, columns)

    def _version(self, lesson: Lesson) -> dt.date | None:
        """What tells labels of the same cutoffs apart: as known when, where events become known late."""
        return lesson.known_by if self._late else None
