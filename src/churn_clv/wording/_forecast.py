"""What a sales forecast says beside a backtest."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

PARTS = {"known": "known customers", "new": "new customers", "total": "total"}


def forecast(found: Mapping[str, Any]) -> str:
    """What the next horizon is to bring, and how far the same was off before, beside the last horizon again."""
    total, currency = found["total"], found["currency"]
    said = (
        f"The {found['horizon_days']} days from {found['cutoff']} on are to bring {total['expected']:,.0f} {currency}, "
        f"in 9 of 10 cases {total['low']:,.0f} to {total['high']:,.0f}; {found['new']['expected']:,.0f} of it from "
        f"customers who are not known yet. Season {found['season']}: {found['season_note']}. {found['origins_note']}"
    )
    if found["mape"] is None:
        return f"{said}; no origin's window brought anything."
    return (
        f"{said}: off by {found['mape']:.1%} on average, and by {found['naive_mape']:.1%} where the last horizon is "
        f"repeated; {found['inside_band']} of the {found['banded_origins']} that had a band lay in it."
    )


def forecast_rows(found: Mapping[str, Any]) -> list[dict[str, str]]:
    """A row each for known customers, new ones and the total."""
    return [
        {"of": name} | {key: f"{found[part][key]:,.0f}" for key in ("expected", "low", "high")}
        for part, name in PARTS.items()
    ]
