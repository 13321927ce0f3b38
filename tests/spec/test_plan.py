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
    """300 days, 28 ahead: test at 272, calibration 244, stopping 216, training up to 188 in steps of a week."""
    found = plan(300, max_train_cutoffs=4)
    assert numbers((found.stopping, found.calibration, found.test)) == [216, 244, 272]
    assert numbers(found.train) == [167, 174, 181, 188]
    assert numbers(found.judged) == [223, 230, 237, 244]
    assert numbers(found.shipped) == [251, 258, 265, 272]
    assert (found.note, found.ends, found.horizon_days) == (None, day(300), 28)
    assert found.label_ends(found.test) == day(300)
    # the newest four whose labels end by day 244
    assert numbers(found.until_calibration) == [174, 181, 188, 216]
    assert found.all_cutoffs == tuple(sorted({*found.train, *found.judged, *found.shipped, found.stopping}))


def test_the_map_is_fitted_to_a_model_of_as_many_cutoffs_as_the_judged_one() -> None:
    found = plan(600)
    assert len(found.train) == len(found.judged) == len(found.until_calibration) == 16
    assert found.label_ends(found.until_calibration[-1]) == found.calibration


def test_training_begins_where_there_is_enough_history() -> None:
    assert numbers(plan(300, max_train_cutoffs=99).train)[0] == 34  # the first of 188, 181, ... from day 28 on
    assert numbers(plan(300, min_history_days=100).train)[0] == 104
    # day 188 alone is too few: stopping moves up to calibration, training up to 216
    assert numbers(plan(300, min_history_days=188).train) == [188, 195, 202, 209, 216]


@pytest.mark.parametrize("most", [1, 2])
def test_few_cutoffs_by_choice_are_no_short_history(most: int) -> None:
    found = plan(300, max_train_cutoffs=most)
    assert found.note is None and numbers((found.stopping, found.calibration)) == [216, 244]
    assert len(found.train) == most


def test_a_short_log_shares_stopping_with_calibration() -> None:
    """Fewer than three training cutoffs otherwise: 153 days leave 28, 35 and 41 before a stopping of its own."""
    long, short = plan(5 * 28 + 14), plan(5 * 28 + 13)
    assert long.note is None and numbers(long.train) == [28, 35, 42]
    assert short.note is not None and "share one cutoff" in short.note
    assert short.stopping == short.calibration == day(5 * 28 + 13 - 56)
    assert numbers(short.train)[-1] == 5 * 28 + 13 - 84


def test_the_shortest_log() -> None:
    found = plan(4 * 28)
    assert numbers(found.train) == [28] and numbers((found.calibration, found.test)) == [56, 84]
    with pytest.raises(UserError) as error:
        plan(4 * 28 - 1)
    assert str(error.value) == (
        "the labels do not fit: the log covers 111 days (2024-01-01 to 2024-04-21), and a horizon of 28 days needs 112 "
        "(history, training, calibration and test windows that do not overlap). With this log a horizon of 27 days or "
        "less would fit; or add 1 days of history."
    )


def test_no_horizon_fits() -> None:
    with pytest.raises(UserError, match="no horizon fits"):
        plan(3)
    with pytest.raises(UserError, match="no horizon fits; or add 104 days"):
        plan(80, min_history_days=100)


def test_the_table() -> None:
    rows = plan(300, max_train_cutoffs=4).rows()
    assert [r["role"] for r in rows] == ["train", "stopping", "calibration", "judged refit", "test", "shipped refit"]
    assert rows[0] == {
        "role": "train",
        "first_cutoff": day(167).isoformat(),
        "last_cutoff": day(188).isoformat(),
        "cutoffs": 4,
        "labels_end": day(216).isoformat(),
    }
    assert rows[-1]["labels_end"] == day(300).isoformat()
