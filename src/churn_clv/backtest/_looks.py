"""A look: the recipe and every rung at one test cutoff, and their labels and predictions as arrays."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from churn_clv import labels, training
from churn_clv.metrics import Array
from churn_clv.models.baseline import Rung

CHAMPION = "champion"


@dataclass(frozen=True)
class Look:
    """The recipe and every rung at one test cutoff: labels, predictions and what the metrics need beside them."""

    judged: training.Judged
    rungs: tuple[Rung, ...]
    band: tuple[float, float] | None
    winsor: float | None

    @property
    def cutoff(self) -> dt.date:
        """The test cutoff."""
        return self.judged.plan.test


def rung_names(looks: Sequence[Look]) -> list[str]:
    """The champion and every rung that spoke at every cutoff, in the ladder's order."""
    common = set.intersection(*({r.name for r in look.rungs} for look in looks))
    return [CHAMPION, *(r.name for r in looks[-1].rungs if r.name in common)]


def rung_at(look: Look, name: str) -> Rung:
    """A rung's predictions at a cutoff, the champion's among them."""
    if name != CHAMPION:
        return next(r for r in look.rungs if r.name == name)
    own = look.judged.predictions
    money = own["expected_spend"].to_numpy() if "expected_spend" in own.columns else None
    return Rung(CHAMPION, own["churn_probability"].to_numpy(), True, money)


def labels_at(look: Look) -> tuple[Array, Array | None]:
    """Churned and, where the recipe has money, spend."""
    horizon, test = look.judged.plan.horizon_days, look.judged.test
    money = labels.column("spend", horizon)
    spend = test[money].to_numpy() if "spend" in look.judged.targets else None
    return test[labels.column("churned", horizon)].to_numpy(), spend


def pool(looks: Sequence[Look], what: str) -> Array:
    """A column over all cutoffs: churned, spend, churn_probability or expected_spend."""
    parts = []
    for look in looks:
        churned, spend = labels_at(look)
        own = {"churned": churned, "spend": spend}
        parts.append(own[what] if what in own else look.judged.predictions[what].to_numpy())
    return np.concatenate([np.asarray(p, dtype=np.float64) for p in parts])
