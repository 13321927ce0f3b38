"""Which process a run belongs to, and whether that process is gone: a killed training must not run for ever."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

HOST, PROCESS = "churn_clv.host", "churn_clv.process"


def tags() -> dict[str, str]:
    """This process, as tags of what it begins."""
    return {HOST: _host(), PROCESS: _process(os.getpid())}


def gone(found: Mapping[str, str]) -> bool:
    """Whether what carries these tags was begun here by a process that no longer is; False where nobody can know."""
    if found.get(HOST) != _host() or PROCESS not in found:
        return False
    number = found[PROCESS].partition(":")[0]
    return not number.isdigit() or _process(int(number)) != found[PROCESS]


def here() -> str:
    """The tag value of this machine; a container with its own numbering of processes is a machine of its own."""
    return _host()


def _host() -> str:
    space = ""
    with suppress(OSError):
        space = os.readlink("/proc/self/ns/pid")
    return f"{platform.node()} {space}".strip()


def _process(number: int) -> str:
    """Number, start and boot of a process, so that a later one of that number is told apart; '' where it is gone."""
    try:
        os.kill(number, 0)
    except ProcessLookupError:
        return ""
    except OSError:
        pass  # somebody else's
    start = boot = ""
    with suppress(OSError, IndexError):
        # The second field is a name in brackets, which may hold spaces and brackets; the start is the 22nd.
        fields = Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()
        if fields[0] == "Z":
            return ""  # dead, and not yet fetched by its parent
        start = fields[19]
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return f"{number}:{start}:{boot}"
