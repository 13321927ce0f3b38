"""One registered model per question (contract K4): what makes two models comparable, and the check of it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from mlflow.entities.model_registry import RegisteredModel
from mlflow.exceptions import MlflowException

from churn_clv.config import CORE, Config, Target
from churn_clv.errors import UserError
from churn_clv.tracking.store import connect

TAG = "question"
PARTS = "question_parts"


def parts(config: Config) -> dict[str, Any]:
    """Data set, horizon, population and label definitions: all that must agree before two models are compared.

    Of the targets those that are compared: others come and go without making it another question.
    """
    events = config.events
    return {
        "dataset": config.dataset,
        "timeline.horizon_days": config.timeline.horizon_days,
        "timeline.min_history_days": config.timeline.min_history_days,
        "population.active_within_days": config.population.active_within_days,
        "targets": {name: _target(target) for name, target in sorted(config.targets.items()) if name in CORE},
        "events.timezone": events.timezone,
        "events.currency": events.currency,
        "events.zero_amount": events.zero_amount,
        "events.negative_amount": events.negative_amount,
    }


def _target(target: Target) -> dict[str, Any]:
    """A target's definition, without what is not set: models registered by older versions know no such key."""
    found = target.model_dump(mode="json", exclude={"has", "has_not", "contract"})
    if found["events"]["event_types"] is None:
        del found["events"]["event_types"]
    return found


def tags(config: Config) -> dict[str, str]:
    """The question as tags of a registered model: a hash to compare and the parts to explain a difference."""
    text = json.dumps(parts(config), sort_keys=True)
    return {TAG: hashlib.sha256(text.encode()).hexdigest()[:16], PARTS: text}


def same(config: Config, run_tags: Mapping[str, str]) -> bool:
    """Whether a run of these tags answers the config's question."""
    return run_tags.get(TAG) == tags(config)[TAG]


def check_same_question(config: Config) -> None:
    """Raise UserError when the registered model of this name answers another question; call before training."""
    model = registered(config)
    if model is None or model.tags.get(TAG) == tags(config)[TAG]:
        return
    name, way_out = config.registered_name, "Give this question its own name with model_name in the config."
    if PARTS not in model.tags:
        raise UserError(f"the registered model '{name}' was not made by churn-clv train. {way_out}")
    told = differences(json.loads(model.tags[PARTS]), json.loads(json.dumps(parts(config))))
    raise UserError(
        f"the registered model '{name}' answers another question, so the two cannot be compared "
        f"({len(told)} difference(s)):\n  " + "\n  ".join(told) + f"\n{way_out}"
    )


def differences(there: dict[str, Any], here: dict[str, Any]) -> list[str]:
    """What differs between the parts of two questions, a line each."""
    return [f"{key}: {_short(there.get(key))} there, {_short(here.get(key))} here" for key in sorted(there | here)
            if there.get(key) != here.get(key)]  # fmt: skip


def registered(config: Config) -> RegisteredModel | None:
    """The registered model of the config's name, or None."""
    try:
        return connect(config).get_registered_model(config.registered_name)
    except MlflowException as error:
        if error.error_code == "RESOURCE_DOES_NOT_EXIST":
            return None
        raise


def _short(value: Any, most: int = 160) -> str:
    text = json.dumps(value, sort_keys=True)
    return text if len(text) <= most else text[: most - 3] + "..."
