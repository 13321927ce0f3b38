"""The best action of a customer by itself: no budget, no contact policy, no holdout. Columns for scores and answers."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import polars as pl

from churn_clv import config
from churn_clv.playbook._document import Actions, load_actions
from churn_clv.playbook._economics import value_of
from churn_clv.playbook._rules import offered
from churn_clv.playbook._terms import model_of, rates_of, source, terms_of

RECOMMENDED = "recommended_action"
COLUMNS = {
    RECOMMENDED: pl.String(),
    "expected_profit": pl.Float64(),
    "break_even_save_rate": pl.Float64(),
    "save_rate_source": pl.String(),
    "value_at_risk": pl.Float64(),
}


def identity(actions: Actions) -> str:
    """A hash of all that the document says."""
    return hashlib.sha256(actions.model_dump_json().encode()).hexdigest()


def files_of(settings: config.Config) -> list[Path]:
    """The config's own files of actions, by their whole paths."""
    return [Path(path).absolute() for path in settings.actions.files]


def own(files: Sequence[Path]) -> Actions | None:
    """The document of these files on top of the shipped one; None without files: the shipped rates are examples."""
    return load_actions(files) if files else None


def recommend(actions: Actions, scores: pl.DataFrame, margin: float) -> pl.DataFrame:
    """COLUMNS of each row of ``scores``: the action with most profit (null: none pays), and of it the profit, the
    break-even save rate and whether its save rate is assumed or measured; p V at risk. Money in major units.

    ``margin``: per unit of spend, of customers whose own rate the scores do not know, unless the document has a
    ``margin_share``. Each row by itself: rules and actions that ask for a ``top_share`` rank customers among others:
    they are left out.
    """
    if not scores.height:
        return pl.DataFrame(schema=COLUMNS)
    margin = actions.margin_share or margin
    terms, rates = terms_of(actions, scores, margin), rates_of(actions, scores, margin)
    allowed, _, _ = offered(actions, scores, ranked=False)
    profit = np.where(allowed & np.isfinite(terms.profit()), terms.profit(), -np.inf)
    rows, risk = np.arange(scores.height), model_of(scores, "churn_probability")
    best = profit.argmax(axis=1)
    pays = profit[rows, best] > 0
    told = [(name, source(actions, name)) if ok else (None, None)
            for name, ok in zip((list(actions.actions)[b] for b in best), pays, strict=True)]  # fmt: skip
    return pl.DataFrame(
        {
            RECOMMENDED: [name for name, _ in told],
            "expected_profit": np.where(pays, profit[rows, best], np.nan),
            "break_even_save_rate": np.where(pays, terms.break_even()[rows, best], np.nan),
            "save_rate_source": [kind for _, kind in told],
            "value_at_risk": risk * value_of(model_of(scores, "expected_spend"), risk, rates),
        },
        schema=COLUMNS,
    ).with_columns(pl.col(pl.Float64).fill_nan(None))
