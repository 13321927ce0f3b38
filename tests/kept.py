"""Runs in a real MLflow store without their trainings: stored predictions, a document and a small real bundle."""

from __future__ import annotations

import json
import shutil
import tempfile
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from world import World

from churn_clv import bundle, config, tracking
from churn_clv.metrics import churn_metrics, spend_metrics
from churn_clv.pseudonym import id_key, key_name
from churn_clv.tracking import question, registry
from churn_clv.tracking.store import connect, experiment

ENDS = "2024-06-03"
TARGETS = {
    "churned": {"events": {"is_in": ["purchase"]}, "measure": "absent"},
    "spend": {"events": {"is_in": ["purchase", "return"]}, "measure": "amount"},
}
PASSED = {"name": "recency_rule.churn_auroc", "passed": True, "required": True, "text": "recency_rule is beaten",
          "lead": 0.1, "low": 0.05, "high": 0.15}  # fmt: skip
FAILED = PASSED | {"passed": False, "text": "recency_rule is not shown to be beaten"}
PLAN = [
    {"role": "judged refit", "labels_end": "2024-03-04"},
    {"role": "test", "labels_end": "2024-04-01"},
    {"role": "shipped refit", "labels_end": "2024-06-03"},
]


def settings(out: Path, **over: Any) -> config.Config:
    """The defaults about the data set ``tiny``, few bootstrap draws, everything under ``out``."""
    base = {"dataset": "tiny", "out": str(out), "targets": TARGETS, "promotion": {"bootstrap_draws": 200}}
    return config.from_dict(base | over)


def record(
    own: config.Config, folder: Path, oot: pl.DataFrame, checks: list[dict[str, Any]] | None = None,
    tags: dict[str, str] | None = None, **document: Any,
) -> str:  # fmt: skip
    """A run as a training leaves it, up to its registration; returns its id."""
    client, spend = connect(own), oot["expected_spend"].null_count() == 0
    known = {
        "dataset": own.dataset, "fingerprint": "data", "recipe_hash": own.recipe_hash, "core_hash": own.core_hash,
        "code_hash": "code", "code_version": "1", "horizon_days": "28", "id_key": key_name(id_key(own.out)),
        "grade": "A",
        "bundle_sha256": bundle.verify(folder)["version"], question.TAG: question.tags(own)[question.TAG],
    }  # fmt: skip
    run_id = str(client.create_run(experiment(own), tags=known | (tags or {})).info.run_id)
    found: dict[str, Any] = {**churn_metrics(oot["churned"], oot["churn_probability"]), "spend_gini": None}
    if spend:
        found |= spend_metrics(oot["spend"], oot["expected_spend"])
    whole = {
        "run_id": run_id, "promoted": False, "why": "", "checks": [PASSED] if checks is None else checks,
        "compared_with": None, "total_band": [0.5, 2.0], "plan": PLAN, "data": {"ends": ENDS, "targets_refused": {}},
        "ladder": [{"rung": "champion", "metrics": found}], "targets": {},
        "grade": {"letter": "A", "why": "Grade A: every rule is met.", "rules": []},
    } | document  # fmt: skip
    client.log_text(run_id, json.dumps(whole), "document.json")
    with tempfile.TemporaryDirectory() as place:  # one of its own: runs are recorded at once, as by two trainings
        oot.write_parquet(Path(place) / "oot_predictions.parquet")
        client.log_artifacts(run_id, place)
    client.log_param(run_id, "seed", own.seed)
    client.set_terminated(run_id, "FINISHED")
    return run_id


def registered(own: config.Config, folder: Path, oot: pl.DataFrame, **more: Any) -> int:
    """The same, registered; returns the version."""
    return tracking.register(own, record(own, folder, oot, **more), folder)


def without_wrapper(patch: pytest.MonkeyPatch) -> None:
    """Register bundles without the reviewers' wrapper, which takes most of the time and has a test of its own."""

    def write(draft: Path, folder: Path, described: Any) -> None:
        shutil.copytree(folder, draft / "model" / "artifacts" / "bundle")
        described.save(str(draft / "model" / "MLmodel"))

    patch.setattr(registry, "_write_model", write)


def three(seed: int = 0) -> list[pl.DataFrame]:
    """Stored predictions of one world by a poor, a good and a middling recipe."""
    world = World(1500, seed=seed)
    return [world.recipe(noise) for noise in (0.9, 0.1, 0.6)]
