"""Numbers as the report's reader meets them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from churn_clv.report.html import paragraph

Document = Mapping[str, Any]
NONE = "-"


def number(value: float | None, unit: str, signed: bool = False) -> str:
    """A KPI's number in its unit: share, money, number, points, months, times."""
    if value is None:
        return NONE
    sign = "+" if signed else ""
    if unit == "share":
        return f"{100 * value:{sign}.1f}{' points' if signed else '%'}"
    if unit == "money":
        return f"{value:{sign},.0f}" if abs(value) >= 1000 else f"{value:{sign},.2f}"
    if unit == "months":
        return f"{value:{sign}.0f} months"
    if unit == "times":
        return f"{value:{sign},.2f}x"
    return f"{value:{sign},.0f}"


def interval(row: Document) -> str:
    """From to, or nothing."""
    if row["low"] is None or row["high"] is None:
        return NONE
    return f"{number(row['low'], row['unit'])} to {number(row['high'], row['unit'])}"


def money(value: float | None) -> str:
    return number(value, "money")


def share(value: float | None, digits: int = 1) -> str:
    return NONE if value is None else f"{value:.{digits}%}"


def words(name: str) -> str:
    return name.replace("_", " ")


def missing(found: Document) -> str:
    """What a section lacks, and how to give it; nothing where nothing is missing."""
    if found.get("missing") is None:
        return ""
    return paragraph(f"Missing: {found['missing']}. To have it: {found['how']}.", "missing")
