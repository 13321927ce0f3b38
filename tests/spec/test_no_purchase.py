"""A chance of no purchase in any number of days: the scores at the edges, falling between, marked past the horizon."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import polars as pl
import pytest
import tiny

from churn_clv.bundle import Bundle
from churn_clv.errors import UserError

LOG = tiny.plain_log(customers=30)
CUTOFF = tiny.TRAINED_THROUGH


def chances(bundle: Bundle, days: int) -> np.ndarray:
    """Those of the eligible, in the order of their ids."""
    return bundle.no_purchase(LOG, CUTOFF, days)["probability"].drop_nulls().to_numpy()


def test_at_the_edges_it_is_what_score_says(tiny_bundle: Bundle) -> None:
    scored = tiny_bundle.score(LOG, CUTOFF)
    columns = {7: "churn_probability_7d", 14: "churn_probability_14d", 21: "churn_probability_21d"}
    for days, column in (columns | {28: "churn_probability"}).items():
        found = tiny_bundle.no_purchase(LOG, CUTOFF, days)
        assert found.columns == ["customer_id", "cutoff", "days", "probability", "extrapolated"]
        assert found.select("customer_id", "cutoff").equals(scored.select("customer_id", "cutoff"))
        assert found["probability"].equals(scored[column].rename("probability"))  # to the bit, null for the others
        assert found["days"].unique().to_list() == [days] and not found["extrapolated"].any()
    assert 0 < scored["eligible"].sum() < scored.height


def test_it_falls_with_every_day_and_says_where_it_is_extrapolated(tiny_bundle: Bundle) -> None:
    days = [*range(1, 41), 365]
    curve = np.array([chances(tiny_bundle, d) for d in days])
    assert (np.diff(curve, axis=0) <= 0).all() and (curve[0] < 1).all() and (curve[-1] > 0).all()
    np.testing.assert_allclose(curve[3], curve[6] ** (4 / 7), rtol=1e-12)  # four of the first edge's seven days
    np.testing.assert_allclose(curve[9], curve[6] ** (4 / 7) * curve[13] ** (3 / 7), rtol=1e-12)
    flags = {d: tiny_bundle.no_purchase(LOG, CUTOFF, d)["extrapolated"].unique().to_list() for d in (1, 28, 84, 85)}
    assert flags == {1: [False], 28: [False], 84: [False], 85: [True]}


def test_where_no_silence_was_learnt_the_horizon_is_chained(tiny_bundle: Bundle) -> None:
    bare = replace(tiny_bundle, reference=replace(tiny_bundle.reference, outlook=None))
    found = bare.no_purchase(LOG, CUTOFF, 365)
    np.testing.assert_allclose(found["probability"].drop_nulls(), chances(bare, 28) ** (365 / 28), rtol=1e-12)
    assert found["extrapolated"].all() and bare.no_purchase(LOG, CUTOFF, 29)["extrapolated"].all()
    assert (chances(tiny_bundle, 84) != chances(bare, 84)).all()


def test_the_scores_say_the_same_of_the_next_order(tiny_bundle: Bundle) -> None:
    scored = tiny_bundle.score(LOG, CUTOFF)
    for days in (7, 14, 30, 60, 90):
        found = tiny_bundle.no_purchase(LOG, CUTOFF, days).select(p=1 - pl.col("probability"))["p"]
        assert found.equals(scored[f"next_order_within_{days}d"].rename("p")) and found.count() > 5
    assert scored["next_order_learnt_days"].unique().to_list() == [84]


@pytest.mark.parametrize("days", [5, 90])
def test_pandas_in_pandas_out_and_one_customer_alone_as_among_many(tiny_bundle: Bundle, days: int) -> None:
    whole = tiny_bundle.no_purchase(LOG, CUTOFF, days)
    found = tiny_bundle.no_purchase(LOG.to_pandas(), CUTOFF.isoformat(), days)
    assert isinstance(found, pd.DataFrame) and found["probability"].tolist() == pytest.approx(
        whole["probability"].to_numpy().tolist(), nan_ok=True, rel=0, abs=0
    )
    for name in whole["customer_id"].head(5):
        alone = tiny_bundle.no_purchase(LOG.filter(pl.col("customer_id") == name), CUTOFF, days)
        assert alone.equals(whole.filter(pl.col("customer_id") == name))


@pytest.mark.parametrize("days", [0, -7])
def test_fewer_days_than_one_are_refused(tiny_bundle: Bundle, days: int) -> None:
    with pytest.raises(UserError, match=f"days must be 1 or more, found {days}"):
        tiny_bundle.no_purchase(LOG, CUTOFF, days)
