"""The log's columns and the one converter that every event passes, from files, frames and requests alike.

Everything here looks at one row at a time, so one customer's rows alone give the same log lines as the whole log.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import polars as pl

from churn_clv.clock import LOCAL, check_zone, to_local
from churn_clv.errors import UserError, nearest
from churn_clv.text import TEXT, Reading, in_numbers

LOG_SCHEMA: dict[str, pl.DataType] = {
    "customer_id": pl.String(),
    "time": LOCAL,
    "known_at": LOCAL,
    "event_type": pl.String(),
    "amount": pl.Int64(),
    "order_id": pl.String(),
    "product_id": pl.String(),
    "category": pl.String(),
    "quantity": pl.Int64(),
    "discount": pl.Int64(),
    "channel": pl.String(),
    "value": pl.Int64(),
    "event_id": pl.String(),
    "margin": pl.Int64(),
    "sentiment": pl.Int64(),
    "topics": pl.String(),
}
# Plain columns that the log does not keep: what was sold has cost so much (the margin is the amount less it); words.
COST = "cost"
GIVEN = (*LOG_SCHEMA, COST, TEXT)
REQUIRED = ("customer_id", "time")
TIMES = ("time", "known_at")
MONEY = ("amount", "discount", "margin", COST)
UNITS = ("quantity", "value", "sentiment")
PURCHASE, RETURN = "purchase", "return"
# What `churn-clv act --send` writes of whom it contacted (definition D31).
CONTACTED = "campaign_contact"
# What Polars itself gives the calls of a DataFrame: no pass of its optimizer, which for few rows costs more than they.
PLAIN: pl.QueryOptFlags = getattr(pl.QueryOptFlags, "_eager", pl.QueryOptFlags.none)()
# Nor does it pay to simplify the expressions of few rows; what they give is the same.
PLAIN.simplify_expression = False
_AN_AMOUNT = "an amount (such as 1234.50, no sign of a currency; at most 9e13 minor units)"
LIMIT = 9e13  # minor units or thousandths: beyond it a float no longer tells neighbouring cents apart safely
EXPECTED = {
    "time": "a time from 1900 to 2199 (ISO 8601, or as time_format says)",
    "known_at": "a time from 1900 to 2199 (ISO 8601, or as time_format says)",
    **dict.fromkeys(MONEY, _AN_AMOUNT),
    "quantity": "a number (such as 0.5; at most 9e10)",
    "value": "a number (such as 0.5; at most 9e10)",
    "sentiment": "a number from -1 to 1",
}


@dataclass(frozen=True)
class Rules:
    """How plain columns become the log; frozen into the bundle, so batch and service read events alike.

    ``timezone`` is the business's IANA zone, ``minor_units`` the decimals of ``currency`` (2: cents).
    ``zero_amount`` and ``negative_amount`` say what happens to purchases of nothing and of less than nothing, ``text``
    how texts become numbers (None: they are refused).
    """

    timezone: str
    currency: str
    minor_units: int
    zero_amount: Literal["keep", "drop"] = "keep"
    negative_amount: Literal["return", "drop", "error"] = "return"
    text: Reading | None = None

    def __post_init__(self) -> None:
        check_zone(self.timezone)


@dataclass(frozen=True)
class Typed:
    """Columns in the log's types; ``bad`` marks, by column, rows whose value could not be read (null in ``frame``).

    ``moved`` marks rows whose time was skipped by the source zone's clock and moved one hour forward.
    """

    frame: pl.DataFrame
    bad: Mapping[str, pl.Series]
    moved: pl.Series


def canonical(frame: pl.DataFrame, rules: Rules) -> pl.DataFrame:
    """Plain columns -> LOG_SCHEMA, sorted by a total order over all columns.

    ``frame`` has any of LOG_SCHEMA's names: money (``amount``, ``discount``, ``margin``) in major units and
    ``quantity`` and ``value`` in units (integer, float, decimal or text), times as local or zoned datetimes, dates or
    ISO 8601 text, ids as text or numbers. A missing ``event_type`` column means purchases. Returns get amount and
    quantity <= 0, discounts >= 0, whatever sign they came with; a return's margin turns with its amount. ``cost``, of
    either sign, may stand for ``margin``: the amount less it. ``text`` becomes ``sentiment`` and ``topics`` where
    ``rules`` say how. Raises UserError for unknown columns, types or values that cannot be read.
    """
    typed = to_types(frame, rules)
    for column, bad in typed.bad.items():
        expected = EXPECTED.get(column, "text or a whole number")
        raise UserError(
            f"{column}: {bad.sum():,} of {frame.height:,} values cannot be read as {expected}"
            f" (first at rows {first_rows(bad)}). Correct them or leave these events out."
        )
    if rules.negative_amount == "error" and (count := typed.frame.filter(is_negative()).height):
        raise UserError(f"amount: {count} purchases have a negative amount; record them with event_type 'return'.")
    return arrange(apply_policies(typed.frame, rules))


def to_types(
    plain: pl.DataFrame, rules: Rules, source_zone: str | None = None, time_format: str | None = None
) -> Typed:
    """Convert plain columns to LOG_SCHEMA's types, marking what cannot be read instead of raising on it."""
    _check_columns(plain)
    plain = in_numbers(plain, rules.text)
    times = {n: to_local(plain[n], rules.timezone, source_zone, time_format) for n in TIMES if n in plain.columns}
    names = (*LOG_SCHEMA, COST) if COST in plain.columns else (*LOG_SCHEMA,)
    values = [_value(name, plain.schema.get(name), rules).alias(name) for name in names if name not in times]
    read = plain.select(pl.first().alias("_height"), *values)  # a column of the frame gives literals its height
    # Columns cut into chunks at different rows would be put together again by every query.
    typed = pl.DataFrame([times[name][0].alias(name) if name in times else read[name] for name in names]).rechunk()
    unread = [name for name in plain.columns if _doubtful(plain[name], typed[name])]
    bad = _bad(plain, typed, unread)
    return Typed(_less_cost(typed) if COST in names else typed, bad, times["time"][1])


def _less_cost(typed: pl.DataFrame) -> pl.DataFrame:
    """The margin where only the cost is told: the amount less it, of which a return gives both back."""
    amount, cost = pl.col("amount"), pl.col(COST).abs()
    left = pl.when(amount < 0).then(amount + cost).otherwise(amount - cost)
    return typed.with_columns(margin=pl.coalesce("margin", left)).drop(COST)


def _doubtful(plain: pl.Series, typed: pl.Series) -> bool:
    """Whether a column may hold a value that could not be read: counting nulls costs less than to compare values."""
    nulls = typed.null_count()
    if not nulls or plain.name in (*REQUIRED, "event_type"):
        return nulls > 0
    return plain.name in (*TIMES, *MONEY, *UNITS) if is_text(plain.dtype) else nulls > plain.null_count()


def _bad(plain: pl.DataFrame, typed: pl.DataFrame, names: Sequence[str]) -> dict[str, pl.Series]:
    """Of some columns those that hold a value that could not be read, and where."""
    if not names:
        return {}
    both = plain[list(names)].hstack([typed[name].alias(f"typed {name}") for name in names])
    marks = {n: _given(pl.col(n), n, plain.schema[n]) & pl.col(f"typed {n}").is_null() for n in names}
    wrong = both.select(**{name: mark.any() for name, mark in marks.items()}).row(0, named=True)
    return {n: both.select(marks[n].alias(n)).to_series() for n in names if wrong[n]}


def no_margin() -> pl.Expr:
    """A purchase whose amount is given and its margin is not."""
    return ((pl.col("event_type") == PURCHASE) & pl.col("amount").is_not_null() & pl.col("margin").is_null()).fill_null(
        False
    )


def beyond_amount() -> pl.Expr:
    """A purchase whose margin is more than its amount: what was sold would have cost less than nothing."""
    return ((pl.col("event_type") == PURCHASE) & (pl.col("margin") > pl.col("amount"))).fill_null(False)


def is_zero() -> pl.Expr:
    """A purchase whose amount is given and nil (in minor units)."""
    return ((pl.col("event_type") == PURCHASE) & (pl.col("amount") == 0)).fill_null(False)


def is_negative() -> pl.Expr:
    """A purchase whose amount is below zero (in minor units)."""
    return ((pl.col("event_type") == PURCHASE) & (pl.col("amount") < 0)).fill_null(False)


def apply_policies(typed: pl.DataFrame, rules: Rules) -> pl.DataFrame:
    """Zero and negative purchases by ``rules``; then the signs of returns and discounts."""
    log = typed.lazy()
    if rules.zero_amount == "drop":
        log = log.filter(~is_zero())
    if rules.negative_amount == "drop":
        log = log.filter(~is_negative())
    else:
        log = log.with_columns(event_type=pl.when(is_negative()).then(pl.lit(RETURN)).otherwise(pl.col("event_type")))
    returned = pl.col("event_type") == RETURN
    return log.with_columns(
        pl.when(returned).then(-pl.col("amount", "quantity").abs()).otherwise(pl.col("amount", "quantity")),
        pl.col("discount").abs(),
        margin=pl.when(returned & (pl.col("amount") > 0)).then(-pl.col("margin")).otherwise("margin"),
    ).collect(optimizations=PLAIN)


def arrange(log: pl.DataFrame) -> pl.DataFrame:
    """Sort by all columns, nulls last: equal rows aside, there is one order only."""
    varying = [name for name in LOG_SCHEMA if log[name].null_count() < log.height]
    return log.sort(varying, nulls_last=True) if varying else log


def repeated() -> pl.Expr:
    """Whether a log line repeats an event_id of its customer; the first in the log's order does not."""
    return pl.col("event_id").is_not_null() & ~pl.struct("customer_id", "event_id").is_first_distinct()


def divide(expr: pl.Expr, by: int) -> pl.Expr:
    """``expr`` / ``by`` to the nearest double: cents to major units, thousandths to units.

    Polars divides a column by a constant as a multiplication with 1 / constant, but a column of one row properly, so
    that one customer and a batch would differ in the last bit. Two columns it divides row by row.
    """
    return expr / (expr * 0 + by)


def first_rows(mask: pl.Series, start: int = 1) -> str:
    """The first three true positions of ``mask``, counted from ``start``."""
    return ", ".join(str(i + start) for i in mask.arg_true().head(3))


def as_text(column: pl.Expr, dtype: pl.DataType, name: str) -> pl.Expr:
    """A column as text without outer spaces, null where blank. Numbers must be whole: 17850.0 becomes '17850'.

    Raises UserError for types that are neither text nor numbers.
    """
    if is_text(dtype):
        return column.cast(pl.String).str.strip_chars().replace("", None)
    if dtype.is_integer() or dtype == pl.Null:
        return column.cast(pl.String)
    if dtype.is_float():
        whole = (column == column.floor()) & (column.abs() < 2**53)
        return pl.when(whole).then(column).cast(pl.Int64, strict=False).cast(pl.String)
    raise UserError(f"{name} is {dtype}; expected text or whole numbers.")


def is_text(dtype: pl.DataType | None) -> bool:
    """Text, or categories of text."""
    return dtype == pl.String or isinstance(dtype, (pl.Categorical, pl.Enum))


def _value(name: str, dtype: pl.DataType | None, rules: Rules) -> pl.Expr:
    """One column of the log (not a time), from the plain column of that name or from nothing."""
    column = pl.col(name)
    if dtype is None:
        return pl.lit(PURCHASE if name == "event_type" else None, LOG_SCHEMA[name])
    if name in MONEY:
        return _fixed_point(column, dtype, name, 10**rules.minor_units)
    if name in UNITS:
        return _fixed_point(column, dtype, name, 1000, 1000 if name == "sentiment" else LIMIT)
    return as_text(column, dtype, name)


def _check_columns(plain: pl.DataFrame) -> None:
    for name in plain.columns:
        if name not in GIVEN:
            raise UserError(f"unknown event column '{name}'.{nearest(name, GIVEN)}")
    if missing := [name for name in REQUIRED if name not in plain.columns]:
        raise UserError(f"event column(s) missing: {', '.join(missing)}. Every event needs {' and '.join(REQUIRED)}.")


def _given(values: pl.Expr, name: str, dtype: pl.DataType) -> pl.Expr:
    """Marks values that must be readable: all of those that no event can do without, else what is not blank."""
    if name in (*REQUIRED, "event_type"):
        return pl.lit(True)
    if is_text(dtype):
        return (values.cast(pl.String).str.strip_chars() != "").fill_null(False)
    return values.is_not_null()


def _fixed_point(column: pl.Expr, dtype: pl.DataType, name: str, scale: int, most: float = LIMIT) -> pl.Expr:
    """A number as an integer of 1/scale, halves away from zero; null where it is no number or beyond ``most``.

    The first rounding (1e-4 of a minor unit) undoes binary dust, so that 1.005 and 3 x 1.115 round as written.
    """
    if dtype == pl.String:
        number = column.str.strip_chars().cast(pl.Float64, strict=False)
    elif dtype.is_numeric() or dtype == pl.Null:
        number = column.cast(pl.Float64)
    else:
        raise UserError(f"{name} is {dtype}; expected {EXPECTED[name]}.")
    scaled = (number * scale).round(4).round(0, mode="half_away_from_zero")
    # NaN is above all numbers here, so that it is beyond any bound, too.
    return pl.when(scaled.abs() <= most).then(scaled).cast(pl.Int64, strict=False)
