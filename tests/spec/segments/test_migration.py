"""Sizes and migration by hand: counts, money, who came, who has no segment."""

from __future__ import annotations

import polars as pl

from churn_clv.segments import NONE, UNKNOWN, matrix, migration, moved, sizes

NAMES = ("core", "low", "empty")
BEFORE = pl.DataFrame({"customer_id": ["a", "b", "c", "d", "x"], "tier": ["core", "core", "low", None, "low"],
                       "clv": [10.0, 20.0, 1.0, None, 2.0]})  # fmt: skip
AFTER = pl.DataFrame({"customer_id": ["b", "a", "c", "d", "e"], "tier": ["low", "core", "low", "core", "core"],
                      "clv": [5.0, 12.0, 1.5, 8.0, 7.0]})  # fmt: skip


def test_sizes_by_hand() -> None:
    """33 in all: core has 30 of it, low 3; one customer has neither segment nor value."""
    rows = sizes(BEFORE, "tier", NAMES, ["clv"])
    found = [(r["segment"], r["customers"], r["share"], r["clv"], r["clv_share"]) for r in rows]
    assert found == [("core", 2, 0.4, 30.0, 30 / 33), ("low", 2, 0.4, 3.0, 3 / 33), ("empty", 0, 0.0, None, None),
                     (NONE, 1, 0.2, None, None)]  # fmt: skip


def test_flows_by_hand() -> None:
    flows = migration(BEFORE, AFTER, "tier", "clv", NAMES)
    assert [tuple(f.values()) for f in flows] == [
        ("core", "core", 1, 10.0, 12.0), ("core", "low", 1, 20.0, 5.0), ("low", "low", 1, 1.0, 1.5),
        ("low", UNKNOWN, 1, 2.0, None), (NONE, "core", 1, None, 8.0), (UNKNOWN, "core", 1, None, 7.0),
    ]  # fmt: skip
    assert moved(flows) == {"stayed": 2, "moved": 2, "new": 1, "gone": 1}
    assert matrix(flows, "customers") == [
        {"from": "core", "core": 1, "low": 1, UNKNOWN: 0}, {"from": "low", "core": 0, "low": 1, UNKNOWN: 1},
        {"from": NONE, "core": 1, "low": 0, UNKNOWN: 0}, {"from": UNKNOWN, "core": 1, "low": 0, UNKNOWN: 0},
    ]  # fmt: skip
    assert matrix(flows, "money_after")[0] == {"from": "core", "core": 12.0, "low": 5.0, UNKNOWN: 0}


def test_flows_add_up_to_both_sizes() -> None:
    flows = migration(BEFORE, AFTER, "tier", "clv", NAMES)
    for scores, side in ((BEFORE, "from"), (AFTER, "to")):
        for row in sizes(scores, "tier", NAMES, ["clv"]):
            part = [f for f in flows if f[side] == row["segment"]]
            assert sum(f["customers"] for f in part) == row["customers"]
            money = "money_before" if side == "from" else "money_after"
            assert sum(f[money] or 0.0 for f in part) == (row["clv"] or 0.0)


def test_nobody_and_the_same() -> None:
    assert migration(BEFORE.clear(), AFTER.clear(), "tier", "clv", NAMES) == []
    assert moved(migration(AFTER, AFTER, "tier", "clv", NAMES)) == {"stayed": 5, "moved": 0, "new": 0, "gone": 0}
    assert sizes(BEFORE.clear(), "tier", NAMES, ["clv"])[0] == {
        "segment": "core", "customers": 0, "share": None, "clv": None, "clv_share": None}  # fmt: skip
