"""A bundle is loaded in a process of its own first: what kills that one shall not kill the service.

LightGBM ends the process on a malformed booster (abort, segmentation fault, a loop without end), and a manifest proves
only that the files are those it lists. So a short-lived process, with bounds on time and memory, verifies, parses and
recomputes the golden customers; only then does the worker load the same files.
"""

from __future__ import annotations

import atexit
import contextlib
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from churn_clv.errors import UserError

# The folder, of one service from its start to its end, of what its workers have loaded before.
VARIABLE = "CHURN_CLV_PROVED"
SECONDS = 60.0
MEMORY_BYTES = 4 * 1024**3


class Unsure(UserError):
    """The proof came to no end; the bundle may be sound."""


def prove(folder: Path) -> None:
    """Load a bundle in a new process. Raises UserError where that fails, ends badly, or takes too much."""
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
        "OMP_NUM_THREADS": "1",
        "POLARS_MAX_THREADS": "1",
    }
    command = [sys.executable, "-c", "from churn_clv.service import proof; proof.main()", str(folder)]
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment,
            timeout=SECONDS, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        raise Unsure(f"{folder} took over {SECONDS:.0f} seconds to load. Publish another bundle.") from None
    if done.returncode < 0:
        raise UserError(
            f"{folder} ends the process that loads it (signal {-done.returncode}): a booster in it is malformed. "
            f"Publish another bundle."
        )
    try:
        error = json.loads(done.stdout)["error"]
    except (ValueError, KeyError, TypeError):
        raise Unsure(f"{folder} could not be loaded in a process of its own ({done.returncode}).") from None
    if error is not None:
        raise UserError(error)


def main() -> None:
    """The process: one line of JSON to stdout, and nothing of what the libraries write."""
    folder = sys.argv[1]
    told = os.dup(1)
    silence = os.open(os.devnull, os.O_WRONLY)
    for number in (1, 2):
        os.dup2(silence, number)
    _bound()
    error = None
    try:
        from churn_clv.bundle import load_bundle

        load_bundle(folder)
    except UserError as found:
        error = str(found)
    except BaseException as found:
        error = f"{folder}: {type(found).__name__} while it was loaded"
    os.write(told, json.dumps({"error": error}).encode())


def _bound() -> None:
    """Memory and processor time have an end, and a crash leaves no core file."""
    try:
        import resource
    except ImportError:  # pragma: no cover (Windows)
        return
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CPU, (int(SECONDS), int(SECONDS) + 1))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def begin() -> None:
    """In the process that watches the workers: a folder where they remember, gone when it ends."""
    folder = tempfile.mkdtemp(prefix="churn_clv-proved-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    os.environ[VARIABLE] = folder


def remembered(seen: object) -> bool:
    """Whether an earlier worker of this service has loaded these very files: one that died is replaced faster."""
    place = _place(seen)
    return place is not None and place.exists()


def remember(seen: object) -> None:
    """These files were loaded, by a worker itself and not only by the process that tried them."""
    place = _place(seen)
    if place is not None:
        with contextlib.suppress(OSError):
            place.touch()


def _place(seen: object) -> Path | None:
    folder = os.environ.get(VARIABLE, "")
    return Path(folder) / hashlib.sha256(repr(seen).encode()).hexdigest() if Path(folder).is_dir() and folder else None
