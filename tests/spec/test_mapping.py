"""The closed mapping grammar: each form on a small table, values by hand."""

from __future__ import annotations

import math
from typing import Any

import polars as pl
import pytest

from churn_clv import canonical, config, events, mapping
from churn_clv.errors import UserError

NUMBERS = pl.DataFrame({"units": [2, 3, None], "price": [1.5, 0.1, 9.0], "paid": [True, False, None]})
TEXTS = pl.DataFrame(
    {"units": ["2", " 3 ", "", "two"], "price": ["1.5", "0.1", "9", "4"], "no": ["C1", "1", None, "c2"]}
)


def source(**mapped: Any) -> config.Source:
    values = {"dataset": "x", "events": {"sources": {"s": {"path": "s.csv", "map": mapped}}}}
    return config.from_dict(values).events.sources["s"]


def values(frame: pl.DataFrame, mapped: Any) -> list[Any]:
    plain = mapping.plain_columns(frame, source(customer_id={"constant": "x"}, time={"constant": "t"}, amount=mapped))
    return plain["amount"].to_list()


def test_a_column_is_taken_as_it_is() -> None:
    assert values(NUMBERS, "price") == [1.5, 0.1, 9.0]


def test_multiply_of_numbers() -> None:
    assert values(NUMBERS, {"multiply": ["units", "price"]}) == [3.0, 3 * 0.1, None]


def test_multiply_of_text_tells_missing_from_unreadable() -> None:
    found = values(TEXTS, {"multiply": ["units", "price"]})
    assert found[:3] == [3.0, 3 * 0.1, None]
    assert math.isnan(found[3])


def test_decimal_commas_are_read_where_they_are_declared_and_points_are_not_guessed_at() -> None:
    frame = pl.DataFrame(
        {"paid": ["12,5", "1.234,50", "-3", "12.5", "", " 7 "], "kind": ["1,0", "x", "1,0", "", "", ""]}
    )
    mapped = {"when": {"column": "kind", "equals": "x"}, "then": {"constant": 0}, "else": "paid"}
    own = source(customer_id={"constant": "x"}, time={"constant": "t"}, amount=mapped, category="kind")
    found = mapping.plain_columns(frame, own.model_copy(update={"decimal": ","}))
    assert found["amount"].to_list()[:3] == ["12.5", "0", "-3"] and found["amount"][4:].to_list() == [None, "7"]
    assert found["category"].to_list() == frame["kind"].to_list()  # no number: left as it is
    rules = events.rules_of(config.from_dict({"dataset": "x"}).events)
    typed = canonical.to_types(found.with_columns(time=pl.lit("2024-01-01")), rules)
    assert typed.bad["amount"].arg_true().to_list() == [3]
    assert mapping.plain_columns(frame, own)["amount"].to_list()[0] == "12,5"


def test_constants_fill_every_line_even_when_all_are_constant() -> None:
    frame = mapping.plain_columns(NUMBERS, source(customer_id={"constant": 7}, time={"constant": "2024-01-01"}))
    assert frame.to_dict(as_series=False) == {"customer_id": [7, 7, 7], "time": ["2024-01-01"] * 3}


@pytest.mark.parametrize(
    ("frame", "test", "expected"),
    [
        (TEXTS, {"column": "no", "starts_with": "C"}, ["yes", "no", "no", "no"]),
        (TEXTS, {"column": "no", "equals": "1"}, ["no", "yes", "no", "no"]),
        (TEXTS, {"column": "no", "equals": 1}, ["no", "yes", "no", "no"]),
        (TEXTS, {"column": "units", "less_than": 3}, ["yes", "no", "no", "no"]),
        (NUMBERS, {"column": "units", "less_than": 3}, ["yes", "no", "no"]),
        (NUMBERS, {"column": "units", "equals": 3}, ["no", "yes", "no"]),
        (NUMBERS, {"column": "units", "equals": "3"}, ["no", "yes", "no"]),
        (NUMBERS, {"column": "units", "starts_with": "2"}, ["yes", "no", "no"]),
        (NUMBERS, {"column": "paid", "equals": True}, ["yes", "no", "no"]),
        (NUMBERS, {"column": "paid", "equals": False}, ["no", "yes", "no"]),
        (pl.DataFrame({"paid": ["True", "false", None]}), {"column": "paid", "equals": True}, ["yes", "no", "no"]),
    ],
)
def test_conditions_and_that_a_missing_value_meets_none(
    frame: pl.DataFrame, test: dict[str, Any], expected: list[str]
) -> None:
    assert values(frame, {"when": test, "then": {"constant": "yes"}, "else": {"constant": "no"}}) == expected


def test_when_without_else_is_null_and_when_nests() -> None:
    inner = {"when": {"column": "units", "equals": 3}, "then": "price", "else": {"constant": 0}}
    assert values(NUMBERS, {"when": {"column": "units", "equals": 2}, "then": "price"}) == [1.5, None, None]
    assert values(NUMBERS, {"when": {"column": "units", "equals": 2}, "then": "units", "else": inner}) == [
        2.0,
        0.1,
        0.0,
    ]


def test_text_is_a_column_name_and_never_evaluated() -> None:
    odd = "units * price"
    assert values(NUMBERS.with_columns(pl.lit(5).alias(odd)), odd) == [5, 5, 5]
    assert set(mapping.columns_used(source(customer_id="c", time="t", amount=odd))) == {"c", "t", odd}


def test_columns_used_names_the_key_that_asks() -> None:
    amount = {"when": {"column": "a", "equals": 1}, "then": {"multiply": ["b", "c"]}, "else": "d"}
    assert mapping.columns_used(source(customer_id="k", time={"constant": "2024-01-01"}, amount=amount)) == {
        "k": "map.customer_id",
        **dict.fromkeys("abcd", "map.amount"),
    }


def test_unknown_target_names_the_nearest() -> None:
    with pytest.raises(UserError, match=r"events\.sources\.s\.map: .*'amuont'\. Did you mean 'amount'\?"):
        mapping.check_map("s", source(customer_id="c", time="t", amuont="a"))


def test_customer_and_time_must_be_mapped() -> None:
    with pytest.raises(UserError, match="time not mapped"):
        mapping.check_map("s", source(customer_id="c", amount="a"))


def test_only_numbers_are_multiplied_or_compared() -> None:
    with pytest.raises(UserError, match="'paid' is Boolean; a number is needed"):
        values(NUMBERS, {"multiply": ["units", "paid"]})
