"""How customers spread over segments, and how they moved between two cutoffs: by count and by money."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import polars as pl

# Who has no segment in a column, and who was not known at the earlier cutoff (or is not at the later one).
NONE, UNKNOWN = "none", "not known"


def sizes(scores: pl.DataFrame, column: str, names: Sequence[str], money: Sequence[str]) -> list[dict[str, Any]]:
    """One row a segment of ``names``, in their order, and one for NONE where there is any.

    ``segment``, ``customers``, their ``share``, and of each ``money`` column the sum (None without any value) and
    ``<money>_share`` of the whole's.
    """
    own = scores.select(pl.col(column).fill_null(NONE).alias("segment"), *money)
    wholes = {name: _sum(own[name]) for name in money}
    out = []
    for name in [*names, *([NONE] if NONE in own["segment"] else [])]:
        rows = own.filter(segment=name)
        sums = {part: _sum(rows[part]) for part in money}
        shares = {f"{part}_share": _part(sums[part], wholes[part]) for part in money}
        out.append({"segment": name, "customers": rows.height, "share": _part(rows.height, own.height)} | sums | shares)
    return out


def migration(
    before: pl.DataFrame, after: pl.DataFrame, column: str, money: str, names: Sequence[str]
) -> list[dict[str, Any]]:
    """The flows between two scorings (each customer_id once): one row for each pair of segments with anyone in it.

    ``from``, ``to`` (in the order of ``names``, then NONE, then UNKNOWN), ``customers``, ``money_before`` and
    ``money_after`` (sums; None where nobody of them has a value). Sums over ``to`` are the earlier sizes, over
    ``from`` the later ones.
    """

    def part(scores: pl.DataFrame, word: str) -> pl.DataFrame:
        return scores.select(
            "customer_id", pl.col(column).fill_null(NONE).alias(word), pl.col(money).alias(f"m_{word}")
        )

    both = part(before, "from").join(part(after, "to"), on="customer_id", how="full", coalesce=True)
    both = both.with_columns(pl.col("from", "to").fill_null(UNKNOWN)).sort("customer_id")
    order = [*names, NONE, UNKNOWN]
    groups = both.partition_by("from", "to", as_dict=True)
    return [
        {"from": a, "to": b, "customers": rows.height,
         "money_before": _sum(rows["m_from"]), "money_after": _sum(rows["m_to"])}
        for a in order for b in order if (rows := groups.get((a, b))) is not None
    ]  # fmt: skip


def matrix(flows: Sequence[dict[str, Any]], value: str) -> list[dict[str, Any]]:
    """The flows as a table: one row a segment left, with ``value`` by segment reached (0 where nobody moved so)."""
    order = list(dict.fromkeys([f["from"] for f in flows] + [f["to"] for f in flows]))
    reached = [name for name in order if any(f["to"] == name for f in flows)]
    found = {(f["from"], f["to"]): f[value] or 0 for f in flows}
    left = dict.fromkeys(f["from"] for f in flows)
    return [{"from": a} | {b: found.get((a, b), 0) for b in reached} for a in left]


def moved(flows: Sequence[dict[str, Any]]) -> dict[str, int]:
    """Of those known at both cutoffs who ``stayed`` in their segment and who ``moved``; who came to be known (``new``)
    and who is no longer (``gone``)."""  # fmt: skip
    out = dict.fromkeys(("stayed", "moved", "new", "gone"), 0)
    for f in flows:
        if f["from"] == UNKNOWN:
            kind = "new"
        elif f["to"] == UNKNOWN:
            kind = "gone"
        else:
            kind = "stayed" if f["from"] == f["to"] else "moved"
        out[kind] += f["customers"]
    return out


def _sum(column: pl.Series) -> float | None:
    """The sum, the same in whatever order the rows come; None without any value."""
    values = column.drop_nulls()
    return math.fsum(values) if values.len() else None


def _part(of: float | None, whole: float | None) -> float | None:
    return of / whole if of is not None and whole else None
