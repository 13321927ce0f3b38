"""What a run is called and tagged with, and which source made it."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import churn_clv
from churn_clv.config import Config
from churn_clv.tracking import question

UNKNOWN = "unknown"
GIT_SECONDS = 20
COMMIT_DIGITS = 12  # more would not fit the page's column
# What the code does stands in these; other changes in a checkout (notes, data) do not make a run dirty.
SOURCE = ("src/churn_clv", "configs/default.yaml", "pyproject.toml")


def run_name(kind: str, cutoff: str, config: Config) -> str:
    """'train 2017-12-04 3fa9': what was done, up to when, by which recipe; the same for the same.

    The data set is the experiment's name and a column of its own.
    """
    return f"{kind} {cutoff} {config.recipe_hash[:4]}"


def tags(kind: str, config: Config, document: Mapping[str, Any], tables: Sequence[str]) -> dict[str, str]:
    """The tags that every run has, whatever made it; ``tables``: the artifacts that MLflow's page shows as tables."""
    graded, source = document.get("grade") or {}, made()
    known = {} if source["git_commit"] == UNKNOWN else {"mlflow.source.git.commit": source["git_commit"]}
    return known | {
        "kind": kind,
        "dataset": config.dataset,
        "horizon_days": str(config.timeline.horizon_days),
        "recipe_hash": config.recipe_hash,
        "core_hash": config.core_hash,
        question.TAG: question.tags(config)[question.TAG],
        "grade": str(graded.get("letter", UNKNOWN)),
        **source,
        "git_commit": source["git_commit"][:COMMIT_DIGITS],
        "mlflow.source.name": f"churn-clv {kind}",
        "mlflow.source.type": "LOCAL",
        "mlflow.loggedArtifacts": json.dumps([{"path": name, "type": "table"} for name in tables]),
    }


def made() -> dict[str, str]:
    """Which source makes runs here: code_version, code_hash, and of a checkout git_commit and dirty ('true', 'false').

    The last two are 'unknown' for an installed wheel; dirty also where git is missing or does not answer.
    """
    version, source = code_version()
    root = Path(churn_clv.__path__[0]).parents[1]
    # A wheel in a virtual environment inside somebody's repository is no checkout of ours.
    checkout = (root / ".git").exists() and (root / SOURCE[0]).is_dir()
    commit = _git(root, "rev-parse", "HEAD") if checkout else None
    changes = _git(root, "status", "--porcelain", "--", *SOURCE) if commit else None
    dirty = UNKNOWN if changes is None else str(bool(changes)).lower()
    return {"code_version": version, "code_hash": source, "git_commit": commit or UNKNOWN, "dirty": dirty}


def code_version() -> tuple[str, str]:
    """The version and 16 hex digits over the package's own source."""
    root = Path(churn_clv.__path__[0])
    source = hashlib.sha256()
    for path in sorted(root.rglob("*.py")):
        source.update(path.relative_to(root).as_posix().encode() + b"\0" + path.read_bytes())
    return churn_clv.__version__, source.hexdigest()[:16]


def _git(root: Path, *command: str) -> str | None:
    """What git says about the checkout, None where it does not; its environment (of a hook) is not ours."""
    git = shutil.which("git")
    if git is None:
        return None
    environment = {k: v for k, v in os.environ.items() if not k.startswith("GIT_")} | {"GIT_OPTIONAL_LOCKS": "0"}
    try:
        done = subprocess.run(
            [git, "-C", str(root), *command], env=environment, capture_output=True, text=True, timeout=GIT_SECONDS,
            check=False,
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
