"""Time, by hand: past, future, the population's rhythm, and what a log's definitions are."""

from __future__ import annotations

import dataclasses
import datetime as dt
from typing import Any

import drawn
import polars as pl
import pytest
from written import CUTOFF, INSTANT, NOON, back, buy, event, frame, midnight

from churn_clv import config, events, timeline
from churn_clv.errors import UserError

DAY = dt.timedelta(days=1)
EACH = pl.col("event_type").is_not_null()


def pairs(*days: int) -> pl.DataFrame:
    return timeline.pairs_of(["c"], [CUTOFF + d * DAY for d in days])


# --- windows ------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("horizon", "windows"),
    [
        (28, (7, 14, 28, 56, 112, 224)),
        (90, (21, 42, 91, 182, 357, 721)),
        (60, (14, 28, 63, 119, 238, 483)),
        (7, (7, 14, 28, 56, 112)),
        (1, (7, 14, 28, 56, 112)),
    ],
)
def test_default_windows_are_whole_weeks_scaled_with_the_horizon(horizon: int, windows: tuple[int, ...]) -> None:
    assert timeline.default_windows(horizon) == windows


@pytest.mark.parametrize(
    ("windows", "horizon", "nearest", "two"),
    [
        ((7, 14, 28, 56, 112, 224), 28, 28, (28, 112)),
        ((7, 14, 28, 56, 112, 224), 42, 28, (28, 112)),  # 28 and 56 are as near: the shorter
        ((7, 14), 28, 14, (7, 14)),
        ((7,), 28, 7, (7,)),
        ((28, 56), 30, 28, (28,)),
    ],
)
def test_named_windows(windows: tuple[int, ...], horizon: int, nearest: int, two: tuple[int, ...]) -> None:
    d = drawn.definitions(windows_days=windows, horizon_days=horizon)
    assert (d.horizon_window_days, d.two_windows_days) == (nearest, two)


# --- past ---------------------------------------------------------------------------------------
def test_pairs_are_sorted_by_cutoff_and_customer() -> None:
    found = timeline.pairs_of(["b", "a", "b"], [CUTOFF, CUTOFF - DAY, CUTOFF])
    assert found.rows() == [("a", CUTOFF - DAY), ("b", CUTOFF - DAY), ("a", CUTOFF), ("b", CUTOFF)]


def test_the_past_of_each_pair_by_day() -> None:
    """An instant before midnight is the eve; midnight itself belongs to the day that begins."""
    log = frame([buy(0, 1, at=NOON * 0), buy(0, 2, at=-INSTANT), buy(1, 4, at=NOON * 0), buy(7, 8), back(7, 3)])
    past = timeline.Past(log, pairs(0, 1))
    found = past.by(
        where=EACH, sums={"n": EACH, "cents": pl.col("amount")}, maxima={"most": pl.col("amount")}
    ).collect()
    columns = ("row", "age_days", "weekday", "n", "cents", "most")
    assert found.sort("row", "age_days").select(columns).rows() == [
        (0, 1, 7, 2, 600, 400),  # Sunday
        (0, 7, 1, 2, 500, 800),  # Monday
        (1, 1, 1, 1, 100, 100),
        (1, 2, 7, 2, 600, 400),
        (1, 8, 1, 2, 500, 800),
    ]


def test_parts_of_one_day_become_known_apart() -> None:
    log = frame(
        [buy(9, 1), buy(9, 2, known_at=midnight(1)), buy(9, 4, known_at=midnight(0)), buy(9, 8, known_at=midnight(30))]
    )
    past = timeline.Past(log, pairs(-1, 0, 1))
    found = past.by(
        where=EACH, sums={"n": EACH, "cents": pl.col("amount")}, maxima={"most": pl.col("amount")}
    ).collect()
    assert found.sort("row").select("row", "age_days", "n", "cents", "most").rows() == [
        (0, 8, 2, 900, 800),
        (1, 9, 3, 1100, 800),
        (2, 10, 4, 1500, 800),
    ]


def test_the_past_by_a_key() -> None:
    log = frame([buy(9, 1, channel="web"), buy(9, 2, channel="web"), buy(9, 4), buy(3, 8, channel="web"), back(9, 1)])
    found = timeline.Past(log, pairs(0)).by("channel", where=pl.col("event_type") == "purchase", sums={"n": EACH})
    rows = found.collect().sort("age_days", "channel", nulls_last=True).select("age_days", "channel", "n").rows()
    assert rows == [(3, "web", 1), (9, "web", 2), (9, None, 1)]


# --- future -------------------------------------------------------------------------------------
def test_the_future_is_half_open() -> None:
    log = frame([buy(0, 1, at=-INSTANT), buy(0, 2, at=NOON * 0), buy(-7, 4, at=-INSTANT), buy(-7, 8, at=NOON * 0)])
    assert timeline.future(log, pairs(0), 7).collect()["amount"].sort().to_list() == [200, 400]
    assert timeline.future(log, pairs(0, 7), 7).collect().sort("amount").select("row", "amount").rows() == [
        (0, 200),
        (0, 400),
        (1, 800),
    ]


def test_the_future_known_by_a_midnight() -> None:
    log = frame([buy(-1, 1), buy(-1, 2, known_at=midnight(-5)), buy(-1, 4, known_at=midnight(-5) - INSTANT)])
    known = {d: timeline.future(log, pairs(0), 7, CUTOFF + d * DAY).collect()["amount"].sum() for d in (4, 5, 6)}
    assert known == {4: 100, 5: 500, 6: 700}
    assert timeline.future(log, pairs(0), 7).collect()["amount"].sum() == 700


@pytest.mark.parametrize(
    ("bought", "returned", "net", "expected"),
    [(0, 0, 0, False), (0, 1, -5, False), (1, 0, 5, True), (1, 0, 0, True), (1, 1, 1, True), (1, 1, 0, False),
     (2, 1, -1, False), (1, 2, 3, True)],
)  # fmt: skip
def test_occasion(bought: int, returned: int, net: int, expected: bool) -> None:
    row = pl.DataFrame({"p": [bought], "r": [returned], "n": [net]})
    assert row.select(timeline.occasion(pl.col("p"), pl.col("r"), pl.col("n"))).item() is expected


def test_who_is_known_since_when() -> None:
    log = frame([
        buy(9) | {"customer_id": "a"}, event("visit", 20, known_at=midnight(2)) | {"customer_id": "a"},
        buy(9, known_at=midnight(3)) | {"customer_id": "b"}, buy(0, at=NOON * 0) | {"customer_id": "c"},
    ])  # fmt: skip
    found = timeline.first_event_dates(log).sort("customer_id")
    assert found.rows() == [("a", CUTOFF - 8 * DAY), ("b", CUTOFF - 2 * DAY), ("c", CUTOFF + DAY)]
    known = timeline.known_among(log, timeline.pairs_of("cbax", [CUTOFF, CUTOFF + DAY]))
    assert known.rows() == [("a", CUTOFF), ("b", CUTOFF), *((who, CUTOFF + DAY) for who in "abc")]


# --- the rhythm of the population ---------------------------------------------------------------
def ages(customer: str, *days: int) -> list[dict[str, Any]]:
    return [buy(d) | {"customer_id": customer} for d in days]


@pytest.mark.parametrize(
    ("log", "share", "expected"),
    [
        ([], 0.9, 1),
        ([event("visit", 3)], 0.9, 1),
        (ages("a", 0), 0.9, 1),  # bought on the day of the midnight itself: not yet
        ([buy(5, known_at=midnight(0))], 0.9, 1),
        (ages("a", 5), 0.9, 5),  # one open gap, never ended: the longest seen
        (ages("a", 30, 20, 10), 0.5, 10),
        # a: gaps 10, 10 and an open 10, each a third; b: one gap of 40 and an open 5, each a half.
        # after 10 days 2/3 of the 3/2 at risk have ended: 5/9 are left; after 40 the last half: none
        (ages("a", 30, 20, 10) + ages("b", 45, 5), 0.4, 10),
        (ages("a", 30, 20, 10) + ages("b", 45, 5), 0.5, 40),
        (ages("a", 30, 20, 10) + ages("b", 45, 5), 0.9, 40),
        (ages("a", 30, 30, 20), 0.5, 10),  # two purchases of one day are one
        (ages("a", 30, 20) + ages("b", 90), 0.9, 90),  # the open gap of b hides when it ends
        # a has 39 gaps of 3 days and an open 3, b three of 40. An older customer like b is first seen up to 40 days
        # after the log's start, though 39 of the 42 gaps that ended took 3 days
        (ages("a", *range(120, 2, -3)) + ages("b", 121, 81, 41, 1), 0.9, 40),
    ],
)
def test_gap_quantile(log: list[dict[str, Any]], share: float, expected: int) -> None:
    assert timeline.gap_quantile(frame(log), CUTOFF, share) == expected


# --- definitions --------------------------------------------------------------------------------
def log_of(rows: list[dict[str, Any]]) -> events.Log:
    return events.from_frame(pl.DataFrame(rows, infer_schema_length=None), events.Rules("UTC", "USD", 2))


def bought(day: int, **columns: Any) -> dict[str, Any]:
    return {"customer_id": "a", "time": dt.date(2024, 1, day), "event_type": "purchase", "amount": 1.0} | columns


def test_define_takes_what_the_log_holds() -> None:
    log = log_of([
        bought(1, category="tea", value=None), bought(9, category=None, value=None),
        bought(12, event_type="survey", amount=None, value=3.0), bought(20, event_type="return", category="tea"),
        bought(30, event_type="survey", amount=None, category=None, value=None),
    ])  # fmt: skip
    d = timeline.define(log, config.from_dict({"dataset": "x"}), dt.date(2024, 1, 21))
    assert (d.columns, d.event_types) == (("amount", "category", "value"), ("purchase", "return", "survey"))
    assert set(d.starts.values()) == {dt.date(2024, 1, 1)} and d.purchases_start == dt.date(2024, 1, 1)
    assert (d.horizon_days, d.min_history_days, d.windows_days) == (28, 28, timeline.default_windows(28))
    assert d.censored_gap_days == 12  # a gap of 8, and one open for 12 days
    assert timeline.Definitions.model_validate_json(d.model_dump_json()) == d


def test_a_column_that_only_other_events_hold_feeds_no_family() -> None:
    log = log_of([bought(1, channel=None), bought(2, event_type="visit", amount=None, channel="web")])
    assert timeline.define(log, config.from_dict({"dataset": "x"}), dt.date(2024, 1, 3)).columns == ("amount",)


def test_define_takes_what_the_config_says() -> None:
    own = {
        "timeline": {"horizon_days": 30, "min_history_days": 50},
        "population": {"active_within_days": 99},
        "features": {"windows_days": [60, 5, 10, 30, 20, 5], "families": ["recency"], "exclude": ["overdue_sd"],
                     "seen_by": ["tasting", "call"]},
    }  # fmt: skip
    kinds = [bought(1, event_type=kind, amount=None) for kind in ("tasting", "visit")]
    d = timeline.define(log_of([bought(1), *kinds]), config.from_dict({"dataset": "x"} | own), dt.date(2024, 2, 1))
    assert (d.horizon_days, d.min_history_days, d.active_within_days) == (30, 50, 99)
    assert d.windows_days == (5, 10, 20, 30, 60)
    assert (d.families, d.exclude, d.seen_by) == (("recency",), ("overdue_sd",), ("tasting",))


def test_a_log_without_purchases_is_refused() -> None:
    log = log_of([bought(1, event_type="visit", amount=None), bought(2, event_type="mail", amount=None)])
    with pytest.raises(UserError, match=r"no 'purchase' events before 2024-01-03 \(event types: mail, visit\)"):
        timeline.define(log, config.from_dict({"dataset": "x"}), dt.date(2024, 1, 3))


def test_what_first_appears_after_the_test_cutoff_shapes_no_feature() -> None:
    log = log_of([bought(1), bought(9, channel="web"), bought(9, event_type="visit", amount=None)])
    own = config.from_dict({"dataset": "x"})
    before = timeline.define(log, own, dt.date(2024, 1, 5))
    after = timeline.define(log, own, dt.date(2024, 1, 5), known_by=dt.date(2024, 1, 20))
    assert (before.event_types, "channel" in before.columns) == (("purchase",), False)
    assert (after.event_types, "channel" in after.columns) == (("purchase", "visit"), True)
    assert (before.seen_by, after.seen_by) == ((), ("visit",))


# --- the log as it was, and attributes as they were -----------------------------------------------
def instant(day: int, hour: int = 0) -> dt.datetime:
    return dt.datetime(2024, 1, day, hour)


def test_the_log_until_a_midnight() -> None:
    log = log_of([
        bought(1, time=instant(1), known_at=None), bought(9, time=instant(9, 23), known_at=None),
        bought(10, time=instant(10), known_at=None), bought(20, time=instant(20), known_at=None),
        bought(3, time=instant(3), known_at=instant(9, 23)), bought(4, time=instant(4), known_at=instant(10)),
    ])  # fmt: skip
    cut = timeline.until(log, dt.date(2024, 1, 10))
    assert sorted(t.day for t in cut.frame["time"]) == [1, 3, 9]
    assert (log.ends, cut.ends) == (dt.date(2024, 1, 21), dt.date(2024, 1, 10))
    assert (cut.rules, cut.starts, cut.columns) == (log.rules, log.starts, log.columns)
    assert cut.fingerprint != log.fingerprint
    assert cut.frame.columns == log.frame.columns and log.frame.height == 6  # the log itself stays


def test_a_cut_log_knows_no_type_column_count_or_attribute_that_only_came_later() -> None:
    later = {"event_type": "survey", "value": 7.0}
    log = log_of([bought(1, channel=None), bought(20, channel="web"), bought(12) | later])
    people = pl.DataFrame({
        "customer_id": ["a", "a", "b"], "valid_from": [instant(2), instant(10), instant(9, 23)], "city": [*"xyz"],
    })  # fmt: skip
    undated = people.drop("valid_from")
    log = dataclasses.replace(log, attributes={"people": people, "plain": undated})
    assert (set(log.starts), {"channel", "value"} <= log.columns, len(log.counts)) == ({"purchase", "survey"}, True, 1)
    cut = timeline.until(log, dt.date(2024, 1, 10))
    assert repr(cut) == f"Log(1 events from 2024-01-01 until 2024-01-10: purchase; {cut.fingerprint})"
    assert cut.starts == {"purchase": log.starts["purchase"]} and not {"channel", "value"} & cut.columns
    assert cut.counts == ()
    assert cut.attributes["people"]["city"].to_list() == ["x", "z"] and cut.attributes["plain"].equals(undated)
    assert cut.columns == timeline.until(log, dt.date(2024, 1, 11)).columns  # of the events alone


@pytest.mark.parametrize("day", [21, 22, 30])
def test_a_log_that_ends_before_the_midnight_stays_as_it_is(day: int) -> None:
    log = log_of([bought(1), bought(20), bought(3, known_at=dt.datetime(2024, 3, 1))])
    assert timeline.until(log, dt.date(2024, 1, day)) is log


def test_attributes_are_those_known_at_the_cutoff() -> None:
    table = pl.DataFrame({
        "customer_id": ["a", "a", "a", "b", "c"],
        "valid_from": [instant(10), instant(1), instant(20, 5), instant(15), instant(2)],
        "city": ["Rome", "Oslo", "Bern", "Kyiv", None],
    })  # fmt: skip
    asked = pl.DataFrame({
        "customer_id": ["b", "a", "a", "a", "a", "a", "c", "x"],
        "cutoff": [dt.date(2024, 1, d) for d in (15, 30, 10, 11, 1, 20, 9, 9)],
    })  # fmt: skip
    found = timeline.attributes_at(table, asked)
    # valid from a day on: past at the next midnight, like any event; before the first one nothing is known
    assert found["city"].to_list() == [None, "Bern", "Oslo", "Rome", None, "Rome", None, None]
    assert found.height == asked.height


def test_attributes_without_dates_are_taken_as_they_are() -> None:
    table = pl.DataFrame({"customer_id": ["a", "b"], "city": ["Rome", None]})
    asked = pl.DataFrame({"customer_id": ["b", "x", "a", "a"], "cutoff": [dt.date(2024, 1, d) for d in (5, 4, 3, 2)]})
    assert timeline.attributes_at(table, asked)["city"].to_list() == [None, None, "Rome", "Rome"]
