"""The answers to targets of the user's own: one number a customer of the target's population, and what it means."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from churn_clv.models.predict import Floats, Head
from churn_clv.models.usual import Usual
from churn_clv.quantiles import percentile, quantiles_of

# The column of the matrix that says who belongs to a target's population.
ASKED = "asked_"
# Kinds whose number is a probability; the others are a count or money.
EVENT = "event"
BANDS = ("low", "medium", "high")


@dataclass(frozen=True)
class TargetReference:
    """Frozen at training: the judged predictions' quantiles, the base rate (or mean), the edges of the bands.

    ``usual`` is whom its reasons compare with, None in a bundle that gives none.
    """

    quantiles: tuple[float, ...]
    base: float
    band_edges: tuple[float, ...]
    usual: Usual | None = None


def target_reference(judged: Floats, label: Floats, usual: Usual | None = None) -> TargetReference:
    """From the judged out-of-sample predictions and what came.

    Band edges: the base rate, and the probability at twice its odds. Edges that a config gives are churn's.
    """
    base = float(np.mean(label))
    return TargetReference(quantiles_of(judged), base, (base, 2 * base / (1 + base)), usual)


def band(edges: Sequence[float], names: Sequence[str], values: Floats) -> list[str]:
    """The name of the band that each probability falls into."""
    return [names[i] for i in np.searchsorted(np.asarray(edges), values, "right")]


def number_column(name: str, kind: str) -> str:
    """The column of a target's number: ``<name>_probability`` or ``expected_<name>``."""
    return f"{name}_probability" if kind == EVENT else f"expected_{name}"


def columns_of(name: str, kind: str) -> tuple[str, ...]:
    """All columns of a target, in the order of the answer."""
    given = (number_column(name, kind), f"{name}_percentile_in_reference")
    return (*given, f"{name}_base_rate", f"{name}_band") if kind == EVENT else given


def answers_of(
    heads: Sequence[Head], references: Mapping[str, TargetReference], rows: pl.DataFrame, values: Floats
) -> dict[str, pl.Series]:  # fmt: skip
    """The columns of every target, null for those who are not of its population.

    ``rows`` (n) is the matrix with its ``asked_<name>`` columns, ``values`` (n, features) its features.
    """
    out: dict[str, pl.Series] = {}
    for head in heads:
        own, asked = references[head.target], rows[ASKED + head.target].to_numpy()
        found = np.full(rows.height, np.nan)
        found[asked] = head.predict(np.ascontiguousarray(values[asked]))
        place = np.full(rows.height, np.nan)
        place[asked] = percentile(own.quantiles, found[asked])
        number, rank, *event = columns_of(head.target, head.kind)
        out[number], out[rank] = (pl.Series(values=numbers, nan_to_null=True) for numbers in (found, place))
        if event:
            bands = iter(band(own.band_edges, BANDS, found[asked]))
            out[event[0]] = pl.Series([own.base] * rows.height, dtype=pl.Float64)
            out[event[1]] = pl.Series([next(bands) if a else None for a in asked], dtype=pl.String)
    return out
