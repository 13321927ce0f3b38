"""From matrix to numbers: what a bundle needs to predict, and nothing that can learn.

A head is one booster for one target and horizon. Raw margins come from LightGBM; all that follows is the same
numpy elementwise code for a batch and for one customer (contract K2).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import lightgbm as lgb
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Kind = Literal["probability", "amount"]


@dataclass(frozen=True)
class Head:
    """One booster and the map from its margin to a number.

    probability: sigmoid(intercept + slope * margin), the logistic calibration map (definition D15).
    amount: scale * exp(intercept + slope * margin) in major units; ``scale`` is the training constant that money
    was divided by (definition D24).
    """

    target: str
    horizon_days: int
    kind: Kind
    booster: lgb.Booster
    intercept: float = 0.0
    slope: float = 1.0
    scale: float = 1.0

    def margin(self, values: Floats) -> Floats:
        """Raw scores of shape (rows,); ``values`` has shape (rows, features), NaN where unknown."""
        if values.shape[0] == 0:
            return np.empty(0)
        # LightGBM ignores column names here: the caller hands the columns in the bundle's order.
        raw = self.booster.predict(values, raw_score=True, num_threads=1 if values.shape[0] < 2000 else 2)
        return np.ascontiguousarray(raw, dtype=np.float64)

    def predict(self, values: Floats) -> Floats:
        """Probabilities, or money in major units, of shape (rows,)."""
        return self.finish(self.margin(values))

    def finish(self, margin: Floats) -> Floats:
        """The number that belongs to a margin."""
        mapped = self.intercept + self.slope * margin
        if self.kind == "probability":
            return sigmoid(mapped)
        return self.scale * np.exp(mapped)


def sigmoid(x: Floats) -> Floats:
    """1 / (1 + exp(-x)) without overflow."""
    small = np.exp(-np.abs(x))
    return np.where(x >= 0, 1.0 / (1.0 + small), small / (1.0 + small))
