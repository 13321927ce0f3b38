"""Which source made a run: a checkout says its commit and whether it was changed, a wheel says that it is none."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

import churn_clv
from churn_clv.tracking import made


def git(folder: Path, *command: str) -> str:
    who = ["-c", "user.name=a", "-c", "user.email=a@b", "-c", "commit.gpgsign=false"]
    done = subprocess.run(["git", "-C", str(folder), *who, *command], capture_output=True, text=True, check=True)
    return done.stdout.strip()


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository with the package in src/churn_clv, which is the one installed."""
    if shutil.which("git") is None:
        pytest.skip("git is not installed")
    source = tmp_path / "src" / "churn_clv"
    source.mkdir(parents=True)
    (source / "__init__.py").write_text("one = 1\n")
    (tmp_path / "notes.txt").write_text("notes\n")
    git(tmp_path, "init", "-q")
    git(tmp_path, "add", "-A")
    git(tmp_path, "commit", "-q", "-m", "one")
    monkeypatch.setattr(churn_clv, "__path__", [str(source)])
    return tmp_path


def test_a_checkout_names_its_commit_and_whether_its_source_was_changed(checkout: Path) -> None:
    commit = git(checkout, "rev-parse", "HEAD")
    assert (made()["git_commit"], made()["dirty"]) == (commit, "false")
    (checkout / "notes.txt").write_text("other notes\n")
    assert made()["dirty"] == "false"  # no source
    before = made()["code_hash"]
    (checkout / "src" / "churn_clv" / "new.py").write_text("two = 2\n")
    assert (made()["git_commit"], made()["dirty"]) == (commit, "true")
    assert made()["code_hash"] != before


def test_a_hooks_environment_does_not_mislead(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_DIR", str(checkout / "nowhere"))
    assert made()["dirty"] == "false"


def test_without_git_nothing_is_known_and_nothing_fails(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(checkout / "empty"))
    assert (made()["git_commit"], made()["dirty"]) == ("unknown", "unknown")


def test_a_wheel_inside_somebodys_repository_is_no_checkout(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    site = checkout / ".venv" / "lib" / "site-packages" / "churn_clv"
    site.mkdir(parents=True)
    (site / "__init__.py").write_text("one = 1\n")
    monkeypatch.setattr(churn_clv, "__path__", [str(site)])
    assert (made()["git_commit"], made()["dirty"]) == ("unknown", "unknown")
    assert len(made()["code_hash"]) == 16
