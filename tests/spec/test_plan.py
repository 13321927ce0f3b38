"""The temporal plan, by hand."""

from __future__ import annotations

import datetime as dt

import pytest

from churn_clv import config, timeline
from churn_clv.errors import UserError

START = dt.date(2024, 1, 1)


def day(number: int) -> dt.date:
    return START + dt.timedelta(days=number)


def plan(days: int, **own: int) -> timeline.Plan:
    return timeline.make_plan(START, day(days), config.Timeline(**own))


def numbers(cutoffs: tuple[dt.date, ...]) -> list[int]:
    return [(c - START).days for c in cutoffs]


def test_a_long_log() -> None:
    """300 days, 28 ahead: test at 272; validation one horizon before it and half a horizon, a horizon further back."""
    found = plan(300, max_train_cutoffs=4)
    assert numbers(found.origins) == [272 - 28 - 28, 272 - 28 - 14, 272 - 28] and found.test == day(272)
    assert numbers(found.train) == [167, 174, 181, 188]
    assert numbers(found.judged) == [223, 230, 237, 244]
    assert numbers(found.shipped) == [251, 258, 265, 272]
    assert (found.note, found.earliest, found.ends, found.horizon_days) == (None, day(28), day(300), 28)
    assert found.label_ends(found.test) == day(300)
    assert repr(found) == (
        "Plan(horizon 28 days: 4 training and 3 validation cutoffs, test 2024-09-29, labels until 2024-10-27)"
    )


def test_each_origin_learns_the_newest_label_windows_that_end_by_it() -> None:
    found = plan(300, max_train_cutoffs=4)
    learnt = {(o - START).days: numbers(found.learnt_by(o)) for o in found.origins}
    assert learnt == {216: [167, 174, 181, 188], 230: [181, 188, 195, 202], 244: [195, 202, 209, 216]}
    assert found.train == found.learnt_by(found.origins[0])
    assert numbers(found.learnt_by(day(215))) == [160, 167, 174, 181]  # that of 188 ends a day too late
    assert numbers(found.learnt_by(day(217))) == [167, 174, 181, 188]


def test_parts_of_label_windows_are_learnt_as_soon_as_they_are_complete() -> None:
    found = plan(300, max_train_cutoffs=4)
    assert found.edges == (7, 14, 21, 28)
    at = {days: numbers(found.learnt_by(found.test, days))[-1] for days in (7, 14, 21, 28, 6, 8)}
    assert at == {7: 265, 14: 258, 21: 251, 28: 244, 6: 265, 8: 258}
    assert numbers(found.learnt_by(day(216), 7)) == [188, 195, 202, 209]
    assert numbers(found.learnt_by(found.ends, 7)) == [272, 279, 286, 293]  # what ships goes on from the test cutoff


def test_the_grid_ends_one_horizon_before_the_test_and_what_ships_goes_on_from_it() -> None:
    """Steps of 10 in horizons of 28: the judged lie on 244, 234, ..., the shipped on 272, 262, ..."""
    found = plan(300, step_days=10, max_train_cutoffs=3)
    assert numbers(found.judged) == [224, 234, 244]
    assert numbers(found.learnt_by(found.test, 7)) == [244, 254, 264]  # 265 would be the last to end by 272
    assert numbers(found.learnt_by(day(230))) == [174, 184, 194]  # 202 is the last to end by 230
    assert numbers(found.shipped) == [252, 262, 272]
    assert numbers(found.learnt_by(found.ends, 7)) == [272, 282, 292]
    assert {(c - found.test).days % 10 for c in found.learnt_by(found.test, 7)} == {2}


def test_every_snapshot_that_a_plan_needs() -> None:
    found = plan(300, max_train_cutoffs=4)
    parts = {c for when in (*found.origins, found.test) for d in found.edges for c in found.learnt_by(when, d)}
    judged = {found.test, *found.origins, *parts}
    shipped = {c for d in found.edges for c in found.learnt_by(found.ends, d)}
    assert found.judged_cutoffs == tuple(sorted(judged))
    assert found.all_cutoffs == tuple(sorted(judged | shipped))
    assert numbers(found.judged_cutoffs)[-1] == 272 and numbers(found.all_cutoffs)[-1] == 293
    assert max(found.learnt_by(found.test, 7)) == day(265)


def test_the_models_of_all_origins_learn_as_many_cutoffs_as_the_judged_one() -> None:
    found = plan(600)
    assert {len(found.learnt_by(when)) for when in (*found.origins, found.test, found.ends)} == {16}
    for origin in found.origins:
        assert found.label_ends(found.learnt_by(origin)[-1]) == origin


@pytest.mark.parametrize(
    ("horizon", "count", "edges"),
    [
        (28, 4, (7, 14, 21, 28)),
        (90, 4, (22, 45, 68, 90)),  # 22.5 and 67.5, the halves to the even
        (28, 1, (28,)),
        (30, 3, (10, 20, 30)),
        (3, 4, (1, 2, 3)),
        (1, 4, (1,)),
        (10, 4, (2, 5, 8, 10)),
    ],
)
def test_parts_of_the_horizon(horizon: int, count: int, edges: tuple[int, ...]) -> None:
    assert timeline.sub_windows(horizon, count) == edges


def test_more_or_fewer_origins_by_choice() -> None:
    assert numbers(plan(300, validation_origins=1).origins) == [244]
    assert numbers(plan(300, validation_origins=5).origins) == [188, 202, 216, 230, 244]
    # half of an odd horizon is rounded up: whole days
    assert numbers(plan(300, horizon_days=27, validation_origins=3).origins) == [300 - 54 - 28, 300 - 54 - 14, 246]


def test_training_begins_where_there_is_enough_history() -> None:
    assert numbers(plan(300, max_train_cutoffs=99).train)[0] == 34  # the first of 188, 181, ... from day 28 on
    assert numbers(plan(300, min_history_days=100).train)[0] == 104
    # day 188 alone is too few for an origin at 216: the first is 230, with 188, 195 and 202
    found = plan(300, min_history_days=188)
    assert numbers(found.origins) == [230, 244] and numbers(found.train) == [188, 195, 202]
    assert found.note == "history is short: 2 of 3 validation cutoffs fit"


@pytest.mark.parametrize("most", [1, 2])
def test_few_cutoffs_by_choice_are_no_short_history(most: int) -> None:
    found = plan(300, max_train_cutoffs=most)
    assert found.note is None and numbers(found.origins) == [216, 230, 244]
    assert len(found.train) == len(found.judged) == len(found.shipped) == most


def test_a_short_log_has_fewer_origins_and_says_so() -> None:
    """The oldest origin wants three training cutoffs: at 5 horizons and two weeks it has 28, 35 and 42."""
    long, short = plan(5 * 28 + 14), plan(5 * 28 + 13)
    assert long.note is None and numbers(long.origins) == [70, 84, 98] and numbers(long.train) == [28, 35, 42]
    assert short.note == "history is short: 2 of 3 validation cutoffs fit"
    assert numbers(short.origins) == [83, 97] and numbers(short.train) == [34, 41, 48, 55]
    # one origin is kept though it has a single training cutoff
    least = plan(4 * 28 + 6)
    assert numbers(least.origins) == [62] and numbers(least.train) == [34]
    assert least.note == "history is short: 1 of 3 validation cutoffs fit"


def test_the_shortest_log() -> None:
    found = plan(4 * 28)
    assert numbers(found.train) == [28] and numbers(found.origins) == [56] and found.test == day(84)
    assert numbers(found.judged) == [28, 35, 42, 49, 56]
    with pytest.raises(UserError) as error:
        plan(4 * 28 - 1)
    assert str(error.value) == (
        "the labels do not fit: the log covers 111 days (2024-01-01 to 2024-04-21), and a horizon of 28 days needs 112 "
        "(history, training, validation and test windows that do not overlap). With this log a horizon of 27 days or "
        "less would fit; or add 1 days of history."
    )


def test_steps_that_do_not_divide_the_horizon_need_a_little_more() -> None:
    """The grid runs back from one horizon before the test: with steps of 10 the newest that ends by 57 is at 27."""
    assert numbers(plan(114, step_days=10).train) == [28]
    with pytest.raises(UserError, match=r"add 1 days of history"):
        plan(113, step_days=10)
    with pytest.raises(UserError, match=r"add 2 days of history"):
        plan(112, step_days=10)


def test_no_horizon_fits() -> None:
    with pytest.raises(UserError, match="no horizon fits"):
        plan(3)
    with pytest.raises(UserError, match="no horizon fits; or add 104 days"):
        plan(80, min_history_days=100)


def test_the_table() -> None:
    rows = plan(300, max_train_cutoffs=4).rows()
    assert [r["role"] for r in rows] == [
        "train for the first validation",
        "train for the last validation",
        "validation",
        "judged refit",
        "test",
        "shipped refit",
    ]
    assert rows[0] == {
        "role": "train for the first validation",
        "first_cutoff": day(167).isoformat(),
        "last_cutoff": day(188).isoformat(),
        "cutoffs": 4,
        "labels_end": day(216).isoformat(),
    }
    assert [(r["cutoffs"], r["labels_end"]) for r in rows] == [
        (4, day(216).isoformat()),
        (4, day(244).isoformat()),
        (3, day(272).isoformat()),
        (4, day(272).isoformat()),
        (1, day(300).isoformat()),
        (4, day(300).isoformat()),
    ]
