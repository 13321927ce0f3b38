"""kill -9 in the middle of a search: no finished trial is lost or repeated, and the search ends with as many trials."""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
TRIALS = {"check": 60, "soak": 400}
SECONDS = 240  # for one start to get anywhere, on a busy machine
# The search as `tune` runs it, on a small simulated log; the matrix is built again at each start.
PROGRAM = """
import sys
import sim
from churn_clv import tuning
from churn_clv.recipe import Workshop
from churn_clv.tuning import _ground, _studies
from pathlib import Path
path, trials = Path(sys.argv[1]), int(sys.argv[2])
settings = sim.settings()
found = _ground.ground(sim.log(300), settings)
space = tuning.space_of({"trial": {"rows": 1000, "rounds": 10},
                         "churn": {"lambda_l2": {"low": 0.1, "high": 100}},
                         "spend": {"lambda_l2": {"low": 0.1, "high": 100}}})
shop = Workshop(found.log, settings, [found.search], dict(settings.targets), lambda _: None, shipping=False)
with _studies.quiet(), _studies.held(path):
    tuning._search(shop, found, space, tuning.Limits(trials, None, 2), path, lambda _: None, lambda _: None)
"""
KEPT = """
SELECT s.study_name, t.number, t.state, v.value, t.datetime_complete,
       (SELECT p.param_value FROM trial_params p WHERE p.trial_id = t.trial_id AND p.param_name = 'lambda_l2')
FROM trials t JOIN studies s ON s.study_id = t.study_id LEFT JOIN trial_values v ON v.trial_id = t.trial_id
WHERE t.state IN ('COMPLETE', 'PRUNED')
"""


def kept(path: Path) -> dict[tuple[str, int], Any]:
    """Every finished trial by head and number: state, value, when it ended, what it drew."""
    if not path.exists():
        return {}
    try:
        with closing(sqlite3.connect(path, timeout=30)) as connection:
            return {(row[0], row[1]): row[2:] for row in connection.execute(KEPT)}
    except sqlite3.OperationalError:  # the tables are not there yet
        return {}


def started(path: Path, trials: int) -> subprocess.Popen[bytes]:
    paths = os.pathsep.join([str(ROOT / "src"), str(ROOT / "tests"), os.environ.get("PYTHONPATH", "")])
    command = [sys.executable, "-c", PROGRAM, str(path), str(trials)]
    return subprocess.Popen(command, env=os.environ | {"PYTHONPATH": paths}, stderr=subprocess.PIPE)


def killed(path: Path, trials: int, most: int, draw: random.Random) -> None:
    """Start the search and kill it -9 once it has finished some trials more, up to ``most``, or in the next one."""
    process, until = started(path, trials), time.monotonic() + SECONDS
    enough = len(kept(path)) + draw.randint(1, most)
    while len(kept(path)) < enough and time.monotonic() < until and process.poll() is None:
        time.sleep(0.005)
    assert len(kept(path)) >= enough, f"no progress: {process.poll()}"
    time.sleep(draw.uniform(0, 0.03))  # a trial takes so long, or longer
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()


def kills(path: Path, count: int, trials: int) -> None:
    draw, seen = random.Random(5), {}
    for _ in range(count):
        killed(path, trials, trials // (2 * count), draw)
        now = kept(path)
        assert {k: now.get(k) for k in seen} == seen, "a finished trial was lost or changed"
        seen = now
    assert len(seen) < trials, "the kills came too late to prove anything"
    last = started(path, trials)
    said = last.communicate(timeout=SECONDS * 3)[1]
    assert last.returncode == 0, said.decode()
    ended = kept(path)
    assert {k: ended.get(k) for k in seen} == seen
    assert len(ended) == trials
    for head in ("churn", "spend"):
        drawn = [v[3] for (of, _), v in ended.items() if of == head]
        assert len(drawn) == trials // 2 == len(set(drawn)), "a finished trial was repeated"


@pytest.mark.soak
def test_three_kills(tmp_path: Path) -> None:
    kills(tmp_path / "studies.db", 3, TRIALS["check"])


@pytest.mark.soak
def test_thirty_kills(tmp_path: Path) -> None:
    kills(tmp_path / "studies.db", 30, TRIALS["soak"])
