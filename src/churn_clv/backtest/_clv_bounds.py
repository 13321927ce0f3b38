"""The bounds of CLV judged: learnt up to a cutoff, and set beside what came after it (definitions D18, D20)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from churn_clv import config, timeline, training
from churn_clv.events import Log
from churn_clv.metrics import Array
from churn_clv.models.bounds import Bounds


def judge_bounds(log: Log, settings: config.Config, targets: dict[str, config.Target]) -> dict[str, Any] | None:
    """Shares outside the bounds of the longest number of months that the log holds twice; None where it holds none.

    Once after the cutoff, to judge, and once before it (and two horizons of history), to learn from.
    """
    for months in reversed(settings.clv.months):
        for cutoff in training.matured_at(log, settings, months)[-1:]:
            past = timeline.until(log, cutoff)
            if training.matured_at(past, settings, months):
                return _judged(log, past, settings, targets, months)
    return None


def _judged(
    log: Log, past: Log, settings: config.Config, targets: dict[str, config.Target], months: int
) -> dict[str, Any] | None:
    spend, cutoff = targets["spend"], past.ends
    judged = training.horizon_models(log, settings, targets, [cutoff]).get(cutoff)
    trees = judged.chosen.trees["spend"] if judged else settings.models.spend.max_rounds // 2
    clv = settings.clv.model_copy(update={"months": tuple(m for m in settings.clv.months if m >= months)})
    found, totals = training.clv_bounds(past, settings.model_copy(update={"clv": clv}), targets, trees)
    if months not in found:
        return None
    look = training.look_back(log, settings, spend, cutoff, training.model_of(judged))
    expected, actual, strata = training.months_money(log, spend, look, months)
    ratio = float(expected.sum() / actual.sum()) if actual.sum() > 0 else None
    return {
        "months": months,
        "cutoff": cutoff.isoformat(),
        "learnt_at": [c.isoformat() for c in training.matured_at(past, settings, months)],
        "first_window_by": look.source,
        **outside(*found[months].apply(expected, strata), actual),
        "miss_above_level_aside": level_aside(found[months], expected, strata, actual),
        "total_ratio": ratio,
        "total_band": list(totals[months]),
        "total_inside": ratio is not None and totals[months][0] <= ratio <= totals[months][1],
    }


def level_aside(own: Bounds, expected: Array, strata: Sequence[str], actual: Array) -> float | None:
    """The share above, had the total been right: what all customers share is in the total's band alone (D18)."""
    if not actual.sum() > 0:
        return None
    return outside(*own.apply(expected * (actual.sum() / expected.sum()), strata), actual)["miss_above"]


def outside(low: Array, high: Array, actual: Array) -> dict[str, float | None]:
    """Shares of ``actual`` (n,) above and below the ends; below among those whose lower end is above 0 (D20)."""
    known = ~np.isnan(high)
    low, high, actual = low[known], high[known], actual[known]
    bounded = low > 0
    return {
        "n": int(known.sum()),
        "miss_above": float((actual > high).mean()) if known.any() else None,
        "miss_below": float((actual < low)[bounded].mean()) if bounded.any() else None,
        "lower_above_zero": float(bounded.mean()) if known.any() else None,
    }
