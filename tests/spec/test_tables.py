"""The lifetime rate and the cells, by hand."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from churn_clv.models import tables


def lives(days: list[float], first: list[float], value: list[float] | None = None) -> pl.DataFrame:
    frame = pl.DataFrame({"purchase_days": days, "days_since_first_purchase": first}, schema_overrides={
        "purchase_days": pl.Float64, "days_since_first_purchase": pl.Float64})  # fmt: skip
    return frame if value is None else frame.with_columns(mean_order_value=pl.Series(value, dtype=pl.Float64))


# --- lifetime rate --------------------------------------------------------------------------------
def test_lifetime_rate_by_hand() -> None:
    # repeats 0, 4, 8 in 40, 60, 130 days: pooled (12 + .5) / (230 + 20) = 1 in 20, so a horizon of 20 days brings 1
    rung = tables.lifetime_rate(lives([1, 5, 9], [40, 60, 130], [10.0, 20.0, 30.0]), 20)
    orders = [20 * (0 + 1) / (40 + 20), 20 * (4 + 1) / (60 + 20), 20 * (8 + 1) / (130 + 20)]
    value = [(1 * 10 + 20) / 2, (5 * 20 + 20) / 6, (9 * 30 + 20) / 10]
    assert rung.churn_score is not None and rung.spend is not None
    np.testing.assert_allclose(rung.churn_score, np.exp(-np.array(orders)))
    np.testing.assert_allclose(rung.spend, np.array(orders) * value)
    assert (rung.name, rung.churn_is_probability) == ("lifetime_rate", False)


def test_lifetime_rate_shrinks_towards_the_reference() -> None:
    new, others = lives([1], [1], [50.0]), lives([11, 11], [100, 100], [10.0, 10.0])
    rung = tables.lifetime_rate(new, 30, others)
    orders = 30 * (0 + 30 * 20.5 / 230) / (1 + 30)  # nearly the others' 3
    assert rung.spend is not None and rung.spend.tolist() == pytest.approx([orders * (50 + 10) / 2])


def test_a_customer_of_yesterday_does_not_buy_every_day_for_ever() -> None:
    everyone = lives([2] + [3] * 50, [1] + [200] * 50)
    rung = tables.lifetime_rate(everyone, 90)
    assert rung.churn_score is not None and rung.spend is None
    assert -np.log(rung.churn_score[0]) == pytest.approx(90 * (1 + 90 * 101.5 / 10091) / 91)


def test_nobody_repeats_and_nobody_is_there() -> None:
    rung = tables.lifetime_rate(lives([1, 1], [10, 20], [5.0, 5.0]), 30)
    pooled = 0.5 / (30 + 30)  # half a repeat, so that silence of a few is not taken for certainty
    orders = 30 * 30 * pooled / np.array([40, 50])
    assert rung.spend is not None and rung.spend.tolist() == pytest.approx((orders * 5).tolist())
    assert rung.churn_score is not None and rung.churn_score.tolist() == pytest.approx(np.exp(-orders).tolist())
    nobody = lives([], [], [])
    found = tables.lifetime_rate(nobody, 30).spend
    assert found is not None and found.tolist() == []


def test_a_null_is_refused() -> None:
    with pytest.raises(ValueError, match="days_since_first_purchase is null in 1 of 2 rows"):
        tables.lifetime_rate(pl.DataFrame({"purchase_days": [1.0, 0.0], "days_since_first_purchase": [3.0, None]}), 30)


def test_the_typical_value_counts_a_wholesaler_as_twenty_medians() -> None:
    assert tables.typical(np.array([10.0, 10.0, 10.0, 10_000.0])) == pytest.approx((30 + 200) / 4)
    assert tables.typical(np.array([1.0, 2.0, 6.0])) == pytest.approx(3.0)
    assert tables.typical(np.array([0.0, 0.0, 0.0, 8.0])) == pytest.approx(2.0)  # a median of 0 caps nothing
    assert tables.typical(np.array([])) == 0.0


# --- cells ----------------------------------------------------------------------------------------
def customers(recency: list[float], days: list[float], spend: list[float] | None = None) -> pl.DataFrame:
    frame = pl.DataFrame({"days_since_last_purchase": recency, "purchase_days": days})
    return frame if spend is None else frame.with_columns(spend=pl.Series(spend))


def test_a_cell_by_hand() -> None:
    # ten rows: recency in two halves (fifths 1 and 3 by mid-rank), purchase days all equal (the middle fifth)
    train = customers([5.0] * 5 + [50.0] * 5, [1.0] * 10)
    churned = [0, 0, 0, 0, 1, 1, 1, 1, 0, 1]
    rung = tables.rfm_cells(train, churned, None, train)
    base = (5 + 20 * 0.5) / (10 + 20)  # 5 of 10 churned
    assert base == 0.5
    fresh, stale = (1 + 20 * base) / (5 + 20), (4 + 20 * base) / (5 + 20)
    fresh, stale = (1 + 20 * fresh) / (5 + 20), (4 + 20 * stale) / (5 + 20)  # recency, then recency x frequency
    assert rung.churn_score is not None
    np.testing.assert_allclose(rung.churn_score, [fresh] * 5 + [stale] * 5)
    assert (rung.name, rung.churn_is_probability, rung.spend) == ("rfm_cells", True, None)


def test_spend_is_the_third_side_and_shrunk_alike() -> None:
    train = customers([5.0] * 10, [1.0] * 10, [1.0] * 5 + [100.0] * 5)
    money = [2.0] * 5 + [40.0] * 5
    rung = tables.rfm_cells(train, [0] * 10, money, train)
    base = 21.0  # two levels of one cell each keep it
    assert rung.spend is not None and rung.churn_score is not None
    np.testing.assert_allclose(rung.spend, [(10 + 20 * base) / 25] * 5 + [(200 + 20 * base) / 25] * 5)
    assert rung.churn_score.tolist() == [0.0] * 10


def test_an_unseen_cell_is_its_parent() -> None:
    # those who bought long ago bought once, those of late often: recent once-buyers were never seen
    train = customers([1.0] * 50 + [90.0] * 50, [9.0] * 50 + [1.0] * 50)
    churned = [0] * 50 + [1] * 50
    unseen = customers([1.0, 90.0], [1.0, 9.0])
    rung = tables.rfm_cells(train, churned, None, unseen)
    parent = (0 + 20 * 0.5) / 70, (50 + 20 * 0.5) / 70  # their recency's rate
    assert rung.churn_score is not None and rung.churn_score.tolist() == pytest.approx(list(parent))


def test_cuts_are_the_training_rows_whatever_the_test_rows_are() -> None:
    train = customers([float(d) for d in range(1, 101)], [1.0] * 100)
    churned = [0] * 80 + [1] * 20
    outside = customers([0.5, 20.0, 21.0, 5000.0], [1.0, 1.0, 1.0, 1.0])
    rung = tables.rfm_cells(train, churned, None, outside)
    assert rung.churn_score is not None
    first, edge, second, last = rung.churn_score
    assert first == edge == second and last > 0.5  # fifths 1 and 2 both have no churner; beyond the last is the last
    one = tables.rfm_cells(train, churned, None, outside.tail(1)).churn_score
    assert one is not None and one[0] == last


@pytest.mark.parametrize(("value", "fifth"), [(0.0, 0), (1.0, 0), (2.0, 1), (3.0, 2), (3.5, 3), (5.0, 4), (9.0, 4)])
def test_fifths_by_mid_rank(value: float, fifth: int) -> None:
    assert tables._fifth(np.array([5.0, 1.0, 3.0, 2.0, 4.0]), np.array([value])).tolist() == [fifth]
    assert tables._fifth(np.full(7, 3.0), np.array([3.0])).tolist() == [2]


def test_cells_find_what_was_planted_and_stay_calibrated() -> None:
    random = np.random.default_rng(0)
    recency, days = random.integers(1, 100, 20_000), random.integers(1, 30, 20_000)
    truth = 1 / (1 + np.exp(-(recency - 50) / 20 + (days - 15) / 8))
    churned = (random.random(20_000) < truth).astype(float)
    frame = customers([float(r) for r in recency], [float(d) for d in days])
    rung = tables.rfm_cells(frame.head(10_000), churned[:10_000], None, frame.tail(10_000))
    assert rung.churn_score is not None
    assert rung.churn_score.mean() == pytest.approx(truth[10_000:].mean(), abs=0.01)
    assert np.corrcoef(rung.churn_score, truth[10_000:])[0, 1] > 0.95
