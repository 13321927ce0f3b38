"""Whom a customer is compared with when a score is explained, as a bundle carries it: the eligible at the test cutoff.

The base customer stands in no table: each part of the score has its own expected value (``explain``). What that takes
is frozen here, so that a customer alone is explained as among others.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Usual:
    """Of the eligible at the test cutoff, in the order of the matrix's core columns.

    ``medians`` (columns,) of the known values, None where nobody has one; ``parts``: what each part of the horizon adds
    to the hazard booster's margin, on average; ``linear`` (columns,): mean terms of the logistic regression, empty
    without one.
    """

    medians: tuple[float | None, ...]
    parts: tuple[float, ...]
    linear: tuple[float, ...]


def from_json(entry: Mapping[str, Any]) -> Usual:
    """The record that ``dataclasses.asdict`` and JSON made a dictionary."""
    return Usual(tuple(entry["medians"]), tuple(entry["parts"]), tuple(entry["linear"]))
