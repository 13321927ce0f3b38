"""Texts in files, in frames and in requests: the same features to the bit, and no word in anything that comes out."""

from __future__ import annotations

import datetime as dt
import json
import logging
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import tiny

from churn_clv import bundle, features, matrix, text, timeline
from churn_clv.canonical import Rules, canonical
from churn_clv.service import contract, reading
from churn_clv.service.app import create_app
from churn_clv.service.bento import gated
from churn_clv.service.holder import Holder, Loaded

NOW = dt.datetime(2024, 7, 1, 12, tzinfo=dt.UTC)
CUTOFF = tiny.TRAINED_THROUGH
WORDS = ("The parcel was late", "What a lovely price!", "Not good: delivery awful", "xyzzy 42", "送货太慢了", "😀", "",
         "\0price\0", "fine " * 900, None)  # fmt: skip
LISTS = (("delivery", ("deliver*", "parcel", "送货")), ("price", ("price",)))
SAID = text.Reading(text.engine() if text._installed() else None, LISTS)
NAMES = ("text_sentiment_last", "text_sentiment_mean", "text_sentiment_change", "text_negative_events",
         "topic_delivery_events", "topic_price_events", "topic_price_events_last_28d")  # fmt: skip


@pytest.fixture(scope="module")
def model() -> bundle.Bundle:
    columns = (*tiny.COLUMNS, "sentiment", "topics")
    return tiny.tiny_bundle(rules=Rules(tiny.ZONE, "USD", 2, text=SAID), columns=columns)


@pytest.fixture(scope="module")
def plain() -> pl.DataFrame:
    draw = random.Random(3)
    rows = tiny.plain_log(40, seed=5)
    said = [draw.choice(WORDS) if kind in ("survey", "visit") else None for kind in rows["event_type"]]
    return rows.with_columns(text=pl.Series(said, dtype=pl.String))


def built(frame: pl.DataFrame, model: bundle.Bundle) -> pl.DataFrame:
    pairs = timeline.known_among(frame, timeline.pairs_of(frame["customer_id"].unique().sort(), [CUTOFF]))
    return matrix.build(frame, pairs, model.definitions)


def test_each_customer_alone_and_the_future_added(model: bundle.Bundle, plain: pl.DataFrame) -> None:
    rows = built(canonical(plain, model.definitions.rules), model)
    told = 4 if SAID.engine else 0
    assert set(NAMES) <= set(features.names(model.definitions)) and set(NAMES) <= set(rows.columns)
    assert all(rows[name].n_unique() > 2 for name in (*NAMES[:told], *NAMES[4:-1]))
    later = plain.filter(event_type="survey").with_columns(time=pl.lit(dt.datetime(2024, 6, 3)), text=pl.lit("awful"))
    both = canonical(pl.concat([plain, later]), model.definitions.rules)
    assert built(both, model).equals(rows)
    for name in rows["customer_id"]:
        alone = canonical(plain.filter(customer_id=name), model.definitions.rules)
        assert built(alone, model).equals(rows.filter(customer_id=name))


@pytest.fixture
def seen() -> Iterator[list[pl.DataFrame]]:
    found: list[pl.DataFrame] = []
    real = bundle.Bundle.predict

    def watching(self: Any, rows: pl.DataFrame, frame: pl.DataFrame | None = None) -> pl.DataFrame:
        found.append(rows)
        return real(self, rows, frame)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bundle.Bundle, "predict", watching)
        yield found


def client(model: bundle.Bundle) -> tiny.Client:
    held = Holder(Path("nowhere"))
    held.loaded = Loaded(model, NOW)
    return tiny.Client(gated(create_app(held, lambda: NOW)))


def asked(plain: pl.DataFrame) -> dict[str, Any]:
    own = [{k: v for k, v in row.items() if v is not None} for row in json.loads(plain.write_json())]
    by_name: dict[str, list[dict[str, Any]]] = {}
    for row in own:
        by_name.setdefault(row.pop("customer_id"), []).append(row)
    return {"cutoff": str(CUTOFF), "explain": 10,
            "customers": [{"customer_id": name, "events": rows} for name, rows in by_name.items()]}  # fmt: skip


def test_the_service_reads_texts_as_the_batch_does_and_says_none_of_them(
    model: bundle.Bundle, plain: pl.DataFrame, seen: list[pl.DataFrame], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    answer = client(model).post("/predict", asked(plain))
    assert answer.status_code == 200, answer.text
    found = {p["customer_id"]: p["churn_probability"] for p in answer.json()["predictions"]}
    names = [*found]
    served = {names[reading.position(row["customer_id"])]: row for row in seen[-1].to_dicts()}
    scored = model.score(plain, CUTOFF)
    batch = {row["customer_id"]: row for row in seen[-1].to_dicts()}
    assert len(served) == 40 and all({**row, "customer_id": n} == batch[n] for n, row in served.items())
    assert {r["customer_id"]: r["churn_probability"] for r in scored.to_dicts()} == found
    assert not any(word in answer.text + caplog.text for word in ("lovely", "awful", "xyzzy", "fine fine"))


def test_the_columns_form_and_own_numbers(model: bundle.Bundle, seen: list[pl.DataFrame]) -> None:
    events = {"customer_id": ["a"] * 3, "time": ["2024-05-01", "2024-05-02", "2024-05-03"],
              "event_type": ["purchase", "survey", "survey"], "amount": [5, None, None],
              "text": [None, "price, parcel", "price"], "sentiment": [None, -0.5, 0.25],
              "topics": [None, None, "delivery"]}  # fmt: skip
    answer = client(model).post("/predict", {"events": events, "cutoff": str(CUTOFF)})
    assert answer.status_code == 200, answer.text
    assert [seen[-1][name][0] for name in (*NAMES[:2], *NAMES[4:6])] == [0.25, -0.125, 2, 1]
    events["sentiment"][1] = 7
    refused = client(model).post("/predict", {"events": events, "cutoff": str(CUTOFF)})
    assert refused.status_code == 422 and "a number from -1 to 1" in refused.text


def test_hostile_texts_in_requests(model: bundle.Bundle, tiny_bundle: bundle.Bundle) -> None:
    """Too long, too many, no text at all: refused by name, never repeated. Half a letter does no harm."""
    event = {"time": "2024-05-01", "event_type": "survey"}
    one = {"customers": [{"customer_id": "a", "events": [event]}], "cutoff": str(CUTOFF)}
    for said, refused in (("secret" * 10_000, True), (["secret"], True), (7, True), ("", False), ("secret\0", False)):
        answer = client(model).post(
            "/predict", one | {"customers": [{"customer_id": "a", "events": [event | {"text": said}]}]}
        )
        assert answer.status_code == (422 if refused else 200) and "secret" not in answer.text
    many = {"events": {"customer_id": ["a"] * 2001, "time": ["2024-05-01"] * 2001, "text": ["secret"] * 2001}}
    answer = client(model).post("/predict", many)
    assert answer.status_code == 422 and f"at most {contract.MAX_TEXTS} are taken" in answer.text
    raw = json.dumps(one).encode().replace(b'"survey"', b'"survey", "text": "\\ud800 price"')
    assert client(model).post("/predict", content=raw).status_code in (200, 422)
    # a model that reads no texts looks at none
    assert client(tiny_bundle).post("/predict", {**many, "events": {k: v[:1] for k, v in many["events"].items()}}
                                    ).status_code == 200  # fmt: skip


def test_no_word_is_in_a_bundle_and_it_reads_again_what_it_read(model: bundle.Bundle, tmp_path: Path) -> None:
    bundle.save(model, tmp_path / "b")
    again = bundle.load_bundle(tmp_path / "b")
    assert again.definitions == model.definitions and again.definitions.rules.text == SAID
    assert not any(b"lovely" in path.read_bytes() for path in (tmp_path / "b").iterdir())


@pytest.mark.skipif(SAID.engine is None, reason="the extra `text` is not installed")
def test_another_reader_than_in_training_is_refused(
    model: bundle.Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle.save(model, tmp_path / "b")
    monkeypatch.setattr(text, "_installed", lambda: "textblob 9 (lexicon b)")
    with pytest.raises(bundle.BundleError, match=r"here is textblob 9 \(lexicon b\)"):
        bundle.load_bundle(tmp_path / "b")
