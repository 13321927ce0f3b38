"""A run as it was recorded: its config, its document, its tags; found by id, version or alias."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import yaml
from mlflow.entities import Run

from churn_clv.config import Config
from churn_clv.errors import UserError
from churn_clv.tracking.runs import CONFIG, DOCUMENT
from churn_clv.tracking.store import connect
from churn_clv.tracking.versions import download, named, trainings


@dataclass(frozen=True)
class Recorded:
    """What a training left behind. ``values`` is its resolved config, ``plots`` its pictures by name."""

    run_id: str
    name: str
    tags: dict[str, str]
    values: dict[str, Any]
    document: dict[str, Any]
    plots: dict[str, bytes]


def recorded(config: Config, asked: str, pictures: bool = False) -> Recorded:
    """The training behind a run id (or its beginning), or a version or alias of the config's registered model.

    Raises UserError where there is no such run (and names those there are) or where it is no training of ours.
    """
    run = named(config, asked).run
    if run.data.tags.get("kind", "train") != "train":
        there = trainings(connect(config))
        raise UserError(f"run {run.info.run_id} is a {run.data.tags['kind']}, not a training. {there}")
    with TemporaryDirectory() as folder:
        place = Path(folder)
        values = yaml.safe_load(_text(config, run, CONFIG, place))
        document = json.loads(_text(config, run, DOCUMENT, place))
        plots = _pictures(config, run, place) if pictures else {}
    return Recorded(str(run.info.run_id), str(run.info.run_name), dict(run.data.tags), values, document, plots)


def _text(config: Config, run: Run, name: str, folder: Path) -> str:
    hint = "Only a run of churn-clv train has one; if its files are gone, give its config again."
    return download(config, f"{run.info.artifact_uri}/{name}", folder, hint).read_text(encoding="utf-8")


def _pictures(config: Config, run: Run, folder: Path) -> dict[str, bytes]:
    """The run's plots, none where it has none."""
    try:
        path = download(config, f"{run.info.artifact_uri}/plots", folder)
    except UserError:
        return {}
    return {file.stem: file.read_bytes() for file in sorted(path.glob("*.png"))}
