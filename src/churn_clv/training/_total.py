"""How far a predicted total of money may lie from what comes (definitions D18, D19)."""

from __future__ import annotations

import datetime as dt

import polars as pl

from churn_clv import features, labels, strata, timeline
from churn_clv.recipe import Workshop
from churn_clv.timeline import Plan
from churn_clv.training._judge import Judged

DAYS_A_YEAR = 365


def total_band(judged: Judged) -> tuple[float, float] | None:
    """Where predicted over actual total will lie in 9 of 10 cases (definition D18); None without money.

    From the recipe's own ratios at the validation origins. Where labels do not hold every season twice these say too
    little: then also from how far the eligible's total moved from one horizon to the next all through the log, and the
    wider band counts (definition D19).
    """
    plan, shop = judged.plan, judged.shop
    if "spend" not in judged.targets:
        return None
    totals = _totals(judged.chosen.validation, "expected_spend", "spend")
    own = [e / s for _, e, s in totals if s > 0 and e > 0]
    bands = []
    if own:
        count = min(timeline.independent(plan.origins, plan.horizon_days), len(own))
        bands.append(strata.total_band(own, count))
    if not season_learnt(plan):
        moves = _moves(shop, plan)
        if moves:
            count = min(timeline.independent(list(moves), plan.horizon_days), len(moves))
            bands.append(strata.total_band(list(moves.values()), count))
    return (min(b[0] for b in bands), max(b[1] for b in bands)) if bands else None


def season_learnt(plan: Plan) -> bool:
    """Whether labels hold every season twice before the test cutoff."""
    return (plan.test - plan.earliest).days >= 2 * DAYS_A_YEAR


def _moves(shop: Workshop, plan: Plan) -> dict[dt.date, float]:
    """Spend of the eligible in the horizon before each cutoff over that in the horizon after it."""
    window = shop.definitions.horizon_window_days
    cutoffs = [c for c in shop.snapshots["cutoff"].unique().sort() if plan.label_ends(c) <= plan.test]
    rows = shop.table(cutoffs, plan.test)
    past = timeline.Past(shop.log.frame, rows.select("customer_id", "cutoff"))
    before = features.build(past, shop.definitions, (f"spend_last_{window}d",))[f"spend_last_{window}d"]
    after = rows[labels.column("spend", plan.horizon_days)]
    both = rows.select("cutoff", before=before.clip(0), after=after).drop_nulls()
    scale = plan.horizon_days / window
    return {c: scale * b / a for c, b, a in _totals(both, "before", "after") if a > 0 and b > 0}


def _totals(rows: pl.DataFrame, first: str, second: str) -> list[tuple[dt.date, float, float]]:
    """The sums of two columns at each cutoff, oldest first; the same to the last bit in every run."""
    return rows.group_by("cutoff").agg(pl.col(first, second).sort().sum()).sort("cutoff").rows()
