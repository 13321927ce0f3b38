"""Sources -> the log: the converter row by row, each policy, each bad input."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from pathlib import Path
from typing import Any

import pandas as pd
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from churn_clv import config
from churn_clv.errors import UserError
from churn_clv.events import LOG_SCHEMA, Log, Rules, canonical, fingerprint, from_frame, read_log

NEW_YORK = Rules("America/New_York", "USD", 2)
UTC = Rules("UTC", "USD", 2)
MAP = {"customer_id": "id", "time": "at", "amount": "paid"}
CSV = "id,at,paid\na,2024-01-01,1.50\nb,2024-01-02 10:30:00,2\na,2024-01-03,0.99\n"


def one(**columns: Any) -> dict[str, Any]:
    """The one log row of an event with these plain values."""
    plain = {"customer_id": "a", "time": "2024-01-01"} | columns
    return canonical(pl.DataFrame({name: [value] for name, value in plain.items()}), UTC).row(0, named=True)


def when(value: Any, rules: Rules = NEW_YORK) -> dt.datetime:
    frame = pl.DataFrame({"customer_id": ["a"], "time": [value]})
    found: dt.datetime = canonical(frame, rules)["time"][0]
    return found


def read(folder: Path, text: str = CSV, mapped: dict[str, Any] | None = None, **events: Any) -> Log:
    """The log of one CSV source 's'; keyword arguments are event settings, or of the source where it has them."""
    (folder / "s.csv").write_text(text, encoding="utf-8")
    source: dict[str, Any] = {"path": "s.csv", "map": mapped or MAP}
    of_source = {"timezone_of_source": "timezone", "time_format": "time_format", "log_starts": "log_starts"}
    of_source |= {"currency_of_source": "currency", "separator": "separator"}
    source |= {of_source[name]: events.pop(name) for name in list(events) if name in of_source}
    return read_log(made({"s": source}, folder, **events))


def made(sources: dict[str, Any], folder: Path, **events: Any) -> config.Config:
    return config.from_dict({"dataset": "x", "events": {"folder": str(folder), "sources": sources} | events})


def counts(log: Log, source: str = "s") -> dict[str, tuple[int, str]]:
    return {count.policy: (count.rows, count.action) for count in log.counts if count.source == source}


# --- the converter -----------------------------------------------------------------------------
def test_every_column_of_one_event() -> None:
    plain = {
        "customer_id": " 007 ",
        "time": dt.datetime(2024, 3, 1, 9, 30),
        "known_at": dt.date(2024, 3, 4),
        "event_type": "survey",
        "amount": Decimal("12.34"),
        "order_id": 17,
        "product_id": 17850.0,
        "category": "tea",
        "quantity": 0.455,
        "discount": -1.5,
        "channel": "",
        "value": 9,
        "event_id": None,
        "margin": "-0.125",
        "sentiment": "-0.4",
        "topics": "price",
    }
    log = canonical(pl.DataFrame({name: [value] for name, value in plain.items()}), UTC)
    assert log.schema == pl.Schema(LOG_SCHEMA)
    assert log.row(0, named=True) == {
        "customer_id": "007",
        "time": dt.datetime(2024, 3, 1, 9, 30),
        "known_at": dt.datetime(2024, 3, 4),
        "event_type": "survey",
        "amount": 1234,
        "order_id": "17",
        "product_id": "17850",
        "category": "tea",
        "quantity": 455,
        "discount": 150,
        "channel": None,
        "value": 9000,
        "event_id": None,
        "margin": -13,
        "sentiment": -400,
        "topics": "price",
    }


def test_absent_columns_are_null_and_events_are_purchases() -> None:
    row = one()
    assert {name for name, value in row.items() if value is not None} == {"customer_id", "time", "event_type"}
    assert row["event_type"] == "purchase"


@pytest.mark.parametrize(
    ("plain", "minor"),
    [
        ("12.34", 1234), (" 12.3 ", 1230), (12, 1200), (12.34, 1234), (Decimal("0.01"), 1),
        (1.005, 101), ("1.005", 101), (2.675, 268), (0.125, 13), (0.135, 14), (0.124999, 12),
        (3 * 1.115, 335), (6 * 2.55, 1530), (168469.60, 16846960), (1e11, 10**13), (0.001, 0), (-0.0, 0),
        ("", None), ("  ", None), (None, None),
    ],
)  # fmt: skip
def test_money_is_rounded_as_written_halves_away_from_zero(plain: Any, minor: int | None) -> None:
    assert one(amount=plain)["amount"] == minor
    if minor and not isinstance(plain, str):
        assert one(amount=-plain, event_type="return")["amount"] == -minor
        assert one(amount=-plain, event_type="refund of fees")["amount"] == -minor


def test_minor_units_of_the_currency() -> None:
    frame = pl.DataFrame({"customer_id": ["a"], "time": ["2024-01-01"], "amount": [12.5], "discount": ["1.2345"]})
    for units, amount, discount in ((0, 13, 1), (3, 12500, 1235)):
        row = canonical(frame, Rules("UTC", "KWD", units)).row(0, named=True)
        assert (row["amount"], row["discount"]) == (amount, discount)


@pytest.mark.parametrize(
    ("event_type", "amount", "expected"),
    [
        ("purchase", 5, ("purchase", 500, 2000)),
        ("purchase", 0, ("purchase", 0, 2000)),
        ("purchase", -5, ("return", -500, -2000)),
        ("return", 5, ("return", -500, -2000)),
        ("return", -5, ("return", -500, -2000)),
        ("return", 0, ("return", 0, -2000)),
        ("fee", -5, ("fee", -500, 2000)),
    ],
)
def test_signs(event_type: str, amount: int, expected: tuple[str, int, int]) -> None:
    row = one(event_type=event_type, amount=amount, quantity=2)
    assert (row["event_type"], row["amount"], row["quantity"]) == expected


def test_zero_and_negative_policies_travel_in_the_rules() -> None:
    frame = pl.DataFrame({"customer_id": ["a"] * 3, "time": ["2024-01-01"] * 3, "amount": [0, -1, 2]})
    assert canonical(frame, Rules("UTC", "USD", 2, zero_amount="drop"))["amount"].to_list() == [200, -100]
    assert canonical(frame, Rules("UTC", "USD", 2, negative_amount="drop"))["amount"].to_list() == [0, 200]
    with pytest.raises(UserError, match="amount: 1 purchases have a negative amount"):
        canonical(frame, Rules("UTC", "USD", 2, negative_amount="error"))


@pytest.mark.parametrize(
    ("value", "local"),
    [
        ("2024-07-01", dt.datetime(2024, 7, 1)),
        ("2024-07-01T10:00", dt.datetime(2024, 7, 1, 10)),
        ("2024-07-01 10:00:05.25", dt.datetime(2024, 7, 1, 10, 0, 5, 250000)),
        ("2024-07-01T03:00:00Z", dt.datetime(2024, 6, 30, 23)),
        ("2024-07-01T03:00:00+00:00", dt.datetime(2024, 6, 30, 23)),
        ("2024-07-01T03:00:00 +0530", dt.datetime(2024, 6, 30, 17, 30)),
        ("2024-07-01T03:00:00-05:30", dt.datetime(2024, 7, 1, 4, 30)),
        ("2024-01-01T03:00:00Z", dt.datetime(2023, 12, 31, 22)),
        (dt.date(2024, 7, 1), dt.datetime(2024, 7, 1)),
        (dt.datetime(2024, 7, 1, 3), dt.datetime(2024, 7, 1, 3)),
        (dt.datetime(2024, 7, 1, 3, tzinfo=dt.UTC), dt.datetime(2024, 6, 30, 23)),
        (dt.datetime(2024, 3, 10, 6, 59, 59, tzinfo=dt.UTC), dt.datetime(2024, 3, 10, 1, 59, 59)),
        (dt.datetime(2024, 3, 10, 7, tzinfo=dt.UTC), dt.datetime(2024, 3, 10, 3)),
        (dt.datetime(2024, 11, 3, 5, 30, tzinfo=dt.UTC), dt.datetime(2024, 11, 3, 1, 30)),
        (dt.datetime(2024, 11, 3, 6, 30, tzinfo=dt.UTC), dt.datetime(2024, 11, 3, 1, 30)),
    ],
)
def test_times_become_local(value: Any, local: dt.datetime) -> None:
    assert when(value) == local


def test_one_column_may_mix_dates_local_times_and_offsets() -> None:
    frame = pl.DataFrame({"customer_id": ["a"] * 3, "time": ["2024-07-01", "2024-07-01 01:00", "2024-07-01T05:30Z"]})
    hours = [0, 60, 90]
    assert canonical(frame, NEW_YORK)["time"].to_list() == [
        dt.datetime(2024, 7, 1) + dt.timedelta(minutes=minutes) for minutes in hours
    ]


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"amuont": [1, 2]}, "unknown event column 'amuont'. Did you mean 'amount'?"),
        ({"amount": ["1", "x"]}, "amount: 1 of 2 values cannot be read as an amount .*first at rows 2"),
        ({"amount": ["$1", "1,50"]}, "amount: 2 of 2 values .*first at rows 1, 2"),
        ({"amount": [1.0, float("nan")]}, "amount: 1 of 2 values"),
        ({"amount": [1.0, float("inf")]}, "amount: 1 of 2 values"),
        ({"amount": [9e11, 9.1e11]}, "amount: 1 of 2 values .*9e13 minor units"),
        ({"amount": [True, False]}, "amount is Boolean"),
        ({"quantity": ["1", "many"]}, "quantity: 1 of 2 values cannot be read as a number"),
        ({"time": ["2024-01-01", "01/02/2024"]}, "time: 1 of 2 values cannot be read as a time"),
        ({"time": ["2024-01-01", "2024-02-30"]}, "time: 1 of 2 values"),
        ({"time": ["2024-01-01", "9999-12-31"]}, "time: 1 of 2 values .*1900 to 2199"),
        ({"time": ["2199-12-31", "2200-01-01"]}, "time: 1 of 2 values"),
        ({"time": ["1900-01-01", "1899-12-31"]}, "time: 1 of 2 values"),
        ({"time": ["2024-01-01", None]}, "time: 1 of 2 values"),
        ({"time": [20240101, 20240102]}, "time is Int64; .*time_format"),
        ({"known_at": ["2024-01-01", "soon"]}, "known_at: 1 of 2 values"),
        ({"customer_id": ["a", None]}, "customer_id: 1 of 2 values"),
        ({"customer_id": ["a", " "]}, "customer_id: 1 of 2 values"),
        ({"customer_id": [1.0, 1.5]}, "customer_id: 1 of 2 values cannot be read as text or a whole number"),
        ({"customer_id": [1.0, 2.0**53]}, "customer_id: 1 of 2 values"),
        ({"customer_id": [[1], [2]]}, r"customer_id is List\(Int64\)"),
        ({"event_type": ["visit", None]}, "event_type: 1 of 2 values"),
    ],
)
def test_what_the_converter_refuses(columns: dict[str, list[Any]], message: str) -> None:
    plain = {"customer_id": ["a", "b"], "time": ["2024-01-01", "2024-01-02"]} | columns
    with pytest.raises(UserError, match=message):
        canonical(pl.DataFrame(plain), UTC)


@pytest.mark.parametrize("missing", ["customer_id", "time"])
def test_customer_and_time_are_required(missing: str) -> None:
    plain = pl.DataFrame({"customer_id": ["a"], "time": ["2024-01-01"]}).drop(missing)
    with pytest.raises(UserError, match=f"missing: {missing}"):
        canonical(plain, UTC)


def test_an_unknown_zone_names_the_nearest() -> None:
    with pytest.raises(UserError, match=r"unknown time zone 'Europe/Londom'. Did you mean 'Europe/London'"):
        Rules("Europe/Londom", "GBP", 2)


def test_no_rows_give_an_empty_log() -> None:
    assert canonical(pl.DataFrame({"customer_id": [], "time": []}), UTC).schema == pl.Schema(LOG_SCHEMA)


EVENTS = st.lists(
    st.fixed_dictionaries(
        {
            "customer_id": st.sampled_from(["a", "b", "10", "9"]),
            "time": st.sampled_from(["2024-01-01", "2024-01-01 10:00", "2024-01-01T10:00Z", "2023-12-31 23:59:59.99"]),
            "event_type": st.sampled_from(["purchase", "return", "visit"]),
            "amount": st.none() | st.integers(-500, 500).map(lambda cents: cents / 100),
            "product_id": st.none() | st.sampled_from(["p", "q"]),
            "quantity": st.none() | st.integers(-2, 2),
        }
    ),
    min_size=1,
    max_size=12,
)  # fmt: skip
PLAIN = {"customer_id": pl.String, "time": pl.String, "event_type": pl.String, "amount": pl.Float64}
PLAIN |= {"product_id": pl.String, "quantity": pl.Int64}


@settings(max_examples=60, deadline=None)
@given(EVENTS, st.randoms(use_true_random=False))
def test_one_customers_rows_and_any_order_give_the_same_log(events: list[dict[str, Any]], random: Any) -> None:
    frame = pl.DataFrame(events, schema=PLAIN)
    log = canonical(frame, NEW_YORK)
    for customer in frame["customer_id"].unique():
        alone = canonical(frame.filter(pl.col("customer_id") == customer), NEW_YORK)
        assert alone.equals(log.filter(pl.col("customer_id") == customer))
    random.shuffle(events)
    assert canonical(pl.DataFrame(events, schema=PLAIN), NEW_YORK).equals(log)
    assert log.sort(pl.all(), nulls_last=True).equals(log)


# --- frames ------------------------------------------------------------------------------------
def test_from_frame_takes_pandas_and_polars_alike() -> None:
    columns = {"customer_id": ["b", "a"], "time": ["2024-01-05", "2024-01-02"], "amount": [1.5, 2.0]}
    polars_log = from_frame(pl.DataFrame(columns), UTC)
    pandas_frame = pd.DataFrame(columns | {"time": pd.to_datetime(columns["time"])}, index=[7, 8])
    assert from_frame(pandas_frame, UTC).frame.equals(polars_log.frame)
    assert from_frame(pl.LazyFrame(columns), UTC).frame.equals(polars_log.frame)
    assert polars_log.starts == {"purchase": dt.date(2024, 1, 2)}
    assert polars_log.ends == dt.date(2024, 1, 6)
    assert polars_log.columns == frozenset({"amount"})


def test_a_missing_number_in_pandas_is_missing_not_unreadable() -> None:
    frame = pd.DataFrame({"customer_id": [1, 2], "time": ["2024-01-01"] * 2, "amount": [1.0, float("nan")]})
    assert from_frame(frame, UTC).frame["amount"].to_list() == [100, None]


def test_from_frame_ends_and_starts() -> None:
    frame = pl.DataFrame({"customer_id": ["a"] * 3, "time": ["2024-01-01", "2024-01-02 23:59:59", "2024-01-03"]})
    log = from_frame(frame, UTC, ends=dt.date(2024, 1, 3), starts={"purchase": dt.date(2023, 5, 1)})
    assert (log.frame.height, log.ends, log.starts) == (2, dt.date(2024, 1, 3), {"purchase": dt.date(2023, 5, 1)})
    assert counts(log, "frame") == {"lines": (3, "read"), "after_end": (1, "dropped")}


def test_from_frame_refuses_what_is_no_frame_and_mixed_columns() -> None:
    with pytest.raises(UserError, match="expected a pandas or Polars frame, found list"):
        from_frame([1], UTC)
    with pytest.raises(UserError, match="column 'customer_id' mixes types"):
        from_frame(pd.DataFrame({"customer_id": [1, "x"], "time": ["2024-01-01"] * 2}), UTC)


def test_the_fingerprint_is_of_the_content() -> None:
    base = {"customer_id": ["ab", "c"], "time": ["2024-01-01"] * 2, "amount": [1.0, None], "order_id": [None, "x"]}
    known = from_frame(pl.DataFrame(base), UTC).fingerprint
    assert known == "a0e1c7ebe2e146c7"  # the same on every machine and version: runs are compared by it
    assert from_frame(pl.DataFrame(base).reverse(), UTC).fingerprint == known
    changes = [
        ("customer_id", ["a", "bc"]),
        ("amount", [1.01, None]),
        ("amount", [1.0, 0.0]),
        ("order_id", [None, "y"]),
    ]
    others = {from_frame(pl.DataFrame(base | {name: values}), UTC).fingerprint for name, values in changes}
    assert len(others | {known}) == 5
    # Complete until another day is another log: its newest labels are other ones.
    later = from_frame(pl.DataFrame(base), UTC, ends=dt.date(2024, 2, 1)).fingerprint
    earlier = from_frame(pl.DataFrame(base), UTC, starts={"purchase": dt.date(2023, 1, 1)}).fingerprint
    assert len({known, later, earlier}) == 3
    swapped = pl.DataFrame({"a": ["x"], "b": [None]}, schema={"a": pl.String, "b": pl.String})
    assert fingerprint(swapped) != fingerprint(swapped.rename({"a": "b", "b": "a"}))


def test_a_repeated_event_id_counts_once_per_customer() -> None:
    rows = {
        "customer_id": ["a", "a", "b", "a", "a"],
        "time": ["2024-01-02", "2024-01-01", "2024-01-03", "2024-01-04", "2024-01-05"],
        "amount": [1.0, 2.0, 3.0, 4.0, 5.0],
        "event_id": ["x", "x", "x", None, None],
    }
    log = from_frame(pl.DataFrame(rows), UTC)
    assert log.frame.select("customer_id", "amount").rows() == [("a", 200), ("a", 400), ("a", 500), ("b", 300)]
    assert [(c.policy, c.rows) for c in log.counts if c.policy == "repeated_event_id"] == [("repeated_event_id", 1)]


# --- files -------------------------------------------------------------------------------------
def test_csv_to_log(tmp_path: Path) -> None:
    log = read(tmp_path)
    assert log.frame.select("customer_id", "time", "amount").rows() == [
        ("a", dt.datetime(2024, 1, 1), 150),
        ("a", dt.datetime(2024, 1, 3), 99),
        ("b", dt.datetime(2024, 1, 2, 10, 30), 200),
    ]
    assert (log.starts, log.ends) == ({"purchase": dt.date(2024, 1, 1)}, dt.date(2024, 1, 4))
    assert counts(log)["lines"] == (3, "read")
    assert counts(log)["events"] == (3, "entered the log")
    assert counts(log)["duplicates"] == (0, "kept")
    assert counts(log)["unparsable_time"] == (0, "none met")


def test_formats_and_globs_give_the_same_log(tmp_path: Path) -> None:
    expected = read(tmp_path).frame
    frame = pl.read_csv(tmp_path / "s.csv", infer_schema=False)
    frame.write_parquet(tmp_path / "s.parquet")
    frame.with_columns(pl.col("paid").cast(pl.Float64)).write_ndjson(tmp_path / "s.jsonl")
    frame.write_csv(tmp_path / "s.tsv", separator="\t")
    frame.write_csv(tmp_path / "s.data", separator=";")
    frame.head(1).select("paid", "id", "at").write_csv(tmp_path / "part-1.csv")
    frame.tail(2).with_columns(more=pl.lit("x")).write_csv(tmp_path / "part-2.csv")
    places: list[dict[str, str]] = [
        {"path": "s.parquet"}, {"path": "s.jsonl"}, {"path": "s.tsv", "separator": "\t"},
        {"path": "s.data", "format": "csv", "separator": ";"}, {"path": "part-*.csv"},
        {"path": str(tmp_path / "s.csv")},
    ]  # fmt: skip
    for place in places:
        assert read_log(made({"s": place | {"map": MAP}}, tmp_path)).frame.equals(expected), place


def test_duplicates_are_judged_on_all_columns_before_mapping(tmp_path: Path) -> None:
    text = "id,at,paid,sku\na,2024-01-01,1,p\na,2024-01-01,1,q\na,2024-01-01,1,p\na,2024-01-01,1,p\n"
    kept = read(tmp_path, text)
    assert (kept.frame.height, counts(kept)["duplicates"]) == (4, (2, "kept"))
    dropped = read(tmp_path, text, duplicates="drop")
    assert (dropped.frame.height, counts(dropped)["duplicates"]) == (2, (2, "dropped"))


def test_missing_customers(tmp_path: Path) -> None:
    text = "id,at,paid\n,2024-01-01,1\n  ,2024-01-01,x\nnan,nonsense,1\nNone,2024-01-01,1\na,2024-01-01,1\n"
    log = read(tmp_path, text)
    assert (log.frame["customer_id"].to_list(), counts(log)["missing_customer"]) == (["a"], (4, "dropped"))
    with pytest.raises(UserError, match=r"events.sources.s: 4 of 5 lines have no customer id \(s.csv line 2, 3, 4\)"):
        read(tmp_path, text, missing_customer="error")


def test_ids_keep_zeros_and_lose_a_floats_point(tmp_path: Path) -> None:
    log = read(tmp_path, "id,at,paid\n0042,2024-01-01,1\n17850.0,2024-01-01,1\n1.50,2024-01-01,1\nv1.0,2024-01-01,1\n")
    assert log.frame["customer_id"].to_list() == ["0042", "1.50", "17850", "v1.0"]
    assert counts(log)["float_customer_id"] == (1, "'.0' removed")


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ("a,2024-13-01,1\nb,2024-01-01,1\nc,soon,1\n",
         r"events.sources.s: 2 of 3 lines have an unreadable time \(column 'at'\), such as 2024-13-01; expected a time "
         r".* \(s.csv line 2, 4\)\. Correct them or set events.unparsable: drop"),
        (",gone,1\na,soon,1\n", r"1 of 2 lines have an unreadable time \(column 'at'\), such as soon; .*line 3"),
        ("a,2024-01-01,secret\n", r"1 of 1 lines have an unreadable amount \(column 'paid'\); .*amount .*2\)"),
    ],
)  # fmt: skip
def test_unparsable_values_are_an_error_with_lines(tmp_path: Path, lines: str, message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        read(tmp_path, "id,at,paid\n" + lines)
    assert "secret" not in str(caught.value)


def test_unparsable_values_dropped_and_counted_once(tmp_path: Path) -> None:
    text = "id,at,paid\na,bad,bad\na,2024-01-01,bad\na,,1\na,2024-01-01,1\na,2024-01-01,\n"
    log = read(tmp_path, text, unparsable="drop")
    found = counts(log)
    assert (found["unparsable_time"], found["unparsable_amount"]) == ((2, "dropped"), (1, "dropped"))
    assert found["missing_amount"] == (1, "kept without an amount")
    assert log.frame["amount"].to_list() == [100, None]


def test_line_numbers_name_the_file(tmp_path: Path) -> None:
    (tmp_path / "p1.csv").write_text("id,at,paid\na,2024-01-01,1\na,x,1\n")
    (tmp_path / "p2.csv").write_text("id,at,paid\na,y,1\n")
    with pytest.raises(UserError, match=r"2 of 3 lines .*\(p1.csv line 3; p2.csv line 2\)"):
        read_log(made({"s": {"path": "p*.csv", "map": MAP}}, tmp_path))


def test_zero_and_negative_amounts(tmp_path: Path) -> None:
    text = "id,at,paid\na,2024-01-01,0\na,2024-01-02,-5\na,2024-01-03,0.004\na,2024-01-04,7\n"
    log = read(tmp_path, text)
    assert log.frame.select("event_type", "amount").rows() == [
        ("purchase", 0), ("return", -500), ("purchase", 0), ("purchase", 700)
    ]  # fmt: skip
    assert (counts(log)["zero_amount"], counts(log)["negative_amount"]) == ((2, "kept"), (1, "became returns"))
    log = read(tmp_path, text, zero_amount="drop", negative_amount="drop")
    assert log.frame["amount"].to_list() == [700]
    assert (counts(log)["zero_amount"], counts(log)["negative_amount"]) == ((2, "dropped"), (1, "dropped"))
    with pytest.raises(UserError, match=r"1 of 4 lines are purchases with a negative amount .*line 3"):
        read(tmp_path, text, negative_amount="error")


def test_negative_discounts_lose_their_sign(tmp_path: Path) -> None:
    text = "id,at,off\na,2024-01-01,-2\na,2024-01-02,3\n"
    log = read(tmp_path, text, {"customer_id": "id", "time": "at", "discount": "off"})
    assert log.frame["discount"].to_list() == [200, 300]
    assert counts(log)["negative_discount"] == (1, "sign removed")


def test_events_after_the_end(tmp_path: Path) -> None:
    log = read(tmp_path, ends="2024-01-03")
    assert (log.frame.height, log.ends, counts(log)["after_end"]) == (2, dt.date(2024, 1, 3), (1, "dropped"))
    with pytest.raises(UserError, match=r"1 of 3 lines are dated at or after events.ends, 2024-01-03 .*line 4"):
        read(tmp_path, ends="2024-01-03", after_end="error")


def test_dropped_and_kept_lines_add_up(tmp_path: Path) -> None:
    bad = [",x,y", "a,x,y", "a,2024-01-01,y", "a,2024-01-01,0", "a,2024-01-01,0", "a,2024-01-02,-1", "a,2024-01-09,1"]
    text = "\n".join(["id,at,paid", *bad, "a,2024-01-01,1"])
    drops = dict.fromkeys(("duplicates", "missing_customer", "unparsable", "zero_amount", "negative_amount"), "drop")
    log = read(tmp_path, text, ends="2024-01-05", **drops)
    dropped = {count.policy: count.rows for count in log.counts if count.action == "dropped" and count.rows}
    expected = ["duplicates", "missing_customer", "unparsable_time", "unparsable_amount", "zero_amount"]
    assert dropped == dict.fromkeys([*expected, "negative_amount", "after_end"], 1)
    assert counts(log)["lines"][0] == counts(log)["events"][0] + sum(dropped.values()) == 8


def test_two_currencies_are_refused(tmp_path: Path) -> None:
    lines = ["a,2024-01-01,1,USD", "b,2024-01-01,1,EUR", "b,2024-01-02,1,EUR", ",2024-01-02,1,GBP", "c,2024-01-02,1,"]
    text = "\n".join(["id,at,paid,cur", *lines])
    message = r"events.sources.s.currency: the log has one currency, USD, but the source also holds EUR \(2 lines\)\."
    with pytest.raises(UserError, match=message):
        read(tmp_path, text, currency_of_source="cur")
    with pytest.raises(UserError, match=r"one currency, USD, but the source also holds CHF \(3 lines\)"):
        read(tmp_path, currency_of_source={"constant": "CHF"})
    assert read(tmp_path, currency_of_source={"constant": "CHF"}, currency="CHF").rules.currency == "CHF"


def test_source_zone_to_business_zone_with_clock_changes(tmp_path: Path) -> None:
    # Berlin skipped 02:00-03:00 on 2024-03-31 and showed 02:00-03:00 twice on 2024-10-27.
    times = ["2024-03-31 02:30:00", "2024-10-27 02:30:00", "2024-06-30 00:30:00", "2024-06-30", "2024-06-30T10:00:00Z"]
    times.append("2024-03-31 02:30:00+05:00")
    text = "id,at,paid\n" + "".join(f"{i},{time},1\n" for i, time in enumerate(times))
    log = read(tmp_path, text, timezone="UTC", timezone_of_source="Europe/Berlin")
    assert log.frame["time"].to_list() == [
        dt.datetime(2024, 3, 31, 1, 30),  # taken for 03:30
        dt.datetime(2024, 10, 27, 0, 30),  # the earlier 02:30
        dt.datetime(2024, 6, 29, 22, 30),
        dt.datetime(2024, 6, 30),  # a date alone is a local day
        dt.datetime(2024, 6, 30, 10),
        dt.datetime(2024, 3, 30, 21, 30),  # its offset says which moment it is: nothing was skipped
    ]
    assert counts(log)["nonexistent_time"] == (1, "moved one hour forward")


@pytest.mark.parametrize(
    ("text", "time_format", "expected"),
    [
        ("31/12/2023 23:30", "%d/%m/%Y %H:%M", dt.datetime(2023, 12, 31, 18, 30)),
        ("31.12.2023", "%d.%m.%Y", dt.datetime(2023, 12, 31)),
        ("20231231", "%Y%m%d", dt.datetime(2023, 12, 31)),
        ("2023-12-31 23:30 +0100", "%Y-%m-%d %H:%M %z", dt.datetime(2023, 12, 31, 17, 30)),
    ],
)
def test_time_formats(tmp_path: Path, text: str, time_format: str, expected: dt.datetime) -> None:
    source = {"timezone_of_source": "UTC", "time_format": time_format}
    log = read(tmp_path, f"id,at,paid\na,{text},1\n", timezone="America/New_York", **source)
    assert log.frame["time"].to_list() == [expected]


def test_numbers_with_a_time_format(tmp_path: Path) -> None:
    pl.DataFrame({"id": [1], "at": [20240131], "paid": [1.0]}).write_parquet(tmp_path / "s.parquet")
    source = {"path": "s.parquet", "map": MAP, "time_format": "%Y%m%d"}
    assert read_log(made({"s": source}, tmp_path)).frame["time"].to_list() == [dt.datetime(2024, 1, 31)]


def test_starts_and_ends_over_several_sources(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("id,at,kind\na,2024-01-05,purchase\na,2024-01-07,visit\n")
    (tmp_path / "b.csv").write_text("id,at,kind\na,2024-01-03,purchase\na,2024-02-01,mail\n")
    mapped = {"customer_id": "id", "time": "at", "event_type": "kind"}
    sources: dict[str, Any] = {name: {"path": f"{name}.csv", "map": mapped} for name in "ab"}
    log = read_log(made(sources, tmp_path))
    assert log.starts == {"mail": dt.date(2024, 1, 3), "purchase": dt.date(2024, 1, 5), "visit": dt.date(2024, 1, 5)}
    assert log.ends == dt.date(2024, 2, 2)
    sources["b"]["log_starts"] = "2024-01-20"
    assert read_log(made(sources, tmp_path)).starts["purchase"] == dt.date(2024, 1, 20)
    assert log.columns == frozenset()


def test_float_and_missing_ids_in_parquet(tmp_path: Path) -> None:
    frame = pl.DataFrame({"id": [17850.0, None, float("nan")], "at": [dt.date(2024, 1, 1)] * 3, "paid": [1, 2, 3]})
    frame.write_parquet(tmp_path / "s.parquet")
    log = read_log(made({"s": {"path": "s.parquet", "map": MAP}}, tmp_path))
    assert (log.frame["customer_id"].to_list(), counts(log)["missing_customer"]) == (["17850"], (2, "dropped"))


# --- bad files -----------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("s.csv", None, r"events.sources.s.path: file not found: .*s\.csv"),
        ("s-*.csv", None, r"events.sources.s.path: no file matches .*s-\*\.csv"),
        ("s.csv", b"", "s.csv is empty"),
        ("s.csv", b"id,at,paid\n", "event log is empty: none of 0 lines"),
        ("s.csv", b"id,at,paid\n,2024-01-01,1\n", "event log is empty: none of 1 lines"),
        ("s.csv", b"id,at,paid\na,2024-01-01,1,2\n", "s.csv cannot be read as csv: .*more fields"),
        ("s.csv", b"id,at,paid\n\xe9,2024-01-01,1\n", "s.csv cannot be read as csv: .*UTF-8"),
        ("s.csv", b"id;at;paid\na;2024-01-01;1\n", "map.customer_id: column 'id' is not in s.csv.*separator"),
        ("s.csv", b"id,at,Paid\na,2024-01-01,1\n", r"map.amount: column 'paid' is not in s.csv\. Did you mean 'Paid'"),
        ("s.parquet", b"PAR1 not really", "s.parquet cannot be read as parquet"),
        ("s.jsonl", b'{"id": 1\n', "s.jsonl cannot be read as jsonl"),
        ("s.jsonl", b'[{"id": 1}]\n', "s.jsonl cannot be read as jsonl"),
        ("s.xlsx", b"PK", "cannot tell the format of s.xlsx"),
    ],
)
def test_bad_files_are_named(tmp_path: Path, name: str, content: bytes | None, message: str) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=message):
        read_log(made({"s": {"path": name, "map": MAP}}, tmp_path))


def test_a_column_missing_in_one_of_many_files_is_no_column_of_nulls(tmp_path: Path) -> None:
    (tmp_path / "p1.csv").write_text("id,at,paid\na,2024-01-01,1\n")
    (tmp_path / "p2.csv").write_text("id,at,price\na,2024-01-01,1\n")
    with pytest.raises(UserError, match=r"column 'paid' is not in p2\.csv"):
        read_log(made({"s": {"path": "p*.csv", "map": MAP}}, tmp_path))


def test_a_damaged_csv_does_not_print_its_values(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot be read as csv") as caught:
        read(tmp_path, 'id,at,paid\n"secret,2024-01-01,1\n')
    assert "secret" not in str(caught.value)


def test_settings_that_cannot_work(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"events.sources is empty"):
        read_log(made({}, tmp_path))
    with pytest.raises(UserError, match=r"events.sources.s.timezone: unknown time zone 'Mars/Base'"):
        read(tmp_path, timezone_of_source="Mars/Base")
    with pytest.raises(UserError, match=r"belongs to an adapter, but events.adapter is not set"):
        read_log(made({"s": {"table": "t", "map": MAP}}, tmp_path))
    with pytest.raises(UserError, match=r"events.sources.s: time is Boolean"):
        pl.DataFrame({"id": [1], "at": [True], "paid": [1]}).write_parquet(tmp_path / "s.parquet")
        read_log(made({"s": {"path": "s.parquet", "map": MAP}}, tmp_path))


# --- identity and attributes -----------------------------------------------------------------------
def with_identity(folder: Path, pairs: str, **settings: Any) -> Log:
    (folder / "cards.csv").write_text("card,client\n" + pairs)
    identity = {"path": "cards.csv", "source_id": "card", "customer_id": "client"} | settings
    return read(folder, identity=identity)


def test_identity_joins_ids_and_keeps_the_unmapped(tmp_path: Path) -> None:
    log = with_identity(tmp_path, "a,007\nz,007\na,007\n,9\n")
    assert log.frame["customer_id"].to_list() == ["007", "007", "b"]
    assert counts(log)["identity_unmapped"] == (1, "kept under their own id")
    assert counts(log, "identity")["identity_blank"] == (1, "dropped")


def test_unmapped_ids_dropped_or_refused(tmp_path: Path) -> None:
    log = with_identity(tmp_path, "a,1\n", unmapped="drop")
    assert (log.frame["customer_id"].to_list(), counts(log)["identity_unmapped"]) == (["1", "1"], (1, "dropped"))
    assert counts(log)["events"] == (2, "entered the log")
    with pytest.raises(UserError, match=r"1 of 3 lines of 's' have ids that events.identity does not map"):
        with_identity(tmp_path, "a,1\n", unmapped="error")


def test_conflicting_ids_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"1 source ids point to more than one customer \(cards.csv line 2, 4\)"):
        with_identity(tmp_path, "a,1\nb,2\na,3\n")


def test_attributes(tmp_path: Path) -> None:
    (tmp_path / "who.csv").write_text(
        "client,since,age\nb,2024-01-01,4\na,2023-01-01,5\na,2023-06-01,6\na,2023-06-01,7\n,2023-01-01,8\nc,x,9\n"
    )
    dated = {"path": "who.csv", "customer_id": "client", "valid_from": "since"}
    undated = {"path": "who.csv", "customer_id": "client", "columns": ["age"]}
    log = read(tmp_path, attributes={"dated": dated, "undated": undated})
    assert log.attributes["dated"].rows() == [
        ("a", dt.datetime(2023, 1, 1), "5"),
        ("a", dt.datetime(2023, 6, 1), "6"),
        ("b", dt.datetime(2024, 1, 1), "4"),
    ]
    assert log.attributes["dated"].columns == ["customer_id", "valid_from", "age"]
    assert log.attributes["undated"].rows() == [("a", "5"), ("b", "4"), ("c", "9")]
    assert counts(log, "dated") == {
        "lines": (6, "read"), "missing_customer_id": (1, "dropped"), "missing_valid_from": (1, "dropped"),
        "repeated_attributes": (1, "dropped"),
    }  # fmt: skip
    assert log.notes == (
        "attributes 'dated' are dated: kept for segments and reports; no feature reads them yet.",
        "attributes 'undated' have no valid_from: used in segments and reports, refused as features "
        "(today's values would leak into past cutoffs).",
    )


def test_attributes_follow_the_identity_map(tmp_path: Path) -> None:
    (tmp_path / "who.csv").write_text("client,age\na,5\n17.0,6\n")
    (tmp_path / "cards.csv").write_text("card,client\na,1\n17,2\n")
    identity = {"path": "cards.csv", "source_id": "card", "customer_id": "client"}
    log = read(tmp_path, identity=identity, attributes={"who": {"path": "who.csv", "customer_id": "client"}})
    assert log.attributes["who"].rows() == [("1", "5"), ("2", "6")]


def test_bad_attributes(tmp_path: Path) -> None:
    (tmp_path / "who.csv").write_text("client,age,valid_from\na,5,1\n")
    with pytest.raises(
        UserError, match=r"events.attributes.who.columns: column 'agee' is not in who.csv. Did you mean 'age'"
    ):
        read(tmp_path, attributes={"who": {"path": "who.csv", "customer_id": "client", "columns": ["agee"]}})
    with pytest.raises(UserError, match=r"events.attributes.who: value column \['valid_from'\] has a name of the log"):
        read(tmp_path, attributes={"who": {"path": "who.csv", "customer_id": "client"}})
