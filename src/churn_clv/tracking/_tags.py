"""What a run is called and tagged with."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

import churn_clv
from churn_clv.bundle import verify
from churn_clv.config import Config
from churn_clv.pseudonym import id_key, key_name
from churn_clv.tracking import question
from churn_clv.tracking._artifacts import note

if TYPE_CHECKING:
    from churn_clv.training import Trained


def training_tags(config: Config, trained: Trained, bundle_folder: Path) -> dict[str, str]:
    version, code = code_version()
    return {
        "dataset": config.dataset,
        "fingerprint": str(trained.data["fingerprint"]),
        "recipe_hash": config.recipe_hash,
        "core_hash": config.core_hash,
        "horizon_days": str(config.timeline.horizon_days),
        question.TAG: question.tags(config)[question.TAG],
        "bundle_sha256": verify(bundle_folder)["version"],
        "id_key": key_name(id_key(config.out)),
        "code_version": version,
        "code_hash": code,
        "mlflow.source.name": "churn-clv train",
        "mlflow.source.type": "LOCAL",
        "mlflow.note.content": note(config, trained),
    }


def code_version() -> tuple[str, str]:
    """The version and 16 hex digits over the package's own source."""
    root = Path(churn_clv.__path__[0])
    source = hashlib.sha256()
    for path in sorted(root.rglob("*.py")):
        source.update(path.relative_to(root).as_posix().encode() + b"\0" + path.read_bytes())
    return churn_clv.__version__, source.hexdigest()[:16]
