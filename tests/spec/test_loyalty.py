"""Loyalty by hand: the index and what retention says of it, surveys, who waits, points."""

from __future__ import annotations

import dataclasses
import datetime as dt
import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import segmented
import shop
import tiny

from churn_clv import config, forgetting, loyalty, timeline
from churn_clv.loyalty import _index

ENDS = dt.date(2024, 6, 3)
TARGETS = {"churned": {"events": {"is_in": ["purchase"]}, "measure": "absent"}}


def own(**changes: Any) -> config.Config:
    return config.from_dict({"dataset": "tiny", "targets": TARGETS, "timeline": {"horizon_days": 28},
                             "loyalty": changes})  # fmt: skip


def log_of(rows: list[tuple[Any, ...]]) -> Any:
    """Events (customer, days before the end, type, value); a purchase brings 10. The hour grows with the place."""
    morning = dt.datetime.combine(ENDS, dt.time(8))
    plain = [
        {
            "customer_id": who, "time": morning - dt.timedelta(days=age) + dt.timedelta(minutes=n),
            "event_type": kind, "amount": 10.0 if kind == "purchase" else None, "value": (*more, None)[0],
        }
        for n, (who, age, kind, *more) in enumerate(rows)
    ]  # fmt: skip
    frame = pl.DataFrame(plain, schema_overrides={"value": pl.Float64, "amount": pl.Float64}, infer_schema_length=None)
    kinds = set(frame["event_type"])
    starts = dict.fromkeys(kinds | {"purchase"}, tiny.START)
    return segmented.events.from_frame(frame, tiny.definitions().rules, ENDS, starts)


def voice(rows: list[tuple[Any, ...]]) -> pl.DataFrame:
    return loyalty.dated(log_of(rows).frame, ENDS)


# --- the index ------------------------------------------------------------------------------------
def test_the_index_by_hand() -> None:
    """Mid-ranks of 1, 2, 2, 9: 1/8, 1/2, 1/2, 7/8. Of the other, weight -3, of those known 5 and 7: 1/4 and 3/4, turned
    round 3/4 and 1/4; unknown is 1/2. The first: (1/8 + 3 x 3/4) / 4 = .59375."""
    rows = pl.DataFrame({"a": [1.0, 2.0, 2.0, 9.0], "b": [5.0, None, 7.0, None]})
    found = loyalty.index(rows, {"a": 1.0, "b": -3.0})
    assert found.to_list() == pytest.approx([59.375, 50.0, 100 * (0.5 + 0.75) / 4, 100 * (0.875 + 1.5) / 4])


def test_quintiles_by_hand() -> None:
    assert loyalty.quintiles(pl.Series([5.0, 1.0, 2.0, 3.0, 4.0])).to_list() == [5, 1, 2, 3, 4]
    assert loyalty.quintiles(pl.Series([1.0] * 10)).to_list() == [3] * 10  # all alike are in the middle


def test_weights_that_the_log_cannot_feed_are_named() -> None:
    terms = tiny.definitions(event_types=("purchase",), watched={}, contracts={}, plans={})
    found, missing = loyalty.parts({"tenure_days": 1.0, "nps_value_last": 2.0, "spend": 0.0}, terms)
    assert (found, missing) == ({"tenure_days": 1.0}, ["nps_value_last"])


def many(stays: list[int]) -> Any:
    """Five groups of 40 customers who bought 1 to 5 times before; of each so many buy in the last 28 days."""
    rows: list[tuple[Any, ...]] = []
    for group, bought in enumerate(stays, 1):
        for number in range(40):
            who = f"g{group}-{number:02d}"
            rows += [(who, 60 + 5 * k, "purchase") for k in range(group)] + [(who, 29, "purchase")]
            rows += [(who, 10, "purchase")] * (number < bought)
    return log_of(rows)


@pytest.mark.parametrize(
    ("stays", "supported"), [([5, 10, 20, 30, 39], True), ([5, 20, 10, 30, 39], False), ([20, 20, 20, 20, 20], False)]
)
def test_the_index_is_supported_only_where_retention_rises(stays: list[int], supported: bool) -> None:
    log = many(stays)
    settings = own(weights={"purchase_days": 1.0})
    found = loyalty.retention(log, timeline.define(log, settings, log.ends), {"purchase_days": 1.0}, settings)
    assert [row["retention"] for row in found["quintiles"]] == [n / 40 for n in stays]
    assert found["supported"] is supported and (found["verdict"] == loyalty.NOT_SUPPORTED) is not supported


# --- what was said --------------------------------------------------------------------------------
def test_nps_is_promoters_less_detractors_of_the_latest_answers() -> None:
    """a 10 (and 0 before), b 9, c 8, d 6, e 0: 2 of 5 promote, 2 detract. f's answer is too old."""
    rows = [("a", 9, "nps", 0.0), ("a", 2, "nps", 10.0), ("b", 3, "nps", 9.0), ("c", 3, "nps", 8.0),
            ("d", 3, "nps", 6.0), ("e", 3, "nps", 0.0), ("f", 40, "nps", 10.0), ("f", 3, "visit", None)]  # fmt: skip
    found = loyalty.survey(voice(rows), "nps", config.Survey(detractor_at_most=6, promoter_at_least=9), 30)
    assert found is not None and (found["answers"], found["net"]) == (5, 0.0)
    assert (found["promoters"], found["detractors"]) == (0.4, 0.4)
    assert found["net_high"] == pytest.approx(100 * 1.959964 * (0.8 / 5) ** 0.5)
    assert loyalty.survey(voice(rows), "csat", config.Survey(detractor_at_most=2, promoter_at_least=4), 30) is None


def test_who_waits_by_hand() -> None:
    """a opened 9 and 5 days ago, one was answered: the one of 5 days waits. b's was answered; c's is 2 days old, not
    three; d's is older than 90 days. e's close is of the older case: that of 80 days waits."""
    rows = [("a", 9, "complaint"), ("a", 5, "complaint"), ("a", 4, "complaint_closed"), ("b", 8, "complaint"),
            ("b", 7, "complaint_closed"), ("c", 2, "complaint"), ("d", 91, "complaint"), ("e", 95, "complaint"),
            ("e", 80, "complaint"), ("e", 70, "complaint_closed"), ("f", 5, "complaint_closed")]  # fmt: skip
    case = config.Case(opens=("complaint",), ends=("complaint_closed",))
    found = loyalty.waiting(voice(rows), "complaint", case, own().loyalty)
    assert found.sort("customer_id").select("customer_id", "days").rows() == [("a", 5), ("e", 80)]
    assert loyalty.waiting(voice(rows), "complaint", case, own(after_days=2).loyalty).height == 3


def test_an_end_ends_no_case_that_comes_later() -> None:
    """a's ticket was answered twice, and b's first answer is of one of before the log: the newer tickets wait. c's two
    were ended after both were open. d had two ends too many, then three tickets and one end: two wait, since 20 days.
    e wrote and was answered within one day, then wrote again."""
    asked, ended = "complaint", "complaint_closed"
    rows = [("a", 30, asked), ("a", 29, ended), ("a", 28, ended), ("a", 10, asked), ("b", 40, ended), ("b", 12, asked),
            ("c", 30, asked), ("c", 20, asked), ("c", 5, ended), ("c", 4, ended), ("d", 50, ended), ("d", 49, ended),
            ("d", 30, asked), ("d", 20, asked), ("d", 15, asked), ("d", 9, ended), ("e", 8, asked), ("e", 8, ended),
            ("e", 6, asked)]  # fmt: skip
    case = config.Case(opens=(asked,), ends=(ended,))
    found = loyalty.waiting(voice(rows), "complaint", case, own().loyalty)
    assert found.sort("customer_id").select("customer_id", "days").rows() == [("a", 10), ("b", 12), ("d", 20), ("e", 6)]


def test_of_one_day_the_latest_counts() -> None:
    """a praised in the morning and tore us up in the evening; b earned points and then spent them."""
    rows = [("a", 5, "nps", 9.0), ("a", 5, "nps", 3.0), ("b", 5, "points", 900.0), ("b", 5, "points", 100.0)]
    terms = config.Survey(detractor_at_most=6, promoter_at_least=9)
    found = loyalty.survey(voice(rows), "nps", terms, 30)
    assert found is not None and found["net"] == -100
    assert loyalty.detractors(voice(rows), "nps", terms, own().loyalty)["customer_id"].to_list() == ["a"]
    assert loyalty.points(voice(rows), own(levels={"silver": 500}).loyalty).rows() == [("b", 100.0, None, 400.0)]


def test_detractors_whom_nobody_answered() -> None:
    """a: 6, four days ago. b: 3, answered a day after. c: 2 of old, now 9. d: answered before, not since. e: new."""
    rows = [("a", 4, "nps", 6.0), ("b", 9, "nps", 3.0), ("b", 8, "follow_up"), ("c", 30, "nps", 2.0),
            ("c", 5, "nps", 9.0), ("d", 9, "follow_up"), ("d", 8, "nps", 1.0), ("e", 1, "nps", 0.0)]  # fmt: skip
    terms = config.Survey(detractor_at_most=6, promoter_at_least=9)
    found = loyalty.detractors(voice(rows), "nps", terms, own().loyalty).sort("customer_id")
    assert found.select("customer_id", "days", "value_given").rows() == [("a", 4, 6.0), ("d", 8, 1.0)]


def test_points_to_the_next_level() -> None:
    rows = [("a", 9, "points", 120.0), ("a", 2, "points", 480.0), ("b", 2, "points", 500.0), ("c", 3, "points", 2500.0)]
    found = loyalty.points(voice(rows), own(levels={"gold": 2000, "silver": 500}).loyalty).sort("customer_id")
    assert found.rows() == [("a", 480.0, None, 20.0), ("b", 500.0, "silver", 1500.0), ("c", 2500.0, "gold", None)]
    assert loyalty.points(voice(rows), own().loyalty)["level"].null_count() == 3


# --- as a whole -----------------------------------------------------------------------------------
def test_who_waits_is_ordered_by_value_written_and_forgotten(tmp_path: Path) -> None:
    """Without a scoring the value is the margin of the last 56 days, .3 of what was bought: b 6, a 3."""
    settings = shop.settings(tmp_path, targets=TARGETS)
    rows = [("a", 9, "complaint"), ("b", 8, "complaint"), ("c", 8, "complaint"), ("c", 2, "complaint_closed"),
            ("a", 20, "purchase"), ("b", 20, "purchase"), ("b", 30, "purchase"), ("c", 70, "purchase"),
            ("a", 7, "nps", 2.0)]  # fmt: skip
    frame, document = loyalty.run(settings, log_of(rows), None)
    told = [(row["customer_id"], row["why"], row["value"]) for row in document["customers"]]
    assert told == [("b", "complaint without an answer", 6.0), ("a", "complaint without an answer", 3.0),
                    ("a", "nps detractor", 3.0)]  # fmt: skip
    assert document["surveys"]["nps"]["net"] == -100 and frame["loyalty_index"].is_between(0, 100).all()
    assert {row["event_type"] for row in document["events"]} == {"complaint", "complaint_closed", "nps"}
    folder = loyalty.loyalty_folder(settings) / "cutoff=2024-06-03"
    loyalty.write(frame, document, folder)
    forgetting.forget(settings, ["a"], lambda _: None)
    kept = json.loads((folder / "loyalty.json").read_text(encoding="utf-8"))["customers"]
    assert {row["customer_id"] for row in kept} == {"b"}
    assert pl.read_parquet(folder / "loyalty.parquet", hive_partitioning=False)["customer_id"].to_list() == ["b", "c"]
    assert "a" not in pl.read_csv(folder / "waiting.csv")["customer_id"].to_list()


def test_what_became_known_later_is_in_no_list(tmp_path: Path) -> None:
    """Both complained 9 days ago; that of b was entered after the log's end."""
    log = log_of([("a", 9, "complaint"), ("b", 9, "complaint"), ("a", 20, "purchase"), ("b", 20, "purchase")])
    late = pl.when((pl.col("customer_id") == "b") & (pl.col("event_type") == "complaint")).then(pl.lit(ENDS))
    log = dataclasses.replace(log, frame=log.frame.with_columns(known_at=late.cast(pl.Datetime("us"))))
    _, document = loyalty.run(shop.settings(tmp_path, targets=TARGETS), log, None)
    assert [row["customer_id"] for row in document["customers"]] == ["a"]


def test_the_value_is_called_what_it_is(tmp_path: Path) -> None:
    """With no feature to weigh nobody has a row, so those who wait are ordered by margin, and it says so."""
    log = log_of([("a", 9, "complaint"), ("a", 20, "purchase")])
    scores = pl.DataFrame({"customer_id": ["a"], "churn_probability": [0.5], "clv_12m": [90.0]})
    settings = shop.settings(tmp_path, targets=TARGETS, loyalty={"weights": {"nps_value_last": 1.0}})
    _, document = loyalty.run(settings, log, scores)
    assert (document["value_of"], document["customers"][0]["value"]) == ("margin", 3.0)


def test_a_log_without_feedback_says_what_is_missing(tmp_path: Path) -> None:
    rows = [(f"c{n}", age, "purchase") for n in range(12) for age in (70, 40, 5 + n)]
    frame, document = loyalty.run(own(), log_of(rows), None)
    assert document["customers"] == [] and document["surveys"] == {} and "no feedback" in document["notes"][0]
    assert "nps_value_last" in document["weights_left_out"]
    json.dumps(document, allow_nan=False, default=str)
    loyalty.write(frame, document, tmp_path / "x")
    nothing = own(weights={"nps_value_last": 1.0})
    frame, document = loyalty.run(nothing, log_of(rows), None)
    assert document["retention"] is None and frame.is_empty()


def test_what_comes_after_the_scores_changes_no_recipe() -> None:
    plain = config.from_dict({"dataset": "tiny"})
    for section, value in (
        ("watch", {"capacity": 3}),
        ("ledger", {"log_odds": 0.1}),
        ("loyalty", {"weights": {"spend": 1.0}}),
    ):
        other = config.from_dict({"dataset": "tiny", section: value})
        assert other != plain and other.recipe_hash == plain.recipe_hash


def test_the_shipped_weights_are_features_that_exist() -> None:
    """Each is a feature of a log that has everything."""
    kinds = ("purchase", "return", "nps", "csat", "survey", "complaint", "complaint_closed", "ticket_opened",
             "ticket_answered", "referral", "review", "social", "unsubscribe", "points")  # fmt: skip
    terms = tiny.definitions(
        event_types=kinds, starts=dict.fromkeys(kinds, tiny.START), watched={}, contracts={}, plans={}
    )
    assert loyalty.parts(config.Loyalty().weights, terms)[1] == []
    assert config.Loyalty() == config.load(Path("configs/cdnow.yaml")).loyalty  # configs/default.yaml says the same
    assert _index.QUINTILES == 5
