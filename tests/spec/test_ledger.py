"""The ledger by hand: realised against predicted, bets that are fair while the scores hold, and the alarm's year."""

from __future__ import annotations

import datetime as dt
import itertools
import json
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import segmented
import shop
import tiny
import years

from churn_clv import events, ledger, ledger_figure, metrics, playbook
from churn_clv.bundle import Bundle
from churn_clv.figures import save
from churn_clv.ledger import Entry, Limits, Seen, _evidence

EXACT = Limits(0.0, 0.0, 0.0)


# --- realised against predicted -------------------------------------------------------------------
def test_wilsons_interval_by_hand() -> None:
    """Of 10 none: z^2 / (10 + z^2) = 3.8415 / 13.8415 = .2775. Of 100 half: .5 +- 1.96 sqrt(25 + .96) / 103.84."""
    assert ledger.wilson(0, 10) == (0.0, pytest.approx(0.27753, abs=1e-5))
    assert ledger.wilson(50, 100) == (pytest.approx(0.40383, abs=1e-5), pytest.approx(0.59617, abs=1e-5))


def test_shares_totals_and_deciles_by_hand() -> None:
    """Twenty customers with risks of .025, .075, ...: two to a tenth. The last four lapse: tenths nine and ten."""
    risk = (np.arange(20) + 0.5) / 20
    lapsed = (np.arange(20) >= 16).astype(float)
    found = ledger.share(lapsed, risk)
    assert (found["predicted"], found["realised"]) == (pytest.approx(0.5), 0.2)
    rows = _deciles(risk, lapsed)
    assert [row["realised"] for row in rows] == [0.0] * 8 + [1.0] * 2
    assert rows[0]["predicted"] == pytest.approx(0.05) and rows[9]["predicted"] == pytest.approx(0.95)
    money = ledger.total(np.array([0.0, 10.0, 20.0]), np.array([10.0, 10.0, 20.0]))
    assert (money["predicted"], money["realised"], money["ratio"]) == (40.0, 30.0, 0.75)
    assert money["high"] - 30 == pytest.approx(1.96 * np.sqrt(200 / 3) * np.sqrt(3), rel=1e-4)


def _deciles(risk: np.ndarray, lapsed: np.ndarray) -> list[dict[str, float]]:
    from churn_clv.ledger._realised import lapse_deciles

    return lapse_deciles(risk, lapsed)


# --- the bets -------------------------------------------------------------------------------------
def test_a_bet_on_lapse_is_fair_at_the_edge_and_loses_within() -> None:
    """Three customers of risk .2, .5 and .7, their odds times exp(shift): over all eight outcomes the mean factor is
    exactly 1 where the shift is the tolerance, less where it is smaller, more where it is larger; and the other way."""
    odds = np.log(np.array([0.25, 1.0, 7 / 3]))
    for way in (1.0, -1.0):
        for shift, sign in ((0.3, 0), (0.1, -1), (0.0, -1), (-0.3, -1), (0.6, 1)):
            true = 1 / (1 + np.exp(-(odds + way * shift)))
            mean = np.zeros(len(_evidence.SHIFTS))
            for outcome in itertools.product((0.0, 1.0), repeat=3):
                lapsed = np.array(outcome)
                chance = np.prod(np.where(lapsed > 0, true, 1 - true))
                mean += chance * np.exp(ledger.shifted(odds, lapsed, way, 0.3))
            assert (np.abs(mean - 1) < 1e-12).all() if sign == 0 else (sign * (mean - 1) > 0).all()


def test_a_bet_on_lapse_by_hand() -> None:
    """One customer of even odds, tolerance 0, way up, shift .1: who lapses multiplies the stake by
    exp(.1) (1 + 1) / (1 + exp(.1)) = 1.04996, who stays by 2 / (1 + exp(.1)) = .95004."""
    up, down = (np.exp(ledger.shifted(np.zeros(1), np.array([y]), 1.0, 0.0))[0] for y in (1.0, 0.0))
    assert (up, down) == (pytest.approx(1.049958, abs=1e-6), pytest.approx(0.950042, abs=1e-6))


def test_leads_are_those_of_the_metrics_and_their_errors_are_true() -> None:
    """200 populations of 300: the mean standard error is within a tenth of how far the leads vary."""
    draw, found = np.random.default_rng(3), []
    for _ in range(200):
        taste = draw.normal(0, 1, 300)
        lapsed = (draw.random(300) < 1 / (1 + np.exp(1 - taste))).astype(float)
        spend = np.where(lapsed > 0, 0.0, np.exp(draw.normal(0, 0.5, 300) - taste))
        one, other = taste + draw.normal(0, 0.5, 300), np.round(taste + draw.normal(0, 1, 300), 1)
        found.append((*ledger.auc_lead(lapsed, one, other), *ledger.gini_lead(spend, -one, -other)))
    auc, gini = (
        metrics.auroc(metrics.Order(one), lapsed, np.ones((1, 300)))
        - metrics.auroc(metrics.Order(other), lapsed, np.ones((1, 300)))
    )[0], np.subtract(*(metrics.normalised_gini(metrics.Order(-s), metrics.Order(spend), spend, np.ones((1, 300)))[0]
                        for s in (one, other)))  # fmt: skip
    assert found[-1][0] == pytest.approx(auc, abs=1e-12) and found[-1][2] == pytest.approx(gini, abs=1e-12)
    table = np.array(found)
    for place in (0, 2):
        assert table[:, place + 1].mean() == pytest.approx(table[:, place].std(), rel=0.15)


def test_bets_on_a_lead_are_fair_between_equals() -> None:
    """Two views of equal quality: 1,000 populations, the mean factor lies within three errors of 1, or below."""
    draw, found = np.random.default_rng(4), []
    for _ in range(1000):
        taste = draw.normal(0, 1, 300)
        lapsed = (draw.random(300) < 1 / (1 + np.exp(1 - taste))).astype(float)
        views = [taste + draw.normal(0, 0.7, 300) for _ in range(2)]
        lead, error = ledger.auc_lead(lapsed, *views)
        found.append(np.exp(_evidence.daring(-lead / error, _evidence.BOLD)))
    table = np.array(found)
    assert (table.mean(axis=0) < 1 + 3 * table.std(axis=0) / np.sqrt(len(table))).all()


def test_the_first_stakes_are_one_and_too_little_is_not_bet_on() -> None:
    assert sum(b.stake for b in ledger.bets()) == pytest.approx(1.0)
    few = Seen(np.full(20, 0.5), (np.arange(20) % 2).astype(float), np.arange(20.0))
    found = ledger.factors(few, EXACT)
    assert found.shape == (len(ledger.bets()), _evidence.WIDTH) and np.nansum(np.abs(found[6:])) == 0.0


# --- the year -------------------------------------------------------------------------------------
def entry(day: int, share: float, version: str = "v1", sample: bool = False, n: int = 400) -> Entry:
    """A scoring of customers of even odds of whom ``share`` lapse."""
    lapsed = (np.arange(n) < share * n).astype(float)
    return Entry(years.FIRST + dt.timedelta(days=day), version, sample, Seen(np.full(n, 0.5), lapsed, np.zeros(n)))


def test_only_windows_that_do_not_overlap_count() -> None:
    days = [0, 7, 27, 28, 40, 56]
    found = ledger.follow([entry(d, 0.5, sample=d == 40) for d in days], 28, EXACT, 0.05)
    assert [row["counts"] for row in found["history"]] == [True, False, False, True, False, True]
    assert found["history"][4]["why"] == "in sample" and found["counted"] == 3 and not found["alarm"]


def test_the_alarm_stands_until_another_model_scores() -> None:
    bad = [entry(28 * k, 0.8) for k in range(3)]
    found = ledger.follow(bad, 28, EXACT, 0.05)
    assert found["raised"]["cutoff"] == years.FIRST.isoformat() and found["limit"] == 20
    assert "more customers lapse than predicted" in found["raised"]["why"][0]
    fewer = ledger.follow([entry(0, 0.2)], 28, EXACT, 0.05)
    assert "fewer customers lapse" in fewer["raised"]["why"][0]
    again = ledger.follow([*bad, entry(84, 0.5, "v2"), entry(112, 0.5, "v2")], 28, EXACT, 0.05)
    assert again["raised"] is None and again["history"][-1]["evidence"] < 1.05


def test_a_year_begins_anew() -> None:
    found = ledger.follow([entry(28 * k, 0.5) for k in range(15)], 28, EXACT, 0.05)
    began = [row["year"] for row in found["history"]]
    assert began[13] == "2024-01-01" and began[14] == "2025-01-27"  # day 364 still, day 392 no longer


def test_waiting_shares_are_worth_what_they_were() -> None:
    """Fourteen windows a year (365 / 28, rounded up), one over: 13 fourteenths wait; the first has lost a little."""
    (row,) = ledger.follow([entry(0, 0.5)], 28, EXACT, 0.05)["history"]
    own = ledger.wealth(ledger.factors(entry(0, 0.5).seen, EXACT)).sum()
    assert row["evidence"] == pytest.approx((13 + own) / 14)


def test_an_alarm_that_stands_for_more_than_a_year_bets_no_share_twice() -> None:
    """Two windows a year (200 days, rounded up), the alarm at once, then four windows as predicted: both shares have
    begun by the second, and what the last ones leave is never below nothing."""
    entries = [entry(0, 0.8), *(entry(200 * k, 0.5) for k in range(1, 5))]
    rows = ledger.follow(entries, 200, EXACT, 0.05)["history"]
    won = [ledger.factors(one.seen, EXACT) for one in entries]
    assert all(row["alarm"] for row in rows)
    wanted = (ledger.wealth(sum(won)).sum() + ledger.wealth(sum(won[1:])).sum()) / 2
    assert rows[-1]["evidence"] == pytest.approx(wanted)
    assert all(value >= 0 for row in rows for value in row["parts"].values())


# --- as a whole -----------------------------------------------------------------------------------
def test_stored_scorings_meet_what_came(tiny_bundle: Bundle, tmp_path: Path) -> None:
    """A scoring 28 days before the log's end is joined to its labels, one at the end waits; it can be drawn."""
    own = shop.settings(tmp_path, targets=TARGETS)
    log = segmented.log()
    early = log.ends - dt.timedelta(days=28)
    for day in (early, log.ends):
        shop.score(own, tiny_bundle, table=False, cutoff=day)
    document = ledger.run(own, log, playbook.load_actions(), [])
    (row,) = document["scorings"]
    assert row["cutoff"] == early.isoformat() and document["open"] == [log.ends.isoformat()]
    assert row["in_sample"] and document["all"] is None and document["alarm"]["counted"] == 0
    scores = tiny_bundle.score_log(log.frame, early).filter("eligible")
    bought = log.frame.filter((pl.col("event_type") == "purchase") & (pl.col("time").dt.date() >= early))
    there = scores["customer_id"].is_in(bought["customer_id"].unique().implode())
    assert row["customers"] == scores.height
    assert row["lapse"]["realised"] == pytest.approx(1 - there.mean(), abs=0.1)  # days that returns void lapse, too
    assert row["lapse"]["predicted"] == pytest.approx(scores["churn_probability"].mean())
    assert sum(b["customers"] for b in row["bands"]) == row["customers"]
    json.dumps(document, allow_nan=False)
    assert save({"ledger": ledger_figure.draw(document)}, tmp_path)[0].stat().st_size > 10_000


TARGETS = {
    "churned": {"events": {"is_in": ["purchase"]}, "measure": "absent"},
    "spend": {"events": {"is_in": ["purchase", "return"]}, "measure": "amount", "at_least": 0},
}


def test_without_a_closed_window_it_says_so(tmp_path: Path) -> None:
    own = shop.settings(tmp_path, targets=TARGETS)
    document = ledger.run(own, segmented.log(), playbook.load_actions(), [])
    assert "no stored scoring" in document["why"] and document["campaigns"] is None
    ledger_figure.draw(document)


def test_a_drift_is_drawn_as_an_alarm() -> None:
    """The picture's title says what the document says."""
    found = ledger.follow([entry(28 * k, 0.8) for k in range(3)], 28, EXACT, 0.05)
    document: dict[str, Any] = {"dataset": "d", "scorings": [], "alarm": found, "campaigns": None}
    assert "ALARM" in ledger_figure.draw(document)._suptitle.get_text()  # type: ignore[attr-defined]


def test_who_left_the_log_is_counted_not_lapsed(tiny_bundle: Bundle, tmp_path: Path) -> None:
    own = shop.settings(tmp_path, targets=TARGETS)
    log = segmented.log()
    early = log.ends - dt.timedelta(days=28)
    shop.score(own, tiny_bundle, table=False, cutoff=early)
    gone = tiny_bundle.score_log(log.frame, early).filter("eligible")["customer_id"][0]
    less = tiny.plain_log().filter(pl.col("customer_id") != gone)
    document = ledger.run(own, segmented.log_of(less), playbook.load_actions(), [])
    assert document["scorings"][0]["gone"] == 1
    assert isinstance(log, events.Log)
