"""Two equal recipes, really fitted: they differ in the seed of the model alone (definition D9)."""

from __future__ import annotations

import pytest
import sim

from churn_clv import promotion, tracking, training

TRIALS, MOST = 100, 5


@pytest.mark.soak
def test_of_a_hundred_equal_challengers_at_most_five_are_promoted(tmp_path_factory: pytest.TempPathFactory) -> None:
    promoted = []
    for seed in range(TRIALS):
        log = sim.log(1500, seed=seed)
        frames = []
        for model_seed in (1, 2):
            own = sim.settings().model_copy(update={"seed": model_seed, "out": str(tmp_path_factory.getbasetemp())})
            frames.append(tracking.keyed_predictions(own, training.out_of_time(training.judge(log, own))))
        promoted.append(promotion.decide(*frames, {}, draws=300, seed=seed).promote)
    assert sum(promoted) <= MOST


@pytest.mark.check
def test_one_such_pair_differs_and_is_not_told_apart(tmp_path_factory: pytest.TempPathFactory) -> None:
    """The same on one log: the seed does change the predictions, or the hundred would prove nothing."""
    log, frames = sim.log(1500, seed=1), []
    for model_seed in (1, 2):
        own = sim.settings().model_copy(update={"seed": model_seed, "out": str(tmp_path_factory.getbasetemp())})
        frames.append(tracking.keyed_predictions(own, training.out_of_time(training.judge(log, own))))
    assert not frames[0]["churn_probability"].equals(frames[1]["churn_probability"])
    assert not promotion.decide(*frames, {}, draws=300).promote
