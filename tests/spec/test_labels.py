"""What happened next, by hand: edges of the horizon, reversals, money, maturity, and what a log cannot answer."""

from __future__ import annotations

import datetime as dt
from typing import Any

import polars as pl
import pytest
from written import CUTOFF, INSTANT, NOON, back, buy, event, frame, midnight

from churn_clv import config, labels, timeline

DAY = dt.timedelta(days=1)
FAR = CUTOFF + 999 * DAY


def targets(**declared: dict[str, Any]) -> dict[str, config.Target]:
    return config.from_dict({"dataset": "hand", "targets": declared}).targets


PURCHASES = {"is_in": ["purchase"]}
USUAL = targets(
    churned={"events": PURCHASES, "measure": "absent"},
    spend={"events": {"is_in": ["purchase", "return"]}, "measure": "amount", "at_least": 0},
)


def of(events: list[dict[str, Any]], declared: dict[str, config.Target] = USUAL, **terms: Any) -> list[Any]:
    """The label columns of customer "c" at the cutoff, 28 days ahead."""
    rows = labels.build(
        frame(events), timeline.pairs_of(["c"], [CUTOFF]), declared, 28, **{"minor_units": 2, "ends": FAR} | terms
    )
    return list(rows.row(0)[2:])


@pytest.mark.parametrize(
    ("events", "churned", "spend", "net"),
    [
        ([], 1, 0.0, 0.0),
        ([buy(1)], 1, 0.0, 0.0),
        ([buy(0, 5, at=NOON * 0)], 0, 5.0, 5.0),  # the first instant of the window
        ([buy(0, 5, at=-INSTANT)], 1, 0.0, 0.0),
        ([buy(-27, 5)], 0, 5.0, 5.0),
        ([buy(-28, 5, at=-INSTANT)], 0, 5.0, 5.0),  # the last
        ([buy(-28, 5, at=NOON * 0)], 1, 0.0, 0.0),
        ([buy(-3, 0)], 0, 0.0, 0.0),  # an order of nothing is an order
        ([buy(-3, 5), back(-3, 5)], 1, 0.0, 0.0),  # voided the same day
        ([buy(-3, 5), back(-3, 7)], 1, 0.0, -2.0),
        ([buy(-3, 5), back(-3, 4)], 0, 1.0, 1.0),
        ([buy(-3, 5), back(-4, 5)], 0, 0.0, 0.0),  # returned a day later: bought, and nothing earned
        ([back(-3, 5)], 1, 0.0, -5.0),  # a return of what was bought before
        ([buy(-3, 5), back(-9, 20)], 0, 0.0, -15.0),
        ([buy(-3, 0.1), buy(-4, 0.2)], 0, 0.3, 0.3),  # exact: cents are added, not floats
        ([event("visit", -3)], 1, 0.0, 0.0),
    ],
)
def test_churned_and_spend(events: list[dict[str, Any]], churned: float, spend: float, net: float) -> None:
    assert of(events) == [churned, spend, net]


def test_names_say_target_and_horizon() -> None:
    rows = labels.build(frame([]), timeline.pairs_of(["c"], [CUTOFF]), USUAL, 28, minor_units=2, ends=FAR)
    assert rows.columns == ["customer_id", "cutoff", "churned_28d", "spend_28d", "net_spend_28d"]
    assert set(rows.dtypes[2:]) == {pl.Float64()}
    assert labels.column("churned", 7) == "churned_7d"


def test_a_target_may_have_its_own_horizon() -> None:
    """Bought on the tenth day: churned for a week, active for four."""
    declared = targets(
        churned={"events": PURCHASES, "measure": "absent", "horizon_days": 7},
        later={"events": PURCHASES, "measure": "absent"},
    )
    assert of([buy(-10)], declared) == [1.0, 0.0]


@pytest.mark.parametrize(("ends", "expected"), [(28, [1, 0, 0]), (27, [None] * 3), (29, [1, 0, 0])])
def test_null_until_the_window_is_complete(ends: int, expected: list[float | None]) -> None:
    assert of([], ends=CUTOFF + ends * DAY) == expected


def test_counts_and_other_predicates() -> None:
    declared = targets(
        occasions={"events": PURCHASES, "measure": "count"},
        visits={"events": {"is_in": ["visit", "mail"]}, "measure": "count"},
        tea={"events": {"column": "category", "is_in": ["tea"]}, "measure": "present"},
        sales={"events": PURCHASES, "measure": "amount"},
    )
    events = [
        buy(-3),
        buy(-3),
        buy(-4, category="tea"),
        event("visit", -1),
        event("visit", -1),
        event("mail", -2),
        back(-5),
    ]
    assert of(events, declared) == [2.0, 3.0, 1.0, 30.0]
    assert of([], declared) == [0.0, 0.0, 0.0, 0.0]


def test_a_category_is_counted_in_days_that_its_own_returns_leave_standing() -> None:
    """Tea on three days; on one of them it all comes back, and on another a cup does."""
    tea = {"column": "category", "is_in": ["tea"]}
    declared = targets(
        days={"events": tea, "measure": "count"},
        any={"events": tea, "measure": "present"},
        none={"events": tea, "measure": "absent"},
        net={"events": tea, "measure": "amount"},
        gross={"events": tea | {"event_types": ["purchase"]}, "measure": "amount"},
        looks={"events": tea | {"event_types": ["visit"]}, "measure": "count"},
    )
    leaf = {"category": "tea"}
    voided = [buy(-3, 5, **leaf), back(-3, 5, **leaf)]
    held = [buy(-4, 5, **leaf), buy(-4, 2, **leaf), back(-4, 9, category="cups"), buy(-5, 1, **leaf)]
    looks = [event("visit", -6, **leaf), event("visit", -6, **leaf), event("visit", -6)]
    assert of(voided + held + looks, declared) == [2.0, 1.0, 0.0, 8.0, 13.0, 2.0]
    assert of(voided, declared) == [0.0, 0.0, 1.0, 0.0, 5.0, 0.0]
    assert of([buy(-3, category="cups"), buy(-3)], declared) == [0.0, 0.0, 1.0, 0.0, 0.0, 0.0]


def test_a_currency_without_cents() -> None:
    assert of([buy(-3, 5)], minor_units=0) == [0, 500.0, 500.0]


def test_rows_keep_the_order_of_the_pairs() -> None:
    events = [buy(-3) | {"customer_id": "b"}, buy(-3) | {"customer_id": "d"}]
    pairs = pl.DataFrame({"customer_id": list("dcba"), "cutoff": [CUTOFF] * 4})
    rows = labels.build(frame(events), pairs, USUAL, 28, minor_units=2, ends=FAR)
    assert rows["customer_id"].to_list() == list("dcba")
    assert rows["churned_28d"].to_list() == [0, 1, 0, 1]


@pytest.mark.parametrize(
    ("target", "types", "columns", "why"),
    [
        ({"events": {"is_in": ["cancel"]}, "measure": "present"}, ("purchase", "visit"), (), "type cancel"),
        ({"events": {"column": "category", "is_in": ["tea"]}, "measure": "count"}, ("purchase",), (), "'category'"),
        ({"events": PURCHASES, "measure": "amount"}, ("purchase",), ("category",), "'amount'"),
        ({"events": PURCHASES, "measure": "amount"}, ("purchase",), ("amount",), None),
        ({"events": {"is_in": ["purchase", "return"]}, "measure": "absent"}, ("purchase",), (), None),
        ({"events": PURCHASES, "measure": "present", "has": {"is_in": ["mail"]}}, ("purchase",), (), "had events of"),
        (
            {"events": PURCHASES, "measure": "present", "has_not": {"column": "channel", "is_in": ["web"]}},
            ("purchase",),
            (),
            "'channel'",
        ),
        (
            {"events": {"column": "category", "is_in": ["tee"]}, "measure": "count"},
            ("purchase",),
            ("category",),
            "no event has the category tee. Did you mean 'tea'",
        ),
        (
            {"events": {"column": "category", "is_in": ["tea", "tee"]}, "measure": "count"},
            ("purchase",),
            ("category",),
            None,
        ),
        (
            {"events": {"column": "category", "is_in": ["tea"], "event_types": ["look"]}, "measure": "count"},
            ("purchase",),
            ("category",),
            "type look",
        ),
    ],
)
def test_what_a_log_cannot_answer(
    target: dict[str, Any], types: tuple[str, ...], columns: tuple[str, ...], why: str | None
) -> None:
    found = labels.refused(targets(asked=target), types, columns, {"category": ("cups", "tea")})
    assert found.keys() == (set() if why is None else {"asked"})
    assert why is None or why in found["asked"]


def test_return_rate() -> None:
    """Two churned; one of them buys on the last day of the 14 that follow the horizon, the other a day later."""
    events = [
        buy(-28 - 13) | {"customer_id": "a"},
        buy(-28 - 14) | {"customer_id": "b"},
        buy(-5) | {"customer_id": "c"},
    ]
    pairs = timeline.pairs_of("abc", [CUTOFF])
    churned = labels.build(frame(events), pairs, USUAL, 28, minor_units=2, ends=FAR)["churned_28d"]
    assert churned.to_list() == [1, 1, 0]
    assert labels.return_rate(frame(events), pairs, churned, 28, 14) == 0.5
    assert labels.return_rate(frame(events), pairs, churned, 28, 15) == 1.0
    assert labels.return_rate(frame(events), pairs, churned * 0, 28, 14) is None


# --- parts of the horizon -------------------------------------------------------------------------
EDGES = (7, 14, 28)


def parts(
    log: list[dict[str, Any]], target: config.Target = USUAL["churned"], edges: tuple[int, ...] = EDGES, **terms: Any
) -> list[Any]:
    """Churned by each edge, of customer "c" at the cutoff."""
    pairs = timeline.pairs_of(["c"], [CUTOFF])
    rows = labels.by_parts(frame(log), pairs, target, edges, **{"ends": FAR} | terms)
    assert rows.columns == [f"churned_{e}d" for e in edges] and set(rows.dtypes) == {pl.Float64()}
    return list(rows.row(0))


@pytest.mark.parametrize(
    ("events", "churned"),
    [
        ([], [1, 1, 1]),
        ([buy(1)], [1, 1, 1]),
        ([buy(0, at=NOON * 0)], [0, 0, 0]),  # the first instant
        ([buy(0, at=-INSTANT)], [1, 1, 1]),
        ([buy(-7, at=-INSTANT)], [0, 0, 0]),  # the last of the first part
        ([buy(-7, at=NOON * 0)], [1, 0, 0]),
        ([buy(-14, at=-INSTANT)], [1, 0, 0]),
        ([buy(-14, at=NOON * 0)], [1, 1, 0]),
        ([buy(-28, at=-INSTANT)], [1, 1, 0]),
        ([buy(-28, at=NOON * 0)], [1, 1, 1]),
        ([buy(-20), buy(-3)], [0, 0, 0]),  # the next one counts, whatever comes after
        ([buy(-3, 5), back(-3, 5)], [1, 1, 1]),  # voided the same day
        ([buy(-3, 5), back(-3, 5), buy(-9)], [1, 0, 0]),
        ([buy(-3, 5), back(-4, 5)], [0, 0, 0]),  # returned a day later: bought
        ([event("visit", -3)], [1, 1, 1]),
    ],
)
def test_churned_by_parts(events: list[dict[str, Any]], churned: list[float]) -> None:
    assert parts(events) == churned


def test_a_part_is_null_until_it_is_complete() -> None:
    assert [parts([], ends=CUTOFF + days * DAY) for days in (6, 7, 13, 14, 28)] == [
        [None, None, None],
        [1, None, None],
        [1, None, None],
        [1, 1, None],
        [1, 1, 1],
    ]
    assert parts([buy(-1)], ends=CUTOFF + 7 * DAY) == [0, None, None]  # though all is said already


def test_parts_count_what_was_known_by_a_midnight() -> None:
    bought_late = [buy(-1, known_at=midnight(-30))]
    assert [parts(bought_late, known_by=CUTOFF + d * DAY) for d in (30, 31)] == [[1, 1, 1], [0, 0, 0]]
    assert parts(bought_late) == [0, 0, 0]
    voided_late = [buy(-1, 5), back(-1, 5, known_at=midnight(-30))]
    assert [parts(voided_late, known_by=CUTOFF + d * DAY) for d in (30, 31)] == [[0, 0, 0], [1, 1, 1]]


@pytest.mark.parametrize(
    ("predicate", "expected"),
    [
        ({"is_in": ["visit"]}, [1, 0, 0]),
        ({"is_in": ["visit", "purchase"]}, [0, 0, 0]),  # lines, not occasions: a voided order is one
        ({"is_in": ["purchase"]}, [1, 1, 0]),
        ({"column": "category", "is_in": ["tea"]}, [1, 1, 0]),
        ({"column": "product_id", "is_in": ["p9"]}, [1, 1, 1]),
    ],
)
def test_parts_of_other_predicates(predicate: dict[str, Any], expected: list[float]) -> None:
    log = [buy(-2, 5, category="cups"), back(-2, 5), event("visit", -9), event("visit", -9), buy(-20, category="tea")]
    target = targets(churned={"events": predicate, "measure": "absent"})["churned"]
    assert parts(log, target) == expected
    whole = labels.build(
        frame(log), timeline.pairs_of(["c"], [CUTOFF]), {"churned": target}, 28, minor_units=2, ends=FAR
    )
    assert whole["churned_28d"].to_list() == expected[-1:]


def test_parts_keep_the_order_of_the_pairs() -> None:
    log = [buy(-3) | {"customer_id": "b"}, buy(-10) | {"customer_id": "d"}, buy(-3) | {"customer_id": "unasked"}]
    pairs = pl.DataFrame({
        "customer_id": ["d", "c", "b", "d", "b"],
        "cutoff": [CUTOFF, CUTOFF, CUTOFF, CUTOFF + 5 * DAY, CUTOFF + 5 * DAY],
    })  # fmt: skip
    rows = labels.by_parts(frame(log), pairs, USUAL["churned"], (7, 14), ends=FAR)
    assert rows.rows() == [(1, 0), (1, 1), (0, 0), (0, 0), (1, 1)]
    none = labels.by_parts(frame(log), pairs.head(0), USUAL["churned"], (7, 14), ends=FAR)
    assert none.shape == (0, 2)


# --- windows one after the other --------------------------------------------------------------------
def test_windows_by_hand() -> None:
    """Window 0 is the horizon; a window clips at zero on its own; one that is not complete is not there."""
    log = frame([
        buy(1, 99), buy(0, 5), back(0, 5), buy(-3, 7), buy(-3, 4), buy(-27, 2, at=NOON), buy(-28, 3, at=NOON * 0),
        back(-40, 10), buy(-83, 8), buy(-84, 6),
    ])  # fmt: skip
    pairs = timeline.pairs_of(["c", "nobody"], [CUTOFF])

    def found(ends: dt.date) -> list[Any]:
        return labels.by_windows(log, pairs, USUAL["spend"], 28, minor_units=2, ends=ends).rows()

    whole = [(0, 0, 2.0, 13.0), (0, 1, 1.0, 0.0), (0, 2, 1.0, 8.0), (0, 3, 1.0, 6.0)]
    assert found(CUTOFF + 112 * DAY) == whole
    assert found(CUTOFF + 111 * DAY) == whole[:3] and found(CUTOFF + 84 * DAY) == whole[:3]
    assert found(CUTOFF + 83 * DAY) == whole[:2] and found(CUTOFF + 27 * DAY) == []


def test_the_first_window_is_what_the_labels_say() -> None:
    log = frame([buy(-1, 5), buy(-9, 7), back(-9, 7), back(-12, 2), event("visit", -3), buy(-30, 1)])
    pairs = timeline.pairs_of(["c"], [CUTOFF])
    told = labels.build(log, pairs, USUAL, 28, minor_units=2, ends=FAR)
    rows = labels.by_windows(log, pairs, USUAL["spend"], 28, minor_units=2, ends=CUTOFF + 28 * DAY)
    assert rows.rows() == [(0, 0, 1.0, told["spend_28d"][0])] and told["churned_28d"][0] == 0
