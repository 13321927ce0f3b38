"""The rhythm of the population: purchase occasions, and how the gaps between them end."""

from __future__ import annotations

import datetime as dt

import polars as pl

from churn_clv.timeline._cuts import occasion, seen_before


def gap_quantile(frame: pl.DataFrame, as_of: dt.date, share: float = 0.9) -> int:
    """Days within which ``share`` of the gaps between purchase days end, from what was known before ``as_of``.

    Kaplan-Meier with each customer's open gap as censored and one weight per customer (definition D27): finished
    gaps alone are biased short. Where the curve does not fall that far, the longest gap seen.

    The question is about customers (by when is one who bought before the log's start seen?), and at the start each of
    them is in one gap. ``advise`` asks about silences and counts each once: here the many short gaps of a few regular
    buyers would outvote all others.
    """
    bought = seen_before(frame, as_of).filter(pl.col("event_type") == "purchase")
    spells = gaps(bought.select("customer_id", day=pl.col("time").dt.date()).unique(), as_of)
    if spells.is_empty():
        return 1
    curve = kaplan_meier(spells.with_columns(weight=1.0 / pl.len().over("customer_id")))
    ended = curve.filter(pl.col("alive") <= 1.0 - share + 1e-12)
    return int(ended["gap"].min() if ended.height else curve["gap"].max())  # type: ignore[arg-type]


def money_days(frame: pl.DataFrame, as_of: dt.date) -> pl.LazyFrame:
    """Every day with a purchase or a return known before ``as_of``: ``customer_id``, ``day``, ``net`` (minor units),
    ``stands``: whether it is an occasion (definition D2).
    """  # fmt: skip
    bought, reversed_ = pl.col("event_type") == "purchase", pl.col("event_type") == "return"
    return (
        seen_before(frame, as_of)
        .filter(bought | reversed_)
        .group_by("customer_id", day=pl.col("time").dt.date())
        .agg(net=pl.col("amount").sum(), purchases=bought.sum(), returns=reversed_.sum())
        .with_columns(stands=occasion(pl.col("purchases"), pl.col("returns"), pl.col("net")))
        .select("customer_id", "day", "net", "stands")
    )


def occasion_days(frame: pl.DataFrame, as_of: dt.date) -> pl.LazyFrame:
    """Every occasion (definition D2) known before ``as_of``: ``customer_id``, ``day``."""
    return money_days(frame, as_of).filter("stands").select("customer_id", "day")


def gaps(days: pl.LazyFrame, as_of: dt.date) -> pl.DataFrame:
    """The time from each of a customer's distinct ``day``s to the next, or to ``as_of`` where none has come (open).

    Returns ``customer_id``, ``nth`` (0 = after the customer's first day), ``gap`` (days), ``closed``; in that order.
    """
    return (
        days.sort("customer_id", "day")
        .with_columns(end=pl.col("day").shift(-1).over("customer_id"))
        .select(
            "customer_id",
            nth=pl.int_range(pl.len()).over("customer_id"),
            gap=(pl.col("end").fill_null(as_of) - pl.col("day")).dt.total_days(),
            closed=pl.col("end").is_not_null(),
        )
        .collect()
    )


def kaplan_meier(spells: pl.DataFrame) -> pl.DataFrame:
    """The share of gaps that go on, from ``gap`` (days), ``closed`` and ``weight`` of each (Kaplan and Meier 1958).

    One row per length, shortest first: ``gap``, ``at_risk`` and ``ended`` (weights), ``alive``: the share of gaps
    longer than this one. An open gap counts as at risk up to and including its own length.
    """
    return (
        spells.group_by("gap")
        .agg(
            weight=pl.col("weight").sort().sum(),
            ended=pl.col("weight").filter(pl.col("closed")).sort().sum(),
        )
        .sort("gap")
        .with_columns(at_risk=pl.col("weight").cum_sum(reverse=True))
        .select("gap", "at_risk", "ended", alive=(1.0 - pl.col("ended") / pl.col("at_risk")).cum_prod())
    )
