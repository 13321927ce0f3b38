"""What a power cut, a full disk and two trainings at once leave behind: real processes, really killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import disks
import kept
import pytest
import sim
from world import World

from churn_clv import config, simulate, succession, tracking
from churn_clv.bundle import verify
from churn_clv.tracking.store import connect, experiment

pytestmark = pytest.mark.check
# Records and registers a run, but for the call that is named: there it says so and waits to be killed.
RECORD = """
import sys, time, yaml
from pathlib import Path
from mlflow import MlflowClient
sys.path[:0] = [sys.argv[4], sys.argv[4] + "/.."]
from churn_clv import config, figures, tracking
from tests.e2e.test_tracking import a_training
own = config.from_dict(yaml.safe_load(Path(sys.argv[1]).read_text()))
figures.draw = lambda *_: {}
def wait(*_, **__):
    print("there", flush=True)
    time.sleep(600)
setattr(MlflowClient, sys.argv[3], wait)
run = tracking.log_run(own, a_training(own), {}, Path(sys.argv[2]))
tracking.register(own, run, Path(sys.argv[2]))
"""


@pytest.fixture(scope="session")
def bundle(bundles: list[Path]) -> Path:
    return bundles[0]


@pytest.mark.parametrize("where", ["log_artifacts", "log_model_artifacts", "create_model_version"])
def test_a_killed_training_leaves_nothing_running_and_nothing_half_registered(
    store: Path, bundle: Path, tmp_path: Path, where: str
) -> None:
    own = kept.settings(store)
    tracking.prepare(own)
    (tmp_path / "own.yaml").write_text(config.to_yaml(own))
    arguments = [str(tmp_path / "own.yaml"), str(bundle), where, str(Path(__file__).parents[1])]
    process = subprocess.Popen([sys.executable, "-c", RECORD, *arguments], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None and process.stdout.readline() == "there\n"
    client, place = connect(own), experiment(own)
    if where != "create_model_version":  # there it holds the store's lock
        tracking.prepare(own)  # another command of this machine, while it lives: nothing is touched
    [run] = client.search_runs([place])
    alive = "RUNNING" if where == "log_artifacts" else "FINISHED"
    assert run.info.status == alive
    assert len(client.search_logged_models([place])) == (where != "log_artifacts")
    process.send_signal(signal.SIGKILL)
    process.wait(60)
    process.stdout.close()
    succession.history(own)  # any command that opens the store will do
    assert client.get_run(run.info.run_id).info.status == ("KILLED" if alive == "RUNNING" else "FINISHED")
    # Whole, and killed before it became a version: MLflow keeps its files, which nobody refers to.
    left = [str(m.status) for m in client.search_logged_models([place])]
    assert left == (["READY"] if where == "create_model_version" else [])
    assert list(client.search_model_versions(f"name = '{own.registered_name}'")) == []
    world = World(300)
    assert kept.registered(own, bundle, world.recipe(0.1)) == 1  # and the next one registers as ever


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small simulated log and a config that reads it, without ``out``."""
    folder = tmp_path_factory.mktemp("shop")
    own = sim.settings(simulate={"customers": 1500}, promotion={"bootstrap_draws": 200})
    made = simulate.simulate(own.simulate, 1)
    made.log.write_parquet(folder / "log.parquet")
    names = ["customer_id", "time", "event_type", "amount", "order_id", "product_id", "category", "channel"]
    source = {"path": str(folder / "log.parquet"), "map": {n: n for n in names}}
    plain = own.model_copy(update={"events": config.Events.model_validate({"sources": {"log": source}})})
    (folder / "shop.yaml").write_text(config.to_yaml(plain))
    return folder


def train(shop: Path, out: Path, **environment: str) -> subprocess.Popen[str]:
    (shop / f"{out.name}.yaml").write_text(f"out: {out}\n")
    command = [sys.executable, "-m", "churn_clv.cli", "train", str(shop / "shop.yaml"), str(shop / f"{out.name}.yaml")]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                            env=os.environ | {"MLFLOW_TRACKING_URI": ""} | environment)  # fmt: skip


def test_two_trainings_at_once_into_a_new_store_lose_no_run(shop: Path, tmp_path: Path) -> None:
    both = [train(shop, tmp_path / "out") for _ in range(2)]
    said = [process.communicate(timeout=500)[0] for process in both]
    codes = sorted(process.returncode for process in both)
    assert set(codes) <= {0, 3}, "\n".join(said)
    own = config.load(shop / "shop.yaml", shop / "out.yaml")
    client = connect(own)
    runs = client.search_runs([experiment(own)])
    versions = client.search_model_versions(f"name = '{own.registered_name}'")
    assert {r.info.status for r in runs} == {"FINISHED"}
    assert sorted(int(v.version) for v in versions) == [1, 2] and len(runs) == 2
    told = succession.history(own)
    assert told["in_step"] and [m["happened"] for m in told["moves"]] == [True] * len(told["moves"])
    assert (told["champion"] is None) == (codes == [3, 3])


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    with disks.small(tmp_path / "small", 8) as folder:
        yield folder


def fill(disk: Path) -> None:
    """Take all the room there is."""
    with (disk / "filler").open("wb", buffering=0) as filler, pytest.raises(OSError, match="No space left"):
        while True:
            filler.write(b"0" * 4096)


def test_a_full_disk_is_a_clear_error_and_leaves_nothing_half_written(
    shop: Path, small_disk: Path, tmp_path: Path
) -> None:
    """MLflow's tables fit; while the training runs the rest of the disk is filled."""
    out = small_disk / "out"
    process = train(shop, out)
    assert process.stdout is not None
    lines = []
    for line in process.stdout:
        lines.append(line)
        if "fitting it on every label" in line:
            with (
                (small_disk / "filler").open("wb", buffering=0) as filler,
                pytest.raises(OSError, match="No space left"),
            ):
                while True:
                    filler.write(b"0" * 4096)
    process.wait(300)
    process.stdout.close()
    told = "".join(lines)
    assert process.returncode == 2 and "Traceback" not in told, told
    assert "could not be recorded" in told and "nor kept" in told, told
    assert list((out / "unsent").glob("*")) == [] and not (out / "bundles").exists()
    (small_disk / "filler").unlink()
    own = config.load(shop / "shop.yaml", shop / "out.yaml")
    assert succession.history(own)["champion"] is None
    client = connect(own)
    assert {r.info.status for r in client.search_runs([experiment(own)])} <= {"FAILED", "KILLED"}


def test_a_bundle_is_never_half_published_on_a_full_disk(store: Path, small_disk: Path, bundle: Path) -> None:
    own = kept.settings(store, service={"bundles": str(small_disk / "bundles")})
    version = kept.registered(own, bundle, World(300).recipe(0.1))
    fill(small_disk)
    with pytest.raises(succession.UserError, match=r"cannot take the bundle \(No space left"):
        succession.promote(own, str(version))
    assert tracking.history(own) == ([], None)
    assert [p.name for p in (small_disk / "bundles").glob("*")] == []
    (small_disk / "filler").unlink()
    assert succession.promote(own, str(version))["bundle_version"] == verify(bundle)["version"]


def test_a_server_that_dies_in_training_costs_half_a_minute_and_no_run(shop: Path, tmp_path: Path) -> None:
    """The store is a real server, killed while the training runs."""
    port = 5000 + os.getpid() % 20_000
    served, database = tmp_path / "served", f"sqlite:///{tmp_path / 'server.db'}"
    server = subprocess.Popen(
        [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1",
         "--backend-store-uri", database, "--artifacts-destination", str(served)],
        env=os.environ | {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}, start_new_session=True,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        uri = f"http://127.0.0.1:{port}"
        own = config.load(shop / "shop.yaml", out=str(tmp_path / "out"), tracking={"uri": uri})
        deadline = time.monotonic() + 300
        while time.monotonic() < deadline:
            try:
                tracking.prepare(own)
                break
            except succession.UserError:
                time.sleep(1)
        process = train(shop, tmp_path / "out", MLFLOW_TRACKING_URI=uri)
        assert process.stdout is not None
        lines = []
        for line in process.stdout:
            lines.append(line)
            if "fitting it on every label" in line:
                os.killpg(server.pid, signal.SIGKILL)
        process.wait(500)
        process.stdout.close()
    finally:
        if server.poll() is None:
            os.killpg(server.pid, signal.SIGKILL)
        server.wait(30)
    told = "".join(lines)
    assert process.returncode == 2 and "does not answer" in told and "churn-clv sync" in told, told
    assert "Traceback" not in told
    # Now the store is the SQLite file under `out`, and the run is sent there.
    sync = [sys.executable, "-m", "churn_clv.cli", "sync", str(shop / "shop.yaml"), str(shop / "out.yaml")]
    done = subprocess.run(
        sync, capture_output=True, text=True, check=False, env=os.environ | {"MLFLOW_TRACKING_URI": ""}
    )
    assert done.returncode == 0 and "is version 1" in done.stdout, done.stdout + done.stderr
