"""The alarm over simulated years of weekly scorings, whose windows overlap: seldom false, there when it should be."""

from __future__ import annotations

import numpy as np
import pytest
import years

from churn_clv.ledger import Limits

pytestmark = pytest.mark.check


def alarms(count: int, customers: int, limits: Limits = years.LIMITS, **law: float) -> np.ndarray:
    """The week of each year's alarm, -1 for none."""
    found = [years.fired(years.year(np.random.default_rng(seed), customers, **law), limits) for seed in range(count)]
    weeks = np.array([-1 if week is None else week for week in found])
    print(customers, limits, law, "raised", (weeks >= 0).mean(), "weeks", sorted(weeks[weeks >= 0].tolist()))
    return weeks


def test_at_most_one_false_alarm_in_twenty_years() -> None:
    """200 years of 150 customers whose predictions are true. With nothing tolerated (but that the lead is real) the
    bets are fair, and at most 5% may win: the bound itself, not what the tolerance leaves of it."""
    assert (alarms(200, 150, Limits(0.0, 0.0, 0.0)) >= 0).sum() <= 10


def test_scores_at_the_edge_of_the_tolerance_raise_no_more() -> None:
    """100 years in which the log-odds are off by just what is tolerated."""
    assert (alarms(100, 150, scored=0.2) >= 0).sum() <= 5


def test_a_drift_is_found() -> None:
    """From week 26 on the log-odds of lapse are .5 higher: 30% lapse where 21% did. 400 customers, half a year left."""
    found = alarms(40, 400, drift=0.5)
    assert (found >= 22).sum() >= 34  # a window of four weeks may hold the first of them
    assert ((found >= 0) & (found < 22)).sum() <= 2
    assert np.median(found[found >= 0]) <= 26 + 18


def test_a_fall_of_prices_is_found() -> None:
    found = alarms(20, 400, price=0.6)
    assert (found >= 22).sum() >= 15


def test_predictions_that_went_to_the_wrong_customers_are_found() -> None:
    """From week 26 on they are shuffled: in all as many lapse as predicted, and the ranking is worth nothing."""
    found = alarms(20, 400, shuffled=1.0)
    assert (found >= 26).sum() >= 19 and np.median(found) <= 28
