"""Answers by id, from the table of scores that the batch job keeps (docs/scores.md): nothing is computed here.

The answers are JSON in the table already: they are joined as bytes. ``CHURN_CLV_SCORES`` names the table,
``CHURN_CLV_MODEL`` the model in it, ``CHURN_CLV_ID_KEY_FILE`` (or ``CHURN_CLV_ID_KEY``) the key that tells an erased id
from an unknown one.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import json
import logging
import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Annotated, Any
from zoneinfo import ZoneInfo

from fastapi import FastAPI, HTTPException, Request, Response
from fastapi.responses import JSONResponse
from pydantic import ConfigDict, Field, ValidationError

from churn_clv import forgotten, pseudonym, scoretable
from churn_clv.errors import UserError
from churn_clv.scoretable import Current, TableError
from churn_clv.service.contract import MAX_CUSTOMERS, Asked, Id
from churn_clv.service.replies import PredictResponse, Problem, Problems, Refusal

if TYPE_CHECKING:
    from churn_clv.bundle import Bundle
    from churn_clv.service.holder import Holder

PATH = "/predict/stored"
TABLE, MODEL, KEY_FILE = scoretable.ENVIRONMENT, "CHURN_CLV_MODEL", "CHURN_CLV_ID_KEY_FILE"
NO_SCORING = "No scoring has been published yet: run `churn-clv score`. Try again later."
NO_TABLE = "The table of scores does not answer. Try again later."
RETRY_SECONDS = 30
SHOWN = 20
AT_ONCE = 32  # ids that a file answers faster than a thread begins
JSON = "application/json"
EMPTY = b'"warnings":[]}'
log = logging.getLogger("churn_clv.service")


class StoredRequest(Asked):
    """Up to 1,000 ids, answered in their order from the last scoring of the whole base."""

    model_config = ConfigDict(
        json_schema_extra={"additionalProperties": False, "examples": [{"customer_ids": ["c-1001", "c-1002"]}]}
    )

    customer_ids: Annotated[list[Id], Field(min_length=1, max_length=MAX_CUSTOMERS)]


class Store:
    """The open table and what is known of its current scoring; one per process. Readers never wait for a writer."""

    def __init__(self, settings: Mapping[str, str]) -> None:
        self._url, self._model = settings.get(TABLE, ""), settings.get(MODEL, "")
        self._key_file = settings.get(KEY_FILE, "")
        self._reader: scoretable.Reader | None = None
        self._notes: tuple[object, bytes] = (None, b"")
        self._key: bytes | None = None

    def reader(self, bundle: Bundle | None) -> scoretable.Reader:
        """The table that is configured, else the one beside the bundle's own scores."""
        if self._reader is None:
            url = self._url or (f"{bundle.config.out}/scores/{bundle.config.dataset}/scores.db" if bundle else "")
            if not url:
                raise TableError("no table is configured")
            self._reader = scoretable.open_reader(url)
        return self._reader

    def answer(self, ids: Sequence[str], bundle: Bundle | None, now: dt.datetime) -> bytes | None:
        """The body of the answer; None where no scoring has been published. Raises TableError."""
        reader = self.reader(bundle)
        model = self._model or (bundle.config.registered_name if bundle else "")
        found = reader.find(model, ids)
        if found.current is None:
            return None
        rows = [found.answers.get(i) or self._nobody(reader, found.current, i) for i in ids]
        if (notes := self._warnings(found.current, bundle, now)) != b"":
            rows = [_warned(row, notes) for row in rows]
        return b'{"predictions":[' + b",".join(rows) + b"]}"

    def _nobody(self, reader: scoretable.Reader, current: Current, customer_id: str) -> bytes:
        """The answer to an id without scores: erased where its keyed hash is on the list, else unknown."""
        key = self._known_key(current)
        erased = key is not None and reader.is_erased(
            current.dataset, forgotten.key_of(key, current.dataset, customer_id)
        )
        return scoretable.spliced(current.unknown.encode(), customer_id, erased)

    def _known_key(self, current: Current) -> bytes | None:
        """The key of the erased ids' hashes, if this process was given it; looked for again until it is there."""
        if self._key is None:
            try:
                self._key = pseudonym.known_key(self._key_file or None)
            except UserError as error:
                log.warning("erased ids are answered as unknown: %s", error)
        return self._key

    def _warnings(self, current: Current, bundle: Bundle | None, now: dt.datetime) -> bytes:
        """What holds for every answer of the scoring, as JSON; empty for nothing. Made again when it may change."""
        today = now.astimezone(ZoneInfo(current.timezone)).date()
        loaded = bundle.version if bundle else None
        stamp = (current.scoring, current.scored_at, loaded, today)
        if self._notes[0] != stamp:
            found = list(warnings(current, loaded, today))
            self._notes = (
                stamp,
                json.dumps(found, ensure_ascii=False, separators=(",", ":")).encode() if found else b"",
            )
        return self._notes[1]


def warnings(current: Current, loaded: str | None, today: dt.date) -> list[dict[str, Any]]:
    """What a reader of the scoring should know: its age, its model's, and whether another model is loaded now."""
    out: list[dict[str, Any]] = []
    through = current.trained_through
    if (days := (current.trained_through - current.cutoff).days) > 0:
        detail = f"The cutoff lies before {through}, the end of training: the model may have seen what came next."
        out.append({"code": "in_sample", "count": days, "detail": detail})
    if (days := (current.cutoff - current.trained_through).days) > current.stale_after_days:
        detail = f"The cutoff lies {days} days after {through}, the end of training. Train a newer model."
        out.append({"code": "stale_model", "count": days, "detail": detail})
    if (days := (today - current.cutoff).days) > current.stale_after_days:
        detail = f"These scores are of {current.cutoff}, {days} days ago. Run `churn-clv score`."
        out.append({"code": "stale_scoring", "count": days, "detail": detail})
    if loaded is not None and loaded != current.model_version:
        detail = "Another model is loaded now than the one that made these scores. Run `churn-clv score`."
        out.append({"code": "other_model", "count": 1, "detail": detail})
    return out


def mount(
    app: FastAPI, holder: Holder, clock: Callable[[], dt.datetime], refusals: dict[int | str, dict[str, Any]],
    settings: Mapping[str, str] = os.environ,
) -> None:  # fmt: skip
    """Add the endpoint to ``app``; ``refusals`` are the application's own, by status."""
    store = Store(settings)
    threads = ThreadPoolExecutor(2, "stored")
    told = refusals | {503: {"model": Refusal, "description": "No scoring has been published yet."}}
    schema = StoredRequest.model_json_schema(ref_template="#/components/schemas/{model}")
    body = {"required": True, "content": {JSON: {"schema": schema}}}

    @app.post(
        PATH,
        response_model=PredictResponse,
        responses=told,
        summary="Predictions for customers by id, from the last scoring of the whole base",
        openapi_extra={"requestBody": body},
    )
    async def stored(request: Request) -> Response:
        try:
            ids = StoredRequest.model_validate_json(await request.body()).customer_ids
        except ValidationError as error:
            return _refusal(error)
        loaded = holder.loaded
        bundle = loaded.bundle if loaded else None
        try:
            if len(ids) <= AT_ONCE and store.reader(bundle).quick:
                found = store.answer(ids, bundle, clock())
            else:
                loop = asyncio.get_running_loop()
                found = await loop.run_in_executor(threads, store.answer, ids, bundle, clock())
        except (TableError, UserError) as error:
            log.error("the table of scores cannot be read: %s", error)
            raise HTTPException(503, NO_TABLE, {"Retry-After": str(RETRY_SECONDS)}) from None
        if found is None:
            raise HTTPException(503, NO_SCORING, {"Retry-After": str(RETRY_SECONDS)})
        return Response(found, media_type=JSON)


def _warned(row: bytes, notes: bytes) -> bytes:
    """An answer with its scoring's warnings; the table's answers end with none."""
    return row.removesuffix(EMPTY) + b'"warnings":' + notes + b"}"


def _refusal(error: ValidationError) -> Response:
    shown = error.errors(include_url=False, include_context=False, include_input=False)[:SHOWN]
    problems = [Problem(loc=["body", *e["loc"]], msg=e["msg"], type=e["type"]) for e in shown]
    return JSONResponse(Problems(detail=problems, errors=error.error_count()).model_dump(mode="json"), status_code=422)
