"""Which process a run belongs to, and whether that process is gone: a killed training must not run for ever.

Where that cannot be known nothing is said to be gone: a live training that is called KILLED is worse than a dead one
that is called RUNNING.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

HOST, PROCESS = "churn_clv.host", "churn_clv.process"
MACHINE, BOOT = Path("/etc/machine-id"), Path("/proc/sys/kernel/random/boot_id")
STAT = "/proc/{}/stat"


def tags() -> dict[str, str]:
    """This process, as tags of what it begins."""
    return {HOST: _host(), PROCESS: ":".join(_process(os.getpid()) or ())}


def gone(found: Mapping[str, str]) -> bool:
    """Whether what carries these tags was begun here by a process that no longer is; False where nobody can know."""
    if found.get(HOST) != _host() or PROCESS not in found:
        return False
    then = found[PROCESS].split(":")
    if not then[0].isdigit():
        return False
    now = _process(int(then[0]))
    return now is None or any(a and b and a != b for a, b in zip(now, then, strict=False))


def here() -> str:
    """The tag value of this machine; a container with its own numbering of processes is a machine of its own."""
    return _host()


def _host() -> str:
    """Name, numbering of processes and machine. The first numbering has one name on every Linux, and host names come
    twice, so only the last tells two machines of one tracking server apart."""
    space = ""
    with suppress(OSError):
        space = os.readlink("/proc/self/ns/pid")
    return " ".join(filter(None, (platform.node(), space, _text(MACHINE) or _text(BOOT))))


def _process(number: int) -> tuple[str, str, str] | None:
    """Number, start and boot of a process, so that a later one of that number is told apart; None where it is gone.

    Start and boot are '' where they cannot be read: other users' processes may be hidden (proc's hidepid).
    """
    try:
        os.kill(number, 0)
    except (ProcessLookupError, OverflowError):
        return None
    except OSError:
        pass  # somebody else's
    start = ""
    with suppress(OSError, IndexError):
        # The second field is a name in brackets, which may hold spaces and brackets; the start is the 22nd.
        fields = Path(STAT.format(number)).read_text().rpartition(")")[2].split()
        if fields[0] == "Z":
            return None  # dead, and not yet fetched by its parent
        start = fields[19]
    return str(number), start, _text(BOOT)


def _text(path: Path) -> str:
    with suppress(OSError):
        return path.read_text().strip()
    return ""
