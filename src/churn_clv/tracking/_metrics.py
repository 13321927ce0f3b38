"""A run's numbers and parameters, named so that runs can be put side by side."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from mlflow.entities import Metric, Param

from churn_clv.config import Config

if TYPE_CHECKING:
    from churn_clv.training import Trained

JUDGED = "champion"
PARAMETERS = ("seed", "timeline", "population", "targets", "features", "models", "bundle", "promotion")


def ladder_metrics(ladder: list[dict[str, Any]]) -> list[Metric]:
    now = int(time.time() * 1000)
    return [
        Metric(key if step["rung"] == JUDGED else f"{step['rung']}/{key}", float(value), now, 0)
        for step in ladder
        for key, value in step["metrics"].items()
        if value is not None
    ]


def own_metrics(trained: Trained) -> list[Metric]:
    """The user's own targets: ``target.second_order/auroc``, and of a rung ``target.second_order/logistic/auroc``."""
    out = []
    for name, found in trained.targets.items():
        for metric in ladder_metrics(found["ladder"]):
            out.append(Metric(f"target.{name}/{metric.key}", metric.value, metric.timestamp, metric.step))
    return out


def data_metrics(data: dict[str, Any]) -> list[Metric]:
    """What the labels mean, as numbers that runs can be sorted by."""
    rate = data.get("label_return_rate")
    return [] if rate is None else [Metric("label_return_rate", float(rate), int(time.time() * 1000), 0)]


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
