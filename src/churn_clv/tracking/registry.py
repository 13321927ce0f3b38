"""The question's registered model: a bundle becomes a version of it, a version its champion."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import mlflow
import polars as pl
from mlflow import MlflowClient
from mlflow.entities import LoggedModelStatus
from mlflow.exceptions import MlflowException
from mlflow.models import Model

from churn_clv.bundle import verify
from churn_clv.config import Config
from churn_clv.errors import UserError
from churn_clv.tracking import moves, owner, question
from churn_clv.tracking.runs import DOCUMENT, PREDICTIONS, code_version
from churn_clv.tracking.store import connect, locked
from churn_clv.tracking.versions import CHALLENGER, CHAMPION, by_alias, download, readable, version_of

KEPT_TAGS = ("dataset", "fingerprint", "recipe_hash", "core_hash", "horizon_days", "code_version", "code_hash",
             "id_key", "grade", "git_commit", "dirty")  # fmt: skip
REVIEWER_MODEL = Path(__file__).with_name("reviewer_model.py")
MOST_WORDS = 5000


@dataclass(frozen=True)
class Champion:
    """The registered version behind the alias ``champion``, with what a comparison needs.

    ``tags`` are the version's (recipe_hash, fingerprint, question, bundle_sha256, ...), ``document`` the stored
    ``train --json`` document, ``bundle`` a verified copy (None where it is of a format that this version does not
    read), ``oot`` its judged recipe's predictions by customer_key, ``started`` when its run began, in ms since 1970.
    """

    version: int
    run_id: str
    tags: dict[str, str]
    document: dict[str, Any]
    bundle: Path | None
    oot: pl.DataFrame
    started: int


def champion(config: Config) -> Champion | None:
    """The current champion of the config's question, or None before the first promotion.

    Raises UserError where its run's artifacts are gone, BundleError where its bundle is damaged.
    """
    client = connect(config)
    found = by_alias(client, config.registered_name, CHAMPION)
    if found is None:
        return None
    with TemporaryDirectory() as folder:
        run = client.get_run(str(found.run_id))
        document = download(config, f"{run.info.artifact_uri}/{DOCUMENT}", Path(folder))
        predictions = download(config, f"{run.info.artifact_uri}/{PREDICTIONS}", Path(folder))
        return Champion(
            version=int(found.version),
            run_id=str(found.run_id),
            tags=dict(found.tags),
            document=json.loads(document.read_text(encoding="utf-8")),
            bundle=readable(config, found),
            oot=pl.read_parquet(predictions, memory_map=False),
            started=int(run.info.start_time),
        )


def register(config: Config, run_id: str, bundle_folder: str | Path) -> int:
    """Store a bundle as a new version of the question's registered model, alias ``challenger``; returns its number.

    Raises UserError where the name belongs to another question, BundleError where the bundle is damaged.
    """
    client, folder = connect(config), Path(bundle_folder)
    run, sha, name = client.get_run(run_id), verify(folder)["version"], config.registered_name
    with locked(config):
        _own_name(client, config)
    tags = {key: run.data.tags[key] for key in KEPT_TAGS if key in run.data.tags}
    tags |= {"bundle_sha256": sha, question.TAG: question.tags(config)[question.TAG]}
    logged = client.create_logged_model(
        run.info.experiment_id,
        name="bundle",
        source_run_id=run_id,
        tags=tags | owner.tags(),
        model_type="churn_clv bundle",
    )
    with _finalized(client, logged.model_id), TemporaryDirectory() as draft:
        described = Model(run_id=run_id, model_id=logged.model_id)
        _write_model(Path(draft), folder, described)
        client.log_model_artifacts(logged.model_id, str(Path(draft) / "model"))
    source, model = f"models:/{logged.model_id}", logged.model_id
    with locked(config):  # two trainings that end at once break MLflow's unique indexes
        version = client.create_model_version(
            name, source, run_id, tags=tags, description=_about(sha), await_creation_for=0, model_id=model
        )
        client.set_registered_model_alias(name, CHALLENGER, version.version)
    return int(version.version)


class OvertakenError(UserError):
    """Another version became champion while this one was compared with the former; the alias was not moved."""


def promote(
    config: Config, version: int, why: str, over: int | None, move: str = moves.PROMOTE, forced: bool = False
) -> None:
    """Move the alias ``champion`` to ``version``, recording who, when, why and over whom (``history`` tells it).

    ``over`` is the version it was compared with (None: there was no champion). Raises OvertakenError where another
    has become champion since, UserError where the version answers another question.
    """
    client, name = connect(config), config.registered_name
    found = version_of(config, str(version))
    if found.tags.get(question.TAG) != question.tags(config)[question.TAG]:
        raise UserError(f"version {version} of '{name}' answers another question than this config. Train again.")
    with locked(config):
        reigning = by_alias(client, name, CHAMPION)
        now = int(reigning.version) if reigning else None
        if now not in (over, version):
            raise OvertakenError(
                f"'{name}': version {now} became champion while this run was compared with {over or 'none'}. "
                f"Train again to compare with it."
            )
        if now != version:
            at = moves.next_instant(client.get_registered_model(name).tags)
            sha = found.tags.get("bundle_sha256", "")
            record = moves.Move(at, move, version, now, moves.who(), why[:MOST_WORDS], forced, sha)
            moves.write(client, name, record)
        client.set_model_version_tag(name, str(version), "why", why[:MOST_WORDS])
        client.set_registered_model_alias(name, CHAMPION, str(version))
        challenger = by_alias(client, name, CHALLENGER)
        if challenger is not None and int(challenger.version) == version:
            client.delete_registered_model_alias(name, CHALLENGER)


@contextmanager
def reigning(config: Config, version: int) -> Iterator[None]:
    """Hold the lock under which the alias ``champion`` moves; raises OvertakenError where it names another version.

    The lock cannot be taken twice: nothing in the block may promote.
    """
    with locked(config):
        found = by_alias(connect(config), config.registered_name, CHAMPION)
        if found is None or int(found.version) != version:
            now = f"version {found.version}" if found else "none"
            raise OvertakenError(f"'{config.registered_name}': version {version} is champion no more ({now} is).")
        yield


def history(config: Config) -> tuple[list[moves.Move], int | None]:
    """Every recorded move of the alias ``champion``, oldest first, and the version where it stands now."""
    client = connect(config)
    model = question.registered(config)
    if model is None:
        return [], None
    reigning = by_alias(client, config.registered_name, CHAMPION)
    now = int(reigning.version) if reigning else None
    return moves.told(model.tags, now), now


def _own_name(client: MlflowClient, config: Config) -> None:
    """Make the registered model with its question on it, or check that the existing one asks the same."""
    about = f"Churn and spend of {config.dataset}'s customers over {config.timeline.horizon_days} days (churn_clv)."
    try:
        client.create_registered_model(config.registered_name, tags=question.tags(config), description=about)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
        question.check_same_question(config)


@contextmanager
def _finalized(client: MlflowClient, model_id: str) -> Iterator[None]:
    """Leave no logged model PENDING: READY at the end, FAILED on any error."""
    try:
        yield
    except BaseException:
        with suppress(Exception):
            client.finalize_logged_model(model_id, LoggedModelStatus.FAILED)
        raise
    client.finalize_logged_model(model_id, LoggedModelStatus.READY)


def _write_model(draft: Path, bundle_folder: Path, described: Model) -> None:
    """``draft``/model: MLflow's description, the reviewers' wrapper and the bundle. No input example: no customer."""
    shutil.copytree(bundle_folder, draft / "bundle")
    version, _ = code_version()
    mlflow.pyfunc.save_model(
        path=str(draft / "model"),
        mlflow_model=described,
        python_model=str(REVIEWER_MODEL),
        artifacts={"bundle": str(draft / "bundle")},
        pip_requirements=["churn-clv[lab]" if version == "unknown" else f"churn-clv[lab]=={version}"],
    )


def _about(sha: str) -> str:
    return f"Bundle {sha}. Load it with `churn_clv.load_bundle`; the pyfunc wrapper beside it is for looking only."
