"""The best action of a customer by itself: no budget, no contact policy, no holdout. Columns for scores and answers."""

from __future__ import annotations

import numpy as np
import polars as pl

from churn_clv.actions._document import Actions
from churn_clv.actions._plan import terms_of
from churn_clv.actions._rules import offered


def recommend(actions: Actions, scores: pl.DataFrame, margin: float) -> pl.DataFrame:
    """A row per row of ``scores``: recommended_action (null: none pays), and of it expected_profit and
    break_even_save_rate; value_at_risk (p V; null where the model has no answer). Money in major units.

    Each row by itself, but for tests of ``top_share``, which rank within ``scores``: leave such rules out where one
    customer is asked alone.
    """
    terms = terms_of(actions, scores, margin)
    allowed, _, _ = offered(actions, scores)
    profit = np.where(allowed & np.isfinite(terms.profit()), terms.profit(), -np.inf)
    rows = np.arange(scores.height)
    best = profit.argmax(axis=1)
    pays = profit[rows, best] > 0
    names = list(actions.actions)
    even = terms.break_even()[rows, best]
    return pl.DataFrame(
        {
            "recommended_action": [names[b] if ok else None for b, ok in zip(best, pays, strict=True)],
            "expected_profit": np.where(pays, profit[rows, best], np.nan),
            "break_even_save_rate": np.where(pays, even, np.nan),
            "value_at_risk": (terms.lapse * terms.value)[:, 0],
        },
        schema_overrides={"recommended_action": pl.String},
    ).with_columns(pl.col(pl.Float64).fill_nan(None))
