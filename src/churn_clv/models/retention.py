"""From the next horizon to a lifetime: what a customer is worth in later windows (definition D21).

A window is one horizon long. The money of window k is that of the first times a retention curve of the customer's
stratum: measured where labels of the log reached so far, extrapolated beyond, by a curve that never absorbs. Serving
only multiplies: one coefficient per stratum, cutoff and number of months.
"""

from __future__ import annotations

import calendar
import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
from numpy.typing import NDArray

from churn_clv.models.interval import stratum
from churn_clv.models.margin import Margin

Floats = NDArray[np.float64]

DAYS_A_YEAR = 365.25


@dataclass(frozen=True)
class Retention:
    """Money of window k over that of the first, by stratum; index 0 is the first window, 1.0.

    Strata are numbers of orders for the eligible, and of those who are not the kind (why not); ``spend`` has
    the mean money (major units) of the first window by kind. Windows from ``matured`` on are extrapolated.
    ``active`` is the same of the number of active customers, of the eligible: it falls. Without money the first two
    are empty. ``margin`` is what the log tells of margins, None where it tells none: then one rate is everybody's.
    """

    window_days: int
    matured: int
    money: Mapping[str, tuple[float, ...]]
    spend: Mapping[str, float]
    active: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    margin: Margin | None = None

    def active_share(self, stratum: str, days: int) -> float:
        """Customers active in the window that ends after ``days`` over those active in the first, at most 1.

        Between two windows of the curve in proportion; 1 up to the first one's end. NaN for a stratum without a curve.
        """
        if stratum not in self.active:
            return float("nan")
        curve = self.active[stratum]
        place = min(max(0.0, days / self.window_days - 1), len(curve) - 1.0)
        before = int(place)
        after = min(before + 1, len(curve) - 1)
        return curve[before] + (place - before) * (curve[after] - curve[before])

    def coefficient(self, stratum: str, days: int, discount: float) -> tuple[float, float]:
        """What the first window's money is multiplied by for all money of the first ``days``, and the part of it that
        is extrapolated; discounted by ``discount`` a year from the middle of each window.

        NaN for a stratum that has no curve.
        """  # fmt: skip
        if stratum not in self.money:
            return float("nan"), float("nan")
        total, beyond = 0.0, 0.0
        curve = self.money[stratum]
        for k in range(-(-days // self.window_days)):
            starts, ends = k * self.window_days, min((k + 1) * self.window_days, days)
            share = (ends - starts) / self.window_days
            middle = (starts + ends) / 2
            part = curve[min(k, len(curve) - 1)] * share / (1 + discount) ** (middle / DAYS_A_YEAR)
            total += part
            beyond += part if k >= self.matured else 0.0
        return total, beyond


def strata_of(reasons: Sequence[str | None], orders: npt.ArrayLike) -> list[str]:
    """The stratum of each customer: why not eligible, or the number of orders of the eligible."""
    return [reason or own for reason, own in zip(reasons, stratum(orders), strict=True)]


def days_of(months: int, cutoff: dt.date) -> int:
    """Days from a cutoff to the same day so many months later, or to that month's last day where it is shorter."""
    year, month = divmod(cutoff.year * 12 + cutoff.month - 1 + months, 12)
    last = calendar.monthrange(year, month + 1)[1]
    return (dt.date(year, month + 1, min(cutoff.day, last)) - cutoff).days


@dataclass(frozen=True)
class Kinds:
    """The strata and cutoffs of some rows: the pairs that occur, and each row's position among them (n,)."""

    pairs: tuple[tuple[str, dt.date], ...]
    place: NDArray[np.intp]


def kinds(strata: Sequence[str], cutoffs: Sequence[dt.date]) -> Kinds:
    """Rows by stratum and cutoff, (n,) each."""
    known: dict[tuple[str, dt.date], int] = {}
    place = [known.setdefault(pair, len(known)) for pair in zip(strata, cutoffs, strict=True)]
    return Kinds(tuple(known), np.array(place, dtype=np.intp))


def values(
    retention: Retention, rows: Kinds, first: Floats, months: int, discount: float
) -> tuple[Floats, Floats]:  # fmt: skip
    """Value of the coming ``months`` and its extrapolated share, (n,) each, from the first window's money (n,).

    NaN where ``first`` is. One coefficient per stratum and cutoff, so that a customer alone comes out as among others,
    to the bit.
    """
    known = [retention.coefficient(stratum, days_of(months, cutoff), discount) for stratum, cutoff in rows.pairs]
    total = np.array([total for total, _ in known], dtype=np.float64)[rows.place]
    share = np.array([beyond / total for total, beyond in known], dtype=np.float64)[rows.place]
    return first * total, np.where(np.isnan(first), np.nan, share)


def active_probability(retention: Retention, rows: Kinds, active: Floats, months: int) -> Floats:
    """P(any purchase in the window of one horizon that ends ``months`` ahead), (n,), from that in the first (n,)."""
    known = [retention.active_share(stratum, days_of(months, cutoff)) for stratum, cutoff in rows.pairs]
    return np.clip(active * np.array(known, dtype=np.float64)[rows.place], 0.0, 1.0)
