"""Features and labels hold only what was known: nothing after the cutoff moves a feature, and a leak is caught."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable

import drawn
import oracle
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from churn_clv import config, features, labels, matrix, timeline
from churn_clv.features import recency
from churn_clv.features._feature import Feature, statistic
from churn_clv.timeline import Definitions

Build = Callable[[list[oracle.Event], Definitions], pl.DataFrame]
ALL = drawn.WAYS["all"]
DAY = dt.timedelta(days=1)
NOON = dt.timedelta(hours=12)


def midnight(days_before: int) -> dt.datetime:
    return oracle.midnight(drawn.CUTOFF) - days_before * DAY


def unseen(events: list[oracle.Event]) -> list[oracle.Event]:
    """Events at or after the cutoff, or not known before it."""
    past = oracle.past(events, drawn.CUTOFF)
    return [e for e in events if e not in past]


def blind_to_the_future(build: Build, mine: list[oracle.Event], tomorrow: list[oracle.Event]) -> None:
    """The law: whatever is not past may be added, changed or removed."""
    past = oracle.past(mine, drawn.CUTOFF)
    kept = {e["customer_id"] for e in past}
    assert unseen(tomorrow), "nothing planted: the law would hold of anything"
    expected = build(past, ALL)
    for future in (unseen(mine), unseen(tomorrow)):
        found = build([*past, *future], ALL).filter(pl.col("customer_id").is_in(list(kept)))
        assert found.equals(expected)


@pytest.mark.parametrize("seed", range(3))
def test_blind_to_the_future_in_bulk(seed: int) -> None:
    blind_to_the_future(drawn.matrix_of, drawn.bulk(seed, 150, ALL), drawn.bulk(seed + 100, 150, ALL))


@given(mine=drawn.drawn(ALL), seed=st.integers(0, 10**6))
@settings(max_examples=15, deadline=None)
def test_blind_to_the_future_drawn(mine: list[oracle.Event], seed: int) -> None:
    blind_to_the_future(drawn.matrix_of, mine, drawn.histories(drawn.seeded(seed), ALL, drawn.IDS, 20))


def test_a_feature_that_peeks_is_caught() -> None:
    """Control: the law fails of a matrix with one column from after the cutoff."""

    def peeking(events: list[oracle.Event], d: Definitions) -> pl.DataFrame:
        rows = drawn.matrix_of(events, d)
        pairs = rows.select("customer_id", "cutoff")
        seen = timeline.future(drawn.frame(events), pairs, 1).group_by("row").agg(tomorrow=pl.len()).collect()
        return rows.with_row_index("row").join(seen, on="row", how="left", maintain_order="left").drop("row")

    with pytest.raises(AssertionError):
        blind_to_the_future(peeking, drawn.bulk(0, 150, ALL), drawn.bulk(100, 150, ALL))


@pytest.mark.parametrize("slip", ["cutoff", "known_at"])
def test_a_door_left_ajar_is_caught(slip: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Control: the law fails where the past lets in the cutoff's own day, or what was known late."""

    class Ajar(timeline.Past):
        def __init__(self, frame: pl.DataFrame, pairs: pl.DataFrame) -> None:
            if slip == "known_at":
                super().__init__(frame.with_columns(known_at=pl.lit(None, dtype=frame.schema["known_at"])), pairs)
            else:
                super().__init__(frame.with_columns(pl.col("time", "known_at").dt.offset_by("-1d")), pairs)

    events, tomorrow = drawn.bulk(0, 150, ALL), drawn.bulk(100, 150, ALL)
    monkeypatch.setattr(timeline, "Past", Ajar)
    with pytest.raises(AssertionError):
        blind_to_the_future(drawn.matrix_of, events, tomorrow)


def test_a_planted_feature_cannot_reach_tomorrow(monkeypatch: pytest.MonkeyPatch) -> None:
    """An author who asks the past for its newest day gets the cutoff's eve at best."""

    def greedy(definitions: Definitions) -> list[Feature]:
        return [*original(definitions), statistic("newest", pl.col("age_days").min(), "days")]

    original = recency.features
    monkeypatch.setattr(recency, "features", greedy)
    events = drawn.bulk(1, 80, ALL)
    rows = features.build(
        timeline.Past(drawn.frame(events), timeline.pairs_of({e["customer_id"] for e in events}, [drawn.CUTOFF])),
        ALL,
        ("newest",),
    )
    assert rows["newest"].drop_nulls().min() == 1.0


# --- late knowledge -----------------------------------------------------------------------------
def bought(
    days_before: int, amount: int = 1000, known_at: dt.datetime | None = None, kind: str = "purchase"
) -> oracle.Event:
    """One event of customer c at noon."""
    return dict.fromkeys(drawn.LOG_SCHEMA) | {
        "customer_id": "c", "time": midnight(days_before) + NOON, "known_at": known_at, "event_type": kind,
        "amount": amount,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("cutoff_in_days", "spend", "days"), [(-8, 10.0, 1.0), (-3, 10.0, 1.0), (-2, 0.0, 0.0), (0, 0.0, 0.0)]
)
def test_a_reversal_is_unknown_before_its_own_date(cutoff_in_days: int, spend: float, days: float) -> None:
    """Bought and cancelled on one day ten days ago; the cancellation became known three days ago at noon."""
    events = [bought(10), bought(10, -1000, midnight(3) + NOON, "return")]
    row = drawn.matrix_of(events, ALL, [drawn.CUTOFF + cutoff_in_days * DAY]).row(0, named=True)
    assert (row["spend"], row["purchase_days"]) == (spend, days)
    assert row["return_days"] == (0.0 if spend else 1.0)


@pytest.mark.parametrize("kind", ["purchase", "return"])
def test_a_return_lowers_money_on_its_own_day_only(kind: str) -> None:
    """Bought 40 days ago, returned 5 days ago: the window in between still holds the sale."""
    events = [bought(40, 3000), bought(5, -3000 if kind == "return" else 3000, None, kind)]
    then, now = (drawn.matrix_of(events, ALL, [drawn.CUTOFF - n * DAY]).row(0, named=True) for n in (5, 0))
    assert (then["spend"], then["spend_last_56d"], then["purchase_days"]) == (30.0, 30.0, 1.0)
    assert now["spend_last_7d"] == (-30.0 if kind == "return" else 30.0)
    assert now["purchase_days"] == (1.0 if kind == "return" else 2.0)


def targets() -> dict[str, config.Target]:
    churned = {"events": {"is_in": ["purchase"]}, "measure": "absent"}
    spend = {"events": {"is_in": ["purchase", "return"]}, "measure": "amount", "at_least": 0}
    return config.from_dict({"dataset": "late", "targets": {"churned": churned, "spend": spend}}).targets


@pytest.mark.parametrize(
    ("known_at", "known_by", "churned"),
    [
        (None, None, 0.0),
        (None, 0, 0.0),
        (midnight(0), 0, 1.0),
        (midnight(0) - drawn.SECOND, 0, 0.0),
        (midnight(0), -1, 0.0),
        (midnight(0), None, 0.0),
    ],
)
def test_known_by_keeps_late_labels_out(known_at: dt.datetime | None, known_by: int | None, churned: float) -> None:
    """A purchase in the window of a cutoff 28 days ago; the label is learnt from at the cutoff, or read later."""
    pairs = timeline.pairs_of(["c"], [drawn.CUTOFF - 28 * DAY])
    by = None if known_by is None else drawn.CUTOFF - known_by * DAY
    frame = drawn.frame([bought(40), bought(1, 1000, known_at)])
    row = labels.build(frame, pairs, targets(), 28, minor_units=2, ends=drawn.CUTOFF, known_by=by).row(0, named=True)
    assert (row["churned_28d"], row["spend_28d"]) == (churned, 0.0 if churned else 10.0)


def test_late_events_do_not_make_a_customer_known() -> None:
    events = [bought(10, 1000, midnight(2))]
    keys = matrix.build(
        drawn.frame(events), timeline.pairs_of(["c"], [drawn.CUTOFF - n * DAY for n in (3, 2, 1, 0)]), ALL
    )["cutoff"].to_list()  # fmt: skip
    assert keys == [drawn.CUTOFF - 1 * DAY, drawn.CUTOFF]


def test_the_gap_learnt_from_the_log_ends_at_its_cutoff() -> None:
    """Purchases at or after ``as_of``, or known only then, do not shorten the population's gap."""
    early = [bought(90), bought(60)]
    late = [bought(5), bought(-5), bought(70, 100, midnight(10))]
    as_of = drawn.CUTOFF - 10 * DAY
    assert timeline.gap_quantile(drawn.frame(early), as_of) == 50
    assert timeline.gap_quantile(drawn.frame([*early, *late]), as_of) == 50
    assert timeline.gap_quantile(drawn.frame([*early, *late]), drawn.CUTOFF) == 55
