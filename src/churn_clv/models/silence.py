"""How long silence lasts beyond the horizon: P(no purchase) in two, three, four horizons.

Chaining the horizon's chance says that who stayed silent is as likely to come as before; in truth ever less. So the
share that stays silent to each later horizon, of those who were through the first, is read as a function of their churn
probability from cutoffs old enough, as the loss table is (``models.loss``), whose last horizon is this one's.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from churn_clv.models.loss import LossTable
from churn_clv.models.predict import Floats, beyond, within


@dataclass(frozen=True)
class Silence:
    """For the second horizon and on: P(no purchase in it either | none in the first), by churn probability."""

    tables: tuple[LossTable, ...] = ()

    def learnt_days(self, horizon_days: int) -> int:
        """How far silence has been seen; beyond is extrapolated."""
        return horizon_days * (1 + len(self.tables))

    def no_purchase(self, curve: Floats, edges: tuple[int, ...], days: int) -> Floats:
        """P(no purchase in ``days``); (rows,), from the horizon's ``curve`` (edges, rows).

        Within the horizon the curve's own; between two later horizons the same chance each day; beyond the last one
        the chance that it had goes on.
        """
        horizon = edges[-1]
        if days <= horizon:
            return within(curve, edges, days)
        later = self._later(np.asarray(curve[-1]))
        if not later:
            return beyond(curve, edges, days)
        whole, rest = divmod(days - 1, horizon)
        place = min(whole, len(later))  # the horizon that holds the day, from 0; or the last one that was seen
        steps = [np.asarray(curve[-1]), *later]
        start, stop = steps[place - 1], steps[place]
        share = whole - place + (rest + 1) / horizon
        if share == 1:
            return stop
        found = np.exp(np.log(start) + share * (np.log(stop) - np.log(start)))
        return np.asarray(np.minimum(found, stop) if share > 1 else np.clip(found, stop, start))

    def _later(self, risk: Floats) -> list[Floats]:
        """P(no purchase) by the end of each later horizon, falling; each read on its own, the longest counts."""
        found = [table.apply(risk) for table in self.tables]
        for place in reversed(range(len(found) - 1)):
            found[place] = np.maximum(found[place], found[place + 1])
        return found
