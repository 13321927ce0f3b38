"""Feedback, by hand and against slow plain Python."""

from __future__ import annotations

import random
from typing import Any

import drawn
import pytest
from written import CUTOFF, buy, event, part, row

from churn_clv import features
from churn_clv.canonical import Rules
from churn_clv.text import Reading

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
    # Answered twice: the second answer ends nothing that is opened later, nor does an answer from before the log.
    again = [
        event("ticket_opened", 50),
        event("ticket_answered", 45),
        event("ticket_answered", 44),
        event("ticket_opened", 9),
    ]
    assert part(again, "ticket_answer_waiting", **LOG) == [1]
    assert part([event("ticket_answered", 50), event("ticket_opened", 9)], "ticket_answer_waiting", **LOG) == [1]
    assert part([event("ticket_closed", 5), buy(9)], *names, **LOG) == [0, None, 0, None]  # opened before the log began
    assert part([buy(9)], "complaint_closing_waiting", "complaint_closing_days_mean", **LOG) == [0, None]


def plain(events: list[dict[str, Any]], opens: str, ends: str) -> tuple[int, float | None]:
    """The same in loops."""
    day = [sorted(e["time"].date() for e in events if e["event_type"] == kind) for kind in (opens, ends)]
    waits = [(end - start).days for start, end in zip(*day, strict=False)]
    known = waits and len(day[1]) <= len(day[0])
    open_ = 0
    for when in sorted({*day[0], *day[1]}):
        open_ = max(open_ + day[0].count(when) - day[1].count(when), 0)
    return open_, sum(waits) / len(waits) if known else None


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


WRITTEN = LOG | {
    "columns": (*drawn.COLUMNS, "sentiment", "topics"),
    "rules": Rules("Europe/Paris", "EUR", 2, text=Reading(None, (("cost", ("cost",)), ("costs", ("costs",))))),
}


def said(age: int, sentiment: int | None = None, topics: str | None = None) -> dict[str, Any]:
    """A review; its sentiment in thousandths."""
    return event("nps", age, sentiment=sentiment, topics=topics)


def test_sentiments_by_hand() -> None:
    """-.3 and .1 on one day, then .5, then -.2 and -.4: the mean of the last day is -.3, of all five -.06, of those
    before .1, so it fell by .4; three are below 0, two of them in the last 28 days."""
    names = ("text_sentiment_last", "text_sentiment_mean", "text_sentiment_change", "text_negative_events",
             "text_negative_events_last_28d")  # fmt: skip
    events = [said(50, -300), said(50, 100), said(20, 500), said(5, -200), said(5, -400), said(2), said(0, 900)]
    assert part(events, *names, **WRITTEN) == [-0.3, -0.06, pytest.approx(-0.4), 3, 2]
    assert part([said(29, 0), said(2)], *names, **WRITTEN) == [0.0, 0.0, None, 0, 0]
    assert part([buy(9)], *names, **WRITTEN) == [None, None, None, 0, 0]


def test_topics_by_hand() -> None:
    """A topic's name is a whole word: cost is not costs."""
    names = ("topic_cost_events", "topic_cost_events_last_28d", "topic_costs_events", "topic_costs_events_last_28d")
    events = [said(50, topics="cost"), said(28, topics="cost costs"), said(28, topics="cost"), said(29, topics="costs"),
              said(3, 100), said(0, topics="cost")]  # fmt: skip
    assert part(events, *names, **WRITTEN) == [3, 2, 2, 1]
    assert part([buy(9)], *names, **WRITTEN) == [0, 0, 0, 0]


@pytest.mark.parametrize("seed", range(6))
def test_texts_against_loops(seed: int) -> None:
    draw = random.Random(seed)
    moods, about = (None, -700, -1, 0, 250, 1000), (None, "cost", "cost costs")
    marks = [(draw.randint(1, 60), draw.choice(moods), draw.choice(about)) for _ in range(draw.randint(1, 30))]
    found = row([said(*mark) for mark in marks], **WRITTEN)
    told = [(age, mood) for age, mood, _ in marks if mood is not None]
    last = [mood for age, mood in told if age == min(told)[0]]
    before = [mood for age, mood in told if age > min(told)[0]]
    assert found["text_sentiment_last"] == (sum(last) / len(last) / 1000 if told else None)
    assert found["text_sentiment_mean"] == (sum(m for _, m in told) / len(told) / 1000 if told else None)
    fell = sum(last) / len(last) - sum(before) / len(before) if before else None
    assert found["text_sentiment_change"] == (None if fell is None else pytest.approx(fell / 1000))
    assert found["text_negative_events_last_28d"] == sum(age <= 28 and mood < 0 for age, mood in told)
    assert found["topic_cost_events"] == sum(topics is not None for _, _, topics in marks)
    assert found["topic_costs_events_last_28d"] == sum(age <= 28 and topics == "cost costs" for age, _, topics in marks)


def test_logs_without_such_events_have_no_such_column() -> None:
    """So no recipe and no bundle of before is another one: neither a survey by another name nor complaints alone."""
    kinds = ("complaint", "purchase", "survey", "ticket_answered")
    own = drawn.definitions(event_types=kinds, starts=dict.fromkeys(kinds, CUTOFF.replace(year=2022)))
    assert "feedback" not in set(features.family_of(own).values()) and "feedback" not in features.left_out(own)
    assert "feedback" in set(features.family_of(drawn.definitions(**LOG)).values())
