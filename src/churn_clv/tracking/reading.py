"""A run as it was recorded: its config, its document, its tags; found by id, version or alias."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import mlflow
import yaml
from mlflow import MlflowClient
from mlflow.entities import Run
from mlflow.exceptions import MlflowException

from churn_clv.config import Config, without_password
from churn_clv.errors import UserError
from churn_clv.tracking.registry import version_of
from churn_clv.tracking.runs import CONFIG, DOCUMENT
from churn_clv.tracking.store import connect, made_already

SHOWN_RUNS = 8  # of those there are, in the message about one that there is not
RUN_ID, BEGINNING = re.compile(r"[0-9a-f]{32}"), re.compile(r"[0-9a-f]{4,31}")


@dataclass(frozen=True)
class Recorded:
    """What a training left behind. ``values`` is its resolved config, ``plots`` its pictures by name."""

    run_id: str
    name: str
    tags: dict[str, str]
    values: dict[str, Any]
    document: dict[str, Any]
    plots: dict[str, bytes]


def _by_beginning(client: MlflowClient, asked: str) -> str | None:
    """A run's id from its beginning, where exactly one run has it; None for what is a number or no id at all."""
    if RUN_ID.fullmatch(asked):
        return asked
    if not BEGINNING.fullmatch(asked) or asked.isdigit():
        return None
    everywhere = [e.experiment_id for e in client.search_experiments()]
    found = [str(run.info.run_id) for run in client.search_runs(everywhere, max_results=5000)]
    mine = [run_id for run_id in found if run_id.startswith(asked)]
    if len(mine) > 1:
        raise UserError(
            f"{len(mine)} runs begin with {asked}: {', '.join(sorted(mine)[:SHOWN_RUNS])}. Give more of it."
        )
    return mine[0] if mine else None


def recorded(config: Config, asked: str, pictures: bool = False) -> Recorded:
    """The training behind a run id (or its beginning), or a version or alias of the config's registered model.

    Raises UserError where there is no such run (and names those there are) or where it is no training of ours.
    """
    if not made_already(config):
        where = without_password(config.tracking_uri)
        raise UserError(f"there is no tracking store at {where}. Give the config file that names `out` too.")
    client = connect(config)
    run_id = _by_beginning(client, asked) or str(version_of(config, asked).run_id)
    try:
        run = client.get_run(run_id)
    except MlflowException as error:
        if error.error_code not in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
            raise
        raise UserError(
            f"there is no run {run_id} in {without_password(config.tracking_uri)}. {_there_is(client)}"
        ) from None
    if run.data.tags.get("kind", "train") != "train":
        raise UserError(f"run {run_id} is a {run.data.tags['kind']}, not a training. {_there_is(client)}")
    with TemporaryDirectory() as folder:
        place = Path(folder)
        values = yaml.safe_load(_text(config, run, CONFIG, place))
        document = json.loads(_text(config, run, DOCUMENT, place))
        plots = _pictures(config, run, place) if pictures else {}
    return Recorded(run_id, str(run.info.run_name), dict(run.data.tags), values, document, plots)


def _text(config: Config, run: Run, name: str, folder: Path) -> str:
    try:
        path = mlflow.artifacts.download_artifacts(
            artifact_uri=f"{run.info.artifact_uri}/{name}", dst_path=str(folder), tracking_uri=config.tracking_uri
        )
    except (MlflowException, OSError) as error:
        reason = str(error).strip().splitlines()[0]
        raise UserError(
            f"run {run.info.run_id} has no {name} that can be read: {reason} Only a run of churn-clv train has one; "
            f"if its files are gone, give its config again."
        ) from error
    return Path(path).read_text(encoding="utf-8")


def _pictures(config: Config, run: Run, folder: Path) -> dict[str, bytes]:
    """The run's plots, none where it has none."""
    try:
        path = mlflow.artifacts.download_artifacts(
            artifact_uri=f"{run.info.artifact_uri}/plots", dst_path=str(folder), tracking_uri=config.tracking_uri
        )
    except (MlflowException, OSError):
        return {}
    return {file.stem: file.read_bytes() for file in sorted(Path(path).glob("*.png"))}


def _there_is(client: MlflowClient) -> str:
    """The newest trainings of the store."""
    places = [e.experiment_id for e in client.search_experiments()]
    found = client.search_runs(places, "tags.kind = 'train'", max_results=SHOWN_RUNS, order_by=["start_time DESC"])
    if not found:
        return "No training is recorded there: run `churn-clv train` first, or name the store (tracking.uri, out)."
    lines = [f"{run.info.run_id}  {run.info.run_name} ({run.data.tags.get('dataset')})" for run in found]
    return "The newest there are:\n  " + "\n  ".join(lines)
