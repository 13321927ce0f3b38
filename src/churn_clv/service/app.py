"""The FastAPI application: two endpoints and the contract that describes them."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from typing import Any

from fastapi import FastAPI, HTTPException, Request, Response
from fastapi.responses import JSONResponse
from pydantic import ValidationError

from churn_clv.playbook import Actions
from churn_clv.service import call as calls
from churn_clv.service import stored
from churn_clv.service.answers import SHOWN
from churn_clv.service.contract import MAX_BODY_BYTES, MAX_CUSTOMERS, MAX_EVENTS, PredictRequest
from churn_clv.service.deadline import TooLate
from churn_clv.service.desk import Full
from churn_clv.service.desks import Desks
from churn_clv.service.document import completed
from churn_clv.service.holder import Holder, Loaded
from churn_clv.service.measures import Measures
from churn_clv.service.reading import Unacceptable
from churn_clv.service.refusals import INTERNAL, PLAIN_REFUSALS, REFUSALS, TOO_LATE
from churn_clv.service.replies import (
    Band,
    LoadedModel,
    ModelInfo,
    PredictResponse,
    Problem,
    Problems,
    RefusedBundle,
)

Clock = Callable[[], dt.datetime]

SCHEMAS = "#/components/schemas/{model}"
NOT_READY = "No verified model is loaded yet; GET /model says why. Try again later."
RETRY_SECONDS = 5
BUSY = "Too many events wait to be predicted; try again in a moment."
BUSY_SECONDS = 1
DESCRIPTION = (
    "Churn probability and expected spend of customers from their raw events. Send each customer's complete history; "
    f"at most {MAX_CUSTOMERS:,} customers, {MAX_EVENTS:,} events and {MAX_BODY_BYTES:,} bytes a request."
)


def utc_now() -> dt.datetime:
    """The server's clock."""
    return dt.datetime.now(dt.UTC)


def create_app(
    holder: Holder,
    clock: Clock = utc_now,
    measures: Measures | None = None,
    asks_for_keys: Callable[[], bool] = lambda: False,
    actions: Actions | None = None,
) -> FastAPI:
    """The application that answers with what ``holder`` has loaded; ``measures`` are told the numbers of answers.

    ``actions``: what may be done to customers; without them none is recommended.
    """
    app = FastAPI(title="churn_clv", version="1", description=DESCRIPTION, docs_url=None, redoc_url=None)
    desks = Desks(measures, actions)

    @app.post(
        "/predict",
        response_model=PredictResponse,
        responses=REFUSALS,
        summary="Predictions for a list of customers",
        openapi_extra={"requestBody": _request_body()},
    )
    async def predict(request: Request) -> Response:
        loaded = holder.loaded
        if loaded is None:
            raise HTTPException(503, NOT_READY, {"Retry-After": str(RETRY_SECONDS)})
        try:
            found = await desks.answer(await request.body(), loaded.bundle, clock(), calls.of(request.scope))
        except Full:
            raise HTTPException(503, BUSY, {"Retry-After": str(BUSY_SECONDS)}) from None
        except ValidationError as error:
            shown = error.errors(include_url=False, include_context=False, include_input=False)[:SHOWN]
            problems = [Problem(loc=["body", *e["loc"]], msg=e["msg"], type=e["type"]) for e in shown]
            return _refusal(problems, error.error_count())
        except Unacceptable as error:
            return _refusal(list(error.problems[:SHOWN]), len(error.problems))
        return Response(found, media_type="application/json")

    @app.get("/model", summary="What is loaded", responses=PLAIN_REFUSALS)
    async def model() -> ModelInfo:
        return _info(holder)

    stored.mount(app, holder, clock, REFUSALS)

    @app.exception_handler(TooLate)
    async def too_late(request: Request, error: TooLate) -> Response:
        return JSONResponse({"detail": TOO_LATE}, status_code=504)

    @app.exception_handler(Exception)
    async def internal(request: Request, error: Exception) -> Response:
        return JSONResponse({"detail": INTERNAL}, status_code=500)

    standard = app.openapi

    def openapi() -> dict[str, Any]:
        """FastAPI's document and the request's schema: the body is read by pydantic itself, straight from the bytes."""
        document = standard()
        own = PredictRequest.model_json_schema(ref_template=SCHEMAS)
        document["components"]["schemas"] |= own.pop("$defs") | {"PredictRequest": own}
        return completed(document, asks_for_keys())

    app.openapi = openapi  # type: ignore[method-assign]
    return app


def _refusal(problems: list[Problem], count: int) -> Response:
    return JSONResponse(Problems(detail=problems, errors=count).model_dump(mode="json"), status_code=422)


def _request_body() -> dict[str, Any]:
    reference = {"$ref": SCHEMAS.format(model="PredictRequest")}
    return {"required": True, "content": {"application/json": {"schema": reference}}}


def _info(holder: Holder) -> ModelInfo:
    loaded, refused = holder.loaded, holder.refused
    return ModelInfo(
        ready=loaded is not None,
        model=_describe(loaded) if loaded else None,
        last_refused=RefusedBundle(bundle=refused.name, why=refused.why, at=refused.at) if refused else None,
    )


def _describe(loaded: Loaded) -> LoadedModel:
    bundle = loaded.bundle
    edges = (0.0, *bundle.reference.band_edges)
    bands = zip(bundle.reference.band_names, edges, [*edges[1:], None], strict=True)
    ladder = bundle.report.get("ladder", [])
    return LoadedModel(
        version=bundle.version,
        dataset=bundle.config.dataset,
        horizon_days=bundle.horizon_days,
        currency=bundle.currency,
        trained_through=bundle.trained_through,
        base_rate=bundle.base_rate,
        bands=[Band(name=name, at_least=low, below=high) for name, low, high in bands],
        features=list(bundle.features),
        definitions=bundle.definitions.model_dump(mode="json"),
        metrics=next((rung["metrics"] for rung in ladder if rung["rung"] == "champion"), {}),
        libraries=bundle.manifest.get("libraries", {}),
        loaded_at=loaded.at,
    )
