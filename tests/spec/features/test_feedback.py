"""Feedback, by hand and against slow plain Python."""

from __future__ import annotations

import random
from typing import Any

import drawn
import pytest
from written import CUTOFF, buy, event, part, row

from churn_clv import features

KINDS = (
    "complaint",
    "complaint_closed",
    "csat",
    "nps",
    "purchase",
    "ticket_answered",
    "ticket_closed",
    "ticket_opened",
)
LOG: dict[str, Any] = {"event_types": KINDS, "starts": dict.fromkeys(KINDS, CUTOFF.replace(year=2022)),
                       "watched": {}, "contracts": {}, "plans": {}}  # fmt: skip


def test_surveys_by_hand() -> None:
    """9 and 7 on one day count as 9; then 4: mean 6.5, and 4 is 5 less than before. Three days 9, 8, 4: 4.5 less."""
    names = ("nps_value_mean", "nps_value_change")
    first = [event("nps", 90, value=9), event("nps", 90, value=7)]
    assert part([*first, event("nps", 3, value=4)], *names, **LOG) == [6.5, -5.0]
    assert part([*first, event("nps", 30, value=8), event("nps", 3, value=4)], *names, **LOG) == [7.0, -4.5]
    assert part([*first, event("nps", 2)], *names, **LOG) == [9.0, None]
    assert part([buy(3), event("nps", 0, value=1)], *names, **LOG) == [None, None]  # the cutoff's own day is not past


def test_waits_by_hand() -> None:
    """Opened 50, 40 and 10 days ago, answered 45 and 20 days ago: 5 and 20 days, one waits."""
    names = ("ticket_answer_waiting", "ticket_answer_days_mean", "ticket_closing_waiting", "ticket_closing_days_mean")
    opened = [event("ticket_opened", age) for age in (50, 40, 10)]
    answered = [event("ticket_answered", age) for age in (45, 20)]
    assert part(opened + answered, *names, **LOG) == [1, 12.5, 3, None]
    twice = [event("ticket_opened", 9), event("ticket_opened", 9), event("ticket_closed", 9), event("ticket_closed", 2)]
    assert part(twice, *names, **LOG) == [2, None, 0, 3.5]
    assert part([event("ticket_closed", 5), buy(9)], *names, **LOG) == [0, None, 0, None]  # opened before the log began
    assert part([buy(9)], "complaint_closing_waiting", "complaint_closing_days_mean", **LOG) == [0, None]


def plain(events: list[dict[str, Any]], opens: str, ends: str) -> tuple[int, float | None]:
    """The same in loops."""
    day = [sorted(e["time"].date() for e in events if e["event_type"] == kind) for kind in (opens, ends)]
    waits = [(end - start).days for start, end in zip(*day, strict=False)]
    known = waits and len(day[1]) <= len(day[0])
    return max(len(day[0]) - len(day[1]), 0), sum(waits) / len(waits) if known else None


@pytest.mark.parametrize("seed", range(12))
def test_waits_against_loops(seed: int) -> None:
    draw = random.Random(seed)
    events = [
        event(draw.choice(KINDS), draw.randint(1, 60), value=draw.randint(0, 10)) for _ in range(draw.randint(1, 30))
    ]
    found = row(events, **LOG)
    for name, (opens, ends) in features.FAMILIES["feedback"].WAITS.items():
        assert (found[f"{name}_waiting"], found[f"{name}_days_mean"]) == plain(events, opens, ends)
    for kind in ("csat", "nps"):
        days: dict[Any, int] = {}
        for e in events:
            if e["event_type"] == kind:
                days[e["time"].date()] = max(days.get(e["time"].date(), 0), e["value"] // 1000)
        assert found[f"{kind}_value_mean"] == (sum(days.values()) / len(days) if days else None)
        last = days[max(days)] if days else 0
        rest = sum(days.values()) - last
        assert found[f"{kind}_value_change"] == (
            pytest.approx(last - rest / (len(days) - 1)) if len(days) > 1 else None
        )


def test_logs_without_such_events_have_no_such_column() -> None:
    """So no recipe and no bundle of before is another one: neither a survey by another name nor complaints alone."""
    kinds = ("complaint", "purchase", "survey", "ticket_answered")
    own = drawn.definitions(event_types=kinds, starts=dict.fromkeys(kinds, CUTOFF.replace(year=2022)))
    assert "feedback" not in set(features.family_of(own).values()) and "feedback" not in features.left_out(own)
    assert "feedback" in set(features.family_of(drawn.definitions(**LOG)).values())
