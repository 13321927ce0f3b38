"""Which column tells the margin of a line, or what it cost: only one that fits the amounts beside it."""

from __future__ import annotations

from typing import Any

import polars as pl

from churn_clv.guess._roles import Part
from churn_clv.guess._write import listed

# So many lines must have a margin no larger than their amount, or a cost of its sign.
FITS = 0.95


def margin(parts: dict[str, Part], amount: Any) -> tuple[str, Any, str] | None:
    """``margin`` or ``cost``, its mapping and the evidence; None where no column tells one, or none that fits.

    ``amount`` is the amount's mapping. A column between 0 and 1 is a rate, not money.
    """
    money = _numbers(amount, parts)
    for role in ("margin", "cost", "unit_cost"):
        if role not in parts:
            continue
        mapping: Any = parts[role].column.name
        if role == "unit_cost":
            if "quantity" not in parts:
                continue
            mapping = {"multiply": [parts["quantity"].column.name, mapping]}
        told = _numbers(mapping, parts)
        frame = pl.DataFrame({"told": told, "money": money}).drop_nulls()
        inside = (
            pl.col("told").abs() <= pl.col("money").abs() if role == "margin" else pl.col("told") * pl.col("money") >= 0
        )
        share = frame.filter(inside).height / max(frame.height, 1)
        if share < FITS or (role == "margin" and frame.filter(pl.col("told").abs() > 1).is_empty()):
            continue
        said = ["CHECK: money of the whole line" + (" that is left of its amount" if role == "margin" else "")]
        said += [parts[role].column.evidence, _fits(role, share)]
        others = [parts[r].column.name for r in ("margin", "cost", "unit_cost") if r in parts and r != role]
        said += [f"or {listed(others)}"] if others else []
        return "margin" if role == "margin" else "cost", mapping, "; ".join(said)
    return None


def _fits(role: str, share: float) -> str:
    return f"{'no larger than the amount' if role == 'margin' else 'of its sign'} on {share:.0%} of the lines"


def _numbers(mapping: Any, parts: dict[str, Part]) -> pl.Series:
    """The numbers of a column, or of a product of columns."""
    held = {part.column.name: part.column.numbers for part in parts.values()}
    names = [mapping] if isinstance(mapping, str) else mapping["multiply"]
    frame = pl.DataFrame({name: held[name] for name in names})
    return frame.select(pl.reduce(lambda a, b: a * b, [pl.col(name) for name in names]).alias("n")).to_series()
