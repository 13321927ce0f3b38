"""On the real logs: the service's answer to a customer's raw events is the batch's, to the bit; features too.

The batch reads the whole log, the service JSON of some hundred customers at a time; a small model of each log serves.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from tiny import Client

from churn_clv import bundle, config, datasets, explain, timeline, training
from churn_clv.bundle import Bundle
from churn_clv.events import Log, read_log
from churn_clv.service.app import create_app
from churn_clv.service.bento import gated
from churn_clv.service.contract import MAX_EXPLAINED
from churn_clv.service.holder import Holder, Loaded

pytestmark = pytest.mark.check
ROOT = Path(__file__).parents[2]
RETAIL = Path(os.environ.get(datasets.ONLINE_RETAIL_FOLDER) or ROOT.parent / "shared" / "data" / "online_retail")
needs_retail = pytest.mark.skipif(
    not (RETAIL / "transactions.parquet").is_file(),
    reason=f"Online Retail is absent; set {datasets.ONLINE_RETAIL_FOLDER} to its folder",
)
EVENTS = 40_000  # of a request, far below what it may hold
LEARN, ASK = 1_000, 600  # customers
ASK_EVENTS = 80_000  # of all requests at a cutoff: Complete Journey has 600 lines a household
SAME = ("eligible", "reason", "churn_probability", "percentile_in_reference", "churn_band", "loss_probability",
        "reliability", "expected_orders", "expected_order_value", "expected_spend", "expected_spend_low",
        "expected_spend_high", "clv_extrapolated_share", "margin_rate", "historic_value", "total_value")  # fmt: skip
QUICK = {"churn": {"max_rounds": 15}, "spend": {"max_rounds": 15}, "targets": {"max_rounds": 15}}


def some(log: Log, count: int) -> list[str]:
    """Customers spread evenly over the ids."""
    names = log.frame["customer_id"].unique().sort()
    return names.gather_every(max(1, len(names) // count)).to_list()


def small_model(name: str, log: Log, folder: Path) -> Bundle:
    """Trained on some of the customers with few trees, and read back from disk."""
    plain = config.load(ROOT / "configs" / f"{name}.yaml")
    settings = plain.model_copy(
        update={
            "targets": {n: t for n, t in plain.targets.items() if n in ("churned", "spend")},
            "timeline": plain.timeline.model_copy(update={"validation_origins": 1, "max_train_cutoffs": 3}),
            "models": plain.models.model_copy(
                update={n: getattr(plain.models, n).model_copy(update=few) for n, few in QUICK.items()}
            ),
        }
    )
    part = log.frame.filter(pl.col("customer_id").is_in(some(log, LEARN)))
    bundle.save(training.train(dataclasses.replace(log, frame=part), settings).bundle, folder)
    return bundle.load_bundle(folder)


def requests(log: Log, names: list[str], cutoff: dt.date) -> Iterator[dict[str, Any]]:
    """Bodies with the whole history of each customer, as an application would send it."""
    scale = 10**log.rules.minor_units
    plain = log.frame.filter(pl.col("customer_id").is_in(names)).with_columns(
        pl.col("amount", "discount") / scale,
        pl.col("quantity", "value") / 1000,
        pl.col("time", "known_at").dt.to_string("iso:strict"),
    )
    customers: list[dict[str, Any]] = []
    sent = 0
    for (name,), own in plain.group_by("customer_id", maintain_order=True):
        events = [{k: v for k, v in row.items() if v is not None} for row in own.drop("customer_id").to_dicts()]
        if customers and (sent + len(events) > EVENTS or len(customers) == MAX_EXPLAINED):
            yield {"cutoff": cutoff.isoformat(), "customers": customers, "explain": 3}
            customers, sent = [], 0
        customers.append({"customer_id": name, "events": events})
        sent += len(events)
    yield {"cutoff": cutoff.isoformat(), "customers": customers, "explain": 3}


@pytest.mark.parametrize("name", ["completejourney", "cdnow", pytest.param("online_retail", marks=needs_retail)])
def test_service_equals_batch_on_a_real_log(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(datasets.ONLINE_RETAIL_FOLDER, str(RETAIL))
    log = read_log(config.load(ROOT / "configs" / f"{name}.yaml"))
    own = small_model(name, log, tmp_path / "bundle")
    held = Holder(Path("nowhere"))
    held.loaded = Loaded(own, dt.datetime.now(dt.UTC))
    client = Client(gated(create_app(held)))
    names = some(log, min(ASK, ASK_EVENTS * log.frame["customer_id"].n_unique() // log.frame.height))
    for cutoff in (log.ends, log.ends - dt.timedelta(days=45)):
        there = own.rows_of(log.frame, timeline.pairs_of(log.frame["customer_id"].unique(), [cutoff]))
        scored = {row["customer_id"]: row for row in own.predict(there, log.frame).iter_rows(named=True)}
        asked = there.filter(pl.col("customer_id").is_in(names))
        why = dict(explain.of_matrix(own, asked, 3).select("customer_id", "reasons").iter_rows())
        kinds = set()
        for body in requests(log, names, cutoff):
            answer = client.post("/predict", body)
            assert answer.status_code == 200, answer.text[:500]
            for got in json.loads(answer.content)["predictions"]:
                customer = got["customer_id"]
                row = scored.get(customer)
                kinds.add(got["reason"])
                if row is None:
                    assert got["reason"] == "unknown"
                    continue
                assert {k: got[k] for k in SAME} == {k: row[k] for k in SAME}
                assert got["score_valid_until"] == (row["score_valid_until"] and row["score_valid_until"].isoformat())
                assert got["reasons"] == why.get(customer)
            ids = [customer["customer_id"] for customer in body["customers"]]
            lines = log.frame.filter(pl.col("customer_id").is_in(ids))
            alone = own.rows_of(lines, timeline.pairs_of(ids, [cutoff]))
            assert alone.equals(there.filter(pl.col("customer_id").is_in(ids)))
        assert len(kinds) > 1


@pytest.mark.parametrize("name", ["completejourney", "cdnow", pytest.param("online_retail", marks=needs_retail)])
def test_every_feature_of_a_real_log_has_its_words(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(datasets.ONLINE_RETAIL_FOLDER, str(RETAIL))
    settings = config.load(ROOT / "configs" / f"{name}.yaml")
    log = read_log(settings)
    for meaning in explain.meanings(timeline.define(log, settings, as_of=log.ends)).values():
        for language in explain.languages():
            assert explain.phrases(language).text(meaning, 2.0, 3.0, True, log.rules.currency)
