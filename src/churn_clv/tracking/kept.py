"""A run that the store could not take: written to a small store of its own on disk, and copied over later.

The same code records it, so nothing is missing. A copied run carries the id under which it was kept: a copy that broke
off is continued, and none is made twice.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlflow import MlflowClient
from mlflow.entities import Metric, Param, Run

from churn_clv.config import Config
from churn_clv.tracking import owner
from churn_clv.tracking.runs import log_run
from churn_clv.tracking.store import connect, experiment, locked

if TYPE_CHECKING:
    from churn_clv.training import Trained

KEPT_ID = "kept_id"
DATABASE, FILES = "run.db", "artifacts"
VARIABLE = "MLFLOW_TRACKING_URI"
AT_ONCE = 100  # of MLflow's most parameters in one call


def keep_run(
    config: Config, trained: Trained, document: dict[str, Any], bundle: Path, folder: Path, bare: bool = False
) -> None:
    """Record the training in ``folder``: run.db, with the files under artifacts/; ``bare`` as in ``log_run``."""
    with _tracking_to(folder / DATABASE):
        client = connect(config)
        name = config.tracking.experiment or config.registered_name
        client.create_experiment(name, artifact_location=(folder / FILES).resolve().as_uri())
        log_run(config, trained, document, bundle, bare)


def send_run(config: Config, folder: Path, kept_id: str) -> str:
    """Copy the kept run into the config's store, or finish a copy that broke off; returns the run's id there."""
    old = MlflowClient(tracking_uri=_uri(folder / DATABASE))
    [there] = old.search_runs([e.experiment_id for e in old.search_experiments()])
    client, place = connect(config), experiment(config)
    found = client.search_runs([place], f"tags.`{KEPT_ID}` = '{kept_id}'")
    run = found[0] if found else _begin(client, place, there, kept_id)
    run_id = str(run.info.run_id)
    if run.info.status == "FINISHED":
        return run_id
    if there.inputs and not (run.inputs and run.inputs.dataset_inputs):
        with locked(config):  # two runs that record one data set at once break MLflow's unique index
            client.log_inputs(run_id, list(there.inputs.dataset_inputs))
    metrics = [m for key in there.data.metrics for m in old.get_metric_history(there.info.run_id, key)]
    fresh = [Metric(m.key, m.value, m.timestamp, m.step) for m in metrics]
    for first in range(0, len(fresh), AT_ONCE):
        client.log_batch(run_id, metrics=fresh[first : first + AT_ONCE])
    settings = [Param(key, value) for key, value in there.data.params.items()]
    for first in range(0, len(settings), AT_ONCE):
        client.log_batch(run_id, params=settings[first : first + AT_ONCE])
    client.log_artifacts(run_id, str(folder / FILES / there.info.run_id / "artifacts"))
    client.set_terminated(run_id, "FINISHED", end_time=there.info.end_time)
    return run_id


def version_of_run(config: Config, run_id: str) -> int | None:
    """The registered version that was made of a run, None where there is none."""
    found = connect(config).search_model_versions(f"run_id = '{run_id}'")
    mine = [int(v.version) for v in found if v.name == config.registered_name]
    return max(mine, default=None)


def _begin(client: MlflowClient, experiment_id: str, there: Run, kept_id: str) -> Run:
    tags = {k: v for k, v in there.data.tags.items() if k != "mlflow.runName"}
    return client.create_run(
        experiment_id,
        start_time=there.info.start_time,
        tags=tags | owner.tags() | {KEPT_ID: kept_id},
        run_name=there.info.run_name,
    )


@contextmanager
def _tracking_to(database: Path) -> Iterator[None]:
    """For so long the store is this file, whatever the config and the environment say."""
    before = os.environ.get(VARIABLE)
    os.environ[VARIABLE] = _uri(database)
    try:
        yield
    finally:
        if before is None:
            del os.environ[VARIABLE]
        else:
            os.environ[VARIABLE] = before


def _uri(database: Path) -> str:
    return f"sqlite:///{database.resolve()}"
