"""What is known of one request beside the request itself; the gate makes it, the application fills it in."""

from __future__ import annotations

import re
import secrets
import time
from collections.abc import MutableMapping
from typing import Any

from churn_clv.service.deadline import Deadline

KEY = "churn_clv.call"
ID_HEADER = b"x-request-id"
# Of a caller's own request id: what tracing tools make. Names, mail addresses and numbers of customers rarely fit.
_SANE = re.compile(rb"[A-Za-z0-9_-]{8,64}")


class Call:
    """One request's id, deadline, counts and who asked; numbers only, never a value of the request."""

    __slots__ = ("began", "customers", "deadline", "events", "id", "key", "model_version")

    def __init__(self, request_id: str | None = None) -> None:
        self.began = time.perf_counter()
        self.id = request_id or secrets.token_hex(16)
        self.deadline = Deadline()
        self.key: str | None = None
        self.customers: int | None = None
        self.events: int | None = None
        self.model_version: str | None = None

    def note(self, customers: int, events: int, model_version: str) -> None:
        """What the access log tells of the answer."""
        self.customers, self.events, self.model_version = customers, events, model_version


def begin(scope: MutableMapping[str, Any]) -> Call:
    """The call of a new request, kept in its scope; its id is the caller's own where that is a plain token."""
    given = [value for name, value in scope["headers"] if name.lower() == ID_HEADER]
    sane = len(given) == 1 and _SANE.fullmatch(given[0])
    call = Call(given[0].decode("ascii") if sane else None)
    scope[KEY] = call
    return call


def of(scope: MutableMapping[str, Any]) -> Call:
    """The call of a request; where no gate stands in front, a new one without a deadline."""
    call = scope.get(KEY)
    return call if isinstance(call, Call) else Call()
