"""Skill by stratum, the totals' band and the tables of the evaluation, by hand."""

from __future__ import annotations

import datetime as dt
import json

import numpy as np
import pytest
from scipy import stats

from churn_clv import metrics, strata

A, B = dt.date(2024, 1, 1), dt.date(2024, 2, 1)


# --- labels -------------------------------------------------------------------------------------
def test_by_orders() -> None:
    assert strata.by_orders(np.array([1, 2, 3, 4, 17])) == ["1", "2-3", "2-3", "4+", "4+"]


def test_by_rhythm() -> None:
    since, gap = np.array([5.0, 7.0, 8.0, 3.0]), np.array([7.0, 7.0, 7.0, np.nan])
    assert strata.by_rhythm(since, gap) == ["on time", "on time", "overdue", "no gap yet"]


# --- skill --------------------------------------------------------------------------------------
def _table(
    churned: list[float], probability: list[float], cutoffs: list[dt.date], labels: list[str] | None = None,
    spend: list[float] | None = None, expected: list[float] | None = None,
) -> list[dict[str, object]]:  # fmt: skip
    money = (None, None) if spend is None else (np.array(spend), np.array(expected))
    names = labels or ["1"] * len(churned)
    return strata.table("orders", names, cutoffs, np.array(churned), np.array(probability), *money)


def test_churn_skill_by_hand() -> None:
    (row,) = _table([1, 0, 1, 0], [0.8, 0.2, 0.5, 0.5], [A, A, B, B])
    # both cutoffs have a base rate of .5
    loss = -(2 * np.log(0.8) + 2 * np.log(0.5)) / 4
    assert row["churn_skill"] == pytest.approx(1 - loss / np.log(2))
    assert row["churn_auroc"] == pytest.approx((1.0 + 0.5) / 2)
    assert (row["by"], row["stratum"], row["n"], row["churn_rate"]) == ("orders", "1", 4, 0.5)
    assert row["mean_churn_probability"] == pytest.approx(0.5)
    assert row["spend_skill"] is None


def test_the_base_is_of_the_cutoff() -> None:
    # 3 of 4 at A, 1 of 4 at B: predicting just these has no skill; against the pooled half it would have
    rate = [0.75] * 4 + [0.25] * 4
    (row,) = _table([1, 1, 1, 0, 1, 0, 0, 0], rate, [A] * 4 + [B] * 4)
    assert row["churn_skill"] == pytest.approx(0.0, abs=1e-12)
    assert row["churn_auroc"] == pytest.approx(0.5)


def test_the_base_is_of_the_stratum() -> None:
    labels = ["1"] * 4 + ["4+"] * 4
    rows = _table([1, 1, 1, 0, 1, 0, 0, 0], [0.75] * 4 + [0.25] * 4, [A] * 8, labels)
    assert [row["stratum"] for row in rows] == ["1", "4+"]
    assert [row["churn_skill"] for row in rows] == pytest.approx([0.0, 0.0], abs=1e-12)


def test_a_worse_model_than_the_base_is_negative() -> None:
    (row,) = _table([1, 0], [0.2, 0.8], [A, A])
    assert row["churn_skill"] == pytest.approx(1 + np.log(0.2) / np.log(2))


def test_spend_skill_by_hand() -> None:
    # mean spend 4 at A, 16 at B. Deviance 4 (sqrt y - sqrt m)^2 / sqrt m
    spend, expected = [0.0, 8.0, 16.0, 16.0], [1.0, 9.0, 16.0, 4.0]
    (row,) = _table([1, 0, 0, 0], [0.5] * 4, [A, A, B, B], spend=spend, expected=expected)
    mine = 4 * 1 / 1 + 4 * (np.sqrt(8) - 3) ** 2 / 3 + 0 + 4 * (4 - 2) ** 2 / 2
    base = 4 * 4 / 2 + 4 * (np.sqrt(8) - 2) ** 2 / 2
    assert row["spend_skill"] == pytest.approx(1 - mine / base)


def test_what_is_undefined_is_null() -> None:
    one_class, nobody = _table(
        [1, 1, 1, 0], [0.9, 0.8, 0.5, 0.5], [A] * 4, ["1", "1", "2-3", "2-3"], [0.0, 3.0, 0.0, 0.0], [1.0] * 4
    )
    assert one_class["churn_skill"] is None and one_class["churn_auroc"] is None
    assert one_class["spend_skill"] is not None
    assert nobody["spend_skill"] is None and nobody["churn_auroc"] == 0.5
    assert json.loads(json.dumps([one_class, nobody])) == [one_class, nobody]


def test_all_spending_the_same_has_no_spend_skill() -> None:
    for same in (3.0, 0.1):  # the mean of three tenths is not a tenth in floats
        (row,) = _table([0, 1, 0], [0.5] * 3, [A] * 3, spend=[same] * 3, expected=[2.0, 4.0, 3.0])
        assert row["spend_skill"] is None


def test_a_cutoff_with_one_class_counts_in_the_loss_but_not_in_the_ranking() -> None:
    (row,) = _table([1, 0, 1, 1], [0.8, 0.2, 0.5, 0.5], [A, A, B, B])
    # nothing is left to explain at B: its base loss is 0, the model's is not
    assert row["churn_skill"] == pytest.approx(1 - (2 * -np.log(0.8) + 2 * np.log(2)) / (2 * np.log(2)))
    assert row["churn_auroc"] == 1.0


def test_one_length_only() -> None:
    with pytest.raises(ValueError, match="one length"):
        _table([1, 0], [0.5, 0.5], [A])
    with pytest.raises(ValueError, match="both"):
        strata.table("orders", ["1"], [A], np.ones(1), np.ones(1), np.ones(1), None)


# --- totals -------------------------------------------------------------------------------------
def test_total_band_by_hand() -> None:
    # log ratios .1, -.1, .2: mean square .06 / 3 = .02; t(3, 95%) = 2.353363
    low, high = strata.total_band(np.exp([0.1, -0.1, 0.2]).tolist(), independent=3)
    reach = 2.353363 * np.sqrt(0.02) * np.sqrt(4 / 3)
    assert (low, high) == pytest.approx((np.exp(-reach), np.exp(reach)), rel=1e-5)


def test_fewer_independent_origins_widen_the_band() -> None:
    ratios = [1.1, 0.95, 1.05, 0.9, 1.0, 1.12]
    highs = [strata.total_band(ratios, independent)[1] for independent in (6, 3, 2, 1)]
    assert highs == sorted(highs) and highs[0] < highs[-1]
    rms = np.sqrt(np.mean(np.log(ratios) ** 2))
    assert np.log(highs[-1]) == pytest.approx(stats.t.ppf(0.95, 1) * rms * np.sqrt(2))
    assert strata.total_band(ratios, 6, miss=0.5)[1] < highs[0]


def test_a_level_error_widens_the_band_and_does_not_centre_it() -> None:
    low, high = strata.total_band([1.3, 1.3, 1.3], 3)
    assert low * high == pytest.approx(1.0) and high > 1.3


def test_the_band_holds_at_least_what_it_promises() -> None:
    random = np.random.default_rng(6)
    inside = 0
    for logs in random.normal(0, 0.1, (1000, 5)):
        low, high = strata.total_band(np.exp(logs[:4]).tolist(), 4)
        inside += low <= np.exp(logs[4]) <= high
    # P(|t_4| <= 2.132 x sqrt(5/4)), exactly, as the mean is known to be 0 and the factor errs to the safe side
    exact = 1 - 2 * stats.t.sf(stats.t.ppf(0.95, 4) * np.sqrt(1.25), 4)
    assert exact == pytest.approx(0.9246, abs=1e-3)
    assert inside / 1000 == pytest.approx(exact, abs=0.025)


@pytest.mark.parametrize(
    ("ratios", "independent", "miss"),
    [([], 1, 0.1), ([1.0], 0, 0.1), ([1.0, 0.0], 1, 0.1), ([1.0, np.nan], 1, 0.1), ([1.0], 2, 0.1), ([1.0], 1, 1.0)],
)
def test_no_band_without_ratios(ratios: list[float], independent: int, miss: float) -> None:
    with pytest.raises(ValueError):
        strata.total_band(ratios, independent, miss)


def test_level_factor_by_hand() -> None:
    ratios = np.exp([0.1, 0.2, 0.3]).tolist()
    assert strata.level_factor(ratios, 3) == pytest.approx(np.exp(-0.2 * 3 / 7))
    assert strata.level_factor([1 / ratio for ratio in ratios], 3) == pytest.approx(np.exp(0.2 * 3 / 7))


@pytest.mark.parametrize(
    ("ratios", "independent"),
    [
        ([1.2, 1.3], 2),  # two agree
        ([1.2, 1.3, 1.2, 1.4], 2),  # four that share their labels are two
        ([1.2, 1.3, 0.99], 3),  # three do not agree
        ([1.2, 1.3, 1.0], 3),
        ([], 0),
    ],
)
def test_no_level_factor_unless_three_agree(ratios: list[float], independent: int) -> None:
    assert strata.level_factor(ratios, independent) == 1.0


# --- tables -------------------------------------------------------------------------------------
def test_decile_table_by_hand() -> None:
    expected = np.arange(20.0, 0.0, -1.0)  # twenty customers, the best first
    rows = strata.decile_table(expected, 2 * expected, expected / 40, (expected < 3).astype(float))
    assert [row["decile"] for row in rows] == list(range(1, 11))
    top, bottom = rows[-1], rows[0]
    assert top == pytest.approx(
        {"decile": 10, "n": 2, "expected_spend": 19.5, "spend": 39.0, "churn_probability": 19.5 / 40, "churn_rate": 0.0}
    )
    assert (bottom["expected_spend"], bottom["churn_rate"]) == pytest.approx((1.5, 1.0))


def test_reliability_table_by_hand() -> None:
    probability = np.repeat(np.arange(10) / 10 + 0.05, 20)
    churned = np.tile(np.arange(20) < 5, 10).astype(float)
    rows = strata.reliability_table(churned, probability)
    assert [row["mean_probability"] for row in rows] == pytest.approx([0.05 + i / 10 for i in range(10)])
    assert {row["n"] for row in rows} == {20.0}
    theirs = stats.binomtest(5, 20).proportion_ci(0.95, method="wilson")
    for row in rows:
        assert row["churn_rate"] == pytest.approx(0.25)
        assert (row["low"], row["high"]) == pytest.approx((theirs.low, theirs.high), abs=1e-6)


def test_reliability_of_none_and_all() -> None:
    rows = strata.reliability_table(np.repeat([0.0, 1.0], 50), np.repeat([0.1, 0.9], 50))
    assert (rows[0]["low"], rows[-1]["high"]) == pytest.approx((0.0, 1.0))
    # Wilson at 0 of 10: z^2 / (n + z^2)
    assert rows[0]["high"] == pytest.approx(1.959964**2 / (10 + 1.959964**2), abs=1e-6)
    assert all(0 <= row["low"] <= row["churn_rate"] <= row["high"] <= 1 for row in rows)


def test_gains_by_hand() -> None:
    churned = np.array([1, 1, 0, 1, 0, 0, 0, 0, 0, 1.0])
    assert strata.gains(churned, -np.arange(10.0)) == pytest.approx([0.25, 0.5, 0.5, *[0.75] * 6, 1.0])
    assert strata.gains(churned, np.zeros(10)) == pytest.approx((np.arange(10) + 1) / 10)  # all tied: the diagonal
    assert strata.gains(np.zeros(10), np.arange(10.0)) == []


def test_gains_agree_with_the_lift() -> None:
    random = np.random.default_rng(7)
    score = random.random(333).round(1)
    churned = (random.random(333) < score).astype(float)
    lift = metrics.churn_metrics(churned, score)["churn_lift_top_decile"]
    assert 10 * strata.gains(churned, score)[0] == pytest.approx(lift)


def test_tables_of_nobody_are_empty() -> None:
    none = np.empty(0)
    assert strata.decile_table(none, none, none, none) == []
    assert strata.reliability_table(none, none) == []
    assert strata.gains(none, none) == []
    assert strata.table("orders", [], [], none, none, None, None) == []
