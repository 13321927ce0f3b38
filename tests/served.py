"""A running service, as `churn-clv serve` starts it: ask it, wait for it, kill its worker, end it."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

START_SECONDS = 180  # others may use the processors, too; alone it takes about eight
CODE = """
import sys
from churn_clv.config import Service
from churn_clv.service import serve
serve(sys.argv[1], int(sys.argv[2]), sys.argv[3], 0.2, Service.model_validate_json(sys.argv[4]))
"""


@dataclass
class Served:
    """A service and what it wrote."""

    process: subprocess.Popen[bytes]
    port: int
    bundles: Path
    log: Path
    headers: dict[str, str] = field(default_factory=dict)

    def ask(self, path: str, content: bytes | None = None, **headers: str) -> tuple[int, str, dict[str, str]]:
        """Status, text and headers of a GET, or of a POST where there is content; `a_b` names the header a-b."""
        named = (
            self.headers | {"content-type": "application/json"} | {k.replace("_", "-"): v for k, v in headers.items()}
        )
        line = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            line.request("GET" if content is None else "POST", path, content, {k: v for k, v in named.items() if v})
            answer = line.getresponse()
            return answer.status, answer.read().decode(), {k.lower(): v for k, v in answer.getheaders()}
        finally:
            line.close()

    def predict(self, body: Any) -> Any:
        status, text, _ = self.ask("/predict", json.dumps(body).encode())
        assert status == 200, text
        return json.loads(text)["predictions"]

    def wait(self, path: str, status: int, text: str = "") -> None:
        """Until the path answers so."""
        end, got = time.monotonic() + START_SECONDS, None
        while time.monotonic() < end and self.process.poll() is None:
            try:
                got = self.ask(path)[:2]
            except OSError as error:
                got = (0, repr(error))
            if got[0] == status and text in got[1]:
                return
            time.sleep(0.05)
        pytest.fail(f"{path} did not answer {status} {text}: {got}\n{self.log.read_text()[-3000:]}")

    def worker(self) -> int:
        """The process id of the one worker, once there is one."""
        end = time.monotonic() + START_SECONDS
        while time.monotonic() < end:
            told = subprocess.run(["ps", "--ppid", str(self.process.pid), "-o", "pid="], capture_output=True, text=True)
            if len(found := told.stdout.split()) == 1:
                return int(found[0])
            time.sleep(0.05)
        raise AssertionError("there is no worker")

    def memory(self) -> int:
        """Resident bytes of the worker."""
        text = Path(f"/proc/{self.worker()}/status").read_text()
        return int(next(line for line in text.splitlines() if line.startswith("VmRSS")).split()[1]) * 1024


@contextlib.contextmanager
def serving(
    folder: Path, section: dict[str, Any], env: dict[str, str] | None = None, within: Sequence[str] = ()
) -> Iterator[Served]:
    """A service on a free port of loopback with the section `service` given; killed at the end, whatever happened.

    ``within`` is a command that runs it, such as one that takes rights away.
    """
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    log, bundles = folder / "log", folder / "bundles"
    command = [*within, sys.executable, "-c", CODE, "127.0.0.1", str(port), str(bundles), json.dumps(section)]
    with log.open("wb") as out:
        process = subprocess.Popen(
            command, cwd=folder, env=os.environ | {"BENTOML_HOME": str(folder / "bentoml")} | (env or {}),
            stdout=out, stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip
    started = Served(process, port, bundles, log)
    try:
        started.wait("/livez", 200)
        yield started
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait(timeout=30)
