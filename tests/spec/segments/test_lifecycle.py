"""Stages by hand (definition D26): each edge, the order of the rules, own rhythm and two windows; the population's."""

from __future__ import annotations

from typing import Any

import drawn
import polars as pl
import pytest
import written
from written import CUTOFF, back, buy, event

from churn_clv import config, segmentation, segments, timeline
from churn_clv.segments import Rhythm

RULES = config.segment_rules(config.Config(dataset="x"))
# The population: half order again within 10 days, nine of ten within 40 after a first order and 30 after later ones.
OWN = Rhythm(new_days=10, first_days=40, later_days=30)


def read(events: list[dict[str, Any]], **changes: Any) -> pl.DataFrame:
    frame, d = written.frame(events), drawn.definitions(**changes)
    past = timeline.Past(frame, timeline.pairs_of(["c"], [CUTOFF]))
    return segments.read(past, d, RULES, ())


def stage(*days_ago: int, also: list[dict[str, Any]] | None = None, **changes: Any) -> str:
    """The stage of a customer who bought so many days ago; they lapse after 56."""
    events = [buy(d) for d in days_ago] + (also or [])
    found = read(events, **changes)
    return segments.staged(found, OWN, RULES.lifecycle, drawn.definitions(**changes))[0]


def test_prospect_without_a_purchase_that_stands() -> None:
    assert stage(also=[event("visit", 3)]) == "prospect"
    assert stage(20, also=[back(20)]) == "prospect"  # reversed on its own day


def test_new_growing_declining_and_lapsed_by_one_order() -> None:
    """10 days is still new; up to the population's 40 the habit may form; then overdue; after 56 lapsed."""
    assert [stage(d) for d in (1, 10, 11, 40, 41, 56, 57)] == [
        "new", "new", "growing", "growing", "declining", "declining", "lapsed",
    ]  # fmt: skip


def test_new_however_many_orders() -> None:
    assert stage(10, 8, 5, 1) == "new"
    assert stage(11, 8, 5, 1) == "growing"


def test_won_back_for_as_long_as_it_took_to_lapse() -> None:
    """87 to 30 is a gap of 57 > 56; 86 to 30 one of 56. The order after the gap is won back for 56 days."""
    assert stage(87, 30) == "won_back"
    assert stage(86, 30) == "mature"
    assert stage(300, 56, 50) == "won_back"
    assert stage(300, 57, 50) == "mature"  # rhythm: gaps 243 and 7, (2 x 243 + 5 x 30) / 7 = 90.9


def test_declining_by_the_own_rhythm() -> None:
    """Eleven weekly orders: (10 x 7 + 5 x 30) / 15 = 14.67 days."""
    weekly = [14 + 7 * k for k in range(11)]
    assert stage(*weekly) == "mature"
    assert stage(*(d + 1 for d in weekly)) == "declining"


def test_the_quantile_is_a_gap_that_occurs() -> None:
    """Gaps 1 to 10: the smallest that nine of ten do not exceed is 9; of one gap it is that one."""
    days, at = [70], 70
    for gap in range(1, 11):
        at -= gap
        days.append(at)
    assert read([buy(d) for d in days])["_own_gap"].to_list() == [9.0]
    assert read([buy(30), buy(10)])["_own_gap"].to_list() == [20.0]
    assert read([buy(30)])["_own_gap"].to_list() == [None]


def test_two_windows_tell_fewer_orders() -> None:
    """2 in the last 56 days and 9 before: P(at most 2 of 11) = 67 / 2048 = .033; 3 and 8: 232 / 2048 = .113."""
    before = [60 + 6 * k for k in range(9)]
    assert stage(5, 30, *before) == "declining"
    assert stage(5, 20, 30, *before[:8]) == "mature"
    # a window that reaches before the log says nothing
    edge = {"starts": dict.fromkeys(drawn.KINDS, written.midnight(112).date())}
    late = {"starts": dict.fromkeys(drawn.KINDS, written.midnight(111).date())}
    assert (stage(5, 30, *before, **edge), stage(5, 30, *before, **late)) == ("declining", "mature")


def test_two_windows_tell_more_orders() -> None:
    """9 in the last 56 days and 2 before, known for all of both windows: growing; first seen a day later: not told."""
    last = [2 + 6 * k for k in range(9)]
    assert stage(*last, 60, 112) == "growing"
    assert stage(*last, 60, 111) == "mature"
    assert stage(*last, 60, 70, 112) == "mature"  # 3 of 12: 299 / 4096 = .073


def test_the_windows_tile() -> None:
    found = read([buy(56), buy(57), buy(112), buy(113)])
    assert found.select("_near", "_before", "_gaps").row(0) == (1, 2, 3)


def test_critical_counts_by_hand() -> None:
    """Of 5, P(0) = 1/32 < .05 <= 6/32; of 4, 1/16 is not; of 8, 9/256 is and 37/256 is not."""
    assert [segments.critical(n, 0.05) for n in (0, 1, 4, 5, 8, 11)] == [-1, -1, -1, 0, 1, 2]
    assert segments.critical(2, 0.25) == -1  # exactly .25 is not below it
    assert segments.critical(2, 0.26) == 0


# --- the population's rhythm ----------------------------------------------------------------------
def population(histories: dict[str, list[int]]) -> pl.DataFrame:
    return pl.concat(
        written.frame([buy(d) for d in days]).with_columns(customer_id=pl.lit(name)) for name, days in histories.items()
    )


PEOPLE = {"one": [100, 90], "two": [80, 60, 50], "three": [30], "four": [70, 30]}


@pytest.mark.parametrize(("lapse", "days"), [(56, (20, 40, 56)), (30, (20, 30, 30)), (15, (15, 15, 15))])
def test_the_populations_rhythm_by_hand(lapse: int, days: tuple[int, ...]) -> None:
    """First gaps 10, 20, 29 so far, 40: alive 3/4, 1/2, then 0 at 40. Later gaps: 10 (weight 1/2), open ones of 89,
    49 (1/2) and 29 days: alive 5/6 from 10 on, so nine of ten is never seen. At most the days to lapse."""
    d = drawn.definitions(active_within_days=lapse)
    found = segmentation.rhythm(population(PEOPLE), CUTOFF, d, RULES.lifecycle)
    assert (found.new_days, found.first_days, found.later_days) == days
    assert "usual longest gap" in found.capped and ("usual longest first gap" in found.capped) == (lapse < 40)


def test_a_log_without_gaps() -> None:
    """Everyone is new: no first gap has ended, and what the log does not reach is said."""
    d = drawn.definitions()
    found = segmentation.rhythm(population({"a": [3], "b": [1]}), CUTOFF, d, RULES.lifecycle)
    assert (found.new_days, found.first_days, found.later_days) == (56, 56, 56) and len(found.capped) == 3
