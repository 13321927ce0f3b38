"""Who moves between two runs, computed by hand; and the picture of it."""

from __future__ import annotations

import datetime as dt

import polars as pl
import pytest

from churn_clv.contest import _movers

DAY = dt.date(2024, 3, 4)


def ten(**columns: list[float]) -> pl.DataFrame:
    """Ten customers k0..k9 at one cutoff."""
    keys = [f"k{i}" for i in range(10)]
    return pl.DataFrame({"customer_key": keys, "cutoff": [DAY] * 10} | columns)


def test_bands_are_each_runs_own_and_an_edge_belongs_to_the_band_above() -> None:
    both = ten(
        churn_a=[0.1, 0.1, 0.3, 0.3, 0.6, 0.6, 0.9, 0.9, 0.9, 0.9],
        churn_b=[0.1, 0.5, 0.2, 0.3, 0.6, 0.1, 0.9, 0.9, 0.9, 0.4],
        spend=[1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0, 10.0],
        spend_a=[1.0] * 10,
        spend_b=[2.0] * 10,
    )
    found = _movers.bands(both, [(0.3, 0.7), (0.2, 0.7)], ["low", "medium", "high"])
    # by A: low k0 k1, medium k2-k5, high k6-k9; by B (0.2 on): low k0 k5, medium k1 k2 k3 k4 k9, high k6 k7 k8
    assert found["customers"] == [[1, 1, 0], [1, 3, 0], [0, 1, 3]]
    assert found["money"] == [[1, 2, 0], [6, 12, 0], [0, 10, 24]]
    assert (found["moved"], found["up"], found["down"], found["moved_share"]) == (3, 1, 2, 0.3)
    assert (found["moved_money"], found["moved_money_share"]) == (18.0, pytest.approx(18 / 55))
    assert found["moved_expected"] == [3.0, 6.0]


def test_tiers_are_ranked_within_each_cutoff_and_a_part_goes_up() -> None:
    one = ten(spend_a=[9.0 - i for i in range(10)], spend_b=[9.0 - i for i in range(10)], spend=[1.0] * 10)
    swapped = one.with_columns(spend_b=pl.Series([9.0, 5.0, 7.0, 6.0, 8.0, 4.0, 3.0, 2.0, 1.0, 0.0]))
    found = _movers.tiers(pl.concat([one, swapped.with_columns(cutoff=pl.lit(dt.date(2024, 4, 1)))]))
    # top 20%: 2 of 10, next 30%: 3, rest: 5. At the second cutoff k1 falls to the next tier and k4 comes up.
    assert found["customers"] == [[3, 1, 0], [1, 5, 0], [0, 0, 10]]
    assert (found["moved"], found["up"], found["down"]) == (2, 1, 1)
    eleven = one.vstack(one.head(1).with_columns(customer_key=pl.lit("x"), spend_a=-1.0, spend_b=-1.0))
    assert [sum(row) for row in _movers.tiers(eleven)["customers"]] == [3, 3, 5]  # 2.2 and 5.5 go up


def test_the_top_tenth_and_rank_agreement() -> None:
    both = pl.concat([ten(), ten().with_columns(customer_key=pl.col("customer_key") + "x")]).with_columns(
        churn_a=pl.int_range(20).cast(pl.Float64), churn_b=pl.int_range(20).cast(pl.Float64)
    )
    assert _movers.top_tenth(both, "churn") == {"n": 2, "both": 2, "share": 1.0}
    other = both.with_columns(churn_b=pl.when(pl.col("churn_a") == 19).then(-1.0).otherwise("churn_b"))
    assert _movers.top_tenth(other, "churn") == {"n": 2, "both": 1, "share": 0.5}
    # ranks 1..20 against 20 moved to the front: d = (1,)*19 + (19,); 1 - 6 (19 + 361) / (20 * 399)
    assert _movers.rank_agreement(other, "churn") == pytest.approx(1 - 6 * 380 / 7980)
    assert _movers.rank_agreement(both.with_columns(churn_b=pl.lit(0.5)), "churn") is None


def test_without_money_customers_move_all_the_same() -> None:
    nothing = pl.Series([None] * 10, dtype=pl.Float64)
    both = ten(churn_a=[0.1] * 10, churn_b=[0.9] * 10).with_columns(spend=nothing, spend_a=nothing, spend_b=nothing)
    found = _movers.bands(both, [(0.5,), (0.5,)], ["low", "high"])
    assert (found["moved"], found["money"], found["moved_money_share"]) == (10, None, None)
