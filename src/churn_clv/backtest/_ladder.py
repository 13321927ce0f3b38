"""The ladder of a backtest: every rung's metrics at every cutoff, and whether the champion is better (D10-D13)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl

from churn_clv import comparison, config, empc, metrics
from churn_clv.backtest._looks import CHAMPION, Look, labels_at, pool, rung_at, rung_names
from churn_clv.comparison import HIGHER, Party, Rows
from churn_clv.models.baseline import metrics_of

EXTRA_KEYS = ("churn_empc", "spend_rmse_winsorised")
COMPARED = ("churn_log_loss", "spend_tweedie_deviance", "churn_auroc", "spend_gini")


def ladder_row(
    name: str, looks: Sequence[Look], settings: config.Config, value: dict[str, float] | None
) -> dict[str, Any]:
    """A rung's metrics at each cutoff, their mean and the worst."""
    by_cutoff = [_numbers(name, look, settings, value) for look in looks]
    keys = (*metrics.METRIC_KEYS, *EXTRA_KEYS)
    return {
        "rung": name,
        "note": None,
        "mean": {k: mean([row[k] for row in by_cutoff]) for k in keys},
        "worst": {k: worst(k, [row[k] for row in by_cutoff]) for k in keys},
        "by_cutoff": by_cutoff,
    }


def _numbers(name: str, look: Look, settings: config.Config, value: dict[str, float] | None) -> dict[str, Any]:
    """Every metric of a rung at a cutoff, and the band of the champion's total."""
    rung, (churned, spend) = rung_at(look, name), labels_at(look)
    found: dict[str, Any] = {"cutoff": look.cutoff.isoformat()} | metrics_of(rung, churned, spend)
    found |= dict.fromkeys((*EXTRA_KEYS, "spend_total_low", "spend_total_high"))
    if value is not None and rung.churn_score is not None:
        found["churn_empc"] = empc.empc(churned, rung.churn_score, **value, accept=settings.value.accept)[0]
    if rung.spend is not None and spend is not None and look.winsor is not None:
        gap = np.minimum(rung.spend, look.winsor) - np.minimum(spend, look.winsor)
        found["spend_rmse_winsorised"] = float(np.sqrt((gap**2).mean()))
    if name == CHAMPION and look.band is not None:
        found["spend_total_low"], found["spend_total_high"] = look.band
    return found


def mean(values: Sequence[float | None]) -> float | None:
    """The mean, None where any cutoff has no value."""
    known = [v for v in values if v is not None]
    return float(np.mean(known)) if len(known) == len(values) else None


def worst(key: str, values: Sequence[float | None]) -> float | None:
    """The worst of a metric's values, None where any cutoff has none."""
    known = [v for v in values if v is not None]
    if len(known) < len(values):
        return None
    if key == "spend_total_ratio":
        return max(known, key=lambda v: abs(v - 1))
    return min(known) if key in HIGHER or key == "n" else max(known)


def value_of(looks: Sequence[Look], settings: config.Config) -> dict[str, float] | None:
    """What EMPC prices with: from the config, else from the mean spend of those who stayed before the first cutoff."""
    own, look = settings.value, looks[0]
    worth = own.customer_value
    if worth is None:
        if "spend" not in look.judged.targets:
            return None
        plan, shop = look.judged.plan, look.judged.shop
        rows, horizon = shop.rows(plan.judged), plan.horizon_days
        stayed = shop.label("churned", horizon, plan.test)[rows] == 0
        worth = own.margin_share * float(shop.label("spend", horizon, plan.test)[rows][stayed].mean())
    return {"value": worth, "offer": own.offer or worth / 10, "contact": own.contact or worth / 100}


# --- who is better --------------------------------------------------------------------------------
def comparisons(
    looks: Sequence[Look], rows: Sequence[Mapping[str, Any]], settings: config.Config
) -> dict[str, dict[str, Any]]:
    """The champion against the best rung on each metric: champion minus rung, simultaneous over the rungs (D10)."""
    parties = [_party(looks, name) for name in rung_names(looks)]
    means = {row["rung"]: row["mean"] for row in rows}
    draws, seed = settings.promotion.bootstrap_draws, settings.seed
    return comparison.verdicts(parties[0], parties[1:], means, COMPARED, _rows(looks), draws, seed)


def _rows(looks: Sequence[Look]) -> Rows:
    ids = pl.concat([look.judged.test["customer_id"] for look in looks])
    sizes = np.cumsum([0, *(look.judged.test.height for look in looks)])
    cutoffs = {look.cutoff: np.arange(sizes[i], sizes[i + 1]) for i, look in enumerate(looks)}
    money = pool(looks, "spend") if "spend" in looks[0].judged.targets else None
    return Rows(
        (ids.rank("dense").cast(pl.Int64) - 1).to_numpy().astype(np.intp), cutoffs, pool(looks, "churned"), money
    )


def _party(looks: Sequence[Look], name: str) -> Party:
    found = [rung_at(look, name) for look in looks]
    churn = [r.churn_score for r in found if r.churn_score is not None]
    money = [r.spend for r in found if r.spend is not None]
    return Party(
        name,
        np.concatenate(churn) if len(churn) == len(found) else None,
        found[0].churn_is_probability,
        np.concatenate(money) if len(money) == len(found) else None,
    )
