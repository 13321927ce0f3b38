"""Labels of one future agree with each other, and those of longer futures with those of shorter ones."""

from __future__ import annotations

import datetime as dt

import drawn
import oracle
import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from churn_clv import config, labels, timeline

ALL = drawn.WAYS["all"]
H = 14


def targets() -> dict[str, config.Target]:
    purchases, money = {"is_in": ["purchase"]}, {"is_in": ["purchase", "return"]}
    declared = {
        "churned": {"events": purchases, "measure": "absent"},
        "active": {"events": purchases, "measure": "present"},
        "occasions": {"events": purchases, "measure": "count"},
        "spend": {"events": money, "measure": "amount", "at_least": 0},
        "net": {"events": money, "measure": "amount"},
    }
    return config.from_dict({"dataset": "laws", "targets": declared}).targets


def labelled(events: list[oracle.Event], horizon: int, shift: int = 0) -> pl.DataFrame:
    cutoffs = [c + dt.timedelta(days=shift) for c in drawn.CUTOFFS]
    pairs = timeline.pairs_of({e["customer_id"] for e in events}, cutoffs)
    far = drawn.CUTOFF + dt.timedelta(days=999)
    out = labels.build(drawn.frame(events), pairs, targets(), horizon, minor_units=2, ends=far)
    return out.rename({c: c.removesuffix(f"_{horizon}d") for c in out.columns})


def agree(events: list[oracle.Event]) -> pl.DataFrame:
    """The laws; returns the labels of the shorter horizon."""
    short, long, next_ = labelled(events, H), labelled(events, 2 * H), labelled(events, H, H)
    for rows in (short, long):
        assert (rows["churned"] == 1 - rows["active"]).all()
        assert (rows["churned"] == (rows["occasions"] == 0).cast(pl.Float64)).all()
        assert (rows["spend"] == rows["net"].clip(0)).all()
        assert (rows["net_spend"] == rows["net"]).all()
        # who buys nothing that stands spends nothing
        assert rows.filter(pl.col("churned") == 1)["spend"].sum() == 0
    # two short futures make the long one
    assert (long["occasions"] == short["occasions"] + next_["occasions"]).all()
    assert (long["churned"] == short["churned"] * next_["churned"]).all()
    cents = [(rows["net"] * 100).round().cast(pl.Int64) for rows in (short, next_, long)]
    assert (cents[0] + cents[1] == cents[2]).all()
    return short


@given(events=drawn.drawn(ALL, customers=drawn.IDS, most=5))
@settings(max_examples=40, deadline=None)
def test_labels_agree_drawn(events: list[oracle.Event]) -> None:
    agree(events)


def test_labels_agree_in_bulk() -> None:
    rows = agree(drawn.bulk(16, 400, ALL, 20))
    assert 0 < rows["churned"].sum() < rows.height  # type: ignore[operator]
    assert (rows["spend"] > 0).any() and (rows["net"] < 0).any()
    assert rows.filter((pl.col("churned") == 0) & (pl.col("spend") == 0)).height > 0


def test_labels_do_not_depend_on_other_customers_or_order() -> None:
    events = drawn.bulk(17, 100, ALL)
    whole = labelled(events, H)
    some = sorted({e["customer_id"] for e in events})[::3]
    part = labelled([e for e in reversed(events) if e["customer_id"] in some], H)
    assert part.equals(whole.filter(pl.col("customer_id").is_in(some)))


def test_immature_labels_are_null_and_mature_ones_never() -> None:
    events = drawn.bulk(18, 30, ALL)
    pairs = timeline.pairs_of({e["customer_id"] for e in events}, drawn.CUTOFFS)
    for ends in (c + dt.timedelta(days=H) for c in drawn.CUTOFFS):
        rows = labels.build(drawn.frame(events), pairs, targets(), H, minor_units=2, ends=ends)
        mature = pl.col("cutoff") <= ends - dt.timedelta(days=H)
        for column in rows.columns[2:]:
            assert rows.filter(mature)[column].null_count() == 0
            assert rows.filter(~mature)[column].null_count() == rows.filter(~mature).height


# --- parts of the horizon -------------------------------------------------------------------------
EDGES = (3, 7, 10, H)


def parts_agree(events: list[oracle.Event], ends: dt.date, known_by: dt.date | None) -> pl.DataFrame:
    """At each edge the label of that horizon and the oracle's; returns the parts."""
    frame, target = drawn.frame(events), targets()["churned"]
    pairs = timeline.pairs_of({e["customer_id"] for e in events} | {"nobody"}, drawn.CUTOFFS)
    found = labels.by_parts(frame, pairs, target, EDGES, ends=ends, known_by=known_by)
    plain = {"column": "event_type", "is_in": ["purchase"], "measure": "absent", "at_least": None}
    for edge in EDGES:
        only = {"churned": target}
        whole = labels.build(frame, pairs, only, edge, minor_units=2, ends=ends, known_by=known_by)
        own = found[labels.column("churned", edge)]
        assert own.equals(whole[labels.column("churned", edge)], null_equal=True)
        slow = [
            oracle.label([e for e in events if e["customer_id"] == who], cutoff, plain, edge, 2, ends, known_by)
            for who, cutoff in pairs.rows()
        ]
        assert own.to_list() == slow
    return found


DAYS = st.none() | st.integers(-10, 40)


@given(events=drawn.drawn(ALL, customers=drawn.IDS[:3], most=5), ends=st.integers(-8, 40), known_by=DAYS)
@settings(max_examples=60, deadline=None)
def test_parts_of_the_horizon_agree_with_the_label_and_the_oracle(
    events: list[oracle.Event], ends: int, known_by: int | None
) -> None:
    by = None if known_by is None else drawn.CUTOFF + dt.timedelta(days=known_by)
    parts_agree(events, drawn.CUTOFF + dt.timedelta(days=ends), by)


def test_parts_of_the_horizon_in_bulk() -> None:
    rows = parts_agree(drawn.bulk(19, 150, ALL, 20), drawn.CUTOFF + dt.timedelta(days=9), drawn.CUTOFF)
    sums = [rows[labels.column("churned", e)].sum() for e in EDGES]
    assert 0 < sums[3] < sums[0] < rows.height
    customers = rows.height // 3
    assert rows.null_count().row(0) == (0, 0, customers, 2 * customers)  # 10 days fit at two cutoffs, 14 at one
