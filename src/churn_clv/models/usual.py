"""Whom a customer is compared with when a number is explained, as a bundle carries it: those asked at the test cutoff.

The base customer stands in no table: each part of the score has its own expected value (``explain``). What that takes
is frozen here, so that a customer alone is explained as among others.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Usual:
    """Of those whom a head was asked about at the test cutoff, in the order of its columns.

    ``medians`` (columns,) of the known values, None where nobody has one; ``parts``: what each part of the horizon adds
    to the hazard booster's margin, on average, empty for other heads; ``linear`` (columns,): mean terms of the logistic
    regression, empty without one; ``table``: the mean of what the table of recency says, 0 without one.
    """

    medians: tuple[float | None, ...]
    parts: tuple[float, ...]
    linear: tuple[float, ...]
    table: float = 0.0


def from_json(entry: Mapping[str, Any]) -> Usual:
    """The record that ``dataclasses.asdict`` and JSON made a dictionary."""
    return Usual(tuple(entry["medians"]), tuple(entry["parts"]), tuple(entry["linear"]), entry.get("table", 0.0))
