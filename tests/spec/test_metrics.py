"""Metrics by hand, against scikit-learn and scipy, under ties and under shuffled rows."""

from __future__ import annotations

import itertools
import subprocess
import sys

import numpy as np
import pytest
from scipy.stats import spearmanr
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import (
    average_precision_score,
    brier_score_loss,
    log_loss,
    mean_absolute_error,
    mean_tweedie_deviance,
    roc_auc_score,
    root_mean_squared_error,
)

from churn_clv import metrics
from churn_clv.metrics import CHURN_KEYS, METRIC_KEYS, SPEND_KEYS, Order, churn_metrics, spend_metrics


def _people(n: int, seed: int = 0, tied: bool = True) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """churned, probability, spend, predicted spend; predictions rounded so that many tie."""
    random = np.random.default_rng(seed)
    probability, mean = random.beta(2, 3, n), random.gamma(1.0, 40.0, n) + 0.5
    churned = (random.random(n) < probability).astype(float)
    spend = np.where(churned > 0, 0.0, np.round(random.gamma(1.0, mean), 1))
    return (churned, probability.round(2), spend, mean.round(-1) + 1) if tied else (churned, probability, spend, mean)


# --- by hand ------------------------------------------------------------------------------------
def test_churn_by_hand() -> None:
    found = churn_metrics([0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8])
    assert found["churn_auroc"] == pytest.approx(3 / 4)  # .35 beats .1 but not .4; .8 beats both
    assert found["churn_average_precision"] == pytest.approx(0.5 * 1 + 0.5 * 2 / 3)
    assert found["churn_log_loss"] == pytest.approx(-np.log([0.9, 0.6, 0.35, 0.8]).mean())
    assert found["churn_brier"] == pytest.approx((0.1**2 + 0.4**2 + 0.65**2 + 0.2**2) / 4)
    assert found["churn_rate"] == 0.5


def test_tied_churners_count_half() -> None:
    found = churn_metrics([0, 1, 1, 0], [0.5, 0.5, 0.9, 0.1])
    assert found["churn_auroc"] == pytest.approx((0.5 + 1 + 1 + 1) / 4)
    assert found["churn_average_precision"] == pytest.approx(0.5 * 1 + 0.5 * 2 / 3)


def test_lift_shares_the_ties_at_the_edge() -> None:
    score = np.concatenate(([0.9], [0.8] * 4, np.full(15, 0.1)))
    churned = np.array([1, 1, 1, 0, 0] + [1] + [0] * 14)
    # the top 2 of 20 hold the first row and one of the four tied, half of whom churned: 1.5 of 2 against 4 of 20
    assert churn_metrics(churned, score)["churn_lift_top_decile"] == pytest.approx((1.5 / 2) / (4 / 20))


def test_a_tenth_may_hold_part_of_a_row() -> None:
    # the tenth of 15 rows is 1.5 rows: the best row whole and half of the second
    found = churn_metrics([0] * 13 + [1, 0], np.arange(15) / 20)
    assert found["churn_lift_top_decile"] == pytest.approx((0.5 / 1.5) / (1 / 15))


def test_calibration_error_by_hand() -> None:
    probability = np.repeat([0.3, 0.8], 10)
    churned = np.array([1] * 4 + [0] * 6 + [1] * 6 + [0] * 4)  # .4 against .3, .6 against .8
    assert churn_metrics(churned, probability)["churn_ece"] == pytest.approx(0.5 * 0.1 + 0.5 * 0.2)


def test_calibration_error_has_ten_bins() -> None:
    probability = np.repeat(np.arange(10) / 10 + 0.05, 20)
    churned = np.concatenate(
        [np.arange(20) < 20 * p + (1 if b % 2 else -1) for b, p in enumerate(np.arange(10) / 10 + 0.05)]
    )
    # every bin is off by .05, upwards and downwards in turn: two bins at once would cancel
    assert churn_metrics(churned, probability)["churn_ece"] == pytest.approx(0.05)


def test_calibration_floor_is_that_of_the_binomial() -> None:
    flat = np.full(1000, 0.5)  # one group of ties: the mean of |share - .5|
    assert metrics.calibration_floor(flat, 4000) == pytest.approx(np.sqrt(2 / np.pi) * 0.5 / np.sqrt(1000), rel=0.03)
    rising = np.linspace(0.1, 0.9, 2000)
    deviations = np.sqrt((rising * (1 - rising)).reshape(10, 200).sum(axis=1))
    expected = np.sqrt(2 / np.pi) * deviations.sum() / 2000
    assert metrics.calibration_floor(rising, 4000) == pytest.approx(expected, rel=0.03)


def test_a_calibrated_model_stands_at_its_floor() -> None:
    errors = []
    for seed in range(40):
        churned, probability, _, _ = _people(1500, seed, tied=False)
        errors.append(metrics.expected_calibration_error(churned, probability) / metrics.calibration_floor(probability))
    assert np.mean(errors) == pytest.approx(1.0, abs=0.1)


def test_spend_by_hand() -> None:
    found = spend_metrics([0, 10, 20, 70], [5, 5, 30, 40])
    assert found["spend_mae"] == pytest.approx(12.5)
    assert found["spend_rmse"] == pytest.approx(np.sqrt((25 + 25 + 100 + 900) / 4))
    assert found["spend_wape"] == pytest.approx(0.5)
    assert found["spend_total_ratio"] == pytest.approx(0.8)
    # ranks less 2.5: predicted -1, -1, .5, 1.5; actual -1.5, -.5, .5, 1.5
    assert found["spend_gini"] == pytest.approx((-10 + 10 + 105) / (-5 + 10 + 105))
    assert found["spend_spearman"] == pytest.approx((1.5 + 0.5 + 0.25 + 2.25) / np.sqrt(5 * 4.5))


def test_tweedie_deviance_by_hand() -> None:
    assert metrics.tweedie_deviances(np.array([0.0, 4.0, 9.0]), np.array([4.0, 4.0, 4.0])) == pytest.approx(
        [8.0, 0.0, 2.0]
    )
    # nothing predicted counts as a hundredth: 4 (3 - .1)^2 / .1
    assert spend_metrics([9.0], [0.0])["spend_tweedie_deviance"] == pytest.approx(336.4)


def test_decile_mape_and_top_share_by_hand() -> None:
    spend = np.arange(1.0, 11.0)  # ten customers are ten tenths
    predicted = spend.copy()
    predicted[[0, 9]] = 0.5, 15.0
    found = spend_metrics(spend, predicted)
    assert found["spend_decile_mape"] == pytest.approx((0.5 + 0.5) / 10)
    assert found["spend_top_decile_share"] == pytest.approx(10 / 55)


def test_decile_mape_leaves_out_tenths_without_money() -> None:
    spend = np.array([0.0, 0.0, *np.arange(1.0, 9.0)])
    predicted = np.array([0.1, 0.2, *np.arange(1.0, 8.0), 16.0])
    assert spend_metrics(spend, predicted)["spend_decile_mape"] == pytest.approx(1 / 8)


def test_tied_money_is_shared_between_tenths() -> None:
    spend, predicted = np.array([90.0, 0, 0, 10, 0, 0, 0, 0, 0, 0]), np.array([7.0, 7, 7, 7, 1, 1, 1, 1, 1, 1])
    assert spend_metrics(spend, predicted)["spend_top_decile_share"] == pytest.approx(0.25)


def test_a_constant_prediction_knows_nothing() -> None:
    churned, _, spend, _ = _people(777)
    for reverse in (1, -1):  # once in each order: it must not depend on the rows
        churn = churn_metrics(churned[::reverse], np.full(777, 0.3))
        money = spend_metrics(np.sort(spend)[::reverse], np.full(777, 20.0))
        assert churn["churn_auroc"] == 0.5
        assert churn["churn_lift_top_decile"] == pytest.approx(1.0)
        assert churn["churn_ece"] == pytest.approx(abs(churned.mean() - 0.3))
        assert churn["churn_average_precision"] == pytest.approx(churned.mean())
        assert money["spend_gini"] == 0.0
        assert money["spend_top_decile_share"] == pytest.approx(0.1)
        assert money["spend_decile_mape"] == pytest.approx(abs(20 / spend.mean() - 1))
        assert money["spend_spearman"] is None


def test_perfect_and_reversed_money() -> None:
    _, _, spend, _ = _people(500)
    assert spend_metrics(spend, spend + 1)["spend_gini"] == pytest.approx(1.0)
    assert spend_metrics(spend, spend.max() - spend)["spend_gini"] == pytest.approx(-1.0)
    assert spend_metrics(spend, spend)["spend_decile_mape"] == pytest.approx(0.0)
    assert spend_metrics(spend, spend)["spend_tweedie_deviance"] == pytest.approx(
        0.4 * (spend == 0).mean()
    )  # the floor


# --- against other libraries --------------------------------------------------------------------
@pytest.mark.parametrize("tied", [False, True])
def test_agrees_with_scikit_learn_and_scipy(tied: bool) -> None:
    churned, probability, spend, predicted = _people(3001, 3, tied)
    churn, money = churn_metrics(churned, probability), spend_metrics(spend, predicted)
    for key, theirs in {
        "churn_auroc": roc_auc_score(churned, probability),
        "churn_average_precision": average_precision_score(churned, probability),
        "churn_log_loss": log_loss(churned, np.clip(probability, 1e-15, 1 - 1e-15)),
        "churn_brier": brier_score_loss(churned, probability),
    }.items():
        assert churn[key] == pytest.approx(theirs, rel=1e-12), key
    for key, theirs in {
        "spend_mae": mean_absolute_error(spend, predicted),
        "spend_rmse": root_mean_squared_error(spend, predicted),
        "spend_tweedie_deviance": mean_tweedie_deviance(spend, predicted, power=1.5),
        "spend_spearman": spearmanr(spend, predicted).statistic,
    }.items():
        assert money[key] == pytest.approx(theirs, rel=1e-12), key


def test_weights_are_repeated_rows() -> None:
    churned, probability, spend, predicted = _people(300, 5)
    weights = np.random.default_rng(1).integers(0, 4, size=(3, 300))
    order, money, ideal = Order(probability), Order(predicted), Order(spend)
    real = weights.astype(float)
    for draw in range(3):
        y, p, s, m = (np.repeat(values, weights[draw]) for values in (churned, probability, spend, predicted))
        whole_churn, whole_money = churn_metrics(y, p), spend_metrics(s, m)
        assert metrics.auroc(order, churned, real)[draw] == pytest.approx(whole_churn["churn_auroc"])
        found = metrics.average_precision(order, churned, real)[draw]
        assert found == pytest.approx(whole_churn["churn_average_precision"])
        assert metrics.normalised_gini(money, ideal, spend, real)[draw] == pytest.approx(whole_money["spend_gini"])


def test_a_tenth_of_ties_is_the_mean_over_their_orders() -> None:
    spend, predicted = np.array([3.0, 50, 7, 0, 2, 9, 1, 4, 6, 18]), np.array([5.0, 9, 9, 9, 1, 1, 2, 3, 4, 5])
    shares: list[float] = []
    for shuffled in itertools.permutations([1, 2, 3]):
        broken = predicted.copy()
        broken[list(shuffled)] += [0.1, 0.2, 0.3]
        share = spend_metrics(spend, broken)["spend_top_decile_share"]
        assert share is not None
        shares.append(share)
    assert spend_metrics(spend, predicted)["spend_top_decile_share"] == pytest.approx(np.mean(shares))


@pytest.mark.parametrize("factor", [1.0, 0.5, 3.0])
def test_calibration_slope_agrees_with_a_logistic_regression(factor: float) -> None:
    churned, probability, _, _ = _people(2000, 4, tied=False)
    logit = factor * np.log(probability / (1 - probability))
    theirs = LogisticRegression(C=np.inf, tol=1e-10, max_iter=1000).fit(logit[:, None], churned).coef_[0, 0]
    found = metrics.calibration_slope(churned, 1 / (1 + np.exp(-logit)))
    assert found == pytest.approx(theirs, rel=1e-4)
    assert found == pytest.approx(1 / factor, rel=0.15)


def test_calibration_slope_where_there_is_none() -> None:
    assert metrics.calibration_slope(np.ones(5), np.linspace(0.1, 0.9, 5)) is None
    assert metrics.calibration_slope(np.array([0.0, 1, 0]), np.full(3, 0.4)) is None
    assert metrics.calibration_slope(np.array([0.0, 0, 1, 1]), np.array([0.1, 0.2, 0.8, 0.9])) is None


# --- laws ---------------------------------------------------------------------------------------
def test_the_order_of_rows_does_not_matter() -> None:
    churned, probability, spend, predicted = _people(1003, 9)
    mixed = np.random.default_rng(2).permutation(1003)
    before = churn_metrics(churned, probability) | spend_metrics(spend, predicted)
    after = churn_metrics(churned[mixed], probability[mixed]) | spend_metrics(spend[mixed], predicted[mixed])
    assert before == pytest.approx(after, rel=1e-12)
    assert before["churn_ece_floor"] == after["churn_ece_floor"]


def test_every_key_is_there() -> None:
    churned, probability, spend, predicted = _people(50)
    assert tuple(churn_metrics(churned, probability)) == CHURN_KEYS
    assert tuple(spend_metrics(spend, predicted)) == SPEND_KEYS
    assert set(METRIC_KEYS) == {*CHURN_KEYS, *SPEND_KEYS, "n"}
    assert all(value is not None for value in churn_metrics(churned, probability).values())
    assert all(value is not None for value in spend_metrics(spend, predicted).values())


def test_a_score_has_no_probability_metrics() -> None:
    found = churn_metrics([0, 1, 1, 0], [10, 30, 200, 5], score_only=True)
    assert found["churn_auroc"] == 1.0
    assert {key for key, value in found.items() if value is None} == {
        "churn_log_loss",
        "churn_brier",
        "churn_ece",
        "churn_ece_floor",
        "churn_calibration_slope",
    }


def test_one_class_has_no_ranking() -> None:
    for label in (0, 1):
        found = churn_metrics([label] * 4, [0.1, 0.2, 0.3, 0.4])
        missing = {key for key, value in found.items() if value is None}
        assert missing == {"churn_auroc", "churn_average_precision", "churn_lift_top_decile", "churn_calibration_slope"}
        assert found["churn_rate"] == label


def test_no_rows_and_no_money_give_none() -> None:
    assert set(churn_metrics([], []).values()) == {None} == set(spend_metrics([], []).values())
    found = spend_metrics([0, 0, 0], [1, 2, 3])
    assert found["spend_mae"] == 2.0
    for key in ("spend_wape", "spend_total_ratio", "spend_gini", "spend_decile_mape", "spend_top_decile_share"):
        assert found[key] is None, key


def test_a_certain_mistake_costs_a_finite_loss() -> None:
    assert churn_metrics([1, 0], [0.0, 0.0])["churn_log_loss"] == pytest.approx(-np.log(1e-15) / 2)
    assert churn_metrics([0, 0], [1.0, 0.0])["churn_log_loss"] == pytest.approx(-np.log(1e-15) / 2, rel=1e-2)


@pytest.mark.parametrize(
    ("churned", "score", "words"),
    [
        ([0, 1], [0.5, np.nan], "1 of 2 predicted values are NaN"),
        ([0, np.inf], [0.5, 0.5], "1 of 2 actual values are NaN"),
        ([0, 2], [0.5, 0.5], "only 0 and 1"),
        ([0, 1], [0.5, 1.5], "1 of 2 probabilities lie outside"),
        ([0, 1], [0.5], "one length"),
        ([[0, 1]], [[0.5, 0.5]], "one length"),
    ],
)
def test_malformed_arrays_are_refused(churned: list[float], score: list[float], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        churn_metrics(churned, score)


def test_negative_spend_is_refused() -> None:
    with pytest.raises(ValueError, match="1 of 2 actual spends are below 0"):
        spend_metrics([-1, 2], [1, 2])


def test_metrics_need_no_lab() -> None:
    code = "import sys, churn_clv.metrics; sys.exit(any(m in sys.modules for m in ('sklearn', 'scipy', 'pandas')))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
