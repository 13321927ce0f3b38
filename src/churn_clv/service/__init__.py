"""The prediction service (contracts K5, K7 and K8): contract, gate, holder, answers, app, and bento on top.

It reads ``bundles/CURRENT`` and nothing else: no MLflow, no training code. ``CHURN_CLV_BUNDLES`` names the folder,
``CHURN_CLV_POLL_SECONDS`` how often it is looked at. ``bentoml serve churn_clv.service:ChurnService`` runs it.
"""

from __future__ import annotations

import ipaddress
import os
import sys
from pathlib import Path
from typing import Any, NoReturn

from churn_clv.errors import UserError
from churn_clv.service.holder import POLL_SECONDS

# Requests in flight may finish after SIGTERM; BentoML's own default is a day.
GRACE_SECONDS = 8


def __getattr__(name: str) -> Any:
    """``ChurnService``, imported when asked for: `churn-clv serve` only starts it, and need not load two frameworks."""
    if name == "ChurnService":
        from churn_clv.service.bento import ChurnService

        return ChurnService
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def serve(
    host: str = "127.0.0.1",
    port: int = 3000,
    bundles_folder: str | Path = "out/bundles",
    poll_seconds: float = POLL_SECONDS,
) -> NoReturn:
    """Become the server: this process is replaced, so that signals reach it. SIGTERM lets requests finish.

    Raises UserError for an address that is not one.
    """
    try:
        address = str(ipaddress.ip_address("127.0.0.1" if host == "localhost" else host))
    except ValueError:
        raise UserError(f"host '{host}' is not an IP address. Use 127.0.0.1 (this machine) or 0.0.0.0 (all).") from None
    if not 1 <= port <= 65535:
        raise UserError(f"port {port} is not a port. Use 1 to 65535.")
    given = {"CHURN_CLV_BUNDLES": str(Path(bundles_folder).absolute()), "CHURN_CLV_POLL_SECONDS": str(poll_seconds)}
    command = [sys.executable, "-m", "bentoml", "serve", "churn_clv.service:ChurnService", "--host", address]
    command += ["--port", str(port), "--timeout-graceful-shutdown", str(GRACE_SECONDS)]
    sys.stdout.flush()
    sys.stderr.flush()
    os.execve(sys.executable, command, os.environ | given)
