"""Intervals on spend: by hand, at the promised miss rates out of sample, and the laws of their shape."""

from __future__ import annotations

import numpy as np
import pytest

from churn_clv.models import interval, monotone
from churn_clv.models.interval import ByOrders, Interval, coverage, fit_by_orders, fit_interval, reliability

HAND = Interval(knots=(10.0, 20.0), low=(2.0, 6.0), high=(30.0, 40.0))


def _market(n: int, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Expected and actual spend, and orders: heavy tails, and the worse customers are known, the wider."""
    random = np.random.default_rng(seed)
    orders = random.integers(1, 9, n)
    expected = np.exp(random.normal(3 + 0.2 * orders, 1.2))
    buys = random.random(n) < 0.35 + 0.07 * orders
    width = 1.6 / np.sqrt(orders) + 0.3
    amount = expected / (0.35 + 0.07 * orders) * np.exp(random.normal(0, width) - width**2 / 2)
    return expected, np.where(buys, amount, 0.0), orders.astype(float)


# --- by hand ------------------------------------------------------------------------------------
def test_apply_by_hand() -> None:
    low, high = HAND.apply(np.array([0.0, 5.0, 10.0, 15.0, 20.0, 40.0]))
    # below the first knot and above the last the ratio is constant, between them money is interpolated
    assert low.tolist() == [0.0, 1.0, 2.0, 4.0, 6.0, 12.0]
    assert high.tolist() == [0.0, 15.0, 30.0, 35.0, 40.0, 80.0]


def test_one_bin_by_hand() -> None:
    # 19 ratios .1, .2 ... 1.9 of one prediction of 100; miss .1 of 20: the 18th from below and the 2nd
    ratio = np.arange(1, 20) / 10
    found = fit_interval(np.full(19, 100.0), 100 * ratio[::-1])
    assert found.knots == (100.0,)
    assert found.high == pytest.approx((180.0,))
    assert found.low == pytest.approx((20.0,))


def test_the_order_statistics_of_a_finite_sample() -> None:
    # ceil((n + 1) .9) = 10 of 10; with 8 rows 90% would need the ninth of eight: the largest stands in
    for n, upper in ((10, 10), (8, 8), (1, 1)):
        found = fit_interval(np.ones(n), np.arange(1.0, n + 1))
        assert found.high == pytest.approx((float(upper),))
        # below: the floor((n + 1) .1)-th, none under 9 rows
        assert found.low == pytest.approx((1.0 if n == 10 else 0.0,))


def test_a_rounded_product_does_not_move_the_order_statistic() -> None:
    # (99 + 1) .29 is 29, in floats 28.999999999999996
    assert fit_interval(np.full(99, 1000.0), np.arange(1.0, 100), 0.29).low == pytest.approx((29.0,))
    assert fit_interval(np.ones(99), np.arange(1.0, 100), 0.29).high == pytest.approx((71.0,))


def test_two_bins_by_hand() -> None:
    # 100 rows make two bins of 50: the 46th ratio from below (ceil(51 x .9)) and the 5th (floor(5.1))
    expected = np.repeat([10.0, 20.0], 50)
    ratio = np.tile(np.arange(1, 51) / 25, 2)
    found = fit_interval(expected, expected * ratio)
    assert found.knots == (10.0, 20.0)
    assert found.high == pytest.approx((10 * 46 / 25, 20 * 46 / 25))
    assert found.low == pytest.approx((10 * 5 / 25, 20 * 5 / 25))


def test_upper_money_that_falls_is_pooled_and_lower_money_takes_the_less() -> None:
    expected = np.repeat([10.0, 20.0], 50)
    actual = np.concatenate((np.full(50, 60.0), np.full(50, 40.0)))
    found = fit_interval(expected, actual)
    assert found.high == pytest.approx((50.0, 50.0))  # 60, then 40: their mean
    assert found.low == pytest.approx((10.0, 20.0))  # 40 at both, but never above the prediction


def test_lower_money_is_made_to_rise_downwards() -> None:
    expected = np.repeat([10.0, 20.0], 50)
    actual = np.concatenate((np.full(50, 8.0), np.full(50, 4.0)))
    found = fit_interval(expected, actual)
    assert found.low == pytest.approx((4.0, 4.0))
    assert found.high == pytest.approx((10.0, 20.0))  # nobody above: never below the prediction


def test_with_many_zeros_the_lower_end_is_zero() -> None:
    expected, actual, _ = _market(4000, 1)
    assert (actual == 0).mean() > 0.2
    assert set(fit_interval(expected, actual).low) == {0.0}


def test_bins_keep_ties_together_and_merge_the_small() -> None:
    # 30 rows at 1, 100 at 2, 70 at 3: four bins of 50 were wanted; the 30 alone are too few
    score = np.repeat([1.0, 2.0, 3.0], [30, 100, 70])
    found = monotone.bins(score, most=10, least=50)
    assert [score[index].tolist() for index in found] == [[1.0] * 30 + [2.0] * 100, [3.0] * 70]
    assert [len(index) for index in monotone.bins(np.arange(1000.0), most=10, least=50)] == [100] * 10
    assert [len(index) for index in monotone.bins(np.arange(149.0), most=10, least=50)] == [74, 75]
    assert [len(index) for index in monotone.bins(np.ones(49), most=10, least=50)] == [49]


def test_rising_by_hand() -> None:
    found = monotone.rising(np.array([1.0, 5.0, 3.0, 3.0, 9.0]), np.array([1.0, 1.0, 3.0, 4.0, 1.0]))
    assert found == pytest.approx([1.0, 26 / 8, 26 / 8, 26 / 8, 9.0])
    assert monotone.rising(np.array([3.0, 2.0, 1.0]), np.ones(3)) == pytest.approx([2.0] * 3)


def test_rising_agrees_with_scikit_learn() -> None:
    from sklearn.isotonic import isotonic_regression

    random = np.random.default_rng(3)
    values, weights = random.normal(size=200).cumsum(), random.random(200) + 0.1
    assert monotone.rising(values, weights) == pytest.approx(isotonic_regression(values, sample_weight=weights))


# --- the promise --------------------------------------------------------------------------------
def test_the_upper_tail_misses_a_tenth_on_average_exactly() -> None:
    # 39 rows: the 36th of 39 uniforms has mean 36/40, so the mean miss over samples is exactly .1
    random = np.random.default_rng(5)
    miss = []
    for _ in range(1000):
        high = fit_interval(np.ones(39), 2 * random.random(39)).high[0]
        miss.append(1 - high / 2)
    # the sd of one is sqrt(.9 x .1 / 41) = .047, of the mean .0015
    assert np.mean(miss) == pytest.approx(0.1, abs=0.005)


def test_miss_rates_out_of_sample_with_heavy_tails() -> None:
    expected, actual, _ = _market(8000, 11)
    fitted = fit_interval(expected, actual)
    fresh = _market(20_000, 12)
    found = coverage(fitted, fresh[0], fresh[1])
    # 1 - ceil(801 x .9) / 801 = .0999 in each bin; the sd of a bin's fit is .011, of its share here .007
    assert found["miss_above"] == pytest.approx(0.10, abs=0.02)
    assert [row["decile"] for row in found["deciles"]] == list(range(1, 11))
    for row in found["deciles"]:
        assert row["miss_above"] == pytest.approx(0.10, abs=0.04)
    # a single ratio for all would not do: the tail is wider in some deciles
    assert np.ptp(np.divide(fitted.high, fitted.knots)) > 0.3


def test_the_lower_tail_where_there_are_no_zeros() -> None:
    random = np.random.default_rng(21)
    expected, other = np.exp(random.normal(3, 1, (2, 6000)))
    wide = np.exp(random.normal(0, 1, (2, 6000)))
    fitted = fit_interval(expected, expected * wide[0])
    found = coverage(fitted, other, other * wide[1])
    assert found["lower_above_zero"] == 1.0
    assert 0.06 < found["miss_below"] <= 0.11  # at most a tenth, and not nothing
    assert found["miss_above"] == pytest.approx(0.1, abs=0.02)


def test_each_stratum_of_orders_keeps_its_own_promise() -> None:
    expected, actual, orders = _market(12_000, 31)
    fitted = fit_by_orders(expected, actual, orders)
    assert set(fitted.strata) == {"1", "2-3", "4+"}
    fresh = _market(30_000, 32)
    for name, of in (("1", fresh[2] == 1), ("2-3", (fresh[2] > 1) & (fresh[2] < 4)), ("4+", fresh[2] > 3)):
        own = coverage(fitted, fresh[0][of], fresh[1][of], fresh[2][of])
        assert own["miss_above"] == pytest.approx(0.1, abs=0.02), name
    pooled = coverage(fitted.pooled, fresh[0][fresh[2] == 1], fresh[1][fresh[2] == 1])
    assert abs(pooled["miss_above"] - 0.1) > 0.02  # which one interval for all does not keep


def test_a_wholesaler_does_not_break_it() -> None:
    expected, actual, _ = _market(4000, 41)
    before = fit_interval(expected, actual)
    spoilt = actual.copy()
    spoilt[np.flatnonzero(actual == 0)[0]] = 1000 * actual.max()
    after = fit_interval(expected, spoilt)
    # one customer moves one bin, by one order statistic of 400: the mean there would rise a thousandfold
    assert sum(a != b for a, b in zip(after.high, before.high, strict=True)) <= 1
    assert after.high == pytest.approx(before.high, rel=0.1)
    whale = 1000 * expected.max()
    low, high = after.apply(np.array([whale]))
    assert low[0] <= whale <= high[0] == pytest.approx(whale * after.high[-1] / after.knots[-1])


def test_money_times_100() -> None:
    expected, actual, _ = _market(3000, 51)
    once, hundred = fit_interval(expected, actual), fit_interval(100 * expected, 100 * actual)
    asked = np.exp(np.linspace(-2, 9, 200))
    for a, b in zip(once.apply(asked), hundred.apply(100 * asked), strict=True):
        assert b == pytest.approx(100 * a, rel=1e-9)


# --- coverage by hand ---------------------------------------------------------------------------
def test_coverage_by_hand() -> None:
    # ten customers are ten deciles; the interval is half to double the prediction
    half = Interval((1.0,), (0.5,), (2.0,))
    expected = np.arange(1.0, 11.0)
    actual = expected.copy()
    actual[[2, 9]] = 6.5, 20.0  # 6.5 > 6: above; 20 is the end itself: inside
    actual[4] = 2.0  # below 2.5
    found = coverage(half, expected, actual)
    assert found["n"] == 10
    assert found["miss_above"] == pytest.approx(0.1)
    assert found["miss_below"] == pytest.approx(0.1)
    assert [row["miss_above"] for row in found["deciles"]] == pytest.approx([0, 0, 1, 0, 0, 0, 0, 0, 0, 0])
    assert [row["miss_below"] for row in found["deciles"]] == pytest.approx([0, 0, 0, 0, 1, 0, 0, 0, 0, 0])


def test_the_lower_tail_is_judged_only_where_it_is_above_zero() -> None:
    # low is 0 up to a prediction of 10, and 1 at 20
    step = Interval((10.0, 20.0), (0.0, 1.0), (20.0, 40.0))
    found = coverage(step, np.repeat([5.0, 20.0], 5), np.zeros(10))
    assert found["miss_below"] == 1.0
    assert found["lower_above_zero"] == 0.5
    assert [row["miss_below"] for row in found["deciles"]] == [None] * 5 + [1.0] * 5
    none = coverage(step, np.full(4, 5.0), np.zeros(4))
    assert none["miss_below"] is None


# --- laws ---------------------------------------------------------------------------------------
def _shapes() -> list[Interval]:
    found = [HAND, fit_interval(*_market(700, 61)[:2]), fit_interval(*_market(90, 62)[:2])]
    random = np.random.default_rng(63)
    noisy = np.exp(random.normal(0, 3, 1000))
    return [*found, fit_interval(noisy, np.exp(random.normal(0, 3, 1000)))]  # a prediction that knows nothing


@pytest.mark.parametrize("shape", range(4))
def test_rising_around_the_prediction(shape: int) -> None:
    fitted = _shapes()[shape]
    knots = np.array(fitted.knots)
    near = np.concatenate((knots, np.nextafter(knots, 0), np.nextafter(knots, np.inf)))
    asked = np.sort(np.concatenate((np.exp(np.linspace(-12, 15, 3000)), near, [0.0])))
    low, high = fitted.apply(asked)
    assert (low >= 0).all() and (low <= asked).all() and (asked <= high).all()
    assert (np.diff(low) >= 0).all() and (np.diff(high) >= 0).all()


def test_rounding_breaks_no_promise() -> None:
    # the tightest interval there is, low = prediction = high, at knots whose ratios and slopes round
    random = np.random.default_rng(65)
    for _ in range(200):
        knots = np.sort(random.random(3) * 100)
        tight = Interval(*3 * (tuple(knots.tolist()),))
        wide = Interval(tight.knots, tuple((knots / 3).tolist()), tuple((knots * 1.7).tolist()))
        near = np.concatenate((knots, np.nextafter(knots, 0), np.nextafter(knots, 999)))
        asked = np.sort(np.concatenate((random.random(50) * 200, near)))
        for fitted in (tight, wide):
            low, high = fitted.apply(asked)
            assert (low <= asked).all() and (asked <= high).all()
            assert (np.diff(low) >= 0).all() and (np.diff(high) >= 0).all()


def test_one_row_is_the_batch_to_the_bit() -> None:
    expected, actual, orders = _market(1500, 71)
    fitted = fit_by_orders(expected, actual, orders)
    low, high = fitted.apply(expected, orders)
    for i in range(0, 1500, 7):
        one = fitted.apply(expected[i : i + 1], orders[i : i + 1])
        assert (one[0][0], one[1][0]) == (low[i], high[i])


def test_the_order_of_rows_does_not_matter() -> None:
    expected, actual, _ = _market(1000, 81)
    mixed = np.random.default_rng(1).permutation(1000)
    assert fit_interval(expected.round(), actual) == fit_interval(expected[mixed].round(), actual[mixed])


def test_an_unknown_prediction_has_no_interval() -> None:
    low, high = HAND.apply(np.array([np.nan, 10.0]))
    assert np.isnan(low[0]) and np.isnan(high[0]) and low[1] == 2.0
    assert [len(x) for x in HAND.apply(np.empty(0))] == [0, 0]


# --- strata of orders ---------------------------------------------------------------------------
def test_a_thin_stratum_takes_the_pooled_interval() -> None:
    expected, actual, _ = _market(1000, 91)
    orders = np.repeat([1.0, 2.0, 3.0, 4.0, 50.0], [199, 100, 100, 300, 301])
    fitted = fit_by_orders(expected, actual, orders)
    assert set(fitted.strata) == {"2-3", "4+"}
    assert fitted.pooled == fit_interval(expected, actual)
    assert fitted.strata["2-3"] == fit_interval(expected[199:399], actual[199:399])
    low, high = fitted.apply(np.array([30.0, 30.0]), np.array([1.0, 3.0]))
    for i, chosen in enumerate((fitted.pooled, fitted.strata["2-3"])):
        assert (low[i], high[i]) == tuple(float(end[0]) for end in chosen.apply(np.array([30.0])))


def test_by_orders_by_hand() -> None:
    both = ByOrders(pooled=HAND, strata={"4+": Interval((10.0,), (5.0,), (11.0,))})
    low, high = both.apply(np.full(4, 10.0), np.array([1.0, 3.0, 4.0, 99.0]))
    assert low.tolist() == [2.0, 2.0, 5.0, 5.0]
    assert high.tolist() == [30.0, 30.0, 11.0, 11.0]


def test_reliability_says_how_much_history() -> None:
    assert reliability(np.array([1, 2, 3, 4, 400])) == ["low", "medium", "medium", "high", "high"]
    assert reliability(np.array([np.nan, 0.0])) == ["low", "low"]
    assert interval.stratum(np.array([1, 2, 3, 4])) == ["1", "2-3", "2-3", "4+"]


# --- refusals -----------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("expected", "actual", "words"),
    [
        ([], [], "no row"),
        ([0.0, 0.0], [1.0, 2.0], "no row"),
        ([1.0, np.nan], [1.0, 2.0], "1 of 2"),
        ([1.0, 2.0], [np.inf, 2.0], "1 of 2"),
        ([-1.0, 2.0], [1.0, 2.0], "1 of 2"),
        ([1.0, 2.0], [-1.0, 2.0], "1 of 2"),
        ([1.0, 2.0], [1.0], "one length"),
    ],
)
def test_malformed_rows_are_refused(expected: list[float], actual: list[float], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        fit_interval(np.array(expected), np.array(actual))


@pytest.mark.parametrize("miss", [0.0, 0.5, 1.0])
def test_an_impossible_miss_rate_is_refused(miss: float) -> None:
    with pytest.raises(ValueError, match="between 0 and"):
        fit_interval(np.ones(50), np.ones(50), miss)


def test_predictions_of_nothing_teach_nothing() -> None:
    expected, actual = np.array([0.0, *[100.0] * 19]), np.array([5.0, *np.arange(1.0, 20) * 10])
    assert fit_interval(expected, actual) == fit_interval(expected[1:], actual[1:])
