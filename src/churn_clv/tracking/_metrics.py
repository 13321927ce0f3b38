"""A run's numbers and parameters, under the same keys in every run, so that MLflow's page puts them side by side.

``churn_auroc`` is the judged recipe's (of a backtest the mean over its cutoffs), ``worst/churn_auroc`` its worst
cutoff's (of a training: its only one's), ``vs_logistic/churn_auroc`` a rung's: MLflow sorts by name, and a run's own
numbers come first. A metric that does not apply is left out,
since MLflow cannot hold a null: a run that predicts no money has no ``spend_`` key.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from mlflow.entities import Metric, Param

from churn_clv.config import Config
from churn_clv.grade import POINTS
from churn_clv.metrics import METRIC_KEYS
from churn_clv.wording import above_floor

JUDGED = "champion"
PARAMETERS = ("seed", "timeline", "population", "targets", "features", "models", "bundle", "promotion", "grade")
# Of the rungs only what decides; the rest of their numbers is in the ladder's table.
OF_RUNGS = ("churn_auroc", "churn_log_loss", "churn_ece", "churn_lift_top_decile", "spend_gini", "spend_mae",
            "spend_tweedie_deviance", "spend_total_ratio")  # fmt: skip

Values = Mapping[str, float | None]


def training_metrics(document: Mapping[str, Any], ladder: Sequence[Mapping[str, Any]]) -> list[Metric]:
    """Of a training: ``ladder`` has the judged recipe first, then the rungs."""
    own, rungs = ladder[0]["metrics"], {step["rung"]: step["metrics"] for step in ladder[1:]}
    rate = document.get("data", {}).get("label_return_rate")
    found = _numbers(own, own, rungs, document, rate, 1)
    for name, one in (document.get("targets") or {}).items():
        found |= _own_target(name, one["ladder"])
    return _as_metrics(found)


def backtest_metrics(document: Mapping[str, Any]) -> list[Metric]:
    """Of a backtest. What only it knows stands under ``only_backtest/``."""
    ladder, rate = document["ladder"], document.get("label_return_rate")
    rungs = {row["rung"]: row["mean"] for row in ladder[1:]}
    own, cutoffs = ladder[0]["mean"], len(document["cutoffs"])
    found = _numbers(own, ladder[0]["worst"], rungs, document, rate, cutoffs)
    found |= {f"only_backtest/{k}": v for k, v in own.items() if k not in METRIC_KEYS}
    return _as_metrics(found | _of_forecast(document.get("forecast")))


def _of_forecast(found: Mapping[str, Any] | None) -> dict[str, float | None]:
    """Of the sales forecast: what is to come of known and new customers, the total's band, and how far it was off."""
    if not found:
        return {}
    told = {f"{part}_expected": found[part]["expected"] for part in ("known", "new", "total")}
    told |= {f"total_{end}": found["total"][end] for end in ("low", "high")}
    told |= {key: found[key] for key in ("last_horizon", "mape", "naive_mape", "inside_band", "banded_origins")}
    return {f"only_backtest/forecast_{key}": value for key, value in told.items()}


def _numbers(
    own: Values,
    worst: Values,
    rungs: Mapping[str, Values],
    document: Mapping[str, Any],
    rate: float | None,
    cutoffs: int,
) -> dict[str, float | None]:
    letter = (document.get("grade") or {}).get("letter")
    found: dict[str, float | None] = {key: own.get(key) for key in METRIC_KEYS}
    found |= {
        "churn_ece_above_floor": above_floor(own),
        "grade_points": POINTS[letter] if letter else None,
        "label_return_rate": rate,
        "test_cutoffs": cutoffs,
    }
    found |= {f"worst/{key}": worst.get(key) for key in METRIC_KEYS}
    return found | {f"vs_{name}/{key}": values.get(key) for name, values in rungs.items() for key in OF_RUNGS}


def _own_target(name: str, ladder: Sequence[Mapping[str, Any]]) -> dict[str, float | None]:
    """The user's own targets: ``target.back/auroc``, and of a rung ``target.back/vs_logistic/auroc``."""
    return {
        f"target.{name}/{key}" if step["rung"] == JUDGED else f"target.{name}/vs_{step['rung']}/{key}": value
        for step in ladder
        for key, value in step["metrics"].items()
    }


def _as_metrics(found: Values) -> list[Metric]:
    now = int(time.time() * 1000)
    return [Metric(key, float(value), now, 0) for key, value in found.items() if value is not None]


def parameters(config: Config) -> list[Param]:
    values = config.model_dump(mode="json", by_alias=True, include=set(PARAMETERS))
    return [Param(key, value) for key, value in _flat(values)]


def _flat(values: dict[str, Any], above: str = "") -> Iterator[tuple[str, str]]:
    """Nested settings as dotted names; lists and targets as JSON."""
    for key, value in values.items():
        if isinstance(value, dict) and above != "targets.":
            yield from _flat(value, f"{above}{key}.")
        else:
            yield f"{above}{key}", value if isinstance(value, str) else json.dumps(value)
