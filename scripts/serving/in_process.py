"""Microseconds of the boosters alone, features known, and of one whole answer, in this process on one thread."""

from __future__ import annotations

import itertools
import json
import time
from collections.abc import Callable
from typing import Any

import histories
import lightgbm as lgb
import numpy as np

from churn_clv.bundle import Bundle
from churn_clv.models.predict import Head, raw_margin
from churn_clv.service.answers import answer
from churn_clv.service.app import utc_now
from churn_clv.service.contract import PredictRequest
from churn_clv.service.reading import read

TREES, LEAVES, ROWS = 300, 31, 4_000


def two_boosters(features: int) -> dict[str, float]:
    """One churn and one spend booster of 300 trees, one row each: raw margins; with the maps to numbers beside."""
    draw = np.random.default_rng(1)
    values = draw.normal(size=(ROWS, features))
    values[draw.random(values.shape) < 0.1] = np.nan
    came = (np.nan_to_num(values[:, 0]) + draw.normal(size=ROWS) > 0).astype(float)
    churn = Head("churned", 28, "event", _booster(values, came, "binary"))
    spend = Head("spend", 28, "amount", _booster(values, came * draw.gamma(2, 20, ROWS), "tweedie"))
    rows = [np.ascontiguousarray(values[k : k + 1]) for k in range(200)]
    return {
        "us": _us(lambda row: (raw_margin(churn.booster, row), raw_margin(spend.booster, row)), rows),
        "with_maps_us": _us(lambda row: (churn.predict(row), spend.predict(row)), rows),
    }


def parts(bundle: Bundle) -> dict[str, Any]:
    """Of the bundle: each head's microseconds for one row, and milliseconds of one customer's whole answer."""
    body = json.dumps({"customers": histories.customers(bundle, 1, 40)}).encode()
    request = PredictRequest.model_validate_json(body)
    asked = read(request, bundle, utc_now())
    columns = {head.target: len(bundle.features if head in bundle.own_heads else bundle.core_features)
               for head in bundle.heads}  # fmt: skip
    rows = {target: [np.random.default_rng(k).normal(size=(1, n)) for k in range(50)] for target, n in columns.items()}
    return {
        "heads_us": {h.target: round(_us(h.predict, rows[h.target]), 1) for h in bundle.heads},
        "trees": {h.target: h.booster.num_trees() for h in bundle.heads},
        "read_ms": round(
            _us(lambda b: read(PredictRequest.model_validate_json(b), bundle, utc_now()), [body]) / 1e3, 2
        ),
        "answer_ms": round(_us(lambda one: answer([one], bundle), [asked]) / 1e3, 2),
        "answer_of_16_ms": round(_us(lambda one: answer([one] * 16, bundle), [asked]) / 1e3, 2),
    }


def _booster(values: Any, label: Any, objective: str) -> lgb.Booster:
    settings = {"objective": objective, "num_leaves": LEAVES, "verbose": -1, "num_threads": 1, "seed": 1}
    made = lgb.train(settings, lgb.Dataset(values, label), TREES)
    return lgb.Booster(model_str=made.model_to_string())


def _us(call: Callable[[Any], Any], arguments: list[Any], seconds: float = 1.0) -> float:
    """The median microseconds of a call: each is timed, so that one that lost its processor does not count more."""
    times: list[float] = []
    ends = time.perf_counter() + seconds
    for one in itertools.cycle(arguments):
        began = time.perf_counter()
        call(one)
        times.append((time.perf_counter() - began) * 1e6)
        if len(times) >= 10 and time.perf_counter() > ends:
            break
    return float(np.median(times))
