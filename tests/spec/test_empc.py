"""Expected maximum profit: by hand, by brute force, and under ties."""

from __future__ import annotations

import numpy as np
import pytest

from churn_clv.empc import empc
from churn_clv.metrics import Array

pytest.importorskip("empulse")
PAPER = {"value": 200.0, "offer": 10.0, "contact": 1.0}


def brute_force(
    y: Array, score: Array, value: float, offer: float, contact: float, accept: tuple[float, float]
) -> tuple[float, float]:
    """The best of every cut between distinct scores, for 4,000 acceptance rates of equal probability."""
    stats = pytest.importorskip("scipy.stats")
    rates = stats.beta.ppf((np.arange(4000) + 0.5) / 4000, *accept)
    taken = [np.zeros(len(y), dtype=bool)] + [score >= cut for cut in np.unique(score)[::-1]]
    churners, stayers = np.array([y[t].sum() for t in taken]), np.array([(1 - y[t]).sum() for t in taken])
    profit = churners * (rates[:, None] * (value - offer) - contact) - stayers * (offer + contact)
    best = profit.argmax(axis=1)
    return float(profit.max(axis=1).mean() / len(y)), float((churners + stayers)[best].mean() / len(y))


def test_a_perfect_ranking() -> None:
    churned = np.array([1, 1, 0, 0, 0, 0, 0, 0, 0, 0])
    profit, share = empc(churned, churned * 1.0, **PAPER)
    # every churner is worth taking as soon as 190 g > 1: nearly always, with g ~ Beta(6, 14) of mean .3
    assert profit == pytest.approx(0.2 * (0.3 * 190 - 1), abs=1e-6)
    assert share == pytest.approx(0.2, abs=1e-6)


def test_a_constant_score_takes_all_or_none() -> None:
    churned, same = np.array([1, 0, 1, 0]), np.full(4, 0.7)
    profit, share = empc(churned, same, **PAPER, accept=(1.0, 1.0))
    even = 6 / 95  # per customer .5 (190 g - 1) - .5 x 11 = 95 g - 6
    assert profit == pytest.approx(95 / 2 * (1 - even**2) - 6 * (1 - even))
    assert share == pytest.approx(1 - even)


def test_the_wrong_way_round_is_no_better_than_a_constant() -> None:
    churned = np.array([1, 0, 1, 0, 0])
    wrong, same = empc(churned, -churned, **PAPER), empc(churned, np.zeros(5), **PAPER)
    assert wrong == pytest.approx(same) and wrong[0] < empc(churned, churned, **PAPER)[0]


def test_nobody_and_everybody_churns() -> None:
    assert empc(np.zeros(6), np.arange(6), **PAPER) == (0.0, 0.0)
    assert empc(np.ones(6), np.arange(6), **PAPER) == pytest.approx((0.3 * 190 - 1, 1.0), abs=1e-6)


def test_an_offer_dearer_than_the_customer_is_not_made() -> None:
    assert empc([1, 0], [1, 0], value=10, offer=10, contact=0) == (0.0, 0.0)
    assert empc([1, 0], [1, 0], value=200, offer=10, contact=500) == (0.0, 0.0)


@pytest.mark.parametrize("accept", [(6.0, 14.0), (1.0, 1.0), (2.0, 1.5), (20.0, 60.0)])
@pytest.mark.parametrize("money", [PAPER, {"value": 60.0, "offer": 15.0, "contact": 2.0}])
def test_brute_force_agrees(accept: tuple[float, float], money: dict[str, float]) -> None:
    random = np.random.default_rng(5)
    churned = (random.random(300) < 0.3).astype(float)
    score = np.round(random.normal(churned, 1.2), 1)  # tied in places
    profit, share = brute_force(churned, score, accept=accept, **money)
    assert profit > 0 and 0 < share < 1
    assert empc(churned, score, **money, accept=accept) == pytest.approx((profit, share), rel=2e-3)


@pytest.mark.parametrize("n", [60, 2000])
def test_neither_the_order_of_rows_nor_the_scale_matters(n: int) -> None:
    random = np.random.default_rng(7)
    churned, score = random.random(n) < 0.4, random.integers(0, 5, n)  # five scores: ties everywhere
    expected = empc(churned, score, **PAPER)
    for order in (np.argsort(churned), np.argsort(~churned), random.permutation(n)):
        assert empc(churned[order], score[order], **PAPER) == expected
    assert empc(churned, score * 1000 - 7.5, **PAPER) == expected


@pytest.mark.parametrize(
    ("churned", "score", "changed", "message"),
    [
        ([1, 0], [1.0], {}, "two arrays of one length"),
        ([], [], {}, "at least 1"),
        ([1, 2], [1.0, 0.0], {}, "only 0 and 1"),
        ([1, 0], [1.0, np.nan], {}, "no NaN"),
        ([1, 0], [1.0, 0.0], {"contact": -1.0}, "at least 0"),
        ([1, 0], [1.0, 0.0], {"value": np.inf}, "finite"),
        ([1, 0], [1.0, 0.0], {"accept": (0.0, 1.0)}, "above 0"),
        ([1, 0], [1.0, 0.0], {"accept": (48.0, 112.0)}, "a sum up to 100"),
    ],
)
def test_what_it_refuses(churned: list[int], score: list[float], changed: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        empc(churned, score, **(PAPER | changed))  # type: ignore[arg-type]


def test_the_sharpest_prior_that_is_let_in_is_a_number() -> None:
    profit, share = empc([1, 0, 0, 0], [0.9, 0.2, 0.2, 0.1], **PAPER, accept=(30.0, 70.0))
    assert profit == pytest.approx(0.25 * (0.3 * 190 - 1), rel=1e-6) and share == pytest.approx(0.25)
