"""What importing the package does: it sets what must be set before a library is loaded, and loads none."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

SET = {"OMP_WAIT_POLICY": "PASSIVE", "_RJEM_MALLOC_CONF": "dirty_decay_ms:10000,muzzy_decay_ms:-1"}
CODE = """
import json, os, sys
import churn_clv
print(json.dumps({"early": [m for m in ("polars", "lightgbm", "numpy") if m in sys.modules], **os.environ}))
"""


def imported(own: dict[str, str]) -> dict[str, str]:
    """What a fresh process finds after the import: its environment, and libraries that were loaded too soon."""
    plain = {k: v for k, v in os.environ.items() if k not in SET}
    done = subprocess.run([sys.executable, "-c", CODE], env=plain | own, capture_output=True, text=True, check=True)
    found: dict[str, str] = json.loads(done.stdout)
    return found


def test_waiting_threads_and_the_allocator_are_set_before_any_library_that_reads_them() -> None:
    found = imported({})
    assert {name: found[name] for name in SET} == SET
    assert not found["early"]


@pytest.mark.parametrize("name", SET)
def test_what_the_user_has_set_stands(name: str) -> None:
    assert imported({name: "own"})[name] == "own"
