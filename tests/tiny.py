"""A small bundle made without training: real definitions, boosters of five trees fitted to a made-up rule."""

from __future__ import annotations

import asyncio
import datetime as dt
import json
import random
from collections.abc import Sequence
from typing import Any

import httpx
import lightgbm as lgb
import numpy as np
import polars as pl

from churn_clv import bundle, config, explain, features, matrix, timeline
from churn_clv.events import Rules, canonical
from churn_clv.models.bounds import Bounds
from churn_clv.models.interval import Interval, fit_by_orders
from churn_clv.models.linear import Linear
from churn_clv.models.loss import LossTable, fit_loss
from churn_clv.models.orders import Orders, fit_orders
from churn_clv.models.outlook import Outlook
from churn_clv.models.predict import PART, SPEND_IF_ACTIVE, Head, Pool, answers
from churn_clv.models.priced import OrderValue, Priced
from churn_clv.models.renewal import Renewal
from churn_clv.models.retention import Retention
from churn_clv.models.silence import Silence
from churn_clv.models.steps import Steps
from churn_clv.timeline import Definitions

START = dt.date(2023, 1, 2)
TRAINED_THROUGH = dt.date(2024, 6, 3)
ZONE = "America/New_York"
TYPES = ("purchase", "return", "visit", "survey")
COLUMNS = ("amount", "category", "channel", "discount", "order_id", "product_id", "quantity", "value")
HORIZON = 28
EDGES = (7, 14, 21, 28)
FALLING = {s: tuple((1 + k) ** -p for k in range(40)) for s, p in (("1", 0.3), ("2-3", 0.2), ("4+", 0.1))}
FLAT = dict.fromkeys(("lapsed", "prospect"), (1.0,) * 40)
# Targets of the user's own: an event of everyone, a count, money of those who had something, the end of a contract.
TARGETS = config.from_dict({"dataset": "tiny", "targets": {
    "back": {"events": {"is_in": ["visit"]}, "measure": "present", "population": "known", "horizon_days": 14},
    "visits": {"events": {"is_in": ["visit"]}, "measure": "count"},
    "tea": {"events": {"column": "category", "is_in": ["tea"]}, "measure": "amount", "at_least": 0,
            "population": "one_order", "has": {"is_in": ["visit"]}, "has_not": {"is_in": ["survey"]}},
    "ended": {"events": {"is_in": ["survey"]}, "measure": "present", "population": "contract",
              "contract": {"opens": {"is_in": ["visit"]}, "term_days": 91, "grace_days": 7}},
}}).targets  # fmt: skip
RETENTION = Retention(
    HORIZON, 9, FALLING | FLAT, spend={"lapsed": 3.0, "prospect": 1.5},
    active={s: tuple((1 + k) ** -p for k in range(40)) for s, p in (("1", 0.5), ("2-3", 0.3), ("4+", 0.1))},
)  # fmt: skip
# Two more horizons of silence; bounds of three and six months, of all eligible, the 4+ and the lapsed.
SILENCE = Silence((LossTable((0.2, 0.9), (0.3, 0.9)), LossTable((0.2, 0.9), (0.2, 0.8))))
TOTALS = {3: (0.8, 1.25), 6: (0.7, 1.4)}


def definitions(**changes: Any) -> Definitions:
    """Definitions of a shop in New York with two other kinds of events."""
    values: dict[str, Any] = {
        "horizon_days": HORIZON,
        "active_within_days": 56,
        "min_history_days": HORIZON,
        "windows_days": (7, 14, 28, 56, 112, 224),
        "rules": Rules(ZONE, "USD", 2),
        "starts": dict.fromkeys(TYPES, START),
        "columns": COLUMNS,
        "event_types": TYPES,
        "families": None,
        "exclude": (),
        "censored_gap_days": 60,
        "watched": {"tea": TARGETS["tea"].events},
        "contracts": {"ended": TARGETS["ended"].contract},
        "plans": {"ended": config.Predicate(column="channel", is_in=("store", "web"), event_types=("visit",))},
    }
    return Definitions(**values | changes)


def plain_log(customers: int = 80, seed: int = 1, until: dt.date = TRAINED_THROUGH) -> pl.DataFrame:
    """Plain event columns of random customers from START to ``until``: times without a zone, money in dollars."""
    draw = random.Random(seed)
    rows = [row for number in range(customers) for row in _history(f"c{number:03d}", draw, until)]
    return pl.DataFrame(rows, infer_schema_length=None)


def _history(name: str, draw: random.Random, until: dt.date) -> list[dict[str, Any]]:
    days = (until - START).days
    rows = []
    for number in range(draw.randint(1, 30)):
        time = dt.datetime.combine(START, dt.time()) + dt.timedelta(minutes=draw.randrange(days * 1440))
        kind = draw.choices(TYPES, (6, 1, 3, 1))[0]
        money = kind in ("purchase", "return")
        rows.append(
            {
                "customer_id": name,
                "time": time,
                "event_type": kind,
                "amount": draw.randint(0, 20_000) / 100 if money else None,
                "order_id": f"{name}-{number}" if money else None,
                "product_id": f"p{draw.randint(0, 9)}" if money else None,
                "category": draw.choice(("tea", "cups", "books")) if money else None,
                "quantity": float(draw.randint(1, 5)) if money else None,
                "discount": draw.randint(0, 300) / 100 if kind == "purchase" else None,
                "channel": draw.choice(("web", "store")),
                "value": float(draw.randint(0, 10)) if kind == "survey" else None,
            }
        )
    return rows


def tiny_bundle(seed: int = 1, **changes: Any) -> bundle.Bundle:
    """A bundle with every part that a head may have; another ``seed`` gives another model."""
    terms = definitions(**changes)
    frame = canonical(plain_log(), terms.rules)
    cutoffs = [TRAINED_THROUGH - dt.timedelta(days=7 * k) for k in range(8)]
    pairs = timeline.known_among(frame, timeline.pairs_of(frame["customer_id"].unique(), cutoffs))
    rows = matrix.build(frame, pairs, terms).filter("eligible")
    columns = features.core(terms)
    values = matrix.values(rows, columns)
    draw = np.random.default_rng(seed)
    since = rows["days_since_last_purchase"].to_numpy()
    churned = (since + draw.normal(0, 15, len(since)) > 25).astype(float)
    part = np.where(churned > 0, len(EDGES), draw.integers(0, len(EDGES), len(since)))  # in which the next order comes
    spend = np.where(churned > 0, 0.0, draw.gamma(2.0, 30.0, len(since)))
    stacked = np.vstack([np.column_stack([values, np.full(len(values), float(k))]) for k in range(len(EDGES))])
    bought = np.concatenate([part == k for k in range(len(EDGES))]).astype(float)
    still = np.concatenate([part >= k for k in range(len(EDGES))])
    pool = Pool(Renewal("MBG/NBD", 0.9, 4.0, 0.6, 2.5), 0.2, _linear(columns), 0.3)
    stayed = churned == 0
    heads = (
        Head("churned", HORIZON, "hazard", _booster(stacked[still], bought[still], "binary", seed, (*columns, PART)),
             0.05, 1.1, edges=EDGES, pool=pool, whole=_booster(values, churned, "binary", seed + 1, columns)),
        Head("spend", HORIZON, "amount", _booster(values, spend / 30, "tweedie", seed, columns), 0.0, scale=30.0,
             weight=0.6, priced=Priced(Orders(_linear(columns), 0.1, -3.0, 2.0), OrderValue(20.0, 1.5, 1.1), 0.25)),
        Head(SPEND_IF_ACTIVE, HORIZON, "amount",
             _booster(values[stayed], spend[stayed] / 50, "tweedie", seed, columns), 0.02, scale=50.0, weight=0.4),
    )  # fmt: skip
    settings = config.from_dict({"dataset": "tiny"}).model_copy(update={"targets": TARGETS})
    every = matrix.values(rows, features.names(terms))
    heads = (*heads, *_own_heads(every, features.names(terms), churned, spend, seed))
    risk, money = answers(heads, values)
    assert money is not None
    bounds = fit_by_orders(money, spend, rows["purchase_days"].to_numpy())
    lapsed = fit_loss(risk[-1], draw.random(len(spend)) > 0.4)
    outlook = _outlook(values, columns, risk[-1], draw)
    own = {h.target: bundle.target_reference(h.predict(every), since % 2, explain.learn(h, every)) for h in heads[3:]}
    reference = bundle.make_reference(risk[-1], churned, settings.bundle, bounds, lapsed, RETENTION, outlook, own,
                                      explain.learn(heads[0], values))  # fmt: skip
    ladder = [{"rung": "champion", "metrics": {"churn_auroc": 0.9, "spend_gini": None}}]
    return bundle.Bundle(terms, heads, reference, settings, TRAINED_THROUGH, report={"ladder": ladder})


def _own_heads(values: Any, columns: Sequence[str], churned: Any, spend: Any, seed: int) -> tuple[Head, ...]:
    """One head of each kind that a target may have."""
    table = Steps("days_since_last_purchase", (1.0, 15.0, 43.0), (0.2, 0.7, 0.4, 0.1))
    pool = Pool(None, 0.0, _linear(columns), 0.4, table, 0.3)
    return (
        Head("back", 14, "event", _booster(values, 1 - churned, "binary", seed + 2, columns), -0.1, 0.9, pool=pool),
        Head("visits", HORIZON, "count", _booster(values, spend // 20, "poisson", seed + 3, columns), 0.03),
        Head("tea", HORIZON, "amount", _booster(values, spend / 40, "tweedie", seed + 4, columns), 0.01, scale=40.0),
        Head("ended", HORIZON, "event", _booster(values, 1 - churned, "binary", seed + 5, columns), 0.2, 1.2),
    )


def _outlook(values: Any, columns: Sequence[str], silent: Any, draw: np.random.Generator) -> Outlook:
    orders = np.where(draw.random(len(silent)) < silent, 0, 1 + draw.poisson(1.0, len(silent))).astype(float)
    each = Interval((5.0, 50.0), (0.0, 10.0), (20.0, 120.0))
    many = Interval((5.0, 50.0), (1.0, 20.0), (15.0, 90.0))
    bounds = {m: Bounds(each, {"4+": many, "lapsed": Interval((9.0,), (0.0,), (30.0,))}) for m in (3, 6)}
    return Outlook(fit_orders(values, columns, silent, orders), SILENCE, bounds, TOTALS)


def _linear(columns: Sequence[str]) -> Linear:
    """Riskier with every day of silence, safer with every order, and where the rhythm is unknown."""
    weight, missing = dict.fromkeys(columns, 0.0), dict.fromkeys(columns, 0.0)
    weight |= {"days_since_last_purchase": 0.8, "purchase_days": -0.4, "gap_days_median": 0.1}
    missing |= {"gap_days_median": -0.2}
    return Linear(-1.5, (0.5,) * len(columns), tuple(weight.values()), tuple(missing.values()))


def _booster(values: Any, label: Any, objective: str, seed: int, columns: Sequence[str]) -> lgb.Booster:
    settings = {"objective": objective, "num_leaves": 7, "min_data_in_leaf": 5, "verbose": -1, "seed": seed,
                "num_threads": 1, "deterministic": True}  # fmt: skip
    return lgb.train(settings, lgb.Dataset(values, label, feature_name=list(columns)), num_boost_round=5)


class Client:
    """An application in this process, over the same bytes as over a network."""

    def __init__(self, app: Any) -> None:
        self._app = app

    def get(self, path: str) -> httpx.Response:
        """The answer to a GET."""
        return self._send("GET", path)

    def post(self, path: str, body: Any = None, content: Any = None, **headers: str) -> httpx.Response:
        """The answer to a POST of ``body`` as JSON, or of ``content`` as it is; ``content_type=...`` names a header."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        raw = json.dumps(body).encode() if content is None else content
        return self._send("POST", path, content=raw, headers={"content-type": "application/json"} | named)

    def _send(self, method: str, path: str, **what: Any) -> httpx.Response:
        async def call() -> httpx.Response:
            async with httpx.AsyncClient(transport=httpx.ASGITransport(self._app), base_url="http://service") as client:
                return await client.request(method, path, **what)

        return asyncio.run(call())
