"""When and how often: BG/NBD or MBG/NBD, fitted, checked and asked."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from churn_clv.metrics import Array
from churn_clv.models.btyd._histories import PENALTY_SD, Histories, base, near, sampled
from churn_clv.models.renewal import WEEK, Renewal

# A fit whose log-likelihood is this much below a penalised one's stopped short of the maximum.
SHORT = 0.5


@dataclass(frozen=True)
class Fit:
    """A transaction model's parameters (weeks), and how it was fitted."""

    name: str  # "BG/NBD" or "MBG/NBD"
    r: float
    alpha: float
    a: float
    b: float
    log_likelihood: float
    penalised: bool = False


def renewal(fit: Fit) -> Renewal:
    """What a bundle carries of a fit."""
    return Renewal("MBG/NBD" if fit.name == "MBG/NBD" else "BG/NBD", fit.r, fit.alpha, fit.a, fit.b)


def transactions(known: Histories, wanted: Histories, weeks: float, lifetime_orders: float) -> Fit | None:
    """The likelier of the two models by maximum likelihood; penalised where that does not hold for ``wanted``.

    The penalised fits come first: they are quick, tell which model is the likelier, and show where the optimiser of
    the other has stopped short (without penalty the parameters of customers who never leave run away).
    """
    known = known.take(sampled(len(known.x)))
    held = [fit for name in ("BG/NBD", "MBG/NBD") if (fit := penalised(name, known)) is not None]
    for safe in sorted(held, key=lambda fit: -fit.log_likelihood):
        free = by_likelihood(safe.name, known)
        reached = free is not None and free.log_likelihood > safe.log_likelihood - SHORT
        for fit in (free, safe) if reached else (safe,):
            if fit is not None and _holds(fit, wanted, weeks, lifetime_orders):
                return fit
    return None


def alive(fit: Fit, rows: Histories) -> Array:
    """P(alive at T); (rows,)."""
    return renewal(fit).alive(rows.x, rows.last, rows.now)


def active(fit: Fit, rows: Histories, weeks: float) -> Array:
    """P(at least one purchase in the coming ``weeks``); (rows,)."""
    return np.asarray(renewal(fit).active(rows.x, rows.last, rows.now, [weeks])[0])


def expected_orders(fit: Fit, rows: Histories, weeks: float) -> Array:
    """E[purchases in the coming ``weeks``]; (rows,), NaN where the closed form breaks down in floats."""
    import pandas as pd

    model = _model(fit.name)
    model.params_ = pd.Series({"r": fit.r, "alpha": fit.alpha, "a": fit.a, "b": fit.b})
    model.time_unit_, model.collapse_ = "W", "D"
    with np.errstate(all="ignore"):
        found = model.predict(weeks, base(rows)).to_pandas()
    return np.asarray(found, dtype=np.float64).reshape(-1)


def log_likelihood(fit: Fit, rows: Histories) -> float:
    """Of all rows: alive at T, or gone after the last purchase."""
    from scipy.special import betaln, gammaln

    shape, chances = fit.r + rows.x, renewal(fit).chances(rows.x)
    with np.errstate(divide="ignore", invalid="ignore"):
        stayed = betaln(fit.a, fit.b + chances) - shape * np.log(fit.alpha + rows.now)
        left = betaln(fit.a + 1, fit.b + np.maximum(chances - 1, 0)) - shape * np.log(fit.alpha + rows.last)
    either = np.where(chances > 0, np.logaddexp(stayed, left), stayed)
    bought = gammaln(shape) - gammaln(fit.r) + fit.r * np.log(fit.alpha)
    return float((bought + either - betaln(fit.a, fit.b)).sum())


def by_likelihood(name: str, rows: Histories) -> Fit | None:
    """Maximum likelihood; None where the optimiser gives up."""
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        try:
            model = _model(name).fit(base(rows))
        except (ArithmeticError, RuntimeError, ValueError):
            return None
    r, alpha, a, b = (float(model.params_[p]) for p in ("r", "alpha", "a", "b"))
    return Fit(name, r, alpha, a, b, float(model.log_likelihood_))


def penalised(name: str, rows: Histories) -> Fit | None:
    """Maximum likelihood with a weak log-normal prior on each parameter, so that there always is a maximum."""
    from scipy.optimize import minimize

    middle = np.array([0.0, np.log(rows.now.mean() + 1 / WEEK), 0.0, 0.0])

    def fit(z: Array) -> Fit:
        r, alpha, a, b = (float(v) for v in np.exp(middle + PENALTY_SD * z))
        found = Fit(name, r, alpha, a, b, 0.0, True)
        return replace(found, log_likelihood=log_likelihood(found, rows))

    def loss(z: Array) -> float:
        value = float(z @ z) / 2 - fit(z).log_likelihood
        return value if np.isfinite(value) else 1e300

    best = minimize(loss, np.zeros(4), method="L-BFGS-B", bounds=[(-8, 8)] * 4)
    return fit(best.x) if best.fun < 1e300 else None


def _holds(fit: Fit, rows: Histories, weeks: float, lifetime_orders: float) -> bool:
    """Whether a fit's predictions are what the model itself allows, and in sum not absurd.

    P(active) <= E[orders] <= P(alive) x (what the purchase rate brings if nobody leaves): where the closed form has
    lost its digits (both parameters of the Beta far apart, say), it breaks this.
    """
    p, orders = active(fit, rows, weeks), expected_orders(fit, rows, weeks)
    most = alive(fit, rows) * (fit.r + rows.x) / (fit.alpha + rows.now) * weeks
    if not (np.isfinite(p).all() and np.isfinite(orders).all() and np.isfinite(fit.log_likelihood)):
        return False
    bounded = (orders >= p * (1 - 1e-6) - 1e-9) & (orders <= most * (1 + 1e-6) + 1e-9)
    return bool(bounded.all()) and near(float(orders.sum()), lifetime_orders)


def _model(name: str) -> Any:
    from clvkit import BGNBD, MBGNBD  # here: only the lab has clvkit

    return MBGNBD() if name == "MBG/NBD" else BGNBD()
