"""Bounds of CLV by hand: by stratum, rising with the months, null where no such months have matured."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace

import numpy as np
import polars as pl
import pytest
import tiny

from churn_clv import scoring
from churn_clv.bundle import Bundle, _value
from churn_clv.cli import _score
from churn_clv.models.bounds import Bounds, fit_bounds
from churn_clv.models.interval import Interval, fit_interval
from churn_clv.models.retention import days_of

ONE = Interval((10.0,), (2.0,), (30.0,))
TWO = Interval((10.0,), (5.0,), (20.0,))


def test_each_by_its_stratum_and_the_rest_of_the_eligible_by_all() -> None:
    own = Bounds(ONE, {"4+": TWO, "lapsed": ONE})
    low, high = own.apply(np.full(5, 10.0), ["1", "4+", "lapsed", "prospect", "history_too_short"])
    assert low[:3].tolist() == [2.0, 5.0, 2.0] and high[:3].tolist() == [30.0, 20.0, 30.0]
    assert np.isnan(low[3:]).all() and np.isnan(high[3:]).all()
    nobody = Bounds(None, {"lapsed": ONE}).apply(np.array([10.0, 10.0]), ["1", "lapsed"])
    assert np.isnan(nobody[0][0]) and nobody[1][1] == 30.0


def test_a_stratum_needs_two_hundred_customers_with_money() -> None:
    draw = np.random.default_rng(4)
    labels = ["1"] * 300 + ["4+"] * 199 + ["lapsed"] * 250 + ["prospect"] * 260
    expected = np.concatenate([draw.uniform(1, 9, 749), np.zeros(260)])
    actual = expected * draw.gamma(1.0, 1.0, len(expected))
    found = fit_bounds(expected, actual, labels)
    assert set(found.strata) == {"1", "lapsed"}
    assert found.strata["lapsed"] == fit_interval(expected[499:749], actual[499:749])
    assert found.pooled == fit_interval(expected[:499], actual[:499])  # the lapsed are not in it
    assert fit_bounds(np.zeros(3), np.ones(3), ["1", "4+", "lapsed"]) == Bounds(None, {})


def test_about_a_tenth_of_new_customers_lies_above() -> None:
    draw = np.random.default_rng(5)

    def sample(n: int) -> tuple[np.ndarray, np.ndarray, list[str]]:
        strata = draw.choice(["1", "4+", "lapsed"], n).tolist()
        expected = draw.uniform(1, 50, n)
        shape = np.where(np.array(strata) == "4+", 9.0, 0.7)
        return expected, expected * draw.gamma(shape, 1 / shape), strata

    own = fit_bounds(*sample(6000))
    expected, actual, strata = sample(20_000)
    low, high = own.apply(expected, strata)
    label = np.array(strata)
    for name in ("1", "4+", "lapsed"):
        here = label == name
        assert 0.08 < (actual[here] > high[here]).mean() < 0.12, name
        assert (actual[here] < low[here]).mean() < 0.12, name


def test_ends_rise_with_the_months() -> None:
    """An upper end is at least the shorter ones', a lower one at most the longer ones'; nulls stay null."""
    upper = {3: np.array([5.0, 1.0, np.nan]), 6: np.array([4.0, np.nan, 2.0]), 12: np.array([6.0, 0.5, 1.0])}
    found = _value._rising(upper, upper=True)
    assert [found[m][0] for m in (3, 6, 12)] == [5.0, 5.0, 6.0]
    assert found[12][1] == 1.0 and np.isnan(found[6][1]) and found[12][2] == 2.0
    found = _value._rising(upper, upper=False)
    assert [found[m][0] for m in (3, 6, 12)] == [4.0, 4.0, 6.0] and found[3][1] == 0.5 and np.isnan(found[3][2])


def test_the_bounds_in_the_scores_by_hand(tiny_bundle: Bundle) -> None:
    """CLV x the ends of the undiscounted money over that money: margin and discount are the same for both."""
    scored = tiny_bundle.score_log(tiny_bundle._log(tiny.plain_log()), tiny.TRAINED_THROUGH)
    bounds = tiny_bundle.reference.outlook.bounds[3]  # type: ignore[union-attr]
    days = days_of(3, tiny.TRAINED_THROUGH)
    seen = set()
    for row in scored.filter(pl.col("clv_3m").is_not_null()).iter_rows(named=True):
        stratum = row["reason"] or {"low": "1", "medium": "2-3", "high": "4+"}[row["reliability"]]
        first = row["expected_spend"] if row["eligible"] else tiny.RETENTION.spend[stratum]
        money = first * tiny.RETENTION.coefficient(stratum, days, 0.0)[0]
        (low,), (high,) = bounds.apply(np.array([money]), [stratum])
        seen.add(stratum)
        if stratum == "prospect":
            assert row["clv_3m_low"] is row["clv_3m_high"] is None
            continue
        ends = [row["clv_3m"] * end / money for end in (low, high)]
        assert row["clv_3m_low"] <= ends[0] + 1e-9 and row["clv_3m_high"] == pytest.approx(ends[1])
        assert row["clv_3m_low"] <= row["clv_3m"] <= row["clv_3m_high"] <= row["clv_6m_high"]
    assert {"1", "2-3", "4+", "lapsed", "prospect"} >= seen >= {"2-3", "4+", "lapsed"}
    assert scored["clv_12m_high"].null_count() == scored["clv_24m_low"].null_count() == scored.height


def test_everyone_known_has_a_clv_that_says_what_it_rests_on(tiny_bundle: Bundle) -> None:
    """On a day on which the log is too short for all: their means, labelled; none in a bundle that learnt none."""
    own = tiny_bundle.definitions.model_copy(update={"min_history_days": 10_000})
    learnt = replace(
        tiny.RETENTION, spend=tiny.RETENTION.spend | {"history_too_short": 6.0},
        money=dict(tiny.RETENTION.money) | {"history_too_short": (1.0, 0.5)},
    )  # fmt: skip
    whole = replace(tiny_bundle, definitions=own, reference=replace(tiny_bundle.reference, retention=learnt))
    log = whole._log(tiny.plain_log())
    scored = whole.score_log(log, tiny.TRAINED_THROUGH)
    short = scored.filter(pl.col("reason") == "history_too_short")
    assert short.height > 10 and set(scored["reliability"]) == {"fallback"}
    days = days_of(3, tiny.TRAINED_THROUGH)
    money = 6.0 * (1 + 0.5 * (days - 28) / 28) * whole.config.value.margin_share
    assert whole.horizon_days == 28 and 56 < days <= 92
    assert short["clv_3m"].to_list() == pytest.approx([money] * short.height, rel=0.03)  # but for the discount
    assert short["clv_3m"].n_unique() == 1 and short["clv_3m"][0] < money
    assert scored["clv_24m"].null_count() == 0
    older = replace(whole, reference=tiny_bundle.reference).score_log(log, tiny.TRAINED_THROUGH)
    before = older.filter(pl.col("reason") == "history_too_short")
    assert before["clv_3m"].null_count() == before["reliability"].null_count() == before.height == short.height


def test_who_is_eligible_keeps_the_word_for_the_own_history(tiny_bundle: Bundle) -> None:
    scored = tiny_bundle.score_log(tiny_bundle._log(tiny.plain_log()), tiny.TRAINED_THROUGH)
    assert set(scored.filter("eligible")["reliability"]) <= {"low", "medium", "high"}
    others = scored.filter(~pl.col("eligible"))
    assert others.height and set(others["reliability"]) == {"fallback"} and others["clv_24m"].null_count() == 0


def test_the_totals_band_by_hand(tiny_bundle: Bundle) -> None:
    """Predicted over actual lay between .8 and 1.25: the actual lies between total / 1.25 and total / .8."""
    scored = tiny_bundle.score_log(tiny_bundle._log(tiny.plain_log()), tiny.TRAINED_THROUGH)
    told = scoring.summary(scored, tiny_bundle)
    total = scored["clv_3m"].sum()
    assert told["clv_total"]["3"] == pytest.approx(total)
    assert told["clv_total_low"]["3"] == pytest.approx(total / 1.25)
    assert told["clv_total_high"]["3"] == pytest.approx(total / 0.8)
    assert told["clv_total_low"]["12"] is told["clv_total_high"]["24"] is None
    bare = replace(tiny_bundle, reference=replace(tiny_bundle.reference, outlook=None))
    plain = bare.score_log(bare._log(tiny.plain_log()), tiny.TRAINED_THROUGH)
    assert scoring.summary(plain, bare)["clv_total_low"]["3"] is None
    assert plain["expected_orders"].null_count() == plain["clv_3m_low"].null_count() == plain.height
    assert isinstance(told["cutoff"], str) and dt.date.fromisoformat(told["cutoff"]) == tiny.TRAINED_THROUGH


def test_activity_and_the_next_order_in_the_scores_by_hand(tiny_bundle: Bundle) -> None:
    """P(active) x the curve where the months end: a month (30 days) ends 2/28 of the way to the second window."""
    scored = tiny_bundle.score_log(tiny_bundle._log(tiny.plain_log()), tiny.TRAINED_THROUGH)
    assert scored.filter(~pl.col("eligible"))["active_probability_1m"].null_count() == (~scored["eligible"]).sum()
    for row in scored.filter("eligible").head(20).iter_rows(named=True):
        curve = tiny.RETENTION.active[{"low": "1", "medium": "2-3", "high": "4+"}[row["reliability"]]]
        active = 1 - row["churn_probability"]
        assert row["active_probability_1m"] == pytest.approx(active * (1 + 2 / 28 * (curve[1] - 1)))
        place = days_of(12, tiny.TRAINED_THROUGH) / 28 - 1
        below = int(place)
        share = curve[below] + (place - below) * (curve[below + 1] - curve[below])
        assert row["active_probability_12m"] == pytest.approx(active * share)
        # 30 days: 2 of the second horizon's 28, in which silence goes from p to p x the table's share.
        later = float(tiny.SILENCE.tables[0].apply(np.array([row["churn_probability"]]))[0])
        silent = row["churn_probability"] ** (26 / 28) * later ** (2 / 28)
        assert row["next_order_within_30d"] == pytest.approx(1 - silent)


def test_the_command_line_says_which_total_has_a_band(tiny_bundle: Bundle, capsys: pytest.CaptureFixture[str]) -> None:
    scored = tiny_bundle.score_log(tiny_bundle._log(tiny.plain_log()), tiny.TRAINED_THROUGH)
    told = scoring.summary(scored, tiny_bundle) | {"path": "here", "csv": False}
    _score.print_scoring(told)
    said = " ".join(capsys.readouterr().out.split())
    low, high = (f"{scored['clv_6m'].sum() / end:,.2f}" for end in (1.4, 0.7))
    assert f"in 9 of 10 cases between {low} and {high}" in said and "no band for 24 months" in said
