"""What a bundle compares its numbers with, frozen at training."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from churn_clv import config
from churn_clv.bundle._targets import TargetReference
from churn_clv.models.interval import ByOrders
from churn_clv.models.loss import LossTable
from churn_clv.models.outlook import Outlook
from churn_clv.models.predict import Floats
from churn_clv.models.retention import Retention
from churn_clv.models.usual import Usual
from churn_clv.quantiles import quantiles_of


@dataclass(frozen=True)
class Reference:
    """Frozen at training: the judged scores' quantiles, the base rate, the bands' edges and names.

    ``interval`` bounds spend, None without a spend head; ``loss`` turns lapse into loss, None where no cutoff is old
    enough to have seen who came back; ``retention`` carries spend beyond the horizon, None without a spend head;
    ``targets`` are the references of the user's own targets; ``usual`` is whom reasons compare with, None in a bundle
    that gives none.
    """

    quantiles: tuple[float, ...]
    base_rate: float
    band_edges: tuple[float, ...]
    band_names: tuple[str, ...]
    interval: ByOrders | None = None
    loss: LossTable | None = None
    retention: Retention | None = None
    outlook: Outlook | None = None
    targets: Mapping[str, TargetReference] = field(default_factory=dict)
    usual: Usual | None = None


def make_reference(
    judged: Floats, churned: Floats, settings: config.Bundle, interval: ByOrders | None = None,
    loss: LossTable | None = None, retention: Retention | None = None, outlook: Outlook | None = None,
    targets: Mapping[str, TargetReference] | None = None, usual: Usual | None = None,
) -> Reference:  # fmt: skip
    """Freeze the judged out-of-sample scores of the eligible at the test cutoff (contract K9).

    Default band edges: the base rate, and the probability at twice its odds.
    """
    base = float(np.mean(churned))
    edges = settings.band_edges or (base, 2 * base / (1 + base))
    return Reference(quantiles_of(judged), base, tuple(edges), settings.band_names, interval, loss,
                     retention, outlook, targets or {}, usual)  # fmt: skip
