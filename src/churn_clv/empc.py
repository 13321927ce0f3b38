"""Expected maximum profit of a retention campaign: a ranking of customers, judged in money."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

# Above this sum of the two parameters (from 130 on, measured) empulse's Beta moments overflow, and it answers NaN.
SHARPEST_PRIOR = 100.0


def empc(
    churned: npt.ArrayLike,
    score: npt.ArrayLike,
    *,
    value: float,
    offer: float,
    contact: float,
    accept: tuple[float, float] = (6.0, 14.0),
) -> tuple[float, float]:
    """Profit per customer (major units) and share of customers to target, both expected over the acceptance rate.

    ``churned`` (n,) holds 0 and 1; ``score`` (n,) rises with the risk, any scale. Those above the best cut are
    contacted, which costs ``contact`` each; a churner accepts with probability g ~ Beta(``accept``), then costs
    ``offer`` and keeps ``value``; a stayer always takes the offer. Per customer, with c churners and s stayers among
    the n taken, the best cut for each g gives max (c (g (value - offer) - contact) - s (offer + contact)) / n, never
    below 0. Verbraken, Verbeke and Baesens (2013), IEEE TKDE 25(5), whose papers take value 200, offer 10, contact 1.
    Rows with equal scores are taken together, so the order of rows does not matter. ValueError on NaN, negative
    amounts, labels other than 0 and 1, no rows, or a prior that empulse cannot integrate.
    """
    y, s = np.asarray(churned, dtype=np.float64), np.asarray(score, dtype=np.float64)
    if y.ndim != 1 or y.shape != s.shape or not len(y):
        raise ValueError(f"churned and score must be two arrays of one length, at least 1, found {y.shape}, {s.shape}")
    if not np.isin(y, (0.0, 1.0)).all() or not np.isfinite(s).all():
        raise ValueError("churned must hold only 0 and 1, and score no NaN or infinity")
    money = {"value": value, "offer": offer, "contact": contact}
    if not all(np.isfinite(m) and m >= 0 for m in money.values()):
        raise ValueError(f"value, offer and contact must be finite and at least 0, found {money}")
    if min(accept) <= 0 or sum(accept) > SHARPEST_PRIOR:
        raise ValueError(f"accept must be two numbers above 0 with a sum up to {SHARPEST_PRIOR:g}, found {accept}")
    if value <= offer:
        return 0.0, 0.0  # nobody is worth an offer
    from empulse.metrics import empc_score  # here: only the lab has empulse, and it takes seconds to import

    terms: dict[str, Any] = {
        "clv": value,
        "incentive_cost": offer,
        "contact_cost": contact,
        "alpha": accept[0],
        "beta": accept[1],
    }
    profit, share = float(empc_score(y, s, **terms)), float(empc_score.optimal_rate(y, s, **terms))
    return max(profit, 0.0), min(max(share, 0.0), 1.0)
