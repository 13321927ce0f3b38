"""What several test files share."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
import tiny

from churn_clv import bundle


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A saved bundle; see tiny.py."""
    folder = tmp_path_factory.mktemp("tiny") / "bundle"
    bundle.save(tiny.tiny_bundle(), folder)
    return folder


@pytest.fixture(scope="session")
def tiny_bundle(tiny_folder: Path) -> bundle.Bundle:
    """The same bundle, loaded."""
    return bundle.load_bundle(tiny_folder)


@pytest.fixture(scope="session")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two different bundles that load; read only."""
    made = [tiny.tiny_bundle(seed) for seed in (1, 2)]
    folders = [tmp_path_factory.mktemp("bundles") / str(number) for number in range(len(made))]
    for one, folder in zip(made, folders, strict=True):
        bundle.save(one, folder)
    return folders


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """MLflow's tables in SQLite, made once: the migrations take seconds."""
    from churn_clv import config, tracking

    out = tmp_path_factory.mktemp("database")
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        tracking.prepare(config.from_dict({"dataset": "none", "out": str(out)}))
    return out / "mlflow.db"


@pytest.fixture
def store(empty_database: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An ``out`` folder with a fresh copy of that database, and no setting of the environment's."""
    for name in ("MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI", "CHURN_CLV_ID_KEY", "CHURN_CLV_BUNDLES"):
        monkeypatch.delenv(name, raising=False)
    out = tmp_path / "out"
    out.mkdir()
    with closing(sqlite3.connect(empty_database)) as old, closing(sqlite3.connect(out / "mlflow.db")) as new:
        old.backup(new)
    return out
