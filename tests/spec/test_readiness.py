"""Readiness by hand: sixty customers in ten weeks, and small logs with one fault each."""

from __future__ import annotations

import dataclasses
import datetime as dt
import json
from typing import Any

import polars as pl
import pytest

from churn_clv import config, events, readiness
from churn_clv.events import Count, Log
from churn_clv.readiness import Finding, Readiness

MONDAY = dt.datetime(2024, 1, 1, 12)  # week 1
RULES = events.Rules("Europe/Paris", "EUR", 2)
TARGETS = {
    "churned": {"events": {"is_in": ["purchase"]}, "measure": "absent"},
    "spend": {"events": {"is_in": ["purchase", "return"]}, "measure": "amount", "at_least": 0},
}


def settings(horizon: int = 7, active: int = 14, **more: Any) -> config.Config:
    """A week's horizon, three training cutoffs."""
    plan = {"horizon_days": horizon, "step_days": 7, "max_train_cutoffs": 3}
    values = {"dataset": "shop", "timeline": plan, "population": {"active_within_days": active}, "targets": TARGETS}
    return config.from_dict(values | more)


def orders(customer: str, weeks: Any, amount: float | None = 10.0, **more: Any) -> list[dict[str, Any]]:
    """One order at noon on the Monday of each week."""
    return [
        {"customer_id": customer, "time": MONDAY + dt.timedelta(weeks=w - 1), "amount": amount} | more for w in weeks
    ]


def shop(amount: float | None = 10.0) -> list[dict[str, Any]]:
    """30 buy weekly, 15 in odd weeks, 15 in even weeks, and 20 only in weeks 1 to 4."""
    rows = [r for i in range(30) for r in orders(f"weekly{i}", range(1, 11), amount)]
    rows += [r for i in range(15) for r in orders(f"odd{i}", range(1, 11, 2), amount)]
    rows += [r for i in range(15) for r in orders(f"even{i}", range(2, 11, 2), amount)]
    return rows + [r for i in range(20) for r in orders(f"left{i}", range(1, 5), amount)]


def log_of(rows: list[dict[str, Any]], ends: dt.date | None = dt.date(2024, 3, 11), rules: events.Rules = RULES) -> Log:
    """The log of some rows; weeks 1 to 10 end on 11 March."""
    return events.from_frame(pl.DataFrame(rows, infer_schema_length=None), rules, ends=ends)


def found(report: Readiness, topic: str) -> list[Finding]:
    """The findings on one topic."""
    return [f for f in report.findings if f.topic == topic]


def minimum(report: Readiness, target: int, name: str) -> float | None:
    """The number found for one minimum."""
    return {m.name: m.found for m in report.targets[target].minimums}[name]


def test_a_log_that_is_ready_in_numbers() -> None:
    report = readiness.check(log_of(shop()), settings())
    data = report.data
    assert (data.rows, data.customers) == (300 + 75 + 75 + 80, 80)
    assert (data.first_day, data.last_day, data.ends) == ("2024-01-01", "2024-03-10", "2024-03-11")
    # Week 10 is the test: those who left are lapsed, the fifteen of the odd weeks stay away.
    assert (data.test_cutoff, data.eligible_at_test, data.base_rate_at_test) == ("2024-03-04", 60, 0.25)
    # Matured are the cutoffs of weeks 5, 6 and 7. At the newest, the 15 of the odd weeks come back the week after; the
    # 20 who never do have lapsed by then.
    assert data.label_return_rate == 1.0
    assert data.label_return_within_days == 21
    assert data.one_purchase_customer_share == 0
    assert report.ready and [t.ready for t in report.targets] == [True, True]
    assert report.plan is not None and len(report.plan.train) == 3
    assert found(report, "base_rate") == [] and found(report, "timezone") == []


def test_minimums_are_counted_slice_by_slice() -> None:
    report = readiness.check(log_of(shop()), settings())
    assert minimum(report, 0, "of history before the test cutoff") == 9
    assert minimum(report, 0, "that churned after the test cutoff") == 15
    assert minimum(report, 0, "that stayed after the test cutoff") == 45
    # The oldest validation cutoff, 15 days before the test, learns weeks 4, 5 and 6; in week 4 the 20 still came.
    assert minimum(report, 0, "that churned in the train slice") == 15 + (20 + 15) + (20 + 15)
    assert minimum(report, 0, "that stayed in the train slice") == 45 + 20 + 45 + 45
    # Validated on week 8, from a Sunday on, and twice on week 9, from the Thursday before it and from its Monday.
    assert minimum(report, 0, "that churned in the validation slice") == 3 * 15
    assert minimum(report, 0, "that stayed in the validation slice") == 3 * 45
    assert minimum(report, 1, "with spend after the test cutoff") == 45
    weak = {(f.severity, f.rows) for f in found(report, "minimum")}
    assert weak == {("warning", 60), ("warning", 15), ("warning", 45)}
    assert any("60 customers eligible" in f.found and "better 500" in f.found for f in found(report, "minimum"))


def test_a_slice_before_the_test_holds_only_what_was_known_then() -> None:
    rows = shop()
    late = next(r for r in rows if r["customer_id"] == "odd0" and r["time"] == MONDAY + dt.timedelta(weeks=8))
    late["known_at"] = dt.datetime(2024, 3, 6)
    report = readiness.check(log_of(rows), settings())
    assert minimum(report, 0, "that churned in the validation slice") == 3 * 15 + 2  # week 9 is looked at twice
    assert report.data.eligible_at_test == 59  # the order of week 9 was unknown, the one of week 7 is too old


def test_labels_that_do_not_fit_are_an_error_and_not_an_exception() -> None:
    report = readiness.check(log_of(shop()), settings(horizon=28))
    (error,) = found(report, "plan")
    assert error.severity == "error" and "70 days" in error.found and "horizon of 16 days" in error.found
    assert report.plan is None and not report.ready and report.data.eligible_at_test is None
    assert report.targets[0].why_not == (
        "there is no plan or no population to train on",
        "1.5 horizons of history before the test cutoff, at least 2 needed",
    )
    assert readiness.as_document(report)["plan"] is None
    assert report.findings[0].severity == "error"


def test_nobody_churns() -> None:
    rows = [r for i in range(60) for r in orders(f"c{i}", range(1, 11))]
    report = readiness.check(log_of(rows), settings())
    assert not report.ready and report.data.base_rate_at_test == 0
    errors = [f.found for f in report.findings if f.severity == "error"]
    assert any("0 customers that churned after the test cutoff" in text for text in errors)
    assert any("0 rows that churned in the train slice" in text for text in errors)
    assert report.targets[1].why_not == ("churned is not ready, and training starts with it",)
    assert found(report, "label_return_rate")[0].severity == "note"


def test_one_customer() -> None:
    report = readiness.check(log_of(orders("only", range(1, 11))), settings())
    assert not report.ready
    assert any("1 customers eligible" in f.found and f.severity == "error" for f in found(report, "minimum"))


def test_without_amounts_spend_is_refused_and_churn_is_ready() -> None:
    report = readiness.check(log_of([r | {"amount": None} for r in shop(None)]), settings())
    assert [t.ready for t in report.targets] == [True, False]
    assert "amount" in report.targets[1].why_not[0] and "amount" in found(report, "target_refused")[0].found
    assert report.data.families_left_out["monetary"] == "no source maps 'amount'"
    assert report.data.return_money_share is None and report.data.largest_customer_day_share is None


def test_without_purchases() -> None:
    rows = [r | {"event_type": "visit", "amount": None} for r in orders("a", range(1, 11))]
    report = readiness.check(log_of(rows), settings())
    assert not report.ready and report.plan is None
    assert any("purchase" in f.found for f in found(report, "definitions"))


def test_another_horizon_of_spend_is_said() -> None:
    targets = TARGETS | {"spend": TARGETS["spend"] | {"horizon_days": 14}}
    report = readiness.check(log_of(shop()), settings(targets=targets))
    assert "targets.spend.horizon_days is 14" in found(report, "targets")[0].found


def test_own_targets_are_held_against_their_own_population() -> None:
    """60 customers of the shop buy; nobody is a prospect, and nothing in the log is a complaint."""
    own = {
        "again": {"events": {"is_in": ["purchase"]}, "measure": "present", "horizon_days": 7},
        "first": {"events": {"is_in": ["purchase"]}, "measure": "present", "population": "prospects"},
        "complaint": {"events": {"is_in": ["complaint"]}, "measure": "present"},
        "late": {"events": {"is_in": ["purchase"]}, "measure": "count", "horizon_days": 3000},
    }
    report = readiness.check(log_of(shop()), settings(targets=TARGETS | own))
    told = {t.target: t for t in report.targets}
    assert list(told) == ["churned", "spend", *own]
    again = told["again"]
    assert sum(m.found or 0 for m in again.minimums) == 60 and len(again.minimums) == 2
    assert told["first"].why_not[0].startswith("0 customers with the event")
    assert "map such events" in told["complaint"].why_not[0] and told["complaint"].minimums == ()
    assert "the labels do not fit" in told["late"].why_not[0]
    assert [f.topic for f in found(report, "target_refused")] == ["target_refused"]


def test_a_base_rate_out_of_range_suggests_a_horizon() -> None:
    # 1,200 customers buy every third week, 400 in each: within one week two of three do not buy, within two one of
    # three, within three none.
    rows = [r for i in range(1200) for r in orders(f"c{i}", range(1 + i % 3, 25, 3))]
    report = readiness.check(log_of(rows, dt.date(2024, 6, 17)), settings(active=28))
    (warning,) = found(report, "base_rate")
    assert warning.share == 2 / 3 and warning.where == "test cutoff 2024-06-10"
    assert warning.do == "Try timeline.horizon_days 14 (33%)."
    few = [r for r in rows if int(r["customer_id"][1:]) < 600]
    (warning,) = found(readiness.check(log_of(few, dt.date(2024, 6, 17)), settings(active=28)), "base_rate")
    assert warning.do.startswith("No horizon")


@pytest.mark.parametrize(("amount", "flagged"), [(20.0, False), (20.21, True)])
def test_one_order_above_a_hundredth_of_the_money(amount: float, flagged: bool) -> None:
    rows = [r for i in range(198) for r in orders(f"c{i}", [1])] + orders("big", [1], amount)
    report = readiness.check(log_of(rows), settings())
    assert bool(found(report, "giant_order")) == flagged  # 20 of 2,000 is one hundredth, not more


def test_a_giant_given_back_the_same_day_is_still_named() -> None:
    rows = [r for i in range(99) for r in orders(f"c{i}", [1])]
    rows += orders("big", [2], 168_470.0) + orders("big", [2], -168_470.0, event_type="return")
    rows = [{"event_type": "purchase"} | r for r in rows]
    report = readiness.check(log_of(rows), settings())
    (giant,) = found(report, "giant_order")
    assert "168,470.00 EUR, given back the same day" in giant.found and giant.where == "2024-01-08"
    assert "big" not in giant.found
    # Two lines of the hundred and first customer; he has no purchase day, the other 99 have one each.
    assert report.data.purchase_days == 99 and report.data.one_purchase_customer_share == 1
    assert report.data.return_line_share == 1 / 101
    assert report.data.return_money_share == 168_470 / (168_470 + 990)
    assert found(report, "returns")[0].severity == "warning" and found(report, "one_purchase")


def test_a_base_of_one_time_buyers_is_told_what_ready_means() -> None:
    """93 of 100 bought on one day: what to check, what to expect and which question helps; 70 of 100 is no news."""
    log = log_of([r for i in range(100) for r in orders(f"c{i}", [i % 9] if i < 93 else [0, 4, 8])])
    (warned,) = found(readiness.check(log, settings()), "one_purchase")
    assert (warned.severity, warned.share, warned.rows) == ("warning", 0.93, 93)
    assert (
        warned.found.startswith("93% of the customers bought on one day only") and "7 of 100 ever came" in warned.found
    )
    assert (
        "population: one_order" in warned.do and "keep their id" in warned.do and "not that it will tell" in warned.do
    )
    log = log_of([r for i in range(100) for r in orders(f"c{i}", [i % 9] if i < 70 else [0, 4, 8])])
    assert not found(readiness.check(log, settings()), "one_purchase")
    log = log_of([r for i in range(50) for r in orders(f"c{i}", [i % 9])])
    assert "Nobody ever came back." in found(readiness.check(log, settings()), "one_purchase")[0].found


@pytest.mark.parametrize(("days_without", "flagged"), [(7, False), (8, True)])
def test_a_hole_in_the_log(days_without: int, flagged: bool) -> None:
    days = [MONDAY, MONDAY + dt.timedelta(days=days_without + 1)]
    log = log_of([{"customer_id": "a", "time": t, "amount": 1.0} for t in days], ends=None)
    holes = found(readiness.check(log, settings()), "gap_in_log")
    assert bool(holes) == flagged
    if holes:
        assert holes[0].where == "2024-01-02 to 2024-01-09" and "the longest has 8 days" in holes[0].found


def test_a_log_that_other_events_prolong() -> None:
    rows = [r | {"event_type": "purchase"} for r in shop()]
    rows += orders("weekly0", [12], None, event_type="mail")
    report = readiness.check(log_of(rows, ends=None), settings())
    (error,) = found(report, "ends_without_purchases")
    assert error.severity == "error" and error.do.startswith("Set events.ends: 2024-03-05")
    assert found(report, "gap_in_log") == []


def test_thin_first_and_last_weeks() -> None:
    usual = [{"customer_id": f"c{i}", "time": MONDAY + dt.timedelta(days=d), "amount": 1.0} for d in range(7, 63)
             for i in range(3)]  # fmt: skip
    edges = [{"customer_id": "c0", "time": MONDAY + dt.timedelta(days=d), "amount": 1.0} for d in (0, 63, 64, 65, 69)]
    report = readiness.check(log_of(usual + edges), settings())
    (first,), (last,) = found(report, "thin_first_week"), found(report, "thin_last_week")
    assert (first.rows, last.rows) == (1, 4) and "the usual one 21" in last.found
    assert (first.where, last.where) == ("week from 2024-01-01", "week from 2024-03-04")
    enough = edges + [e | {"customer_id": "c1"} for e in edges[1:]]  # 8 of 21 is more than a third
    assert found(readiness.check(log_of(usual + enough), settings()), "thin_last_week") == []


def test_clocks() -> None:
    def at(hours: list[int], rules: events.Rules = RULES) -> dict[str, Finding]:
        rows = [
            {"customer_id": "a", "time": dt.datetime(2024, 1, 1 + i, h), "amount": 1.0} for i, h in enumerate(hours)
        ]
        report = readiness.check(log_of(rows, ends=None, rules=rules), settings())
        return {f.topic: f for f in report.findings if f.column == "time"}

    assert set(at([0] * 20)) == {"date_only"}
    assert at([0] * 20)["date_only"].rows == 20
    assert set(at([19] * 10 + [20] * 10)) == {"moved_days"}
    assert set(at([9, 12, 18, 21] * 5)) == set()
    assert at([3, 4, 18, 21] * 5)["night"].share == 0.5
    assert set(at([9, 12, 18, 21] * 5, events.Rules("UTC", "EUR", 2))) == {"timezone"}
    assert set(at([0] * 20, events.Rules("UTC", "EUR", 2))) == {"date_only"}


def test_policies_are_findings_with_their_share() -> None:
    counts = (
        Count("lines", "sales", 1000, "read"),
        Count("duplicates", "sales", 0, "kept"),
        Count("missing_customer", "sales", 250, "dropped"),
        Count("zero_amount", "sales", 10, "kept"),
        Count("unparsable_amount", "sales", 1, "dropped"),
        Count("events", "sales", 749, "entered the log"),
    )
    report = readiness.check(dataclasses.replace(log_of(shop()), counts=counts), settings())
    (ids,) = found(report, "missing_customer")
    assert (ids.severity, ids.source, ids.column, ids.rows, ids.share) == ("warning", "sales", "customer_id", 250, 0.25)
    assert found(report, "zero_amount")[0].severity == "note"
    (unread,) = found(report, "unparsable_amount")
    assert (unread.severity, unread.column) == ("warning", "amount")
    assert found(report, "duplicates") == [] and found(report, "lines") == []
    assert [c.policy for c in report.policies] == [
        "lines",
        "missing_customer",
        "zero_amount",
        "unparsable_amount",
        "events",
    ]


def test_attributes_without_a_date_are_refused_as_features() -> None:
    tables = {
        "people": pl.DataFrame({"customer_id": ["a"], "age": [40]}),
        "tiers": pl.DataFrame({"customer_id": ["a"], "valid_from": [MONDAY], "tier": ["gold"]}),
    }
    notes = ("attributes 'people' have no valid_from: ...", "Thank the donors.")
    report = readiness.check(dataclasses.replace(log_of(shop()), attributes=tables, notes=notes), settings())
    assert [(f.source, f.rows) for f in found(report, "attributes_undated")] == [("people", 1)]
    assert report.notices == ("Thank the donors.",)


def test_left_out_families_and_the_document() -> None:
    log = dataclasses.replace(log_of(shop()), counts=(Count("lines", "sales", 530, "read"),))
    report = readiness.check(log, settings())
    assert set(report.data.families_left_out) == {"basket", "price", "returns", "channel", "engagement"}
    document = json.loads(json.dumps(readiness.as_document(report)))
    assert set(document) == {"ready", "targets", "data", "plan", "plan_note", "findings", "notices"}
    assert document["ready"] is True and document["targets"][0]["minimums"][1]["found"] == 60
    assert document["targets"][0]["minimums"][1]["met"] and not document["targets"][0]["minimums"][1]["comfortable"]
    assert document["data"]["policies"] == [{"policy": "lines", "source": "sales", "rows": 530, "action": "read"}]
    assert [row["role"] for row in document["plan"]][1:3] == ["train for the last validation", "validation"]
    assert {"severity", "source", "column", "rows", "share", "where", "found", "do", "topic"} == set(
        document["findings"][0]
    )
    severities = [f["severity"] for f in document["findings"]]
    assert severities == sorted(severities, key=["error", "warning", "note"].index)
