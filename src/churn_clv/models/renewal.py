"""A fitted BG/NBD or MBG/NBD as a bundle carries it: four numbers and the closed form of P(no purchase in a window).

Formulas: Fader, Hardie, Lee (2005), "Counting your customers the easy way"; Batislam, Denizel, Filiztekin (2007) for
the modified model, where a customer may leave after the first purchase too. Leaving only follows a purchase, so that
P(any purchase in t) = P(alive) x P(a Gamma-mixed Poisson process brings any event in t).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Model = Literal["BG/NBD", "MBG/NBD"]

# The features that hold a history: x repeats, t_x and T from the end of the first purchase day, in weeks.
COUNT, FIRST, LAST = "purchase_days", "days_since_first_purchase", "days_since_last_purchase"
WEEK = 7.0


@dataclass(frozen=True)
class Renewal:
    """The parameters (weeks): purchases ~ Gamma(r, alpha) while alive, chance to leave after one ~ Beta(a, b)."""

    model: Model
    r: float
    alpha: float
    a: float
    b: float

    def curve(self, values: Floats, columns: Sequence[str], edges: Sequence[int]) -> Floats:
        """P(no purchase by each edge, in days); (edges, rows), NaN for those who never bought.

        ``values`` (rows, features), its ``columns`` by name.
        """
        orders, first, last = (np.ascontiguousarray(values[:, list(columns).index(c)]) for c in (COUNT, FIRST, LAST))
        x, now = orders - 1, (first - 1) / WEEK
        recent = np.where(x > 0, np.clip(now - (last - 1) / WEEK, 0, now), 0.0)
        chances = x + 1 if self.model == "MBG/NBD" else x
        # b - 1 + the times it could have left; where it could not the odds are no matter
        could = np.where(chances > 0, self.b + chances - 1, 1.0)
        with np.errstate(over="ignore"):
            odds = self.a / could * np.exp((self.r + x) * np.log((self.alpha + now) / (self.alpha + recent)))
        alive = np.where(chances > 0, 1 / (1 + odds), 1.0)
        out = np.empty((len(edges), len(x)))
        for place, edge in enumerate(edges):
            ahead = np.log((self.alpha + now) / (self.alpha + now + edge / WEEK))
            out[place] = 1 + alive * np.expm1((self.r + x) * ahead)
        return np.where(orders > 0, out, np.nan)
