"""What the log tells of margins, learnt up to a cutoff: the rate of the whole, and how far a customer's own is trusted.

A rate is margin over the money of the same events; events that tell none say nothing of it.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence

import numpy as np
import polars as pl

from churn_clv import features, timeline
from churn_clv.canonical import no_margin
from churn_clv.events import Log
from churn_clv.features import margin as parts
from churn_clv.metrics import Array
from churn_clv.models.margin import Margin
from churn_clv.timeline import Definitions

# The rate of the whole may count as so many purchase days; as many as DEFAULT where no horizon has passed yet.
DAYS = (1.0, 3.0, 10.0, 30.0, 100.0)
DEFAULT = 10.0
# Chosen at so many of the newest cutoffs that a whole horizon has followed, half a horizon apart.
CUTOFFS = 4
Told = tuple[Array, Array, Array]


def learn(log: Log, definitions: Definitions, earliest: dt.date) -> Margin | None:
    """From all that the log holds; None where it tells no margin, or its margins are of no money.

    How many purchase days the whole's rate counts as beside a customer's own is chosen by the next horizon: the sum of
    (margin - rate x money)^2 / money over the customers with money in it, each rate from before the cutoff. Cutoffs
    before ``earliest`` are not asked. Equally good: the most days, nearest to one rate for all.
    """
    if parts.needs(definitions):
        return None
    ever = _whole(_told(log, definitions, [log.ends]))
    if ever is None:
        return None
    whole, value = ever
    bought = log.frame.filter((pl.col("event_type") == "purchase") & pl.col("amount").is_not_null())
    told = 1 - bought.filter(no_margin()).height / bought.height
    days = _days(log, definitions, earliest)
    return Margin(whole, days * value, days, told)


def rates(learnt: Margin, log: Log, definitions: Definitions, pairs: pl.DataFrame) -> Array:
    """The rate expected of each pair (``customer_id``, ``cutoff``) at its cutoff, (pairs,)."""
    margin, money, _ = _of(log, definitions, pairs)
    return learnt.rate(margin, money)


def came(log: Log, definitions: Definitions, pairs: pl.DataFrame, days: int) -> tuple[Array, Array]:
    """Margin and the money that it is of, (pairs,) each, that became known in so many days from each pair's cutoff."""
    later = pairs.with_columns(pl.col("cutoff") + pl.duration(days=days))
    (margin, money, _), (after, more, _) = (_of(log, definitions, p) for p in (pairs, later))
    return after - margin, more - money


def _days(log: Log, definitions: Definitions, earliest: dt.date) -> float:
    """The number of purchase days that told the next horizon's margins best."""
    horizon, half = definitions.horizon_days, -(-definitions.horizon_days // 2)
    cutoffs = [log.ends - dt.timedelta(days=horizon + k * half) for k in range(CUTOFFS)]
    loss, asked = np.zeros(len(DAYS)), 0
    for cutoff in (c for c in cutoffs if c >= earliest):
        pairs = timeline.known_among(log.frame, timeline.pairs_of(log.frame["customer_id"].unique(), [cutoff]))
        own = _of(log, definitions, pairs)
        found = _whole(own)
        if found is None:
            continue
        margin, money = came(log, definitions, pairs, horizon)
        rows = money > 0
        asked += int(rows.sum())
        for place, days in enumerate(DAYS):
            rate = Margin(found[0], days * found[1], days, 1.0).rate(own[0][rows], own[1][rows])
            loss[place] += float(((margin[rows] - rate * money[rows]) ** 2 / money[rows]).sum())
    return DAYS[int(np.flatnonzero(loss <= loss.min())[-1])] if asked else DEFAULT


def _whole(told: Told) -> tuple[float, float] | None:
    """The rate of all customers, and the mean money of a purchase day; None where there is no money."""
    margin, money, days = (float(part.sum()) for part in told)
    return (float(np.clip(margin / money, -1.0, 1.0)), money / days) if money > 0 and days > 0 else None


def _told(log: Log, definitions: Definitions, cutoffs: Sequence[dt.date]) -> Told:
    """Margin, money and days so far of everyone known at the cutoffs."""
    return _of(log, definitions, timeline.pairs_of(log.frame["customer_id"].unique(), cutoffs))


def _of(log: Log, definitions: Definitions, pairs: pl.DataFrame) -> Told:
    keys = pairs.select("customer_id", "cutoff")
    found = features.build(timeline.Past(log.frame, keys), definitions, parts.NAMES)
    margin, money, days = (found[name].fill_null(0.0).to_numpy() for name in parts.NAMES)
    return margin, money, days
