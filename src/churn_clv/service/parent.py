"""A worker ends with the process that supervises it, however that one ended: alone it would hold the port for ever."""

from __future__ import annotations

import os
import signal
import threading
import time

LOOK_SECONDS = 1.0


def follow(seconds: float = LOOK_SECONDS) -> threading.Thread:
    """Watch the parent in a thread of its own; once it is gone, this process is told to end, requests finished."""
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(seconds)
        os.kill(os.getpid(), signal.SIGTERM)

    thread = threading.Thread(target=watch, name="parent", daemon=True)
    thread.start()
    return thread
