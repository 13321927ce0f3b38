"""MLflow's store in Debian's Postgres, started here on loopback; skipped where there is none, or no driver."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import kept
import pytest

from churn_clv import contest, succession, tracking
from churn_clv.bundle import verify
from churn_clv.errors import UserError

pytestmark = pytest.mark.check


def program(name: str) -> str:
    """A server program of Postgres; Debian keeps them off the path."""
    found = [str(path) for path in sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"))]
    return shutil.which(name) or (found[-1] if found else "")


@pytest.fixture
def postgres(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The address of a fresh server; it refuses to run as root, who borrows the user that Debian made for it."""
    pytest.importorskip("pg8000", reason="pg8000 is not installed (churn-clv[sql])")
    if not (program("initdb") and program("pg_ctl")):
        pytest.skip("Postgres is not installed (Debian: apt-get install postgresql)")
    folder = Path("/tmp") / f"churn-clv-pg-{os.getpid()}"  # a socket's path must be short, and its user may enter
    folder.mkdir()
    other = os.getuid() == 0
    if other:
        shutil.chown(folder, "postgres", "postgres")

    def run(*command: str) -> None:
        user = {"user": "postgres", "group": "postgres", "extra_groups": []} if other else {}
        subprocess.run(command, check=True, capture_output=True, cwd="/", timeout=120, **user)  # type: ignore[call-overload]

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    try:
        run(program("initdb"), "-D", f"{folder}/db", "-A", "trust", "-U", "tester")
        options = f"-p {port} -c listen_addresses=127.0.0.1 -k {folder}"
        run(program("pg_ctl"), "-D", f"{folder}/db", "-o", options, "-l", f"{folder}/log", "-w", "start")
        uri = f"postgresql+pg8000://tester@127.0.0.1:{port}/postgres"
        monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
        yield uri
        run(program("pg_ctl"), "-D", f"{folder}/db", "-m", "immediate", "-w", "stop")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def test_runs_promotions_and_rollbacks_in_postgres(
    postgres: str, bundles: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(succession, "load_bundle", verify)
    own = kept.settings(tmp_path / "out")
    tracking.prepare(own)
    poor, good, _ = kept.three()
    with ThreadPoolExecutor(2) as pool:  # at once, as two trainings would
        versions = list(pool.map(lambda pair: kept.registered(own, *pair), zip(bundles, (poor, good), strict=True)))
    assert sorted(versions) == [1, 2]
    of_poor, of_good = (str(v) for v in versions)
    assert succession.promote(own, of_poor)["promoted"]
    assert contest.run(own, of_poor, of_good)["metrics"][0]["better"] == "b"
    assert succession.promote(own, of_good)["promoted"]
    assert succession.rollback(own, "a drill")["version"] == int(of_poor)
    told = succession.history(own)
    assert told["in_step"] and [m["happened"] for m in told["moves"]] == [True] * 3
    assert not (tmp_path / "out" / "mlflow.db").exists()


def test_a_driver_that_is_missing_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "mysql+pymysql://tester:hunter2@127.0.0.1:1/x")
    with pytest.raises(UserError, match=r"needs the driver .* churn-clv\[sql\]") as told:
        tracking.prepare(kept.settings(tmp_path))
    assert "hunter2" not in str(told.value)
