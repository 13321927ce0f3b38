"""What crosses rows is exact: integers and order statistics. Float sums would differ between batch and customer."""

from __future__ import annotations

import json
from typing import Any, get_args

import drawn
import polars as pl
import pytest

from churn_clv import features, timeline
from churn_clv.canonical import Rules
from churn_clv.features import _history, margin
from churn_clv.features._feature import Grain
from churn_clv.text import Reading

# Polars' names of aggregates whose result depends on the order of rows, or is a float made from many rows.
INEXACT = {"Mean", "Std", "Var", "Product", "Skew", "Kurtosis", "Correlation", "EwmMean", "Quantile"}
EXACT_FLOATS = {"Median"}  # of integers: one value, or half the sum of two
ALL = drawn.WAYS["all"]


def names_in(node: Any) -> set[str]:
    """Every key and bare word of a serialised expression."""
    if isinstance(node, dict):
        return set(node) | {name for value in node.values() for name in names_in(value)}
    if isinstance(node, list):
        return {name for value in node for name in names_in(value)}
    return {node} if isinstance(node, str) else set()


# All, and texts of feedback.
WRITTEN = drawn.definitions(columns=(*drawn.COLUMNS, "sentiment", "topics"),
                            rules=Rules("UTC", "EUR", 2, text=Reading(None, (("price", ("price",)),))))  # fmt: skip


def words(expr: pl.Expr) -> set[str]:
    return names_in(json.loads(expr.meta.serialize(format="json")))


def aggregated(grain: str, expr: pl.Expr) -> pl.DataType:
    """The type an aggregate gives on real rows of its grain."""
    events = drawn.bulk(19, 40, ALL)
    past = timeline.Past(drawn.frame(events), timeline.pairs_of({e["customer_id"] for e in events}, [drawn.CUTOFF]))
    return _history.grain(past, grain).group_by("row").agg(x=expr).collect().schema["x"]  # type: ignore[arg-type]


@pytest.mark.parametrize("grain", get_args(Grain))
def test_aggregates_are_exact(grain: str) -> None:
    # margins are of CLV, and in no catalogue
    entries = [f for f in (*features.catalogue(WRITTEN), *margin.features(ALL)) if f.grain == grain]
    assert entries
    for f in entries:
        assert not words(f.expr) & INEXACT, f.name
        kind = aggregated(grain, f.expr)
        assert kind.is_integer() or (kind.is_float() and words(f.expr) & EXACT_FLOATS), f"{f.name} is {kind}"


def test_rows_that_are_aggregated_hold_no_floats() -> None:
    events = drawn.bulk(19, 40, ALL)
    past = timeline.Past(drawn.frame(events), timeline.pairs_of({e["customer_id"] for e in events}, [drawn.CUTOFF]))
    for name in get_args(Grain):
        assert not [c for c, kind in _history.grain(past, name).collect().schema.items() if kind.is_float()], name


@pytest.mark.parametrize(
    "expr",
    [pl.col("net").mean(), pl.col("net").std(), pl.col("net").var(), pl.corr("net", "gross"), pl.col("net").skew()],
)
def test_the_scan_sees_inexact_aggregates(expr: pl.Expr) -> None:
    """Control: each forbidden aggregate is recognised by its name or by its type."""
    assert words(expr) & INEXACT or aggregated("days", expr).is_float()


def test_derived_entries_never_aggregate() -> None:
    """Elementwise entries give a row its value whatever the other rows are."""
    crossing = {"Agg", "Over", "Window", "Sort", "Shift", "CumSum", "Rank"}
    for control in (pl.col("a").sum(), pl.col("a").max().over("b"), pl.col("a").shift(1), pl.col("a").sort()):
        assert words(control) & crossing, control
    for f in features.catalogue(ALL):
        if not f.grain:
            assert not words(f.expr) & crossing, f.name
