"""Silence beyond the horizon by hand: at each later horizon, between two, and beyond the last that was seen."""

from __future__ import annotations

import numpy as np
import pytest

from churn_clv.models.loss import LossTable
from churn_clv.models.silence import Silence

EDGES = (14, 28)
CURVE = np.array([[0.9, 0.6], [0.8, 0.4]])
OWN = Silence((LossTable((0.4, 0.8), (0.5, 0.75)), LossTable((0.4, 0.8), (0.4, 0.6))))


def test_at_the_horizons_by_hand() -> None:
    """.8 x .75 and .4 x .5 after two horizons; .8 x .6 and .4 x .4 after three."""
    assert OWN.no_purchase(CURVE, EDGES, 28).tolist() == [0.8, 0.4]
    assert OWN.no_purchase(CURVE, EDGES, 14).tolist() == [0.9, 0.6]
    assert OWN.no_purchase(CURVE, EDGES, 56) == pytest.approx([0.6, 0.2])
    assert OWN.no_purchase(CURVE, EDGES, 84) == pytest.approx([0.48, 0.16])
    assert OWN.learnt_days(28) == 84 and Silence().learnt_days(28) == 28


def test_between_two_horizons_and_beyond_the_last() -> None:
    """Seven of 28 days on from .8 to .6; and two more horizons at the third one's rate, .48 / .6."""
    assert OWN.no_purchase(CURVE, EDGES, 35) == pytest.approx([0.8 * 0.75**0.25, 0.4 * 0.5**0.25])
    assert OWN.no_purchase(CURVE, EDGES, 140) == pytest.approx([0.48 * 0.8**2, 0.16 * 0.8**2])
    assert Silence().no_purchase(CURVE, EDGES, 56) == pytest.approx([0.64, 0.16])  # chained where nothing was seen


def test_it_falls_every_day_though_a_later_table_says_more() -> None:
    """The later horizon wins: who is silent for three horizons was silent for two."""
    odd = Silence((LossTable((0.5,), (0.3,)), LossTable((0.5,), (0.6,))))
    assert odd.no_purchase(CURVE, EDGES, 56) == pytest.approx([0.48, 0.24])
    for own in (OWN, odd, Silence()):
        days = np.array([own.no_purchase(CURVE, EDGES, d) for d in range(1, 300)])
        assert (np.diff(days, axis=0) <= 0).all() and (days > 0).all() and (days < 1).all()
