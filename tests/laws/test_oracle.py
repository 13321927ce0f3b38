"""Every feature, label, reason and gap equals its slow plain twin, to the last bit."""

from __future__ import annotations

import datetime as dt
from fractions import Fraction
from typing import Any

import drawn
import oracle
import polars as pl
import pytest
from hypothesis import given, settings

from churn_clv import config, features, labels, matrix, timeline
from churn_clv.timeline import Definitions

TARGETS: dict[str, dict[str, Any]] = {
    "churned": {"column": "event_type", "is_in": ["purchase"], "measure": "absent", "at_least": None},
    "occasions": {"column": "event_type", "is_in": ["purchase"], "measure": "count", "at_least": None},
    "bought": {"column": "event_type", "is_in": ["purchase"], "measure": "present", "at_least": None},
    "spend": {"column": "event_type", "is_in": ["purchase", "return"], "measure": "amount", "at_least": 0},
    "touched": {"column": "event_type", "is_in": ["visit", "survey"], "measure": "count", "at_least": None},
    "tea": {"column": "category", "is_in": ["tea"], "measure": "present", "at_least": None},
    "sales": {"column": "event_type", "is_in": ["purchase"], "measure": "amount", "at_least": None},
    "tea_days": {"column": "category", "is_in": ["tea", "cups"], "measure": "count", "at_least": None},
    "tea_money": {"column": "category", "is_in": ["tea"], "measure": "amount", "at_least": 0},
    "shop_calls": {"column": "channel", "is_in": ["store"], "event_types": ["visit", "survey"], "measure": "count",
                   "at_least": None},
    "webless": {"column": "channel", "is_in": ["web"], "event_types": ["purchase"], "measure": "absent",
                "at_least": None},
}  # fmt: skip
OPENS = {"column": "event_type", "is_in": ["visit", "survey"], "event_types": None}
CARD = {"column": "product_id", "is_in": ["p1", "p2"], "event_types": ["purchase"]}
CLOSES = {"column": "event_type", "is_in": ["e-mail"], "measure": "present", "at_least": None}
# With a grace, none, the usual one, no term, products that open and products that close.
CONTRACTS: dict[str, dict[str, Any]] = {
    "club": CLOSES | {"contract": {"opens": OPENS, "term_days": 40, "grace_days": 7}},
    "strict": CLOSES | {"contract": {"opens": OPENS, "term_days": 40, "grace_days": 0}},
    "usual": CLOSES | {"contract": {"opens": OPENS, "term_days": 14, "grace_days": None}, "measure": "absent"},
    "endless": CLOSES | {"contract": {"opens": OPENS, "term_days": None, "grace_days": None}},
    "card": {"column": "product_id", "is_in": ["ü3"], "event_types": ["purchase", "return"], "measure": "present",
             "at_least": None, "contract": {"opens": CARD, "term_days": 28, "grace_days": 3}},
}  # fmt: skip
TARGETS |= CONTRACTS


def declared() -> dict[str, config.Target]:
    targets = {
        name: {"events": {k: t[k] for k in ("column", "is_in", "event_types") if k in t}, "measure": t["measure"],
               "at_least": t["at_least"], "contract": t.get("contract"),
               "population": "contract" if name in CONTRACTS else "eligible"}
        for name, t in TARGETS.items()
    }  # fmt: skip
    return config.from_dict({"dataset": "drawn", "targets": targets}).targets


def by_customer(events: list[oracle.Event]) -> dict[str, list[oracle.Event]]:
    out: dict[str, list[oracle.Event]] = {}
    for event in events:
        out.setdefault(event["customer_id"], []).append(event)
    return out


def differences(found: dict[str, Any], expected: dict[str, Any], where: object) -> list[str]:
    assert found.keys() == expected.keys(), sorted(found.keys() ^ expected.keys())
    return [f"{where}: {c} is {found[c]!r}, oracle {expected[c]!r}" for c in expected if found[c] != expected[c]]


def compare_features(events: list[oracle.Event], d: Definitions) -> int:
    """Compare the whole matrix with the oracle; returns how many rows there were."""
    customers, frame = by_customer(events), drawn.frame(events)
    found = matrix.build(frame, timeline.pairs_of([*customers, "nobody"], drawn.CUTOFFS), d)
    plain, wrong = drawn.plain(d), []
    expected_keys = sorted((c, who) for c in drawn.CUTOFFS for who in customers if oracle.is_known(customers[who], c))
    assert found.select("cutoff", "customer_id").rows() == expected_keys
    for row in found.iter_rows(named=True):
        own, cutoff = customers[row["customer_id"]], row["cutoff"]
        why = oracle.reason(own, cutoff, plain)
        expected = oracle.features(own, cutoff, plain) | {"eligible": why is None, "reason": why}
        cells = {name: value for name, value in row.items() if name not in ("customer_id", "cutoff")}
        wrong += differences(cells, expected, (row["customer_id"], cutoff))
    assert not wrong, "\n".join(wrong[:20])
    return found.height


def compare_labels(events: list[oracle.Event], ends: dt.date, known_by: dt.date | None) -> int:
    """Compare every target with the oracle; returns how many labels there were."""
    customers = by_customer(events)
    pairs = timeline.pairs_of([*customers, "nobody"], drawn.CUTOFFS)
    found = labels.build(
        drawn.frame(events), pairs, declared(), 28, minor_units=2, ends=ends, known_by=known_by
    )  # fmt: skip
    assert found.select("customer_id", "cutoff").equals(pairs)
    wrong, seen = [], 0
    for row in found.iter_rows(named=True):
        own, where = customers.get(row["customer_id"], []), (row["customer_id"], row["cutoff"])
        for name, target in TARGETS.items():
            expected = {f"{name}_28d": oracle.label(own, row["cutoff"], target, 28, 2, ends, known_by)}
            if target["at_least"] is not None:
                floorless = target | {"at_least": None}
                expected[f"net_{name}_28d"] = oracle.label(own, row["cutoff"], floorless, 28, 2, ends, known_by)
            seen += sum(v is not None for v in expected.values())
            wrong += differences({c: row[c] for c in expected}, expected, where)
    assert not wrong, "\n".join(wrong[:20])
    return seen


@given(events=drawn.drawn(drawn.WAYS["all"]))
@settings(max_examples=100, deadline=None)
def test_features_drawn(events: list[oracle.Event]) -> None:
    compare_features(events, drawn.WAYS["all"])


@given(events=drawn.drawn(drawn.WAYS["all"]))
@settings(max_examples=40, deadline=None)
def test_labels_drawn(events: list[oracle.Event]) -> None:
    compare_labels(events, drawn.ENDS, None)


@pytest.mark.parametrize("way", drawn.WAYS)
def test_features_in_bulk(way: str) -> None:
    """Many customers in one call: what a hundred drawn examples cannot reach."""
    d = drawn.WAYS[way]
    events = drawn.histories(drawn.seeded(len(way)), d, [f"c{n}" for n in range(300)], most=14)
    assert compare_features(events, d) > 500
    assert set(features.names(d)) == oracle.features(events[:1], drawn.CUTOFF, drawn.plain(d)).keys()


@pytest.mark.parametrize("known_by", [None, drawn.CUTOFF, drawn.CUTOFF + dt.timedelta(days=8)])
@pytest.mark.parametrize(
    "ends", [drawn.ENDS, drawn.CUTOFF + dt.timedelta(days=28), drawn.CUTOFF + dt.timedelta(days=27)]
)
def test_labels_in_bulk(known_by: dt.date | None, ends: dt.date) -> None:
    events = drawn.histories(drawn.seeded(3), drawn.WAYS["all"], [f"c{n}" for n in range(200)], most=14)
    seen = compare_labels(events, ends, known_by)
    # thirteen columns, and a contract's that is known so many days later, wherever a cutoff's window is complete
    late = [0] * 13 + [7, 0, 1, 0, 3]
    whole = sum(c + dt.timedelta(days=28 + days) <= ends for c in drawn.CUTOFFS for days in late)
    assert seen == whole * (len(by_customer(events)) + 1)


def test_who_has_a_contract_in_force() -> None:
    events = drawn.histories(drawn.seeded(4), drawn.WAYS["all"], [f"c{n}" for n in range(300)], most=14)
    assert all(20 < inside < len(by_customer(events)) * 3 - 20 for inside in compare_in_force(events))


def compare_in_force(events: list[oracle.Event]) -> list[int]:
    """Compare who has a contract in force with the oracle; returns how many, by target."""
    customers, own = by_customer(events), {n: t for n, t in declared().items() if n in CONTRACTS}
    known = timeline.known_among(drawn.frame(events), timeline.pairs_of(customers, drawn.CUTOFFS))
    found = matrix.members(drawn.frame(events), known, own, drawn.WAYS["all"])
    for name, target in CONTRACTS.items():
        expected = [oracle.in_force(customers[who], cutoff, target) for who, cutoff in known.rows()]
        assert found[name].to_list() == expected, name
    return [int(found[name].sum()) for name in CONTRACTS]


def chain(pick: drawn.Pick, customer: str, term: int, grace: int) -> list[oracle.Event]:
    """Openings one term apart or a little more or less, some closed on the same day: earlier, then or later."""
    out, day = [], drawn.CUTOFF - dt.timedelta(days=pick(range(20, 100)))
    for _ in range(pick(range(1, 5))):
        for kind in pick((("visit",), ("visit",), ("visit", "e-mail"), ("e-mail",), ("e-mail", "survey"))):
            time = dt.datetime.combine(day, dt.time(12)) + dt.timedelta(hours=pick((-1, 0, 0, 1)))
            out.append(drawn.event(pick, customer, drawn.WAYS["all"]) | {"event_type": kind, "time": time})
        day += dt.timedelta(days=pick((term - 1, term, term + 1, term + grace - 1, term + grace, term + grace + 1)))
    return out


def test_contracts_on_the_edges() -> None:
    """Renewals around the end of the term and of the grace; openings and closings at one instant."""
    pick = drawn.seeded(8)
    events = [e for n in range(300) for e in chain(pick, f"c{n}", 40, (0, 1, 7)[n % 3])]
    for known_by in (None, drawn.CUTOFF + dt.timedelta(days=8)):
        compare_labels(events, drawn.ENDS, known_by)
    compare_in_force(events)


def test_both_kinds_of_ends_are_drawn() -> None:
    """Of each contract some end and some do not."""
    events = drawn.histories(drawn.seeded(3), drawn.WAYS["all"], [f"c{n}" for n in range(200)], most=14)
    for name, target in CONTRACTS.items():
        told = [oracle.label(own, drawn.CUTOFF, target, 28, 2, drawn.ENDS) for own in by_customer(events).values()]
        assert 10 < sum(v == 1 for v in told) < len(told) - 10, name


@pytest.mark.parametrize("seed", range(12))
def test_gap_quantile(seed: int) -> None:
    customers = [f"c{n}" for n in range(seed * 3)]
    events = drawn.histories(drawn.seeded(seed), drawn.WAYS["all"], customers)
    found = timeline.gap_quantile(drawn.frame(events), drawn.CUTOFF, 0.9)
    assert found == oracle.gap_quantile(list(by_customer(events).values()), drawn.CUTOFF, Fraction(9, 10))


def test_the_oracle_stands_alone() -> None:
    """It imports nothing of the package and no table library: a shared bug cannot hide in it."""
    with open(oracle.__file__, encoding="utf-8") as file:
        text = file.read()
    assert not any(word in text for word in ("churn_clv", "polars", "pandas", "numpy"))
    assert isinstance(drawn.frame([]), pl.DataFrame)
