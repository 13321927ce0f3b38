"""What a hostile caller may send to the running service: no 5xx, no value in what it writes, nobody else held up."""

from __future__ import annotations

import json
import os
import random
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import shop
from served import Served, serving

from churn_clv import publish
from churn_clv.bundle import Bundle
from churn_clv.cli._score import stored_environment
from churn_clv.service import keys
from churn_clv.service.contract import EXAMPLE, MAX_BODY_BYTES

check, soak = pytest.mark.check, pytest.mark.soak
CANARIES = ("jane.canary@example.com", "CANARY-7731904", "8675309.77", "+49-30-5550100", "Zürichstraße")
KEY, LINE = keys.make("shop")
NEXT, NEXT_LINE = keys.make("crm")
# Every connection and look-up of a name that a process makes is written down; only this machine may be asked.
WATCH = """
import os, sys
def _told(event, args):
    if event in ("socket.connect", "socket.getaddrinfo"):
        host = args[1][0] if event == "socket.connect" and isinstance(args[1], tuple) else args[0]
        if event == "socket.connect" and not isinstance(args[1], tuple):
            return
        if str(host) not in ("127.0.0.1", "::1", "localhost", "None", "0.0.0.0"):
            fd = os.open(os.environ["WATCHED"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
            os.write(fd, f"{event} {host}\\n".encode())
            os.close(fd)
sys.addaudithook(_told)
"""


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory, tiny_folder: Path, tiny_bundle: Bundle) -> Iterator[Served]:
    """As it runs on a laptop: loopback, no keys, scores published. What it connects to is watched."""
    folder = tmp_path_factory.mktemp("plain")
    own = shop.settings(folder / "shop")
    shop.score(own, tiny_bundle, table=True)
    publish.publish(tiny_folder, folder / "bundles")
    (folder / "sitecustomize.py").write_text(WATCH)
    path = os.pathsep.join([str(folder), *filter(None, [os.environ.get("PYTHONPATH")])])
    env = {"PYTHONPATH": path, "WATCHED": str(folder / "watched")} | stored_environment(own)
    with serving(folder, {}, env) as served:
        served.wait("/readyz", 200)
        yield served


@pytest.fixture(scope="module")
def strict(tmp_path_factory: pytest.TempPathFactory, tiny_folder: Path) -> Iterator[Served]:
    """Keys, and limits so small that a test reaches them."""
    folder = tmp_path_factory.mktemp("strict")
    publish.publish(tiny_folder, folder / "bundles")
    keys.add(folder / "keys.txt", LINE)
    section = {
        "require_key": True, "keys": str(folder / "keys.txt"), "timeout_seconds": 1.0, "max_concurrency": 2,
        "rate_per_second": 5, "rate_burst": 40, "cors_origins": ["https://shop.example"],
    }  # fmt: skip
    with serving(folder, section) as served:
        served.wait("/readyz", 200)
        yield served


def body_of(customer: str, events: int) -> bytes:
    made = [{"time": f"2024-0{1 + k % 5}-1{k % 9}", "amount": k % 50} for k in range(events)]
    return json.dumps({"customers": [{"customer_id": customer, "events": made}]}).encode()


def metric(served: Served, name: str, **headers: str) -> float:
    _, page, _ = served.ask("/metrics", **headers)
    return float(next(line for line in page.splitlines() if line.startswith(name + " ")).rpartition(" ")[2])


# --- S1, S2, S3, S4 -------------------------------------------------------------------------------
@pytest.mark.parametrize("examples", [pytest.param(150, marks=check), pytest.param(5_500, marks=soak)])
def test_generated_requests_meet_the_contract(plain: Served, examples: int, tmp_path: Path) -> None:
    """Schemathesis: every status, content type and body is as /openapi.json says, and none is a server's error.

    Left out: that whatever fits the schema is accepted. A schema cannot say which texts are times (422 says it).
    """
    before = Counter(_statuses(plain))
    command = [
        str(Path(sys.executable).with_name("schemathesis")), "run", f"http://127.0.0.1:{plain.port}/openapi.json",
        "--max-examples", str(examples), "--seed", "7", "--checks", "all",
        "--exclude-checks", "positive_data_acceptance", "--generation-database", "none", "--no-color",
    ]  # fmt: skip
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=3_000)
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    met = Counter(_statuses(plain))
    met.subtract(before)
    print({status: count for status, count in sorted(met.items()) if count})
    assert sum(met.values()) > examples and met["200"] and met["422"]
    assert not [status for status, count in met.items() if count and status >= "500"]


def _statuses(served: Served) -> dict[str, int]:
    out: Counter[str] = Counter()
    for line in served.ask("/metrics")[1].splitlines():
        if line.startswith(('churn_clv_requests_total{route="/predict"', 'churn_clv_requests_total{route="/model"')):
            out[line.partition('status="')[2][:3]] += int(float(line.rpartition(" ")[2]))
    return out


KINDS = ("application/json", "APPLICATION/JSON", "text/plain", "application/x-www-form-urlencoded",
         "multipart/form-data; boundary=x", "multipart/form-data", "application/vnd.bentoml+pickle",
         "Application/Vnd.Bentoml+Pickle", "application/vnd.apache.arrow.stream", "")  # fmt: skip
SPLICES = (b"NaN", b"Infinity", b"-Infinity", b"1e999", b"9" * 5_000, b"\xff\xfe", b"\xef\xbb\xbf", b'"\\ud800"',
           b"\x00", b'{"customer_id":', b"[" * 3_000, b"null", b"'; DROP TABLE scores; --", b"-1", b"\xf0\x9f\x92\xa9",
           b'"' + b"x" * 10_000 + b'"', b'"__proto__"', b"1970-01-01", b"-9999-99-99")  # fmt: skip


def mutated(draw: random.Random) -> bytes:
    """The example with a few bytes or tokens changed."""
    data = bytearray(json.dumps(EXAMPLE).encode())
    for _ in range(draw.randint(1, 4)):
        at = draw.randrange(len(data) + 1)
        match draw.randrange(6):
            case 0:
                del data[at:]
            case 1:
                data[at:at] = draw.choice(SPLICES)
            case 2 if at < len(data):
                data[at] ^= 1 << draw.randrange(8)
            case 3:
                del data[at : at + draw.randint(1, 20)]
            case 4:
                start = draw.randrange(len(data) + 1)
                data[at:at] = data[start : start + 60]
            case _:
                end = draw.randint(at, len(data))
                data[at:end] = draw.choice(SPLICES)
    return bytes(data)


@pytest.mark.parametrize("times", [pytest.param(500, marks=check), pytest.param(10_000, marks=soak)])
def test_mutated_bodies_are_refused_or_answered_and_cost_little(plain: Served, times: int) -> None:
    draw, met, before = random.Random(11), Counter[int](), plain.memory()
    for k in range(times):
        kind = "application/json" if k % 3 else draw.choice(KINDS)
        met[plain.ask("/predict", mutated(draw), content_type=kind)[0]] += 1
    print(dict(met), f"{(plain.memory() - before) / 1e6:+.0f} MB")
    assert set(met) <= {200, 400, 415, 422} and met[422] and met[415]
    assert plain.memory() - before < 50e6


@check
@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 422), (b"{", 422), (b"[" * 200_000, 422), (b'{"a":' * 100_000, 422), (b"\xff", 422), (b"NaN", 422),
        (b'{"customers":[{"customer_id":"a","events":[{"time":"2024-01-01","amount":NaN}]}]}', 422),
        (b'{"customers":[{"customer_id":"a","events":[{"time":"2024-01-01","amount":1e999}]}]}', 422),
        (b'{"customers":[{"customer_id":"a","events":[{"time":"-0044-03-15"}]}]}', 422),
        (b'{"customers":[{"customer_id":"a","events":[{"time":-86400}]}]}', 422),
        (json.dumps({"customers": [{"customer_id": "x" * 10_000, "events": []}]}).encode(), 422),
        (json.dumps({"customers": [{"customer_id": "'; DROP TABLE scores; --", "events": []}]}).encode(), 200),
        (json.dumps({"customers": [{"customer_id": "\u202eüñí\U0001f4a9", "events": []}]}).encode(), 200),
        (b"\xef\xbb\xbf" + json.dumps(EXAMPLE).encode(), 422),
    ],
)  # fmt: skip
def test_one_by_one(plain: Served, body: bytes, status: int) -> None:
    assert plain.ask("/predict", body)[0] == status


@check
def test_fifty_megabytes_are_refused_without_holding_them(plain: Served) -> None:
    before = plain.memory()
    for _ in range(3):
        assert plain.ask("/predict", b"x" * 50_000_000)[0] == 413
    assert plain.ask("/predict", b"x" * (MAX_BODY_BYTES + 1))[0] == 413
    assert plain.memory() - before < 40e6


@check
def test_slow_and_idle_connections_hold_nobody_up(plain: Served) -> None:
    """200 that say nothing, 40 that send a byte at a time, half-closed ones: the others are answered all the while."""
    head = (
        b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 5000\r\n\r\n"
    )
    idle = [socket.create_connection(("127.0.0.1", plain.port)) for _ in range(200)]
    slow = [socket.create_connection(("127.0.0.1", plain.port)) for _ in range(40)]
    half = [socket.create_connection(("127.0.0.1", plain.port)) for _ in range(10)]
    try:
        for line in slow:
            line.sendall(head + b"{")
        for line in half:
            line.sendall(b"GET /model HTTP/1.1\r\nHost: lo")
            line.shutdown(socket.SHUT_WR)
        took = []
        for _ in range(50):
            for line in slow:
                line.sendall(b" ")
            began = time.perf_counter()
            assert plain.predict(EXAMPLE)
            took.append(time.perf_counter() - began)
        print(f"slowest of 50 answers beside them: {max(took) * 1000:.0f} ms")
    finally:
        for line in (*idle, *slow, *half):
            line.close()


@check
def test_a_connection_that_never_asks_and_a_head_without_end_are_closed(plain: Served) -> None:
    silent = socket.create_connection(("127.0.0.1", plain.port), timeout=30)
    endless = socket.create_connection(("127.0.0.1", plain.port), timeout=30)
    before, sent = plain.memory(), 0
    endless.sendall(b"GET /model HTTP/1.1\r\nHost: localhost\r\nX-Long: ")
    with pytest.raises(OSError):
        while sent < 100_000_000:
            sent += endless.send(b"a" * 65_536)
    assert sent < 20_000_000 and plain.memory() - before < 20e6
    assert silent.recv(1) == b""
    silent.close()
    endless.close()


@check
def test_smuggled_and_pipelined_requests_are_told_apart(plain: Served) -> None:
    """Content-Length beside Transfer-Encoding is an error of its own; two requests in one packet get two answers."""
    host = b"Host: localhost\r\n"
    both = b"POST /predict HTTP/1.1\r\n" + host + b"Content-Type: application/json\r\nContent-Length: 4\r\n"
    assert (
        _raw(plain, both + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /model HTTP/1.1\r\n\r\n").count(
            b"HTTP/1.1 200"
        )
        == 0
    )
    twice = _raw(
        plain, b"GET /livez HTTP/1.1\r\n" + host + b"\r\nGET /livez HTTP/1.1\r\n" + host + b"Connection: close\r\n\r\n"
    )
    assert twice.count(b"HTTP/1.1 200") == 2


def _raw(served: Served, data: bytes) -> bytes:
    with socket.create_connection(("127.0.0.1", served.port), timeout=15) as line:
        line.sendall(data)
        out = b""
        while piece := line.recv(65_536):
            out += piece
        return out


# --- L10, S15, canaries ---------------------------------------------------------------------------
@check
def test_random_paths_leave_the_metrics_as_they_are(plain: Served) -> None:
    plain.ask("/nothing")
    before = len(plain.ask("/metrics")[1].splitlines())
    for k in range(1_000):
        assert plain.ask(f"/nothing-{k}/{CANARIES[1]}")[0] == 404
    page = plain.ask("/metrics")[1]
    assert len(page.splitlines()) == before and len(page) < 200_000


@check
def test_nothing_that_was_sent_stands_in_what_the_service_writes(plain: Served) -> None:
    """P1: ids, amounts, mail addresses and phones in good and bad requests, paths, headers, and in a killed worker."""
    mail, ident, amount, phone, street = CANARIES
    event = {"time": "2024-01-05", "amount": float(amount), "order_id": ident, "product_id": street, "category": phone}
    good = {"customers": [{"customer_id": mail, "events": [event, {"time": "2024-04-05", "event_type": ident}]}]}
    assert plain.predict(good)[0]["customer_id"] == mail
    customer: dict[str, Any] = {"customer_id": mail, "events": [event]}
    for bad in (
        {"customers": [customer, customer]},
        {"customers": [{"customer_id": mail, "events": [{"time": phone}]}]},
        {"customers": [{"customer_id": [mail], "events": []}]},
        {"customers": [{"customer_id": "a", "events": [], mail: ident}]},
        {"customers": [{"customer_id": "a", "cutoff": mail, "events": []}]},
        {"customers": [{"customer_id": "a", "events": [{"time": "2024-01-05", "amount": street}]}]},
        {"customers": mail},
    ):
        assert plain.ask("/predict", json.dumps(bad).encode())[0] == 422
    plain.ask("/predict", f'{{"{mail}": "{ident}'.encode())
    plain.ask("/predict", mail.encode(), content_type=f"text/{ident}")
    plain.ask(f"/predict?email={mail}", b"{}", user_agent=ident, referer=f"http://x/{mail}", cookie=mail)
    plain.ask(f"/customers/{ident}", authorization=f"Bearer {ident}", x_request_id=mail)
    plain.ask("/model", host=mail)
    _raw(plain, f"GET /{ident} HTTP/9.9\r\nX: {mail}\r\n\r\n".encode())
    asking = threading.Thread(target=lambda: _try(plain, body_of(mail, 40_000)))
    asking.start()
    time.sleep(0.3)
    os.kill(plain.worker(), 9)
    asking.join()
    plain.wait("/readyz", 200)
    told = plain.log.read_text() + plain.ask("/metrics")[1] + plain.ask("/model")[1] + plain.ask("/openapi.json")[1]
    for word in (*CANARIES, *(c.encode("unicode_escape").decode() for c in CANARIES), "867530977"):
        assert word not in told
    lines = plain.log.read_text().splitlines()
    assert [line for line in lines if not line.startswith("{")] == [] and [json.loads(line) for line in lines]


def _try(served: Served, body: bytes) -> int:
    try:
        return served.ask("/predict", body)[0]
    except OSError:
        return 0


@check
def test_the_service_asked_nobody_else(plain: Served) -> None:
    """S15: no telemetry and no look-up of a name, by any of its processes, since it was started."""
    watched = plain.log.parent / "watched"
    assert not watched.exists(), watched.read_text()


@check
def test_the_watch_sees_what_it_looks_for(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(WATCH)
    code = "import socket\ntry: socket.getaddrinfo('nobody.invalid', 80)\nexcept OSError: pass"
    env = os.environ | {"PYTHONPATH": str(tmp_path), "WATCHED": str(tmp_path / "watched")}
    subprocess.run([sys.executable, "-c", code], env=env, check=True, timeout=60)
    assert "nobody.invalid" in (tmp_path / "watched").read_text()


# --- S7, S9, S11, L6, L7 --------------------------------------------------------------------------
@check
def test_keys_are_asked_for_everywhere_but_at_the_probes_and_can_be_rotated(strict: Served) -> None:
    paths = ("/model", "/openapi.json", "/metrics")
    assert {strict.ask(path)[0] for path in paths} == {strict.ask("/predict", b"{}")[0]} == {401}
    assert {strict.ask(path)[0] for path in ("/docs.json", "/schema.json", "/", "/static_content/x")} == {404}
    assert [strict.ask(path)[0] for path in ("/livez", "/readyz", "/healthz")] == [200] * 3
    for wrong in ("", "x", KEY[:-1], "k" * 20_000, "schlüssel", KEY.upper()):
        assert strict.ask("/model", x_api_key=wrong)[0] == 401
    assert strict.ask("/model", x_api_key=KEY)[0] == strict.ask("/model", authorization=f"Bearer {KEY}")[0] == 200
    path = strict.log.parent / "keys.txt"
    keys.add(path, NEXT_LINE)
    time.sleep(1.2)
    assert strict.ask("/model", x_api_key=KEY)[0] == strict.ask("/model", x_api_key=NEXT)[0] == 200
    path.write_text(f"{NEXT_LINE}\n")
    time.sleep(1.2)
    assert (strict.ask("/model", x_api_key=KEY)[0], strict.ask("/model", x_api_key=NEXT)[0]) == (401, 200)
    path.write_text(f"{LINE}\n{NEXT_LINE}\n")
    time.sleep(1.2)
    assert KEY not in strict.log.read_text() and NEXT not in strict.log.read_text()


@check
def test_headers_and_origins(strict: Served) -> None:
    _, _, headers = strict.ask("/model", x_api_key=NEXT, origin="https://evil.test")
    assert "server" not in headers and "access-control-allow-origin" not in headers
    assert headers["x-content-type-options"] == "nosniff" and headers["cache-control"] == "no-store"
    _, _, headers = strict.ask("/model", x_api_key=NEXT, origin="https://shop.example")
    assert headers["access-control-allow-origin"] == "https://shop.example"


@check
def test_an_answer_that_takes_too_long_is_504_and_its_work_ends(tmp_path: Path, tiny_folder: Path) -> None:
    """L7: the largest request against less than it takes on any machine; afterwards nothing of it runs."""
    publish.publish(tiny_folder, tmp_path / "bundles")
    with serving(tmp_path, {"timeout_seconds": 0.1}) as served:
        served.wait("/readyz", 200)
        status, text, _ = served.ask("/predict", body_of("a", 100_000))
        assert status == 504 and "took too long" in json.loads(text)["detail"]
        end = time.monotonic() + 60
        while metric(served, "churn_clv_requests_in_flight") > 1 and time.monotonic() < end:
            time.sleep(0.5)
        assert metric(served, "churn_clv_requests_in_flight") == 1  # the reading itself


@check
def test_more_than_it_can_do_is_refused_and_probes_still_answer(strict: Served) -> None:
    """L6: eight at once against two; 200, 429, 503 and 504 only, each refusal with Retry-After; then all is well."""
    time.sleep(8)
    met: Counter[int] = Counter()
    lacking: list[int] = []
    stop = threading.Event()

    def press() -> None:
        while not stop.is_set():
            status, _, headers = strict.ask("/predict", json.dumps(EXAMPLE).encode(), x_api_key=KEY)
            met[status] += 1
            if status in (429, 503) and not headers.get("retry-after", "").isdigit():
                lacking.append(status)

    threads = [threading.Thread(target=press) for _ in range(8)]
    for thread in threads:
        thread.start()
    probes = [strict.ask(path)[0] for path in ("/livez", "/readyz") * 10]
    time.sleep(2)
    other = strict.ask("/model", x_api_key=NEXT)[0]
    stop.set()
    for thread in threads:
        thread.join()
    print(dict(met))
    assert set(probes) == {200} and set(met) <= {200, 429, 503, 504} and met[429] and met[200] and not lacking
    assert other in (200, 503)
    time.sleep(2)
    assert strict.ask("/predict", json.dumps(EXAMPLE).encode(), x_api_key=NEXT)[0] == 200
