"""Customers with a known risk and mean spend, and recipes that see them through noise of their own."""

from __future__ import annotations

import datetime as dt

import numpy as np
import polars as pl

from churn_clv.promotion import RungPredictions

DAY = dt.date(2024, 3, 4)


class World:
    """Customers with a known risk and mean spend; recipes see them through noise of their own."""

    def __init__(self, customers: int = 1500, cutoffs: int = 1, seed: int = 0, step: int = 14) -> None:
        self.random = np.random.default_rng(seed)
        n = customers * cutoffs
        taste = np.tile(self.random.normal(0, 1.2, customers), cutoffs)
        self.logit = -0.7 + taste + self.random.normal(0, 0.3, n)
        self.mean = np.exp(3.5 - 0.8 * taste + self.random.normal(0, 0.2, n))
        churned = self.random.random(n) < 1 / (1 + np.exp(-self.logit))
        gamma = self.random.gamma(1.5, self.mean / 1.5 / (1 - 1 / (1 + np.exp(-self.logit))))
        self.frame = pl.DataFrame(
            {
                "customer_key": np.tile([f"c{i:05d}" for i in range(customers)], cutoffs),
                "cutoff": [DAY + dt.timedelta(days=step * k) for k in range(cutoffs) for _ in range(customers)],
                "churned": churned,
                "spend": np.where(churned, 0.0, gamma),
            }
        )

    def recipe(self, noise: float, stretch: float = 1.0) -> pl.DataFrame:
        """Predictions as good as ``noise`` leaves them; ``stretch`` spoils the calibration."""
        n = self.frame.height
        logit = stretch * (self.logit + self.random.normal(0, noise, n)) / (1 + noise**2 / 3)
        spend = self.mean * np.exp(self.random.normal(0, noise, n) - noise**2 / 2)
        return self.frame.with_columns(churn_probability=1 / (1 + np.exp(-logit)), expected_spend=spend)

    def rungs(self, noise: float = 1.5, logistic_noise: float = 0.8) -> dict[str, RungPredictions]:
        """The three rungs of the ladder; the last horizon's spend is 0 for some."""
        n = self.frame.height
        spent = np.where(self.random.random(n) < 0.3, 0.0, self.mean * self.random.gamma(1.0, 1.0, n))
        logistic = self.recipe(logistic_noise)["churn_probability"].to_numpy()
        return {
            "recency_rule": rung(self.logit + self.random.normal(0, noise, n)),
            "last_horizon_spend": {"churn_score": None, "churn_is_probability": False, "spend": spent},
            "logistic": rung(logistic, True),
        }


def rung(score: np.ndarray, probability: bool = False) -> RungPredictions:
    return {"churn_score": score, "churn_is_probability": probability, "spend": None}
