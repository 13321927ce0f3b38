"""Population and labels at the plan's cutoffs, from customer-days alone: no feature matrix is built."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

import polars as pl

from churn_clv import advice, config, labels, matrix, timeline, training
from churn_clv.errors import UserError
from churn_clv.events import Log
from churn_clv.timeline import Definitions, Plan

# The weeks that the check tries; ``advice`` measures more.
WEEKS = (1, 2, 3, 4, 6, 8, 9, 10, 12, 13, 16, 20, 26)


@dataclass(frozen=True)
class Outcome:
    """The eligible at every slice's cutoff with their labels.

    ``rows`` counts all that the log holds, ``early`` (cutoffs before the test) only what was known at the test cutoff,
    which is what training learns from.
    """

    plan: Plan
    rows: pl.DataFrame
    early: pl.DataFrame
    label_return_rate: float | None

    @property
    def test(self) -> pl.DataFrame:
        """The rows of the test cutoff."""
        return self.rows.filter(pl.col("cutoff") == self.plan.test)

    @property
    def slices(self) -> dict[str, pl.DataFrame]:
        """The rows of the other slices, by role."""
        roles = {"train": self.plan.train, "validation": self.plan.origins}
        return {role: self.early.filter(pl.col("cutoff").is_in(list(cutoffs))) for role, cutoffs in roles.items()}

    def count(self, rows: pl.DataFrame, target: str, wanted: float | None = None) -> int:
        """How many of ``rows`` have the label ``wanted``, or one above zero."""
        label = pl.col(labels.column(target, self.plan.horizon_days))
        return rows.filter(label > 0 if wanted is None else label == wanted).height


def outcome(log: Log, targets: dict[str, config.Target], plan: Plan, definitions: Definitions) -> Outcome:
    """Population and labels at the plan's cutoffs and the rate at which the churned return (definition D6).

    ``log`` is the thin one; ``targets`` hold churned.
    """
    horizon, within = plan.horizon_days, training.CONFIRM_HORIZONS * plan.horizon_days
    newest = log.ends - dt.timedelta(days=horizon + within)
    matured = set([c for c in plan.all_cutoffs if c <= newest][-1:])
    cutoffs = sorted({*plan.train, *plan.origins, plan.test} | matured)
    pairs = eligible(log, cutoffs, definitions)
    rows = _labelled(log, pairs, targets, horizon, None)
    # Without late news both views agree, and the second costs nothing.
    late = log.frame["known_at"].null_count() < log.frame.height
    early = _labelled(log, pairs.filter(pl.col("cutoff") < plan.test), targets, horizon, plan.test) if late else rows
    old = rows.filter(pl.col("cutoff").is_in(list(matured)))
    churned = old[labels.column("churned", horizon)]
    rate = labels.return_rate(log.frame, old.select("customer_id", "cutoff"), churned, horizon, within)
    return Outcome(plan, rows, early, rate)


def eligible(log: Log, cutoffs: list[dt.date], definitions: Definitions) -> pl.DataFrame:
    """customer_id and cutoff of the population, sorted by (cutoff, customer_id)."""
    buyers = log.frame.filter(pl.col("event_type") == "purchase")["customer_id"].unique()
    pairs = timeline.pairs_of(buyers, cutoffs)
    status = matrix.with_eligibility(log.frame, pairs, definitions)
    return status.filter("eligible").select("customer_id", "cutoff")


def other_horizons(log: Log, settings: config.Config, definitions: Definitions) -> dict[int, float]:
    """Horizons in whole weeks that fit the log, with their base rate, nearest to the configured one first.

    Only those with a rate within advice.BASE_RATE and advice.EACH_CLASS of both kinds. ``log`` is the thin one.
    """
    target, good = {"churned": settings.targets["churned"]}, {}
    for horizon in (7 * w for w in WEEKS):
        try:
            other = settings.timeline.model_copy(update={"horizon_days": horizon})
            test = timeline.make_plan(definitions.purchases_start, log.ends, other).test
        except UserError:
            break  # nor do longer ones
        rows = _labelled(log, eligible(log, [test], definitions), target, horizon, None)
        churned = int(rows[labels.column("churned", horizon)].sum())
        rate = churned / max(rows.height, 1)
        if advice.in_range(rate) and min(churned, rows.height - churned) >= advice.EACH_CLASS:
            good[horizon] = rate
    wanted = settings.timeline.horizon_days
    return {h: good[h] for h in sorted(good, key=lambda h: (abs(h - wanted), h))}


def _labelled(
    log: Log, pairs: pl.DataFrame, targets: dict[str, config.Target], horizon: int, known_by: dt.date | None
) -> pl.DataFrame:
    return labels.build(
        log.frame, pairs, targets, horizon, minor_units=log.rules.minor_units, ends=log.ends, known_by=known_by
    )
