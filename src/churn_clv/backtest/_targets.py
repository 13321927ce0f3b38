"""The user's own targets in a backtest: each at its own test cutoffs, beside its rungs (D8, D10-D12)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from churn_clv import targets, timeline
from churn_clv.backtest._ladder import mean, worst
from churn_clv.recipe import Say, Workshop
from churn_clv.timeline import Plan


def judge_targets(
    shop: Workshop, plans: Sequence[Plan], say: Say = lambda _: None
) -> tuple[dict[str, dict[str, Any]], dict[str, str]]:
    """A document by target, and the targets that could not be judged at every cutoff, with why.

    The newest label windows end where those of ``plans`` do.
    """
    asked, refused = targets.declared(shop.log, shop.settings)
    out = {}
    for name, target in asked.items():
        found, why = targets.look(name, target, shop, [p.ends for p in plans], say, shipping=False)
        if why:
            refused[name] = why
        else:
            out[name] = _document(found)
    return out, refused


def _document(looks: Sequence[targets.Judged]) -> dict[str, Any]:
    kind = looks[0].room.kind
    ladders = [{"champion": j.predicted} | {r.name: r.predicted for r in targets.rungs(j)} for j in looks]
    names = [n for n in ladders[-1] if all(n in ladder for ladder in ladders)]
    rows = [_row(name, [targets.metrics_of(kind, j.label, ladder[name])
                        for j, ladder in zip(looks, ladders, strict=True)], looks) for name in names]  # fmt: skip
    label = np.concatenate([j.label for j in looks])
    cutoffs = [j.plan.test for j in looks]
    return targets.about(looks[0]) | {
        "cutoffs": [c.isoformat() for c in cutoffs],
        "independent_cutoffs": timeline.independent(cutoffs, looks[0].plan.horizon_days),
        "n": len(label),
        "base": float(label.mean()),
        "ladder": rows,
        "minus_best": targets.minus_best(looks, ladders, {r["rung"]: r["mean"] for r in rows}),
    }


def _row(name: str, found: Sequence[dict[str, float | None]], looks: Sequence[targets.Judged]) -> dict[str, Any]:
    """A rung's metrics at each cutoff, their mean and the worst."""
    prefix = "churn_" if looks[0].room.kind == "event" else "spend_"
    return {
        "rung": name,
        "mean": {k: mean([m[k] for m in found]) for k in found[0]},
        "worst": {k: worst(k if k == "n" else prefix + k, [m[k] for m in found]) for k in found[0]},
        "by_cutoff": [{"cutoff": j.plan.test.isoformat()} | m for j, m in zip(looks, found, strict=True)],
    }
