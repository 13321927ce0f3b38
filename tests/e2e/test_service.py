"""The real server on a free port: not ready, ready by itself, equal to batch, steadfast, and gone when told to go."""

from __future__ import annotations

import datetime as dt
import http.client
import importlib.util
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import polars as pl
import pytest
import tiny
from served import Served, serving

from churn_clv import bundle, publish
from churn_clv.errors import UserError
from churn_clv.service import serve
from churn_clv.service.contract import EXAMPLE

ROOT = Path(__file__).parents[2]
CANARY = "jane.canary@example.com"
LAB = ("mlflow", "optuna", "sklearn", "pandas", "pyarrow", "matplotlib")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """Started as `churn-clv serve` starts it, with no bundles folder yet."""
    with serving(tmp_path_factory.mktemp("server"), {}) as started:
        yield started


# The tests below tell one story and run in this order.
def test_without_a_bundle_it_lives_but_is_not_ready(server: Served) -> None:
    assert server.ask("/livez")[0] == 200
    assert server.ask("/readyz")[0] == 503
    status, text, _ = server.ask("/predict", json.dumps(EXAMPLE).encode())
    assert status == 503 and "detail" in json.loads(text)
    assert json.loads(server.ask("/model")[1])["ready"] is False


def test_a_published_bundle_is_taken_without_a_restart_and_answers_as_batch_does(
    server: Served, tiny_folder: Path, tiny_bundle: bundle.Bundle
) -> None:
    publish.publish(tiny_folder, server.bundles)
    server.wait("/readyz", 200)
    log = tiny.plain_log(customers=30, seed=5)
    cutoff = tiny.TRAINED_THROUGH
    customers: dict[str, list[dict[str, Any]]] = {}
    for row in log.with_columns(pl.col("time").dt.to_string("iso:strict")).iter_rows(named=True):
        event = {k: v for k, v in row.items() if v is not None}
        customers.setdefault(event.pop("customer_id"), []).append(event)
    body = {"cutoff": cutoff.isoformat(), "customers": [{"customer_id": c, "events": e} for c, e in customers.items()]}
    columns = ["customer_id", "eligible", "reason", "churn_probability", "percentile_in_reference", "churn_band",
               "expected_spend"]  # fmt: skip
    scored = tiny_bundle.score(log, cutoff)
    assert isinstance(scored, pl.DataFrame)
    there = {row["customer_id"]: row for row in scored.select(columns).to_dicts()}
    here = {p["customer_id"]: {name: p[name] for name in columns} for p in server.predict(body)}
    assert {name: row for name, row in here.items() if row["reason"] != "unknown"} == there
    assert any(row["eligible"] for row in there.values())


def test_the_client_of_the_docs_asks_and_is_told_why_not(server: Served) -> None:
    spec = importlib.util.spec_from_file_location("client", ROOT / "docs" / "client.py")
    assert spec is not None and spec.loader is not None
    there = importlib.util.module_from_spec(spec)
    sys.modules["client"] = there  # its dataclass looks itself up
    spec.loader.exec_module(there)
    client = there.Client(f"http://127.0.0.1:{server.port}")
    [found] = client.predict(EXAMPLE["customers"], explain=2)
    assert found["eligible"] and 0 < found["churn_probability"] < 1 and len(found["reasons"]) == 2
    assert found["score_valid_until"] > found["cutoff"]
    missing = set(there.Prediction.__annotations__) - found.keys()
    assert not missing
    with pytest.raises(there.Refused, match=r"422.*future_cutoff"):
        client.predict([EXAMPLE["customers"][0] | {"cutoff": "2999-01-01"}])


def test_the_default_cutoff_is_the_latest_midnight_there(server: Served) -> None:
    (got,) = server.predict({"customers": [{"customer_id": "a", "events": []}]})
    today = dt.datetime.now(ZoneInfo(tiny.ZONE)).date()
    assert dt.date.fromisoformat(got["cutoff"]) in (today, today - dt.timedelta(days=1))


def test_what_is_not_for_it_is_refused_at_the_door(server: Served) -> None:
    assert server.ask("/predict", b"x" * 40_000_000)[0] == 413
    assert server.ask("/predict", b"{}", content_type="text/plain")[0] == 415
    assert server.ask("/predict", b"{}", content_type="application/x-www-form-urlencoded")[0] == 415
    assert server.ask("/predict", b"[" * 200_000)[0] == 422
    assert server.ask("/docs.json")[0] == server.ask("/")[0] == 404


def test_a_chunked_body_over_the_limit_is_413_too(server: Served) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
    pieces = (b"x" * 1_000_000 for _ in range(20))
    connection.request("POST", "/predict", pieces, {"Content-Type": "application/json"}, encode_chunked=True)
    assert connection.getresponse().status == 413
    connection.close()


def test_unknown_paths_leave_no_trace_in_the_metrics(server: Served) -> None:
    for number in range(20):
        assert server.ask(f"/nothing-{number}")[0] == 404
    status, text, _ = server.ask("/metrics")
    assert status == 200 and "/predict" in text and "nothing-" not in text


def test_a_broken_bundle_is_refused_and_the_old_one_answers(server: Served, tiny_bundle: bundle.Bundle) -> None:
    good, bad = tiny_bundle.version, "f" * 64
    (server.bundles / bad).mkdir()
    (server.bundles / bad / "manifest.json").write_text("{}")
    (server.bundles / "CURRENT").write_text(bad)
    server.wait("/model", 200, bad)
    told = json.loads(server.ask("/model")[1])
    assert told["model"]["version"] == good and told["last_refused"]["bundle"] == bad
    assert server.predict(EXAMPLE)[0]["model_version"] == good
    assert server.ask("/readyz")[0] == 200


def test_another_bundle_replaces_it_while_requests_run(server: Served, tmp_path: Path) -> None:
    """Every answer is that of the version which it names."""
    other = tmp_path / "other"
    bundle.save(tiny.tiny_bundle(seed=3), other)
    seen: set[tuple[str, float]] = set()
    done = threading.Event()

    def keep_asking() -> None:
        while not done.is_set():
            (got,) = server.predict(EXAMPLE)
            seen.add((got["model_version"], got["churn_probability"]))

    asking = threading.Thread(target=keep_asking)
    asking.start()
    try:
        sha = publish.publish(other, server.bundles)
        server.wait("/model", 200, f'"version":"{sha}"')
        time.sleep(0.5)
    finally:
        done.set()
        asking.join(timeout=60)
    assert sha in {version for version, _ in seen}
    assert len(seen) == len({version for version, _ in seen})


def test_the_log_holds_no_value_of_a_refused_request(server: Served) -> None:
    for bad in (
        {"customer_id": CANARY, "cutoff": CANARY, "events": []},
        {"customer_id": "a", "events": [{"time": CANARY}]},
    ):
        assert server.ask("/predict", json.dumps({"customers": [bad]}).encode())[0] == 422
    assert CANARY not in server.log.read_text()
    assert "refused" in server.log.read_text()


def test_sigterm_lets_the_request_in_flight_finish_and_ends_the_server(server: Served) -> None:
    events = [{"time": f"2024-0{1 + k % 5}-1{k % 9}", "amount": k % 50} for k in range(40_000)]
    body = json.dumps({"customers": [{"customer_id": "a", "events": events}]}).encode()
    got: list[int] = []
    asking = threading.Thread(target=lambda: got.append(server.ask("/predict", body)[0]))
    asking.start()
    time.sleep(0.3)
    server.process.send_signal(signal.SIGTERM)
    began = time.monotonic()
    assert server.process.wait(timeout=30) == 0
    assert time.monotonic() - began < 15
    asking.join(timeout=30)
    assert got == [200]


# --- no server needed ---------------------------------------------------------------------------
NO_LAB = f"""
import asyncio, importlib.abc, json, pathlib, sys
class Absent(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {LAB!r}:
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Absent())
import churn_clv.service.bento as bento
early = sorted(m for m in sys.modules if m.startswith("churn_clv"))
from churn_clv.service.holder import Holder
from churn_clv.service.app import utc_now
from churn_clv.service.desks import Desks
from churn_clv.service.contract import EXAMPLE
held = Holder(pathlib.Path(sys.argv[1])); held.check()
answer = asyncio.run(Desks().answer(json.dumps(EXAMPLE).encode(), held.loaded.bundle, utc_now()))
late = sorted(m for m in sys.modules if m.startswith("churn_clv"))
print(json.dumps([early, late, len(json.loads(answer)), bento.os.environ["BENTOML_DO_NOT_TRACK"]]))
"""


def test_the_service_needs_no_lab_and_can_see_no_label(tmp_path: Path, tiny_folder: Path) -> None:
    """It imports, loads and answers where the lab's packages are not installed."""
    publish.publish(tiny_folder, tmp_path)
    environment = {k: v for k, v in os.environ.items() if k != "BENTOML_DO_NOT_TRACK"}
    done = subprocess.run(
        [sys.executable, "-c", NO_LAB, str(tmp_path)], capture_output=True, text=True, timeout=180, check=False,
        env=environment | {"BENTOML_HOME": str(tmp_path / "bentoml")},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    early, late, predictions, tracking = json.loads(done.stdout.splitlines()[-1])
    assert (predictions, tracking) == (1, "True")
    forbidden = {"labels", "snapshots", "training", "tracking", "tuning", "promotion", "figures"}
    assert not {name.split(".")[1] for name in late if "." in name} & forbidden
    assert not {"churn_clv.models.fit", "churn_clv.models.baseline"} & set(late)
    assert "churn_clv.bundle" not in early and "churn_clv.bundle" in late


@pytest.mark.parametrize(("host", "port"), [("example.org", 3000), ("", 3000), ("127.0.0.1", 0), ("::1", 70_000)])
def test_serve_refuses_an_address_that_is_none(host: str, port: int) -> None:
    with pytest.raises(UserError):
        serve(host, port)
