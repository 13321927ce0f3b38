"""Two equal recipes, really fitted: they differ in the seed of the model alone (definition D9)."""

from __future__ import annotations

from typing import Any

import polars as pl
import pytest
import sim

from churn_clv import promotion, timeline, tracking, training
from churn_clv.recipe import Workshop

TRIALS, MOST = 100, 5
# A small learning problem: a hundred pairs take about five minutes of one processor.
CUSTOMERS = 1000
SMALL: dict[str, Any] = {"timeline": {"sub_windows": 1, "validation_origins": 1}}


def fitted(seed: int, out: str) -> list[pl.DataFrame]:
    """Stored out-of-time predictions of two recipes that differ in their seed, on one log; its matrix is built once."""
    log, own = sim.log.__wrapped__(CUSTOMERS, seed=seed), sim.settings(**SMALL)
    plan = timeline.make_plan(log.starts["purchase"], log.ends, own.timeline)
    shop = Workshop(log, own, [plan], training.answerable(log, own)[0], lambda _: None)
    frames = []
    for model_seed in (1, 2):
        mine = own.model_copy(update={"seed": model_seed, "out": out})
        judged = training.judge_at(shop.under(mine), plan, {})
        frames.append(tracking.keyed_predictions(mine, training.out_of_time(judged)))
    return frames


@pytest.mark.soak
def test_of_a_hundred_equal_challengers_at_most_five_are_promoted(tmp_path_factory: pytest.TempPathFactory) -> None:
    out, promoted = str(tmp_path_factory.getbasetemp()), []
    for seed in range(TRIALS):
        frames = fitted(seed, out)
        assert not frames[0]["churn_probability"].equals(frames[1]["churn_probability"])
        if promotion.decide(*frames, {}, draws=300, seed=seed).promote:
            promoted.append(seed)
    print(f"{len(promoted)} of {TRIALS} equal challengers promoted: {promoted}")
    assert len(promoted) <= MOST


@pytest.mark.check
def test_one_such_pair_differs_and_is_not_told_apart(tmp_path_factory: pytest.TempPathFactory) -> None:
    """The same on one log: the seed does change the predictions, or the hundred would prove nothing."""
    frames = fitted(1, str(tmp_path_factory.getbasetemp()))
    assert not frames[0]["churn_probability"].equals(frames[1]["churn_probability"])
    assert not promotion.decide(*frames, {}, draws=300).promote
