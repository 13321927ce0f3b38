"""The echo that the service is compared with: the same stack and models, the same checks of a body, constants back.

Served by BentoML behind the service's own gate (``bentoml serve echo:Echo`` in this folder). ``CHURN_CLV_ECHO`` names a
file with one prediction as JSON: what is said of every customer. No part of the service.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module, util
from pathlib import Path

import bentoml
from fastapi import FastAPI, Request, Response
from pydantic_core import to_json

from churn_clv.service.bento import GC_THRESHOLDS, _Gated
from churn_clv.service.contract import PredictRequest
from churn_clv.service.desks import READ_AT_ONCE
from churn_clv.service.replies import PredictResponse

CONSTANT = json.loads(Path(os.environ["CHURN_CLV_ECHO"]).read_text(encoding="utf-8"))
app = FastAPI()
threads = ThreadPoolExecutor(2)


def said(customers: int) -> bytes:
    """So many constant predictions, written as the service writes its own."""
    return to_json({"predictions": [CONSTANT] * customers})


def checked(body: bytes) -> bytes:
    """The answer to a body that passes the service's checks."""
    return said(len(PredictRequest.model_validate_json(body).names))


@app.post("/predict", response_model=PredictResponse)
async def predict(request: Request) -> Response:
    """As the service reads: small bodies here, large ones in a thread."""
    body = await request.body()
    if len(body) <= READ_AT_ONCE:
        return Response(checked(body), media_type="application/json")
    found = await asyncio.get_running_loop().run_in_executor(threads, checked, body)
    return Response(found, media_type="application/json")


if util.find_spec("churn_clv.service.stored") is not None:
    stored = import_module("churn_clv.service.stored")

    @app.post("/predict/stored", response_model=PredictResponse)
    async def by_id(request: Request) -> Response:
        """The same of ids."""
        asked = stored.StoredRequest.model_validate_json(await request.body())
        return Response(said(len(asked.customer_ids)), media_type="application/json")


@bentoml.service(name="churn_clv_echo", workers=1, traffic={"timeout": 30}, service_class=_Gated)
@bentoml.asgi_app(app, path="/")
class Echo:
    """Served as the service is."""

    @bentoml.on_startup  # type: ignore[untyped-decorator]
    def freeze(self) -> None:
        """As the service does."""
        gc.collect()
        gc.freeze()
        gc.set_threshold(*GC_THRESHOLDS)
