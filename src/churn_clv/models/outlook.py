"""What a bundle carries beside its heads to say more of a customer's value: orders, silence, bounds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from churn_clv.models.bounds import Bounds
from churn_clv.models.interval import Interval
from churn_clv.models.linear import Linear
from churn_clv.models.loss import LossTable
from churn_clv.models.orders import Orders
from churn_clv.models.silence import Silence


@dataclass(frozen=True)
class Outlook:
    """``bounds`` of money by number of months, and ``totals``: between what predicted over actual total lay.

    Months that no cutoff of the log has seen mature are in neither.
    """

    orders: Orders
    silence: Silence
    bounds: Mapping[int, Bounds] = field(default_factory=dict)
    totals: Mapping[int, tuple[float, float]] = field(default_factory=dict)


def from_json(entry: Mapping[str, Any]) -> Outlook:
    """The outlook that ``dataclasses.asdict`` and JSON made a dictionary."""
    tables = (LossTable(tuple(t["knots"]), tuple(t["share"])) for t in entry["silence"]["tables"])
    return Outlook(
        orders=orders_from_json(entry["orders"]),
        silence=Silence(tuple(tables)),
        bounds={int(months): _bounds(own) for months, own in entry["bounds"].items()},
        totals={int(months): (low, high) for months, (low, high) in entry["totals"].items()},
    )


def orders_from_json(entry: Mapping[str, Any]) -> Orders:
    """The same of its orders."""
    linear = entry["linear"]
    sums = Linear(linear["intercept"], *(tuple(linear[k]) for k in ("middle", "weight", "missing")))
    return Orders(sums, entry["hazard"], entry["low"], entry["high"])


def _bounds(entry: Mapping[str, Any]) -> Bounds:
    def one(part: Mapping[str, Any]) -> Interval:
        return Interval(tuple(part["knots"]), tuple(part["low"]), tuple(part["high"]))

    pooled = entry["pooled"]
    return Bounds(one(pooled) if pooled else None, {name: one(own) for name, own in entry["strata"].items()})
