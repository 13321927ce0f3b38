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
from starlette.middleware.cors import CORSMiddleware

from churn_clv.service import logs, parent, proof, settings, wire
from churn_clv.service.app import create_app
from churn_clv.service.asgi import App
from churn_clv.service.contract import MAX_BODY_BYTES
from churn_clv.service.gate import Gate
from churn_clv.service.guards import Guards
from churn_clv.service.holder import Holder
from churn_clv.service.measures import Measures

JSON_PATHS = frozenset({"/predict", "/predict/stored"})
PATHS = JSON_PATHS | {"/model", "/openapi.json", "/livez", "/readyz", "/healthz", "/metrics"}
# BentoML's layers that ours take the place of. Its timeout keeps the objects of every request until it is over, its
# metrics are labelled with any path, its access log holds addresses.
REPLACED = frozenset({"TimeoutMiddleware", "RunnerTrafficMetricsMiddleware", "AccessLogMiddleware"})
GC_THRESHOLDS = (50_000, 20, 20)
HEADERS = ("Authorization", "Content-Type", "X-API-Key", "X-Request-ID")
log = logging.getLogger("churn_clv.service")


def gated(app: App, guards: Guards | None = None, measures: Measures | None = None) -> Gate:
    """``app`` behind the gate, with the service's paths and limits."""
    return Gate(app, PATHS, JSON_PATHS, MAX_BODY_BYTES, guards, measures)


def without_replaced(app: Any) -> App:
    """A Starlette application that is not yet running, without the layers of BentoML that ours take the place of."""
    layers = getattr(app, "user_middleware", None)
    if layers is None or app.middleware_stack is not None:
        log.warning("this version of BentoML builds its application in another way: its own timeout stays")
    else:
        layers[:] = [layer for layer in layers if getattr(layer.cls, "__name__", "") not in REPLACED]
    return app  # type: ignore[no-any-return]


class _Gated(bentoml.Service[Any]):  # type: ignore[misc]
    """A BentoML service whose outermost layer is the gate: its own middlewares would run inside metrics and timeout."""

    def to_asgi(self, is_main: bool = True) -> App:
        """The application that a worker runs."""
        global _host
        _host = settings.bound_to()
        if _host is not None:  # a worker, before its server is made; not a test that only wants the application
            logs.set_up()
            wire.guard()
        app: App = gated(
            without_replaced(super().to_asgi(is_main=is_main)), settings.guards_of(_settings, _host), _measures
        )
        if origins := list(_settings.cors_origins):
            app = CORSMiddleware(
                app, origins, allow_methods=("GET", "POST"), allow_headers=HEADERS, expose_headers=("X-Request-ID",)
            )
        return app


def freeze() -> None:
    """Take what lives as long as the process out of garbage collection: full passes stop requests for long."""
    gc.collect()
    gc.freeze()


_settings = settings.from_environment()
_host: str | None = None
_holder = Holder(
    Path(os.environ.get("CHURN_CLV_BUNDLES") or _settings.bundles or "out/bundles").absolute(),
    settings.poll_seconds(_settings),
    imported=freeze,
)
_measures = Measures(_holder)
_app = create_app(
    _holder,
    measures=_measures,
    asks_for_keys=lambda: settings.asks_for_keys(_settings, _host),
    actions=settings.actions(),
)


@bentoml.service(name="churn_clv", workers=1, service_class=_Gated)
@bentoml.asgi_app(_app, path="/")
class ChurnService:
    """What BentoML packages and runs; ready only with a verified bundle."""

    def __init__(self) -> None:
        _holder.start()

    @bentoml.on_deployment  # type: ignore[untyped-decorator]
    @staticmethod
    def supervise() -> None:
        """In the process that watches the worker: it starts a dead one again, in a container too, and logs as we do."""
        os.environ.pop("BENTOML_CONTAINERIZED", None)
        proof.begin()
        logs.set_up()

    @bentoml.on_startup  # type: ignore[untyped-decorator]
    def settle(self) -> None:
        """What is there at the start is there to the end; so is what the holder's thread imports after it."""
        freeze()
        # A request of 40,000 events makes 100,000 objects, none in a cycle; looking for them each 700 doubles its time.
        gc.set_threshold(*GC_THRESHOLDS)
        parent.follow()

    @bentoml.on_shutdown  # type: ignore[untyped-decorator]
    def stop(self) -> None:
        """Stop following CURRENT."""
        _holder.stop()

    async def __is_ready__(self) -> bool:
        return _holder.loaded is not None
