"""The rung "buy till you die": BG/NBD or MBG/NBD for when and how often, Gamma-Gamma for how much.

x is the number of purchase days after the first, t_x the last and T the present, in weeks from the end of the first
purchase day. While alive a customer buys at a rate ~ Gamma(r, alpha); after a purchase it leaves with a
probability ~ Beta(a, b): BG/NBD after any repeat (Fader, Hardie, Lee 2005), MBG/NBD after the first one too
(Batislam, Denizel, Filiztekin 2007). A rung must not be a straw man (definition D13), so every fit is checked, and one
that fails is penalised or replaced, and the text that comes with the rung says so.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import polars as pl

from churn_clv.metrics import Array
from churn_clv.models import tables
from churn_clv.models.baseline import Rung, complete
from churn_clv.models.renewal import Renewal

TIMING = ("purchase_days", "days_since_first_purchase", "days_since_last_purchase")
MONEY = ("mean_order_value", "order_value_first")
COLUMNS = (*TIMING, *MONEY)

DAYS = 7.0  # the unit of time is a week
# Customers a fit learns from: above that the parameters are known far better than the model is true.
FIT_ROWS = 10_000
# A fitted total of orders or of money this many times the lifetime rate's, or this part of it, has diverged.
TOTAL_LIMIT = 4.0
# A fit whose log-likelihood is this much below a penalised one's stopped short of the maximum.
SHORT = 0.5
# Standard deviation of the log-parameters in the penalised fits: weak, each is free within a factor of 50.
PENALTY_SD = 2.0


@dataclass(frozen=True)
class Histories:
    """Rows in the literature's terms: repeats x (rows,), weeks t_x and T from the end of the first purchase day."""

    x: Array
    last: Array
    now: Array

    def take(self, rows: Any) -> Histories:
        """Some of the rows."""
        return Histories(self.x[rows], self.last[rows], self.now[rows])


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


def fitted(everyone: pl.DataFrame, test: pl.DataFrame, horizon_days: int) -> Fit | None:
    """The transaction model of ``everyone`` that holds for ``test`` (both with ``TIMING``); None where none does."""
    bought = everyone.filter(pl.col("purchase_days") > 0)
    if bought.is_empty() or test.is_empty():
        return None
    simple = tables.lifetime_rate(test, horizon_days, bought)
    assert simple.churn_score is not None
    return transactions(
        histories(bought), histories(test), horizon_days / DAYS, float(-np.log(simple.churn_score).sum())
    )


def rung(everyone: pl.DataFrame, test: pl.DataFrame, horizon_days: int, fit: Fit | None = None) -> tuple[Rung, str]:
    """Predictions for the rows of ``test``, learnt from the histories of ``everyone``, and what was fitted.

    ``fit`` saves the fitting where ``fitted`` has been called on the same rows.

    Both hold ``TIMING``, and ``MONEY`` where the log has amounts, as of one cutoff; those of ``everyone`` without a
    purchase day are left out, and no label is learnt from. The churn probability is P(no purchase in the horizon),
    never 1 - P(alive); spend is expected orders x expected order value. ValueError where nobody has bought.
    """
    bought = everyone.filter(pl.col("purchase_days") > 0)
    if bought.is_empty():
        raise ValueError(f"btyd needs customers with a purchase, found none among {everyone.height}")
    weeks, wanted = horizon_days / DAYS, histories(test)
    simple = tables.lifetime_rate(test, horizon_days, bought)
    assert simple.churn_score is not None
    fit = fit or transactions(histories(bought), wanted, weeks, float(-np.log(simple.churn_score).sum()))
    if fit is None:
        return replace(simple, name="btyd"), "no fit of BG/NBD or MBG/NBD held: lifetime rate x shrunk mean order value"
    text = f"{fit.name}{', penalised' if fit.penalised else ''} (log-likelihood {fit.log_likelihood:,.1f})"
    churn = 1 - active(fit, wanted, weeks)
    if simple.spend is None:
        return Rung("btyd", churn, True, None), text
    value, how = order_value(bought, test)
    spend, text = expected_orders(fit, wanted, weeks) * value, f"{text} x {how}"
    if not _near(float(spend.sum()), float(simple.spend.sum())):
        spend = simple.spend
        text += "; its total spend diverged: replaced by lifetime rate x shrunk mean order value"
    return Rung("btyd", churn, True, spend), text


def histories(matrix: pl.DataFrame) -> Histories:
    """The rows of a matrix that holds ``TIMING``. A purchase counts at its day's end, as its day is one occasion."""
    x = complete(matrix, "purchase_days") - 1
    now = (complete(matrix, "days_since_first_purchase") - 1) / DAYS
    last = now - (complete(matrix, "days_since_last_purchase") - 1) / DAYS
    return Histories(x, np.where(x > 0, np.clip(last, 0, now), 0.0), now)


# --- when and how often ---------------------------------------------------------------------------
def transactions(known: Histories, wanted: Histories, weeks: float, lifetime_orders: float) -> Fit | None:
    """The likelier of the two models by maximum likelihood; penalised where that does not hold for ``wanted``.

    The penalised fits come first: they are quick, tell which model is the likelier, and show where the optimiser of
    the other has stopped short (without penalty the parameters of customers who never leave run away).
    """
    if len(known.x) > FIT_ROWS:
        known = known.take(np.sort(np.random.default_rng(0).choice(len(known.x), FIT_ROWS, replace=False)))
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
    b = fit.b + _chances(fit.name, rows.x) - 1  # b - 1 + the times it could have left; below that it could not
    with np.errstate(over="ignore", divide="ignore"):
        odds = fit.a / b * ((fit.alpha + rows.now) / (fit.alpha + rows.last)) ** (fit.r + rows.x)
        return np.where(_chances(fit.name, rows.x) > 0, 1 / (1 + odds), 1.0)


def active(fit: Fit, rows: Histories, weeks: float) -> Array:
    """P(at least one purchase in the coming ``weeks``); (rows,).

    Leaving only follows a purchase, so a customer alive now is alive until the next one: P(alive) x P(a Gamma-mixed
    Poisson process with shape r + x and rate alpha + T brings any event).
    """
    now = fit.alpha + rows.now
    return alive(fit, rows) * -np.expm1((fit.r + rows.x) * np.log(now / (now + weeks)))


def expected_orders(fit: Fit, rows: Histories, weeks: float) -> Array:
    """E[purchases in the coming ``weeks``]; (rows,), NaN where the closed form breaks down in floats."""
    import pandas as pd

    model = _model(fit.name)
    model.params_ = pd.Series({"r": fit.r, "alpha": fit.alpha, "a": fit.a, "b": fit.b})
    model.time_unit_, model.collapse_ = "W", "D"
    with np.errstate(all="ignore"):
        found = model.predict(weeks, _base(rows)).to_pandas()
    return np.asarray(found, dtype=np.float64).reshape(-1)


def log_likelihood(fit: Fit, rows: Histories) -> float:
    """Of all rows: alive at T, or gone after the last purchase."""
    from scipy.special import betaln, gammaln

    shape, chances = fit.r + rows.x, _chances(fit.name, rows.x)
    with np.errstate(divide="ignore", invalid="ignore"):
        stayed = betaln(fit.a, fit.b + chances) - shape * np.log(fit.alpha + rows.now)
        left = betaln(fit.a + 1, fit.b + np.maximum(chances - 1, 0)) - shape * np.log(fit.alpha + rows.last)
    either = np.where(chances > 0, np.logaddexp(stayed, left), stayed)
    bought = gammaln(shape) - gammaln(fit.r) + fit.r * np.log(fit.alpha)
    return float((bought + either - betaln(fit.a, fit.b)).sum())


def _chances(name: str, x: Array) -> Array:
    """How often a customer of x repeats could have left before T."""
    return x + 1 if name == "MBG/NBD" else x


def by_likelihood(name: str, rows: Histories) -> Fit | None:
    """Maximum likelihood; None where the optimiser gives up."""
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        try:
            model = _model(name).fit(_base(rows))
        except (ArithmeticError, RuntimeError, ValueError):
            return None
    r, alpha, a, b = (float(model.params_[p]) for p in ("r", "alpha", "a", "b"))
    return Fit(name, r, alpha, a, b, float(model.log_likelihood_))


def penalised(name: str, rows: Histories) -> Fit | None:
    """Maximum likelihood with a weak log-normal prior on each parameter, so that there always is a maximum."""
    from scipy.optimize import minimize

    middle = np.array([0.0, np.log(rows.now.mean() + 1 / DAYS), 0.0, 0.0])

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
    return bool(bounded.all()) and _near(float(orders.sum()), lifetime_orders)


def _near(found: float, simple: float) -> bool:
    """Whether a total is within ``TOTAL_LIMIT`` of the simple rule's; (nearly) nothing is near nothing."""
    return found <= TOTAL_LIMIT * simple + 1e-9 and simple <= TOTAL_LIMIT * found + 1e-9


def _model(name: str) -> Any:
    from clvkit import BGNBD, MBGNBD  # here: only the lab has clvkit

    return MBGNBD() if name == "MBG/NBD" else BGNBD()


def _base(rows: Histories, money: Array | None = None) -> Any:
    """The rows as clvkit takes them."""
    import pandas as pd
    from clvkit import CustomerBase

    table = {"frequency": rows.x, "recency": rows.last, "T": rows.now}
    return CustomerBase(
        pd.DataFrame(table if money is None else table | {"monetary_value": money}),
        time_unit="W",
        collapse="D",
        observation_period_end=pd.Timestamp(0),  # not read by the models
        has_monetary=money is not None,
        on_negative="net",
    )


# --- how much -------------------------------------------------------------------------------------
def order_value(everyone: pl.DataFrame, test: pl.DataFrame) -> tuple[Array, str]:
    """E[order value] of the rows of ``test`` in major units, and how it was found.

    Gamma-Gamma (Fader, Hardie 2013) on the mean money of the repeat purchase days, where it is positive. It holds
    where its population mean is finite (q > 1) and near the typical value; else p and q are fitted with the mean
    held there; without any repeat, values are shrunk means.
    """
    x, own = _repeat_value(everyone)
    some = (x > 0) & (own > 0)
    if not some.any():
        return tables.order_value(test, everyone), "shrunk mean order value (no repeat order brought money)"
    scale = tables.typical(own[some])  # in units of a typical order: whatever the currency
    x, own = x[some], own[some] / scale
    if len(x) > FIT_ROWS:
        rows = np.sort(np.random.default_rng(0).choice(len(x), FIT_ROWS, replace=False))
        x, own = x[rows], own[rows]
    counted, value = _repeat_value(test)
    weight, mean, how = gamma_gamma(x, own)
    return scale * (weight * mean + counted * np.maximum(value / scale, 0.0)) / (weight + counted), how


def _repeat_value(matrix: pl.DataFrame) -> tuple[Array, Array]:
    """Repeat purchase days and their mean net money (0 without any)."""
    x = complete(matrix, "purchase_days") - 1
    total = complete(matrix, "mean_order_value") * (x + 1) - complete(matrix, "order_value_first")
    return x, np.where(x > 0, total / np.maximum(x, 1), 0.0)


def gamma_gamma(x: Array, value: Array) -> tuple[float, float, str]:
    """How many orders the population's mean counts as, (q - 1) / p; that mean; and how they were found.

    ``value`` is in units of its typical one. E[value | x, own mean] = (weight x mean + x x own) / (weight + x).
    """
    from clvkit import GammaGamma

    rows = Histories(x, np.zeros_like(x), np.zeros_like(x))
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        try:
            model = GammaGamma().fit(_base(rows, value))
            p, q, mean = float(model.p or 0), float(model.q or 0), float(model.population_mean())
        except (ArithmeticError, RuntimeError, ValueError):
            p, q, mean = 0.0, 0.0, 0.0
    if p > 0 and q > 1 and np.isfinite(p + q) and 1 / TOTAL_LIMIT < mean < TOTAL_LIMIT:
        return (q - 1) / p, mean, f"Gamma-Gamma (p {p:.3g}, q {q:.3g})"
    p, q = held_mean(x, value)
    return (q - 1) / p, 1.0, f"Gamma-Gamma, penalised and its mean held at the typical order (p {p:.3g}, q {q:.3g})"


def held_mean(x: Array, value: Array) -> tuple[float, float]:
    """p and q where p gamma / (q - 1) = 1, with a weak log-normal prior on p and q - 1."""
    from scipy.optimize import minimize
    from scipy.special import gammaln

    def loss(z: Array) -> float:
        p, q = np.exp(PENALTY_SD * z[0]), 1 + np.exp(PENALTY_SD * z[1])
        gamma, px = (q - 1) / p, p * x
        fitted = gammaln(px + q) - gammaln(px) - gammaln(q) + q * np.log(gamma) + px * np.log(x)
        fitted += (px - 1) * np.log(value) - (px + q) * np.log(gamma + x * value)
        return float(z @ z / 2 - fitted.sum())

    best = minimize(loss, np.zeros(2), method="L-BFGS-B", bounds=[(-5, 5)] * 2)
    return float(np.exp(PENALTY_SD * best.x[0])), float(1 + np.exp(PENALTY_SD * best.x[1]))
