"""The user's own targets in words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from churn_clv.wording._base import ECE_MARGIN, listed, rung

# What is shown of an event, and of a count or money; and what each is called.
EVENT = {"auroc": "AUC", "log_loss": "log loss", "ece": "ECE", "lift_top_decile": "lift"}
AMOUNT = {"gini": "Gini", "mae": "MAE", "tweedie_deviance": "Tweedie", "total_ratio": "total"}
POPULATIONS = {
    "eligible": "the eligible",
    "known": "everyone known",
    "prospects": "those who never bought",
    "one_order": "those with one purchase day",
    "lapsed": "the lapsed",
    "contract": "those whose contract is in force",
}
BETTER = {"ahead": "ahead of", "level": "level with", "behind": "behind"}


def target(found: Mapping[str, Any]) -> str:
    """Who was asked what, and how often it came; in a backtest over all its cutoffs."""
    who, n = POPULATIONS[found["population"]], f"{found['n']:,} customers"
    who += f" with {listed(found['has'])} before" if found["has"] else ""
    who += f" {'and' if found['has'] else 'with'} no {listed(found['has_not'])} before" if found["has_not"] else ""
    event = found["measure"] in ("absent", "present")
    came = f"{found['base']:.1%} of them" if event else f"{found['base']:.4g} on average"
    rows = f"{found['n']:,} customers' rows at {len(found['cutoffs'])} cutoffs" if "cutoffs" in found else n
    return f"{found['target']}, within {found['horizon_days']} days, of {who}: {rows}, {came}"


def shown(found: Mapping[str, Any]) -> dict[str, str]:
    """The metrics that tables show of a target, and what they are called."""
    return EVENT if found["measure"] in ("absent", "present") else AMOUNT


def target_rows(found: Mapping[str, Any]) -> list[dict[str, str]]:
    """The ladder as table rows; of a backtest the means over its cutoffs."""
    return [
        {"rung": "this run" if row["rung"] == "champion" else rung(row["rung"])}
        | {title: _number(row["mean" if "mean" in row else "metrics"][key]) for key, title in shown(found).items()}
        for row in found["ladder"]
    ]


def target_verdict(metric: str, found: Mapping[str, Any]) -> str:
    """One metric against the best rung, with its interval."""
    name = (EVENT | AMOUNT)[metric]
    return (
        f"{name}: {BETTER[found['verdict']]} {rung(found['rung'])} by {abs(found['difference']):.4f} "
        f"({found['low']:+.4f} to {found['high']:+.4f})"
    )


def target_weak(found: Mapping[str, Any]) -> list[str]:
    """Sentences: where a target is not ahead of every rung on its loss, or is not calibrated."""
    out, own = [], found["ladder"][0]["mean"]
    metric, verdict = next(iter(found["minus_best"].items()), (None, None))
    if metric is not None and verdict is not None and verdict["verdict"] != "ahead":
        word = "not shown to be better than" if verdict["verdict"] == "level" else "worse than"
        interval = f"95% interval of the difference {verdict['low']:+.4f} to {verdict['high']:+.4f}"
        name = (EVENT | AMOUNT)[metric]
        out.append(f"Target {found['target']}: on {name} it is {word} {rung(verdict['rung'])} ({interval}).")
    if own.get("ece") is not None and own["ece"] - own["ece_floor"] > ECE_MARGIN:
        out.append(
            f"Target {found['target']}: its calibration error is {own['ece'] - own['ece_floor']:.4f} above chance."
        )
    return out


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}" if abs(value) < 100 else f"{value:,.1f}"
