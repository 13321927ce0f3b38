"""One target's population at the cutoffs of its plans: snapshots, labels, and the boosters learnt from them."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from functools import cached_property

import lightgbm as lgb
import numpy as np
import polars as pl

from churn_clv import config, features, labels, matrix, snapshots, timeline
from churn_clv.events import Log
from churn_clv.metrics import Array
from churn_clv.models import fit
from churn_clv.models.baseline import fit_linear
from churn_clv.models.linear import Linear
from churn_clv.models.predict import Kind
from churn_clv.models.steps import NEVER, Steps
from churn_clv.recipe import Workshop
from churn_clv.targets._cells import TENTHS, Rows, edges, table
from churn_clv.timeline import Definitions, Plan

# A validation origin is predicted for at most about so many of a population that no other model has features of.
ORIGIN_ROWS = 10_000
RECENCY = "days_since_last_purchase"
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
    """The first day from which the log holds purchases, what the target counts, and what makes its population."""
    return max([log.starts["purchase"], *(log.starts[k] for kinds in _asked(target) for k in kinds if k in log.starts)])


def unseen(target: config.Target, definitions: Definitions) -> str | None:
    """Why a model cannot know the target: its events came only after the day up to which definitions look."""
    expires = target.contract is not None and target.contract.term_days is not None
    for kinds in _asked(target)[expires:]:  # where a term runs out nothing need close it
        if not {*kinds} & {*definitions.event_types, "return"}:
            return f"events of type {', '.join(kinds)} came only after what the judged model may know"
    return None


def _asked(target: config.Target) -> list[tuple[str, ...]]:
    """The event types of what the target counts, and of what makes its population."""
    opens = target.contract.opens if target.contract else None
    return [target.kinds, *(p.kinds for p in (target.has, target.has_not, opens) if p)]


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
        self._plans, self._shipping = plans, shipping
        # What the bundle will ignore is ignored here: event types that its definitions have not met.
        met = sorted({"purchase", "return", *shop.definitions.event_types})
        self._frame = shop.log.frame.filter(pl.col("event_type").is_in(met))
        self.cutoffs = sorted({c for p in plans for c in (p.all_cutoffs if shipping else p.judged_cutoffs)})
        self.columns = features.names(shop.definitions)
        self._labels: dict[dt.date | None, Array] = {}
        self._boosters: dict[tuple[object, ...], tuple[lgb.Booster, float]] = {}
        self._linears: dict[tuple[object, ...], Linear] = {}
        self._sizes: dict[dt.date, int] = {}
        self.pairs, self.values, self._lot = (
            self._of_eligible() if target.population == "eligible" else self._of_others()
        )

    # --- rows and labels ------------------------------------------------------------------------
    def rows(self, cutoffs: Sequence[dt.date]) -> Rows:
        """Row numbers at the cutoffs, in the order of (cutoff, customer)."""
        spans = [np.arange(*self._places[c]) for c in sorted(cutoffs) if c in self._places]
        return np.concatenate(spans) if spans else np.empty(0, dtype=np.intp)

    def learning(self, cutoffs: Sequence[dt.date]) -> Rows:
        """The same for learning: a random part of them where there are more than ``models.target_snapshots``.

        Which part hangs on the rows of these cutoffs alone, so that no later customer or cutoff changes it.
        """
        rows = self.rows(cutoffs)
        return rows[self._lot[rows] < self._share(cutoffs)]

    def _share(self, cutoffs: Sequence[dt.date]) -> float:
        return min(1.0, self._most / max(sum(self._sizes.get(c, 0) for c in cutoffs), 1))

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
    def booster(self, plan: Plan, when: dt.date, trees: int, beside: int = 1) -> tuple[lgb.Booster, float]:
        """A booster of the labels that end by ``when``, and what its money was divided by.

        Where ``beside`` models are learnt at once it takes its share of the threads; no number depends on them.
        """
        cutoffs, known = plan.learnt_by(when), None if when == plan.ends else plan.test
        key = (cutoffs, known)
        if key not in self._boosters or self._boosters[key][0].num_trees() < trees:
            rows, own = self.learning(cutoffs), self.shop.settings.models
            threads = max(1, own.threads // beside)
            label = self.label(known)[rows]
            scale = fit.money_scale(label) if self.kind == "amount" else 1.0
            found = fit.booster(self.values[rows], label / scale, self.columns, self.kind, trees, own.targets,
                                self.shop.settings.seed, threads, self.shop.family_of)  # fmt: skip
            self._boosters[key] = found, scale
        return self._boosters[key]

    def linear(self, plan: Plan, when: dt.date, c: float) -> Linear:
        """A logistic regression on the same labels, with ridge penalty 1 / ``c``."""
        cutoffs, known = plan.learnt_by(when), None if when == plan.ends else plan.test
        if (key := (c, cutoffs, known)) not in self._linears:
            rows = self.learning(cutoffs)
            self._linears[key] = fit_linear(self.values[rows], self.label(known)[rows], c)
        return self._linears[key]

    def recency(self, plan: Plan, when: dt.date) -> Steps | None:
        """The rung ``recency`` of the same labels, where the matrix tells it: the mean by days since the last purchase.

        Of prospects and of contracts that says nothing.
        """
        if RECENCY not in self.columns or self.target.population in ("prospects", "contract"):
            return None
        rows, known = self.learning(plan.learnt_by(when)), None if when == plan.ends else plan.test
        days = np.nan_to_num(self.values[rows, self.columns.index(RECENCY)], nan=NEVER)
        cuts = edges(days, TENTHS)
        cells = np.searchsorted(cuts, days, side="right").astype(np.intp)
        levels = table(cells, self.label(known)[rows], np.arange(len(cuts) + 1))
        return Steps(RECENCY, tuple(cuts.tolist()), tuple(levels.tolist()))

    # --- snapshots ------------------------------------------------------------------------------
    @cached_property
    def _places(self) -> dict[dt.date, tuple[int, int]]:
        counts = self.pairs.group_by("cutoff").agg(n=pl.len()).sort("cutoff")
        ends = counts["n"].cum_sum().to_list()
        return {c: (e - n, e) for c, n, e in zip(counts["cutoff"], counts["n"], ends, strict=True)}

    def _of_eligible(self) -> tuple[pl.DataFrame, Array, Array]:
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
        self._count(pairs)
        return pairs, matrix.values(ours, self.columns), self._draw(pairs)

    def _of_others(self) -> tuple[pl.DataFrame, Array, Array]:
        """Features of a population of its own cost time: only rows that some slice learns from or judges are made."""
        everyone = timeline.pairs_of(self._frame["customer_id"].unique(), self.cutoffs)
        known = timeline.known_among(self._frame, everyone)
        pairs = known.filter(self._members(known))
        self._count(pairs)
        lot, wanted = self._draw(pairs), self._wanted()
        keep = lot < pairs["cutoff"].replace_strict(wanted, return_dtype=pl.Float64).to_numpy()
        pairs = pairs.filter(pl.Series(keep))
        built = matrix.build(self._frame, pairs, self.shop.definitions)
        return pairs, matrix.values(built, self.columns), lot[keep]

    def _wanted(self) -> dict[dt.date, float]:
        """The largest share of each cutoff's rows that any slice of any plan needs."""
        out = dict.fromkeys(self.cutoffs, 0.0)
        for plan in self._plans:
            whens = (*plan.origins, plan.test, *((plan.ends,) if self._shipping else ()))
            for cutoffs in (plan.learnt_by(when) for when in whens):
                share = self._share(cutoffs)
                out |= {c: max(out[c], share) for c in cutoffs if c in out}
            out |= {o: max(out[o], ORIGIN_ROWS / max(self._sizes.get(o, 0), 1)) for o in plan.origins}
            out[plan.test] = 1.0
        return out

    def _members(self, pairs: pl.DataFrame) -> pl.Series:
        return matrix.members(self._frame, pairs, {"asked": self.target}, self.shop.definitions)["asked"]

    def _count(self, pairs: pl.DataFrame) -> None:
        """How many belong to the population at each cutoff, drawn or not."""
        self._sizes = dict(pairs.group_by("cutoff").len().rows())

    def _draw(self, pairs: pl.DataFrame) -> Array:
        """A number in [0, 1) for each row, by its customer and cutoff alone."""
        key = pairs.select(pl.concat_str("customer_id", "cutoff", separator="\t"))
        return key.to_series().hash(self.shop.settings.seed).to_numpy() / 2.0**64
