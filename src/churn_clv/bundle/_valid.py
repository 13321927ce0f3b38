"""``score_valid_until``: the first later midnight at which a customer's score differs, if nothing more becomes known.

The score is whether there is one, why not, and every number of the answer but those of one's own targets. Age alone
moves it: of the eligible the renewal model and the expected orders change with each day, so that tomorrow is exact
without a second look. Of the ineligible only the calendar and the rules of eligibility count. For the few who are left
(no such part, or at the end of its range) the coming days are scored until one differs.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
from numpy.typing import NDArray

from churn_clv import population, timeline
from churn_clv.bundle import _value
from churn_clv.bundle._value import LIFETIME, ORDERS
from churn_clv.models.orders import Orders, log_hazard
from churn_clv.models.predict import Floats, Head
from churn_clv.models.renewal import COUNT, FIRST, LAST

if TYPE_CHECKING:
    from churn_clv.bundle._model import Bundle

Flags = NDArray[np.bool_]

VALID = "score_valid_until"
RATE, TENURE = "purchase_days_per_week", "tenure_days"
# A part that moves by less might be lost in the last bits of the sum that it is a part of.
SURE = 1e-11
# The calendar repeats after four years, but for three days in four centuries.
CYCLE = 1_461
FIRST_LOOK = 62
# Days that are scored at once when the coming days are looked at.
DAYS_AT_ONCE = 8
DAY = dt.timedelta(days=1)


class Ageing:
    """When the scores of one bundle move; keeps what it found of the ineligible, who share it by kind and cutoff."""

    def __init__(self, bundle: Bundle) -> None:
        self.bundle = bundle
        # by kind and cutoff: hundreds of thousands of the ineligible share one search
        self.calendar: Callable[[str, dt.date], dt.date | None] = lru_cache(maxsize=4096)(self._calendar)

    def column(
        self, rows: pl.DataFrame, scored: pl.DataFrame, values: Floats, frame: pl.DataFrame | None
    ) -> pl.Series:  # fmt: skip
        """``score_valid_until`` of a matrix's rows, whose answers are ``scored``; null where nothing ever moves.

        ``values`` (eligible rows, core features). Without the log's ``frame`` the few whose coming days would have to
        be scored get the next day: their score holds until then, at least.
        """
        cutoffs, eligible = rows["cutoff"].to_physical().to_numpy(), rows["eligible"].to_numpy()
        found = cutoffs + 1.0
        looked = np.zeros(rows.height, dtype=bool)
        if not eligible.all():
            looked = self._ineligible(rows, cutoffs, ~eligible, found)
        if frame is not None:
            asked = np.flatnonzero(eligible)
            looked[asked[~self._moves(values, scored["churn_probability"].to_numpy()[asked])]] = True
            for day in np.unique(cutoffs[looked]):
                these = np.flatnonzero(looked & (cutoffs == day))
                found[these] = self._searched(frame, scored[these], _date(day))
        return pl.Series(VALID, found).fill_nan(None).cast(pl.Int32).cast(pl.Date)

    def _moves(self, values: Floats, risk: Floats) -> Flags:
        """Whether some part of an eligible customer's score surely moves tomorrow; (rows,)."""
        bundle = self.bundle
        hazard = next(h for h in bundle.heads if h.kind == "hazard")
        out = _renewal_moves(hazard, values, risk, bundle.core_features)
        if bundle.reference.outlook is not None and not out.all() and {RATE, TENURE} <= set(bundle.core_features):
            place = bundle.core_features.index(RATE)
            rate, tenure = (np.ascontiguousarray(values[:, bundle.core_features.index(n)]) for n in (RATE, TENURE))
            out |= _orders_move(bundle.reference.outlook.orders, values, risk, rate, tenure, place)
        return out

    def _ineligible(self, rows: pl.DataFrame, cutoffs: NDArray[np.int32], them: Flags, found: Floats) -> Flags:
        """Write into ``found`` (days since 1970) when ``them`` change: by the calendar, or for another reason.

        Returns who is left to be looked at day by day: whose silence, which decides, is no column of the matrix.
        """
        reasons = rows["reason"].to_numpy()
        short = them & (reasons == population.SHORT)
        for reason in sorted(set(reasons[them])):
            for day in np.unique(cutoffs[them & (reasons == reason)]):
                moved = self.calendar(str(reason), _date(day))
                found[them & (reasons == reason) & (cutoffs == day)] = np.nan if moved is None else _number(moved)
        if not short.any():
            return np.asarray(short)
        terms = self.bundle.definitions
        if LAST not in rows.columns:
            found[short] = cutoffs[short] + 1.0
            return np.asarray(short)
        enough = np.maximum(_number(terms.purchases_start + DAY * terms.min_history_days), cutoffs[short] + 1.0)
        found[short] = np.fmin(found[short], enough)
        lapse = cutoffs[short] + (terms.active_within_days + 1.0) - rows[LAST].to_numpy()[short]
        found[short] = np.fmin(found[short], lapse)
        return np.zeros_like(short)

    def _calendar(self, reason: str, cutoff: dt.date) -> dt.date | None:
        """The first day whose number of days to the same day some months on gives the ineligible another value."""
        for start, stop in ((0, FIRST_LOOK), (FIRST_LOOK - 1, CYCLE)):
            days = [cutoff, *(cutoff + DAY * k for k in range(max(start, 1), stop + 1))]
            rows = pl.DataFrame(
                {"cutoff": days, "reason": [reason] * len(days), "eligible": [False] * len(days)},
                schema={"cutoff": pl.Date, "reason": pl.String, "eligible": pl.Boolean},
            ).with_columns(pl.lit(0.0).alias(name) for name in (ORDERS, LIFETIME) if name in self.bundle.features)
            nothing = rows.select(pl.lit(None, pl.Float64).alias("churn_probability"),
                                  pl.lit(None, pl.Float64).alias("expected_spend"))  # fmt: skip
            numbers = _value.beyond(self.bundle.reference, self.bundle.config, rows, nothing)
            values = np.stack([c.fill_null(np.nan).to_numpy() for c in numbers.values()])
            moved = ~_alike(values[:, 1:], values[:, :1]).all(axis=0)
            if moved.any():
                return days[1 + int(np.argmax(moved))]
        return None

    def _searched(self, frame: pl.DataFrame, scored: pl.DataFrame, cutoff: dt.date) -> list[int]:
        """The first day (since 1970) on which each customer's score differs; at the latest the customer lapses."""
        own = frame.filter(pl.col("customer_id").is_in(scored["customer_id"].implode()))
        past = timeline.seen_before(own, cutoff).collect()
        names = list(numbers_of(scored))
        now = dict(zip(scored["customer_id"], _bits(scored, names), strict=True))
        found: dict[str, int] = {}
        for days in _spans(self.bundle.definitions.active_within_days + 1):
            left = [name for name in now if name not in found]
            if not left:
                break
            pairs = timeline.pairs_of(left, [cutoff + DAY * k for k in days])
            later = self.bundle.predict(self.bundle.rows_of(past, pairs))
            for name, day, bits in zip(later["customer_id"], later["cutoff"], _bits(later, names), strict=True):
                if bits != now[name] and name not in found:
                    found[name] = _number(day)
        return [found[name] for name in scored["customer_id"]]


def numbers_of(scored: pl.DataFrame) -> Iterator[str]:
    """The columns of scores that the score consists of: whether there is one, why not, and its numbers."""
    last = scored.columns.index("total_value")
    for place, name in enumerate(scored.columns):
        number = place <= last and scored.schema[name] == pl.Float64
        if number or name in ("eligible", "reason", "reliability", "churn_band"):
            yield name


def _bits(scored: pl.DataFrame, names: Sequence[str]) -> list[bytes]:
    """Each row's score, equal where every number is equal to the bit."""
    plain = scored.select(names).with_columns(pl.col(pl.Float64).reinterpret(signed=False))
    return [repr(row).encode() for row in plain.iter_rows()]


def _alike(one: Floats, other: Floats) -> Flags:
    return np.asarray((one == other) | (np.isnan(one) & np.isnan(other)))


def _spans(most: int) -> Iterator[range]:
    """The days 1 to ``most``, a day first, then some at a time."""
    yield range(1, 2)
    for start in range(2, most + 1, DAYS_AT_ONCE):
        yield range(start, min(start + DAYS_AT_ONCE, most + 1))


def _date(days: int) -> dt.date:
    return dt.date(1970, 1, 1) + DAY * int(days)


def _number(day: dt.date) -> int:
    return (day - dt.date(1970, 1, 1)).days


def _renewal_moves(head: Head, values: Floats, risk: Floats, columns: Sequence[str]) -> Flags:
    """Whether the renewal model's share of the probability moves in a day: how its three inputs age is known."""
    pool = head.pool
    if pool is None or pool.renewal is None or pool.renewal_share == 0:
        return np.zeros(len(values), dtype=bool)
    inside = (risk > SURE) & (risk < 1 - SURE)
    places = [list(columns).index(name) for name in (COUNT, FIRST, LAST)]
    three = np.column_stack([np.ascontiguousarray(values[:, place]) for place in places])
    days = [head.horizon_days]
    now = pool.renewal.curve(three, (COUNT, FIRST, LAST), days)[0]
    then = pool.renewal.curve(three + np.array([0.0, 1.0, 1.0]), (COUNT, FIRST, LAST), days)[0]
    return np.asarray(inside & (pool.renewal_share * np.abs(then - now) > SURE))


def _orders_move(
    orders: Orders, values: Floats, risk: Floats, rate: Floats, tenure: Floats, place: int
) -> Flags:  # fmt: skip
    """Whether the purchases per week, which fall with each day, move the expected orders by themselves."""
    margin = orders.linear.margin(values) + orders.hazard * log_hazard(risk)
    tomorrow = rate * tenure / (tenure + 1)
    step = np.abs(orders.linear.weight[place] * (np.log1p(np.abs(tomorrow)) - np.log1p(np.abs(rate))))
    inside = (margin - step > orders.low) & (margin + step < orders.high)
    return np.asarray(inside & ((1 - risk) * np.exp(margin) * step > SURE))
