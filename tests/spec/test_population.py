"""Who is asked about: known customers get a row, eligible ones predictions, the others a reason."""

from __future__ import annotations

import datetime as dt

import drawn
import polars as pl
import pytest
from written import CUTOFF, NOON, back, buy, event, frame, midnight, part

from churn_clv import matrix, population, timeline

DAY = dt.timedelta(days=1)


@pytest.mark.parametrize(
    ("events", "reason"),
    [
        ([buy(1)], None),
        ([buy(56)], None),
        ([buy(56, at=NOON * 0)], None),
        ([buy(57, at=dt.timedelta(hours=23, minutes=59))], "lapsed"),
        ([buy(300), event("visit", 1)], "lapsed"),
        ([buy(5, 0)], None),
        ([buy(5, 20), back(5, 20)], "prospect"),
        ([buy(300), buy(5, 20), back(5, 20)], "lapsed"),
        ([buy(5, 20), back(4, 20)], None),
        ([event("visit", 1)], "prospect"),
        ([back(1)], "prospect"),
    ],
)
def test_reasons(events: list[dict[str, object]], reason: str | None) -> None:
    """Bought in the last 56 days, where a voided day is no purchase and a later return takes none away."""
    assert part(events, "eligible", "reason") == [reason is None, reason]


@pytest.mark.parametrize(("log_days", "reason"), [(27, "history_too_short"), (28, None)])
def test_history_too_short(log_days: int, reason: str | None) -> None:
    """The log must reach 28 days back; that of visits does not matter."""
    starts = drawn.definitions().starts | {"purchase": CUTOFF - log_days * DAY, "visit": CUTOFF - DAY}
    assert part([buy(1)], "reason", starts=starts) == [reason]


def test_the_first_reason_is_the_one_given() -> None:
    starts = dict.fromkeys(drawn.KINDS, CUTOFF - DAY)
    assert part([event("visit", 1)], "reason", starts=starts) == ["prospect"]
    assert part([buy(90)], "reason", starts=starts) == ["lapsed"]


def test_elementwise() -> None:
    rows = pl.DataFrame({"since": [None, 1, 56, 57], "cutoff": [CUTOFF] * 4}, schema_overrides={"since": pl.Float64})
    eligible, reason = population.eligibility(pl.col("since"), pl.col("cutoff"), drawn.definitions())
    found = rows.select(eligible=eligible, reason=reason)
    assert found["eligible"].to_list() == [False, True, True, False]
    assert found["reason"].to_list() == ["prospect", None, None, "lapsed"]


def test_who_is_known() -> None:
    """Any event before the cutoff; a customer of the future, or of nobody's log, has no row."""
    events = [
        buy(0, at=NOON * 0) | {"customer_id": "at the cutoff"},
        buy(0, at=-dt.timedelta(microseconds=1)) | {"customer_id": "an instant before"},
        buy(9) | {"customer_id": "known late", "known_at": midnight(0)},
        back(9) | {"customer_id": "returned only"},
        event("visit", 399) | {"customer_id": "visited once"},
    ]
    pairs = timeline.pairs_of([*(e["customer_id"] for e in events), "nobody"], [CUTOFF])
    rows = matrix.build(frame(events), pairs, drawn.definitions())
    assert rows["customer_id"].to_list() == ["an instant before", "returned only", "visited once"]
    assert rows["reason"].to_list() == [None, "prospect", "prospect"]
    later = matrix.build(frame(events), pairs.with_columns(cutoff=CUTOFF + DAY), drawn.definitions())
    assert later["customer_id"].to_list() == sorted(e["customer_id"] for e in events)


def test_nobody() -> None:
    """No events, no customers, or no pairs: an empty matrix with every column."""
    d, width = (
        drawn.definitions(),
        matrix.build(frame([buy(1)]), timeline.pairs_of(["c"], [CUTOFF]), drawn.definitions()).width,
    )
    for events, pairs in (
        ([], timeline.pairs_of(["c"], [CUTOFF])),
        ([buy(1)], timeline.pairs_of([], [CUTOFF])),
        ([buy(1)], timeline.pairs_of(["c"], [])),
        ([buy(-1)], timeline.pairs_of(["c"], [CUTOFF])),
    ):
        for eligible_only in (False, True):
            rows = matrix.build(frame(events), pairs, d, eligible_only=eligible_only)
            assert rows.shape == (0, width)


def test_rows_are_in_order_and_hashed_in_order() -> None:
    events = [buy(1) | {"customer_id": who} for who in ("b", "Z", "é", "a")]
    pairs = timeline.pairs_of("bZéa", [CUTOFF, CUTOFF - DAY]).sample(fraction=1, shuffle=True, seed=1)
    rows = matrix.build(frame(events), pairs, drawn.definitions())
    assert rows["customer_id"].to_list() == ["Z", "a", "b", "é"]
    assert matrix.order_hash(rows) != matrix.order_hash(rows.reverse())
    assert matrix.values(rows, ("spend", "gap_days_mean")).tolist()[0][0] == 10.0
    assert str(matrix.values(rows, ("spend", "gap_days_mean")).tolist()[0][1]) == "nan"
