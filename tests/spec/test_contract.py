"""What the service takes, what it refuses and how it says so, through the gate and the application in this process."""

from __future__ import annotations

import dataclasses
import datetime as dt
import json
import logging
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError
from tiny import RETENTION, TRAINED_THROUGH, Client

from churn_clv.bundle import Bundle
from churn_clv.canonical import LOG_SCHEMA
from churn_clv.models.retention import days_of
from churn_clv.service import contract
from churn_clv.service.app import create_app
from churn_clv.service.bento import gated
from churn_clv.service.contract import EXAMPLE, EXAMPLE_COLUMNS, MAX_CUSTOMERS, MAX_EVENTS, Event, PredictRequest
from churn_clv.service.holder import Holder, Loaded

# Half past three in the morning in London is still the evening before in New York, where the shop is.
NOW = dt.datetime(2024, 6, 10, 3, 30, tzinfo=dt.UTC)
TODAY = dt.date(2024, 6, 9)
NUMBERS = (
    "churn_probability", "percentile_in_reference", "churn_band", "churn_probability_by_days", "loss_probability",
    "expected_spend", "expected_spend_low", "expected_spend_high",
)  # fmt: skip
CANARY = "jane.canary@example.com"


@pytest.fixture
def holder(tiny_bundle: Bundle) -> Holder:
    held = Holder(Path("nowhere"))
    held.loaded = Loaded(tiny_bundle, NOW)
    return held


@pytest.fixture
def client(holder: Holder) -> Client:
    return Client(gated(create_app(holder, lambda: NOW)))


def buys(*days: str, **more: Any) -> list[dict[str, Any]]:
    return [{"time": day, "amount": 20.0, **more} for day in days]


def asked(*customers: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"customers": list(customers), **more}


def one(client: Client, events: list[dict[str, Any]], cutoff: str | None = None) -> dict[str, Any]:
    """The answer for one customer with these events."""
    answer = client.post("/predict", asked({"customer_id": "a", "cutoff": cutoff, "events": events}))
    assert answer.status_code == 200, answer.text
    (prediction,) = answer.json()["predictions"]
    assert isinstance(prediction, dict)
    return prediction


def warned(prediction: dict[str, Any]) -> dict[str, int]:
    return {w["code"]: w["count"] for w in prediction["warnings"]}


def numbers(prediction: dict[str, Any]) -> list[Any]:
    return [prediction[name] for name in NUMBERS]


# --- answers ------------------------------------------------------------------------------------
def test_an_answer_says_everything_the_contract_promises(client: Client, tiny_bundle: Bundle) -> None:
    got = one(client, buys("2024-05-01", "2024-05-20", "2024-06-01"))
    assert list(got) == [
        "customer_id", "cutoff", "horizon_days", "currency", "eligible", "reason", "churn_probability",
        "percentile_in_reference", "churn_band", "churn_probability_by_days", "loss_probability", "reliability",
        "next_order_within_days", "next_order_learnt_days", "active_probability_by_months", "base_rate",
        "expected_orders", "expected_order_value", "expected_spend", "expected_spend_low", "expected_spend_high",
        "clv_by_months", "clv_low_by_months", "clv_high_by_months", "clv_extrapolated_share", "margin_rate",
        "historic_value", "total_value", "targets", "segments", "action", "score_valid_until", "reasons",
        "model_version", "warnings",
    ]  # fmt: skip
    assert got["score_valid_until"] == "2024-06-10" and got["reasons"] is None
    by_days = got["churn_probability_by_days"]
    assert (
        list(by_days.values()) == sorted(by_days.values(), reverse=True) and by_days["28"] == got["churn_probability"]
    )
    assert 0 <= got["loss_probability"] <= got["churn_probability"] and got["reliability"] == "medium"
    assert got["expected_spend_low"] <= got["expected_spend"] <= got["expected_spend_high"]
    assert (got["eligible"], got["reason"], got["warnings"]) == (True, None, [])
    value = got["clv_by_months"]
    assert list(value) == ["3", "6", "12", "24"] and list(value.values()) == sorted(value.values()) and value["3"] > 0
    assert got["total_value"] == got["historic_value"] + value["24"] and 0 < got["clv_extrapolated_share"] < 1
    assert_more_of_value(got)
    assert (got["horizon_days"], got["currency"]) == (28, "USD")
    assert (got["model_version"], got["base_rate"]) == (tiny_bundle.version, tiny_bundle.base_rate)
    assert 0 < got["churn_probability"] < 1 and got["expected_spend"] > 0
    assert got["churn_band"] in ("low", "medium", "high") and 0 <= got["percentile_in_reference"] <= 100


def assert_more_of_value(got: dict[str, Any]) -> None:
    """Orders at least P(active), spend their product; chances rise with days, fall with months; CLV within bounds."""
    active = 1 - got["churn_probability"]
    assert got["expected_orders"] >= active
    assert got["expected_orders"] * got["expected_order_value"] == pytest.approx(got["expected_spend"])
    within = got["next_order_within_days"]
    assert list(within) == ["7", "14", "30", "60", "90"] and list(within.values()) == sorted(within.values())
    parts = got["churn_probability_by_days"]
    assert within["7"] == 1 - parts["7"] and within["14"] == 1 - parts["14"] and within["30"] > active
    assert got["next_order_learnt_days"] == 84  # the tiny bundle has three horizons of silence
    later = got["active_probability_by_months"]
    assert list(later) == ["1", "3", "6", "12"] and list(later.values()) == sorted(later.values(), reverse=True)
    assert 0 < later["12"] < later["1"] <= active
    low, high, value = (got[f"clv{end}_by_months"] for end in ("_low", "_high", ""))
    assert all(low[m] <= value[m] <= high[m] for m in ("3", "6")) and low["3"] <= low["6"] and high["3"] <= high["6"]
    assert [low["12"], high["12"], low["24"], high["24"]] == [None] * 4  # nothing matured so far


def test_the_cutoff_defaults_to_the_latest_midnight_in_the_business_zone(client: Client) -> None:
    assert one(client, buys("2024-06-01"))["cutoff"] == TODAY.isoformat()


def test_a_customers_own_cutoff_wins_over_the_requests(client: Client) -> None:
    body = asked({"customer_id": "own", "cutoff": "2024-06-05", "events": []}, {"customer_id": "other", "events": []},
                 cutoff="2024-06-07")  # fmt: skip
    answers = client.post("/predict", body).json()["predictions"]
    assert [a["cutoff"] for a in answers] == ["2024-06-05", "2024-06-07"]


def test_answers_keep_the_requests_order(client: Client) -> None:
    names = [f"c{(7 * k) % 20}" for k in range(20)]
    body = asked(*({"customer_id": n, "events": buys("2024-06-01") if k % 2 else []} for k, n in enumerate(names)))
    assert [p["customer_id"] for p in client.post("/predict", body).json()["predictions"]] == names


@pytest.mark.parametrize(
    ("reason", "events", "cutoff"),
    [
        ("unknown", [], None),
        ("unknown", buys(TODAY.isoformat()), None),
        ("prospect", [{"time": "2024-06-01", "event_type": "visit"}], None),
        ("lapsed", buys("2024-04-13"), None),
        ("history_too_short", buys("2023-01-20"), "2023-01-25"),
    ],
)
def test_the_ineligible_get_a_reason_and_no_number(
    client: Client, reason: str, events: list[dict[str, Any]], cutoff: str | None
) -> None:
    got = one(client, events, cutoff)
    assert (got["eligible"], got["reason"], numbers(got)) == (False, reason, [None] * len(NUMBERS))
    # The lapsed and prospects of the fixture have a CLV, the mean of their kind; this bundle learnt none of the others.
    assert got["reliability"] == ("fallback" if reason in ("lapsed", "prospect") else None)
    assert (got["clv_by_months"] is None or got["clv_by_months"]["12"] is None) == (got["reliability"] is None)


def test_active_within_days_is_the_edge_of_eligibility(client: Client) -> None:
    assert one(client, buys("2024-04-14"))["eligible"]


# --- events -------------------------------------------------------------------------------------
def test_events_from_the_cutoff_on_are_ignored_and_counted(client: Client) -> None:
    past = buys("2024-05-01", "2024-06-08T23:59:59.999999")
    later = [*buys("2024-06-09T00:00:00", "2024-07-01"), *buys("2024-05-02", known_at="2024-06-09")]
    got = one(client, past + later)
    assert warned(got) == {"events_after_cutoff": 3}
    assert numbers(got) == numbers(one(client, past))


def test_unknown_event_types_are_ignored_counted_and_named(client: Client) -> None:
    past = buys("2024-05-01", "2024-06-01")
    strange = [{"time": "2024-05-03", "event_type": kind} for kind in ("teleport", "dance", "dance")]
    got = one(client, past + strange)
    assert warned(got) == {"unknown_event_type": 3}
    assert "dance, teleport" in got["warnings"][0]["detail"]
    assert numbers(got) == numbers(one(client, past))


def test_repeats_of_an_event_id_count_once_within_a_customer(client: Client) -> None:
    events = buys("2024-05-01", "2024-06-01")
    events[0]["event_id"] = "e1"
    got = one(client, [*events, events[0], events[0]])
    assert warned(got) == {"duplicate_event_id": 2}
    assert numbers(got) == numbers(one(client, events))
    body = asked(*({"customer_id": n, "events": [events[0]]} for n in "ab"))
    assert [warned(p) for p in client.post("/predict", body).json()["predictions"]] == [{}, {}]


def test_equal_events_without_an_id_all_count(client: Client) -> None:
    got = one(client, buys("2024-05-01", "2024-05-01", "2024-06-01"))
    assert got["warnings"] == []


def test_the_order_of_events_does_not_matter(client: Client) -> None:
    events = [*buys("2024-03-01", "2024-05-01", "2024-06-01"), {"time": "2024-05-09", "event_type": "visit"}]
    assert one(client, events) == one(client, events[::-1])


def test_an_offset_is_converted_and_none_means_local(client: Client) -> None:
    local = one(client, buys("2024-06-01T23:30:00"))
    assert one(client, buys("2024-06-02T03:30:00Z")) == local
    assert one(client, buys("2024-06-02T05:30:00+02:00")) == local


def test_events_that_the_logs_policy_leaves_out_are_counted(holder: Holder, tiny_bundle: Bundle) -> None:
    dropping = dataclasses.replace(tiny_bundle.definitions.rules, zero_amount="drop")
    changed = tiny_bundle.definitions.model_copy(update={"rules": dropping})
    holder.loaded = Loaded(dataclasses.replace(tiny_bundle, definitions=changed), NOW)
    client = Client(gated(create_app(holder, lambda: NOW)))
    got = one(client, [*buys("2024-06-01"), {"time": "2024-06-02", "amount": 0.0}])
    assert warned(got) == {"dropped_by_policy": 1}


def test_a_cutoff_before_the_end_of_training_or_long_after_it_is_said(client: Client, holder: Holder) -> None:
    assert warned(one(client, [], "2024-06-01")) == {"in_sample": 2}
    assert warned(one(client, [], TRAINED_THROUGH.isoformat())) == {}
    for days, warnings in ((90, {}), (91, {"stale_model": 91})):
        later = dt.datetime.combine(TRAINED_THROUGH + dt.timedelta(days=days), dt.time(12), dt.UTC)
        assert warned(one(Client(gated(create_app(holder, lambda at=later: at))), [])) == warnings  # type: ignore[misc]


# --- refusals -----------------------------------------------------------------------------------
def refused(client: Client, body: Any = None, content: Any = None, status: int = 422) -> list[dict[str, Any]]:
    answer = client.post("/predict", body, content)
    assert answer.status_code == status, answer.text
    detail = answer.json()["detail"]
    assert isinstance(detail, list) and all(set(d) == {"loc", "msg", "type"} for d in detail)
    assert answer.json()["errors"] >= len(detail) > 0
    return detail


def test_a_future_cutoff_is_refused_but_tomorrow_is_not(client: Client) -> None:
    assert one(client, [], "2024-06-10")["cutoff"] == "2024-06-10"
    (problem,) = refused(client, asked({"customer_id": "a", "cutoff": "2024-06-11", "events": []}))
    assert (problem["loc"], problem["type"]) == (["body", "customers", 0, "cutoff"], "future_cutoff")
    (problem,) = refused(client, asked({"customer_id": "a", "events": []}, cutoff="2030-01-01"))
    assert problem["loc"] == ["body", "cutoff"]


@pytest.mark.parametrize("again", ["a", " a", "a\u3000"])
def test_two_histories_for_one_customer_are_refused(client: Client, again: str) -> None:
    body = asked(*({"customer_id": name, "events": []} for name in ("a", "b", again)))
    (problem,) = refused(client, body)
    assert "customers 0 and 2" in problem["msg"]


def test_unknown_keys_are_refused_with_the_nearest(client: Client) -> None:
    event = {"time": "2024-06-01"}
    for body, hint in [
        (asked({"customer_id": "a", "events": []}, cutof="2024-06-01"), "'cutoff'"),
        (asked({"customer_id": "a", "evnts": [], "events": []}), "'events'"),
        (asked({"customer_id": "a", "events": [event | {"amout": 1}]}), "'amount'"),
    ]:
        (problem,) = refused(client, body)
        assert hint in problem["msg"]


def test_a_million_unknown_keys_make_one_error(client: Client) -> None:
    keys = b",".join(b'"k%d":0' % k for k in range(200_000))
    (problem,) = refused(
        client, content=b'{"customers":[{"customer_id":"a","events":[{"time":"2024-06-01",%s}]}]}' % keys
    )
    assert problem["loc"] == ["body", "customers", 0, "events", 0]


def test_a_million_bad_events_make_one_error_per_customer(client: Client) -> None:
    events = b",".join([b"{}"] * 90_000)
    customers = b",".join(b'{"customer_id":"%d","events":[%s]}' % (k, events) for k in range(3))
    assert len(refused(client, content=b'{"customers":[%s]}' % customers)) == 3


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("time", 20240601), ("time", None), ("time", "x" * 65), ("amount", "12.5"), ("amount", True), ("amount", 1e14),
        ("amount", [1]), ("quantity", {}), ("event_type", ""), ("event_type", None), ("event_type", "x" * 101),
        ("order_id", 7), ("product_id", "x" * 201), ("known_at", 5), ("event_id", False),
    ],
)  # fmt: skip
def test_wrong_types_and_ranges_are_refused_where_they_stand(client: Client, field: str, value: Any) -> None:
    bad = {"time": "2024-06-01"} | {field: value}
    (problem,) = refused(client, asked({"customer_id": "a", "events": [{"time": "2024-06-01"}, bad]}))
    assert problem["loc"] == ["body", "customers", 0, "events", 1, field]


@pytest.mark.parametrize("field", ["time", "known_at"])
@pytest.mark.parametrize("value", ["yesterday", "2024-02-30", "2024-06-01T25:00:00", "06/01/2024", "1717200000"])
def test_times_that_cannot_be_read_are_refused_where_they_stand(client: Client, field: str, value: str) -> None:
    good = {"time": "2024-06-01"}
    body = asked(
        {"customer_id": "a", "events": []},
        {"customer_id": "b", "events": [good]},
        {"customer_id": "c", "events": [good, good, good | {field: value}]},
    )
    (problem,) = refused(client, body)
    assert problem["loc"] == ["body", "customers", 2, "events", 2, field]
    assert "ISO 8601" in problem["msg"]


def test_money_beyond_what_the_log_holds_is_refused_where_it_stands(client: Client) -> None:
    (problem,) = refused(client, asked({"customer_id": "a", "events": buys("2024-06-01", amount=5e12)}))
    assert problem["loc"] == ["body", "customers", 0, "events", 0, "amount"]


@pytest.mark.parametrize("value", ["tomorrow", "2024-02-30", 1717200000, "2024-06-01T10:00:00"])
def test_a_cutoff_is_a_date(client: Client, value: Any) -> None:
    (problem,) = refused(client, asked({"customer_id": "a", "cutoff": value, "events": []}))
    assert problem["loc"] == ["body", "customers", 0, "cutoff"]


@pytest.mark.parametrize("name", ["", "   ", "x" * 201, 17, None])
def test_a_customer_id_is_text_of_1_to_200_characters(client: Client, name: Any) -> None:
    (problem,) = refused(client, asked({"customer_id": name, "events": []}))
    assert problem["loc"] == ["body", "customers", 0, "customer_id"]


def test_limits_of_a_request(client: Client) -> None:
    nobody = [{"customer_id": str(k), "events": []} for k in range(MAX_CUSTOMERS + 1)]
    assert client.post("/predict", asked(*nobody[:-1])).status_code == 200
    assert refused(client, asked(*nobody))[0]["type"] == "too_long"
    assert refused(client, asked())[0]["type"] == "too_short"
    event = '{"time":"2024-06-01"}'
    half = ",".join([event] * (MAX_EVENTS // 2))
    text = f'{{"customers":[{{"customer_id":"a","events":[{half}]}},{{"customer_id":"b","events":[{half},{event}]}}]}}'
    (problem,) = refused(client, content=text.encode())
    assert problem["type"] == "too_many_events"


HOSTILE = {
    "nothing": b"",
    "no JSON": b"customers",
    "cut short": json.dumps(EXAMPLE).encode()[:-3],
    "a list": b"[]",
    "null": b"null",
    "a number": b"7",
    "deep lists": b"[" * 200_000,
    "deep objects": b'{"customers":' * 100_000,
    "deep value": b'{"customers":[{"customer_id":"a","events":[{"time":' + b"[" * 5000 + b"]" * 5000 + b"}]}]}",
    "6000 digits": b'{"customers":[{"customer_id":"a","events":[{"time":"2024-06-01","amount":'
    + b"9" * 6000
    + b"}]}]}",
    "6000 digits as an id": b'{"customers":[{"customer_id":' + b"9" * 6000 + b',"events":[]}]}',
    "NaN": b'{"customers":[{"customer_id":"a","events":[{"time":"2024-06-01","amount":NaN}]}]}',
    "Infinity": b'{"customers":[{"customer_id":"a","events":[{"time":"2024-06-01","amount":-Infinity}]}]}',
    "1e999": b'{"customers":[{"customer_id":"a","events":[{"time":"2024-06-01","amount":1e999}]}]}',
    "a lone surrogate": b'{"customers":[{"customer_id":"\\ud800","events":[]}]}',
    "a lone surrogate as key": b'{"customers":[{"customer_id":"a","events":[],"\\udfff":1}]}',
    "no UTF-8": b'{"customers":[{"customer_id":"\xff","events":[]}]}',
    "UTF-16": json.dumps(EXAMPLE).encode("utf-16"),
    "a byte order mark": b"\xef\xbb\xbf" + json.dumps(EXAMPLE).encode(),
    "two documents": json.dumps(EXAMPLE).encode() * 2,
    "a pickle": b"\x80\x04\x95\x00.",
}


@pytest.mark.parametrize("content", HOSTILE.values(), ids=HOSTILE.keys())
def test_hostile_bodies_are_the_clients_mistake(client: Client, content: bytes) -> None:
    refused(client, content=content)


@pytest.mark.parametrize("strange", ["\x00", "\u202e", "\U0001f600", "'; drop table", "nan", "null"])
def test_strange_ids_are_only_text(client: Client, strange: str) -> None:
    body = asked({"customer_id": strange, "events": buys("2024-06-01", order_id=strange, product_id=strange)})
    (prediction,) = client.post("/predict", body).json()["predictions"]
    assert prediction["customer_id"] == strange and prediction["eligible"]


@pytest.mark.parametrize("cutoff", ["0001-01-01", "1899-12-31", "1970-01-01"])
def test_a_cutoff_long_ago_is_answered(client: Client, cutoff: str) -> None:
    assert one(client, buys("2024-06-01"), cutoff)["reason"] == "unknown"


def leaky_bodies() -> list[bytes]:
    event = {"time": "2024-06-01"}
    bad_events = [{name: [CANARY]} for name in Event.model_fields] + [{"time": CANARY}, event | {"known_at": CANARY}]
    bodies: list[Any] = [asked({"customer_id": "a", "events": [event | bad]}) for bad in bad_events]
    bodies += [CANARY, [CANARY], {CANARY: CANARY, "customers": []}, asked({"customer_id": [CANARY], "events": []})]
    bodies += [
        asked({"customer_id": "a", "cutoff": CANARY, "events": []}),
        asked({"customer_id": CANARY * 20, "events": []}),
    ]
    bodies += [asked({"customer_id": CANARY, "events": []}, {"customer_id": CANARY, "events": []})]
    bodies += [asked({"customer_id": CANARY, "cutoff": "2030-01-01", "events": []})]
    texts = [json.dumps(body).encode() for body in bodies]
    return [*texts, b'{"customers": "' + CANARY.encode(), CANARY.encode()]


@pytest.mark.parametrize("content", leaky_bodies())
def test_refused_values_are_repeated_neither_in_the_answer_nor_in_the_log(
    client: Client, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str], content: bytes
) -> None:
    caplog.set_level(logging.DEBUG)
    detail = refused(client, content=content)
    assert CANARY not in json.dumps(detail)
    assert CANARY not in caplog.text + "".join(capfd.readouterr())


def test_an_error_of_ours_is_a_500_that_tells_the_place_and_no_value(
    client: Client, tiny_bundle: Bundle, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: Any) -> None:
        raise ValueError(f"cannot cast {CANARY}")

    monkeypatch.setattr(Bundle, "predict", broken)
    answer = client.post("/predict", EXAMPLE)
    assert (answer.status_code, list(answer.json())) == (500, ["detail"])
    assert "ValueError at " in caplog.text and "in broken" in caplog.text
    assert CANARY not in caplog.text + answer.text


# --- without a model, and about it --------------------------------------------------------------
def test_without_a_model_predict_is_503_and_model_says_so() -> None:
    client = Client(gated(create_app(Holder(Path("nowhere")))))
    answer = client.post("/predict", EXAMPLE)
    assert answer.status_code == 503 and "GET /model" in answer.json()["detail"]
    assert int(answer.headers["retry-after"]) > 0
    assert client.get("/model").json() == {"ready": False, "model": None, "last_refused": None}


def test_model_tells_what_is_loaded(client: Client, tiny_bundle: Bundle) -> None:
    told = client.get("/model").json()
    model = told["model"]
    assert told["ready"] and told["last_refused"] is None
    assert model["version"] == tiny_bundle.version and model["dataset"] == "tiny"
    assert (model["horizon_days"], model["currency"], model["trained_through"]) == (28, "USD", "2024-06-03")
    assert model["features"] == list(tiny_bundle.features)
    low, medium, high = model["bands"]
    assert (low["name"], low["at_least"], high["below"]) == ("low", 0.0, None)
    assert low["below"] == medium["at_least"] == tiny_bundle.base_rate
    assert model["metrics"]["churn_auroc"] == 0.9
    assert model["definitions"]["rules"]["timezone"] == "America/New_York"
    assert "lightgbm" in model["libraries"] and model["loaded_at"].startswith("2024-06-10T03:30:00")


def test_predict_takes_posts_only(client: Client) -> None:
    assert client.get("/predict").status_code == 405


# --- the contract itself ------------------------------------------------------------------------
def test_an_event_has_the_logs_columns() -> None:
    """And words of feedback, which become two of them."""
    assert {"customer_id", *Event.model_fields} == {*LOG_SCHEMA, "text"}


def test_the_example_is_a_valid_request(client: Client) -> None:
    PredictRequest.model_validate_json(json.dumps(EXAMPLE))
    assert client.post("/predict", EXAMPLE).status_code == 200


def test_errors_hide_the_input() -> None:
    with pytest.raises(ValidationError) as caught:
        PredictRequest.model_validate_json(json.dumps(asked({"customer_id": "a", "events": [{"time": [CANARY]}]})))
    assert CANARY not in str(caught.value)


def test_openapi_is_the_whole_contract(client: Client) -> None:
    document = client.get("/openapi.json").json()
    schemas = document["components"]["schemas"]
    references = {part.split('"')[0] for part in json.dumps(document).split("#/components/schemas/")[1:]}
    assert references <= set(schemas)
    post = document["paths"]["/predict"]["post"]
    assert {"200", "413", "415", "422", "503"} <= set(post["responses"])
    assert post["requestBody"]["content"]["application/json"]["schema"]["$ref"].endswith("/PredictRequest")
    assert [schemas[name]["additionalProperties"] for name in ("PredictRequest", "Customer", "Event")] == [False] * 3
    assert schemas["PredictRequest"]["examples"] == [EXAMPLE, EXAMPLE_COLUMNS]
    assert schemas["PredictRequest"]["properties"]["customers"]["maxItems"] == contract.MAX_CUSTOMERS
    assert "$defs" not in json.dumps(document)
    assert client.get("/openapi.json").json() == document


def test_own_targets_are_answered_for_their_own_populations(client: Client, tiny_bundle: Bundle) -> None:
    """Of everyone known, of the eligible, of those with one order, a visit and no survey, of open contracts.

    A visit opens a contract for 91 days; the survey of the day after closes it.
    """
    visit, survey = ({"time": f"2024-05-2{k}", "event_type": kind} for k, kind in enumerate(("visit", "survey")))
    base = tiny_bundle.reference.targets["back"].base

    def asked(*customers: list[dict[str, Any]]) -> list[list[bool]]:
        found = [one(client, events)["targets"] for events in customers]
        assert all(list(f) == ["back", "visits", "tea", "ended"] for f in found)
        return [[f[n]["eligible"] for n in f] for f in found]

    once, lapsed = buys("2024-05-20"), buys("2023-01-20")
    assert asked(once, [*once, visit], [*once, visit, survey], [*lapsed, visit], [visit], []) == [
        [True, True, False, False], [True, True, True, True], [True, True, False, False], [True, False, True, True],
        [True, False, False, True], [False, False, False, False],
    ]  # fmt: skip
    found = one(client, [*once, visit])["targets"]
    event, count, money = found["back"], found["visits"], found["tea"]
    assert 0 < event["probability"] < 1 and event["expected"] is None and event["base"] == base
    assert (event["horizon_days"], count["horizon_days"]) == (14, 28)
    assert event["band"] == ("low" if event["probability"] < base else
                             "medium" if event["probability"] < 2 * base / (1 + base) else "high")  # fmt: skip
    for one_ in (count, money):
        assert one_["expected"] > 0 and one_["probability"] is None and one_["band"] is None
        assert 0 <= one_["percentile_in_reference"] <= 100
    nobody = one(client, [])["targets"]["back"]
    assert nobody["probability"] is nobody["percentile_in_reference"] is nobody["band"] is None


def test_value_by_hand(client: Client) -> None:
    """Margin x expected spend x the stratum's coefficient, also of the lapsed; historic value: margin x net money."""
    margin, discount, today = 0.3, 0.1, TODAY
    three = one(client, buys("2024-05-01", "2024-05-20", "2024-06-01"))
    for got, stratum, first in (
        (three, "2-3", three["expected_spend"]),
        (one(client, buys("2024-04-13")), "lapsed", 3.0),
    ):
        for months in (3, 6, 12, 24):
            times, beyond = RETENTION.coefficient(stratum, days_of(months, today), discount)
            assert got["clv_by_months"][str(months)] == pytest.approx(margin * first * times, rel=1e-12)
        assert got["clv_extrapolated_share"] == pytest.approx(beyond / times)
        assert got["total_value"] == pytest.approx(got["historic_value"] + got["clv_by_months"]["24"])
    assert three["historic_value"] == pytest.approx(margin * 60.0)
    assert one(client, buys("2023-01-20"), "2023-01-25")["clv_by_months"] is None


ROWS, BY_COLUMNS = EXAMPLE["customers"], EXAMPLE_COLUMNS["events"]


@pytest.mark.parametrize(
    ("body", "fits"),
    [
        ({"customers": ROWS}, True),
        ({"events": BY_COLUMNS}, True),
        ({"customers": ROWS, "events": None}, True),  # null is as good as not there
        ({"customers": ROWS, "events": BY_COLUMNS}, False),
        ({"events": None}, False),
        ({}, False),
    ],
)
def test_rows_or_columns_are_asked_for_by_the_schema_as_by_the_service(body: dict[str, Any], fits: bool) -> None:
    jsonschema = pytest.importorskip("jsonschema")
    assert jsonschema.Draft202012Validator(PredictRequest.model_json_schema()).is_valid(body) == fits
    try:
        PredictRequest.model_validate_json(json.dumps(body))
        taken = True
    except ValidationError:
        taken = False
    assert taken == fits
