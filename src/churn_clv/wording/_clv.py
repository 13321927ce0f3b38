"""What a document says of value beyond the horizon."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from churn_clv.wording._base import Document, listed, number, percent, rung


def clv(found: Mapping[str, Any]) -> str:
    """What the CLV was judged at, how far its total was off, and how much of it is extrapolated."""
    total, worst, last = (number("spend_total_ratio", found[k]) for k in ("total_ratio", "worst", "last_window_worst"))
    cutoffs = listed([str(c) for c in found["cutoffs"]])
    return (
        f"CLV over {found['windows_judged']} windows of {found['window_days']} days, of everyone known at {cutoffs}: "
        f"the predicted total over the actual is {total} (farthest off {worst}), in the last window {last} at worst; "
        f"Gini {number('spend_gini', found['gini'])}. {percent(found['extrapolated_share'], '.0%')} of it lies beyond "
        "what the log had seen mature."
    )


def clv_rows(found: Mapping[str, Any]) -> list[dict[str, str]]:
    """A row per rung of the CLV's ladder."""
    heads = {"total": "total_ratio", "total, worst": "worst", "last window": "last_window_ratio"}
    return [
        {"rung": rung(row["rung"])} | {head: number("spend_total_ratio", row[key]) for head, key in heads.items()}
        | {"Gini": number("spend_gini", row["gini"]), "MAE": number("spend_mae", row["mae"])}
        for row in found["rungs"]
    ]  # fmt: skip


def clv_weak(document: Document) -> Iterator[str]:
    """Rungs whose CLV comes nearer in sum, or ranks better."""
    if not document["clv"]:
        return
    own, *others = document["clv"]["rungs"]
    nearer = [r for r in others if abs(r["total_ratio"] - 1) < abs(own["total_ratio"] - 1)]
    ranks = [r for r in others if number("spend_gini", r["gini"]) > number("spend_gini", own["gini"])]
    for said, key, form, found in (
        ("the total is nearer", "total_ratio", "spend_total_ratio", nearer),
        ("Gini is better", "gini", "spend_gini", ranks),
    ):
        if found:
            names = listed([f"{rung(r['rung'])} ({number(form, r[key])})" for r in found])
            yield f"On CLV {said} for {names} than for this model ({number(form, own[key])})."
