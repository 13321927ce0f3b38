"""Who a target asks about, by hand."""

from __future__ import annotations

from typing import Any

import drawn
import polars as pl
import pytest
from written import CUTOFF, Event, back, buy, event, frame

from churn_clv import config, matrix, timeline
from churn_clv.errors import UserError


def target(**own: Any) -> config.Target:
    base = {"events": {"is_in": ["purchase"]}, "measure": "present"}
    return config.from_dict({"dataset": "x", "targets": {"asked": base | own}}).targets["asked"]


def asked(events: list[Event], own: dict[str, Any], **definitions: Any) -> bool:
    """Whether customer "c" is asked about at the cutoff; active within 56 days."""
    pairs = timeline.pairs_of(["c"], [CUTOFF])
    rows = matrix.members(frame(events), pairs, {"asked": target(**own)}, drawn.definitions(**definitions))
    assert rows.schema == {"asked": pl.Boolean}
    return bool(rows["asked"][0])


ONCE, TWICE, OLD = [buy(5)], [buy(9), buy(5)], [buy(57)]
LOOKED = [event("visit", 3)]


@pytest.mark.parametrize(
    ("population", "inside", "outside"),
    [
        ("eligible", [ONCE, TWICE, [buy(56)]], [OLD, LOOKED]),
        ("known", [ONCE, TWICE, OLD, LOOKED], []),
        ("prospects", [LOOKED, [buy(3, 5), back(3, 5)]], [ONCE, OLD]),
        ("one_order", [ONCE, OLD, [buy(5), buy(5)], [*ONCE, buy(3, 5), back(3, 5)]], [TWICE, LOOKED]),
        ("lapsed", [OLD, [buy(90), buy(57)]], [ONCE, [buy(56)], LOOKED]),
    ],
)
def test_populations(population: str, inside: list[list[Event]], outside: list[list[Event]]) -> None:
    for events in inside:
        assert asked(events, {"population": population}), events
    for events in outside:
        assert not asked(events, {"population": population}), events


def test_has_and_has_not() -> None:
    mailed = {"has": {"is_in": ["e-mail"]}, "has_not": {"is_in": ["survey"]}}
    mail, survey = event("e-mail", 4), event("survey", 3)
    assert asked([*ONCE, mail], mailed)
    assert not asked(ONCE, mailed)
    assert not asked([*ONCE, mail, survey], mailed)
    assert asked([*ONCE, mail, event("survey", 0)], mailed)  # not yet: the cutoff belongs to the future
    assert not asked([*OLD, mail], mailed)
    tea = {"has_not": {"column": "category", "is_in": ["tea"]}}
    assert not asked([buy(5, category="tea")], tea)
    assert asked([buy(5, category="cups"), event("visit", 2, category="tea")], tea)


def test_a_log_too_short_for_the_eligible_is_too_short_for_everyone() -> None:
    starts = dict.fromkeys(drawn.KINDS, CUTOFF.replace(month=2, day=10))
    for population in ("eligible", "known", "prospects", "one_order", "lapsed"):
        assert not any(asked(e, {"population": population}, starts=starts) for e in (ONCE, OLD, LOOKED))


@pytest.mark.parametrize(
    ("own", "why"),
    [
        ({"events": {"is_in": []}}, "at least 1"),
        ({"events": {"is_in": ["purchase"], "event_types": ["purchase"]}}, "goes with another column"),
        ({"population": "everyone"}, "prospects"),
        ({"at_least": 1}, "goes with measure amount"),
        ({"measure": "amount", "at_least": float("nan")}, "finite"),
    ],
)
def test_what_a_config_refuses(own: dict[str, Any], why: str) -> None:
    with pytest.raises(UserError, match=why):
        target(**own)


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("spend_if_active", "columns of this name"),
        ("orders", "columns of this name"),
        ("expected_visits", "may not begin with expected_"),
        ("x_probability", "end with _probability"),
        ("Second", "small letters"),
        ("a" * 61, "at most 60"),
    ],
)
def test_names_that_columns_cannot_be_made_of(name: str, why: str) -> None:
    with pytest.raises(UserError, match=why):
        config.from_dict({"dataset": "x", "targets": {name: {"events": {"is_in": ["visit"]}, "measure": "present"}}})


def test_values_are_read_as_the_log_reads_them_and_once() -> None:
    found = target(events={"column": "category", "is_in": [" tea", "tea ", "cups"], "event_types": ["purchase"] * 2})
    assert found.events.is_in == ("tea", "cups") and found.kinds == ("purchase",)
