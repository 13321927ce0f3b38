"""The rungs: what they predict, and how their metrics are filled in."""

from __future__ import annotations

import datetime as dt
import warnings

import numpy as np
import polars as pl
import pytest

from churn_clv.metrics import METRIC_KEYS, churn_metrics, spend_metrics
from churn_clv.models import baseline
from churn_clv.models.predict import sigmoid

FEATURES = ["days_since_last_purchase", "spend_last_28d", "gap_mean_days", "never_known", "constant"]


def _matrix(n: int, seed: int) -> tuple[pl.DataFrame, np.ndarray]:
    """A matrix with a skewed, a partly null, an always null and a constant column; and who churned."""
    random = np.random.default_rng(seed)
    days, spend, gap = random.integers(1, 60, n), random.gamma(0.5, 400, n), random.gamma(2, 10, n)
    known = random.random(n) < 0.7
    logit = 0.06 * days - 0.5 * np.log1p(spend) + np.where(known, 0.0, 1.5)
    matrix = pl.DataFrame(
        {
            "customer_id": [str(i) for i in range(n)],
            "cutoff": [dt.date(2024, 1, 1)] * n,
            "days_since_last_purchase": days.astype(float),
            "spend_last_28d": spend,
            "gap_mean_days": pl.Series(np.where(known, gap, np.nan)).fill_nan(None),
            "never_known": pl.Series([None] * n, dtype=pl.Float64),
            "constant": np.full(n, 7.0),
        }
    )
    return matrix, (random.random(n) < 1 / (1 + np.exp(-logit))).astype(int)


def test_recency_rule_ranks_by_silence() -> None:
    matrix = pl.DataFrame({"days_since_last_purchase": [3.0, 40.0, 11.0]})
    rung = baseline.recency_rule(matrix)
    assert rung.churn_score is not None and rung.churn_score.tolist() == [3, 40, 11]
    assert (rung.name, rung.churn_is_probability, rung.spend) == ("recency_rule", False, None)


def test_last_horizon_spend_is_scaled_and_never_negative() -> None:
    matrix = pl.DataFrame({"spend_last_28d": [1250.0, -300.0, 0.0]})
    rung = baseline.last_horizon_spend(matrix, "spend_last_28d", 0.01)
    assert rung.spend is not None and rung.spend.tolist() == [12.5, 0.0, 0.0]
    assert (rung.name, rung.churn_score) == ("last_horizon_spend", None)


def test_a_rule_refuses_nulls() -> None:
    with pytest.raises(ValueError, match="spend_last_28d is null in 1 of 2 rows"):
        baseline.last_horizon_spend(pl.DataFrame({"spend_last_28d": [1.0, None]}), "spend_last_28d")


def test_logistic_finds_what_was_planted() -> None:
    (train, churned), (test, outcome) = _matrix(6000, 1), _matrix(3000, 2)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        rung = baseline.logistic(train, churned, test, FEATURES)
    found = baseline.metrics_of(rung, outcome, None)
    skewed_only = churn_metrics(outcome, -test["spend_last_28d"].to_numpy(), score_only=True)
    assert rung.churn_is_probability and rung.spend is None
    assert found["churn_auroc"] > skewed_only["churn_auroc"] + 0.02  # type: ignore[operator]
    assert found["churn_ece"] < found["churn_ece_floor"] + 0.01  # type: ignore[operator]


def test_logistic_uses_that_a_value_is_missing() -> None:
    (train, churned), (test, outcome) = _matrix(6000, 1), _matrix(3000, 2)
    rung = baseline.logistic(train, churned, test, ["gap_mean_days"])  # only its being null says anything
    assert rung.churn_score is not None
    missing = test["gap_mean_days"].is_null().to_numpy()
    assert rung.churn_score[missing].mean() == pytest.approx(outcome[missing].mean(), abs=0.05)
    assert rung.churn_score[~missing].mean() == pytest.approx(outcome[~missing].mean(), abs=0.05)


def test_logistic_squeezes_heavy_tails() -> None:
    (train, churned), (test, outcome) = _matrix(6000, 1), _matrix(3000, 2)
    column = ["spend_last_28d"]
    rung = baseline.logistic(train, churned, test, column)
    # the truth is linear in log1p(spend): as good as a fit on the logarithm itself
    logs = [m.with_columns(pl.col(column).log1p()) for m in (train, test)]
    squeezed_twice = baseline.logistic(logs[0], churned, logs[1], column)
    ours, other = (baseline.metrics_of(r, outcome, None)["churn_log_loss"] for r in (rung, squeezed_twice))
    assert ours is not None and other is not None and ours < other


def test_logistic_learns_nothing_from_the_test_rows() -> None:
    (train, churned), (test, _) = _matrix(2000, 1), _matrix(500, 2)
    whole = baseline.logistic(train, churned, test, FEATURES).churn_score
    part = baseline.logistic(train, churned, test.head(100), FEATURES).churn_score
    assert whole is not None and part is not None
    np.testing.assert_allclose(whole[:100], part, rtol=1e-12)


def test_logistic_accepts_a_column_unknown_only_in_the_test() -> None:
    (train, churned), (test, _) = _matrix(2000, 1), _matrix(500, 2)
    unknown = test.with_columns(days_since_last_purchase=pl.lit(None, dtype=pl.Float64))
    score = baseline.logistic(train, churned, unknown, FEATURES).churn_score
    assert score is not None and np.isfinite(score).all()


def test_logistic_needs_both_classes() -> None:
    matrix, _ = _matrix(50, 1)
    with pytest.raises(ValueError, match="found 0 of 50 churned"):
        baseline.logistic(matrix, np.zeros(50), matrix, FEATURES)


def test_a_stronger_penalty_draws_to_the_base_rate() -> None:
    """With hardly any freedom everybody is told the mean; scikit-learn's default is the first of those compared."""
    train, churned = _matrix(2000, 1)
    values = train.select(FEATURES).to_numpy().astype(np.float64)
    spread = [np.ptp(baseline.fit_linear(values, churned, c).margin(values)) for c in (*baseline.CS, 1e-9)]
    assert spread == sorted(spread, reverse=True) and spread[-1] < 1e-3 and baseline.CS[0] == 1.0
    shrunk = sigmoid(baseline.fit_linear(values, churned, 1e-9).margin(values))
    assert shrunk == pytest.approx(np.full(2000, churned.mean()), abs=1e-3)


def test_the_best_c_by_hand() -> None:
    """.8 for who came and .3 for who did not is nearer than .6 and .4; of equals the stronger penalty."""
    came = np.array([1.0, 0.0])
    said = {1.0: np.array([0.6, 0.4]), 0.1: np.array([0.8, 0.3]), 0.01: np.array([0.8, 0.3])}
    assert baseline.best_c(said, came) == 0.01
    assert baseline.best_c({c: said[c] for c in (1.0, 0.1)}, came) == 0.1


def test_metrics_of_a_rung_has_every_key() -> None:
    churned, spend = np.array([1, 0, 1, 0]), np.array([0.0, 20.0, 0.0, 5.0])
    rank = baseline.Rung("recency_rule", np.array([30.0, 2.0, 20.0, 25.0]), False, None)
    money = baseline.Rung("last_horizon_spend", None, False, np.array([1.0, 15.0, 2.0, 8.0]))
    for rung in (rank, money):
        assert set(baseline.metrics_of(rung, churned, spend)) == set(METRIC_KEYS)
    found = baseline.metrics_of(rank, churned, spend)
    assert (found["churn_auroc"], found["churn_log_loss"], found["spend_mae"]) == (0.75, None, None)
    assert (found["n"], found["churn_rate"]) == (4, 0.5)
    found = baseline.metrics_of(money, churned, spend)
    assert {k: v for k, v in found.items() if k.startswith("spend")} == spend_metrics(spend, money.spend)  # type: ignore[arg-type]
    assert (found["churn_auroc"], found["churn_rate"], found["n"]) == (None, 0.5, 4)
    assert baseline.metrics_of(money, churned, None)["spend_mae"] is None
