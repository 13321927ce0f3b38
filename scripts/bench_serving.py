"""Time the service against an echo of the same stack, in one run; prints a table, asserts nothing (docs/serving.md).

    python scripts/bench_serving.py [--bundle FOLDER] [--scores TABLE] [--quick]

``--bundle`` is a folder of published bundles (with CURRENT); default: the demo's, else one trained on the simulator.
``--scores`` is the table that answers by id; default: the one beside the bundle. Echo and service run side by side on
ports of their own and are asked in turns, by scripts/serving/load.py in a process of its own (asyncio on uvloop,
answers read by httptools: both come with the service). Ratios are of requests a second, the median of the turns.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
SCRIPTS, OUT = ROOT / "scripts", ROOT / "build"
sys.path.insert(0, str(SCRIPTS / "serving"))

import histories  # noqa: E402
import in_process  # noqa: E402

from churn_clv.bundle import Bundle, load_bundle  # noqa: E402
from churn_clv.errors import UserError  # noqa: E402

CLIENTS, EVENTS, MANY = 16, 40, 1_000
READY_SECONDS = 120
TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Server:
    """A running server: its first process, whose children do the work, and its port."""

    process: subprocess.Popen[bytes]
    port: int

    def cpu_s(self) -> float:
        """Processor seconds of the process and all below it so far."""
        return sum(_cpu_s(pid) for pid in _family(self.process.pid))

    def ask(self, path: str, body: bytes | None = None) -> tuple[int, bytes]:
        """Status and body of one request."""
        call = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", body, {"Content-Type": "application/json"})
        try:
            with urllib.request.urlopen(call, timeout=60) as answer:
                return answer.status, answer.read()
        except urllib.error.HTTPError as error:
            return error.code, error.read()


def main() -> None:
    """Measure everything that is there, print it, write build/bench-serving.json."""
    given = _arguments()
    OUT.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as name, contextlib.ExitStack() as stack:
        work = Path(name)
        folder = given.bundle or _published() or _trained(work)
        bundle = _loaded(folder)
        scores = given.scores or _table(folder, bundle)
        service = stack.enter_context(_service(folder, scores, work))
        echo = stack.enter_context(_echo(service, bundle, work))
        found = Bench(service, echo, bundle, work, given.quick).all(scores)
    boosters = in_process.two_boosters(len(bundle.features))
    found |= {"in_process": {"us": boosters["us"]}, "batch": _batch(given.quick)}
    detail = found.pop("detail") | {"in_process": boosters | in_process.parts(bundle)}
    (OUT / "bench-serving.json").write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    (OUT / "bench-serving-detail.json").write_text(json.dumps(detail, indent=1) + "\n", encoding="utf-8")
    _show(found, detail, bundle)


class Bench:
    """A service and its echo, asked in turns."""

    def __init__(self, service: Server, echo: Server, bundle: Bundle, work: Path, quick: bool) -> None:
        self.service, self.echo, self.bundle, self.work = service, echo, bundle, work
        self.turns, self.seconds, self.open_seconds = (2, 3.0, 15.0) if quick else (5, 8.0, 180.0)
        self.detail: dict[str, Any] = {}

    def all(self, scores: str | None) -> dict[str, Any]:
        """Every path, by its name in the document."""
        raw = [{"customers": histories.customers(self.bundle, 1, EVENTS, seed)} for seed in range(64)]
        many = histories.customers(self.bundle, MANY, EVENTS)
        paths = {"raw": histories.write(raw, self.work / "raw"), "rows": self.work / "rows", "columns": self.work / "c"}
        histories.write([{"customers": many}], paths["rows"])
        histories.write([histories.by_columns(many)], paths["columns"])
        raw_events = self.compare("raw_events", "/predict", paths["raw"], CLIENTS)
        bulk = self.compare("bulk", "/predict", paths["rows"], 1)
        columns = self.compare("columns", "/predict", paths["columns"], 1)
        columns["to_rows"] = columns["per_second"] / bulk["per_second"]
        by_id = self.by_id(scores)
        rate = raw_events["per_second"] / 2
        opened = self.load(self.service, "/predict", paths["raw"], rate=rate, seconds=self.open_seconds)[0]
        return {
            "by_id": by_id and _latencies(by_id),
            "raw_events": _latencies(raw_events),
            "bulk": {"ratio_to_echo": bulk["ratio_to_echo"], "customers_per_s": bulk["per_second"] * MANY},
            "open_loop": {"rate": rate, "seconds": self.open_seconds} | opened,
            "detail": self.detail,
        }

    def by_id(self, scores: str | None) -> dict[str, Any] | None:
        """One id a request, where the endpoint is there and has scores."""
        ids = _ids(scores, self.service)
        if not ids:
            return None
        bodies = histories.write([{"customer_ids": [name]} for name in ids], self.work / "ids")
        return self.compare("by_id", "/predict/stored", bodies, CLIENTS)

    def compare(self, name: str, path: str, bodies: Path, clients: int) -> dict[str, Any]:
        """Echo and service in turns; the medians, and the ratio of each turn's rates."""
        turns = []
        for _ in range(self.turns):
            turns.append([self.load(s, path, bodies, clients=clients) for s in (self.echo, self.service)])
        found: dict[str, Any] = {"ratio_to_echo": _middle([s[0]["per_second"] / e[0]["per_second"] for e, s in turns])}
        for place, prefix in ((1, ""), (0, "echo_")):
            for key in ("per_second", "p50_ms", "p99_ms", "p999_ms"):
                found[prefix + key] = _middle([turn[place][0][key] for turn in turns])
            found[f"{prefix}cpu_ms"] = _middle([turn[place][1] for turn in turns])
            found[f"{prefix}failed"] = sum(turn[place][0]["failed"] for turn in turns)
        found["ratios"] = [round(s[0]["per_second"] / e[0]["per_second"], 3) for e, s in turns]
        self.detail[name] = found
        print(f"{name}: {json.dumps({k: _short(v) for k, v in found.items()})}", file=sys.stderr, flush=True)
        return found

    def load(self, server: Server, path: str, bodies: Path, **how: Any) -> tuple[dict[str, Any], float]:
        """What the load told, and the server's processor milliseconds a request."""
        asked = {"port": server.port, "path": path, "bodies": str(bodies), "seconds": self.seconds} | how
        before = server.cpu_s()
        done = subprocess.run(
            [sys.executable, str(SCRIPTS / "serving" / "load.py")], input=json.dumps(asked).encode(),
            stdout=subprocess.PIPE, check=True,
        )  # fmt: skip
        told = json.loads(done.stdout)
        if not told["requests"]:
            raise SystemExit(f"no request to {path} was answered: {told}")
        return told, (server.cpu_s() - before) * 1000 / told["with_warm_up"]


def _arguments() -> argparse.Namespace:
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("--bundle", type=Path)
    asked.add_argument("--scores")
    asked.add_argument("--quick", action="store_true", help="shorter turns, 15 seconds of open loop")
    return asked.parse_args()


def _loaded(folder: Path) -> Bundle:
    try:
        return load_bundle(folder / (folder / "CURRENT").read_text(encoding="utf-8").strip())
    except (UserError, OSError) as error:
        raise SystemExit(f"{error} Or name other bundles with --bundle.") from None


def _published() -> Path | None:
    """The demo's bundles: those of Complete Journey if there, else any."""
    found = sorted((ROOT / "out" / "bundles").glob("*/CURRENT"), key=lambda p: "completejourney" not in str(p))
    return found[0].parent if found else None


def _trained(work: Path) -> Path:
    """Bundles trained on the simulator, which takes a minute or two."""
    (work / "own.yaml").write_text("simulate:\n  customers: 1500\n", encoding="utf-8")
    configs = [str(ROOT / "configs" / "simulator.yaml"), str(work / "own.yaml")]
    # Published whether it earned it or not: its speed is all that is asked.
    publish = ["publish", *configs, "--version", "1"]
    for command in (["simulate", *configs], ["train", *configs], publish, ["score", *configs]):
        print(f"no bundle is published; churn-clv {command[0]} ...", file=sys.stderr, flush=True)
        done = subprocess.run([sys.executable, "-m", "churn_clv.cli", *command], stdout=subprocess.DEVNULL, cwd=work)
        if done.returncode not in (0, 3):  # 3: trained but not promoted
            raise SystemExit(f"churn-clv {command[0]} ended with {done.returncode}")
    return next((work / "out" / "bundles").glob("*/CURRENT")).parent


def _table(folder: Path, bundle: Bundle) -> str | None:
    """The table of scores that `churn-clv score` keeps in the folder where the bundles are."""
    path = folder.absolute().parents[1] / "scores" / bundle.config.dataset / "scores.db"
    return str(path) if path.exists() else None


def _ids(scores: str | None, service: Server) -> list[str]:
    """Customers whose scores are kept; none where the endpoint, or the scores, are not there."""
    if scores is None or service.ask("/predict/stored", b'{"customer_ids":["a"]}')[0] != 200:
        return []
    import polars as pl

    files = sorted(Path(scores).parent.rglob("*.parquet"))
    found = pl.read_parquet(files[-1], columns=["customer_id"])["customer_id"] if files else pl.Series([], dtype=str)
    return list(found.sample(min(1_000, found.len()), seed=1, shuffle=True))


@contextlib.contextmanager
def _service(folder: Path, scores: str | None, work: Path) -> Iterator[Server]:
    """The service as `churn-clv serve` starts it."""
    port = _port()
    code = f"from churn_clv.service import serve; serve('127.0.0.1', {port}, {str(folder)!r})"
    own = {"CHURN_CLV_SCORES": str(scores)} if scores else {}
    with _started([sys.executable, "-c", code], port, own, work, "service") as server:
        yield server


@contextlib.contextmanager
def _echo(service: Server, bundle: Bundle, work: Path) -> Iterator[Server]:
    """The echo, which says of everyone what the service says of one customer."""
    body = json.dumps({"customers": histories.customers(bundle, 1, EVENTS)}).encode()
    status, text = service.ask("/predict", body)
    if status != 200:
        raise SystemExit(f"the service answers {status}: {text.decode()[:500]}")
    constant = work / "constant.json"
    constant.write_text(json.dumps(json.loads(text)["predictions"][0]), encoding="utf-8")
    port = _port()
    command = [sys.executable, "-m", "bentoml", "serve", "echo:Echo", "--host", "127.0.0.1", "--port", str(port)]
    command += ["--working-dir", str(SCRIPTS / "serving")]
    with _started(command, port, {"CHURN_CLV_ECHO": str(constant)}, work, "echo") as server:
        yield server


@contextlib.contextmanager
def _started(command: list[str], port: int, own: dict[str, str], work: Path, name: str) -> Iterator[Server]:
    log = work / f"{name}.log"
    given = os.environ | {"BENTOML_HOME": str(work / f"{name}-home"), "BENTOML_DO_NOT_TRACK": "True"} | own
    with log.open("wb") as out:
        process = subprocess.Popen(command, cwd=work, env=given, stdout=out, stderr=subprocess.STDOUT)
    server = Server(process, port)
    try:
        end = time.monotonic() + READY_SECONDS
        while not _ready(server):
            if process.poll() is not None or time.monotonic() > end:
                raise SystemExit(f"{name} did not start:\n{log.read_text()[-3000:]}")
            time.sleep(0.2)
        yield server
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            process.kill()


def _ready(server: Server) -> bool:
    try:
        return server.ask("/readyz")[0] == 200
    except OSError:
        return False


def _port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _family(pid: int) -> list[int]:
    """A process and all that it started, and they."""
    parents: dict[int, list[int]] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            parents.setdefault(int(stat.read_text().rsplit(")", 1)[1].split()[1]), []).append(int(stat.parent.name))
    found = [pid]
    for one in found:
        found += parents.get(one, [])
    return found


def _cpu_s(pid: int) -> float:
    with contextlib.suppress(OSError):
        fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / TICKS
    return 0.0


def _batch(quick: bool) -> dict[str, Any] | None:
    """What scripts/bench_batch.py measured."""
    script = SCRIPTS / "bench_batch.py"
    if not script.exists():
        return None
    with tempfile.TemporaryDirectory() as name:
        found = Path(name) / "batch.json"
        subprocess.run(
            [sys.executable, str(script), "--json", str(found), *(["--customers", "20000"] if quick else [])],
            check=True,
        )
        told = json.loads(found.read_text(encoding="utf-8"))
    return {key: told[key] for key in ("ratio_to_bare", "peak_gb")}


def _latencies(found: dict[str, Any]) -> dict[str, Any]:
    return {key: found[key] for key in ("ratio_to_echo", "p50_ms", "p99_ms", "echo_p99_ms")}


def _middle(values: list[float]) -> float:
    return float(statistics.median(values))


def _short(value: Any) -> Any:
    return round(value, 3) if isinstance(value, float) else value


def _row(*cells: Any) -> None:
    print("| " + " | ".join(str(_short(cell)) for cell in cells) + " |")


def _show(found: dict[str, Any], detail: dict[str, Any], bundle: Bundle) -> None:
    """The table."""
    print(f"bundle {bundle.version[:16]}: {len(bundle.features)} features, {len(bundle.heads)} heads; "
          f"{os.cpu_count()} processors, load {os.getloadavg()[0]:.1f}")  # fmt: skip
    _row("path", "of echo", "must", "a second", "p50 ms", "p99 ms", "echo's p99 ms", "CPU ms a request", "of echo's")
    _row(*["---"] * 9)
    must = {"by_id": ">= 0.7", "raw_events": ">= 0.3", "bulk": ">= 0.45", "columns": "-"}
    for name, least in must.items():
        one = detail.get(name)
        if one is None:
            _row(name, *["not there"] * 8)
            continue
        _row(name, one["ratio_to_echo"], least, one["per_second"], one["p50_ms"], one["p99_ms"], one["echo_p99_ms"],
            one["cpu_ms"], one["cpu_ms"] / one["echo_cpu_ms"])  # fmt: skip
    print(f"bulk: {found['bulk']['customers_per_s']:,.0f} customers a second; "
          f"by columns {detail['columns']['to_rows']:.2f} times the rate of rows")  # fmt: skip
    print(f"two boosters of 300 trees, one row, in process: {found['in_process']['us']:.1f} us (must <= 80)")
    print(f"this bundle in process: {json.dumps(detail['in_process'])}")
    opened = found["open_loop"]
    print(f"open loop, {opened['rate']:.0f} a second for {opened['seconds']:.0f} s: {opened['failed']} failed of "
          f"{opened['requests']}, p99 {opened['p99_ms']} ms, p99.9 {opened['p999_ms']} ms")  # fmt: skip
    print(f"batch: {json.dumps(found['batch'])}")


if __name__ == "__main__":
    main()
