"""What may be wrong with a source's lines, and what the config says to do about it: each policy is counted."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

import polars as pl

from churn_clv import mapping
from churn_clv.canonical import (
    COST,
    EXPECTED,
    PURCHASE,
    TIMES,
    Typed,
    beyond_amount,
    is_negative,
    is_text,
    is_zero,
    no_margin,
)
from churn_clv.config import Events, Source
from churn_clv.errors import UserError
from churn_clv.sources import Table
from churn_clv.text import TEXT

IDS = ("customer_id", "order_id", "product_id", "event_id")
NO_ID = ("", "nan", "none", "null", "<na>")  # what exports write for a missing id
FLOAT_ID = r"^\s*\d+\.0+\s*$"


@dataclass(frozen=True)
class Count:
    """One counted policy: how many lines of a source it met, and what was done with them."""

    policy: str
    source: str
    rows: int
    action: str


class Sieve:
    """Which lines of a source stay, and the count of each policy. A dropped line meets no later policy.

    So lines read = events + the counts whose action is 'dropped'.
    """

    def __init__(self, source: str, table: Table, counts: list[Count]) -> None:
        self.source, self.table, self.counts = source, table, counts
        self.keep: pl.Series | None = None

    def meet(self, policy: str, mask: pl.Series | None, action: str, problem: str = "", remedy: str = "") -> None:
        """Count the lines that stay so far and meet ``mask`` (None: none do); drop them, or raise, by ``action``."""
        met = mask if mask is None or self.keep is None else mask & self.keep
        rows = 0 if met is None else int(met.sum())
        if met is not None and rows and action == "error":
            raise UserError(
                f"events.sources.{self.source}: {rows:,} of {self.table.frame.height:,} lines {problem} "
                f"({self.table.where(met)}). {remedy}"
            )
        done = {"drop": "dropped", "keep": "kept", "error": "none met"}.get(action, action)
        self.counts.append(Count(policy, self.source, rows, done))
        if met is not None and rows and action == "drop":
            self.keep = ~met if self.keep is None else self.keep & ~met

    def sift(self, frame: pl.DataFrame) -> pl.DataFrame:
        """The lines of ``frame`` that stay."""
        return frame if self.keep is None else frame.filter(self.keep)


def judge_lines(sieve: Sieve, plain: pl.DataFrame, events: Events, whole: bool = True) -> None:
    """Whole lines, as read: repeated ones and those without a customer. A part of a table knows no repeats."""
    if whole:
        sieve.meet("duplicates", repeated(sieve.table.frame), events.duplicates)
    sieve.meet(
        "missing_customer",
        blank(plain["customer_id"]),
        events.missing_customer,
        "have no customer id",
        "Fill them in or set events.missing_customer: drop.",
    )


def judge_values(sieve: Sieve, plain: pl.DataFrame, typed: Typed, source: Source, events: Events) -> None:
    """Values that cannot be read, moved times, zero and negative amounts, events past the end."""
    for column in plain.columns:
        _judge_column(sieve, plain, column, typed.bad.get(column), source, events)
    sieve.meet("nonexistent_time", typed.moved, "moved one hour forward")
    if "amount" in plain.columns:
        _judge_amounts(sieve, typed.frame, events)
    if "discount" in plain.columns:
        sieve.meet("negative_discount", (typed.frame["discount"] < 0).fill_null(False), "sign removed")
    if {"margin", COST} & {*plain.columns}:
        sieve.meet("missing_margin", typed.frame.select(no_margin()).to_series(), "kept without a margin")
        sieve.meet("margin_above_amount", typed.frame.select(beyond_amount()).to_series(), "kept")
    if TEXT in plain.columns and events.text.sentiment:
        unread = ~blank(plain[TEXT]) & typed.frame["sentiment"].is_null()
        sieve.meet("text_without_sentiment", unread, "kept without a sentiment")
    if events.ends is not None:
        sieve.meet(
            "after_end",
            typed.frame.select(at_or_after(events.ends)).to_series().fill_null(False),
            events.after_end,
            f"are dated at or after events.ends, {events.ends}",
            "Move events.ends or set events.after_end: drop.",
        )


def judge_currency(sieve: Sieve, source: Source, events: Events) -> None:
    """Raise UserError where a line that stays is in another currency than the declared one."""
    if source.currency is None:
        return
    frame = sieve.table.frame
    column = mapping.expression(source.currency, frame.schema).cast(pl.String).str.strip_chars()
    found = sieve.sift(frame.with_columns(currency=column).select("currency")).filter(pl.col("currency") != "")
    others = found.filter(pl.col("currency") != events.currency)["currency"].value_counts(sort=True)
    if others.height:
        listed = ", ".join(f"{row['currency']} ({row['count']:,} lines)" for row in others.head(5).to_dicts())
        raise UserError(
            f"events.sources.{sieve.source}.currency: the log has one currency, {events.currency}, but the source "
            f"also holds {listed}. Convert the amounts, or set events.currency."
        )


def without_float_ids(plain: pl.DataFrame, sieve: Sieve) -> pl.DataFrame:
    """In text files, '17850.0' is an integer id that once shared a column with a missing value: the '.0' goes."""
    if not sieve.table.as_text:
        return plain
    marks = {
        name: plain[name].str.contains(FLOAT_ID).fill_null(False) for name in IDS if is_text(plain.schema.get(name))
    }
    for name, mark in marks.items():
        sieve.meet(f"float_{name}", mark, "'.0' removed")
    met = [name for name, mark in marks.items() if mark.any()]
    return plain.with_columns(without_point_zero(pl.col(name)) for name in met)


def without_point_zero(ids: pl.Expr) -> pl.Expr:
    """'17850.0' as '17850'; any other text as it is."""
    return pl.when(ids.str.contains(FLOAT_ID)).then(ids.str.replace(r"\.0+\s*$", "")).otherwise(ids)


def repeated(frame: pl.DataFrame) -> pl.Series | None:
    """Marks lines equal to an earlier line in every source column; None where there are none."""
    if frame.height == 0 or frame.hash_rows().n_unique() == frame.height:
        return None
    return ~frame.select(pl.struct(pl.all()).is_first_distinct()).to_series()


def blank(ids: pl.Series) -> pl.Series:
    """Marks ids that are null, blank, or a word for nothing."""
    if is_text(ids.dtype):
        text = ids.cast(pl.String).str.strip_chars()
        short = text.str.len_bytes() <= max(map(len, NO_ID))
        # hardly an id is as short as these words, and to lower the letters of all costs more than the rest
        return ids.is_null() | (short & text.str.to_lowercase().is_in(NO_ID) if short.any() else short)
    return (ids.is_null() | ids.is_nan()).fill_null(True) if ids.dtype.is_float() else ids.is_null()


def at_or_after(ends: dt.date) -> pl.Expr:
    """Events outside a log that ends (exclusive) on this day."""
    return pl.col("time") >= dt.datetime.combine(ends, dt.time())


def _judge_column(
    sieve: Sieve, plain: pl.DataFrame, column: str, bad: pl.Series | None, source: Source, events: Events
) -> None:
    origin = source.map[column]
    named = f"column '{origin}'" if isinstance(origin, str) else f"map.{column}"
    example = ""
    if bad is not None and column in TIMES:
        example = f", such as {sieve.sift(plain.select(column, bad=bad)).filter('bad')[column].first()!s:.40}"
    expected = EXPECTED.get(column, "text or a whole number")
    problem = f"have an unreadable {column} ({named}){example}; expected {expected}"
    sieve.meet(f"unparsable_{column}", bad, events.unparsable, problem, "Correct them or set events.unparsable: drop.")


def _judge_amounts(sieve: Sieve, frame: pl.DataFrame, events: Events) -> None:
    missing = ((frame["event_type"] == PURCHASE) & frame["amount"].is_null()).fill_null(False)
    sieve.meet("missing_amount", missing, "kept without an amount")
    sieve.meet("zero_amount", frame.select(is_zero()).to_series(), events.zero_amount)
    sieve.meet(
        "negative_amount",
        frame.select(is_negative()).to_series(),
        "became returns" if events.negative_amount == "return" else events.negative_amount,
        "are purchases with a negative amount",
        "Map them to event_type return, or set events.negative_amount: return or drop.",
    )
