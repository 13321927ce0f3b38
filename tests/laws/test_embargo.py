"""Every model's label windows end at or before the cutoff that it is asked about, whatever the log's length."""

from __future__ import annotations

import datetime as dt
import itertools
import re

from hypothesis import example, given, settings
from hypothesis import strategies as st

from churn_clv import config, timeline
from churn_clv.errors import UserError

START = dt.date(2023, 1, 2)
DAY = dt.timedelta(days=1)

timelines = st.builds(
    config.Timeline,
    horizon_days=st.integers(1, 120),
    step_days=st.integers(1, 60),
    max_train_cutoffs=st.integers(1, 30),
    min_history_days=st.none() | st.integers(1, 200),
    validation_origins=st.integers(1, 6),
    sub_windows=st.integers(1, 6),
)


@given(days=st.integers(-5, 900), own=timelines)
@example(days=4 * 28, own=config.Timeline())
@example(days=4 * 28 - 1, own=config.Timeline())
@example(days=4 * 28, own=config.Timeline(step_days=10))
@example(days=500, own=config.Timeline(max_train_cutoffs=1))
@settings(max_examples=400, deadline=None)
def test_embargo(days: int, own: config.Timeline) -> None:
    ends = START + days * DAY
    needed = least(own)
    try:
        plan = timeline.make_plan(START, ends, own)
    except UserError as error:
        assert days < needed
        refuses_with_a_way_out(str(error), days, own)
        return
    assert days >= needed
    obeys(plan, own, ends)


def least(own: config.Timeline) -> int:
    """History, one training cutoff whose labels end by the origin, the origin, and the test; in days.

    Training cutoffs lie whole steps before the origin one horizon before the test.
    """
    back = -(-own.horizon_days // own.step_days) * own.step_days
    return 2 * own.horizon_days + back + (own.min_history_days or own.horizon_days)


def obeys(plan: timeline.Plan, own: config.Timeline, ends: dt.date) -> None:
    horizon, earliest = own.horizon_days, START + (own.min_history_days or own.horizon_days) * DAY
    assert plan.label_ends(plan.test) == ends == plan.ends
    # the newest origin's labels end with the test's beginning, the others half a horizon further back each
    half = (horizon + 1) // 2
    assert [(plan.test - o).days for o in reversed(plan.origins)] == [
        horizon + k * half for k in range(len(plan.origins))
    ]
    assert 1 <= len(plan.origins) <= own.validation_origins
    assert (plan.note is None) == (len(plan.origins) == own.validation_origins)
    few = min(timeline.FEW_TRAIN_CUTOFFS, own.max_train_cutoffs)
    assert len(plan.train) >= few or len(plan.origins) == 1
    # the parts tile the horizon, none is empty
    assert plan.edges[-1] == horizon and len(plan.edges) == min(own.sub_windows, horizon)
    assert all(a < b for a, b in itertools.pairwise((0, *plan.edges)))
    # what predicts an origin, what is judged and what ships learn what has ended by then, whole or in part
    for when in (*plan.origins, plan.test, plan.ends):
        for days in plan.edges:
            learnt = plan.learnt_by(when, days)
            assert 1 <= len(learnt) <= own.max_train_cutoffs
            assert max(learnt) + days * DAY <= when < max(learnt) + (days + own.step_days) * DAY
            assert min(learnt) >= earliest
            assert {(b - a).days for a, b in itertools.pairwise(learnt)} <= {own.step_days}
            assert {*learnt} <= {*plan.all_cutoffs}
            anchor = plan.test if when == plan.ends else plan.origins[-1]
            assert (learnt[-1] - anchor).days % own.step_days == 0
        assert plan.learnt_by(when) == plan.learnt_by(when, horizon)
    assert plan.train == plan.learnt_by(plan.origins[0])
    assert (plan.judged, plan.shipped) == (plan.learnt_by(plan.test), plan.learnt_by(plan.ends))
    assert plan.judged[-1] == plan.origins[-1] and plan.shipped[-1] == plan.test
    for cutoffs in (plan.all_cutoffs, plan.judged_cutoffs, plan.origins):
        assert cutoffs == tuple(sorted(set(cutoffs))) and min(cutoffs) >= earliest
    assert {plan.test, *plan.origins} <= {*plan.judged_cutoffs} <= {*plan.all_cutoffs}
    assert max(plan.judged_cutoffs) == plan.test


def refuses_with_a_way_out(message: str, days: int, own: config.Timeline) -> None:
    """Both ways out that the message names work, and neither a day less history nor a day more horizon does."""
    more = int(re.search(r"add (-?\d+) days", message)[1])  # type: ignore[index]
    ends = START + days * DAY
    assert more > 0
    timeline.make_plan(START, ends + more * DAY, own)
    assert not fits(START, ends + (more - 1) * DAY, own)
    shorter = re.search(r"a horizon of (\d+) days or less would fit", message)
    best = int(shorter[1]) if shorter else 0
    assert best == 0 or fits(START, ends, own.model_copy(update={"horizon_days": best}))
    assert not fits(START, ends, own.model_copy(update={"horizon_days": best + 1}))


def fits(starts: dt.date, ends: dt.date, own: config.Timeline) -> bool:
    try:
        timeline.make_plan(starts, ends, own)
    except UserError:
        return False
    return True
