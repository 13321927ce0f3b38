"""Expected orders judged at every test cutoff, beside the orders of the last horizon (definition D17)."""

from __future__ import annotations

from typing import Any

import numpy as np

from churn_clv.backtest._looks import Look
from churn_clv.metrics import Array

# The rung is drawn to its mean by this share: nobody's next horizon is exactly like the last, and a 0 is not for ever.
DRAWN = 0.3


def orders_row(look: Look) -> dict[str, Any]:
    """Predicted over actual total and Poisson deviance of the orders at a look, and the same of the last horizon's."""
    judged, plan = look.judged, look.judged.plan
    rows = judged.shop.rows([plan.test])
    came = judged.shop.orders(rows, None, plan.horizon_days)
    silent = judged.predictions["churn_probability"].to_numpy()
    said = judged.chosen.orders.expected(judged.shop.values[rows], silent)
    last = _last(look)
    return {
        "cutoff": look.cutoff.isoformat(),
        "n": len(came),
        "mean": float(came.mean()),
        **dict(zip(("total_ratio", "deviance"), _judged(came, said), strict=True)),
        **dict(zip(("last_horizon_ratio", "last_horizon_deviance"), _judged(came, last), strict=True)),
    }


def _last(look: Look) -> Array | None:
    """Orders of the last horizon; None where that window is no feature, or began before the log."""
    definitions, test = look.judged.definitions, look.judged.test
    window = definitions.horizon_window_days
    name = f"purchase_days_last_{window}d"
    if name not in test.columns or test[name].null_count():
        return None
    before = test[name].to_numpy() * definitions.horizon_days / window
    return np.asarray((1 - DRAWN) * before + DRAWN * before.mean())


def _judged(came: Array, said: Array | None) -> tuple[float | None, float | None]:
    if said is None or came.sum() == 0 or not (said > 0).all():
        return None, None
    return float(said.sum() / came.sum()), poisson_deviance(came, said)


def poisson_deviance(came: Array, said: Array) -> float:
    """Mean of 2 (y log(y / mu) - y + mu) over customers (n,), with 0 log 0 = 0; ``said`` is above 0."""
    logs = came * np.log(np.where(came > 0, came, 1.0) / said)
    return float(2 * (np.where(came > 0, logs, 0.0) - came + said).mean())
