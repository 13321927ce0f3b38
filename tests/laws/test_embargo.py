"""Every slice's label window ends at or before the next slice's cutoff, whatever the log's length."""

from __future__ import annotations

import datetime as dt
import itertools
import re

from hypothesis import example, given, settings
from hypothesis import strategies as st

from churn_clv import config, timeline
from churn_clv.errors import UserError

START = dt.date(2023, 1, 2)

timelines = st.builds(
    config.Timeline,
    horizon_days=st.integers(1, 120),
    step_days=st.integers(1, 60),
    max_train_cutoffs=st.integers(1, 30),
    min_history_days=st.none() | st.integers(1, 200),
)


@given(days=st.integers(-5, 900), own=timelines)
@example(days=4 * 28, own=config.Timeline())
@example(days=4 * 28 - 1, own=config.Timeline())
@example(days=500, own=config.Timeline(max_train_cutoffs=1))
@settings(max_examples=400, deadline=None)
def test_embargo(days: int, own: config.Timeline) -> None:
    ends = START + dt.timedelta(days=days)
    needed = 3 * own.horizon_days + (own.min_history_days or own.horizon_days)
    try:
        plan = timeline.make_plan(START, ends, own)
    except UserError as error:
        assert days < needed
        refuses_with_a_way_out(str(error), days, own)
        return
    assert days >= needed
    obeys(plan, own, ends)


def obeys(plan: timeline.Plan, own: config.Timeline, ends: dt.date) -> None:
    def label_ends(cutoff: dt.date) -> dt.date:
        return cutoff + dt.timedelta(days=own.horizon_days)

    # training, stopping and calibration end before the next begins; stopping may share calibration's cutoff
    assert max(map(label_ends, plan.train)) <= plan.stopping
    assert plan.stopping == plan.calibration or label_ends(plan.stopping) <= plan.calibration
    assert (plan.note is None) == (plan.stopping != plan.calibration)
    assert label_ends(plan.calibration) <= plan.test
    assert label_ends(plan.test) == ends == plan.ends
    # what is judged knows nothing that ends after the test cutoff; the map's model nothing after calibration's
    assert plan.judged and max(map(label_ends, plan.judged)) <= plan.test
    assert plan.until_calibration and max(map(label_ends, plan.until_calibration)) <= plan.calibration
    assert plan.shipped and max(map(label_ends, plan.shipped)) <= ends
    assert plan.test in plan.shipped and plan.calibration in plan.judged
    earliest = START + dt.timedelta(days=own.min_history_days or own.horizon_days)
    assert plan.all_cutoffs == tuple(sorted(set(plan.all_cutoffs))) and min(plan.all_cutoffs) >= earliest
    for cutoffs in (plan.train, plan.judged, plan.shipped):
        assert 1 <= len(cutoffs) <= own.max_train_cutoffs
        assert {*cutoffs} <= {*plan.all_cutoffs}
        assert {(b - a).days for a, b in itertools.pairwise(cutoffs)} <= {own.step_days}
    assert {*plan.until_calibration} <= {*plan.all_cutoffs}
    assert len(plan.until_calibration) <= own.max_train_cutoffs


def refuses_with_a_way_out(message: str, days: int, own: config.Timeline) -> None:
    """Both ways out that the message names work, and neither a day less history nor a day more horizon does."""
    more = int(re.search(r"add (\d+) days", message)[1])  # type: ignore[index]
    ends = START + dt.timedelta(days=days)
    timeline.make_plan(START, ends + dt.timedelta(days=more), own)
    assert not fits(START, ends + dt.timedelta(days=more - 1), own)
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
