"""Ask the service from Python: a typed client in one file, with nothing but the standard library. Copy and adapt it.

    CHURN_CLV_KEY=ck_... python docs/client.py http://127.0.0.1:3000

It retries what may pass by itself (429 and 503, after the seconds that the service names), and nothing else.
"""

from __future__ import annotations

import json
import os
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypedDict, cast


class Event(TypedDict, total=False):
    """One event; ``time`` is needed. ISO 8601, local where it has no offset; ``amount`` in major units."""

    time: str
    event_type: str
    amount: float
    order_id: str
    product_id: str
    category: str
    quantity: float


class Customer(TypedDict):
    """One customer with the complete history since the first event."""

    customer_id: str
    events: list[Event]


class Prediction(TypedDict):
    """What most callers need of an answer; /openapi.json has the rest."""

    customer_id: str
    cutoff: str
    eligible: bool
    reason: str | None  # why not eligible; then the numbers below are null
    churn_probability: float | None
    churn_band: str | None
    expected_spend: float | None
    clv_by_months: dict[str, float] | None
    segments: dict[str, Any] | None
    action: dict[str, Any] | None
    score_valid_until: str | None
    model_version: str
    reasons: list[dict[str, Any]] | None


class Refused(Exception):
    """The service said no; the text says why."""


@dataclass(frozen=True)
class Client:
    """``url`` as http://127.0.0.1:3000; ``key`` where the service asks for one."""

    url: str
    key: str | None = None
    seconds: float = 35.0
    tries: int = 3

    def predict(self, customers: Sequence[Customer], cutoff: str | None = None, explain: int = 0) -> list[Prediction]:
        """Predictions from raw events, in the order asked; up to 1,000 customers and 100,000 events."""
        body: dict[str, Any] = {"customers": list(customers), "explain": explain}
        return self._ask("/predict", body | ({"cutoff": cutoff} if cutoff else {}))

    def stored(self, customer_ids: Sequence[str]) -> list[Prediction]:
        """The same from the scores that the last batch stored, by id."""
        return self._ask("/predict/stored", {"customer_ids": list(customer_ids)})

    def _ask(self, path: str, body: dict[str, Any]) -> list[Prediction]:
        headers = {"Content-Type": "application/json"} | ({"X-API-Key": self.key} if self.key else {})
        call = urllib.request.Request(self.url + path, json.dumps(body).encode(), headers)
        for attempt in range(1, self.tries + 1):
            try:
                with urllib.request.urlopen(call, timeout=self.seconds) as answer:
                    return cast(list[Prediction], json.load(answer)["predictions"])
            except urllib.error.HTTPError as error:
                text = error.read().decode(errors="replace")
                if error.code not in (429, 503) or attempt == self.tries:
                    raise Refused(f"{error.code}: {text}") from None
                time.sleep(float(error.headers.get("Retry-After", "1")))
        raise AssertionError("every try returns or raises")


def main() -> None:
    """Ask about one customer and say what is known."""
    client = Client(sys.argv[1], os.environ.get("CHURN_CLV_KEY"))
    history: list[Event] = [
        {"time": "2017-11-03T18:20:00", "amount": 42.10, "product_id": "p1"},
        {"time": "2017-12-19T09:05:00", "amount": 17.50, "product_id": "p2"},
    ]
    [found] = client.predict([{"customer_id": "7", "events": history}], cutoff="2018-01-01", explain=3)
    if not found["eligible"]:
        print(f"no prediction: {found['reason']}")
        return
    print(f"chance to lapse {found['churn_probability']:.0%}, expected spend {found['expected_spend']}")
    for reason in found["reasons"] or []:
        print(f"  {reason['direction']} it: {reason['text']}")


if __name__ == "__main__":
    main()
