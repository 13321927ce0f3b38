"""The total's band is the same to the last bit, whatever the order of the rows and of the threads."""

from __future__ import annotations

import datetime as dt
from types import SimpleNamespace
from typing import Any

import numpy as np
import polars as pl
import pytest

from churn_clv import strata, training

TEST = dt.date(2024, 9, 2)
ORIGINS = tuple(TEST - dt.timedelta(days=28 + 14 * k) for k in reversed(range(8)))


def judged(validation: pl.DataFrame) -> Any:
    """A recipe that saw every season twice, so that the band rests on its own ratios alone."""
    plan = SimpleNamespace(test=TEST, earliest=TEST - dt.timedelta(days=731), origins=ORIGINS, horizon_days=28)
    return SimpleNamespace(
        plan=plan, shop=None, targets={"churned": None, "spend": None}, chosen=SimpleNamespace(validation=validation)
    )


def test_the_band_is_of_the_ratios_of_the_origins() -> None:
    """Expected over actual: 110 / 100, 90 / 100 and, where nobody spent anything, none."""
    rows = [(ORIGINS[0], 70.0, 100.0), (ORIGINS[0], 40.0, 0.0), (ORIGINS[1], 90.0, 100.0), (ORIGINS[2], 5.0, 0.0)]
    table = pl.DataFrame(rows, schema=["cutoff", "expected_spend", "spend"], orient="row")
    assert training.total_band(judged(table)) == strata.total_band([1.1, 0.9], 2)
    assert training.total_band(judged(table[:0])) is None


@pytest.mark.parametrize("seed", range(3))
def test_the_order_of_rows_and_threads_moves_no_bit(seed: int) -> None:
    draw, n = np.random.default_rng(seed), 6_000
    level = np.repeat(draw.uniform(0.5, 2.0, len(ORIGINS)), n)
    table = pl.DataFrame(
        {"cutoff": [origin for origin in ORIGINS for _ in range(n)], "spend": draw.gamma(0.3, 100.0, level.size),
         "expected_spend": level * draw.gamma(0.5, 60.0, level.size)}
    )  # fmt: skip
    shuffled = [table.sample(fraction=1.0, shuffle=True, seed=k) for k in range(10)]
    assert len({training.total_band(judged(rows)) for rows in [table] * 10 + shuffled}) == 1
