"""Memberships of the synthetic customers: subscribed at first contact, renewed term by term while they stay.

A member renews on the day on which the term ends, a few of them some days late; each term a few of one plan and more
of the other cancel though they are active. Who has left by the day of the renewal cancels that day or lets it run out.
Memberships change nothing else: drawn from a stream of their own, they leave the rest of the log as it is.
"""

from __future__ import annotations

import numpy as np
import polars as pl
from numpy.typing import NDArray

from churn_clv.config import Simulate

Ints = NDArray[np.int64]

LATE_SHARE, LATE_DAYS = 0.05, 5  # of renewals that come 1 to 5 days late
CANCEL_ACTIVE = (0.01, 0.12)  # chance that an active member of a plan cancels within a term
PLANS = len(CANCEL_ACTIVE)


def memberships(s: Simulate, rng: np.random.Generator, room: Ints, lived: Ints) -> pl.DataFrame:
    """Events (who, day since first contact, plan from 0, event_type) of the members.

    ``room`` is the days from first contact to the log's end, ``lived`` those until the customer leaves.
    """
    who = np.flatnonzero(rng.random(len(room)) < s.membership_share)
    plan = rng.integers(0, PLANS, len(who))
    opened = np.zeros(len(who), dtype=np.int64)
    parts = [_events("subscribe", who, opened, plan)]
    while len(who):
        ends = opened + s.membership_term_days
        late = np.where(rng.random(len(who)) < LATE_SHARE, rng.integers(1, LATE_DAYS + 1, len(who)), 0)
        stays = ends + late < lived[who]
        quits = stays & (rng.random(len(who)) < np.array(CANCEL_ACTIVE)[plan])
        within = opened + 1 + (rng.random(len(who)) * (s.membership_term_days - 1)).astype(np.int64)
        tells = ~stays & (rng.random(len(who)) < s.membership_cancel_share)
        renews = stays & ~quits & (ends + late < room[who])
        parts += [
            _events("cancel", who[quits], within[quits], plan[quits]),
            _events("cancel", who[tells], ends[tells], plan[tells]),
        ]
        who, plan, opened = who[renews], plan[renews], (ends + late)[renews]
        parts.append(_events("renew", who, opened, plan))
    return pl.concat(parts)


def _events(kind: str, who: Ints, day: Ints, plan: Ints) -> pl.DataFrame:
    return pl.DataFrame({"who": who, "day": day, "plan": plan}).with_columns(event_type=pl.lit(kind))
