"""A run as it is stored: found by id, prefix, version or alias, with its document and out-of-time predictions."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import polars as pl
from mlflow import MlflowClient
from mlflow.entities import Run
from mlflow.entities.model_registry import ModelVersion

from churn_clv.config import Config
from churn_clv.errors import UserError, nearest
from churn_clv.tracking import question
from churn_clv.tracking.registry import LONGEST_VERSION, by_alias, download, or_none
from churn_clv.tracking.runs import DOCUMENT, PREDICTIONS
from churn_clv.tracking.store import connect

SHORTEST_PREFIX = 4


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
    """The run that ``which`` names: an alias, a version's number, a run's id or the only one that starts so.

    Looked for among the versions of the config's registered model; a whole id is found in any experiment. Raises
    UserError where nothing or more than one thing is meant, or where the run is no training.
    """
    client, name = connect(config), config.registered_name
    version = _version(client, name, which)
    run = or_none(lambda: client.get_run(str(version.run_id) if version else which))
    if run is None:
        raise UserError(f"'{which}' is no run, version or alias of '{name}'.{nearest(which, _known(client, name))}")
    if version is None:  # a whole id from another experiment
        there = client.search_model_versions(f"run_id = '{run.info.run_id}'")
        version = max(there, key=lambda v: (v.name == name, int(v.version)), default=None)
    return _stored(config, client, run, version)


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


def _version(client: MlflowClient, name: str, which: str) -> ModelVersion | None:
    """The registered version that is meant, None where ``which`` may still be a whole run id."""
    if which.isdigit() and len(which) <= LONGEST_VERSION:
        found = or_none(lambda: client.get_model_version(name, which))
        if found is not None:
            return found
    found = by_alias(client, name, which)
    if found is not None or not re.fullmatch(f"[0-9a-f]{{{SHORTEST_PREFIX},32}}", which):
        return found
    there = [v for v in client.search_model_versions(f"name = '{name}'") if str(v.run_id).startswith(which)]
    if len({v.run_id for v in there}) > 1:
        raise UserError(f"'{which}' begins {len(there)} runs of '{name}'. Give more of its digits.")
    return there[0] if there else None


def _known(client: MlflowClient, name: str) -> list[str]:
    model = or_none(lambda: client.get_registered_model(name))
    versions = client.search_model_versions(f"name = '{name}'") if model else []
    runs = [str(v.run_id)[:8] for v in versions]
    return [*(model.aliases if model else ()), *(str(v.version) for v in versions), *runs]
