"""The snapshot step, which both heads share, and each head's best trial at it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import optuna
from optuna.trial import FrozenTrial, TrialState

from churn_clv.errors import UserError
from churn_clv.tuning._arena import Outcome
from churn_clv.tuning._space import STEP, Head
from churn_clv.tuning._studies import Task, finished


@dataclass(frozen=True)
class Searched:
    """A head's study, what was asked of it, and the default's outcome in the same small problem."""

    study: optuna.Study
    task: Task
    default: Outcome


def settle(searched: Mapping[Head, Searched]) -> None:
    """Settle on the step that is best so far, for the trials still to come: both heads must share one."""
    open_ = [s for s in searched.values() if len(s.task.steps) > 1 and STEP not in s.study.user_attrs]
    if open_ and (by_step := _by_step(searched)):
        for one in open_:
            one.study.set_user_attr(STEP, _best_step(searched, by_step))


def choose(searched: Mapping[Head, Searched]) -> tuple[int, dict[Head, FrozenTrial]]:
    """The step, settled or best, and each head's best trial at it."""
    by_step = _by_step(searched)
    if not by_step:
        raise UserError("tune: no step was seen through by a trial of each head. Give more --trials.")
    settled = {s.study.user_attrs.get(STEP) for s in searched.values()}
    step = settled.pop() if len(settled) == 1 else None
    step = int(step) if step in by_step else _best_step(searched, by_step)
    return step, by_step[step]


def _by_step(searched: Mapping[Head, Searched]) -> dict[int, dict[Head, FrozenTrial]]:
    """Each head's best trial at each step that every head has seen through."""
    out: dict[int, dict[Head, FrozenTrial]] = {}
    for head, one in searched.items():
        for trial in finished(one.study):
            if trial.state == TrialState.COMPLETE and trial.value is not None:
                at = out.setdefault(trial.user_attrs[STEP], {})
                if head not in at or trial.value < (at[head].value or math.inf):
                    at[head] = trial
    return {step: at for step, at in out.items() if len(at) == len(searched)}


def _best_step(searched: Mapping[Head, Searched], by_step: Mapping[int, Mapping[Head, FrozenTrial]]) -> int:
    """Where the best losses of the heads, each over the default's, have the lowest product; of equals the finest."""

    def loss(step: int) -> float:
        return sum(math.log((t.value or 0.0) / searched[h].default.value) for h, t in by_step[step].items())

    return min(by_step, key=lambda s: (loss(s), s))
