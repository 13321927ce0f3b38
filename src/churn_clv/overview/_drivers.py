"""What puts money at risk, by theme: contributions to the log-odds of lapse turned into margin."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import polars as pl

from churn_clv import explain, playbook, timeline
from churn_clv.bundle import Bundle
from churn_clv.errors import UserError
from churn_clv.events import Log
from churn_clv.models.predict import Floats

# Rows explained at once.
CHUNK = 5_000
LEVEL = 1e-9


def in_money(base: float, parts: Floats, value: Floats) -> Floats:
    """(themes, rows): margin that each theme puts at risk beyond the base customer's risk; negative where it lowers it.

    With log-odds s = base + sum of parts, V (P(s) - P(base)) is shared in proportion to the parts. That is the share of
    each along the straight way from the base customer to this one (Aumann and Shapley 1974), so it adds up exactly.
    """
    total = parts.sum(axis=0)
    risk = _probability(base + total)
    slope = np.where(np.abs(total) > LEVEL, (risk - _probability(base)) / np.where(total == 0, 1.0, total),
                     _probability(base) * (1 - _probability(base)))  # fmt: skip
    return np.asarray(value * slope * parts)


def _probability(log_odds: Any) -> Any:
    return 1.0 / (1.0 + np.exp(-log_odds))


def drivers(own: Bundle, log: Log, scores: pl.DataFrame, margin: float) -> dict[str, Any]:
    """By theme, over all eligible with a value: ``raises`` and ``lowers`` (money), ``customers`` whom it raises most.

    ``base`` is what would be at risk if everyone were the base customer, ``at_risk`` what is: base + all themes.
    """
    there = scores.with_columns(margin=pl.Series(playbook.own_rates(scores, margin)))
    asked = there.filter("eligible").select("customer_id", "cutoff", "churn_probability", "expected_spend", "margin")
    asked = asked.drop_nulls()
    if asked.is_empty():
        raise UserError("no customer is eligible, so nobody has a risk to explain. Take another cutoff, or a longer "
                        "`population.active_within_days`")  # fmt: skip
    meanings = explain.meanings(own.definitions)
    themes = [theme for theme in explain.THEMES if any(meanings[n].theme == theme for n in own.core_features)]
    which = np.array([themes.index(meanings[name].theme) for name in own.core_features])
    up, down, most = np.zeros(len(themes)), np.zeros(len(themes)), np.zeros(len(themes))
    base, at_risk = [], []
    for start in range(0, asked.height, CHUNK):
        part = asked.slice(start, CHUNK)
        frame = log.frame.filter(pl.col("customer_id").is_in(part["customer_id"].implode()))
        pairs = timeline.pairs_of(part["customer_id"], [part["cutoff"][0]])
        rows = own.rows_of(frame, pairs)
        told = explain.contributions(own, own.values(rows))
        part = rows.select("customer_id").join(part, on="customer_id", how="left", maintain_order="left")
        risk = part["churn_probability"].to_numpy()
        value = np.nan_to_num(playbook.value_of(part["expected_spend"].to_numpy(), risk, part["margin"].to_numpy()))
        parts = np.stack([told.parts[which == t].sum(axis=0) for t in range(len(themes))])
        money = in_money(told.base, parts, value)
        up, down = up + np.maximum(money, 0).sum(axis=1), down + np.minimum(money, 0).sum(axis=1)
        raised = money.max(axis=0) > 0
        most += np.bincount(money.argmax(axis=0)[raised], minlength=len(themes))
        base.append(float((_probability(told.base) * value).sum()))
        at_risk.append(float((_probability(told.score) * value).sum()))
    return {
        "customers": asked.height, "base": math.fsum(base), "at_risk": math.fsum(at_risk),
        "themes": [
            {"theme": name, "raises": float(up[t]), "lowers": float(down[t]), "customers": int(most[t])}
            for t, name in enumerate(themes)
        ],
    }  # fmt: skip
