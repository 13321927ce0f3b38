"""One training, one run: parameters, metrics, the data set's fingerprint, plots and out-of-time predictions.

Metric keys: ``churn_auroc`` is the judged recipe's, ``recency_rule/churn_auroc`` a rung's (MLflow's page groups by
the slash). A metric that does not apply is left out: MLflow cannot hold a null.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from mlflow import MlflowClient
from mlflow.entities import Metric

from churn_clv.config import Config
from churn_clv.tracking._artifacts import (
    DOCUMENT,
    PREDICTIONS,
    as_json,
    dataset_input,
    keyed_predictions,
    write_artifacts,
)
from churn_clv.tracking._metrics import JUDGED, data_metrics, ladder_metrics, own_metrics, parameters
from churn_clv.tracking._tags import code_version, training_tags
from churn_clv.tracking.store import connect, experiment, locked

if TYPE_CHECKING:
    from churn_clv.training import Trained

__all__ = ["DOCUMENT", "PREDICTIONS", "code_version", "keep_document", "keyed_predictions", "log_backtest", "log_run"]


def log_run(config: Config, trained: Trained, document: dict[str, Any], bundle_folder: Path) -> str:
    """Record one training; returns the run's id. A run that breaks off is marked FAILED (by Ctrl-C: KILLED).

    ``document`` is what ``train --json`` prints, kept as document.json; its ``ladder`` (default: the training's) is
    what metrics, note and plot show. ``bundle_folder`` is the saved bundle, of which only the identity is recorded
    here (``register`` stores it). Customers appear under keyed pseudonyms only.
    """
    client = connect(config)
    trained = replace(trained, ladder=document.get("ladder", trained.ladder))
    name = f"{config.registered_name} {trained.plan.test.isoformat()}"
    run = client.create_run(experiment(config), tags=training_tags(config, trained, bundle_folder), run_name=name)
    run_id = str(run.info.run_id)
    with _ended(client, run_id):
        with locked(config):  # two runs that record one data set at once break MLflow's unique index
            client.log_inputs(run_id, [dataset_input(config, trained)])
        client.log_batch(
            run_id,
            metrics=data_metrics(trained.data) + ladder_metrics(trained.ladder) + own_metrics(trained),
            params=parameters(config),
        )
        with TemporaryDirectory() as folder:
            write_artifacts(Path(folder), config, trained, document)
            client.log_artifacts(run_id, folder)
    return run_id


def log_backtest(config: Config, document: dict[str, Any], folder: Path) -> str:
    """Record one backtest; returns the run's id. ``folder`` holds its report, which becomes the run's artifacts.

    Metric keys: ``churn_auroc`` the recipe's mean over the cutoffs, ``worst/churn_auroc`` its worst, and
    ``logistic/churn_auroc`` a rung's mean.
    """
    client, ladder = connect(config), document["ladder"]
    version, code = code_version()
    tags = {
        "kind": "backtest",
        "dataset": config.dataset,
        "recipe_hash": config.recipe_hash,
        "final": str(document["final"]),
        "cutoffs": ", ".join(document["cutoffs"]),
        "code_version": version,
        "code_hash": code,
        "mlflow.source.name": "churn-clv backtest",
        "mlflow.source.type": "LOCAL",
    }
    name = f"{config.registered_name} backtest {document['cutoffs'][-1]}"
    run_id = str(client.create_run(experiment(config), tags=tags, run_name=name).info.run_id)
    with _ended(client, run_id):
        now = int(time.time() * 1000)
        found = {f"worst/{k}": v for k, v in ladder[0]["worst"].items()}
        for row in ladder:
            found |= {k if row["rung"] == JUDGED else f"{row['rung']}/{k}": v for k, v in row["mean"].items()}
        metrics = [Metric(k, float(v), now, 0) for k, v in found.items() if v is not None]
        client.log_batch(run_id, metrics=metrics, params=parameters(config))
        client.log_artifacts(run_id, str(folder))
    return run_id


def keep_document(config: Config, run_id: str, document: dict[str, Any]) -> None:
    """Replace a run's document.json: run id, model version and verdict are known only after the run is recorded."""
    connect(config).log_text(run_id, as_json(document), DOCUMENT)


@contextmanager
def _ended(client: MlflowClient, run_id: str) -> Iterator[None]:
    """End the run in any case. The first error counts: a store that is gone cannot take the status either."""
    try:
        yield
    except BaseException as error:
        with suppress(Exception):
            client.set_terminated(run_id, "FAILED" if isinstance(error, Exception) else "KILLED")
        raise
    client.set_terminated(run_id, "FINISHED")
