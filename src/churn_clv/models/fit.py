"""Learning: LightGBM boosters and the calibration map. The lab's half of the models."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import lightgbm as lgb
import numpy as np
from numpy.typing import NDArray

from churn_clv import config
from churn_clv.errors import UserError, nearest
from churn_clv.models.predict import THREADS, Floats, Kind, raw_margin, sigmoid

OBJECTIVE: dict[Kind, dict[str, Any]] = {
    "hazard": {"objective": "binary"},
    "amount": {"objective": "tweedie"},
    "event": {"objective": "binary"},
    "count": {"objective": "poisson"},
}
# Numbers of trees that validation compares, as shares of max_rounds: finer where one tree changes more.
TREE_SHARES = (0.1, 0.15, 0.2, 0.27, 0.35, 0.45, 0.55, 0.7, 0.85, 1.0)
# A shift seen at the validation origins is believed as if so many other independent origins had shown none.
PRIOR_ORIGINS = 4.0
LEVEL_ORIGINS = 3
# Rows at a time: what each tree gives each of them is in memory at once.
AT_ONCE = 4096


def parameters(
    kind: Kind, settings: config.Booster, seed: int, threads: int, columns: Sequence[str] = (),
    family_of: Mapping[str, str] | None = None,
) -> dict[str, Any]:  # fmt: skip
    """LightGBM's parameters for a head: deterministic, no class weights (they destroy probabilities).

    ``family_of`` names the family of each of the ``columns`` that is a feature; it is asked where the settings allow
    some families only.
    """
    own = settings.model_dump(exclude={"max_rounds", "tweedie_variance_power", "families"})
    if settings.families is not None:
        own["interaction_constraints"] = [_allowed(settings.families, columns, family_of or {})]
    tweedie = {"tweedie_variance_power": settings.tweedie_variance_power} if kind == "amount" else {}
    fixed = {"seed": seed, "num_threads": threads, "deterministic": True, "force_col_wise": True, "verbosity": -1}
    return {**OBJECTIVE[kind], **own, **tweedie, **fixed}


def _allowed(families: Sequence[str], columns: Sequence[str], family_of: Mapping[str, str]) -> list[int]:
    """Places of the columns that trees may split on: features of these families, and what is no feature.

    LightGBM never splits on a column that is in no group of its interaction constraints. ``feature_fraction`` still
    draws from all columns.
    """
    known = set(family_of.values())
    for name in families:
        if name not in known:
            raise UserError(f"models.<head>.families: this log feeds no family '{name}'.{nearest(name, known)}")
    return [place for place, name in enumerate(columns) if family_of.get(name, families[0]) in families]


def tree_counts(settings: config.Booster) -> tuple[int, ...]:
    """The numbers of trees that validation chooses from, rising, the last one ``max_rounds``."""
    return tuple(sorted({max(1, round(share * settings.max_rounds)) for share in TREE_SHARES}))


def booster(
    values: Floats, label: Floats, columns: Sequence[str], kind: Kind, trees: int, settings: config.Booster,
    seed: int, threads: int, family_of: Mapping[str, str] | None = None,
) -> lgb.Booster:  # fmt: skip
    """A booster of ``trees`` trees, reloaded from its own text: what ships is what is judged.

    ``values`` (rows, columns), ``label`` (rows,): 0/1 for a hazard or an event, else 0 or more. Its first k trees are
    those of a booster of k trees, so that one fit serves all numbers of trees.
    """
    data = binned(values, label, columns, seed, threads)
    return learnt(data, label, columns, kind, trees, settings, seed, threads, family_of)


def binned(values: Floats, label: Floats, columns: Sequence[str], seed: int, threads: int) -> lgb.Dataset:
    """The rows in LightGBM's bins: the same for every label and all settings of a booster.

    ``seed`` draws the rows that bins are made from where there are more than LightGBM looks at.
    """
    own = {"verbosity": -1, "feature_pre_filter": False, "seed": seed, "num_threads": threads}
    return lgb.Dataset(values, label=label, feature_name=list(columns), params=own).construct()


def learnt(
    data: lgb.Dataset, label: Floats, columns: Sequence[str], kind: Kind, trees: int, settings: config.Booster,
    seed: int, threads: int, family_of: Mapping[str, str] | None = None,
) -> lgb.Booster:  # fmt: skip
    """``booster`` of rows that are binned already, with the same seed; several may learn from them, one by one."""
    data.set_label(label)
    fitted = lgb.train(parameters(kind, settings, seed, threads, columns, family_of), data, num_boost_round=trees)
    return lgb.Booster(model_str=fitted.model_to_string())


def cut(booster: lgb.Booster, trees: int) -> lgb.Booster:
    """The booster's first trees as a booster of its own."""
    if booster.num_trees() <= trees:
        return booster
    return lgb.Booster(model_str=booster.model_to_string(num_iteration=trees))


def staged_margins(booster: lgb.Booster, values: Floats, stages: Sequence[int]) -> Floats:
    """The raw scores of the first k trees for each k of ``stages``, rising; (stages, rows).

    Each is ``raw_margin``'s of the booster ``cut`` there to the bit, but a row walks through every tree once and not
    once for each stage: LightGBM says which leaves of all trees it falls into, and what they give is added tree after
    tree, as LightGBM adds it.
    A booster that found nothing more to split has fewer trees: later stages are its last.
    """
    out = np.empty((len(stages), len(values)))
    trees = min(stages[-1], booster.num_trees())
    places = np.minimum(stages, trees) - 1
    for start in range(0, len(values), AT_ONCE):
        rows = values[start : start + AT_ONCE]
        leaves = np.asarray(booster.predict(rows, pred_leaf=True, num_threads=THREADS, num_iteration=-1), dtype=np.intp)
        leaves = leaves.reshape(len(rows), booster.num_trees())[:, :trees]
        given = np.empty_like(leaves, dtype=np.float64)
        for tree, most in enumerate(leaves.max(axis=0)):
            worth = np.array([booster.get_leaf_output(tree, leaf) for leaf in range(most + 1)])
            given[:, tree] = worth[leaves[:, tree]]
        out[:, start : start + AT_ONCE] = np.cumsum(given, axis=1)[:, places].T
    return out


def money_scale(label: Floats) -> float:
    """The mean of the positive labels: a constant that money is divided by before learning (definition D24)."""
    positive = label[label > 0]
    return float(positive.mean()) if len(positive) else 1.0


def balance(fitted: lgb.Booster, values: Floats, label: Floats) -> float:
    """Log of what an amount booster's training total must be multiplied by to come out right.

    A Tweedie loss with a log link does not keep totals (Denuit, Charpentier, Trufin 2021, "Autocalibration and
    Tweedie-dominance"): on heavy tails its own training total falls short by 1 to 10%.
    """
    found = float(np.exp(raw_margin(fitted, values)).sum())
    return float(np.log(label.sum() / found)) if label.sum() > 0 and found > 0 else 0.0


def shrunk_map(margin: Floats, label: Floats, origin: NDArray[np.intp], independent: int) -> tuple[float, float]:
    """The logistic map, drawn towards (0, 1) by how few ``independent`` origins it was seen at (definition D15).

    ``origin`` (rows,) numbers the origin of each row. The level is corrected only where at least LEVEL_ORIGINS
    independent origins all err to the same side: the next origin's level is not the last one's (one season's customers
    are not the next one's), and on real data correcting it after one or two origins made calibration worse in two of
    three logs. Without it the intercept goes with the slope so that the mean probability stays what it was.
    """
    intercept, slope = logistic_map(margin, label)
    belief = independent / (independent + PRIOR_ORIGINS)
    slope = 1 + belief * (slope - 1)
    errors = [label[origin == o].mean() - sigmoid(margin[origin == o]).mean() for o in np.unique(origin)]
    if independent >= LEVEL_ORIGINS and (min(errors) > 0 or max(errors) < 0):
        return belief * intercept, slope
    return _level(slope * margin, float(sigmoid(margin).mean())), slope


def _level(margin: Floats, mean: float) -> float:
    """What to add to the margins for their probabilities to have the ``mean``, by bisection."""
    low, high = -50.0, 50.0
    for _ in range(80):
        middle = (low + high) / 2
        if float(sigmoid(middle + margin).mean()) < mean:
            low = middle
        else:
            high = middle
    return (low + high) / 2


def logistic_map(margin: Floats, label: Floats, steps: int = 50) -> tuple[float, float]:
    """Intercept and slope of sigmoid(a + b * margin) by Newton's method on log loss (Platt's map, definition D15).

    A weak ridge towards (0, 1) keeps the map finite on separable data. With one class only: (0, 1).
    """
    if label.min() == label.max():
        return 0.0, 1.0
    design = np.column_stack([np.ones_like(margin), margin])
    prior, ridge = np.array([0.0, 1.0]), 1e-2
    beta = prior.copy()
    for _ in range(steps):
        p = sigmoid(design @ beta)
        gradient = design.T @ (p - label) + ridge * (beta - prior)
        curvature = design.T @ (design * (p * (1 - p))[:, None]) + ridge * np.eye(2)
        step = np.linalg.solve(curvature, gradient)
        beta = beta - step
        if float(np.abs(step).max()) < 1e-10:
            break
    return float(beta[0]), float(beta[1])
