"""One training or backtest, one run: parameters, metrics, tags, the data set, tables, plots, the model card."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from mlflow import MlflowClient

from churn_clv import card
from churn_clv.bundle import verify
from churn_clv.config import Config, to_yaml
from churn_clv.pseudonym import id_key, key_name
from churn_clv.tracking import owner
from churn_clv.tracking._artifacts import (
    CONFIG,
    DOCUMENT,
    PREDICTIONS,
    TABLES,
    as_json,
    dataset_input,
    keyed_predictions,
    write_tables,
    write_training,
)
from churn_clv.tracking._metrics import backtest_metrics, parameters, training_metrics
from churn_clv.tracking._tags import code_version, made, run_name, tags
from churn_clv.tracking.store import connect, experiment, locked

if TYPE_CHECKING:
    from churn_clv.training import Trained

__all__ = [
    "CONFIG",
    "DOCUMENT",
    "PREDICTIONS",
    "code_version",
    "keep_document",
    "keyed_predictions",
    "log_backtest",
    "log_run",
    "made",
]

MISSING = "missing"  # tag: what of a run's artifacts could not be made


def log_run(config: Config, trained: Trained, document: dict[str, Any], bundle_folder: Path, bare: bool = False) -> str:
    """Record one training; returns the run's id. A run that breaks off is marked FAILED (by Ctrl-C: KILLED).

    ``document`` is what ``train --json`` prints, kept as document.json; what it lacks is the training's own. Its
    ``ladder`` is what metrics, note, card and plot show. ``bundle_folder`` is the saved bundle, of which only the
    identity is recorded here (``register`` stores it). Customers appear under keyed pseudonyms only. ``bare``: without
    note, plots and card, and tagged so.
    """
    client = connect(config)
    trained = replace(trained, ladder=document.get("ladder", trained.ladder))
    cutoff = trained.plan.test.isoformat()
    told = _completed(document, trained)
    own = tags("train", config, told, TABLES) | {
        "fingerprint": str(trained.data["fingerprint"]),
        "test_cutoff": cutoff,
        "bundle_sha256": verify(bundle_folder)["version"],
        "id_key": key_name(id_key(config.out)),
    }
    own |= {MISSING: "note, plots, card"} if bare else {"mlflow.note.content": card.note(told, config)}
    if "reproduces" in document:
        own["reproduces"] = str(document["reproduces"]["run_id"])
    run = client.create_run(experiment(config), tags=own | owner.tags(), run_name=run_name("train", cutoff, config))
    run_id = str(run.info.run_id)
    with _ended(client, run_id):
        size = {key: value for key, value in trained.data.items() if key in ("rows", "customers")}
        log = dataset_input(config, str(trained.data["fingerprint"]), size, "training")
        with locked(config):  # two runs that record one data set at once break MLflow's unique index
            client.log_inputs(run_id, [log])
        client.log_batch(run_id, metrics=training_metrics(told, trained.ladder), params=parameters(config))
        with TemporaryDirectory() as folder:
            write_training(Path(folder), config, trained, told | {"run_id": run_id}, bare)
            (Path(folder) / DOCUMENT).write_text(as_json(document), encoding="utf-8")
            client.log_artifacts(run_id, folder)
    return run_id


def log_backtest(config: Config, document: dict[str, Any], folder: Path) -> str:
    """Record one backtest; returns the run's id. ``folder`` holds its report, which becomes the run's artifacts."""
    client, cutoff = connect(config), str(document["cutoffs"][-1])
    own = tags("backtest", config, document, TABLES) | {
        "fingerprint": str(document.get("fingerprint", "unknown")),
        "test_cutoff": cutoff,
        "final": str(document["final"]),
        "cutoffs": ", ".join(document["cutoffs"]),
    }
    if document.get("grade"):
        own["mlflow.note.content"] = card.backtest_note(document)
    run = client.create_run(experiment(config), tags=own | owner.tags(), run_name=run_name("backtest", cutoff, config))
    run_id = str(run.info.run_id)
    with _ended(client, run_id):
        if "fingerprint" in document:
            with locked(config):
                client.log_inputs(run_id, [dataset_input(config, str(document["fingerprint"]), {}, "backtest")])
        client.log_batch(run_id, metrics=backtest_metrics(document), params=parameters(config))
        with TemporaryDirectory() as beside:
            write_tables(Path(beside), [{"rung": s["rung"]} | s["mean"] for s in document["ladder"]], document)
            (Path(beside) / CONFIG).write_text(to_yaml(config), encoding="utf-8")
            client.log_artifacts(run_id, beside)
        client.log_artifacts(run_id, str(folder))
    return run_id


def keep_document(config: Config, run_id: str, document: dict[str, Any]) -> None:
    """Replace a run's document.json: run id, model version and verdict are known only after the run is recorded."""
    connect(config).log_text(run_id, as_json(document), DOCUMENT)


def _completed(document: dict[str, Any], trained: Trained) -> dict[str, Any]:
    """The document with what a card needs, where the caller's has it not."""
    own = {"ladder": trained.ladder, "data": trained.data, "plan": trained.plan.rows(), "targets": trained.targets,
           "strata": trained.strata, "why": "Not yet compared with a champion."}  # fmt: skip
    return own | document


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
