"""The runbook's own commands, run as they stand in docs/runbook.md."""

from __future__ import annotations

import datetime as dt
import os
import re
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import kept
import pytest

from churn_clv import config, publish, succession, timeline, tracking, tuning
from churn_clv.bundle import verify
from churn_clv.tuning import _studies

pytestmark = pytest.mark.check

SPACE = {
    "trial": {"rows": 1000, "rounds": 10},
    "step": [1],
    **{head: {"num_leaves": {"low": 2, "high": 15}} for head in ("churn", "spend")},
}
PAGE = Path(__file__).parents[2] / "docs" / "runbook.md"
COMMAND = '#!/bin/sh\nexec "{python}" -W ignore -m churn_clv.cli "$@"\n'


def commands(heading: str) -> str:
    """The shell block under a heading."""
    section = PAGE.read_text(encoding="utf-8").split(f"\n## {heading}\n")[1].split("\n## ")[0]
    [block] = re.findall(r"```sh\n(.*?)```", section, re.DOTALL)
    return str(block)


def run(heading: str, tmp_path: Path, **variables: Path) -> str:
    tools = tmp_path / "tools"
    tools.mkdir(exist_ok=True)
    for name, text in (("churn-clv", COMMAND), ("python", '#!/bin/sh\nexec "{python}" "$@"\n')):
        (tools / name).write_text(text.format(python=sys.executable))
        (tools / name).chmod(0o755)
    known = {name: str(path) for name, path in variables.items()} | {"PATH": f"{tools}:{os.environ['PATH']}"}
    source = str(Path(succession.__file__).parents[2])
    done = subprocess.run(["sh", "-eu", "-c", commands(heading)], env=os.environ | known | {"PYTHONPATH": source},
                          capture_output=True, text=True, timeout=300, check=False)  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def study_of(own: config.Config) -> Path:
    """Where a tuning of this config keeps its trials."""
    plan = timeline.make_plan(dt.date(2024, 1, 1), dt.date(2025, 1, 1), own.timeline)
    path = _studies.study_file(own, tuning.space_of(SPACE), "data", plan)
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def state(own: config.Config) -> dict[str, Any]:
    """All that a restore must bring back."""
    champion, second = tracking.champion(own), tracking.find(own, "challenger")
    assert champion is not None
    return {
        "history": succession.history(own), "document": champion.document, "oot": champion.oot.to_dicts(),
        "bundle": champion.bundle.name, "challenger": (second.run_id, second.oot.to_dicts()),
        "served": publish.current(own.bundles_folder),
        "key": (Path(own.out) / "id.key").read_text(),
    }  # fmt: skip


@pytest.fixture
def shop(store: Path, bundles: list[Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> config.Config:
    """A champion after a rollback, a challenger, a study and a kept run."""
    kept.without_wrapper(monkeypatch)
    monkeypatch.setattr(succession, "load_bundle", verify)
    own = kept.settings(store)
    poor, good, middling = kept.three()
    for folder, oot in zip(bundles, (poor, good), strict=True):
        succession.promote(own, str(kept.registered(own, folder, oot)))
    succession.rollback(own, "a drill")
    kept.registered(own, bundles[1], middling)
    with closing(sqlite3.connect(study_of(own))) as study:
        study.execute("CREATE TABLE trials (value)")
        study.execute("INSERT INTO trials VALUES (42)")
        study.commit()
    (store / "unsent" / "abc").mkdir(parents=True)
    (store / "unsent" / "abc" / "state.json").write_text("{}")
    (tmp_path / "own.yaml").write_text(config.to_yaml(own))
    return own


def test_what_was_backed_up_while_in_use_comes_back_the_same(shop: config.Config, tmp_path: Path) -> None:
    out, backup, before = Path(shop.out), tmp_path / "backup", state(shop)
    with closing(sqlite3.connect(out / "mlflow.db")) as busy:  # a training in the middle of a write
        busy.execute("BEGIN IMMEDIATE")
        busy.execute("DELETE FROM registered_models")
        assert run("Backup", tmp_path, OUT=out, KEPT=backup).count(" ok") == 2
        busy.rollback()
    shutil.rmtree(out)
    told = run("Restore", tmp_path, OUT=out, KEPT=backup, CONFIG=tmp_path / "own.yaml")
    assert "champion: version 1" in told and "is bundle" in told
    assert state(shop) == before
    assert verify(out / "bundles" / shop.registered_name / str(before["served"]))["version"] == before["bundle"]
    with closing(sqlite3.connect(study_of(shop))) as study:
        assert study.execute("SELECT value FROM trials").fetchall() == [(42,)]
    assert (out / "unsent" / "abc" / "state.json").is_file()


def test_a_restore_into_another_folder_finds_its_files(shop: config.Config, tmp_path: Path) -> None:
    out, backup, before = Path(shop.out), tmp_path / "backup", state(shop)
    run("Backup", tmp_path, OUT=out, KEPT=backup)
    shutil.rmtree(out)
    moved = kept.settings(tmp_path / "elsewhere")
    shutil.copytree(backup, moved.out)
    run("Move to another folder", tmp_path, OUT=Path(moved.out), WAS=out)
    assert state(moved) == before
