"""The early-warning list by hand: who is on it, what changed, the same phase, and its own record."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import segmented
import shop
import tiny

from churn_clv import config, explain, forgetting, metrics, timeline, watch
from churn_clv.bundle import Bundle
from churn_clv.errors import UserError
from churn_clv.watch import _changes, _lead, _phase, _record

DAY = dt.date(2024, 6, 3)
ENDS = DAY + dt.timedelta(days=28)


def scored(rows: list[tuple[str, float | None, float | None]], day: dt.date = DAY) -> pl.DataFrame:
    """Customers with risk and expected spend; whoever has no risk is lapsed."""
    frame = pl.DataFrame(rows, schema={"customer_id": pl.String, "churn_probability": pl.Float64,
                                       "expected_spend": pl.Float64}, orient="row")  # fmt: skip
    known = pl.col("churn_probability").is_not_null()
    return frame.with_columns(
        eligible=known, cutoff=pl.lit(day), reason=pl.when(~known).then(pl.lit("lapsed")), in_sample=pl.lit(False)
    )


def log_of(events: list[tuple[str, int, str]], day: dt.date = DAY, ends: dt.date = ENDS) -> Any:
    """Events (customer, days before ``day``, type); a purchase brings 10."""
    rows = [
        {
            "customer_id": who, "time": dt.datetime.combine(day - dt.timedelta(days=age), dt.time(12)),
            "event_type": kind, "amount": 10.0 if kind == "purchase" else None,
        }
        for who, age, kind in events
    ]  # fmt: skip
    own = tiny.definitions()
    return segmented.events.from_frame(pl.DataFrame(rows), own.rules, ends, own.starts)


# --- who is on it ---------------------------------------------------------------------------------
def test_value_at_risk_is_the_margin_that_lapse_would_take() -> None:
    """p .5, spend 100, margin .3: who stays brings 100 / .5 x .3 = 60, and half of that is at risk."""
    rows = watch.at_risk(scored([("a", 0.5, 100.0), ("b", 0.2, 40.0), ("c", None, None), ("d", 1.0, 0.0)]), 0.3)
    assert rows["value_at_risk"].to_list() == [30.0, pytest.approx(0.2 * 15), None, None]


def nobody() -> pl.DataFrame:
    return pl.DataFrame(schema=watch.BEFORE)


def test_the_list_is_the_most_value_at_risk_and_ties_go_by_id() -> None:
    rows = watch.at_risk(scored([("b", 0.5, 10.0), ("a", 0.5, 10.0), ("c", 0.9, 10.0), ("d", None, None)]), 0.3)
    found = watch.listed(rows, 2, 1.25, nobody())
    assert found["customer_id"].to_list() == ["c", "a"] and found["rank"].to_list() == [1, 2]
    assert found["alert"].to_list() == ["new"] * 2 and found["since"].to_list() == [DAY] * 2
    assert watch.listed(rows, 10, 1.25, nobody()).height == 3  # who lapsed is on no list


def test_who_is_on_the_list_stays_until_clearly_overtaken() -> None:
    """At risk 10, 9, 8, 7 (p .5 and margin 1: the spend): c's 8 counts 10, so b's 9 is out; d's 7 counts 8.75."""
    rows = watch.at_risk(scored([("a", 0.5, 10.0), ("b", 0.5, 9.0), ("c", 0.5, 8.0), ("d", 0.5, 7.0)]), 1.0)
    assert rows["value_at_risk"].to_list() == [10.0, 9.0, 8.0, 7.0]
    then = dt.date(2024, 5, 6)
    on = pl.DataFrame({"customer_id": ["c", "d"], "since": [then, then]})
    found = watch.listed(rows, 2, 1.25, on)
    assert found["customer_id"].to_list() == ["a", "c"] and found["alert"].to_list() == ["new", "standing"]
    assert found["since"].to_list() == [DAY, then]
    assert watch.listed(rows, 2, 1.0, on)["customer_id"].to_list() == ["a", "b"]


def test_an_order_ends_the_episode() -> None:
    """On the list since 6 May; today 3 June. Ordered 28 days ago (6 May): after that midnight, so it is over."""
    since = dt.date(2024, 5, 6)
    last = pl.DataFrame({"customer_id": ["a", "b"], "since": [since, since]})
    now = pl.DataFrame({"customer_id": ["a", "b"], "cutoff": [DAY, DAY], "days_since_last_purchase": [28.0, 29.0]})
    assert watch.going_on(last, now)["customer_id"].to_list() == ["b"]


def test_without_money_the_list_goes_by_risk() -> None:
    rows = watch.at_risk(scored([("a", 0.2, None), ("b", 0.6, None)]), 0.3)
    assert watch.listed(rows, 1, 1.25, nobody())["customer_id"].to_list() == ["b"]


# --- what changed ---------------------------------------------------------------------------------
def changes_of(events: list[tuple[str, int, str]], most: int = 5) -> tuple[list[Any], str, str]:
    own = log_of(events)
    past = timeline.Past(own.frame, timeline.pairs_of(["a"], [DAY]))
    (found,) = _changes.found(past, tiny.definitions(), 0.05, most)
    return [(c.what, c.before, c.after) for c in found], *(_changes.words(found, lang, "USD") for lang in ("en", "zh"))


def test_what_changed_by_hand() -> None:
    """Six visits in days 29-56 and none in 1-28: 1 / 64 < .05. Five surveys, 1 / 32. Four to none, 1 / 16, is chance.
    Bought 134, 104 and 74 days ago: silent for 74 against gaps of 30."""
    visits = [("a", 29 + k, "visit") for k in range(5)] + [("a", 56, "visit")]
    surveys = [("a", age, "survey") for age in (1, 28, 10, 11, 12)]
    bought = [("a", age, "purchase") for age in (134, 104, 74)]
    found, english, chinese = changes_of(visits + surveys + bought)
    assert found == [("days_since_last_purchase", 30.0, 74.0), ("visit", 6.0, 0.0), ("survey", 0.0, 5.0)]
    assert english == "no purchase for 74 days against a usual 30; visit 6 to 0; survey 0 to 5"
    assert chinese == "已有74天没有购买，平时为30天；访问由6变为0；问卷由0变为5"  # noqa: RUF001
    assert changes_of(visits + surveys + bought, 2)[0] == found[:2]
    assert changes_of([*visits[:4], ("a", 5, "purchase")])[0] == []
    assert changes_of([*visits[:4], ("a", 5, "purchase")])[1] == "nothing clear"


def test_orders_and_money_are_told_where_they_fell() -> None:
    """Five purchase days of 10 before (32 to 56 days ago), none since: 1 / 32. The gap of 6 days is long over."""
    bought = [("a", age, "purchase") for age in (32, 38, 44, 50, 56)]
    found, english, _ = changes_of(bought)
    assert found == [("days_since_last_purchase", 6.0, 32.0), ("orders", 5.0, 0.0), ("spend", 50.0, 0.0)]
    assert english.endswith("; orders 5 to 0; spend 50 USD to 0 USD")
    more = changes_of([("a", 40, "purchase"), ("a", 3, "purchase"), ("a", 2, "purchase")])
    assert more[0] == []  # a rise of money is no warning


def test_a_window_that_begins_before_the_log_is_not_compared() -> None:
    own = log_of([("a", 29 + k, "visit") for k in range(6)])
    past = timeline.Past(own.frame, timeline.pairs_of(["a"], [DAY]))
    late = tiny.definitions(starts=dict.fromkeys(tiny.TYPES, DAY - dt.timedelta(days=55)))
    assert _changes.found(past, late, 0.05, 5) == [[]]


def test_the_chance_is_that_of_fair_coins() -> None:
    assert _changes._chance(6, 0) == 1 / 64 and _changes._chance(11, 2) == 67 / 2048


# --- the same phase -------------------------------------------------------------------------------
def test_the_same_phase_by_hand() -> None:
    """a bought 100, 70, 60 and 12 days ago (gaps 30, 10, 48), silent for 12: the latest gap of at least 12 is that of
    48, begun 60 days ago, reached on the 12th day after: 48 days ago. b was never silent for so long; c bought once."""
    bought = {"a": (100, 70, 60, 12), "b": (60, 52, 45), "c": (30,), "d": (40, 25, 15)}
    own = log_of([(who, age, "purchase") for who, ages in bought.items() for age in ages])
    past = timeline.Past(own.frame, timeline.pairs_of(list(bought), [DAY]))
    found = {row["customer_id"]: (DAY - row["phase_on"]).days for row in _phase.earlier(past).iter_rows(named=True)}
    assert found == {
        "a": 48,
        "d": 25,
    }  # d: silent 15, the gap from 40 to 25 was 15: reached at the order's own midnight


# --- its own record -------------------------------------------------------------------------------
def test_equal_scores_share_what_is_left_of_the_capacity() -> None:
    """Of 3 places two go to the one that is ahead (weight 2), the last is shared by two equals of weight 1 and 3."""
    order = metrics.Order(np.array([1.0, 0.0, 1.0, 2.0]))
    found = _record.take(order, np.array([[1.0, 2.0, 3.0, 5.0]]), 3)
    assert found.tolist() == [[0.25, 2.0, 0.75, 0.0]]


def past_of(events: list[tuple[str, int, str]], rows: list[tuple[str, float, float]]) -> Any:
    own = log_of(events)
    earlier = watch.Earlier(DAY, "by hand", scored(list(rows)))
    churned = {"events": {"is_in": ["purchase"]}, "measure": "absent"}
    own_values = {"dataset": "tiny", "value": {"margin_share": 0.5}, "targets": {"churned": churned}}
    settings = config.from_dict(own_values)
    return watch.measured([earlier], own, tiny.definitions(), settings, 2), own, earlier, settings


EVENTS = [
    ("a", 10, "purchase"), ("a", 20, "purchase"), ("b", 3, "purchase"), ("c", 40, "purchase"), ("d", 2, "purchase"),
    ("b", -5, "purchase"), ("d", -27, "purchase"), ("c", -28, "purchase"),
]  # fmt: skip
ROWS = [("a", 0.6, 8.0), ("b", 0.5, 20.0), ("c", 0.7, 1.0), ("d", 0.1, 9.0)]


def test_the_record_by_hand() -> None:
    """At risk, margin .5: a .6 x 4 / .4 = 6, b 10, c .7 x .5 / .3 = 1.17, d .5: of two places b and a. In 28 days b
    and d buy (d on the last day), a does not, c only on the day after: a and c lapse. Brought in 56 days: a 20, c 10,
    in margin per 28 days 5 and 2.5. So the list has one lapse of two, two thirds of the value. Longest silent: c, a."""
    found, *_ = past_of(EVENTS, ROWS)
    lists = found["lists"]
    assert {k: (v["listed"], v["lapsed"]) for k, v in lists.items()} == {
        "watch": (2, 1), "risk": (2, 2), "recency": (2, 2), "random": (2, 1)
    }  # fmt: skip
    assert lists["watch"]["value_caught"] == pytest.approx(2 / 3) and lists["watch"]["lapsed_value"] == 7.5
    assert lists["random"]["precision"] == 0.5 and lists["random"]["value_caught"] == 0.5
    assert found["ahead_of_recency"]["precision"] == -0.5
    assert found["ahead_of_recency"]["value_caught"] == pytest.approx(-1 / 3)
    (one,) = found["cutoffs"]
    assert (one["customers"], one["base_rate"], one["lapsed"], one["lost"]) == (4, 0.5, 1, None)
    assert lists["watch"]["precision_low"] <= 0.5 <= lists["watch"]["precision_high"]


def test_who_left_the_log_did_not_lapse() -> None:
    found, *_ = past_of(EVENTS, [*ROWS, ("gone", 0.99, 500.0)])
    assert found["cutoffs"][0]["customers"] == 4 and found["lists"]["watch"]["lapsed"] == 1
    nobody, *_ = past_of(EVENTS, [("gone", 0.99, 500.0)])
    assert nobody["lists"] is None


def test_alerts_by_hand() -> None:
    """Two places. First a and b. A week later a (8) stays; c's 9 beats b's 8, which counts 9.6 unless b bought 3 days
    ago: then its episode is over and c is new. Three customers for a week: one alert in 21 / 365 years."""

    def rows(day: dt.date, silent: float, *values: float) -> pl.DataFrame:
        return pl.DataFrame({
            "customer_id": ["a", "b", "c"], "cutoff": [day] * 3, "by": list(values), "risk": [0.5] * 3,
            "silent": [90.0, silent, 90.0],
        })  # fmt: skip

    first = rows(DAY, 90.0, 10.0, 10.0, 1.0)
    later = DAY + dt.timedelta(days=7)
    assert _record.alerts([first, rows(later, 90.0, 8.0, 8.0, 9.0)], 2, 1.2) == 0.0
    assert _record.alerts([first, rows(later, 3.0, 8.0, 8.0, 9.0)], 2, 1.2) == pytest.approx(365 / 21)
    assert _record.alerts([first], 2, 1.2) is None


def test_an_open_window_is_no_record() -> None:
    _, own, earlier, settings = past_of(EVENTS, ROWS)
    later = watch.Earlier(DAY + dt.timedelta(days=1), "by hand", earlier.scores)
    found = watch.measured([later], own, tiny.definitions(), settings, 2)
    assert found["lists"] is None and "no cutoff" in found["why"]
    assert set(found) == set(past_of(EVENTS, ROWS)[0])  # the same keys, whatever there is to say


def test_on_time_is_within_the_own_gap() -> None:
    rows = pl.DataFrame({"overdue": [1.0, 0.5, 1.2, None, 0.2], "risk": [0.9, 0.1, 0.0, 0.0, 0.5],
                         "silent": [1.0, 2.0, 9.0, 9.0, 3.0], "lapsed": [1.0, 0.0, 1.0, 1.0, 0.0]})  # fmt: skip
    assert _record.on_time(rows) == {"customers": 3, "lapsed": 1, "auc": 1.0, "auc_recency": 0.0}
    assert _record.on_time(rows.filter(pl.col("lapsed") == 1)) is None


# --- as a whole -----------------------------------------------------------------------------------
def test_a_list_is_written_told_again_and_forgotten(tiny_bundle: Bundle, tmp_path: Path) -> None:
    """The second list of a later day knows the first; who is forgotten is in no file of it; the same day again is the
    same list."""
    own = shop.settings(tmp_path)
    log = segmented.log()
    day = log.ends - dt.timedelta(days=7)
    first = make(own, tiny_bundle, log, day)
    assert first["listed"]["new"] == first["listed"]["customers"] == 5
    assert make(own, tiny_bundle, log, day)["customers"] == first["customers"]
    assert first["customers"][0]["reasons"] and set(first["left_out"]) <= {"lapsed", "prospect", "history_too_short"}
    second = make(own, tiny_bundle, log, log.ends)
    standing = {row["customer_id"] for row in second["customers"] if row["alert"] == "standing"}
    assert standing and standing <= {row["customer_id"] for row in first["customers"]}
    assert "not measured" in second["record"]["why"]
    gone = second["customers"][0]["customer_id"]
    told = forgetting.forget(own, [gone], lambda _: None)
    assert any("watch" in place["place"] for place in told["removed"])
    for path in watch.watch_folder(own).rglob("*"):
        assert path.is_dir() or gone.encode() not in path.read_bytes() or path.suffix == ".parquet"
    for path in watch.watch_folder(own).rglob("*.parquet"):
        assert gone not in pl.read_parquet(path, hive_partitioning=False)["customer_id"].to_list()


def make(own: config.Config, bundle: Bundle, log: Any, day: dt.date) -> dict[str, Any]:
    frame, document = watch.run(own, bundle, log, bundle.score_log(log.frame, day), [], 5)
    watch.write(frame, document, watch.list_folder(own, day))
    return document


def test_a_language_without_words_is_refused(tiny_bundle: Bundle, tmp_path: Path) -> None:
    own = shop.settings(tmp_path)
    scores = tiny_bundle.score_log(segmented.log().frame, tiny.TRAINED_THROUGH)
    with pytest.raises(UserError, match="no words for the language 'xx'"):
        watch.run(own, tiny_bundle, segmented.log(), scores, [], 5, "xx")
    with pytest.raises(UserError, match="nobody is eligible"):
        watch.run(own, tiny_bundle, segmented.log(), scores.filter(~pl.col("eligible")), [], 5)


def test_the_phrases_of_changes_are_in_every_language() -> None:
    assert {tuple(explain.phrases(name).changes) for name in explain.languages()} == {
        ("counted", "orders", "spend", "join", "none")
    }


# --- days earlier ---------------------------------------------------------------------------------
def silences(apart: int = 1, days: int = 10) -> list[pl.DataFrame]:
    """a fell silent 2 days before the first cutoff, b 1 day, c buys every day. First by value: c, a from day 3, b from
    day 6. a and b lapse."""
    start, out = dt.date(2024, 1, 1), []
    for day in range(days):
        by = {"a": 10.0 * (day >= 3), "b": 20.0 * (day >= 6), "c": 5.0}
        silent = {"a": day + 2, "b": day + 1, "c": 1}
        rows = [(who, start + dt.timedelta(days=apart * day), by[who], by[who], silent[who], float(who != "c"))
                for who in by]  # fmt: skip
        out.append(pl.DataFrame(rows, schema=["customer_id", "cutoff", "by", "risk", "silent", "lapsed"], orient="row"))
    return out


def test_the_lead_by_hand() -> None:
    """The list names c's silences of days 1 and 2 (that of day 0 is left out), a on day 3, b on day 6: 4 alerts, 2 of
    them lapses. As many: 1 silent day raises 9 alerts, 2 one (b), 3 to 10 two, 11 one: 3 days, the fewest of those
    nearest. The rule names a on day 1 and b on day 2: 2 and 4 days before the list."""
    found = _lead.lead(silences(), 1)
    assert found is not None
    own = found["watch"]
    assert (own["alerts"], own["precision"], own["silent_days"]) == (4, 0.5, 3)
    assert (own["rule_alerts"], own["rule_precision"], own["by_the_rule_alone"]) == (2, 1.0, 0)
    assert (own["named_by_both"], own["median_days"], own["earlier"], own["later"]) == (2, -3.0, 0, 2)
    assert (own["low"], own["high"]) == (None, None)  # two values say nothing of their median
    assert own == found["risk"]


def test_a_list_that_sees_it_coming_is_ahead() -> None:
    """Every day one more customer falls silent for good and is named the day after. Three who buy now and then never
    are. The rule with as many alerts needs some days more of silence: all but one of these days is the lead."""
    start, rows = dt.date(2024, 1, 1), []
    for day in range(40):
        silent = {f"c{k:02d}": day - k for k in range(40) if day > k}
        silent |= {f"n{k}": 3 for k in range(3)}  # buys every third day, never on the list
        rows.append(pl.DataFrame([(who, start + dt.timedelta(days=day), -float(s) if who[0] == "c" else -99.0, 0.0, s,
                                   float(who[0] == "c")) for who, s in silent.items()],
                    schema=["customer_id", "cutoff", "by", "risk", "silent", "lapsed"], orient="row"))  # fmt: skip
    own = _lead.lead(rows, 1)["watch"]  # type: ignore[index]
    assert own["precision"] > 0.95 and own["silent_days"] > 3 and own["median_days"] == own["silent_days"] - 1
    assert own["low"] == own["high"] == own["median_days"] and own["later"] == 0


def test_too_few_cutoffs_or_too_far_apart_have_no_lead() -> None:
    assert _lead.lead(silences(days=7), 1) is None and _lead.lead(silences(apart=8), 1) is None
    assert _lead.lead([], 1) is None
