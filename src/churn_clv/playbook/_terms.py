"""What every action on every customer of a scoring is worth: the document's costs and rates, the model's answers."""

from __future__ import annotations

import numpy as np
import polars as pl

from churn_clv.playbook._document import Actions
from churn_clv.playbook._economics import Terms, value_of
from churn_clv.playbook._rules import Floats, shares


def source(actions: Actions, name: str) -> str:
    """Whether an action's save rate is ``measured`` or ``assumed``."""
    return "measured" if actions.actions[name].save_rate.measured else "assumed"


def terms_of(actions: Actions, scores: pl.DataFrame, margin: float) -> Terms:
    """The terms of every customer and action, (customers, actions); NaN where the model has no answer.

    ``margin``: per unit of spend, of those whose own is not known (``rates_of``).
    """
    risk = model_of(scores, "churn_probability")
    spend = value_of(model_of(scores, "expected_spend"), risk, 1.0)
    money = spend * rates_of(actions, scores, margin)
    columns: dict[str, list[Floats]] = {name: [] for name in Terms.__dataclass_fields__}
    for name, action in actions.actions.items():
        nan = np.nan
        lapse = np.where(np.isnan(risk), nan if action.lapse_probability is None else action.lapse_probability, risk)
        value = np.where(np.isnan(money), nan if action.value is None else action.value, money)
        share = action.offer_share or 0.0
        bought = np.where(np.isnan(spend), value / margin, spend)  # by who is active
        offer = np.full(len(risk), action.offer) if action.offer is not None else bought * share
        own = {f"{k}": shares(rate, scores, f"actions.{name}.{k}") for k, rate in action.rates.items()}
        for key, found in (
            ("lapse", lapse), ("value", value), ("save", own["save_rate"]), ("take", own["take_rate"]),
            ("away", own["driven_away"]), ("offer", offer), ("contact", np.full(len(risk), action.contact)),
        ):  # fmt: skip
            columns[key].append(found)
    return Terms(**{key: np.column_stack(parts) for key, parts in columns.items()})


def rates_of(actions: Actions, scores: pl.DataFrame, margin: float) -> Floats:
    """Margin per unit of spend of each customer, (n,): the document's, else the scores' own, else ``margin``."""
    if actions.margin_share is not None:
        return np.full(scores.height, actions.margin_share)
    return own_rates(scores, margin)


def own_rates(scores: pl.DataFrame, margin: float) -> Floats:
    """``margin_rate`` of the scores, which knows the log's own margins where it tells any; else ``margin``, (n,)."""
    if "margin_rate" not in scores.columns:
        return np.full(scores.height, margin)
    return scores["margin_rate"].cast(pl.Float64).fill_nan(None).fill_null(margin).to_numpy()


def model_of(scores: pl.DataFrame, column: str) -> Floats:
    """A column of the scores, NaN where the model has no answer."""
    return scores[column].cast(pl.Float64).fill_null(np.nan).to_numpy()
