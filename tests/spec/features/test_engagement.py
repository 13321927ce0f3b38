"""Engagement, by hand."""

from __future__ import annotations

import drawn
import pytest
from written import CUTOFF, INSTANT, NOON, back, buy, event, part

from churn_clv import features
from churn_clv.errors import UserError

ALL = ("touches", "touches_last_28d", "touch_days", "days_since_last_touch", "touches_per_purchase_day")


def test_touches_are_what_is_neither_bought_nor_returned() -> None:
    events = [event("visit", 40), event("visit", 5), event("visit", 5, at=INSTANT), event("survey", 5), buy(3), back(2)]
    assert part(events, *ALL) == [4, 3, 2, 5, 4.0]
    assert part([buy(3), buy(2)], *ALL) == [0, 0, 0, None, 0.0]
    assert part([event("visit", 1)], *ALL) == [1, 1, 1, 1, None]


def test_per_kind() -> None:
    names = ("visit_events", "visit_events_last_28d", "visit_events_last_112d", "days_since_last_visit")
    assert part([event("visit", a) for a in (113, 112, 28, 29)] + [event("survey", 2)], *names) == [4, 1, 3, 28]
    assert part([event("survey", 2)], *names) == [0, 0, 0, None]
    assert part([event("visit", 28, at=NOON * 0), event("visit", 28, at=-INSTANT)], *names) == [2, 1, 2, 28]


def test_what_would_have_come_since() -> None:
    """Known for 40 days, 2 visits, the last 5 days ago: 5 x 2 / 40 = 1/4. All on one day: as many as there were."""
    assert part([event("visit", 40), event("visit", 5), event("survey", 10)], "visit_missed") == [0.25]
    assert part([event("visit", 3), event("visit", 3)], "visit_missed") == [2.0]
    assert part([buy(3)], "visit_missed") == [None]
    # what the business sends or asks has no rhythm of the customer's
    assert "survey_missed" not in features.names(drawn.definitions())


def test_buying_and_visits_are_one_rhythm() -> None:
    """3 purchase days and 2 visits in 50 days, last seen 4 days ago: 5 in 50 days, .7 a week, .4 missed."""
    names = ("times_seen", "times_seen_per_week", "days_since_last_seen", "times_seen_missed")
    events = [buy(50), buy(50, at=INSTANT), buy(30), buy(10), event("visit", 20), event("visit", 4), event("survey", 1)]
    assert part(events, *names) == [5, 0.7, 4, 0.4]
    assert part([buy(4), event("visit", 10)], *names) == [2, 1.4, 4, 0.8]
    assert part([event("visit", 10)], *names) == [1, 0.7, 10, 1.0]
    assert part([event("survey", 10)], *names) == [0, 0.0, None, None]
    none = features.names(drawn.definitions(seen_by=()))
    assert not set(names) & {*none} and set(names) <= {*features.names(drawn.definitions())}


def test_the_latest_value() -> None:
    """The latest day that has a value; of that day, the largest."""
    name = "survey_value_last"
    assert part([event("survey", 9, value=7), event("survey", 3)], name) == [7.0]
    assert part([event("survey", 9, value=7), event("survey", 3, value=2), event("survey", 3, value=4.5)], name) == [
        4.5
    ]
    assert part([event("survey", 3)], name) == part([event("visit", 3, value=4)], name) == [None]
    assert part([event("survey", 3, value=-0.5)], name) == [-0.5]


def test_names_are_made_of_letters_digits_and_lines() -> None:
    kinds = ("purchase", "E-Mail (bulk)", "письмо")
    own = {"event_types": kinds, "starts": dict.fromkeys(kinds, CUTOFF.replace(year=2020))}
    found = part([event("E-Mail (bulk)", 3), event("письмо", 4)], "e_mail_bulk_events", "days_since_last_письмо", **own)
    assert found == [1, 4]


@pytest.mark.parametrize(
    "twins", [("e-mail", "e mail"), ("Return", "return"), ("Purchase", "purchase"), ("touch", "x")]
)
def test_event_types_whose_features_would_share_a_name_are_refused(twins: tuple[str, str]) -> None:
    kinds = tuple(sorted({"purchase", *twins}))
    own = drawn.definitions(event_types=kinds, starts=dict.fromkeys(kinds, CUTOFF))
    with pytest.raises(UserError, match="would stand for two things"):
        features.catalogue(own)
