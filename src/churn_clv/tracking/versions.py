"""Registered versions and the runs behind them: found by number, alias or run id, and fetched whole."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple, TypeVar

import mlflow
from mlflow import MlflowClient
from mlflow.entities import Run
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException

from churn_clv.bundle import BundleError, FormatError, verify
from churn_clv.config import Config, without_password
from churn_clv.errors import UserError, nearest
from churn_clv.publish import is_whole, keep
from churn_clv.tracking.store import connect, made_already

CHAMPION, CHALLENGER = "champion", "challenger"
LONGEST_VERSION = 9  # digits; longer numbers do not fit a store's integers
BEGINNING = re.compile(r"[0-9a-f]{4,32}")  # of a run's id; fewer digits would be a guess
SHOWN_RUNS = 8  # of those there are, in the message about one that there is not
MOST_RUNS = 5000  # looked through for a beginning
MISSING = "RESOURCE_DOES_NOT_EXIST"
Found = TypeVar("Found")


class Named(NamedTuple):
    """A run that was asked for, and its registered version (the config's model before any other; None without)."""

    run: Run
    version: ModelVersion | None


def named(config: Config, which: str) -> Named:
    """The run that ``which`` names: a version's number, an alias, a run's id or the only one that starts so.

    A beginning means a registered run before any other. Raises UserError where there is no store, where nothing or
    more than one run is meant, and then tells what there is.
    """
    where, name = without_password(config.tracking_uri), config.registered_name
    if not made_already(config):
        raise UserError(f"there is no tracking store at {where}. Give the config file that names `out` too.")
    client = connect(config)
    version = _numbered(client, name, which) or by_alias(client, name, which)
    run_id = str(version.run_id) if version else _by_beginning(client, name, which)
    run = or_none(lambda: client.get_run(run_id)) if run_id else None
    if run is None:
        raise UserError(
            f"'{which}' is no run, version or alias of '{name}' in {where}.{nearest(which, _known(client, name))}\n"
            f"{trainings(client)}"
        )
    if version is None:
        there = client.search_model_versions(f"run_id = '{run.info.run_id}'")
        version = max(there, key=lambda v: (v.name == name, int(v.version)), default=None)
    return Named(run, version)


def version_of(config: Config, version_or_alias: str) -> ModelVersion:
    """A version of the config's registered model by number or alias. Raises UserError where there is no such one."""
    client, name = connect(config), config.registered_name
    found = _numbered(client, name, version_or_alias) or by_alias(client, name, version_or_alias)
    if found is not None:
        return found
    model = or_none(lambda: client.get_registered_model(name))
    if model is None:
        raise UserError(f"'{name}' has no versions. Run `churn-clv train` first.")
    if version_or_alias.isdigit():
        there = [str(v.version) for v in client.search_model_versions(f"name = '{name}'")]
        raise UserError(f"'{name}' has no version {version_or_alias}.{nearest(version_or_alias, there)}")
    raise UserError(f"'{name}' has no alias '{version_or_alias}'.{nearest(version_or_alias, model.aliases)}")


def number_of(config: Config, version_or_alias: str) -> int:
    """The number of a version or of the one behind an alias. Raises UserError where there is no such one."""
    return int(version_of(config, version_or_alias).version)


def bundle_of(config: Config, version: int) -> str | None:
    """The sha256 of a version's bundle, as it was registered."""
    return version_of(config, str(version)).tags.get("bundle_sha256")


def fetch(config: Config, version_or_alias: int | str = CHAMPION) -> Path:
    """A verified copy of a registered bundle in ``out``/cache/<sha256>.

    An alias is resolved to a version once: it may move meanwhile. The copy matters: MLflow gives a local store's own
    files, which may change after they were verified. Raises UserError for an unknown version, BundleError for damage.
    """
    return _fetch(config, version_of(config, str(version_or_alias)))


def readable(config: Config, found: ModelVersion) -> Path | None:
    """A verified copy, None where other code made it in a format of its own: what follows it must be trainable."""
    try:
        return _fetch(config, found)
    except FormatError as error:
        if error.version != found.tags.get("bundle_sha256"):
            raise  # not the manifest that was registered: damage
        return None


def download(config: Config, uri: str, folder: Path, hint: str | None = None) -> Path:
    """One artifact, copied into ``folder``. Raises UserError where it cannot be, ending with ``hint``."""
    try:
        got = mlflow.artifacts.download_artifacts(
            artifact_uri=uri, dst_path=str(folder), tracking_uri=config.tracking_uri
        )
    except (MlflowException, OSError) as error:
        reason = str(error).strip().splitlines()[0]
        hint = hint or (
            f"If the champion's files are gone, remove its alias (`{CHAMPION}` of '{config.registered_name}') on "
            f"MLflow's page and train again."
        )
        raise UserError(f"MLflow's artifact {uri} cannot be read: {reason} {hint}") from error
    return Path(got)


def by_alias(client: MlflowClient, name: str, alias: str) -> ModelVersion | None:
    """The version behind an alias, None where there is no such alias."""
    return or_none(lambda: client.get_model_version_by_alias(name, alias))


def or_none(ask: Callable[[], Found]) -> Found | None:
    """The answer, or None where MLflow says that there is no such thing."""
    try:
        return ask()
    except MlflowException as error:
        if error.error_code in (MISSING, "INVALID_PARAMETER_VALUE"):
            return None
        raise


def trainings(client: MlflowClient) -> str:
    """A sentence that names the newest trainings of the store."""
    places = [e.experiment_id for e in client.search_experiments()]
    found = client.search_runs(places, "tags.kind = 'train'", max_results=SHOWN_RUNS, order_by=["start_time DESC"])
    if not found:
        return "No training is recorded there: run `churn-clv train` first, or name the store (tracking.uri, out)."
    lines = [f"{run.info.run_id}  {run.info.run_name} ({run.data.tags.get('dataset')})" for run in found]
    return "The newest there are:\n  " + "\n  ".join(lines)


def _fetch(config: Config, found: ModelVersion) -> Path:
    sha, cache = found.tags.get("bundle_sha256", ""), Path(config.out) / "cache"
    if sha and is_whole(cache / sha):
        return cache / sha
    client = connect(config)
    uri = client.get_model_version_download_uri(found.name, found.version)
    with TemporaryDirectory() as folder:
        bundle = download(config, f"{uri}/artifacts/bundle", Path(folder))
        if verify(bundle)["version"] != sha:
            raise BundleError(
                f"version {found.version} of '{found.name}' is not the bundle that was registered (its tag names "
                f"{sha[:12] or 'none'}). Promote another version, or train again."
            )
        return keep(bundle, cache)


def _numbered(client: MlflowClient, name: str, which: str) -> ModelVersion | None:
    if not which.isdigit() or len(which) > LONGEST_VERSION:
        return None
    return or_none(lambda: client.get_model_version(name, which))


def _by_beginning(client: MlflowClient, name: str, which: str) -> str | None:
    """The id of the only run that starts so, None where none does or where ``which`` is no beginning of one."""
    if not BEGINNING.fullmatch(which):
        return None
    versions = client.search_model_versions(f"name = '{name}'")
    found = {str(v.run_id) for v in versions if str(v.run_id).startswith(which)}
    if not found:
        everywhere = [e.experiment_id for e in client.search_experiments()]
        runs = client.search_runs(everywhere, max_results=MOST_RUNS)
        found = {str(run.info.run_id) for run in runs if str(run.info.run_id).startswith(which)}
    if len(found) > 1:
        shown = ", ".join(sorted(found)[:SHOWN_RUNS])
        raise UserError(f"{len(found)} runs begin with {which}: {shown}. Give more of it.")
    return found.pop() if found else None


def _known(client: MlflowClient, name: str) -> list[str]:
    model = or_none(lambda: client.get_registered_model(name))
    versions = client.search_model_versions(f"name = '{name}'") if model else []
    runs = [str(v.run_id)[:8] for v in versions]
    return [*(model.aliases if model else ()), *(str(v.version) for v in versions), *runs]
