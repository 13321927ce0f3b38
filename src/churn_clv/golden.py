"""Synthetic customers whose features and predictions travel with a bundle and are checked at every load.

They are written from the definitions alone: no real customer is in them. Each touches an edge: an event on the
cutoff's eve, on a window's edge, at the cutoff, a same-day pair, a reversal, one purchase only, no purchase at all.
"""

from __future__ import annotations

import datetime as dt

import polars as pl

from churn_clv.events import LOG_SCHEMA
from churn_clv.timeline import Definitions

CUSTOMERS = 8


def histories(definitions: Definitions) -> tuple[pl.DataFrame, dt.date]:
    """A log frame of CUSTOMERS synthetic customers in the definitions' own terms, and the cutoff to read it at."""
    cutoff = max(definitions.starts.values()) + dt.timedelta(days=max(definitions.windows_days) + 100)
    rows = [row for number in range(CUSTOMERS) for row in _customer(number, definitions, cutoff)]
    frame = pl.DataFrame(rows, schema=LOG_SCHEMA, orient="row")
    return frame.sort(list(LOG_SCHEMA), nulls_last=True), cutoff


def _customer(number: int, definitions: Definitions, cutoff: dt.date) -> list[dict[str, object]]:
    """The events of one synthetic customer; amounts in minor units, quantities in thousandths."""
    name, touches = f"golden-{number}", sorted(set(definitions.event_types) - {"purchase", "return"})
    ages = _ages(number, definitions)
    rows = [_event(name, definitions, cutoff, age, "purchase", 1000 + 137 * i + 10007 * number, i)
            for i, age in enumerate(ages)]  # fmt: skip
    if number == 3 and ages:
        rows.append(_event(name, definitions, cutoff, ages[0], "purchase", 555, 99))
        rows.append(_event(name, definitions, cutoff, ages[-1], "return", -400, 98))
        rows.append(_event(name, definitions, cutoff, ages[0], "return", -10_000_000, 97))
    for i, kind in enumerate(touches):
        for age in (1 + number, 9 + 5 * number + i, 40 + i):
            rows.append(_event(name, definitions, cutoff, age, kind, None, i))
    return rows


def _ages(number: int, definitions: Definitions) -> list[int]:
    """Days before the cutoff of each purchase; 0 lies in the future."""
    windows = definitions.windows_days
    if number == 0:
        return []
    if number == 1:
        return [definitions.active_within_days]
    if number == 2:
        return [0, 1, *windows, *(w + 1 for w in windows)]
    return [2 + number + (7 + number) * k + k * k % (3 + number) for k in range(2 * number)]


def _event(
    name: str, definitions: Definitions, cutoff: dt.date, age: int, kind: str, amount: int | None, i: int
) -> dict[str, object]:
    time = dt.datetime.combine(cutoff, dt.time()) - dt.timedelta(days=age) + dt.timedelta(hours=9 + i % 8)
    money = kind in ("purchase", "return")
    topics = definitions.rules.text.names if definitions.rules.text else ()
    optional: dict[str, object] = {
        "amount": amount,
        "order_id": f"o{age}" if money else None,
        "product_id": f"p{(i * 5 + age) % 7}" if money else None,
        "category": f"c{(i * 3 + age) % 3}" if money else None,
        "quantity": 1000 * (1 + i % 4) if money else None,
        "discount": (i % 3) * 50 if kind == "purchase" else None,
        "channel": ("store", "web")[age % 2],
        "margin": None if amount is None else amount * 2 // 5,
        "value": 1000 * (age % 11) if not money else None,
        "sentiment": 100 * (age * 3 % 21 - 10) if not money else None,
        "topics": " ".join(topics[: age % (len(topics) + 1)]) or None if not money else None,
    }
    kept = {k: v for k, v in optional.items() if k in definitions.columns}
    empty = dict.fromkeys(LOG_SCHEMA)
    return {**empty, "customer_id": name, "time": time, "event_type": kind, **kept}
