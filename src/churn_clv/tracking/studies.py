"""One tuning, one parent run with a child run for each finished trial, made by hand and each logged in one batch."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlflow.entities import Metric, Param

from churn_clv.config import Config
from churn_clv.tracking import owner
from churn_clv.tracking.runs import _ended, code_version
from churn_clv.tracking.store import connect, experiment

PARENT = "mlflow.parentRunId"


@dataclass(frozen=True)
class Told:
    """A finished trial as it is recorded; times in milliseconds since 1970."""

    head: str
    number: int
    pruned: bool
    value: float | None
    trees: int | None
    params: Mapping[str, Any]
    steps: Mapping[int, float]
    began: int
    ended: int


def log_study(config: Config, document: Mapping[str, Any], trials: Sequence[Told], folder: Path) -> str:
    """Record a tuning; returns the parent run's id. ``folder`` holds plots and overlay, which become its artifacts.

    Parent metrics: ``churn_best``, ``churn_at_default``, ``tuned/churn_log_loss``, ``default/churn_log_loss`` and
    ``tuned_minus_default/churn_log_loss``. A child has its trial's parameters, ``value`` (for a trial cut short: none)
    and ``loss_so_far`` after each validation cutoff.
    """
    client, where = connect(config), experiment(config)
    version, code = code_version()
    common = {"dataset": config.dataset, "recipe_hash": config.recipe_hash, "code_version": version, "code_hash": code,
              "mlflow.source.name": "churn-clv tune", "mlflow.source.type": "LOCAL"} | owner.tags()  # fmt: skip
    name = f"{config.registered_name} tuning {document['search_cutoffs'][-1]}"
    tags = common | {"kind": "tuning", "fingerprint": document["fingerprint"], "mlflow.note.content": _note(document)}
    run_id = str(client.create_run(where, tags=tags, run_name=name).info.run_id)
    with _ended(client, run_id):
        client.log_batch(run_id, metrics=_metrics(document), params=_params(document))
        client.log_artifacts(run_id, str(folder))
        for trial in trials:
            own = {"kind": "trial", "head": trial.head, "trial": str(trial.number), "pruned": str(trial.pruned)}
            made = client.create_run(where, start_time=trial.began, tags=common | own | {PARENT: run_id},
                                     run_name=f"{trial.head} {trial.number}")  # fmt: skip
            child = str(made.info.run_id)
            found = [Metric("loss_so_far", v, trial.ended, k) for k, v in trial.steps.items()]
            found += [Metric("value", trial.value, trial.ended, 0)] if trial.value is not None else []
            found += [Metric("trees", float(trial.trees), trial.ended, 0)] if trial.trees is not None else []
            client.log_batch(child, metrics=found, params=[Param(k, str(v)) for k, v in trial.params.items()])
            client.set_terminated(child, "FINISHED", trial.ended)
    return run_id


def _metrics(document: Mapping[str, Any]) -> list[Metric]:
    now = int(time.time() * 1000)
    found = {"n_complete": document["n_complete"], "n_pruned": document["n_pruned"]}
    for head, best in document["best"].items():
        found |= {f"{head}_best": best["value"], f"{head}_at_default": best["default_value"]}
    for metric, row in (document["tuned_minus_default"] or {}).items():
        found |= {f"tuned/{metric}": row["tuned"], f"default/{metric}": row["default"],
                  f"tuned_minus_default/{metric}": row["difference"]}  # fmt: skip
    return [Metric(k, float(v), now, 0) for k, v in found.items()]


def _params(document: Mapping[str, Any]) -> list[Param]:
    values = {"step_days": document["step_days"]}
    for head, best in document["best"].items():
        values |= {f"{head}.{k}": v for k, v in best["params"].items()}
    return [Param(k, v if isinstance(v, str) else json.dumps(v)) for k, v in values.items()]


def _note(document: Mapping[str, Any]) -> str:
    """What a reader of MLflow's page sees first, as Markdown."""
    lines = [f"Tuning of **{document['dataset']}**: {document['verdict']}.", "",
             f"Searched on {', '.join(document['search_cutoffs'])}; judged on "
             f"{', '.join(document['judged_cutoffs']) or 'no later cutoff'}."]  # fmt: skip
    if rows := document["tuned_minus_default"]:
        lines += ["", "| metric | tuned | default | tuned minus default | 95% interval |", "|---" * 5 + "|"]
        lines += [f"| {m} | {r['tuned']:.5g} | {r['default']:.5g} | {r['difference']:+.3g} | "
                  f"{r['low']:+.3g} to {r['high']:+.3g} |" for m, r in rows.items()]  # fmt: skip
    return "\n".join([*lines, "", *document["notes"]])
