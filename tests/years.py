"""Simulated years of scorings whose predictions are true, and of some that drift: weekly, so their windows overlap."""

from __future__ import annotations

import datetime as dt

import numpy as np

from churn_clv.ledger import Entry, Limits, Seen, follow

HORIZON, BEFORE, WEEKS, FIRST = 4, 30, 52, dt.date(2024, 1, 1)
LIMITS = Limits(0.2, 0.2, 0.0)


def year(
    draw: np.random.Generator, customers: int, drift: float = 0.0, shuffled: float = 0.0, scored: float = 0.0,
    price: float = 1.0, from_week: int = 26,
) -> list[Entry]:  # fmt: skip
    """A year of weekly scorings of one population; the horizon is four weeks.

    Each week a customer buys with a chance of its own, so P(none in four weeks) is known. From ``from_week`` on the
    log-odds of lapse are higher by ``drift``, money is ``price`` times as much, and with ``shuffled`` the predictions
    are those of other customers. ``scored``: how far the predicted log-odds lie below the truth all year.
    """
    chance, value = draw.beta(1.2, 2.4, customers), draw.gamma(4.0, 10.0, customers)
    weeks, since = BEFORE + WEEKS + HORIZON, BEFORE + from_week
    often = np.repeat(chance[:, None], weeks, axis=1)
    often[:, since:] = weekly(chance, drift)[:, None]
    bought = draw.random(often.shape) < often
    spent = bought * value[:, None] * draw.gamma(2.0, 0.5, often.shape)
    spent[:, since:] *= price
    silent, out = np.full(customers, float(BEFORE)), []
    whose = np.arange(customers)
    for week in range(weeks - HORIZON):
        number, later = week - BEFORE, slice(week, week + HORIZON)
        if number == from_week and shuffled:
            whose = draw.permutation(customers)
        if number >= 0:
            risk = (1 - chance[whose]) ** HORIZON
            seen = Seen(
                1 / (1 + (1 - risk) / risk * np.exp(scored)), (~bought[:, later].any(axis=1)).astype(float), silent,
                HORIZON * (chance * value)[whose], spent[:, later].sum(axis=1),
                spent[:, week - HORIZON : week].sum(axis=1),
            )  # fmt: skip
            out.append(Entry(FIRST + dt.timedelta(days=7 * number), "v1", False, seen))
        silent = np.where(bought[:, week], 1.0, silent + 1)
    return out


def weekly(chance: np.ndarray, drift: float) -> np.ndarray:
    """The chance to buy in a week with which the log-odds of four weeks' silence are higher by ``drift``."""
    silent = (1 - chance) ** HORIZON
    odds = silent / (1 - silent) * np.exp(drift)
    return 1 - (odds / (1 + odds)) ** (1 / HORIZON)


def fired(entries: list[Entry], limits: Limits = LIMITS, rate: float = 0.05) -> int | None:
    """The week whose scoring raised the alarm, None if none did."""
    raised = follow(entries, 7 * HORIZON, limits, rate)["raised"]
    return None if raised is None else (dt.date.fromisoformat(raised["cutoff"]) - FIRST).days // 7
