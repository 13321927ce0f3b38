"""Margins told by the log: read, learnt by hand, blind to the future, and the same in batch, alone and judged."""

from __future__ import annotations

import dataclasses
import datetime as dt
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import sim
import tiny

from churn_clv import bundle, config, events, features, margins, scoring, timeline, training, wording
from churn_clv.backtest import _clv
from churn_clv.errors import UserError
from churn_clv.models.margin import Margin
from churn_clv.models.retention import Retention
from churn_clv.service.app import create_app
from churn_clv.service.bento import gated
from churn_clv.service.holder import Holder, Loaded

DAY = dt.timedelta(days=1)
RULES = events.Rules("UTC", "USD", 2)
START = dt.date(2024, 1, 1)
NOW = dt.datetime(2024, 7, 1, 12, tzinfo=dt.UTC)


# --- reading --------------------------------------------------------------------------------------
def read(**columns: list[Any]) -> list[tuple[int | None, int | None]]:
    """(amount, margin) in cents of plain lines, in the order given."""
    rows = len(next(iter(columns.values())))
    plain = pl.DataFrame(
        {"customer_id": ["a"] * rows, "time": [f"2024-01-{n + 1:02d}" for n in range(rows)], **columns}
    )
    return events.canonical(plain, RULES).select("amount", "margin").rows()


def test_the_margin_of_a_return_turns_with_its_amount() -> None:
    """Sold at 10 with 4 left; given back with and without a minus sign; sold below cost; unknown."""
    kinds = ["purchase", "return", "return", "purchase", "purchase", "return"]
    found = read(
        event_type=kinds, amount=[10.0, -10.0, 10.0, 10.0, 10.0, 5.0], margin=[4.0, -4.0, 4.0, -2.5, None, None]
    )
    assert found == [(1000, 400), (-1000, -400), (-1000, -400), (1000, -250), (1000, None), (-500, None)]


def test_a_cost_of_either_sign_becomes_what_is_left_of_the_amount() -> None:
    """10 less 6 is 4, given back -4; a purchase below zero is a return; a margin that is given wins."""
    kinds = ["purchase", "return", "return", "purchase", "purchase", "visit", "purchase"]
    found = read(event_type=kinds, amount=[10.0, 10.0, -10.0, -10.0, 10.0, None, 10.0],
                 cost=[6.0, 6.0, -6.0, 6.0, None, 1.0, 6.0], margin=[None] * 6 + [9.0])  # fmt: skip
    assert found == [(1000, 400), (-1000, -400), (-1000, -400), (-1000, -400), (1000, None), (None, None), (1000, 900)]


def source(tmp_path: Any, lines: list[str], key: str, **more: Any) -> config.Config:
    (tmp_path / "log.csv").write_text("\n".join(["who,when,paid,left", *lines]) + "\n")
    mapped = {"customer_id": "who", "time": "when", "amount": "paid", key: "left"}
    sources = {"log": {"path": str(tmp_path / "log.csv"), "map": mapped}}
    return config.from_dict({"dataset": "shop", "events": {"sources": sources, **more}})


@pytest.mark.parametrize("key", ["margin", "cost"])
def test_what_cannot_be_read_is_an_error_or_counted(tmp_path: Any, key: str) -> None:
    """Two of five lines are no number; one has none; one says more than was paid (as a cost: less than nothing)."""
    lines = ["a,2024-01-01,10,4", "a,2024-01-02,10,4%", "b,2024-01-02,10,", "b,2024-01-03,10,-", "b,2024-01-04,10,12"]
    with pytest.raises(UserError, match=rf"2 of 5 lines have an unreadable {key} \(column 'left'\).*line 3, 5"):
        events.read_log(source(tmp_path, lines, key))
    log = events.read_log(source(tmp_path, lines, key, unparsable="drop"))
    counts = {c.policy: (c.rows, c.action) for c in log.counts}
    assert counts[f"unparsable_{key}"] == (2, "dropped") and counts["missing_margin"] == (1, "kept without a margin")
    assert counts["margin_above_amount"] == ((1, "kept") if key == "margin" else (0, "kept"))
    assert log.frame["margin"].to_list() == ([400, None, 1200] if key == "margin" else [600, None, -200])


def test_mapping_a_margin_changes_the_data_and_not_the_recipe(tmp_path: Any) -> None:
    lines = ["a,2024-01-01,10,4", "a,2024-01-02,10,4"]
    both = [source(tmp_path, lines, key) for key in ("margin", "cost", "discount")]
    assert both[0].recipe_hash == both[1].recipe_hash != both[2].recipe_hash
    plain = source(tmp_path, lines, "margin").model_dump(by_alias=True)
    del plain["events"]["sources"]["log"]["map"]["margin"]
    without = config.from_dict(plain)
    assert without.recipe_hash == both[0].recipe_hash and without.core_hash == both[0].core_hash
    assert events.read_log(without).fingerprint != events.read_log(both[0]).fingerprint


# --- the rule, by hand ----------------------------------------------------------------------------
def test_an_own_rate_is_drawn_to_the_wholes_by_its_money() -> None:
    """Whole .4, counting as 50: 30 of 50 is .5; nothing known, or more given back than bought: .4; within -1 to 1."""
    rule = Margin(whole=0.4, prior=50.0, days=5.0, told=1.0)
    found = rule.rate(np.array([30.0, 0.0, -30.0, -500.0, 900.0]), np.array([50.0, 0.0, -20.0, 50.0, 50.0]))
    assert found.tolist() == pytest.approx([(30 + 20) / 100, 0.4, 0.4, -1.0, 1.0])


def made(rows: list[tuple[str, int, str, float, float | None]], ends: int) -> tuple[events.Log, timeline.Definitions]:
    """A log of (customer, day, type, amount, margin), and its definitions with a horizon of a week."""
    frame = pl.DataFrame(rows, schema=["customer_id", "day", "event_type", "amount", "margin"], orient="row")
    plain = frame.select("customer_id", "event_type", "amount", "margin",
                         time=pl.lit(START) + pl.duration(days="day"))  # fmt: skip
    log = events.from_frame(plain, RULES, START + ends * DAY)
    settings = config.from_dict({"dataset": "made", "timeline": {"horizon_days": 7},
                                 "population": {"active_within_days": 14}})  # fmt: skip
    return log, timeline.define(log, settings, as_of=log.ends)


def test_what_is_learnt_by_hand() -> None:
    """Before day 7: a has 8 of 20 on two days, b 6 of 20 (10 of 30, of which 10 with 4 came back) on one.

    Whole 14 / 40 = .35, a purchase day 40 / 3. In the week after, 12 of a's 20 are left, and 2 of b's 10: apart from
    each other as before, but more so: the own rates of as little shrinking as there is come nearest. At the end: 28 of
    70 told, five days, of the purchases' six lines five tell.
    """
    rows = [
        ("a", 0, "purchase", 10.0, 3.0), ("a", 3, "purchase", 10.0, 5.0), ("b", 1, "purchase", 30.0, 10.0),
        ("b", 2, "return", 10.0, 4.0), ("a", 8, "purchase", 20.0, 12.0), ("b", 9, "purchase", 10.0, 2.0),
        ("b", 9, "purchase", 500.0, None),
    ]  # fmt: skip
    log, definitions = made(rows, 14)
    learnt = margins.learn(log, definitions, START + 7 * DAY)
    assert learnt is not None
    assert learnt.whole == pytest.approx(28 / 70) and learnt.days == 1.0 and learnt.told == pytest.approx(5 / 6)
    assert learnt.prior == pytest.approx(70 / 5)
    pairs = pl.DataFrame({"customer_id": ["a", "b", "c"], "cutoff": [log.ends] * 3})
    own = margins.rates(learnt, log, definitions, pairs)
    assert own.tolist() == pytest.approx([(20 + 14 * 0.4) / (40 + 14), (8 + 14 * 0.4) / (30 + 14), 0.4])
    margin, money = margins.came(log, definitions, pairs.with_columns(cutoff=pl.lit(START + 7 * DAY)), 7)
    assert (margin.tolist(), money.tolist()) == ([12.0, 2.0, 0.0], [20.0, 10.0, 0.0])
    _, early = margins.came(log, definitions, pairs.with_columns(cutoff=pl.lit(START + 7 * DAY)), 2)
    assert early.tolist() == [20.0, 0.0, 0.0]  # b's came on the third day
    # The loss of each candidate, by hand.
    before = {"a": (8.0, 20.0), "b": (6.0, 20.0)}
    loss = []
    for days in margins.DAYS:
        prior = days * 40 / 3
        rate = {n: (m + prior * 0.35) / (s + prior) for n, (m, s) in before.items()}
        loss.append((12 - rate["a"] * 20) ** 2 / 20 + (2 - rate["b"] * 10) ** 2 / 10)
    assert margins.DAYS[int(np.argmin(loss))] == learnt.days and len({round(v, 9) for v in loss}) == len(loss)


def test_customers_whose_rates_say_nothing_get_the_wholes() -> None:
    """What each leaves swaps from week to week: the more the whole counts, the better."""
    rows = [(n, 7 * week + day, "purchase", 10.0, 2.0 if (n == "a") == (week % 2 == 0) else 6.0)
            for n in "ab" for week in range(6) for day in (0, 3)]  # fmt: skip
    log, definitions = made(rows, 42)
    learnt = margins.learn(log, definitions, START + 7 * DAY)
    assert learnt is not None and learnt.days == margins.DAYS[-1] and learnt.whole == pytest.approx(0.4)


def test_no_margin_is_learnt_where_none_is_told_or_nothing_is_sold() -> None:
    log, definitions = made([("a", 0, "purchase", 10.0, None), ("a", 9, "purchase", 10.0, None)], 14)
    assert "margin" not in log.columns and margins.learn(log, definitions, START) is None
    log, definitions = made([("a", 0, "purchase", 10.0, 1.0), ("a", 9, "return", 30.0, 3.0)], 14)
    assert "margin" in definitions.columns and margins.learn(log, definitions, START) is None
    log, definitions = made([("a", 0, "purchase", 10.0, 1.0)], 3)
    learnt = margins.learn(log, definitions, START)
    assert learnt is not None and learnt.days == margins.DEFAULT  # no horizon has passed


def test_a_rate_is_blind_to_the_future() -> None:
    """Whatever is sold from the cutoff on, at whatever margin: no rate of before it moves."""
    rows = [("a", d, "purchase", 10.0, 3.0 + d % 3) for d in range(0, 21, 2)]
    later = [("a", d, "purchase", 80.0, -60.0) for d in range(21, 30)]
    cutoff = START + 21 * DAY
    pairs = pl.DataFrame({"customer_id": ["a"], "cutoff": [cutoff]})
    found = []
    for more in ([], later):
        log, definitions = made([*rows, *more], 30)
        past = timeline.until(log, cutoff)
        learnt = margins.learn(past, definitions, START + 7 * DAY)
        assert learnt is not None
        found.append((learnt, margins.rates(learnt, log, definitions, pairs).tolist()))
    assert found[0] == found[1]


DOCUMENT = {"total_ratio": 1.0, "worst": 1.0, "last_window_worst": 1.0, "cutoffs": ["2024-01-01"], "windows_judged": 5,
            "window_days": 28, "gini": 0.5, "horizon_gini": 0.5, "extrapolated_share": 0.0, "bounds": None}  # fmt: skip


# --- a bundle that knows margins ------------------------------------------------------------------
RULE = Margin(whole=0.25, prior=300.0, days=3.0, told=0.9)


def with_margins(log: pl.DataFrame) -> pl.DataFrame:
    """Plain lines with a margin of -.2 to .6 by customer, on all but each eighth of the purchases and returns."""
    place = pl.int_range(pl.len())
    share = (pl.col("customer_id").str.slice(1).cast(pl.Int64) % 9) / 10 - 0.2
    told = pl.when((place % 8 != 0) & pl.col("amount").is_not_null()).then((pl.col("amount") * share).round(2))
    return log.with_columns(margin=told)


@pytest.fixture(scope="module")
def knowing() -> bundle.Bundle:
    own = tiny.tiny_bundle(columns=(*tiny.COLUMNS, "margin"))
    assert own.reference.retention is not None
    retention = dataclasses.replace(own.reference.retention, margin=RULE)
    return dataclasses.replace(own, reference=dataclasses.replace(own.reference, retention=retention))


def test_no_model_ever_sees_a_margin(knowing: bundle.Bundle) -> None:
    plain = tiny.tiny_bundle()
    assert knowing.features == plain.features and knowing.core_features == plain.core_features
    assert not any("margin" in name for name in knowing.features)
    assert features.hashes(features.catalogue(knowing.definitions)) == features.hashes(
        features.catalogue(plain.definitions)
    )


def test_clv_and_values_by_hand_from_each_customers_own_margins(knowing: bundle.Bundle) -> None:
    """CLV of the scores is that of a bundle with one rate, times the own rate over it; told margins are historic."""
    lines = with_margins(tiny.plain_log())
    other = knowing.config.model_copy(update={"value": knowing.config.value.model_copy(update={"margin_share": 1.0})})
    assert knowing.reference.retention is not None
    bare = Retention(**{f.name: getattr(knowing.reference.retention, f.name)
                        for f in dataclasses.fields(Retention) if f.name != "margin"})  # fmt: skip
    one = dataclasses.replace(knowing, config=other, reference=dataclasses.replace(knowing.reference, retention=bare))
    found, money = (b.score(lines, tiny.TRAINED_THROUGH) for b in (knowing, one))
    assert isinstance(found, pl.DataFrame) and isinstance(money, pl.DataFrame)
    signed = pl.when(pl.col("event_type") == "return").then(-1).otherwise(1)
    own = (
        lines.filter(pl.col("amount").is_not_null(), pl.col("time") < tiny.TRAINED_THROUGH)
        .with_columns(pl.col("amount", "margin") * signed)
        .group_by("customer_id")
        .agg(net=pl.col("amount").sum(), m=pl.col("margin").sum(),
             s=pl.col("amount").filter(pl.col("margin").is_not_null()).sum())
    )  # fmt: skip
    rule = pl.when(pl.col("s") > 0).then((pl.col("m") + 300 * 0.25) / (pl.col("s") + 300)).otherwise(0.25)
    own = own.with_columns(rate=rule.clip(-1, 1))
    both = found.join(own, on="customer_id", how="left").with_columns(pl.col("rate").fill_null(0.25))
    both = both.join(money.select("customer_id", pl.col("^clv_.*$").name.suffix("_one")), on="customer_id")
    both = both.filter(pl.col("clv_24m").is_not_null())
    assert both.height > 60 and both["rate"].min() < 0 < 0.3 < both["rate"].max()  # type: ignore[operator]
    assert both["margin_rate"].to_list() == pytest.approx(both["rate"].to_list())
    assert both["clv_24m"].to_list() == pytest.approx((both["rate"] * both["clv_24m_one"]).to_list())
    historic = (both["m"] + both["rate"] * (both["net"] - both["s"])).fill_null(0.0)
    assert both["historic_value"].to_list() == pytest.approx(historic.to_list(), abs=1e-9)
    assert both["total_value"].to_list() == pytest.approx((historic + both["clv_24m"]).to_list(), abs=1e-9)
    bounded = both.filter(pl.col("clv_6m_low").is_not_null())
    assert bounded.height and (bounded["clv_6m_low"] <= bounded["clv_6m"]).all()
    assert (bounded["clv_6m"] <= bounded["clv_6m_high"]).all()
    costly = bounded.filter(pl.col("rate") < 0)
    assert costly.height and (costly["clv_6m_high"] <= 0).all()


def test_alone_in_pieces_and_after_a_load_as_in_the_whole(knowing: bundle.Bundle, tmp_path: Any) -> None:
    """To the bit: one customer's history, a scoring of the log, and the same bundle from disk."""
    lines = with_margins(tiny.plain_log(30))
    frame = events.canonical(lines, knowing.definitions.rules)
    whole = knowing.score_log(frame, tiny.TRAINED_THROUGH)
    columns = ["margin_rate", "clv_3m", "clv_24m", "clv_3m_low", "clv_3m_high", "historic_value", "total_value"]
    for name in whole["customer_id"].to_list():
        alone = knowing.score_log(frame.filter(customer_id=name), tiny.TRAINED_THROUGH)
        assert alone.select(columns).equals(whole.filter(customer_id=name).select(columns)), name
    log = events.from_frame(lines, knowing.definitions.rules, tiny.TRAINED_THROUGH, knowing.definitions.starts)
    assert scoring.score(knowing, log).select(columns).equals(whole.select(columns))
    bundle.save(knowing, tmp_path / "bundle")
    loaded = bundle.load_bundle(tmp_path / "bundle")
    assert loaded.reference.retention is not None and loaded.reference.retention.margin == RULE
    assert loaded.score_log(frame, tiny.TRAINED_THROUGH).select(columns).equals(whole.select(columns))


def test_the_service_answers_as_the_batch(knowing: bundle.Bundle) -> None:
    lines = with_margins(tiny.plain_log(6))
    batch = knowing.score_log(events.canonical(lines, knowing.definitions.rules), tiny.TRAINED_THROUGH)
    held = Holder(Path("nowhere"))
    held.loaded = Loaded(knowing, NOW)
    lines = lines.with_columns(pl.col("time").dt.to_string())
    events_of = {name: [{k: v for k, v in row.items() if v is not None and k != "customer_id"}
                        for row in lines.filter(customer_id=name).to_dicts()]
                 for name in batch["customer_id"]}  # fmt: skip
    body = {"cutoff": tiny.TRAINED_THROUGH.isoformat(),
            "customers": [{"customer_id": n, "events": e} for n, e in events_of.items()]}  # fmt: skip
    reply = tiny.Client(gated(create_app(held, lambda: NOW))).post("/predict", body)
    assert reply.status_code == 200, reply.text
    assert batch.height > 3 and batch["margin_rate"].n_unique() > 3
    for row, got in zip(batch.to_dicts(), reply.json()["predictions"], strict=True):
        assert got["customer_id"] == row["customer_id"]
        assert got["margin_rate"] == row["margin_rate"] and got["historic_value"] == row["historic_value"]
        assert got["clv_by_months"] == {str(m): row[f"clv_{m}m"] for m in knowing.config.clv.months}


# --- learnt and judged ----------------------------------------------------------------------------
def test_own_rates_are_judged_beside_one_for_all() -> None:
    """A simulated shop of two sorts of customers, half leaving .6 and half .1: own rates win, the total adds up."""
    log = sim.log()
    kept = pl.when(pl.col("customer_id").str.slice(-1).is_in(list("02468"))).then(0.6).otherwise(0.1)
    told = log.frame.with_columns(margin=(pl.col("amount") * kept).round().cast(pl.Int64))
    log = dataclasses.replace(sim.changed(log, told), columns=log.columns | {"margin"})
    settings, cutoff, count = sim.settings(), log.ends - 140 * DAY, 5
    look = _clv._look(log, settings, training.answerable(log, settings)[0], cutoff, count, None)
    assert look.margin is not None
    assert look.margin.days == margins.DAYS[0] and 0.25 < look.margin.whole < 0.45
    assert look.margin.whole * look.predicted["champion"].sum() == pytest.approx(look.margin.one_rate.sum())
    later = log.frame.filter(pl.col("time") >= cutoff, pl.col("time") < cutoff + 140 * DAY)
    known = log.frame.filter(pl.col("time") < cutoff)["customer_id"].unique()
    assert look.margin.actual.sum() == pytest.approx(
        later.filter(pl.col("customer_id").is_in(known.implode()))["margin"].sum() / 100, rel=0.02
    )
    found = _clv._margins([look])
    assert found is not None and _clv._margins([look, dataclasses.replace(look, margin=None)]) is None
    own, one = found["own_rates"], found["one_rate"]
    assert own["gini"] > one["gini"] + 0.1 and own["mae"] < one["mae"] and own["actual"] == one["actual"]
    assert own["total_ratio"] == pytest.approx(look.predicted["champion"].sum() / look.actual.sum(), rel=0.1)
    assert "In margin, by each customer's own rate" in wording.clv(DOCUMENT | {"margin": found})
    assert "In margin" not in wording.clv(DOCUMENT)
