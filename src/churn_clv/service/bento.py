"""The BentoML service: the FastAPI application mounted at /, behind our own gate (contract K7)."""

from __future__ import annotations

import gc
import logging
import os
from pathlib import Path
from typing import Any

# Before the import: BentoML reports its use over the network unless told not to.
os.environ.setdefault("BENTOML_DO_NOT_TRACK", "True")

import bentoml

from churn_clv.service.app import create_app
from churn_clv.service.contract import MAX_BODY_BYTES
from churn_clv.service.gate import App, Gate
from churn_clv.service.holder import POLL_SECONDS, Holder

PATHS = frozenset({"/predict", "/model", "/openapi.json", "/livez", "/readyz", "/healthz", "/metrics"})
GC_THRESHOLDS = (50_000, 20, 20)
# A request of the largest size takes seconds on a slow machine; BentoML keeps each request's objects for this long.
TIMEOUT_SECONDS = 30


def gated(app: App) -> Gate:
    """``app`` behind the gate, with the service's paths and limits."""
    return Gate(app, PATHS, frozenset({"/predict"}), MAX_BODY_BYTES)


class _Gated(bentoml.Service[Any]):  # type: ignore[misc]
    """A BentoML service whose outermost layer is the gate: its own middlewares would run inside metrics and timeout."""

    def to_asgi(self, is_main: bool = True) -> App:
        """The application that a worker runs."""
        return gated(super().to_asgi(is_main=is_main))


def _poll_seconds() -> float:
    """From the environment; anything that is no positive number gives the default, said once: a worker must start."""
    given = os.environ.get("CHURN_CLV_POLL_SECONDS", "")
    try:
        seconds = float(given or POLL_SECONDS)
    except ValueError:
        seconds = 0.0
    if 0 < seconds < 86_400:
        return seconds
    logging.getLogger(__name__).warning("CHURN_CLV_POLL_SECONDS is not a number of seconds; using %s.", POLL_SECONDS)
    return POLL_SECONDS


_holder = Holder(Path(os.environ.get("CHURN_CLV_BUNDLES") or "out/bundles").absolute(), _poll_seconds())
_app = create_app(_holder)


@bentoml.service(name="churn_clv", workers=1, traffic={"timeout": TIMEOUT_SECONDS}, service_class=_Gated)
@bentoml.asgi_app(_app, path="/")
class ChurnService:
    """What BentoML packages and runs; ready only with a verified bundle."""

    def __init__(self) -> None:
        logging.getLogger("churn_clv").setLevel(logging.INFO)
        _holder.start()

    @bentoml.on_startup  # type: ignore[untyped-decorator]
    def freeze(self) -> None:
        """Take what lives as long as the process out of garbage collection: full passes stop requests for long."""
        gc.collect()
        gc.freeze()
        # A request of 40,000 events makes 100,000 objects, none in a cycle; looking for them each 700 doubles its time.
        gc.set_threshold(*GC_THRESHOLDS)

    @bentoml.on_shutdown  # type: ignore[untyped-decorator]
    def stop(self) -> None:
        """Stop following CURRENT."""
        _holder.stop()

    async def __is_ready__(self) -> bool:
        return _holder.loaded is not None
