"""The main job on real data, as ``make demo`` runs it: check, train, track, promote, score, act, serve, ask, stop.

Every step is the command a user would type, so the demo shows the product and not a second way in.
Usage: python scripts/demo.py [CONFIG ...]      (default: configs/completejourney.yaml)
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import polars as pl

from churn_clv import config, events

CLI = [sys.executable, "-m", "churn_clv.cli"]
NOT_PROMOTED = 3
READY_SECONDS = 180


def main(configs: list[str]) -> int:
    """Run the demo on the given config overlays. Returns the exit code."""
    began = time.monotonic()
    settings = config.load(*configs)
    step("1/6 Is the data ready, and which days are learnt from?")
    run("check", *configs)
    step("2/6 Train, compare with simple rules, track in MLflow, promote")
    code = run("train", *configs, also=(NOT_PROMOTED,))
    if code == NOT_PROMOTED and not (settings.bundles_folder / "CURRENT").exists():
        print("The run was not promoted and there is no earlier champion, so nothing can be served.")
        return code
    step("3/6 Score every customer at the newest cutoff")
    run("score", *configs)
    step("4/6 Who should get which action? Costs and rates are the shipped examples, measured by nobody")
    run("act", *configs)
    step("5/6 Start the service and send it one customer's raw events")
    request, described = one_customer(settings)
    ask_service(settings, configs, request, described)
    step("6/6 Done")
    print(closing(settings, configs, time.monotonic() - began))
    return 0


def step(title: str) -> None:
    """Print a heading; flushed, so that it stands above the command's own output."""
    print(f"\n== {title}", flush=True)


def run(command: str, *arguments: str, also: tuple[int, ...] = ()) -> int:
    """Show and run one churn-clv command; any exit code but 0 and those in ``also`` ends the demo with it."""
    print(f"$ churn-clv {command} {' '.join(arguments)}", flush=True)
    code = subprocess.run([*CLI, command, *arguments], check=False).returncode
    if code not in (0, *also):
        raise SystemExit(code)
    return code


def one_customer(settings: config.Config) -> tuple[dict[str, Any], str]:
    """A request for the eligible customer with the median number of events, and one line that says who it is."""
    log = events.read_log(settings)
    days = settings.population.active_within_days
    bought = (pl.col("event_type") == "purchase") & (pl.col("time").dt.date() >= log.ends - pl.duration(days=days))
    sizes = (
        log.frame.group_by("customer_id")
        .agg(pl.len().alias("events"), bought.any().alias("eligible"))
        .filter("eligible")
        .sort("events", "customer_id")
    )
    customer, count, _ = sizes.row(sizes.height // 2)
    lines = plain(log.frame.filter(pl.col("customer_id") == customer), log.rules)
    request = {"cutoff": log.ends.isoformat(), "customers": [{"customer_id": customer, "events": lines}]}
    return request, f"customer {customer} with {count} events, as of {log.ends}"


def plain(frame: pl.DataFrame, rules: events.Rules) -> list[dict[str, Any]]:
    """Log rows as a request carries them: ISO 8601 times, money in major units, absent values left out."""
    units = 10**rules.minor_units
    shown = frame.drop("customer_id").with_columns(
        pl.col("time", "known_at").dt.to_string("iso:strict"),
        pl.col("amount", "discount") / units,
        pl.col("quantity", "value") / 1000,
    )
    return [{name: value for name, value in row.items() if value is not None} for row in shown.to_dicts()]


def ask_service(settings: config.Config, configs: list[str], request: dict[str, Any], described: str) -> None:
    """Start ``churn-clv serve`` on a free port, ask once, print the answer, stop it."""
    port = free_port()
    log_path = Path(settings.out) / "service.log"
    log_path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder, log_path.open("wb") as log:
        overlay = Path(folder) / "port.yaml"
        overlay.write_text(f"service: {{host: 127.0.0.1, port: {port}}}\n", encoding="utf-8")
        print(f"$ churn-clv serve {' '.join(configs)}    (port {port}, log in {log_path})", flush=True)
        # a session of its own, so that stopping it reaches the workers it starts
        server = subprocess.Popen(
            [*CLI, "serve", *configs, str(overlay)], stdout=log, stderr=log, start_new_session=True
        )
        try:
            seconds = wait_ready(server, port, log_path)
            print(f"ready after {seconds:.1f} s; asking about {described}", flush=True)
            answer = post(f"http://127.0.0.1:{port}/predict", request)
            print(json.dumps(answer, indent=2))
        finally:
            stop(server)
    print("service stopped", flush=True)


def free_port() -> int:
    """A port on the loopback address that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_ready(server: subprocess.Popen[bytes], port: int, log: Path) -> float:
    """Seconds until /readyz says 200; ends the demo with the log's last lines if that never happens."""
    began = time.monotonic()
    while time.monotonic() - began < READY_SECONDS and server.poll() is None:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=2):
                return time.monotonic() - began
        except (urllib.error.URLError, OSError):
            time.sleep(0.1)
    tail = "\n".join(log.read_text(encoding="utf-8", errors="replace").splitlines()[-15:])
    raise SystemExit(f"The service was not ready within {READY_SECONDS} s. The end of {log}:\n{tail}")


def post(url: str, body: dict[str, Any]) -> Any:
    """POST JSON, return JSON; a refusal ends the demo with what the service said."""
    data = json.dumps(body).encode()
    call = urllib.request.Request(url, data=data, headers={"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(call, timeout=30) as answer:
            return json.load(answer)
    except urllib.error.HTTPError as error:
        raise SystemExit(f"{url} answered {error.code}: {error.read().decode(errors='replace')}") from None


def stop(server: subprocess.Popen[bytes]) -> None:
    """End the server and its workers: politely, then firmly."""
    for sign in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(server.pid, sign)
            server.wait(timeout=15)
            return
        except ProcessLookupError:
            return
        except subprocess.TimeoutExpired:
            continue


def closing(settings: config.Config, configs: list[str], seconds: float) -> str:
    """What to run next, and where the files are."""
    named = " ".join(configs)
    return f"""Took {seconds:.0f} s. What to run next:
  .venv/bin/churn-clv serve {named}
      answers requests on {settings.service.host}:{settings.service.port}
  .venv/bin/mlflow ui --backend-store-uri {settings.tracking_uri}
      shows the runs, their plots and the registered versions
  .venv/bin/churn-clv report {named} --out {settings.out}/report.html
      writes one page on the customers: KPIs, cohorts, segments, journey, drivers, watch list, plan
  .venv/bin/churn-clv train {named} my.yaml
      trains again; my.yaml overlays any setting of configs/default.yaml
  .venv/bin/churn-clv init YOUR_FILES...
      starts with your own data
Files: runs, plots and scores under {settings.out}/, the served bundle under {settings.bundles_folder}/"""


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:] or ["configs/completejourney.yaml"]))
