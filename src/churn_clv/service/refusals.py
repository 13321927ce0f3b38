"""The answers that say why there is none: their texts, and what /openapi.json says of each."""

from __future__ import annotations

import math
from typing import Any

from churn_clv.service.contract import MAX_BODY_BYTES
from churn_clv.service.replies import Problems, Refusal

# How long a body may take to arrive, and how long the rest of a refused one is read so that its sender sees the answer.
BODY_SECONDS = 30.0
DRAIN_SECONDS = 5.0
# After so many seconds a request that found no room may come again.
ROOM_SECONDS = 1
INTERNAL = "Internal error; the service's log says where."
TOO_LATE = "The answer took too long, and its work was ended. Send fewer customers at a time."

_RETRY = {"Retry-After": {"description": "Seconds to wait.", "schema": {"type": "integer", "minimum": 1}}}
REFUSALS: dict[int | str, dict[str, Any]] = {
    400: {
        "model": Refusal,
        "description": "The body broke off, a length is no number, or the host is not served here.",
    },
    401: {
        "model": Refusal,
        "description": "No API key, or one that is not known (where the service asks for keys).",
        "headers": {"WWW-Authenticate": {"description": "Bearer", "schema": {"type": "string"}}},
    },
    408: {"model": Refusal, "description": f"The body did not arrive within {BODY_SECONDS:.0f} seconds."},
    413: {"model": Refusal, "description": f"The body is larger than {MAX_BODY_BYTES:,} bytes."},
    415: {"model": Refusal, "description": "The body is not plain application/json."},
    422: {"model": Problems, "description": "The body is not JSON, or something in it is wrong: where and what."},
    429: {
        "model": Refusal,
        "description": "Too many requests with this key (or from this address).",
        "headers": _RETRY,
    },
    500: {"model": Refusal, "description": "An error of the service; its log says where, never with what values."},
    503: {"model": Refusal, "description": "No verified model yet, or too many requests at once.", "headers": _RETRY},
    504: {"model": Refusal, "description": "The answer took too long; its work was ended."},
}
# Of a GET without a body.
PLAIN_REFUSALS: dict[int | str, dict[str, Any]] = {
    status: REFUSALS[status] for status in (400, 401, 429, 500, 503, 504)
}


class Refused(Exception):
    """An answer instead of the application's; ``unread`` where more of the body may be on its way.

    ``reason`` is its name in the metrics, one of a fixed few.
    """

    def __init__(
        self, status: int, detail: str, reason: str, unread: bool = False, headers: dict[str, str] | None = None
    ) -> None:
        super().__init__(detail)
        self.status, self.detail, self.reason, self.unread = status, detail, reason, unread
        self.headers = headers or {}


def no_key() -> Refused:
    """401: what carries no known key."""
    detail = "Send an API key that is known here: `Authorization: Bearer <key>`, or `X-API-Key: <key>`."
    return Refused(401, detail, "key", unread=True, headers={"WWW-Authenticate": "Bearer"})


def too_often(seconds: float) -> Refused:
    """429: the caller's rate is used up."""
    wait = {"Retry-After": str(max(1, math.ceil(seconds)))}
    return Refused(429, "Too many requests; Retry-After says when to come again.", "rate", unread=True, headers=wait)


def no_room(unread: bool) -> Refused:
    """503: as much as can be done at once is being done."""
    detail = "As many requests as the service answers at once are being answered. Try again."
    return Refused(503, detail, "busy", unread=unread, headers={"Retry-After": str(ROOM_SECONDS)})


def too_large(most: int, unread: bool = True) -> Refused:
    """413: a body over the limit."""
    return Refused(413, f"The body is larger than {most} bytes; send fewer customers at a time.", "body", unread)
