"""The small learning problem that every trial solves: snapshots built and binned once, read by every process."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightgbm as lgb
import numpy as np

from churn_clv import metrics
from churn_clv.config import Booster
from churn_clv.models import fit
from churn_clv.models.predict import Floats, Kind, sigmoid
from churn_clv.recipe import Lesson, Workshop
from churn_clv.timeline import Plan
from churn_clv.tuning._ground import coarser
from churn_clv.tuning._space import Head, Trial

BINNED, ARRAYS = "binned.bin", "arrays.npz"
# Bins must serve every least number of data in a leaf, and max_bin is never searched.
BINNING = {"verbosity": -1, "feature_pre_filter": False, "num_threads": 1}


@dataclass(frozen=True)
class Outcome:
    """A trial's loss over all search cutoffs at the number of trees where it is lowest."""

    value: float
    trees: int


class Arena:
    """Rows of each search cutoff and step, labels, and the binned matrix; lives in a folder that workers read."""

    def __init__(self, folder: Path) -> None:
        """Read what ``build`` wrote."""
        self.binned = lgb.Dataset(str(folder / BINNED), params=BINNING).construct()
        with np.load(folder / ARRAYS, allow_pickle=False) as found:
            self._arrays = {name: found[name] for name in found.files}
        self.columns = tuple(map(str, self._arrays["columns"]))
        self.family_of = dict(zip(self.columns, map(str, self._arrays["families"]), strict=True))
        self.origins = int(self._arrays["origins"])
        self.seed = int(self._arrays["seed"])

    def learn(self, head: Head, origin: int, step: int) -> tuple[np.ndarray[Any, Any], Floats]:
        """The rows learnt from at an origin, rising, and their labels."""
        rows = self._arrays[f"learn-{step}-{origin}"]
        return rows, self._arrays[head][rows]

    def asked(self, head: Head, origin: int) -> tuple[Floats, Floats]:
        """Feature values and labels of the origin's own customers."""
        return self._arrays[f"values-{origin}"], self._arrays[f"{head}-{origin}"]

    def draws(self, count: int) -> Floats:
        """A number in [0, 1) for each of ``count`` rows, the same in every trial."""
        return np.random.default_rng(self.seed).random(count)


def build(folder: Path, shop: Workshop, plan: Plan, steps: Sequence[int]) -> None:
    """Bin what is learnt from once; write it, each origin's rows (newest first) by step, and what is asked there."""
    origins = plan.origins[::-1]
    learnt = {f"learn-{step}-{place}": shop.learning(Lesson(coarser(plan, step), origin).cutoffs())
              for step in steps for place, origin in enumerate(origins)}  # fmt: skip
    every = np.unique(np.concatenate([*learnt.values()]))
    arrays: dict[str, Any] = {name: np.searchsorted(every, rows) for name, rows in learnt.items()}
    for head, target in (("churn", "churned"), ("spend", "spend")):
        if target in shop.targets:
            label = shop.label(target, plan.horizon_days, plan.test)
            arrays[head] = label[every]
            arrays |= {f"{head}-{place}": label[shop.rows([origin])] for place, origin in enumerate(origins)}
    arrays |= {f"values-{place}": shop.values[shop.rows([origin])] for place, origin in enumerate(origins)}
    families = [shop.family_of[c] for c in shop.columns]
    arrays |= {"columns": np.array(shop.columns), "families": np.array(families)}
    folder.mkdir(parents=True, exist_ok=True)
    (folder / BINNED).unlink(missing_ok=True)  # LightGBM would not write over it
    data = lgb.Dataset(shop.values[every], label=arrays["churn"], feature_name=list(shop.columns), params=BINNING)
    data.save_binary(str(folder / BINNED))
    np.savez(folder / ARRAYS, **arrays, origins=len(origins), seed=shop.settings.seed)


def solve(
    arena: Arena, head: Head, booster: Booster, step: int, problem: Trial,
    report: Callable[[int, float], None] = lambda place, loss: None,
) -> Outcome:  # fmt: skip
    """Learn at each origin, newest first, and ask its customers; ``report`` hears the loss so far after each.

    Every origin's model learns only labels that end by it (definition D7). The loss is pooled over the origins' rows
    at ten numbers of trees, and the lowest counts.
    """
    own = booster.model_copy(update={"learning_rate": problem.learning_rate, "max_rounds": problem.rounds})
    stages = fit.tree_counts(own)
    total, count = np.zeros(len(stages)), 0
    for place in range(arena.origins):
        model, scale = _learnt(arena, head, place, own, step, problem)
        values, label = arena.asked(head, place)
        total += [_losses(head, label, margin, scale).sum() for margin in fit.staged_margins(model, values, stages)]
        count += len(label)
        report(place, float(total.min()) / count)
    best = int(total.argmin())
    return Outcome(float(total[best]) / count, stages[best])


def _learnt(arena: Arena, head: Head, place: int, own: Booster, step: int, problem: Trial) -> tuple[lgb.Booster, float]:
    """A booster on a random part of the rows, what counts rows scaled with them; and what money was divided by."""
    rows, label = arena.learn(head, place, step)
    # One share for all steps: a coarser one has fewer rows in training too, and must not seem as rich here.
    share = min(1.0, problem.rows / len(arena.learn(head, place, 1)[0]))
    if share < 1:
        kept = arena.draws(len(rows)) < share
        rows, label = rows[kept], label[kept]
    fewer = {"min_data_in_leaf": max(1, round(own.min_data_in_leaf * share)), "lambda_l2": own.lambda_l2 * share}
    kind: Kind = "hazard" if head == "churn" else "amount"
    scale = fit.money_scale(label) if head == "spend" else 1.0
    asked = fit.parameters(kind, own.model_copy(update=fewer), arena.seed, 1, arena.columns, arena.family_of)
    data = arena.binned.subset(rows.tolist(), params=BINNING).construct()
    data.set_label(label / scale)
    return lgb.train(asked, data, num_boost_round=own.max_rounds), scale


def _losses(head: Head, label: Floats, margin: Floats, scale: float) -> Floats:
    if head == "churn":
        return metrics.log_losses(label, sigmoid(margin))
    return metrics.tweedie_deviances(label, scale * np.exp(margin))
