"""The tracking store: made once under a lock, reached by one client."""

from __future__ import annotations

import os
import re
import sqlite3
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import mlflow
from filelock import FileLock, Timeout
from mlflow import MlflowClient
from mlflow.entities import LoggedModelStatus
from mlflow.exceptions import MlflowException
from requests import RequestException
from sqlalchemy.exc import SQLAlchemyError

from churn_clv.config import Config, without_password
from churn_clv.errors import UserError
from churn_clv.tracking import owner
from churn_clv.tracking._view import experiment_tags

LOCK_SECONDS = 120
REACH_SECONDS = 5
# What a store that is down, full, locked or read-only raises, whichever kind it is.
STORE_ERRORS = (MlflowException, SQLAlchemyError, sqlite3.Error, RequestException, OSError)
URIS = ("MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI")


def prepare(config: Config) -> str:
    """Make the store and the experiment where they are missing; returns the experiment's id. Cheap the second time.

    SQLite is created under a file lock (two processes that migrate an empty database at once break it) and set to
    write-ahead logging. Runs of this machine whose process is gone are closed (``close_stale``). Raises UserError where
    the store cannot be reached, opened or written.
    """
    database = _sqlite_file(config.tracking_uri)
    if database is None:
        _reach(config.tracking_uri)
        found = experiment(config)
    else:
        with locked(config):
            _check_database(database)
            with closing(sqlite3.connect(database)) as connection:
                connection.execute("PRAGMA journal_mode=WAL")
            found = experiment(config)
    close_stale(config, found)
    return found


def close_stale(config: Config, experiment_id: str) -> int:
    """Mark this machine's runs whose process is gone KILLED, and take away its half-registered models; their number."""
    client, mine = connect(config), f"tags.`{owner.HOST}` = '{owner.here()}'"
    runs = client.search_runs([experiment_id], f"attributes.status = 'RUNNING' and {mine}")
    stale = [run for run in runs if owner.gone(run.data.tags)]
    for run in stale:
        client.set_terminated(run.info.run_id, "KILLED")
    # A status of PENDING cannot be asked for: MLflow 3.17 stores a number and compares it with the word.
    models = client.search_logged_models([experiment_id], mine)
    half = [m for m in models if m.status == LoggedModelStatus.PENDING and owner.gone(m.tags)]
    for model in half:
        client.delete_logged_model(model.model_id)
    return len(stale) + len(half)


def experiment(config: Config) -> str:
    """The id of the config's experiment (default: the registered model's name), made if missing."""
    name, client = config.tracking.experiment or config.registered_name, connect(config)
    found = client.get_experiment_by_name(name)
    if found is None:
        try:
            place = _artifact_root(config)
            return str(client.create_experiment(name, artifact_location=place, tags=experiment_tags()))
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
            found = client.get_experiment_by_name(name)  # another process was faster
    if found is None or found.lifecycle_stage == "deleted":
        raise UserError(
            f"the MLflow experiment '{name}' was deleted. Restore it (`mlflow experiments restore`) or give another "
            f"tracking.experiment."
        )
    return str(found.experiment_id)


def made_already(config: Config) -> bool:
    """Whether there is a store to read from: asking MLflow would make an empty SQLite one."""
    database = _sqlite_file(config.tracking_uri)
    return database is None or database.exists()


def connect(config: Config) -> MlflowClient:
    """A client of the config's tracking store and registry, which are also made MLflow's defaults in this process.

    The defaults are needed: MLflow resolves a ``models:/`` address through them, whichever client asks.
    """
    uri = config.tracking_uri
    if (database := _sqlite_file(uri)) is not None:
        _check_database(database)
    try:
        with _environment_kept():
            mlflow.set_tracking_uri(uri)
            mlflow.set_registry_uri(uri)
        return MlflowClient(tracking_uri=uri, registry_uri=uri)
    except ModuleNotFoundError as error:
        raise UserError(
            f"the tracking store {without_password(uri)} needs the driver '{error.name}', which is not installed. For "
            f"Postgres install churn-clv[sql] and write postgresql+pg8000://user:password@host/database."
        ) from None
    except (MlflowException, SQLAlchemyError, sqlite3.Error) as error:
        reason = str(error).strip().splitlines()[0].replace(uri, without_password(uri))
        raise UserError(
            f"the tracking store {without_password(uri)} cannot be opened: {reason} Give MLFLOW_TRACKING_URI or "
            f"tracking.uri an sqlite:/// or http:// address."
        ) from error


@contextmanager
def _environment_kept() -> Iterator[None]:
    """MLflow writes its defaults into the environment too, where the next config would take them for the user's."""
    before = {name: os.environ.get(name) for name in URIS}
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


@contextmanager
def locked(config: Config) -> Iterator[None]:
    """Hold the store's file lock on this machine (``out``/mlflow.lock); raises UserError after two minutes."""
    database = _sqlite_file(config.tracking_uri)
    path = (database or Path(config.out).resolve() / "mlflow.db").with_suffix(".lock")
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(path, timeout=LOCK_SECONDS):
            yield
    except Timeout:
        raise UserError(f"another process has held {path} for {LOCK_SECONDS} s. Wait for it, or stop it.") from None


def _check_database(database: Path) -> None:
    """Raise UserError where an existing file is no SQLite database, or is locked: MLflow would retry for minutes."""
    if not database.exists():
        return
    try:
        with closing(sqlite3.connect(database)) as connection:
            connection.execute("PRAGMA schema_version")
    except sqlite3.Error as error:
        raise UserError(
            f"the tracking store {database} cannot be opened: {error}. Stop what holds it, restore it from a backup, "
            f"or move it away to begin a new one."
        ) from None


def _sqlite_file(uri: str) -> Path | None:
    """The database file of an SQLite address (three slashes: relative, four: absolute), None for other stores."""
    found = re.fullmatch(r"sqlite(\+\w+)?:///([^?]+)(\?.*)?", uri)
    return Path(found[2]).resolve() if found else None


def _artifact_root(config: Config) -> str | None:
    """Where artifacts go: a server decides itself, any other store gets ``out``/artifacts (not ./mlruns)."""
    if config.tracking_uri.startswith("http"):
        return None
    return (Path(config.out).resolve() / "artifacts").as_uri()


def _reach(uri: str) -> None:
    """Ask a server for a sign of life, because MLflow itself would retry for minutes. Any answer will do."""
    if not uri.startswith("http"):
        return
    try:
        urllib.request.urlopen(f"{uri.rstrip('/')}/health", timeout=REACH_SECONDS).close()
    except urllib.error.HTTPError:
        return
    except OSError as error:
        raise UserError(
            f"the tracking server {without_password(uri)} does not answer ({error}). Start it, or correct "
            f"MLFLOW_TRACKING_URI or tracking.uri."
        ) from None
