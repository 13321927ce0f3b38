"""The margin that a customer's money is expected to leave, where the log tells margins event by event (docs/clv.md)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Margin:
    """The rate of the whole, and how much money (major units) it counts as beside a customer's own.

    ``days`` is that weight in purchase days, as it was chosen, ``told`` the share of the log's purchases with a margin.
    """

    whole: float
    prior: float
    days: float
    told: float

    def rate(self, margin: Floats, money: Floats) -> Floats:
        """Expected margin per unit of spend, -1 to 1, (n,), from the margin told so far and the money that it is of.

        (margin + prior x whole) / (money + prior). Who has none such, or has given back as much as bought, has the
        rate of the whole.
        """
        own = (margin + self.prior * self.whole) / (np.maximum(money, 0.0) + self.prior)
        return np.asarray(np.clip(np.where(money > 0, own, self.whole), -1.0, 1.0))
