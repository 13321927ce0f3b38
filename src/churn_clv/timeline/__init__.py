"""Time: what is past, what is future, and which cutoffs are learnt from.

The only module that compares an event's time with a cutoff. A cutoff is a local midnight, held as the date of
the day that starts there: past is [.., cutoff), a window is [cutoff - w, cutoff), the future is
[cutoff, cutoff + horizon). They tile. An event with a ``known_at`` is past only once both its time and its
``known_at`` are before the cutoff.
"""

from churn_clv.timeline._cuts import (
    FEW,
    Past,
    attributes_at,
    first_event_dates,
    future,
    known_among,
    known_before,
    matching,
    not_past,
    occasion,
    pairs_of,
    seen_before,
    until,
)
from churn_clv.timeline._definitions import PLAN_COLUMNS, Definitions, default_windows, define
from churn_clv.timeline._plan import FEW_TRAIN_CUTOFFS, Plan, independent, make_plan, sub_windows
from churn_clv.timeline._rhythm import gap_quantile, gaps, kaplan_meier, money_days, occasion_days

__all__ = [
    "FEW",
    "FEW_TRAIN_CUTOFFS",
    "PLAN_COLUMNS",
    "Definitions",
    "Past",
    "Plan",
    "attributes_at",
    "default_windows",
    "define",
    "first_event_dates",
    "future",
    "gap_quantile",
    "gaps",
    "independent",
    "kaplan_meier",
    "known_among",
    "known_before",
    "make_plan",
    "matching",
    "money_days",
    "not_past",
    "occasion",
    "occasion_days",
    "pairs_of",
    "seen_before",
    "sub_windows",
    "until",
]
