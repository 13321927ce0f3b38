"""Requests answered together come out as each alone, by columns as by rows, few rows as many: to the bit."""

from __future__ import annotations

import asyncio
import datetime as dt
import json
import random
from collections.abc import Sequence
from typing import Any

import polars as pl
import pytest
import tiny
from tiny import TRAINED_THROUGH

from churn_clv import features, timeline
from churn_clv.bundle import Bundle
from churn_clv.service import answers, reading
from churn_clv.service.contract import PredictRequest
from churn_clv.service.desks import Desks
from churn_clv.service.reading import Histories, Unacceptable
from churn_clv.service.replies import PredictResponse
from churn_clv.timeline import _cuts

NOW = dt.datetime(2024, 7, 1, 12, tzinfo=dt.UTC)
Body = dict[str, Any]


def bodies(seed: int, count: int = 9) -> list[Body]:
    """Requests of a few customers each, whose ids recur between requests with other histories and other cutoffs."""
    draw = random.Random(seed)
    log = tiny.plain_log(customers=40, seed=seed, until=TRAINED_THROUGH + dt.timedelta(days=20))
    rows = log.with_columns(pl.col("time").dt.to_string("iso:strict")).sort("customer_id").partition_by("customer_id")
    pool = [[{k: v for k, v in row.items() if k != "customer_id" and v is not None} for row in part.to_dicts()]
            for part in rows]  # fmt: skip
    return [_body(draw, pool) for _ in range(count)]


def _body(draw: random.Random, pool: Sequence[list[Body]]) -> Body:
    names = draw.sample(("a", "b", "c", "d"), draw.randint(1, 4))
    customers = []
    for name in names:
        cutoff = (TRAINED_THROUGH + dt.timedelta(days=draw.randint(-40, 25))).isoformat()
        events = [dict(e) for e in draw.choice([*pool, []])]
        for event in events:
            if draw.random() < 0.1:
                event["event_id"] = draw.choice(("e1", "e2"))
            if draw.random() < 0.05:
                event["event_type"] = "dance"
            if draw.random() < 0.05:
                event["known_at"] = TRAINED_THROUGH.isoformat()
        customers.append({"customer_id": name, "events": events, **({"cutoff": cutoff} if draw.random() < 0.8 else {})})
    return {"customers": customers}


def read(body: Body, bundle: Bundle) -> Histories:
    return reading.read(PredictRequest.model_validate_json(json.dumps(body)), bundle, NOW)


def columns_of(body: Body) -> Body:
    """The same request by columns, its events shuffled, its customers in the order in which answers come."""
    rows = [{**event, "customer_id": c["customer_id"]} for c in body["customers"] for event in c["events"]]
    random.Random(1).shuffle(rows)
    for row in rows:
        row.setdefault("event_type", "purchase")
    names = dict.fromkeys(["customer_id", "time", *(name for row in rows for name in row)])
    return {
        "events": {name: [row.get(name) for row in rows] for name in names},
        "cutoffs": {"customer_id": [c["customer_id"] for c in body["customers"]],
                    "cutoff": [c.get("cutoff") for c in body["customers"]]},
    }  # fmt: skip


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_together_as_alone(tiny_bundle: Bundle, seed: int) -> None:
    asked = [read(body, tiny_bundle) for body in bodies(seed)]
    alone = [answers.answer([one], tiny_bundle)[0] for one in asked]
    assert answers.answer(asked, tiny_bundle) == alone
    assert answers.answer(asked[::-1], tiny_bundle) == alone[::-1]
    assert len({*map(str, alone)}) > 5 and all(isinstance(text, bytes) for text in alone)


@pytest.mark.parametrize("seed", [4, 5])
def test_by_columns_as_by_rows(tiny_bundle: Bundle, seed: int) -> None:
    for body in bodies(seed, 4):
        rows, columns = (answers.answer([read(b, tiny_bundle)], tiny_bundle)[0] for b in (body, columns_of(body)))
        assert isinstance(rows, bytes) and isinstance(columns, bytes)
        there, here = ({p["customer_id"]: p for p in json.loads(text)["predictions"]} for text in (rows, columns))
        assert here == there


def test_a_column_left_out_is_its_own_requests_alone(tiny_bundle: Bundle) -> None:
    """Purchases, where one request names no types and its neighbour does."""
    buys = {"customer_id": ["a", "a"], "time": ["2024-05-01", "2024-05-20"], "amount": [5.0, 7.5]}
    named = buys | {"event_type": ["purchase", "visit"], "channel": ["web", "web"]}
    asked = [read({"events": events, "cutoff": "2024-06-03"}, tiny_bundle) for events in (buys, named)]
    alone = [answers.answer([one], tiny_bundle)[0] for one in asked]
    assert answers.answer(asked, tiny_bundle) == alone and alone[0] != alone[1]


def test_an_unreadable_time_is_its_own_requests_alone(tiny_bundle: Bundle) -> None:
    good, bad = bodies(6, 2), {"customers": [{"customer_id": "a", "events": [{"time": "2024-06-01"}, {"time": "x"}]}]}
    asked = [read(body, tiny_bundle) for body in (good[0], bad, good[1])]
    first, refused, last = answers.answer(asked, tiny_bundle)
    assert isinstance(refused, Unacceptable)
    assert [p.loc for p in refused.problems] == [["body", "customers", 0, "events", 1, "time"]]
    assert [first, last] == [answers.answer([one], tiny_bundle)[0] for one in (asked[0], asked[2])]
    columns = {"events": {"customer_id": ["a", "a"], "time": ["2024-06-01", "x"]}}
    (refused,) = answers.answer([read(columns, tiny_bundle)], tiny_bundle)
    assert isinstance(refused, Unacceptable) and refused.problems[0].loc == ["body", "events", "time", 1]


def test_answers_are_what_the_contract_says(tiny_bundle: Bundle) -> None:
    """They are written without the model; reading them by it and writing them again changes no byte."""
    for body in bodies(7, 4):
        (text,) = answers.answer([read(body, tiny_bundle)], tiny_bundle)
        assert isinstance(text, bytes)
        assert PredictResponse.model_validate_json(text).model_dump_json().encode() == text


def test_at_the_desk_as_alone(tiny_bundle: Bundle) -> None:
    asked = bodies(8, 12)
    texts = [json.dumps(body).encode() for body in asked]
    desks = Desks()

    async def all_at_once() -> list[bytes]:
        return await asyncio.gather(*(desks.answer(text, tiny_bundle, NOW) for text in texts))

    assert asyncio.run(all_at_once()) == [answers.answer([read(body, tiny_bundle)], tiny_bundle)[0] for body in asked]


@pytest.mark.parametrize("cutoffs", [1, 3])
def test_few_and_many_are_one_matrix(monkeypatch: pytest.MonkeyPatch, cutoffs: int) -> None:
    """Whatever the size, and whether events meet one cutoff or several: the same features to the bit."""
    terms = tiny.definitions()
    frame = tiny.canonical(tiny.plain_log(customers=25, seed=9), terms.rules)
    # Each customer's cutoffs lie on days with an event of theirs, which is no longer past.
    own = frame.group_by("customer_id").agg(cutoff=pl.col("time").dt.date().unique().sort().tail(cutoffs))
    pairs = timeline.known_among(frame, own.explode("cutoff"))
    assert (pairs["customer_id"].n_unique() == pairs.height) == (cutoffs == 1)
    few = features.build(timeline.Past(frame, pairs), terms)
    monkeypatch.setattr(_cuts, "FEW", 0)
    for most in (_cuts.MANY, 0):  # what is asked again is kept in memory, or made again
        monkeypatch.setattr(_cuts, "MANY", most)
        past = timeline.Past(frame, pairs)
        assert not past.few and past.known() is past
        assert features.build(past, terms).equals(few)
        some = past.among(past.pairs["row"].gather_every(3))
        assert features.build(some, terms).equals(few.gather_every(3))
        met = some.by(where=pl.lit(True))  # and nothing is looked at for the others
        assert {*some.collect(met)["row"]} == {*some.pairs["row"]}
        assert {*some.collect(some.shared("days", lambda met=met: met))["row"]} <= {*some.pairs["row"]}
    assert few.null_count().sum_horizontal()[0] > 0
