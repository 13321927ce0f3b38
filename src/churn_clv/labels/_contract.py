"""Whether a contract ends: it is closed, or a term runs out and is not renewed in time."""

from __future__ import annotations

import datetime as dt

import polars as pl

from churn_clv import config, timeline


def ended(
    frame: pl.DataFrame, pairs: pl.DataFrame, target: config.Target, horizon_days: int, known_by: dt.date | None
) -> pl.DataFrame:
    """``row`` (a pair's position) and ``measured`` (1.0) of the pairs with an end in [cutoff, cutoff + horizon).

    An end is a local day on which the contract is closed and not opened again later that day; or the day after a
    term's last where the next opening comes ``grace`` days after it or later, or never.
    """
    ends = _ends(frame, target, known_by).sort("day").collect()
    found = (
        pairs.with_row_index("row")
        .sort("cutoff")
        .join_asof(
            ends.with_columns(end=pl.col("day")),
            left_on="cutoff", right_on="day", by="customer_id", strategy="forward", check_sortedness=False,
        )
    )  # fmt: skip
    away = (pl.col("end") - pl.col("cutoff")).dt.total_days()
    return found.filter(away < horizon_days).select("row", measured=pl.lit(1.0))


def _ends(frame: pl.DataFrame, target: config.Target, known_by: dt.date | None) -> pl.LazyFrame:
    """``customer_id`` and ``day`` of every end in a log."""
    contract = target.contract
    assert contract is not None
    opens, closes = timeline.matching(contract.opens), timeline.matching(target.events, target.kinds)
    days = (
        timeline.known_before(frame.lazy().with_columns(day=pl.col("time").dt.date()), known_by)
        .filter(opens | closes)
        .group_by("customer_id", "day")
        .agg(opened=pl.col("time").filter(opens).max(), closed=pl.col("time").filter(closes).max())
    )
    shut = pl.col("closed").is_not_null() & (pl.col("opened").is_null() | (pl.col("closed") >= pl.col("opened")))
    closed = days.filter(shut).select("customer_id", "day")
    if contract.term_days is None:
        return closed
    over = pl.col("day") + pl.duration(days=contract.term_days)
    late = pl.col("next").is_null() | (pl.col("next") >= pl.col("over") + pl.duration(days=contract.grace))
    expired = (
        days.filter(pl.col("opened").is_not_null())
        .sort("customer_id", "day")
        .with_columns(next=pl.col("day").shift(-1).over("customer_id"), over=over)
        .filter(late)
        .select("customer_id", day="over")
    )
    return pl.concat([closed, expired]).unique()
