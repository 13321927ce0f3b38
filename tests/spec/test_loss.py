"""From lapse to loss: the share who stay away, by hand and against a simulated truth."""

from __future__ import annotations

import numpy as np
import pytest

from churn_clv.models.loss import LossTable, fit_loss


# --- by hand ------------------------------------------------------------------------------------
def test_apply_by_hand() -> None:
    table = LossTable(knots=(0.2, 0.6), share=(0.1, 0.5))
    found = table.apply(np.array([0.0, 0.1, 0.2, 0.4, 0.6, 1.0]))
    # the share is .1 up to .2, .3 half-way, .5 from .6
    assert found == pytest.approx([0.0, 0.01, 0.02, 0.12, 0.3, 0.5])


def test_one_share_for_few() -> None:
    probability = np.linspace(0.1, 0.9, 49)
    returned = np.arange(49) >= 7  # the seven least likely to lapse never came back
    table = fit_loss(probability, returned)
    assert table.share == pytest.approx((1 / 7,))
    assert table.apply(np.array([0.1, 0.9])) == pytest.approx([0.1 / 7, 0.9 / 7])


def test_two_bins_by_hand() -> None:
    # bins of 50: 10 and 40 were lost; the overall share is .5, worth 20 customers in each
    probability = np.repeat([0.3, 0.7], 50)
    returned = np.concatenate((np.arange(50) >= 10, np.arange(50) >= 40))
    table = fit_loss(probability, returned)
    assert table.knots == (0.3, 0.7)
    assert table.share == pytest.approx(((10 + 10) / 70, (40 + 10) / 70))


def test_a_share_that_falls_is_pooled() -> None:
    probability = np.repeat([0.3, 0.7], 50)
    returned = np.concatenate((np.arange(50) >= 40, np.arange(50) >= 10))
    assert fit_loss(probability, returned).share == pytest.approx((0.5, 0.5))


def test_everyone_or_nobody_came_back() -> None:
    probability = np.linspace(0.01, 0.99, 200)
    asked = np.array([0.0, 0.3, 1.0])
    assert fit_loss(probability, np.ones(200, bool)).apply(asked).tolist() == [0.0, 0.0, 0.0]
    assert fit_loss(probability, np.zeros(200, bool)).apply(asked) == pytest.approx(asked)


def test_constant_probabilities_make_one_share() -> None:
    table = fit_loss(np.full(500, 0.4), np.arange(500) < 200)
    assert table.knots == (0.4,)
    assert table.share == pytest.approx((0.6,))


# --- against the truth --------------------------------------------------------------------------
def test_it_finds_the_truth() -> None:
    # among the lapsed, the share lost is p squared: then P(loss) = p^3
    random = np.random.default_rng(4)
    p = random.random(60_000)
    lapsed = random.random(60_000) < p
    lost = lapsed & (random.random(60_000) < p**2)
    table = fit_loss(p[lapsed], ~lost[lapsed])
    asked = np.linspace(0.3, 0.95, 14)
    # a bin of 3,000 knows its share to .009; ten straight pieces and the shrinkage cost as much again
    assert table.apply(asked) == pytest.approx(asked**3, abs=0.03)
    # exact expectation over the uniform: 1/4, with an sd of .0018 in this sample
    assert table.apply(p).mean() == pytest.approx(0.25, abs=0.01)


# --- laws ---------------------------------------------------------------------------------------
@pytest.mark.parametrize("n", [1, 49, 50, 130, 5000])
def test_rising_and_at_most_the_probability(n: int) -> None:
    random = np.random.default_rng(n)
    table = fit_loss(random.random(n), random.random(n) < 0.5)  # no relation at all: noise must not make it fall
    knots = np.array(table.knots)
    asked = np.sort(np.concatenate((np.linspace(0, 1, 2001), knots, np.nextafter(knots, 0), np.nextafter(knots, 1))))
    found = table.apply(asked)
    assert (np.diff(found) >= 0).all()
    assert (found >= 0).all() and (found <= asked).all()


def test_one_row_is_the_batch_to_the_bit() -> None:
    random = np.random.default_rng(8)
    p = random.random(700)
    table = fit_loss(p, random.random(700) > p)
    batch = table.apply(p)
    assert [table.apply(p[i : i + 1])[0] for i in range(700)] == batch.tolist()


def test_unknown_probabilities_stay_unknown() -> None:
    found = LossTable((0.5,), (0.5,)).apply(np.array([np.nan, 0.5]))
    assert np.isnan(found[0]) and found[1] == 0.25


def test_the_order_of_rows_does_not_matter() -> None:
    random = np.random.default_rng(9)
    p, returned, mixed = random.random(400).round(2), random.random(400) < 0.5, random.permutation(400)
    assert fit_loss(p, returned) == fit_loss(p[mixed], returned[mixed])


@pytest.mark.parametrize(
    ("probability", "returned", "words"),
    [
        ([], [], "nobody lapsed"),
        ([0.5, np.nan], [True, False], "1 of 2"),
        ([0.5, 1.5], [True, False], "1 of 2"),
        ([0.5], [True, False], "one length"),
    ],
)
def test_malformed_rows_are_refused(probability: list[float], returned: list[bool], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        fit_loss(np.array(probability), np.array(returned, dtype=bool))
