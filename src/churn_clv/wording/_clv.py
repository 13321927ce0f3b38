"""What a document says of value beyond the horizon."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from churn_clv.wording._base import Document, listed, number, percent, rung

CHAMPION = "champion"


def clv(found: Mapping[str, Any]) -> str:
    """What the CLV was judged at, how far its total was off, and how much of it is extrapolated."""
    total, worst, last = (number("spend_total_ratio", found[k]) for k in ("total_ratio", "worst", "last_window_worst"))
    cutoffs = listed([str(c) for c in found["cutoffs"]])
    gini, first = (number("spend_gini", found[k]) for k in ("gini", "horizon_gini"))
    return (
        f"CLV over {found['windows_judged']} windows of {found['window_days']} days, of everyone known at {cutoffs}: "
        f"the predicted total over the actual is {total} (farthest off {worst}), in the last window {last} at worst; "
        f"Gini {gini} (of the first window alone {first}). {percent(found['extrapolated_share'], '.0%')} of it lies "
        f"beyond what the log had seen mature. {_bounds(found['bounds'])}{_margins(found.get('margin'))}"
    )


def _margins(found: Mapping[str, Any] | None) -> str:
    """How the margins that were expected came, by each customer's own rate and by one for all."""
    if found is None:
        return ""
    own, one = found["own_rates"], found["one_rate"]
    return (
        f" In margin, by each customer's own rate, the total is {number('spend_total_ratio', own['total_ratio'])} of "
        f"the actual, Gini {number('spend_gini', own['gini'])}, mean error {number('spend_mae', own['mae'])}; by one "
        f"rate for all {number('spend_total_ratio', one['total_ratio'])}, {number('spend_gini', one['gini'])} and "
        f"{number('spend_mae', one['mae'])}."
    )


def _bounds(found: Mapping[str, Any] | None) -> str:
    """How often the bounds of a customer's CLV missed, and whether the total lay within its band."""
    if found is None:
        return "Its bounds are not judged: the log holds no number of months twice."
    low, high = (format(end, ".2f") for end in found["total_band"])
    above, below = percent(found["miss_above"]), percent(found["miss_below"])
    level = found.get("miss_above_level_aside")
    above += " lie above" if level is None else f" lie above ({percent(level)} had the total been right)"
    below = "none below (the lower ends are 0)" if found["miss_below"] is None else f"{below} below"
    return (
        f"Bounds of {found['months']} months, learnt at {listed(found['learnt_at'])} and judged at {found['cutoff']} "
        f"on {found['n']:,} customers: {above} and {below} (meant: 10%, at most 10%); the predicted total "
        f"over the actual is {number('spend_total_ratio', found['total_ratio'])}, "
        f"{'within' if found['total_inside'] else 'outside'} its band of {low} to {high}."
    )


def orders(document: Document) -> str:
    """How far expected orders were off at each test cutoff, beside those of the last horizon."""
    said = [
        f"{row['cutoff']}: the predicted total over the actual is {number('spend_total_ratio', row['total_ratio'])} "
        f"(last horizon's orders {number('spend_total_ratio', row['last_horizon_ratio'])}), Poisson deviance "
        f"{number('churn_log_loss', row['deviance'])} ({number('churn_log_loss', row['last_horizon_deviance'])})"
        for row in document["orders"]
    ]
    return f"Expected orders in the horizon at {'; '.join(said)}."


def clv_rows(found: Mapping[str, Any]) -> list[dict[str, str]]:
    """A row per rung of the CLV's ladder."""
    heads = {"total": "total_ratio", "total, worst": "worst", "last window": "last_window_ratio"}
    return [
        {"rung": rung(row["rung"])} | {head: number("spend_total_ratio", row[key]) for head, key in heads.items()}
        | {"Gini": number("spend_gini", row["gini"]), "MAE": number("spend_mae", row["mae"])}
        for row in found["rungs"]
    ]  # fmt: skip


def clv_deciles(found: Mapping[str, Any]) -> list[dict[str, str]]:
    """Mean CLV of each tenth of the customers, by this model, by BTYD, and as it came; lowest first."""
    shown = {"this model": CHAMPION, "BTYD": "btyd", "came": "actual"}
    return [
        {"tenth": str(row["decile"]), "customers": f"{row['n']:,.0f}"}
        | {head: number("spend_mae", row[key]) for head, key in shown.items()}
        for row in found["deciles"]
    ]


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
