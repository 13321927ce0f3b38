"""What share of a target's probability a second model has, by hand."""

from __future__ import annotations

import numpy as np
import pytest

from churn_clv.targets import _learn

LABEL = np.array([1.0, 1.0, 0.0, 0.0])
HALF = np.full(4, 0.5)


@pytest.mark.parametrize(("independent", "share"), [(1, 0.5), (3, 0.75), (9, 0.9)])
def test_a_model_that_knows_all_has_all_but_what_one_more_origin_would_deny(independent: int, share: float) -> None:
    """The whole is best; n origins for it and one against leave n / (n + 1)."""
    assert _learn._share(HALF, np.array([0.9, 0.9, 0.1, 0.1]), LABEL, independent) == share


def test_the_share_is_the_one_of_least_log_loss() -> None:
    """.5 and a far too certain .999, wrong once in four: half of each says .7495.

    That loses (3 x -log .7495 - log .2505) / 4 = .562, a quarter .598, three quarters .619. One origin: half of it.
    """
    sure = np.array([0.999, 0.999, 0.001, 0.999])
    assert _learn._share(HALF, sure, LABEL, 1) == 0.25


def test_a_model_that_says_the_wrong_or_nothing_has_none() -> None:
    assert _learn._share(HALF, np.array([0.1, 0.1, 0.9, 0.9]), LABEL, 3) == 0.0
    assert _learn._share(HALF, None, LABEL, 3) == 0.0


def test_levels_count() -> None:
    """Twice as high in the right order: mapped it would be perfect, as it is it would add to the loss."""
    rare = np.array([1.0, *[0.0] * 9])
    own, other = np.full(10, 0.1), np.array([0.9, *[0.7] * 9])
    assert _learn._share(own, other, rare, 3) == 0.0
