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

    def chances(self, x: Floats) -> Floats:
        """How often customers of ``x`` repeats could have left before T."""
        return x + 1 if self.model == "MBG/NBD" else x

    def alive(self, x: Floats, last: Floats, now: Floats) -> Floats:
        """P(alive at T); (rows,), from repeats x and the weeks t_x and T."""
        chances = self.chances(x)
        # b - 1 + the times it could have left; where it could not the odds are no matter
        could = np.where(chances > 0, self.b + chances - 1, 1.0)
        with np.errstate(over="ignore"):
            odds = self.a / could * np.exp((self.r + x) * np.log((self.alpha + now) / (self.alpha + last)))
        return np.where(chances > 0, 1 / (1 + odds), 1.0)

    def active(self, x: Floats, last: Floats, now: Floats, weeks: Sequence[float]) -> Floats:
        """P(any purchase in so many weeks from T); (weeks, rows)."""
        alive, out = self.alive(x, last, now), np.empty((len(weeks), len(x)))
        for place, ahead in enumerate(weeks):
            silence = (self.r + x) * np.log((self.alpha + now) / (self.alpha + now + ahead))
            out[place] = alive * -np.expm1(silence)
        return out

    def curve(self, values: Floats, columns: Sequence[str], edges: Sequence[int]) -> Floats:
        """P(no purchase by each edge, in days); (edges, rows), NaN for those who never bought.

        ``values`` (rows, features), its ``columns`` by name.
        """
        orders, first, since = (np.ascontiguousarray(values[:, list(columns).index(c)]) for c in (COUNT, FIRST, LAST))
        x, last, now = history(orders, first, since)
        out = 1 - self.active(x, last, now, [edge / WEEK for edge in edges])
        return np.where(orders > 0, out, np.nan)


def history(orders: Floats, first: Floats, since: Floats) -> tuple[Floats, Floats, Floats]:
    """x, t_x and T of purchase days and of the days since the first and the last; (rows,) each.

    A purchase counts at its day's end, as its day is one occasion.
    """
    x, now = orders - 1, (first - 1) / WEEK
    return x, np.where(x > 0, np.clip(now - (since - 1) / WEEK, 0, now), 0.0), now
