"""Bodies to ask with: made-up customers whose events hold what the bundle's log held, in both forms of a request."""

from __future__ import annotations

import datetime as dt
import json
import random
from pathlib import Path
from typing import Any

from churn_clv.bundle import Bundle

DAYS = 300
VALUES = {
    "amount": lambda draw: round(draw.uniform(1, 60), 2),
    "order_id": lambda draw: f"order-{draw.randint(0, 25)}",
    "product_id": lambda draw: f"product-{draw.randint(0, 400)}",
    "category": lambda draw: f"category {draw.randint(0, 8)}",
    "quantity": lambda draw: draw.randint(1, 5),
    "discount": lambda draw: round(draw.uniform(0, 4), 2),
    "channel": lambda draw: draw.choice(("web", "store")),
    "value": lambda draw: draw.randint(0, 10),
}


def customers(bundle: Bundle, count: int, events: int, seed: int = 0) -> list[dict[str, Any]]:
    """So many customers with so many events each, in the year before the bundle's end of training."""
    draw = random.Random(seed)
    kinds = [k for k in bundle.event_types if k not in ("purchase", "return")]
    return [
        {
            "customer_id": f"customer-{seed}-{number}",
            "cutoff": bundle.trained_through.isoformat(),
            "events": [_event(bundle, draw, kinds) for _ in range(events)],
        }
        for number in range(count)
    ]


def _event(bundle: Bundle, draw: random.Random, kinds: list[str]) -> dict[str, Any]:
    day = bundle.trained_through - dt.timedelta(days=draw.randint(1, DAYS))
    kind = draw.choice(kinds) if kinds and draw.random() < 0.2 else "return" if draw.random() < 0.05 else "purchase"
    made = {name: VALUES[name](draw) for name in bundle.definitions.columns if name in VALUES}
    if kind not in ("purchase", "return"):
        made = {name: value for name, value in made.items() if name in ("channel", "value")}
    return {"time": f"{day}T{draw.randint(8, 20):02}:{draw.randint(0, 59):02}:00", "event_type": kind} | made


def by_columns(asked: list[dict[str, Any]]) -> dict[str, Any]:
    """The same customers as columns."""
    events = [event | {"customer_id": c["customer_id"]} for c in asked for event in c["events"]]
    names = dict.fromkeys(name for event in events for name in event)
    return {
        "events": {name: [event.get(name) for event in events] for name in names},
        "cutoffs": {name: [c[name] for c in asked] for name in ("customer_id", "cutoff")},
    }


def write(bodies: list[dict[str, Any]], path: Path) -> Path:
    """One JSON document a line."""
    path.write_text("\n".join(json.dumps(body, separators=(",", ":")) for body in bodies) + "\n", encoding="utf-8")
    return path
