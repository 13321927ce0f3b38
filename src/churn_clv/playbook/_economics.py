"""What an action on a customer is worth (definition D28): arrays in, arrays out."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Terms:
    """Arrays of one shape, or that broadcast: customers, or customers x actions; money in major units.

    lapse: P(no purchase in the horizon). value: margin in the horizon if active, less that if lapsed. save: share of
    would-be lapsers kept, who then take the offer. take: share of would-be stayers who take it. away: share of them
    driven to lapse. offer and contact: costs.
    """

    lapse: Floats
    value: Floats
    save: Floats
    take: Floats
    away: Floats
    offer: Floats
    contact: Floats

    def profit(self) -> Floats:
        """p s (V - d) - (1 - p)(t d + a V) - c, of contacting against leaving alone."""
        kept = self.lapse * self.save * (self.value - self.offer)
        return kept - self._stayers() - self.contact

    def cost(self) -> Floats:
        """Expected outlay: the contact, and the offer for those who take it. Driven-away margin is not paid out."""
        return self.contact + self.offer * (self.lapse * self.save + (1 - self.lapse) * self.take)

    def break_even(self) -> Floats:
        """The save rate at which profit is 0; above 1 no rate pays; NaN where the offer costs what it could keep."""
        with np.errstate(divide="ignore", invalid="ignore"):
            found = (self.contact + self._stayers()) / (self.lapse * (self.value - self.offer))
        return np.where((self.value > self.offer) & (self.lapse > 0), found, np.nan)

    def kept(self) -> Floats:
        """Margin that the action keeps from lapsing: p s V."""
        return self.lapse * self.save * self.value

    def _stayers(self) -> Floats:
        return (1 - self.lapse) * (self.take * self.offer + self.away * self.value)


def value_of(expected_spend: Floats, lapse: Floats, margin_share: float | Floats) -> Floats:
    """V of the horizon: margin x expected_spend / (1 - p), for a lapsed customer brings nothing in it by definition.

    ``margin_share``: one of all, or each customer's own. NaN where the model gives no spend or p is 1.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        found = margin_share * expected_spend / (1 - lapse)
    return np.where(np.isfinite(found), found, np.nan)
