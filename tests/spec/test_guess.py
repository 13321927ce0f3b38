"""Guessed configs: they load, they read the right columns, and they hold none of the data."""

from __future__ import annotations

import datetime as dt
import gzip
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import yaml

from churn_clv import config, events
from churn_clv.errors import UserError
from churn_clv.guess import _columns, _read, guess


def settings_of(text: str, folder: Path) -> config.Config:
    """The guessed text as ``config.load`` reads it."""
    file = folder / "guessed.yaml"
    file.write_text(text, encoding="utf-8")
    return config.load(file)


def guessed(*paths: Path) -> tuple[str, config.Config, events.Log]:
    """The text, the config and the log that it reads."""
    text = guess(list(paths))
    settings = settings_of(text, paths[0].parent)
    return text, settings, events.read_log(settings)


def mapping_of(text: str, source: str) -> dict[str, Any]:
    """The plain map of one source."""
    found: dict[str, Any] = yaml.safe_load(text)["events"]["sources"][source]["map"]
    return found


def line_of(text: str, start: str) -> str:
    """The only line that starts with these letters."""
    (line,) = [x.strip() for x in text.splitlines() if x.strip().startswith(start)]
    return line


def invoices(path: Path, days: list[str], separator: str = ",", **columns: list[Any]) -> Path:
    """Two lines per invoice of two pounds times three, one invoice a day, customers in turn; the last one cancelled."""
    rows = {
        "InvoiceNo": [str(536365 + i) for i in range(len(days) - 1) for _ in range(2)] + ["C536999"],
        "StockCode": [code for _ in days for code in ("85123A", "71053")][: 2 * len(days) - 1],
        "Description": ["WHITE LANTERN"] * (2 * len(days) - 1),
        "Quantity": [3] * (2 * len(days) - 2) + [-3],
        "InvoiceDate": [d for d in days[:-1] for _ in range(2)] + [days[-1]],
        "UnitPrice": [2.55, 3.39] * (len(days) - 1) + [2.55],
        "CustomerID": [17850 + i % 3 for i in range(len(days) - 1) for _ in range(2)] + [17850],
        "Country": ["United Kingdom"] * (2 * len(days) - 1),
    }
    pl.DataFrame(rows | columns).write_csv(path, separator=separator)
    return path


def test_a_csv_like_online_retail(tmp_path: Path) -> None:
    days = [f"12/{d}/2010 8:26" for d in range(1, 21)]
    text, settings, log = guessed(invoices(tmp_path / "Online Retail.csv", days))
    assert settings.dataset == "online_retail"
    assert mapping_of(text, "online_retail") == {
        "customer_id": "CustomerID",
        "time": "InvoiceDate",
        "event_type": {
            "when": {"column": "InvoiceNo", "starts_with": "C"},
            "then": {"constant": "return"},
            "else": {"constant": "purchase"},
        },
        "amount": {"multiply": ["Quantity", "UnitPrice"]},
        "order_id": "InvoiceNo",
        "product_id": "StockCode",
        "quantity": "Quantity",
    }
    assert settings.events.sources["online_retail"].time_format == "%m/%d/%Y %H:%M"
    assert log.frame.height == 39 and log.ends == dt.date(2010, 12, 21)
    back = log.frame.filter(pl.col("event_type") == "return").row(0, named=True)
    assert (back["customer_id"], back["amount"], back["time"]) == ("17850", -765, dt.datetime(2010, 12, 20, 8, 26))
    assert "1 lines have an id of C and digits, 1 of them negative" in text
    assert "# not mapped: Country (text, 1 distinct values in 39 lines)" in text
    assert "order_id: InvoiceNo" in line_of(text, "order_id") and "100% of them belong to one customer" in text
    assert line_of(text, "timezone: UTC").count("CHECK") == 1 and "CHECK" in line_of(text, "currency")


def test_parquet_like_complete_journey_with_tables_about_households(tmp_path: Path) -> None:
    n = 60
    lines = pl.DataFrame({
        "household_id": [1 + i % 10 for i in range(n)],
        "store_id": [300 + i % 4 for i in range(n)],
        "basket_id": [31_198_570_044 + i // 2 for i in range(n)],
        "product_id": [1_000_000 + 7 * i for i in range(n)],
        "quantity": [1 + i % 3 for i in range(n)],
        "sales_value": [0.5 + i for i in range(n)],
        "retail_disc": [0.25 * (i % 2) for i in range(n)],
        "coupon_disc": [0.0] * n,
        "week": [1] * n,
        "transaction_timestamp": [dt.datetime(2017, 1, 1, 11, 30) + dt.timedelta(days=i) for i in range(n)],
    })  # fmt: skip
    people = {"household_id": list(range(1, 11)), "age": ["45-54"] * 10, "first_name": ["Ada"] * 10}
    mails = {"household_id": [1, 2, 1], "sent_at": [dt.date(2017, 2, d) for d in (1, 1, 9)]}
    products = {"product_id": [1_000_000, 1_000_007], "manufacturer_id": [2, 2], "department": ["GROCERY", "PASTRY"]}
    frames = {"transactions": lines, "demographics": pl.DataFrame(people), "mails": pl.DataFrame(mails),
              "products": pl.DataFrame(products)}  # fmt: skip
    paths = []
    for name, frame in frames.items():
        paths.append(tmp_path / f"{name}.parquet")
        frame.write_parquet(paths[-1])
    text, settings, log = guessed(*paths)
    assert mapping_of(text, "transactions") == {
        "customer_id": "household_id", "time": "transaction_timestamp", "event_type": {"constant": "purchase"},
        "amount": "sales_value", "order_id": "basket_id", "product_id": "product_id", "quantity": "quantity",
        "discount": "retail_disc",
    }  # fmt: skip
    assert "CHECK: coupon_disc cannot be added here" in text
    assert mapping_of(text, "mails")["event_type"] == {"constant": "mails"}
    assert log.frame["event_type"].value_counts().sort("event_type").rows() == [("mails", 3), ("purchase", 60)]
    assert log.columns >= {"amount", "order_id", "product_id", "quantity", "discount"}
    assert settings.events.attributes["demographics"].columns == ("age",)
    assert "left out as personal: first_name" in text and "Ada" not in text and "45-54" not in text
    assert "products.parquet is left out" in text and "products" not in settings.events.sources


SUPERSTORE = {
    "Customer ID": [f"C{i % 12}" for i in range(60)],
    "Order Date": [dt.date(2024, 1, 1) + dt.timedelta(days=i) for i in range(60)],
    "Quantity": [1 + i % 3 for i in range(60)],
    "Sales": [10.5 + i for i in range(60)],
}


@pytest.mark.parametrize(
    ("columns", "mapped"),
    [
        ({"Profit": [3.25 - i % 5 for i in range(60)]}, {"margin": "Profit"}),
        ({"COGS": [7.0 + i for i in range(60)]}, {"cost": "COGS"}),
        ({"Unit Cost": [2.5] * 60}, {"cost": {"multiply": ["Quantity", "Unit Cost"]}}),
        ({"COGS": [7.0 + i for i in range(60)], "Profit": [3.5] * 60}, {"margin": "Profit"}),
        ({"Margin": [0.3] * 60}, {}),  # a rate
        ({"Margin": [90.0] * 60}, {}),  # larger than most amounts: percent, or of something else
        ({"Profit Center": [3.5] * 60}, {}),
        ({"Profit": ["good"] * 60}, {}),
        ({"Cost": [-4.0] * 60}, {}),
    ],
)
def test_a_column_of_margins_or_costs(tmp_path: Path, columns: dict[str, Any], mapped: dict[str, Any]) -> None:
    path = tmp_path / "superstore.csv"
    pl.DataFrame(SUPERSTORE | columns).write_csv(path)
    text, _, log = guessed(path)
    found = mapping_of(text, "superstore")
    assert {k: v for k, v in found.items() if k in ("margin", "cost")} == mapped
    used = "COGS" if mapped.get("margin") and "COGS" in columns else None
    assert ("not mapped" in text) == (not mapped or used is not None)
    if mapped:
        assert line_of(text, f"{next(iter(mapped))}:").count("CHECK: money of the whole line") == 1
        assert log.frame["margin"].null_count() == 0


def test_a_file_like_cdnow(tmp_path: Path) -> None:
    file = tmp_path / "CDNOW_master.csv"
    rows = [
        f"{c:05d},1997{1 + m:02d}{1 + c % 28:02d},{1 + m},{11.77 + m}" for c in range(1, 41) for m in range(0, 12, 3)
    ]
    file.write_text("customer_id,date,number_of_cds,dollar_value\n" + "\n".join(rows) + "\n")
    text, settings, log = guessed(file)
    source = settings.events.sources["cdnow_master"]
    assert source.time_format == "%Y%m%d"
    assert mapping_of(text, "cdnow_master") == {
        "customer_id": "customer_id", "time": "date", "event_type": {"constant": "purchase"},
        "amount": "dollar_value", "quantity": "number_of_cds",
    }  # fmt: skip
    assert log.frame["customer_id"].min() == "00001" and log.frame.height == 160
    assert "which no zone moves" in line_of(text, "timezone")
    # Every gap is three months (90 to 92 days): two of them are 26 weeks, and a log of ten months holds four of ten.
    assert settings.timeline.horizon_days == 70 and settings.population.active_within_days == 140
    assert "120 gaps" in text and "shortened to fit a log of" in text


def test_semicolons_and_days_with_points(tmp_path: Path) -> None:
    days = [f"{d:02d}.03.2024 10:15" for d in range(1, 21)]
    text, settings, log = guessed(invoices(tmp_path / "umsatz.csv", days, separator=";"))
    source = settings.events.sources["umsatz"]
    assert (source.separator, source.time_format) == (";", "%d.%m.%Y %H:%M")
    assert log.frame.height == 39 and log.frame["time"].max() == dt.datetime(2024, 3, 20, 10, 15)
    assert "settles the order" in text


@pytest.mark.parametrize("separator", ["\t", "|"])
def test_other_separators(tmp_path: Path, separator: str) -> None:
    _, settings, log = guessed(invoices(tmp_path / "o.txt", [f"2024-01-{d:02d}" for d in range(1, 11)], separator))
    assert settings.events.sources["o"].separator == separator and log.frame.height == 19


def test_decimal_commas_are_read_and_currency_signs_flagged(tmp_path: Path) -> None:
    file = tmp_path / "a.csv"
    file.write_text("customer_id;order_date;total\n1;2024-01-01;12,50\n2;2024-01-02;1.003,00\n1;2024-01-03;7,00\n")
    text, settings, log = guessed(file)
    assert settings.events.sources["a"].decimal == "," and "CHECK" not in line_of(text, "amount")
    assert sorted(log.frame["amount"]) == [700, 1250, 100300]
    file.write_text('customer_id,order_date,total\n1,2024-01-01,"$1,200.50"\n2,2024-01-02,$3.00\n')
    text = guess([file])
    assert "CHECK: the values have currency signs or thousands separators" in line_of(text, "amount")
    settings_of(text, tmp_path)


def test_a_german_file(tmp_path: Path) -> None:
    """Numbers with commas, days before months, and a word for returns in a column that names no kind in English."""
    lines = ["Bestellnummer;Kundennummer;Bestelldatum;Vorgang;Artikelnummer;Stück;Gesamtpreis"]
    lines += [f"{700 + i};{40 + i % 5};{13 + i % 15:02d}.03.2024;{'Rückgabe' if i == 7 else 'Kauf'};A{i % 4};1;{i},50"
              for i in range(30)]  # fmt: skip
    (tmp_path / "verkäufe.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    text, settings, log = guessed(tmp_path / "verkäufe.csv")
    [(name, source)] = settings.events.sources.items()
    plain = {k: v for k, v in mapping_of(text, name).items() if isinstance(v, str)}
    assert plain == {"customer_id": "Kundennummer", "time": "Bestelldatum", "order_id": "Bestellnummer",
                     "product_id": "Artikelnummer", "quantity": "Stück", "amount": "Gesamtpreis"}  # fmt: skip
    assert (source.separator, source.decimal, source.time_format) == (";", ",", "%d.%m.%Y")
    assert log.frame.group_by("event_type").len().sort("event_type").rows() == [("purchase", 29), ("return", 1)]
    assert log.frame.filter(pl.col("event_type") == "return")["amount"].to_list() == [-750]


def test_days_and_months_that_could_be_swapped_are_flagged(tmp_path: Path) -> None:
    file = invoices(tmp_path / "a.csv", [f"4/{d}/2024" for d in range(1, 11)])
    text = guess([file])
    line = line_of(text, "time_format")
    # April 1 to 10 is ten days; read the other way round, the log would have ten months.
    assert '"%m/%d/%Y"' in line and "CHECK" in line and "%d/%m/%Y" in line


def test_a_later_line_settles_day_and_month(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_read, "SAMPLE_LINES", 10)
    # The ten lines read first are the first five days of the first month.
    text = guess([invoices(tmp_path / "a.csv", [f"{d}/1/2024" for d in range(1, 32)])])
    assert '"%d/%m/%Y"' in line_of(text, "time_format") and "CHECK" not in line_of(text, "time_format")
    assert "the first 10 lines" in text


def test_nothing_of_the_data_is_written(tmp_path: Path) -> None:
    file = tmp_path / "orders.csv"
    head = "customer_id,email,full_name,created_at,total,status,note,channel,category\n"
    lines = [f"cust-{i % 4}77,a{i}@example.org,Zoe Quux,2024-02-{1 + i:02d}T10:00:00Z,{i}.37,paid,secretnote,web,shoes"
             for i in range(20)]  # fmt: skip
    file.write_text(head + "\n".join(lines) + "\n")
    text, _, log = guessed(file)
    assert log.frame.height == 20 and log.frame["channel"].unique().to_list() == ["web"]
    text = text.replace(str(tmp_path), "")
    for value in ("cust-", "77", "example.org", "Zoe", "Quux", ".37", "secretnote", "web", "shoes", "paid", "2024-02"):
        assert value not in text, value
    assert "full_name" in text and "times name their offset" in text


def write(path: Path, **columns: list[Any]) -> Path:
    """Twenty orders of four customers, with more columns."""
    base = {
        "user_id": [f"u{i % 4}" for i in range(20)],
        "timestamp": [dt.datetime(2024, 1, 1, 9) + dt.timedelta(days=i) for i in range(20)],
        "amount": [10.25 + i for i in range(20)],
    }
    pl.DataFrame(base | columns).write_parquet(path)
    return path


def test_a_column_of_event_types(tmp_path: Path) -> None:
    kinds = ["Order", "Order", "Refund", "page_view"] * 5
    text, _, log = guessed(write(tmp_path / "a.parquet", event_type=kinds))
    counts = dict(log.frame["event_type"].value_counts().iter_rows())
    assert counts == {"purchase": 10, "return": 5, "page_view": 5}
    assert "page_view" not in text  # it keeps its name by the rule, and is not written
    plain = ["purchase", "return"] * 10
    text, _, _ = guessed(write(tmp_path / "b.parquet", event_type=plain))
    assert mapping_of(text, "b")["event_type"] == "event_type"
    text = guess([write(tmp_path / "c.parquet", event_type=["click", "open"] * 10)])
    assert "CHECK: no value reads as purchase" in line_of(text, "event_type")


@pytest.mark.parametrize(
    ("column", "values", "equals"),
    [
        ("is_return", [False] * 15 + [True] * 5, True),
        ("is_return", ["no"] * 15 + ["yes"] * 5, "yes"),
        ("returned", [0] * 15 + [1] * 5, 1),
        ("status", ["paid"] * 15 + ["Refunded"] * 5, "Refunded"),
        ("order_status", ["shipped"] * 15 + ["Cancelled"] * 5, "Cancelled"),
    ],
)
def test_flags_and_states_of_returns(tmp_path: Path, column: str, values: list[Any], equals: Any) -> None:
    text, _, log = guessed(write(tmp_path / "a.parquet", **{column: values}))
    assert mapping_of(text, "a")["event_type"]["when"] == {"column": column, "equals": equals}
    assert dict(log.frame["event_type"].value_counts().iter_rows()) == {"purchase": 15, "return": 5}
    assert "CHECK" in line_of(text, "event_type")


def test_a_status_without_returns_is_not_the_event_type(tmp_path: Path) -> None:
    text, _, log = guessed(write(tmp_path / "a.parquet", status=["paid", "shipped"] * 10))
    assert log.frame["event_type"].unique().to_list() == ["purchase"] and "not mapped: status" in text


def test_negative_amounts_are_said(tmp_path: Path) -> None:
    text, _, log = guessed(write(tmp_path / "a.parquet", amount=[-1.5, *[2.5] * 19]))
    assert "1 lines are negative and become returns" in line_of(text, "event_type")
    assert log.frame.filter(pl.col("event_type") == "return").height == 1


def test_an_order_total_repeated_on_each_line(tmp_path: Path) -> None:
    order = [str(i // 2) for i in range(40)]
    lines = {
        "customer_id": [f"c{i // 4}" for i in range(40)],
        "order_id": order,
        "order_date": [dt.date(2024, 1, 1) + dt.timedelta(days=i // 2) for i in range(40)],
        "quantity": [1 + i % 2 for i in range(40)],
        "unit_price": [4.5 + i for i in range(40)],
        "total": [100.5 + i // 2 for i in range(40)],
    }
    pl.DataFrame(lines).write_parquet(tmp_path / "a.parquet")
    text = guess([tmp_path / "a.parquet"])
    assert mapping_of(text, "a")["amount"] == {"multiply": ["quantity", "unit_price"]}
    assert "total is the same on every line of an order" in line_of(text, "amount")
    pl.DataFrame(lines).drop("unit_price").write_parquet(tmp_path / "b.parquet")
    text = guess([tmp_path / "b.parquet"])
    assert mapping_of(text, "b")["amount"] == "total" and "CHECK" in line_of(text, "amount")
    lines["total"] = [q * p for q, p in zip(lines["quantity"], lines["unit_price"], strict=True)]
    pl.DataFrame(lines).write_parquet(tmp_path / "c.parquet")
    text = guess([tmp_path / "c.parquet"])
    assert "equals quantity x unit_price on 100% of the lines" in line_of(text, "amount: total")


def test_seconds_since_1970(tmp_path: Path) -> None:
    seconds = [1_704_103_200 + 86_400 * i for i in range(20)]  # from 2024-01-01 10:00 UTC
    text, settings, log = guessed(write(tmp_path / "a.parquet", timestamp=seconds))
    assert settings.events.sources["a"].time_format == "%s" and settings.events.sources["a"].timezone == "UTC"
    assert log.frame["time"].min() == dt.datetime(2024, 1, 1, 10)
    assert "seconds since 1970 count in UTC" in text and "times name their offset" in text


def test_currency_codes(tmp_path: Path) -> None:
    text, settings, _ = guessed(write(tmp_path / "a.parquet", currency=["EUR"] * 20))
    assert settings.events.currency == "EUR" and settings.events.sources["a"].currency == "currency"
    text = guess([write(tmp_path / "b.parquet", currency=["EUR", "USD"] * 10)])
    with pytest.raises(UserError, match="one currency"):
        events.read_log(settings_of(text, tmp_path))


def test_files_with_the_same_columns_become_one_source(tmp_path: Path) -> None:
    paths = [write(tmp_path / f"orders-202{y}.parquet") for y in (3, 4)]
    _, settings, log = guessed(*paths)
    assert list(settings.events.sources) == ["orders_202"] and log.frame.height == 40
    assert settings.events.sources["orders_202"].path == str(tmp_path / "orders-202*.parquet")
    write(tmp_path / "orders-2025.parquet")  # another file that the pattern would take in
    assert len(yaml.safe_load(guess(paths))["events"]["sources"]) == 2


def test_json_lines_and_gzip(tmp_path: Path) -> None:
    frame = pl.read_parquet(write(tmp_path / "a.parquet"))
    frame.write_ndjson(tmp_path / "a.jsonl")
    (tmp_path / "b.csv.gz").write_bytes(gzip.compress(frame.write_csv().encode()))
    (tmp_path / "export.dat").write_text(frame.write_csv())
    for name in ("a.jsonl", "b.csv.gz", "export.dat"):
        _, settings, log = guessed(tmp_path / name)
        assert log.frame.height == 20 and log.frame["amount"].sum() == sum(1025 + 100 * i for i in range(20))
    assert settings.events.sources["export"].format == "csv"


def test_odd_names_survive(tmp_path: Path) -> None:
    names = ['customer id: "x" # y', "{order} date", "total, EUR", "a\nb", "yes", "Größe 🎈"]
    frame = pl.DataFrame({
        names[0]: [f"c{i % 5}" for i in range(20)], names[1]: [dt.date(2024, 1, 1 + i) for i in range(20)],
        names[2]: [1.5] * 20, names[3]: ["k"] * 20, names[4]: ["v"] * 20, names[5]: ["w"] * 20,
    })  # fmt: skip
    frame.write_parquet(tmp_path / "it's odd: #1.parquet")
    text, _, log = guessed(tmp_path / "it's odd: #1.parquet")
    found = mapping_of(text, "it_s_odd_1")
    assert found["customer_id"] == names[0] and found["time"] == names[1] and found["amount"] == names[2]
    assert log.frame.height == 20 and all(line.lstrip()[:1] != "b" for line in text.splitlines())


def test_customers_told_by_their_values_are_flagged(tmp_path: Path) -> None:
    rows = {"id": [i % 6 for i in range(20)], "when": [dt.date(2024, 1, 1 + i) for i in range(20)], "eur": [1.5] * 20}
    pl.DataFrame(rows).write_parquet(tmp_path / "a.parquet")
    text = guess([tmp_path / "a.parquet"])
    assert mapping_of(text, "a")["customer_id"] == "id" and "CHECK" in line_of(text, "customer_id")
    assert mapping_of(text, "a")["amount"] == "eur" and "CHECK" in line_of(text, "amount")


def test_the_horizon_follows_the_gaps(tmp_path: Path) -> None:
    def horizon(gap: int, orders: int) -> int:
        rows = [
            (f"c{c}", dt.date(2020, 1, 1) + dt.timedelta(days=gap * k), 9.5) for c in range(10) for k in range(orders)
        ]
        pl.DataFrame(rows, schema=["customer_id", "date", "amount"], orient="row").write_parquet(tmp_path / "a.parquet")
        return settings_of(guess([tmp_path / "a.parquet"]), tmp_path).timeline.horizon_days

    assert horizon(30, 12) == 63  # two gaps are 60 days, nine weeks
    assert horizon(3, 60) == 28  # never below the default
    assert horizon(30, 6) == 35  # the log has 151 days: five weeks fit four times
    assert horizon(30, 3) == 28  # twenty gaps are too few to tell


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("gone.csv", None, "was not found"),
        ("empty.csv", b"", "is empty"),
        ("head.csv", b"customer_id,date\n", "no lines"),
        ("bare.csv", b"00017,19970101,1,11.77\n00018,19970102,1,12.00\n", "has no header"),
        ("words.csv", b"anna,purchase,mon\nbert,purchase,tue\n", "has no header"),
        ("spaces.txt", b" customer_id  date\n 00001 19970101\n", "one column only"),
        ("broken.parquet", b"PAR1 not really", "cannot be read as parquet"),
        ("broken.jsonl", b'{"a": 1}\n{"a": \n', "cannot be read as jsonl"),
        ("list.json", b'[{"a": 1}]', "one JSON list"),
        ("latin.csv", "customer_id,date,name\n1,2024-01-01,Zo\xeb\n".encode("latin-1"), "UTF-8"),
        ("ragged.csv", b"customer_id,date\n1,2024-01-01\n2,2024-01-02,5,6\n", "cannot be read as csv"),
        ("prices.csv", b"sku,price\nA1,2.50\nA2,3.50\n", "no event source found"),
        ("ms.csv", b"user_id,time,total\n1,1704103200000,2.5\n1,1704203200000,3.5\n", "not milliseconds"),
    ],
)
def test_files_that_cannot_be_guessed_from(tmp_path: Path, name: str, content: bytes | None, says: str) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=says) as error:
        guess([tmp_path / name])
    assert name in str(error.value)
    for value in ("00017", "anna", "11.77", "17041"):
        assert value not in str(error.value)


def test_no_file_and_a_folder(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no file given"):
        guess([])
    with pytest.raises(UserError, match="is a folder"):
        guess([tmp_path])


def test_a_file_of_refunds_is_returns_and_says_why(tmp_path: Path) -> None:
    path = tmp_path / "returns.csv"
    days = [f"2024-01-{day:02d}" for day in range(1, 29)]
    lines = [f"{1000 + i},c{i % 9},{day},{5 + i}.50" for i, day in enumerate(days)]
    path.write_text("order_id,client_id,return_date,refund_amount\n" + "\n".join(lines), encoding="utf-8")
    text = guess([path])
    assert "event_type: {constant: return}" in text
    assert "CHECK: by the name of refund_amount, return_date these are returns" in text


def test_a_long_log_in_order_still_tells_days_from_months() -> None:
    """Its first two days fill 2,880 values that may be read either way; the 14th may not."""
    minutes = [f"{day:02d}/02/2024 {m // 60:02d}:{m % 60:02d}" for day in (1, 2, 14) for m in range(1440)]
    column = _columns.describe(pl.Series("when", minutes))
    assert (column.time_format, column.either) == ("%d/%m/%Y %H:%M", None)
