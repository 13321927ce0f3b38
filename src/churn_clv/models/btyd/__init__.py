"""The rung "buy till you die": BG/NBD or MBG/NBD for when and how often, Gamma-Gamma for how much.

x is the number of purchase days after the first, t_x the last and T the present, in weeks from the end of the first
purchase day. While alive a customer buys at a rate ~ Gamma(r, alpha); after a purchase it leaves with a
probability ~ Beta(a, b): BG/NBD after any repeat (Fader, Hardie, Lee 2005), MBG/NBD after the first one too
(Batislam, Denizel, Filiztekin 2007). A rung must not be a straw man (definition D13), so every fit is checked, and one
that fails is penalised or replaced, and the text that comes with the rung says so.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import polars as pl

from churn_clv.models import tables
from churn_clv.models.baseline import Rung
from churn_clv.models.btyd._histories import TIMING, Histories, histories, near
from churn_clv.models.btyd._money import MONEY, fitted_value, gamma_gamma, held_mean, order_value
from churn_clv.models.btyd._transactions import (
    Fit,
    active,
    alive,
    by_likelihood,
    expected_orders,
    log_likelihood,
    penalised,
    renewal,
    transactions,
)
from churn_clv.models.renewal import WEEK

__all__ = [
    "COLUMNS",
    "MONEY",
    "TIMING",
    "Fit",
    "Histories",
    "active",
    "alive",
    "by_likelihood",
    "expected_orders",
    "fitted",
    "fitted_value",
    "gamma_gamma",
    "held_mean",
    "histories",
    "log_likelihood",
    "order_value",
    "penalised",
    "renewal",
    "rung",
]

COLUMNS = (*TIMING, *MONEY)


def fitted(everyone: pl.DataFrame, test: pl.DataFrame, horizon_days: int) -> Fit | None:
    """The transaction model of ``everyone`` that holds for ``test`` (both with ``TIMING``); None where none does."""
    bought = everyone.filter(pl.col("purchase_days") > 0)
    if bought.is_empty() or test.is_empty():
        return None
    simple = tables.lifetime_rate(test, horizon_days, bought)
    assert simple.churn_score is not None
    return transactions(
        histories(bought), histories(test), horizon_days / WEEK, float(-np.log(simple.churn_score).sum())
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
    weeks, wanted = horizon_days / WEEK, histories(test)
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
    if not near(float(spend.sum()), float(simple.spend.sum())):
        spend = simple.spend
        text += "; its total spend diverged: replaced by lifetime rate x shrunk mean order value"
    return Rung("btyd", churn, True, spend), text
