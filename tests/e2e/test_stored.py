"""POST /predict/stored: answers by id from the table of scores, never an error for an id, never a number made up."""

from __future__ import annotations

import dataclasses
import datetime as dt
import json
import shutil
import threading
from pathlib import Path
from typing import Any

import pytest
import shop
import tiny
from tiny import Client

from churn_clv import config, forgetting, pseudonym
from churn_clv.bundle import Bundle
from churn_clv.cli._score import stored_environment
from churn_clv.service import stored
from churn_clv.service.app import create_app
from churn_clv.service.bento import gated
from churn_clv.service.holder import Holder, Loaded
from churn_clv.service.replies import PredictResponse

NOW = dt.datetime(2024, 6, 4, 12, tzinfo=dt.UTC)
SQL = "x'; DROP TABLE churn_clv_scores; --"


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (stored.TABLE, stored.MODEL, stored.KEY_FILE, pseudonym.VARIABLE):
        monkeypatch.delenv(name, raising=False)


class Clock:
    """The server's clock, which a test may set."""

    now = NOW

    def __call__(self) -> dt.datetime:
        return self.now


def client_of(
    own: config.Config, model: Bundle | None, monkeypatch: pytest.MonkeyPatch, clock: Clock | None = None
) -> Client:
    """The service as `churn-clv serve` starts it."""
    for name, value in stored_environment(own).items():
        monkeypatch.setenv(name, value)
    held = Holder(Path("nowhere"))
    held.loaded = Loaded(model, NOW) if model else None
    return Client(gated(create_app(held, clock or Clock())))


def ask(client: Client, *ids: str) -> list[dict[str, Any]]:
    answer = client.post("/predict/stored", {"customer_ids": list(ids)})
    assert answer.status_code == 200, answer.text
    PredictResponse.model_validate_json(answer.content)
    found: list[dict[str, Any]] = json.loads(answer.content)["predictions"]
    return found


def test_answers_in_the_order_asked(tiny_bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = shop.settings(tmp_path)
    client = client_of(own, tiny_bundle, monkeypatch)
    early = client.post("/predict/stored", {"customer_ids": ["c001"]})
    assert early.status_code == 503 and "churn-clv score" in early.text and int(early.headers["retry-after"]) > 0
    scores = {row["customer_id"]: row for row in shop.scores(shop.score(own, tiny_bundle)).iter_rows(named=True)}
    asked = ["c005", "nobody", "c001", "c005", SQL, "é" * 200, "c079", " c002 "]
    found = ask(client, *asked)
    assert [row["customer_id"] for row in found] == [name.strip() for name in asked]
    for row in found:
        there = scores.get(row["customer_id"])
        assert row["warnings"] == [] and row["cutoff"] == tiny.TRAINED_THROUGH.isoformat()
        if there is None:
            assert (row["eligible"], row["reason"], row["churn_probability"]) == (False, "unknown", None)
            assert row["clv_by_months"] is None and row["expected_spend"] is None
        else:
            assert [row[k] for k in ("eligible", "reason", "churn_probability", "churn_band", "expected_spend")] == [
                there[k] for k in ("eligible", "reason", "churn_probability", "churn_band", "expected_spend")
            ]
    many = sorted(scores) * 12
    assert [row["customer_id"] for row in ask(client, *many)] == many  # in a thread of its own


@pytest.mark.parametrize(
    ("body", "why"),
    [
        ({"customer_ids": []}, "too_short"),
        ({"customer_ids": ["a"] * 1001}, "too_long"),
        ({"customer_ids": ["a" * 201]}, "string_too_long"),
        ({"customer_ids": [1]}, "string_type"),
        ({"customer_ids": ["a"], "explain": 3}, "extra_forbidden"),
        ({}, "missing"),
    ],
)
def test_requests_that_are_refused(
    tiny_bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, body: Any, why: str
) -> None:
    answer = client_of(shop.settings(tmp_path), tiny_bundle, monkeypatch).post("/predict/stored", body)
    assert answer.status_code == 422 and answer.json()["detail"][0]["type"] == why
    assert "a" * 201 not in answer.text


def test_it_is_in_the_contract(tiny_bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    document = client_of(shop.settings(tmp_path), tiny_bundle, monkeypatch).get("/openapi.json").json()
    post = document["paths"]["/predict/stored"]["post"]
    schema = post["requestBody"]["content"]["application/json"]["schema"]
    assert schema["properties"]["customer_ids"]["maxItems"] == 1000 and schema["additionalProperties"] is False
    assert {"200", "422", "503"} <= set(post["responses"])


def test_a_new_scoring_is_picked_up(tiny_bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = shop.settings(tmp_path)
    client = client_of(own, tiny_bundle, monkeypatch)
    earlier = tiny.TRAINED_THROUGH - dt.timedelta(days=28)
    shop.score(own, tiny_bundle, cutoff=earlier)
    [row] = ask(client, "c001")
    assert row["cutoff"] == earlier.isoformat()
    assert [w["code"] for w in row["warnings"]] == ["in_sample"] and row["warnings"][0]["count"] == 28
    shop.score(own, tiny_bundle)
    [row] = ask(client, "c001")
    assert row["cutoff"] == tiny.TRAINED_THROUGH.isoformat() and row["warnings"] == []


def test_old_scores_and_those_of_another_model_say_so(
    tiny_bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = shop.settings(tmp_path, service={"stale_after_days": 5})
    clock = Clock()
    shop.score(own, tiny_bundle)
    newer = dataclasses.replace(tiny_bundle, version="0" * 64)
    client = client_of(own, newer, monkeypatch, clock)
    known, unknown = ask(client, "c001", "nobody")
    assert [w["code"] for w in known["warnings"]] == ["other_model"] == [w["code"] for w in unknown["warnings"]]
    clock.now = NOW + dt.timedelta(days=5)
    [row] = ask(client, "c001")
    assert {w["code"]: w["count"] for w in row["warnings"]} == {"stale_scoring": 6, "other_model": 1}


def test_an_erased_id_is_told_from_an_unknown_one_by_who_has_the_key(
    tiny_bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = shop.settings(tmp_path)
    shop.score(own, tiny_bundle)
    client = client_of(own, tiny_bundle, monkeypatch)
    assert ask(client, "c003")[0]["reason"] != "erased"
    forgetting.forget(own, ["c003", "ghost"], shop.quiet)
    gone, ghost, there, never = ask(client, "c003", "ghost", "c001", "never")
    assert (gone["eligible"], gone["reason"], gone["churn_probability"]) == (False, "erased", None)
    assert (ghost["reason"], never["reason"]) == ("erased", "unknown") and there["reason"] not in ("erased", "unknown")
    shop.score(own, tiny_bundle, again=True)  # the list goes with every scoring
    assert [row["reason"] for row in ask(client, "c003", "never")] == ["erased", "unknown"]
    keyless = client_of(own, tiny_bundle, monkeypatch)
    monkeypatch.setenv(stored.KEY_FILE, str(tmp_path / "none"))
    keyless = Client(gated(create_app(held(tiny_bundle), Clock())))
    assert [row["reason"] for row in ask(keyless, "c003", "never")] == ["unknown", "unknown"]


def held(model: Bundle) -> Holder:
    found = Holder(Path("nowhere"))
    found.loaded = Loaded(model, NOW)
    return found


def test_a_broken_table_is_a_503_that_names_nobody(
    tiny_bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = shop.settings(tmp_path)
    table = Path(stored_environment(own)[stored.TABLE])
    table.parent.mkdir(parents=True)
    table.write_bytes(b"not a database" * 500)
    client = client_of(own, tiny_bundle, monkeypatch)
    broken = client.post("/predict/stored", {"customer_ids": ["jane@example.com"]})
    assert broken.status_code == 503 and "jane" not in broken.text and "retry-after" in broken.headers
    table.unlink()
    shop.score(own, tiny_bundle)
    assert ask(client, "c001")[0]["customer_id"] == "c001"  # and mends itself


def test_a_table_on_a_read_only_disk(tiny_bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No journal, no lock, nothing beside the file: also where the folder cannot be written."""
    own = shop.settings(tmp_path)
    told = shop.score(own, tiny_bundle)
    place = tmp_path / "mounted"
    place.mkdir()
    shutil.copy(told["table"]["url"], place / "scores.db")
    (place / "scores.db").chmod(0o444)
    place.chmod(0o555)
    read = own.model_copy(update={"service": own.service.model_copy(update={"scores": f"sqlite:///{place}/scores.db"})})
    assert ask(client_of(read, tiny_bundle, monkeypatch), "c001")[0]["customer_id"] == "c001"
    assert [path.name for path in place.iterdir()] == ["scores.db"]
    place.chmod(0o755)


def test_readers_see_one_scoring_or_the_other_never_a_mix(
    tiny_bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two scorings take turns while requests go on; every answer's rows are all of one cutoff."""
    own = shop.settings(tmp_path)
    cutoffs = (tiny.TRAINED_THROUGH, tiny.TRAINED_THROUGH - dt.timedelta(days=28))
    for cutoff in cutoffs:
        shop.score(own, tiny_bundle, cutoff=cutoff, table=True)
    client = client_of(own, tiny_bundle, monkeypatch)
    stop, wrong, seen = threading.Event(), [], set()

    def watch() -> None:
        while not stop.is_set():
            found = ask(client, *(f"c{i:03d}" for i in range(80)), "nobody")
            seen.add(found[0]["cutoff"])
            if len({row["cutoff"] for row in found}) != 1:
                wrong.append(found)

    thread = threading.Thread(target=watch)
    thread.start()
    for turn in range(3):
        shop.score(own, tiny_bundle, cutoff=cutoffs[turn % 2], table=True)
    stop.set()
    thread.join(30)
    assert not wrong and seen == {cutoff.isoformat() for cutoff in cutoffs}, seen


def test_an_application_without_a_table_or_a_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    client = Client(gated(create_app(Holder(tmp_path), Clock())))
    assert client.post("/predict/stored", {"customer_ids": ["a"]}).status_code == 503


def test_the_bundle_says_where_the_table_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tiny_bundle: Bundle
) -> None:
    """Started without settings the service looks beside the bundle's own scores, as it does for its bundles."""
    own = shop.settings(tmp_path)
    named = tiny_bundle.config.model_copy(update={"out": own.out, "timeline": own.timeline})
    model = dataclasses.replace(tiny_bundle, config=named)
    shop.score(own, tiny_bundle)
    assert ask(Client(gated(create_app(held(model), Clock()))), "c001")[0]["customer_id"] == "c001"
