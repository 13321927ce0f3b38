"""The page of /metrics: hand-counted numbers under fixed names, however strange the requests."""

from __future__ import annotations

import math
import re

from prometheus_client.parser import text_string_to_metric_families
from tiny import Client

from churn_clv.service.asgi import Receive, Scope, Send
from churn_clv.service.gate import Gate
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
