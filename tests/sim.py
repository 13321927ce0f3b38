"""Small simulated logs and settings that train in seconds, for the tests that need a trained recipe."""

from __future__ import annotations

import dataclasses
from functools import cache
from typing import Any

import polars as pl
import yaml

from churn_clv import config, events
from churn_clv.simulate import simulate

QUICK = {
    "learning_rate": 0.1,
    "num_leaves": 7,
    "min_data_in_leaf": 20,
    "max_rounds": 40,
}


def settings(**sections: dict[str, Any]) -> config.Config:
    """The defaults with quick boosters, four training cutoffs two weeks apart, and these sections' changes."""
    values = yaml.safe_load(config.shipped_text("default.yaml"))
    changes: dict[str, Any] = {
        "timeline": {"step_days": 14, "max_train_cutoffs": 4},
        "population": {"active_within_days": 84},
        "simulate": {"customers": 600, "days": 364},
        "models": {
            "threads": 1,
            "churn": values["models"]["churn"] | QUICK,
            "spend": values["models"]["spend"] | QUICK,
        },
    }
    for section, own in sections.items():
        changes[section] = changes.get(section, {}) | own
    for section, own in changes.items():
        values[section] = (values.get(section) or {}) | own
    return config.from_dict(values | {"dataset": "simulated", "seed": 3})


@cache
def log(customers: int = 600, days: int = 364, seed: int = 1) -> events.Log:
    """A simulated log: purchases, returns, visits, mails, coupons, complaints."""
    own = settings(simulate={"customers": customers, "days": days})
    made = simulate(own.simulate, seed)
    return events.from_frame(made.log, events.rules_of(own.events), made.ends)


def changed(whole: events.Log, frame: pl.DataFrame) -> events.Log:
    """The same log with other events."""
    return dataclasses.replace(whole, frame=frame, fingerprint=events.fingerprint(frame))
