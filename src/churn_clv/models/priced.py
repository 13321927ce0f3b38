"""Expected orders x expected order value: a model of spend that counts and prices apart (definition D17).

An order's value is Gamma-Gamma's mean (Fader, Hardie 2013, "The Gamma-Gamma model of monetary value"): the customer's
own mean order, drawn to everybody's by how few orders it rests on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from churn_clv.models.orders import Orders
from churn_clv.models.renewal import COUNT

Floats = NDArray[np.float64]
MONEY = "mean_order_value"


@dataclass(frozen=True)
class OrderValue:
    """Everybody's ``mean`` order counts as ``weight`` orders beside a customer's own; ``scale`` is the unit of both
    (major units): that of a typical order."""  # fmt: skip

    scale: float
    weight: float
    mean: float

    def expected(self, counted: Floats, own: Floats) -> Floats:
        """E[order value] in major units, (n,), from purchase days and their mean money (NaN: none known)."""
        told = np.where(np.isnan(own) | np.isnan(counted), 0.0, counted)
        money = np.where(np.isnan(own), 0.0, np.maximum(own / self.scale, 0.0))
        return np.asarray(self.scale * (self.weight * self.mean + told * money) / (self.weight + told))


@dataclass(frozen=True)
class Priced:
    """This model and its ``share`` of expected spend."""

    orders: Orders
    value: OrderValue
    share: float

    def money(self, values: Floats, columns: Sequence[str], silent: Floats) -> Floats:
        """Expected spend in the horizon (rows,), from the matrix (rows, columns) and P(no purchase) (rows,)."""
        counted, own = (np.ascontiguousarray(values[:, columns.index(c)]) for c in (COUNT, MONEY))
        return self.orders.expected(values, silent) * self.value.expected(counted, own)

    def mixed(self, money: Floats, values: Floats, columns: Sequence[str], silent: Floats) -> Floats:
        """Another model's ``money`` with this one's by its share; (rows,)."""
        return np.asarray((1 - self.share) * money + self.share * self.money(values, columns, silent))
