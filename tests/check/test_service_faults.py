"""Swaps, damaged bundles and killed workers under load: nothing is lost, and every number is its version's own."""

from __future__ import annotations

import hashlib
import http.client
import json
import os
import random
import shutil
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import polars as pl
import pytest
import tiny
from served import Served, serving

from churn_clv import bundle, publish
from churn_clv.service.contract import EXAMPLE

check, soak = pytest.mark.check, pytest.mark.soak
CUTOFF = "2024-06-01"
BODY = json.dumps(EXAMPLE).encode()


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Three sound bundles."""
    made = []
    for seed in (1, 2, 3):
        made.append(tmp_path_factory.mktemp("bundles") / f"b{seed}")
        bundle.save(tiny.tiny_bundle(seed=seed), made[-1])
    return made


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory, folders: list[Path]) -> Iterator[Served]:
    """As in a container that BentoML built, where it would not start a dead worker again by itself."""
    folder = tmp_path_factory.mktemp("served")
    publish.publish(folders[0], folder / "bundles")
    with serving(folder, {}, {"BENTOML_CONTAINERIZED": "true"}) as running:
        running.wait("/readyz", 200)
        yield running


@pytest.fixture(scope="module")
def offline(folders: list[Path]) -> dict[str, float]:
    """Each version's own score of the example, without any service."""
    plain = {"event_type": "purchase"}
    rows = [plain | {"customer_id": c["customer_id"]} | e for c in EXAMPLE["customers"] for e in c["events"]]
    log = pl.DataFrame(rows, infer_schema_length=None)
    out = {}
    for folder in folders:
        loaded = bundle.load_bundle(folder)
        scored = loaded.score(log, CUTOFF)
        assert isinstance(scored, pl.DataFrame)
        out[loaded.version] = scored["churn_probability"].item()
    assert len(set(out.values())) == len(out)
    return out


@dataclass
class Load:
    """Callers that ask without a pause until told to stop; what they were answered."""

    served: Served
    callers: int = 3
    met: Counter[str] = field(default_factory=Counter)
    answers: Counter[tuple[str, float]] = field(default_factory=Counter)
    lost: list[float] = field(default_factory=list)
    done: threading.Event = field(default_factory=threading.Event)

    def __enter__(self) -> Load:
        self._threads = [threading.Thread(target=self._ask) for _ in range(self.callers)]
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.done.set()
        for thread in self._threads:
            thread.join(timeout=120)

    def _ask(self) -> None:
        line = http.client.HTTPConnection("127.0.0.1", self.served.port, timeout=90)
        while not self.done.is_set():
            try:
                line.request("POST", "/predict", BODY, {"Content-Type": "application/json"})
                answer = line.getresponse()
                text = answer.read()
                self.met[str(answer.status)] += 1
                if answer.status == 200:
                    (got,) = json.loads(text)["predictions"]
                    self.answers[got["model_version"], got["churn_probability"]] += 1
            except (OSError, http.client.HTTPException):
                self.lost.append(time.monotonic())
                line.close()
        line.close()


def version(served: Served) -> str:
    return str(json.loads(served.ask("/model")[1])["model"]["version"])


def metric(served: Served, name: str) -> float:
    page = served.ask("/metrics")[1]
    return float(next(line for line in page.splitlines() if line.startswith(name + " ")).rpartition(" ")[2])


@pytest.mark.parametrize("swaps", [pytest.param(6, marks=check), pytest.param(100, marks=soak)])
def test_swaps_under_load_lose_nothing_and_mix_nothing(
    served: Served, folders: list[Path], offline: dict[str, float], swaps: int
) -> None:
    """F3, F6: new versions and roll-backs; each answer is the score of the version that it names."""
    with Load(served) as load:
        for k in range(swaps):
            sha = publish.publish(folders[(k + 1) % 3], served.bundles)
            served.wait("/model", 200, f'"version":"{sha}"')
            before = load.met["200"]
            while load.met["200"] < before + 20:
                time.sleep(0.02)
        back = publish.publish(folders[swaps % 3 - 1], served.bundles)
        served.wait("/model", 200, f'"version":"{back}"')
    print(f"{swaps} swaps, {sum(load.met.values())} answers: {dict(load.met)}, lost {len(load.lost)}")
    assert set(load.met) == {"200"} and not load.lost
    assert {name for name, _ in load.answers} == set(offline)
    assert all(offline[name] == score for name, score in load.answers)


def forged(root: Path, source: Path, change: Callable[[bytes, random.Random], bytes], seed: int) -> Path:
    """A bundle whose booster was changed and whose manifest was made to match."""
    made = root / f"forged-{seed}"
    shutil.rmtree(made, ignore_errors=True)
    shutil.copytree(source, made)
    draw = random.Random(seed)
    path = draw.choice(sorted(made.glob("*d_*.txt")) or sorted(made.glob("*.txt")))
    path.write_bytes(change(path.read_bytes(), draw))
    manifest = json.loads((made / "manifest.json").read_text())
    manifest["files"][path.name] = hashlib.sha256(path.read_bytes()).hexdigest()
    (made / "manifest.json").write_text(json.dumps(manifest))
    return made


def cut(data: bytes, draw: random.Random) -> bytes:
    return data[: draw.randrange(len(data))]


def drop_byte(data: bytes, draw: random.Random) -> bytes:
    at = draw.randrange(len(data))
    return data[:at] + data[at + 1 :]


def zeros(data: bytes, draw: random.Random) -> bytes:
    at = draw.randrange(len(data))
    return data[:at] + bytes(min(512, len(data) - at)) + data[at + 512 :]


def swap_lines(data: bytes, draw: random.Random) -> bytes:
    lines = data.split(b"\n")
    one, two = draw.randrange(len(lines)), draw.randrange(len(lines))
    lines[one], lines[two] = lines[two], lines[one]
    return b"\n".join(lines)


def flip(data: bytes, draw: random.Random) -> bytes:
    at = draw.randrange(len(data))
    return data[:at] + bytes([data[at] ^ (1 << draw.randrange(7))]) + data[at + 1 :]


def leaf(data: bytes, draw: random.Random) -> bytes:
    return data.replace(b"leaf_value=", b"leaf_value=9", 1)


MUTANTS = (cut, drop_byte, zeros, swap_lines, flip, leaf)


@pytest.mark.parametrize("each", [pytest.param(1, marks=check), pytest.param(20, marks=soak)])
def test_forged_boosters_never_end_the_worker(
    served: Served, folders: list[Path], tmp_path: Path, offline: dict[str, float], each: int
) -> None:
    """F5: the manifests match, so only loading shows it. Refused and told; or harmless, with the same scores."""
    good = publish.publish(folders[0], served.bundles)
    served.wait("/model", 200, f'"version":"{good}"')
    worker, met = served.worker(), Counter[str]()
    for number, change in enumerate(MUTANTS * each):
        made = forged(tmp_path, folders[1], change, number)
        sha = publish.publish(made, served.bundles)
        end = time.monotonic() + 120
        while time.monotonic() < end:
            told = json.loads(served.ask("/model")[1])
            if told["model"]["version"] == sha or (told["last_refused"] or {}).get("bundle") == sha:
                break
            time.sleep(0.1)
        taken = told["model"]["version"] == sha
        met["harmless" if taken else "refused"] += 1
        assert taken or told["last_refused"]["bundle"] == sha
        assert metric(served, "churn_clv_bundle_behind") == (0 if taken else 1)
        score = served.predict(EXAMPLE)[0]["churn_probability"]
        assert score in offline.values()
    print(dict(met), f"{metric(served, 'churn_clv_bundles_refused_total'):.0f} refused since the start")
    assert served.worker() == worker and met["refused"] >= 3 * each
    assert served.ask("/readyz")[0] == 200
    back = publish.publish(folders[0], served.bundles)
    served.wait("/model", 200, f'"version":"{back}"')
    served.wait("/metrics", 200, "churn_clv_bundle_behind 0.0")


@pytest.mark.parametrize("kills", [pytest.param(2, marks=check), pytest.param(20, marks=soak)])
def test_a_killed_worker_comes_back_and_loses_only_what_it_held(served: Served, kills: int) -> None:
    """F1, with BENTOML_CONTAINERIZED set. Lost are at most the requests in flight on it, one for each caller."""
    draw = random.Random(5)
    with Load(served) as load:
        for _ in range(kills):
            time.sleep(draw.uniform(0.2, 1.0))
            held, worker, before = len(load.lost), served.worker(), load.met["200"]
            began = time.monotonic()
            os.kill(worker, signal.SIGKILL)
            while served.worker() == worker:
                time.sleep(0.05)
            while load.met["200"] < before + 5:
                assert time.monotonic() - began < 180, served.log.read_text()[-2000:]
                time.sleep(0.05)
            print(f"back after {time.monotonic() - began:.1f} s, lost {len(load.lost) - held}")
            assert len(load.lost) - held <= load.callers
    assert set(load.met) <= {"200", "503"} and served.ask("/readyz")[0] == 200


@check
def test_sigterm_finishes_what_is_in_flight_and_ends(served: Served) -> None:
    """F2; the last test of this service."""
    with Load(served) as load:
        while load.met["200"] < 20:
            time.sleep(0.02)
        served.process.send_signal(signal.SIGTERM)
        began = time.monotonic()
        assert served.process.wait(timeout=60) == 0
        load.done.set()
    print(f"ended after {time.monotonic() - began:.1f} s; answers {dict(load.met)}")
    assert set(load.met) <= {"200"}


@check
def test_a_worker_ends_with_its_supervisor(tmp_path: Path) -> None:
    """Killed outright it can tell nobody; a worker left behind would hold the port and follow CURRENT for ever."""
    with serving(tmp_path, {}) as running:
        worker = running.worker()
        os.kill(running.process.pid, signal.SIGKILL)
        end = time.monotonic() + 30
        while Path(f"/proc/{worker}").exists() and time.monotonic() < end:
            time.sleep(0.1)
        assert not Path(f"/proc/{worker}").exists()
