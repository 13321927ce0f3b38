"""The page of /metrics: hand-counted numbers under fixed names, however strange the requests."""

from __future__ import annotations

import datetime as dt
import math
import re
from pathlib import Path

import polars as pl
from prometheus_client.parser import text_string_to_metric_families
from tiny import Client

from churn_clv import bundle
from churn_clv.service import call as calls
from churn_clv.service.app import create_app
from churn_clv.service.asgi import Receive, Scope, Send
from churn_clv.service.contract import EXAMPLE
from churn_clv.service.deadline import Deadline
from churn_clv.service.gate import Gate
from churn_clv.service.guards import Guards
from churn_clv.service.holder import Holder, Loaded
from churn_clv.service.measures import Histogram, Measures

STATE = {"version": "f" * 64, "dataset": "shop", "horizon_days": 28, "loaded_seconds": 5.0, "unseen_seconds": 1.0,
         "refusals": 2, "behind": True}  # fmt: skip


class Held:
    """A holder as the metrics know it."""

    def state(self) -> dict[str, object]:
        return STATE


def values(measures: Measures) -> dict[str, float]:
    """Sample -> value, in the text format's own words."""
    found = {}
    for family in text_string_to_metric_families(measures.page().decode()):
        for sample in family.samples:
            labels = ",".join(f"{k}={v}" for k, v in sorted(sample.labels.items()))
            found[f"{sample.name}{{{labels}}}" if labels else sample.name] = sample.value
    return found


def test_the_distribution_of_answers_by_hand() -> None:
    measures = Measures()
    measures.answered([0.05, 0.051, 0.5, None, 1.0], [0.0, 12.5, 2e6, None, 30.0], [None, None, None, "lapsed", None])
    measures.features({"spend_last_91d": 3, "tenure_days": 0}, 4)
    measures.features({"spend_last_91d": 1}, 2)
    found = values(measures)
    bucket = {edge: found[f"churn_clv_churn_probability_bucket{{le={edge}}}"] for edge in ("0.05", "0.1", "0.5", "1.0")}
    assert bucket == {"0.05": 1, "0.1": 2, "0.5": 3, "1.0": 4}
    assert found["churn_clv_churn_probability_count"] == 4
    assert math.isclose(found["churn_clv_churn_probability_sum"], 1.601)
    money = {
        edge: found[f"churn_clv_expected_spend_bucket{{le={edge}}}"] for edge in ("0.0", "30.0", "1000000.0", "+Inf")
    }
    assert money == {"0.0": 1, "30.0": 3, "1000000.0": 3, "+Inf": 4}
    assert found["churn_clv_customers_total{outcome=eligible}"] == 4
    assert found["churn_clv_customers_total{outcome=lapsed}"] == 1
    assert found["churn_clv_feature_rows_total"] == 6
    assert found["churn_clv_feature_nulls_total{feature=spend_last_91d}"] == 4
    assert found["churn_clv_feature_nulls_total{feature=tenure_days}"] == 0


def test_the_bundle_and_what_was_refused() -> None:
    found = values(Measures(Held()))
    assert found[f"churn_clv_model{{dataset=shop,horizon_days=28,version={'f' * 64}}}"] == 1
    assert (found["churn_clv_bundle_behind"], found["churn_clv_bundles_refused_total"]) == (1, 2)
    assert (found["churn_clv_bundle_loaded_seconds"], found["churn_clv_current_unseen_seconds"]) == (5, 1)
    assert found["process_resident_memory_bytes"] > 1e6


def test_a_value_at_an_edge_belongs_to_it_and_nan_to_none() -> None:
    bins = Histogram((1.0, 2.0))
    for value in (1.0, 1.5, 2.0, 2.1, float("nan")):
        bins.add(value)
    assert bins.buckets() == [("1.0", 1.0), ("2.0", 3.0), ("+Inf", 4.0)]


def test_ten_thousand_paths_and_methods_leave_the_page_as_short_as_one() -> None:
    """L10: only our own paths, our own statuses and a fixed few reasons become labels."""

    async def inner(scope: Scope, receive: Receive, send: Send) -> None:
        raise AssertionError("nothing passes")

    measures = Measures()
    gate = Gate(inner, frozenset({"/predict"}), frozenset({"/predict"}), 10, measures=measures)
    client = Client(gate)
    client.get("/one")
    short = measures.page()

    async def flood() -> None:
        async def receive() -> dict[str, object]:
            return {"type": "http.request", "body": b"", "more_body": False}

        async def send(message: object) -> None:
            pass

        for k in range(10_000):
            scope = {"type": "http", "path": f"/{k}/jane", "method": f"M{k}", "headers": [], "client": (f"h{k}", 1)}
            await gate(scope, receive, send)

    import asyncio

    asyncio.run(flood())
    page = measures.page()
    assert len(page.splitlines()) == len(short.splitlines()) and len(page) < len(short) + 500
    assert 'churn_clv_requests_total{route="other",status="404"} 10001.0' in page.decode()
    assert not re.search(r"jane|M9", page.decode())


def test_features_told_one_by_one_have_a_bound() -> None:
    measures = Measures()
    for k in range(3_000):
        measures.features({f"f{k}": 1}, 1)
    assert len(re.findall("churn_clv_feature_nulls_total{", measures.page().decode())) == 1_000


# --- the application tells them -------------------------------------------------------------------
def loaded(tiny_bundle: bundle.Bundle) -> Holder:
    held = Holder(Path("nowhere"))
    held.loaded = Loaded(tiny_bundle, dt.datetime.now(dt.UTC))
    return held


def test_an_answer_is_told_with_the_nulls_of_its_own_matrix(tiny_bundle: bundle.Bundle) -> None:
    measures = Measures()
    client = Client(create_app(loaded(tiny_bundle), measures=measures))
    unknown = {"customer_id": "nobody", "events": []}
    answer = client.post("/predict", {"customers": [*EXAMPLE["customers"], unknown]})
    one, other = answer.json()["predictions"]
    assert (one["eligible"], other["reason"]) == (True, "unknown")
    found = values(measures)
    assert (
        found["churn_clv_customers_total{outcome=eligible}"] == found["churn_clv_customers_total{outcome=unknown}"] == 1
    )
    assert found["churn_clv_churn_probability_sum"] == one["churn_probability"]
    assert found["churn_clv_expected_spend_sum"] == one["expected_spend"]
    plain = [{"event_type": "purchase", "customer_id": "c"} | event for event in EXAMPLE["customers"][0]["events"]]
    frame = tiny_bundle._log(pl.DataFrame(plain, infer_schema_length=None))
    rows = tiny_bundle.rows_of(frame, pl.DataFrame({"customer_id": ["c"], "cutoff": [dt.date(2024, 6, 1)]}))
    nulls = {name: rows[name].null_count() for name in tiny_bundle.features}
    assert found["churn_clv_feature_rows_total"] == 1 and 0 < sum(nulls.values()) < len(nulls)
    assert {name: found.get(f"churn_clv_feature_nulls_total{{feature={name}}}", 0) for name in nulls} == nulls


def test_an_answer_past_its_deadline_is_504_and_not_told(tiny_bundle: bundle.Bundle) -> None:
    """The deadline passes while the request waits; nothing is worked out for it."""
    measures = Measures()
    app = create_app(loaded(tiny_bundle), measures=measures)

    async def late(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] == "/predict":
            calls.of(scope).deadline = Deadline(0.0)
        await app(scope, receive, send)

    gate = Gate(late, frozenset({"/predict"}), frozenset({"/predict"}), 10_000, Guards(), measures)
    answer = Client(gate).post("/predict", EXAMPLE)
    assert answer.status_code == 504 and "took too long" in answer.json()["detail"]
    found = values(measures)
    assert found["churn_clv_feature_rows_total"] == 0 == found["churn_clv_churn_probability_count"]
    assert found["churn_clv_requests_total{route=/predict,status=504}"] == 1
