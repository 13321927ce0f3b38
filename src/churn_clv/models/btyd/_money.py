"""How much: Gamma-Gamma, or what it is held to where its mean is not to be trusted."""

from __future__ import annotations

import warnings

import numpy as np
import polars as pl

from churn_clv.metrics import Array
from churn_clv.models import tables
from churn_clv.models.baseline import complete
from churn_clv.models.btyd._histories import PENALTY_SD, TOTAL_LIMIT, Histories, base, sampled
from churn_clv.models.priced import MONEY as VALUE
from churn_clv.models.priced import OrderValue
from churn_clv.models.renewal import COUNT

MONEY = (VALUE,)


def order_value(everyone: pl.DataFrame, test: pl.DataFrame) -> tuple[Array, str]:
    """E[order value] of the rows of ``test`` in major units, and how it was found.

    Without two orders of anyone (``fitted_value``) values are shrunk means.
    """
    found = fitted_value(everyone)
    if found is None:
        return tables.order_value(test, everyone), "shrunk mean order value (no repeat order brought money)"
    value, how = found
    return value.expected(*(complete(test, column) for column in (COUNT, *MONEY))), how


def fitted_value(everyone: pl.DataFrame) -> tuple[OrderValue, str] | None:
    """Gamma-Gamma (Fader, Hardie 2013) on the mean money of all purchase days, where it is positive, and how it was
    found; None where nobody bought twice: its two parameters cannot be told apart then.

    It holds where its population mean is finite (q > 1) and near the typical value; else p and q are fitted with the
    mean held there. The literature leaves the first order out. Its money is known, and what says most of those who
    have bought once: with it Gini rises by up to .03 (docs/definitions.md, "A fair rung").
    """  # fmt: skip
    x, own = (complete(everyone, column) for column in (COUNT, *MONEY))
    some = own > 0
    if not (some & (x > 1)).any():
        return None
    scale = tables.typical(own[some])  # in units of a typical order: whatever the currency
    x, own = x[some], own[some] / scale
    rows = sampled(len(x))
    weight, mean, how = gamma_gamma(x[rows], own[rows])
    return OrderValue(scale, weight, mean), how


def gamma_gamma(x: Array, value: Array) -> tuple[float, float, str]:
    """How many orders the population's mean counts as, (q - 1) / p; that mean; and how they were found.

    ``value`` is in units of its typical one. E[value | x, own mean] = (weight x mean + x x own) / (weight + x).
    """
    from clvkit import GammaGamma

    rows = Histories(x, np.zeros_like(x), np.zeros_like(x))
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        try:
            model = GammaGamma().fit(base(rows, value))
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
