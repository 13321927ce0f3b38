"""Learning: LightGBM boosters and the calibration map. The lab's half of the models."""

from __future__ import annotations

from typing import Any

import lightgbm as lgb
import numpy as np
import polars as pl

from churn_clv import config
from churn_clv.matrix import values
from churn_clv.models.predict import Floats, Kind, sigmoid

OBJECTIVE: dict[Kind, dict[str, Any]] = {
    "probability": {"objective": "binary", "metric": "binary_logloss"},
    "amount": {"objective": "tweedie", "metric": "tweedie"},
}


def parameters(kind: Kind, settings: config.Booster, seed: int, threads: int) -> dict[str, Any]:
    """LightGBM's parameters for a head: deterministic, no class weights (they destroy probabilities)."""
    own = settings.model_dump(exclude={"max_rounds", "early_stopping_rounds", "tweedie_variance_power"})
    tweedie = {"tweedie_variance_power": settings.tweedie_variance_power} if kind == "amount" else {}
    fixed = {"seed": seed, "num_threads": threads, "deterministic": True, "force_row_wise": True, "verbosity": -1}
    return {**OBJECTIVE[kind], **own, **tweedie, **fixed}


def rounds(
    train: pl.DataFrame, stop: pl.DataFrame, label: str, columns: tuple[str, ...], kind: Kind, scale: float,
    settings: config.Booster, seed: int, threads: int,
) -> int:  # fmt: skip
    """Number of trees with the least loss on ``stop``, learning from ``train`` (at least 1)."""
    learn = _dataset(train, label, columns, scale)
    watch = _dataset(stop, label, columns, scale, reference=learn)
    booster = lgb.train(
        parameters(kind, settings, seed, threads),
        learn,
        num_boost_round=settings.max_rounds,
        valid_sets=[watch],
        callbacks=[lgb.early_stopping(settings.early_stopping_rounds, verbose=False)],
    )
    return max(1, int(booster.best_iteration))


def booster(
    train: pl.DataFrame, label: str, columns: tuple[str, ...], kind: Kind, scale: float, trees: int,
    settings: config.Booster, seed: int, threads: int,
) -> lgb.Booster:  # fmt: skip
    """A booster of ``trees`` trees on ``train``, reloaded from its own text: what ships is what is judged."""
    fitted = lgb.train(
        parameters(kind, settings, seed, threads), _dataset(train, label, columns, scale), num_boost_round=trees
    )
    return lgb.Booster(model_str=fitted.model_to_string())


def money_scale(train: pl.DataFrame, label: str) -> float:
    """The mean of the positive labels: a constant that money is divided by before learning (definition D24)."""
    positive = train.filter(pl.col(label) > 0)[label]
    return float(positive.mean()) if positive.len() else 1.0  # type: ignore[arg-type]


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


def _dataset(
    rows: pl.DataFrame, label: str, columns: tuple[str, ...], scale: float, reference: lgb.Dataset | None = None
) -> lgb.Dataset:
    return lgb.Dataset(
        values(rows, columns),
        label=rows[label].to_numpy() / scale,
        feature_name=list(columns),
        reference=reference,
        params={"verbosity": -1, "feature_pre_filter": False},
        free_raw_data=True,
    )
