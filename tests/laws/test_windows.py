"""Windows tile: blocks add up, past and future hold every event once, and a window from before the log is null."""

from __future__ import annotations

import datetime as dt
from itertools import pairwise

import drawn
import oracle
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from churn_clv import features, timeline

ALL = drawn.WAYS["all"]
DAY = dt.timedelta(days=1)
EACH = pl.col("event_type").is_not_null()


@pytest.mark.parametrize("way", ["all", "odd windows, no cents"])
def test_blocks_and_the_shortest_window_add_up_to_the_longest(way: str) -> None:
    d = drawn.WAYS[way]
    rows = drawn.matrix_of(drawn.bulk(11, 300, d, 14), d, drawn.CUTOFFS)
    shortest, longest = d.windows_days[0], d.windows_days[-1]
    for what, unit in (("purchase_days", 1), ("spend", 10**d.rules.minor_units)):
        names = [f"{what}_last_{shortest}d", *(f"{what}_from_{a}d_to_{b}d" for a, b in pairwise(d.windows_days))]
        exact = [(rows[name] * unit).round().cast(pl.Int64) for name in names]
        whole = (rows[f"{what}_last_{longest}d"] * unit).round().cast(pl.Int64)
        assert sum(exact[1:], exact[0]).equals(whole.alias(names[0]))
        assert whole.n_unique() > 3


def test_longer_windows_never_hold_less() -> None:
    rows = drawn.matrix_of(drawn.bulk(12, 300, ALL), ALL, drawn.CUTOFFS)
    for what in ("purchase_days", "products_distinct", "purchase_lines", "visit_events", "return_days"):
        own = [w for w in ALL.windows_days if f"{what}_last_{w}d" in rows.columns]
        assert len(own) >= 2
        for near, far in pairwise(own):
            assert (rows[f"{what}_last_{near}d"] <= rows[f"{what}_last_{far}d"]).all()


def of_each(rows: pl.LazyFrame, pairs: pl.DataFrame) -> list[int]:
    """Number of events per pair, in the order of the pairs."""
    count = rows.group_by("row").agg(n=pl.col("n").sum()).collect()
    return pairs.with_row_index("row").join(count, on="row", how="left")["n"].fill_null(0).to_list()


def before(frame: pl.DataFrame, pairs: pl.DataFrame) -> list[int]:
    return of_each(timeline.Past(frame, pairs).by(where=EACH, sums={"n": EACH}), pairs)


def after(frame: pl.DataFrame, pairs: pl.DataFrame, days: int) -> list[int]:
    return of_each(timeline.future(frame, pairs, days).with_columns(n=pl.lit(1)), pairs)


@given(mine=drawn.drawn(ALL), days=st.sampled_from([1, 7, 28, 29]))
@settings(max_examples=40, deadline=None)
def test_past_and_future_hold_every_event_once(mine: list[oracle.Event], days: int) -> None:
    prompt = [e | {"known_at": None} for e in mine]
    frame = drawn.frame(prompt)
    pairs = timeline.pairs_of(drawn.IDS, drawn.CUTOFFS)
    later = pairs.with_columns(pl.col("cutoff") + dt.timedelta(days=days))
    in_all = [sum(e["customer_id"] == who for e in prompt) for who in pairs["customer_id"]]
    assert [p + f for p, f in zip(before(frame, pairs), after(frame, pairs, 9999), strict=True)] == in_all
    # the next window begins where this one ends
    grown = [p + f for p, f in zip(before(frame, pairs), after(frame, pairs, days), strict=True)]
    assert before(frame, later) == grown
    two = [a + b for a, b in zip(after(frame, pairs, days), after(frame, later, days), strict=True)]
    assert after(frame, pairs, 2 * days) == two


@pytest.mark.parametrize("slack", [-1, 0, 1])
@pytest.mark.parametrize("window", ALL.windows_days)
def test_a_window_that_starts_before_the_log_is_null(window: int, slack: int) -> None:
    """Null exactly where the window reaches before the start of any event type that it counts."""
    starts = dict.fromkeys(drawn.KINDS, drawn.CUTOFF - dt.timedelta(days=window + slack))
    d = drawn.definitions(starts=starts)
    rows = drawn.matrix_of(drawn.bulk(13, 20, d), d)
    windowed = {f.name: f.window_days for f in features.catalogue(d) if f.window_days and not f.hidden}
    assert len(windowed) > 30
    for name, own in windowed.items():
        assert rows[name].null_count() == (0 if own <= window + slack else rows.height), name


@pytest.mark.parametrize("late", ["return", "visit"])
def test_a_window_is_null_where_one_of_its_types_begins_later(late: str) -> None:
    d = drawn.definitions(starts=ALL.starts | {late: drawn.CUTOFF - dt.timedelta(days=20)})
    row = drawn.matrix_of(drawn.bulk(14, 20, d), d).row(0, named=True)
    assert row["purchase_days_last_28d"] is not None
    assert (row["spend_last_28d"] is None) == (row["return_days_last_28d"] is None) == (late == "return")
    assert (row["visit_events_last_28d"] is None) == (row["touches_last_28d"] is None) == (late == "visit")
    assert row["survey_events_last_28d"] is not None and row["spend_last_14d"] is not None


def test_window_nulls_pass_to_what_is_computed_from_them() -> None:
    d = drawn.definitions(starts=dict.fromkeys(drawn.KINDS, drawn.CUTOFF - dt.timedelta(days=30)))
    rows = drawn.matrix_of(drawn.bulk(15, 60, d), d)
    for name in ("purchase_days_from_28d_to_56d", "purchase_days_trend_28d_to_56d", "spend_from_28d_to_56d",
                 "spend_trend_28d_to_112d", "active_weeks_share_last_112d", "discount_share_last_56d"):  # fmt: skip
        assert rows[name].null_count() == rows.height, name
    assert rows["purchase_days_from_14d_to_28d"].null_count() == 0
