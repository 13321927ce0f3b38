"""Random histories whose times sit on the edges: at the cutoff, at each window's end, a microsecond and a day beside.

``histories`` takes any way of choosing from a list, so that Hypothesis and a seeded generator draw the same things.
"""

from __future__ import annotations

import datetime as dt
import random
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import polars as pl
from hypothesis import strategies as st

from churn_clv import events, matrix, timeline
from churn_clv.canonical import LOG_SCHEMA, Rules
from churn_clv.config import Contract, Predicate
from churn_clv.timeline import Definitions

Event = dict[str, Any]
Pick = Callable[[Sequence[Any]], Any]

CUTOFF = dt.date(2024, 3, 4)
CUTOFFS = (dt.date(2024, 2, 26), dt.date(2024, 3, 3), CUTOFF)
ENDS = CUTOFF + dt.timedelta(days=40)
KINDS = ("purchase", "return", "visit", "survey", "e-mail", "покупка рядом")
COLUMNS = ("amount", "category", "channel", "discount", "order_id", "product_id", "quantity", "value")
WATCHED = {
    "tea": Predicate(column="category", is_in=("tea",)),
    "two_products": Predicate(column="product_id", is_in=("p1", "p2")),
    "shop_call": Predicate(column="channel", is_in=("store",), event_types=("visit", "survey")),
}
CONTRACTS = {
    "club": Contract(opens=Predicate(is_in=("visit", "survey")), term_days=40, grace_days=7),
    "card": Contract(opens=Predicate(column="product_id", is_in=("p1", "p2")), term_days=28),
    "pass": Contract(opens=Predicate(is_in=("visit",))),
}
PLANS = {
    "club": Predicate(column="channel", is_in=("store", "web"), event_types=("visit", "survey")),
    "card": Predicate(column="product_id", is_in=("p1", "p2"), event_types=("purchase",)),
}
IDS = ("c1", "Ünïcødé", "客户-3", "with space", "'; drop table", "c1 ")
SECOND = dt.timedelta(microseconds=1)
OFFSETS = (
    dt.timedelta(0),
    SECOND,
    -SECOND,
    dt.timedelta(hours=12),
    dt.timedelta(hours=23, minutes=59, seconds=59, microseconds=999_999),
)


def definitions(**changes: Any) -> Definitions:
    """A log that has everything; returns are complete later than purchases, visits later still."""
    values: dict[str, Any] = {
        "horizon_days": 28,
        "active_within_days": 56,
        "min_history_days": 28,
        "windows_days": (7, 14, 28, 56, 112, 224),
        "rules": Rules("Europe/Paris", "EUR", 2),
        "starts": dict.fromkeys(KINDS, CUTOFF - dt.timedelta(days=400)),
        "columns": COLUMNS,
        "event_types": tuple(sorted(KINDS)),
        "families": None,
        "exclude": (),
        "censored_gap_days": 60,
        "watched": WATCHED,
        "contracts": CONTRACTS,
        "plans": PLANS,
        "seen_by": ("visit",),
    }
    return Definitions(**values | changes)


def _days_ago(*days: int, kinds: Sequence[str] = KINDS) -> dict[str, dt.date]:
    """Starts so many days before the cutoff, given to the kinds in turn."""
    return {kind: CUTOFF - dt.timedelta(days=days[i % len(days)]) for i, kind in enumerate(kinds)}


# The same histories read in different ways: what is on, what is missing, where the log begins.
WAYS: dict[str, Definitions] = {
    "all": definitions(),
    "starts on the edges": definitions(starts=_days_ago(112, 56, 28, 14, 27, 224), min_history_days=112),
    "starts beside the edges": definitions(starts=_days_ago(113, 55, 29, 7, 6, 225), min_history_days=114),
    "odd windows, no cents": definitions(
        windows_days=(1, 3, 10, 30, 45), horizon_days=30, active_within_days=30, rules=Rules("UTC", "JPY", 0)
    ),
    "one window": definitions(windows_days=(7,), horizon_days=1, active_within_days=7),
    "purchases alone": definitions(
        columns=(),
        event_types=("purchase",),
        starts=_days_ago(400, kinds=("purchase",)),
        windows_days=(7, 14, 28),
        watched={},
        contracts={},
    ),
    "no amounts": definitions(
        columns=("category", "channel", "discount", "quantity"),
        watched={"tea": WATCHED["tea"]},
        contracts={"club": CONTRACTS["club"]},
    ),
    "switched off": definitions(families=("recency", "returns", "engagement"), exclude=("overdue_sd", "visit_events")),
}


def plain(d: Definitions) -> dict[str, Any]:
    """The definitions as the dict that the oracle reads."""
    return d.model_dump(exclude={"rules"}) | {"minor_units": d.rules.minor_units}


def edges(d: Definitions) -> list[int]:
    """Ages in days, before and after the cutoff, at which something may change."""
    starts = [(CUTOFF - start).days for start in d.starts.values()]
    terms = [c.term_days for c in d.contracts.values() if c.term_days]
    marks = [
        0,
        *d.windows_days,
        *terms,
        *(t - 28 for t in terms),
        d.active_within_days,
        d.horizon_days,
        -d.horizon_days,
        *starts,
    ]
    beside = {mark + step for mark in marks for step in (-1, 0, 1)}
    return sorted(age for age in beside if -40 < age < 420)


def event(pick: Pick, customer: str, d: Definitions) -> Event:
    """One event, on an edge half of the time."""
    kind = pick(("purchase", "purchase", "purchase", "return", *KINDS))
    age = pick(edges(d)) if pick((True, False)) else pick(range(-35, 300))
    time = _before(age) + pick(OFFSETS)
    late = pick((None, None, None, None, age, age - 1, age + 1, 0, 1, -1, 8, -28))
    sign = {"purchase": 1, "return": -1}.get(kind)
    few = pick(range(60))
    return (
        dict.fromkeys(LOG_SCHEMA)
        | {
            "customer_id": customer,
            "time": time,
            "known_at": None if late is None else _before(late) + pick(OFFSETS),
            "event_type": kind,
            "amount": sign and pick((0, 1, 100, 100, 250, 999, 12_345, 98_765_432_109, None)),
            "product_id": (None, "p1", "p2", "ü3")[few % 4],
            "category": (None, "tea", "cups")[few % 3],
            "quantity": (None, 1000, 500, 3000, 0)[few % 5],
            "discount": (None, 0, 50)[few % 3] if sign == 1 else None,
            "channel": ("web", "store", None, "web")[few // 15],
            "value": pick((None, 0, 9000, -500)) if sign is None else None,
        }
        | ({"amount": -few % 7 * -50 - 50 if few % 6 else -12_345} if sign == -1 else {})
    )


def _before(age: int) -> dt.datetime:
    return dt.datetime.combine(CUTOFF, dt.time()) - dt.timedelta(days=age)


def histories(pick: Pick, d: Definitions, customers: Iterable[str] = IDS, most: int = 8) -> list[Event]:
    """The events of several customers, a few of them without any; some days hold a purchase and its reversal."""
    out: list[Event] = []
    for customer in customers:
        for _ in range(pick(range(most + 1))):
            out.append(event(pick, customer, d))
            if pick(range(6)) == 0:
                out.append(_reversal(pick, out[-1]))
    return out


def _reversal(pick: Pick, of: Event) -> Event:
    """A return on the same day: less than, just, or more than what it reverses."""
    given = -(of["amount"] or 0) + pick((-1, 0, 0, 1))
    return of | {"event_type": "return", "amount": min(given, 0), "discount": None, "value": None}


def seeded(seed: int) -> Pick:
    """Choose with a seeded generator."""
    return random.Random(seed).choice


@st.composite
def drawn(draw: st.DrawFn, d: Definitions, customers: Sequence[str] = IDS[:4], most: int = 6) -> list[Event]:
    """``histories`` chosen by Hypothesis."""
    return histories(lambda options: draw(st.sampled_from(options)), d, customers, most)


def frame(rows: Sequence[Event]) -> pl.DataFrame:
    """Events as a log frame, in the order given."""
    return pl.DataFrame([tuple(e[c] for c in LOG_SCHEMA) for e in rows], schema=LOG_SCHEMA, orient="row")


def bulk(seed: int, customers: int, d: Definitions, most: int = 10) -> list[Event]:
    """The histories of many customers by a seeded generator."""
    return histories(seeded(seed), d, [f"c{n:04d}" for n in range(customers)], most)


def matrix_of(rows: Sequence[Event], d: Definitions, cutoffs: Sequence[dt.date] = (CUTOFF,)) -> pl.DataFrame:
    """The matrix of every customer of the events, known or not, at every cutoff."""
    return matrix.build(frame(rows), timeline.pairs_of({e["customer_id"] for e in rows}, cutoffs), d)


def many(customers: int, seed: int = 5) -> pl.DataFrame:
    """A log of a few events per customer with times and amounts anywhere, made column by column."""
    rng = np.random.default_rng(seed)
    of = np.sort(rng.integers(0, customers, 6 * customers))
    size = len(of)
    kind = np.asarray(["purchase", "purchase", "purchase", "return", "visit", "survey"])[rng.integers(0, 6, size)]
    sign = np.select([kind == "purchase", kind == "return"], [1, -1], 0)
    time = np.datetime64(CUTOFF - dt.timedelta(days=420), "us") + rng.integers(0, 440 * 86_400, size) * 1_000_000
    return pl.DataFrame(
        {
            "customer_id": [f"c{n:06d}" for n in of],
            "time": time,
            "known_at": None,
            "event_type": kind,
            "amount": sign * rng.integers(0, 2_000_000, size),
            "order_id": None,
            "product_id": [f"p{n}" for n in rng.integers(0, 9, size)],
            "category": [f"k{n}" for n in rng.integers(0, 3, size)],
            "quantity": 1000 * rng.integers(1, 5, size),
            "discount": rng.integers(0, 2, size) * 150,
            "channel": [f"w{n}" for n in rng.integers(0, 2, size)],
            "value": 1000 * rng.integers(0, 11, size),
            "event_id": None,
        },
        schema_overrides=LOG_SCHEMA,
    )


def digest(log: pl.DataFrame, customers: Iterable[str] | None = None) -> str:
    """A hash of the matrix of the customers (default: all) at two cutoffs, each cell to the last bit."""
    rows = matrix.build(log, timeline.pairs_of(customers or log["customer_id"], CUTOFFS[:2]), definitions())
    return events.fingerprint(rows)
