"""One target's population at the cutoffs of its plans: snapshots, labels, and the boosters learnt from them."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from functools import cached_property

import lightgbm as lgb
import numpy as np
import polars as pl

from churn_clv import config, labels, matrix, snapshots, timeline
from churn_clv.events import Log
from churn_clv.metrics import Array
from churn_clv.models import fit
from churn_clv.models.baseline import fit_linear
from churn_clv.models.linear import Linear
from churn_clv.models.predict import Kind
from churn_clv.recipe import Workshop
from churn_clv.timeline import Plan

Rows = np.ndarray[tuple[int], np.dtype[np.intp]]
# A validation origin is predicted for at most about so many of a population that no other model has features of.
ORIGIN_ROWS = 10_000
KINDS: dict[str, Kind] = {"absent": "event", "present": "event", "count": "count", "amount": "amount"}


def plan_of(target: config.Target, log: Log, settings: config.Config, ends: dt.date) -> Plan:
    """The temporal plan of a target: its own horizon, and no label before the log holds what it counts.

    A contract's label is known only after its grace, so that the plan's horizon is the window and the grace. Raises
    UserError where none fits.
    """
    own = settings.timeline
    changes = {
        "horizon_days": target.reach_days(own.horizon_days),
        "sub_windows": 1,
        "min_history_days": own.min_history_days or own.horizon_days,
    }
    return timeline.make_plan(starts(log, target), ends, own.model_copy(update=changes))


def starts(log: Log, target: config.Target) -> dt.date:
    """The first day from which the log holds purchases and what the target counts."""
    kinds = {*target.kinds, *(target.contract.opens.kinds if target.contract else ())}
    return max([log.starts["purchase"], *(log.starts[k] for k in kinds if k in log.starts)])


class Room:
    """Snapshots, labels and boosters of one target, each made once and shared by its plans."""

    def __init__(
        self, name: str, target: config.Target, plans: Sequence[Plan], shop: Workshop, shipping: bool = True
    ) -> None:
        """Build the snapshots; those of the eligible are the workshop's where it has them."""
        self.name, self.target, self.shop = name, target, shop
        self.kind = KINDS[target.measure]
        self.horizon_days = target.looks_days(shop.settings.timeline.horizon_days)
        self._most = shop.settings.models.target_snapshots
        self._tests = {p.test for p in plans}
        self._origins = {o for p in plans for o in p.origins}
        self.cutoffs = sorted({c for p in plans for c in (p.all_cutoffs if shipping else p.judged_cutoffs)})
        self.columns = shop.columns
        self._labels: dict[dt.date | None, Array] = {}
        self._boosters: dict[tuple[object, ...], tuple[lgb.Booster, float]] = {}
        self._linears: dict[tuple[object, ...], Linear] = {}
        self.pairs, self.values, self._lot, self._share = (
            self._of_eligible() if target.population == "eligible" else self._of_others()
        )

    # --- rows and labels ------------------------------------------------------------------------
    def rows(self, cutoffs: Sequence[dt.date]) -> Rows:
        """Row numbers at the cutoffs, in the order of (cutoff, customer)."""
        spans = [np.arange(*self._places[c]) for c in sorted(cutoffs) if c in self._places]
        return np.concatenate(spans) if spans else np.empty(0, dtype=np.intp)

    def learning(self, cutoffs: Sequence[dt.date]) -> Rows:
        """The same for learning: a random part of them where there are more than ``models.target_snapshots``."""
        rows = self.rows(cutoffs)
        rows = rows[self._lot[rows] < self._share]
        return rows if len(rows) <= self._most else rows[self._lot[rows] < self._share * self._most / len(rows)]

    def label(self, known_by: dt.date | None) -> Array:
        """What came, counting what was known by then (None: all that the log holds); NaN where it is not complete."""
        key = known_by if self.shop.log.frame["known_at"].count() else None
        if key not in self._labels:
            found = labels.build(
                self.shop.log.frame, self.pairs, {self.name: self.target}, self.horizon_days,
                minor_units=self.shop.log.rules.minor_units, ends=self.shop.log.ends, known_by=key,
            )  # fmt: skip
            self._labels[key] = found[labels.column(self.name, self.horizon_days)].to_numpy().astype(np.float64)
        return self._labels[key]

    def last_time(self, rows: Rows) -> Array:
        """What the target was in the horizon just before each row's cutoff, as it was known then.

        NaN where that window starts before the log holds what is counted.
        """
        log = self.shop.log
        days, out = dt.timedelta(days=self.horizon_days), []
        for (cutoff,), pairs in self.pairs[rows].group_by(["cutoff"], maintain_order=True):
            before = pairs.with_columns(pl.col("cutoff") - pl.duration(days=self.horizon_days))
            found = labels.build(
                log.frame, before, {self.name: self.target}, self.horizon_days, minor_units=log.rules.minor_units,
                ends=cutoff, known_by=cutoff,
            )  # fmt: skip
            whole = cutoff - days >= starts(log, self.target)
            label = found[labels.column(self.name, self.horizon_days)].to_numpy()
            out.append(label if whole else np.full(pairs.height, np.nan))
        return np.concatenate(out).astype(np.float64) if out else np.empty(0)

    # --- models ---------------------------------------------------------------------------------
    def booster(self, plan: Plan, when: dt.date, trees: int) -> tuple[lgb.Booster, float]:
        """A booster of the labels that end by ``when``, and what its money was divided by."""
        cutoffs, known = plan.learnt_by(when), None if when == plan.ends else plan.test
        key = (cutoffs, known)
        if key not in self._boosters or self._boosters[key][0].num_trees() < trees:
            rows, own = self.learning(cutoffs), self.shop.settings.models
            label = self.label(known)[rows]
            scale = fit.money_scale(label) if self.kind == "amount" else 1.0
            found = fit.booster(self.values[rows], label / scale, self.columns, self.kind, trees, own.targets,
                                self.shop.settings.seed, own.threads)  # fmt: skip
            self._boosters[key] = found, scale
        return self._boosters[key]

    def linear(self, plan: Plan, when: dt.date) -> Linear:
        """A logistic regression on the same labels."""
        cutoffs, known = plan.learnt_by(when), None if when == plan.ends else plan.test
        if (cutoffs, known) not in self._linears:
            rows = self.learning(cutoffs)
            self._linears[cutoffs, known] = fit_linear(self.values[rows], self.label(known)[rows])
        return self._linears[cutoffs, known]

    # --- snapshots ------------------------------------------------------------------------------
    @cached_property
    def _places(self) -> dict[dt.date, tuple[int, int]]:
        counts = self.pairs.group_by("cutoff").agg(n=pl.len()).sort("cutoff")
        ends = counts["n"].cum_sum().to_list()
        return {c: (e - n, e) for c, n, e in zip(counts["cutoff"], counts["n"], ends, strict=True)}

    def _of_eligible(self) -> tuple[pl.DataFrame, Array, Array, float]:
        """The workshop's snapshots, and those of cutoffs it has none of; of them who ``has`` what is asked."""
        shop = self.shop
        there = set(shop.snapshots["cutoff"].unique().to_list())
        ours = shop.snapshots.filter(pl.col("cutoff").is_in(self.cutoffs))
        if missing := [c for c in self.cutoffs if c not in there]:
            ours = pl.concat([ours, snapshots.build(shop.log, missing, shop.definitions)]).sort("cutoff", "customer_id")
        pairs = ours.select("customer_id", "cutoff")
        if self.target.has or self.target.has_not:
            keep = self._members(pairs)
            ours, pairs = ours.filter(keep), pairs.filter(keep)
        return pairs, matrix.values(ours, self.columns), self._draw(pairs.height), 1.0

    def _of_others(self) -> tuple[pl.DataFrame, Array, Array, float]:
        """Features of a population of its own cost time: of the cutoffs that are only learnt from, a part is drawn."""
        shop = self.shop
        everyone = timeline.pairs_of(shop.log.frame["customer_id"].unique(), self.cutoffs)
        known = timeline.known_among(shop.log.frame, everyone)
        pairs = known.filter(self._members(known))
        lot = self._draw(pairs.height)
        share = min(1.0, self._most / max(pairs.height, 1))
        sizes = pl.len().over("cutoff")
        of_origin = pl.max_horizontal(pl.lit(share), ORIGIN_ROWS / sizes)
        wanted = (
            pl.when(pl.col("cutoff").is_in(sorted(self._tests))).then(1.0)
            .when(pl.col("cutoff").is_in(sorted(self._origins))).then(of_origin)
            .otherwise(share)
        )  # fmt: skip
        keep = pl.Series(lot) < pairs.select(wanted=wanted)["wanted"]
        pairs = pairs.filter(keep)
        built = matrix.build(shop.log.frame, pairs, shop.definitions)
        return pairs, matrix.values(built, self.columns), lot[keep.to_numpy()], share

    def _members(self, pairs: pl.DataFrame) -> pl.Series:
        return matrix.members(self.shop.log.frame, pairs, {"asked": self.target}, self.shop.definitions)["asked"]

    def _draw(self, count: int) -> Array:
        """A number in [0, 1) for each row."""
        return np.random.default_rng(self.shop.settings.seed).random(count)
