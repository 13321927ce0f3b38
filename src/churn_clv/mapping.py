"""The closed mapping grammar (contract K11): source columns -> plain columns. Nothing is evaluated."""

from __future__ import annotations

import math

import polars as pl

from churn_clv.canonical import GIVEN, MONEY, REQUIRED, UNITS
from churn_clv.config import Condition, Constant, Mapping, Multiply, Source
from churn_clv.errors import UserError, nearest

# A number with a decimal comma: 12,5 or 1.234,5. 12.5 is none: it may be twelve and a half, or 125.
COMMA_NUMBER = r"^[+-]?(\d+|\d{1,3}(\.\d{3})+)(,\d+)?$"


def check_map(name: str, source: Source) -> None:
    """Raise UserError where a source maps something the log does not have, or lacks what it needs."""
    for target in source.map:
        if target not in GIVEN:
            raise UserError(f"events.sources.{name}.map: the log has no column '{target}'.{nearest(target, GIVEN)}")
    if missing := [target for target in REQUIRED if target not in source.map]:
        raise UserError(f"events.sources.{name}.map: {' and '.join(missing)} not mapped. Every event needs them.")


def columns_used(source: Source) -> dict[str, str]:
    """Each source column that a source's mappings read, with the key that reads it."""
    used = {column: f"map.{target}" for target, mapping in source.map.items() for column in _columns(mapping)}
    if source.currency is not None:
        used |= dict.fromkeys(_columns(source.currency), "currency")
    return used


def plain_columns(frame: pl.DataFrame, source: Source) -> pl.DataFrame:
    """The source's lines as plain columns, under the log's names."""
    if source.decimal == ",":
        frame = _with_points(frame, source)
    schema = frame.schema
    plain = {target: expression(mapping, schema) for target, mapping in source.map.items()}
    return frame.with_columns(**plain).select(*plain)


def _with_points(frame: pl.DataFrame, source: Source) -> pl.DataFrame:
    """Decimal commas rewritten as points in the text columns that are read as numbers.

    Text that is no such number is left as what no reader takes for one, so that it is refused and counted.
    """
    named = {c for target, m in source.map.items() for c in _numbers(m, target in (*MONEY, *UNITS))}
    bare = [pl.col(c).str.strip_chars() for c in sorted(named) if frame.schema.get(c) == pl.String]
    return frame.with_columns(
        pl.when(text.str.contains(COMMA_NUMBER))
        .then(text.str.replace_all(".", "", literal=True).str.replace(",", ".", literal=True))
        .when(text != "")
        .then(pl.lit("not a number with a decimal comma"))
        for text in bare
    )


def expression(mapping: Mapping, schema: pl.Schema) -> pl.Expr:
    """One mapping as an expression over source columns of the given types."""
    if isinstance(mapping, str):
        return pl.col(mapping)
    if isinstance(mapping, Multiply):
        left, right = (_number(name, schema) for name in mapping.multiply)
        return left * right
    if isinstance(mapping, Constant):
        return pl.lit(mapping.constant)
    other = pl.lit(None) if mapping.otherwise is None else expression(mapping.otherwise, schema)
    return pl.when(condition(mapping.when, schema)).then(expression(mapping.then, schema)).otherwise(other)


def condition(test: Condition, schema: pl.Schema) -> pl.Expr:
    """A condition as an expression; where the value is missing it is null, which `when` takes for not met."""
    column, dtype = pl.col(test.column), schema[test.column]
    if test.starts_with is not None:
        found = column.cast(pl.String).str.starts_with(test.starts_with)
    elif test.less_than is not None:
        found = _number(test.column, schema) < test.less_than
    elif isinstance(test.equals, bool):
        found = (column if dtype == pl.Boolean else column.cast(pl.String).str.to_lowercase() == "true") == test.equals
    elif isinstance(test.equals, str):
        found = column.cast(pl.String) == test.equals
    else:
        found = _number(test.column, schema) == test.equals
    return found


def _numbers(mapping: Mapping, is_number: bool) -> list[str]:
    """The source columns that a mapping reads as numbers: multiplied, compared with one, or all that it ``is``."""
    if isinstance(mapping, str):
        return [mapping] if is_number else []
    if isinstance(mapping, Multiply):
        return list(mapping.multiply)
    if isinstance(mapping, Constant):
        return []
    test = mapping.when
    compared = test.less_than is not None or (
        isinstance(test.equals, int | float) and not isinstance(test.equals, bool)
    )
    inner = [c for m in (mapping.then, mapping.otherwise) if m is not None for c in _numbers(m, is_number)]
    return [test.column, *inner] if compared else inner


def _columns(mapping: Mapping) -> list[str]:
    if isinstance(mapping, str):
        return [mapping]
    if isinstance(mapping, Multiply):
        return list(mapping.multiply)
    if isinstance(mapping, Constant):
        return []
    inner = [m for m in (mapping.then, mapping.otherwise) if m is not None]
    return [mapping.when.column, *(column for m in inner for column in _columns(m))]


def _number(name: str, schema: pl.Schema) -> pl.Expr:
    """A column as floats: null where nothing is given, NaN (refused later) where text is no number."""
    column = pl.col(name)
    if schema[name] == pl.String:
        text = column.str.strip_chars()
        return pl.when(text != "").then(text.cast(pl.Float64, strict=False).fill_null(math.nan))
    if not schema[name].is_numeric():
        raise UserError(f"column '{name}' is {schema[name]}; a number is needed where it is multiplied or compared.")
    return column.cast(pl.Float64)
