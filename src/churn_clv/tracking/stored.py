"""A run as it is stored: found by id, prefix, version or alias, with its document and out-of-time predictions."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import polars as pl
from mlflow import MlflowClient
from mlflow.entities import Run
from mlflow.entities.model_registry import ModelVersion

from churn_clv.config import Config
from churn_clv.errors import UserError
from churn_clv.tracking import question
from churn_clv.tracking.runs import DOCUMENT, PREDICTIONS
from churn_clv.tracking.store import connect
from churn_clv.tracking.versions import download, named


@dataclass(frozen=True)
class Stored:
    """One training's run. ``started`` is in ms since 1970.

    ``version`` is a number of the registered model ``model``, which need not be the config's; both are None where the
    run was never registered.

    ``tags`` and ``params`` are the run's; ``parts`` the question's (None where unregistered); ``oot`` the judged
    recipe's predictions by customer_key.
    """

    run_id: str
    model: str | None
    version: int | None
    aliases: tuple[str, ...]
    tags: dict[str, str]
    params: dict[str, str]
    parts: dict[str, Any] | None
    document: dict[str, Any]
    oot: pl.DataFrame
    started: int


def find(config: Config, which: str) -> Stored:
    """The training that ``which`` names: an alias, a version's number, a run's id or the only one that starts so.

    Raises UserError where nothing or more than one thing is meant, or where the run is no training.
    """
    found = named(config, which)
    return _stored(config, connect(config), found.run, found.version)


def attach(config: Config, run_id: str, folder: Path, place: str) -> None:
    """Add the files of ``folder`` to a run's artifacts, under ``place``."""
    connect(config).log_artifacts(run_id, str(folder), place)


def _stored(config: Config, client: MlflowClient, run: Run, version: ModelVersion | None) -> Stored:
    run_id = str(run.info.run_id)
    if "bundle_sha256" not in run.data.tags:
        kind = run.data.tags.get("kind", "something else")
        raise UserError(f"run {run_id} is no training ({kind}), so it has no such predictions. Name a training's run.")
    model = client.get_registered_model(version.name) if version else None
    with TemporaryDirectory() as folder:
        document = download(config, f"{run.info.artifact_uri}/{DOCUMENT}", Path(folder))
        predictions = download(config, f"{run.info.artifact_uri}/{PREDICTIONS}", Path(folder))
        return Stored(
            run_id=run_id,
            model=str(version.name) if version else None,
            version=int(version.version) if version else None,
            aliases=tuple(sorted(k for k, v in model.aliases.items() if version and int(v) == int(version.version)))
            if model
            else (),
            tags=dict(run.data.tags),
            params=dict(run.data.params),
            parts=json.loads(model.tags[question.PARTS]) if model and question.PARTS in model.tags else None,
            document=json.loads(document.read_text(encoding="utf-8")),
            oot=pl.read_parquet(predictions, memory_map=False),
            started=int(run.info.start_time),
        )
