"""A fresh clone gives a wheel and a Bento that run in a clean environment, and the service there answers as batch does.

The clean environment holds src/requirements/serve.txt and nothing else of ours: the Bento must bring its own code.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from churn_clv import bundle, config, events, publish, simulate, training

pytestmark = pytest.mark.check
ROOT = Path(__file__).parents[2]
CUSTOMERS = 40
SITE_PACKAGES_MB = 600
LAB_ONLY = ("mlflow", "optuna", "sklearn", "pandas", "pyarrow", "matplotlib")


def run(*command: object, env: dict[str, str] | None = None, cwd: Path = ROOT) -> str:
    done = subprocess.run([str(c) for c in command], env=env, cwd=cwd, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, f"{' '.join(map(str, command))}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    return done.stdout


@dataclass(frozen=True)
class Clean:
    """An environment with the service's requirements only, and a home of its own."""

    folder: Path

    @property
    def bin(self) -> Path:
        return self.folder / "venv" / "bin"

    @property
    def site_packages(self) -> Path:
        return next((self.folder / "venv" / "lib").glob("python3*/site-packages"))

    @property
    def env(self) -> dict[str, str]:
        """What `env -i PATH HOME` leaves; uv is on the path because BentoML would otherwise fetch one by itself."""
        path = f"{self.folder / 'tools'}:/usr/bin:/bin"
        return {"PATH": path, "HOME": str(self.folder / "home"), "BENTOML_DO_NOT_TRACK": "True"}


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("fresh") / "clone"
    run("git", "clone", "--quiet", "--no-hardlinks", ROOT, folder)
    return folder


@pytest.fixture(scope="module")
def clean(clone: Path, tmp_path_factory: pytest.TempPathFactory) -> Clean:
    made = Clean(tmp_path_factory.mktemp("clean"))
    for name in ("home", "tools"):
        (made.folder / name).mkdir()
    uv = Path(sys.executable).with_name("uv")
    (made.folder / "tools" / "uv").symlink_to(uv if uv.exists() else str(shutil.which("uv")))
    run(sys.executable, "-m", "venv", made.folder / "venv")
    lock = clone / "src" / "requirements" / "serve.txt"
    flags = ("--no-deps", "--no-compile", "--require-hashes", "--only-binary", ":all:", "--quiet")
    run(made.bin / "python", "-m", "pip", "install", *flags, "-r", lock)
    return made


@pytest.fixture(scope="module")
def bento(clone: Path, clean: Clean) -> str:
    said = run(clean.bin / "bentoml", "build", "-f", "bentofile.yaml", "src", "-o", "tag", env=clean.env, cwd=clone)
    return next(line for line in said.splitlines() if line.startswith("__tag__:")).removeprefix("__tag__:")


@dataclass(frozen=True)
class Trained:
    """A small bundle on simulated customers and the raw events it is asked about."""

    bundle: bundle.Bundle
    folder: Path
    raw: pl.DataFrame
    cutoff: str


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    folder = tmp_path_factory.mktemp("bundle")
    overlay = folder / "small.yaml"
    overlay.write_text(
        "simulate: {customers: 1500}\nmodels: {churn: {max_rounds: 60}, spend: {max_rounds: 60}}\n", encoding="utf-8"
    )
    settings = config.load(ROOT / "configs" / "simulator.yaml", overlay)
    made = simulate.simulate(settings.simulate, settings.seed)
    log = events.from_frame(made.log, events.rules_of(settings.events), ends=made.ends)
    bundle.save(training.train(log, settings).bundle, folder / "saved")
    asked = made.log["customer_id"].unique().sort().head(CUSTOMERS)
    raw = made.log.filter(pl.col("customer_id").is_in(asked.implode()))
    return Trained(bundle.load_bundle(folder / "saved"), folder / "saved", raw, made.ends.isoformat())


@dataclass(frozen=True)
class Service:
    url: str
    bundles: Path

    def status(self, path: str, body: Any = None) -> tuple[int, Any]:
        """Status code and body (parsed where it is JSON) of a GET, or of a POST when a body is given."""
        data = None if body is None else json.dumps(body).encode()
        call = urllib.request.Request(self.url + path, data=data, headers={"Content-Type": "application/json"})
        try:
            with urllib.request.urlopen(call, timeout=30) as answer:
                code, kind, text = answer.status, answer.headers.get_content_type(), answer.read()
        except urllib.error.HTTPError as error:
            code, kind, text = error.code, error.headers.get_content_type(), error.read()
        return code, json.loads(text) if kind == "application/json" else text

    def wait(self, path: str, code: int, seconds: float) -> None:
        until = time.monotonic() + seconds
        seen: object = None
        while time.monotonic() < until:
            try:
                seen = self.status(path)[0]
            except OSError as error:
                seen = error
            if seen == code:
                return
            time.sleep(0.1)
        pytest.fail(f"{path} did not answer {code} within {seconds:.0f} s, last: {seen}")


@pytest.fixture(scope="module")
def service(clean: Clean, bento: str) -> Iterator[Service]:
    """The Bento, started in the clean environment from an empty folder, with no bundle published yet."""
    bundles, cwd = clean.folder / "bundles", clean.folder / "empty"
    bundles.mkdir()
    cwd.mkdir()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    log = clean.folder / "service.log"
    with log.open("wb") as out:
        server = subprocess.Popen(
            [str(clean.bin / "bentoml"), "serve", bento, "--host", "127.0.0.1", "--port", str(port)],
            env=clean.env | {"CHURN_CLV_BUNDLES": str(bundles)},
            cwd=cwd,
            stdout=out,
            stderr=out,
            start_new_session=True,
        )
    started = Service(f"http://127.0.0.1:{port}", bundles)
    try:
        started.wait("/livez", 200, 120)
        yield started
    finally:
        print(log.read_text(encoding="utf-8", errors="replace")[-3000:])
        for sign in (signal.SIGTERM, signal.SIGKILL):
            try:
                os.killpg(server.pid, sign)
                server.wait(timeout=15)
                break
            except ProcessLookupError:
                break
            except subprocess.TimeoutExpired:
                continue


def request_of(trained: Trained) -> dict[str, Any]:
    """The raw events as JSON: ISO times, plain numbers, absent values left out."""
    rows = trained.raw.with_columns(pl.selectors.temporal().dt.to_string("iso:strict"))
    customers: dict[str, list[dict[str, Any]]] = {}
    for row in rows.iter_rows(named=True):
        name = row.pop("customer_id")
        customers.setdefault(name, []).append({key: value for key, value in row.items() if value is not None})
    return {"cutoff": trained.cutoff, "customers": [{"customer_id": c, "events": e} for c, e in customers.items()]}


def test_the_bento_is_not_ready_without_a_bundle_and_equals_batch_with_one(service: Service, trained: Trained) -> None:
    request = request_of(trained)
    assert service.status("/readyz")[0] == 503
    assert service.status("/predict", request)[0] == 503

    publish.publish(trained.folder, service.bundles)
    service.wait("/readyz", 200, 60)
    code, answer = service.status("/predict", request | {"explain": 2, "language": "zh"})
    assert code == 200, answer
    assert all(len(row["reasons"]) == 2 for row in answer["predictions"] if row["eligible"])  # the phrases are in it

    batch = trained.bundle.score(trained.raw, trained.cutoff)
    assert isinstance(batch, pl.DataFrame)
    columns = [
        "customer_id", "eligible", "churn_probability", "percentile_in_reference", "churn_band", "expected_spend",
    ]  # fmt: skip
    expected = {row["customer_id"]: row for row in batch.select(columns).to_dicts()}
    assert {row["customer_id"]: {name: row[name] for name in columns} for row in answer["predictions"]} == expected
    assert {row["eligible"] for row in answer["predictions"]} == {True, False}


def test_the_clean_environment_holds_no_lab_and_stays_small(clean: Clean, bento: str) -> None:
    assert bento
    files = [path for path in clean.site_packages.rglob("*") if path.is_file()]
    assert [name for name in LAB_ONLY if (clean.site_packages / name).exists()] == []
    assert not (clean.site_packages / "churn_clv").exists()
    assert sum(path.stat().st_size for path in files) / 1e6 < SITE_PACKAGES_MB


def test_importing_the_service_loads_no_lab(clone: Path, clean: Clean) -> None:
    code = (
        "import sys; from churn_clv import bundle; from churn_clv.service import ChurnService;"
        "print(*(name for name in sys.modules if '.' not in name or name.startswith('churn_clv')))"
    )
    loaded = set(run(clean.bin / "python", "-c", code, env=clean.env, cwd=clone / "src").split())
    assert {"churn_clv.service", "churn_clv.bundle"} <= loaded
    ours = {f"churn_clv.{name}" for name in ("labels", "snapshots", "training", "tracking", "promotion", "models.fit")}
    assert loaded & (ours | set(LAB_ONLY)) == set()


def test_the_wheel_runs_in_the_clean_environment(clone: Path, clean: Clean, tmp_path: Path) -> None:
    """The wheel carries default, search, segments and actions.yaml as in configs/; it starts without the lab."""
    pip = (sys.executable, "-m", "pip")
    run(*pip, "wheel", "--no-deps", "--no-build-isolation", "--no-index", "--quiet", "-w", tmp_path / "dist", clone)
    (wheel,) = (tmp_path / "dist").glob("churn_clv-*.whl")
    run(clean.bin / "python", "-m", "pip", "install", "--no-deps", "--no-index", "--target", tmp_path / "site", wheel)
    env = clean.env | {"PYTHONPATH": str(tmp_path / "site")}
    code = (
        "import sys; from churn_clv import config; config.load(sys.argv[1]);"
        "print(config.__file__); print(config.shipped_text('default.yaml'), end='')"
    )
    overlay = clone / "configs" / "simulator.yaml"
    where, _, text = run(clean.bin / "python", "-c", code, overlay, env=env, cwd=tmp_path).partition("\n")
    assert Path(where).is_relative_to(tmp_path / "site")
    assert text == (clone / "configs" / "default.yaml").read_text(encoding="utf-8")
    for name in ("search.yaml", "segments.yaml", "actions.yaml"):
        carried = (tmp_path / "site" / "churn_clv" / name).read_text(encoding="utf-8")
        assert carried == (clone / "configs" / name).read_text(encoding="utf-8")
    assert {p.name for p in (tmp_path / "site" / "churn_clv" / "explain" / "phrases").iterdir()} == {
        "en.yaml",
        "zh.yaml",
    }
    shown = run(clean.bin / "python", "-m", "churn_clv.cli", "--help", env=env, cwd=tmp_path)
    assert {"init", "check", "plan", "train", "publish", "score", "serve"} <= set(shown.split())
