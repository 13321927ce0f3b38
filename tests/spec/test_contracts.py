"""Contracts by hand: whose is in force, whose ends, when that is known, what is refused, and the past of openings."""

from __future__ import annotations

import datetime as dt
import json
from typing import Any

import drawn
import polars as pl
import pytest
from written import CUTOFF, INSTANT, NOON, Event, buy, event, frame, midnight, part

from churn_clv import config, events, features, labels, matrix, timeline
from churn_clv.config import Predicate
from churn_clv.errors import UserError

DAY, START, LAST = dt.timedelta(days=1), NOON * 0, -INSTANT
FAR = CUTOFF + 999 * DAY
TERM: dict[str, Any] = {"opens": {"is_in": ["subscribe", "renew"]}, "term_days": 30, "grace_days": 7}
OPEN_ENDED: dict[str, Any] = {"opens": {"is_in": ["subscribe"]}}


def target(contract: dict[str, Any] | None = TERM, **own: Any) -> config.Target:
    base = {"events": {"is_in": ["cancel"]}, "measure": "present", "population": "contract", "contract": contract}
    return config.from_dict({"dataset": "x", "targets": {"ended": base | own}}).targets["ended"]


def opened(days_ago: int, **columns: Any) -> Event:
    return event("subscribe", days_ago, **columns)


def cancel(days_ago: int, **columns: Any) -> Event:
    return event("cancel", days_ago, **columns)


def in_force(log: list[Event], contract: dict[str, Any] = TERM, **definitions: Any) -> bool:
    pairs = timeline.pairs_of(["c"], [CUTOFF])
    own = {"ended": target(contract)}
    rows = matrix.members(frame([buy(300), *log]), pairs, own, drawn.definitions(**definitions))
    assert rows.schema == {"ended": pl.Boolean}
    return bool(rows["ended"][0])


def ended(log: list[Event], contract: dict[str, Any] = TERM, horizon: int = 28, **terms: Any) -> float | None:
    found = labels.build(
        frame(log), timeline.pairs_of(["c"], [CUTOFF]), {"ended": target(contract)}, horizon,
        **{"minor_units": 2, "ends": FAR} | terms,
    )  # fmt: skip
    assert found.columns == ["customer_id", "cutoff", f"ended_{horizon}d"]
    return found[f"ended_{horizon}d"][0]  # type: ignore[no-any-return]


# --- whose contract is in force -----------------------------------------------------------------------
@pytest.mark.parametrize(
    ("log", "inside"),
    [
        ([], False),
        ([cancel(3)], False),
        ([opened(1)], True),
        ([opened(0)], False),  # on the cutoff's day: not yet
        ([opened(0, at=LAST)], True),  # the instant before
        ([opened(29)], True),  # the term's last day is the cutoff's day
        ([opened(29, at=START)], True),
        ([opened(29, at=LAST)], False),  # an instant earlier it was the day before
        ([opened(30)], False),  # the term ends on the cutoff
        ([opened(33)], False),  # in the grace days: not known yet, so not asked
        ([opened(50), opened(20)], True),
        ([opened(50), event("renew", 20)], True),
        ([opened(20), cancel(10)], False),
        ([opened(20), cancel(0)], True),  # the cutoff belongs to the future
        ([cancel(20), opened(10)], True),
        ([opened(25), cancel(20), opened(10)], True),
        ([opened(10, at=NOON), cancel(10, at=NOON + INSTANT)], False),
        ([cancel(10, at=NOON), opened(10, at=NOON + INSTANT)], True),  # the later time decides
        ([cancel(10, at=NOON), opened(10, at=NOON)], False),  # at the same instant: closed
        ([opened(20), cancel(10, known_at=midnight(0))], True),  # of which nobody knew yet
        ([opened(20), cancel(10, known_at=midnight(0) - INSTANT)], False),
        ([opened(10, known_at=midnight(0))], False),
        ([opened(50), opened(10, known_at=midnight(-1))], False),
    ],
)
def test_in_force(log: list[Event], inside: bool) -> None:
    assert in_force(log) is inside


def test_without_a_term_a_contract_runs_until_it_is_cancelled() -> None:
    assert in_force([opened(250)], OPEN_ENDED)
    assert not in_force([opened(250), cancel(1)], OPEN_ENDED)
    assert not in_force([event("renew", 5)], OPEN_ENDED)  # no opening here
    assert not in_force([], OPEN_ENDED)


def test_an_opening_may_be_the_purchase_of_a_product() -> None:
    card = {"opens": {"column": "product_id", "is_in": ["card"]}, "term_days": 30}
    assert in_force([buy(9, product_id="card")], card)
    assert not in_force([buy(9, product_id="tea"), event("visit", 9, product_id="card")], card)


def test_a_log_too_short_for_the_eligible_is_too_short_here() -> None:
    short = dict.fromkeys(drawn.KINDS, CUTOFF - 27 * DAY)
    assert in_force([opened(5)], starts=dict.fromkeys(drawn.KINDS, CUTOFF - 28 * DAY))
    assert not in_force([opened(5)], starts=short)


# --- whose ends ---------------------------------------------------------------------------------------
# The horizon is 28 days: day -27 is its last, -28 the day after. Opened so many days ago, a term of 30 ends on day
# 30 - days_ago after the cutoff, and a renewal before that day + 7 continues it.
@pytest.mark.parametrize(
    ("log", "label"),
    [
        ([opened(1)], 0),  # the term ends on day 29: not within the horizon
        ([opened(2)], 0),  # on day 28, the day after the window's last
        ([opened(3)], 1),  # on day 27, its last
        ([opened(29)], 1),  # on day 1
        ([opened(30)], 1),  # on the cutoff itself: within the window, though such a one is not asked
        ([opened(31)], 0),  # before it
        ([opened(20), opened(-10)], 0),  # renewed on the day that the term ends
        ([opened(20), opened(-5)], 0),  # and before
        ([opened(20), opened(-16)], 0),  # on the last day of grace
        ([opened(20), opened(-16, at=DAY + LAST)], 0),
        ([opened(20), opened(-17, at=START)], 1),  # on the day after
        ([opened(3), opened(-33)], 0),  # the renewal may come after the horizon
        ([opened(3), opened(-34)], 1),
        ([opened(29), opened(-1)], 0),  # the second term ends on day 31
        ([opened(29), opened(-1), cancel(-1, at=NOON * 2 - INSTANT)], 1),
        ([opened(1), cancel(0, at=START)], 1),  # the window's first instant
        ([opened(1), cancel(0, at=LAST)], 0),  # before it
        ([opened(1), cancel(-28, at=LAST)], 1),  # its last
        ([opened(1), cancel(-28, at=START)], 0),
        ([opened(1), cancel(-9), opened(-9, at=NOON + INSTANT)], 0),  # cancelled and opened again on one day
        ([opened(1), cancel(-9), opened(-9)], 1),  # at the same instant: closed
        ([opened(1), opened(-9), cancel(-9, at=NOON + INSTANT)], 1),
        ([opened(1), cancel(-9), opened(-9, at=NOON + INSTANT), cancel(-9, at=NOON + 2 * INSTANT)], 1),
        ([opened(1), cancel(-9), opened(-10)], 1),  # a day later: it had ended
        ([cancel(9), opened(1)], 0),  # before the last opening
        ([opened(20), cancel(19), opened(-10), buy(-3)], 0),
    ],
)
def test_ended(log: list[Event], label: float) -> None:
    assert ended(log) == label


def test_a_second_term_may_end_within_the_horizon() -> None:
    """A term of a week: opened, renewed once on the day it ends, then no more."""
    week = TERM | {"term_days": 7, "grace_days": 2}
    assert ended([opened(1), opened(-6)], week, 14) == 1  # ends on day 13, the last
    assert ended([opened(1), opened(-7)], week, 14) == 0  # renewed on the last day of grace; ends on day 14
    assert ended([opened(1), opened(-6), opened(-14)], week, 14) == 0
    assert ended([opened(1), opened(-6), opened(-15)], week, 14) == 1
    assert ended([opened(1), opened(-8), opened(-9)], week, 14) == 1  # too late, though it went on


@pytest.mark.parametrize(("grace", "last"), [(0, 9), (1, 10), (None, 10), (3, 12)])
def test_a_renewal_counts_before_the_end_of_the_term_and_the_grace(grace: int | None, last: int) -> None:
    """The term ends on day 10. Left out, grace is a day: a renewal on the day after the last leaves no gap."""
    terms = TERM | {"grace_days": grace}
    assert ended([opened(20), opened(-last)], terms) == 0
    assert ended([opened(20), opened(-last - 1)], terms) == 1


def test_without_a_term_only_what_ends_it_counts() -> None:
    assert ended([opened(300)], OPEN_ENDED) == 0
    assert ended([opened(300), cancel(-27)], OPEN_ENDED) == 1
    assert ended([opened(300), cancel(-28)], OPEN_ENDED) == 0


def test_known_late() -> None:
    """What was not known by a midnight is not counted by then."""
    late: dict[str, Any] = {"known_at": midnight(-40)}
    renewed, closed = [opened(20), opened(-10, **late)], [opened(1), cancel(-9, **late)]
    by = [CUTOFF + days * DAY for days in (40, 41)]
    assert [ended(renewed, known_by=d) for d in by] == [1, 0]
    assert [ended(closed, known_by=d) for d in by] == [0, 1]
    assert ended(renewed) == 0 and ended(closed) == 1


@pytest.mark.parametrize(("contract", "days"), [(TERM, 35), (OPEN_ENDED, 28), (TERM | {"grace_days": 0}, 28)])
def test_null_until_the_grace_is_over(contract: dict[str, Any], days: int) -> None:
    assert ended([opened(20)], contract, ends=CUTOFF + (days - 1) * DAY) is None
    assert ended([opened(20)], contract, ends=CUTOFF + days * DAY) is not None
    assert target(contract).reach_days(28) == days


def test_absent_says_that_it_goes_on() -> None:
    for log, label in (([opened(20)], 0), ([opened(20), opened(-10)], 1)):
        found = labels.build(frame(log), timeline.pairs_of(["c"], [CUTOFF]), {"stays": target(measure="absent")}, 28,
                             minor_units=2, ends=FAR)  # fmt: skip
        assert found["stays_28d"].to_list() == [label]


def test_rows_keep_the_order_of_the_pairs() -> None:
    log = [opened(20) | {"customer_id": "b"}, opened(1) | {"customer_id": "a"}, cancel(-2) | {"customer_id": "d"}]
    pairs = pl.DataFrame({"customer_id": list("dcba"), "cutoff": [CUTOFF] * 3 + [CUTOFF + 5 * DAY]})
    found = labels.build(frame(log), pairs, {"ended": target()}, 28, minor_units=2, ends=FAR)
    assert found["customer_id"].to_list() == list("dcba") and found["ended_28d"].to_list() == [1, 0, 1, 1]


# --- refused ------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("own", "why"),
    [
        ({"contract": None}, "say under `contract` what opens one"),
        ({"population": "known"}, "goes with population: contract"),
        ({"measure": "count"}, "measure present or absent"),
        ({"measure": "amount", "at_least": 0}, "measure present or absent"),
        ({"contract": OPEN_ENDED | {"grace_days": 3}}, "grace_days goes with term_days"),
        ({"contract": TERM | {"grace_days": -1}}, "expected a number at least 0"),
        ({"contract": TERM | {"term_days": 0}}, "expected a number above 0"),
        ({"contract": {"term_days": 30}}, "opens: required"),
        ({"events": {"is_in": ["cancel", "renew"]}}, "renew both opens and ends"),
        ({"contract": TERM | {"term": 3}}, "Did you mean 'term_days'"),
    ],
)
def test_what_a_config_refuses(own: dict[str, Any], why: str) -> None:
    with pytest.raises(UserError, match=why):
        target(**own)


@pytest.mark.parametrize(
    ("own", "types", "why"),
    [
        ({}, ("purchase", "subscribe", "cancel"), None),
        ({}, ("purchase", "subscribe"), None),  # a term that runs out is an end
        ({}, ("purchase", "cancel"), "contracts open by events of type subscribe, renew, and the log has only"),
        ({"contract": OPEN_ENDED}, ("purchase", "subscribe"), "counts events of type cancel"),
        ({"contract": OPEN_ENDED}, ("purchase", "subscribe", "cancel"), None),
        (
            {"contract": {"opens": {"column": "product_id", "is_in": ["cart"]}, "term_days": 9}},
            ("purchase",),
            "no event has the product_id cart. Did you mean 'card'",
        ),
        ({"contract": {"opens": {"column": "channel", "is_in": ["app"]}}}, ("purchase", "cancel"), "'channel'"),
    ],
)
def test_what_a_log_cannot_answer(own: dict[str, Any], types: tuple[str, ...], why: str | None) -> None:
    found = labels.refused({"ended": target(**own)}, types, ("product_id",), {"product_id": ("card",)})
    assert found.keys() == (set() if why is None else {"ended"})
    assert why is None or why in found["ended"]


def test_values_are_looked_up_for_openings_too() -> None:
    card = target({"opens": {"column": "product_id", "is_in": ["card"]}})
    assert labels.values_of(frame([buy(3, product_id="tea")]), {"ended": card}) == {"product_id": ("tea",)}


# --- the past of openings -------------------------------------------------------------------------------
NAMES = ("days_since_last_ended_opening", "ended_openings", "days_since_first_ended_opening", "ended_days_to_end")
TYPES = (*drawn.KINDS, "subscribe", "renew")


def past_of(
    log: list[Event], contract: dict[str, Any] = TERM, names: tuple[str, ...] = NAMES, **terms: Any
) -> list[Any]:
    held = {"ended": target(contract).contract}
    starts = dict.fromkeys(TYPES, CUTOFF - 400 * DAY)
    return part([buy(300), *log], *names, contracts=held, event_types=tuple(sorted(TYPES)), starts=starts, **terms)


def test_features_of_openings() -> None:
    assert past_of([opened(70), event("renew", 40), opened(9), opened(9), cancel(3), opened(0)]) == [9, 3, 70, 21]
    assert past_of([opened(41)]) == [41, 1, 41, -11]  # the term is over
    assert past_of([]) == [None, 0, None, None]
    assert past_of([opened(9, known_at=midnight(0)), opened(40)]) == [40, 1, 40, -10]
    card = {"opens": {"column": "product_id", "is_in": ["card"]}}
    assert past_of([buy(5, product_id="card"), opened(2)], card, NAMES[:3]) == [5, 1, 5]


def test_the_plan_of_the_last_opening() -> None:
    plans = Predicate(column="product_id", is_in=("Gold", "basic 1"), event_types=("subscribe", "renew"))
    names = ("ended_plan_basic_1", "ended_plan_gold")
    basic, gold = {"product_id": "basic 1"}, {"product_id": "Gold"}

    def found(events: list[Event]) -> list[Any]:
        return past_of(events, names=names, plans={"ended": plans})

    assert found([opened(9, **basic), opened(3, **gold)]) == [0, 1]
    assert found([opened(9, **gold), event("renew", 3, **basic), buy(1, **gold), cancel(2, **gold)]) == [1, 0]
    assert found([opened(3, **basic), opened(3, **gold)]) == [1, 1]
    assert found([opened(9, **gold), opened(3)]) == [0, 0] == found([opened(3, product_id="other")])
    assert found([cancel(3, **gold)]) == [None, None]


def test_plans_are_learnt_from_the_openings_before_a_cutoff() -> None:
    whole = [buy(90, product_id="tea"), opened(50, product_id="a"), opened(40, product_id="b"), cancel(30, channel="x"),
             opened(2, product_id="late")]  # fmt: skip

    def plans(log: list[Event], contract: dict[str, Any] = TERM) -> dict[str, tuple[str, tuple[str, ...]]]:
        settings = config.load(dataset="x", targets={"ended": json.loads(target(contract).model_dump_json())})
        read = events.from_frame(
            frame(log).with_columns(pl.col("amount") / 100).select(pl.exclude("known_at", "event_id")),
            events.rules_of(settings.events), CUTOFF,
        )  # fmt: skip
        found = timeline.define(read, settings, CUTOFF - 9 * DAY)
        assert found.contracts == {"ended": target(contract).contract}
        return {n: (p.column, p.is_in) for n, p in found.plans.items()}

    assert plans(whole) == {"ended": ("product_id", ("a", "b"))}
    assert plans(whole[:2]) == {}  # all are alike
    assert plans([whole[0], opened(50, channel="web"), opened(40, channel="app")]) == {
        "ended": ("channel", ("app", "web"))
    }
    many = [opened(50 - n % 30, product_id=f"p{n:02d}") for n in range(20)] + [opened(45, product_id="p19")]
    assert plans([whole[0], *many])["ended"][1] == (*(f"p{n:02d}" for n in range(11)), "p19")
    assert plans(whole, {"opens": {"column": "product_id", "is_in": ["tea", "a"]}}) == {}  # only tea is bought


def test_the_family_is_there_where_a_target_asks_and_the_log_can_feed_it() -> None:
    def names(**changes: Any) -> set[str]:
        terms = drawn.definitions(**{"contracts": {}, "plans": {}} | changes)
        assert "contract" not in features.left_out(terms)
        return {n for n, f in features.family_of(terms).items() if f == "contract"}

    held = {"ended": target().contract}
    assert names(contracts=held, event_types=TYPES) == set(NAMES)
    assert names(contracts={"ended": target(OPEN_ENDED).contract}, event_types=TYPES) == set(NAMES[:3])
    assert not names(contracts=held, event_types=drawn.KINDS) and not names(event_types=TYPES)


def test_hashes_follow_the_contract() -> None:
    def hashed(contract: dict[str, Any]) -> list[str]:
        d = drawn.definitions(contracts={"ended": target(contract).contract}, event_types=TYPES, plans={})
        found = features.hashes(features.catalogue(d))
        return [found[n] for n in NAMES]

    base = hashed(TERM)
    longer = hashed(TERM | {"term_days": 31})
    assert longer[:3] == base[:3] and longer[3] != base[3]
    fewer = hashed(TERM | {"opens": {"is_in": ["subscribe"]}})
    assert not set(fewer) & set(base)
