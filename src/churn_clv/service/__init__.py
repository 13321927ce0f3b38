"""The prediction service (contracts K5, K7 and K8): contract, gate, holder, answers, app, and bento on top.

It reads ``bundles/CURRENT`` and nothing else: no MLflow, no training code. ``CHURN_CLV_BUNDLES`` names the folder,
``CHURN_CLV_POLL_SECONDS`` how often it is looked at, ``CHURN_CLV_SERVICE`` holds the config's section and
``CHURN_CLV_KEYS`` the API keys' lines. ``bentoml serve churn_clv.service:ChurnService`` runs it.
"""

from __future__ import annotations

import ipaddress
import os
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from churn_clv.errors import UserError
from churn_clv.service.holder import POLL_SECONDS

if TYPE_CHECKING:
    from churn_clv.config import Service

# Requests in flight may finish after SIGTERM; BentoML's own default is a day.
GRACE_SECONDS = 8
CONNECTIONS = 65_536


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
    section: Service | None = None,
    environment: Mapping[str, str] | None = None,
) -> NoReturn:
    """Become the server: this process is replaced, so that signals reach it. SIGTERM lets requests finish.

    ``section`` holds keys and limits; the other arguments win over it. ``environment`` has further settings (the table
    of scores: ``service.stored``). Raises UserError for an address that is not one, and for a service that would be
    open to a network without keys.
    """
    from churn_clv.service import settings

    try:
        address = str(ipaddress.ip_address("127.0.0.1" if host == "localhost" else host))
    except ValueError:
        raise UserError(f"host '{host}' is not an IP address. Use 127.0.0.1 (this machine) or 0.0.0.0 (all).") from None
    if not 1 <= port <= 65535:
        raise UserError(f"port {port} is not a port. Use 1 to 65535.")
    section = section or settings.from_environment()
    settings.check(section, address)
    given = {
        "CHURN_CLV_BUNDLES": str(Path(bundles_folder).absolute()),
        "CHURN_CLV_POLL_SECONDS": str(poll_seconds),
        settings.VARIABLE: settings.as_text(section),
        **_writable_home(),
    }
    command = [sys.executable, "-m", "bentoml", "serve", "churn_clv.service:ChurnService", "--host", address]
    command += ["--port", str(port), "--timeout-graceful-shutdown", str(GRACE_SECONDS)]
    _allow_connections()
    sys.stdout.flush()
    sys.stderr.flush()
    os.execve(sys.executable, command, os.environ | given | dict(environment or {}))


def _writable_home() -> dict[str, str]:
    """BentoML makes a folder of its own at every start; where the home is read-only, a temporary one does."""
    home = Path(os.environ.get("BENTOML_HOME") or Path.home() / "bentoml")
    place = next(folder for folder in (home, *home.parents) if folder.exists())
    return {} if os.access(place, os.W_OK) else {"BENTOML_HOME": tempfile.mkdtemp(prefix="churn_clv-")}


def _allow_connections() -> None:
    """As many open connections as the system lets this user have; the usual start is 1,024."""
    try:
        import resource
    except ImportError:  # pragma: no cover (Windows)
        return
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = CONNECTIONS if most == resource.RLIM_INFINITY else min(most, CONNECTIONS)
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, most))
