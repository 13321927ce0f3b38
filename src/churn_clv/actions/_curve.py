"""What contacting more customers brings, and what the plan brings if its rates are wrong."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl

from churn_clv.playbook import Floats, Terms

POINTS = 200
SAVES = (0.0, 0.25, 0.5, 0.75, 1.0, 1.25, 1.5)
TAKES = (0.0, 0.25, 0.5, 0.75, 1.0)
AWAYS = (0.0, 0.005, 0.01, 0.02)


def curve(profit: Floats, terms: Terms) -> dict[str, Any]:
    """Cumulative expected profit and cost against contacts, best customers first, and the same by falling risk.

    ``profit`` (customers, actions), -inf where not allowed; each customer with the best action allowed. No limits.
    The best cut-off is where the next contact would cost more than it brings.
    """
    rows = np.flatnonzero(np.isfinite(profit).any(axis=1))
    if not len(rows):
        return {"candidates": 0, "best_contacts": 0, "best_profit": 0.0, "best_cost": 0.0, "points": []}
    place = profit[rows].argmax(axis=1)
    gain, cost = profit[rows, place], terms.cost()[rows, place]
    best, risky = np.argsort(-gain, kind="stable"), np.argsort(-terms.lapse[rows, place], kind="stable")
    total, spent, by_risk = (np.cumsum(v[o]) for v, o in ((gain, best), (cost, best), (gain, risky)))
    at = np.unique(np.round(np.linspace(0, len(rows) - 1, min(POINTS, len(rows)))).astype(int))
    top = int((gain > 0).sum())
    return {
        "candidates": len(rows),
        "best_contacts": top,
        "best_profit": float(total[top - 1]) if top else 0.0,
        "best_cost": float(spent[top - 1]) if top else 0.0,
        "points": [
            {"contacts": int(k) + 1, "profit": float(total[k]), "cost": float(spent[k]), "by_risk": float(by_risk[k])}
            for k in at
        ],
    }


def sensitivity(treated: pl.DataFrame) -> dict[str, Any]:
    """The profit of these contacts if the save rate, the take rate of stayers or the share driven away were another."""
    own = {
        "lapse": "lapse", "value": "value", "save": "save_rate", "take": "take_rate",
        "away": "driven_away", "offer": "offer", "contact": "contact",
    }  # fmt: skip
    base = {name: treated[column].cast(pl.Float64).fill_null(np.nan).to_numpy() for name, column in own.items()}

    def total(**changes: Any) -> float:
        return float(np.nansum(Terms(**base | changes).profit()))

    zero = total(save=0 * base["save"])
    gained = total() - zero
    return {
        "planned": total(),
        "break_even_factor": -zero / gained if gained > 0 else None,
        "save_rate": [
            {"factor": f, "profit": [total(save=np.minimum(f * base["save"], 1), away=np.maximum(base["away"], a))
                                     for a in AWAYS]}
            for f in SAVES
        ],
        "take_rate": [{"rate": t, "profit": total(take=np.full_like(base["take"], t))} for t in TAKES],
        "driven_away": [{"rate": a, "profit": total(away=np.full_like(base["away"], a))} for a in AWAYS],
    }  # fmt: skip
