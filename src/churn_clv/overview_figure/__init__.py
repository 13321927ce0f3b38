"""The report's own pictures, drawn from its document: balance, cohorts, journey, drivers, affinity, a customer.

Darkness runs one way and every cell has its number; where two kinds stand side by side their marks differ as well.
"""

from __future__ import annotations

import io
from collections.abc import Mapping

from matplotlib.figure import Figure

from churn_clv.figures import DPI
from churn_clv.overview_figure._customer import draw_customer
from churn_clv.overview_figure._whole import draw

__all__ = ["draw", "draw_customer", "png"]


def png(figures: Mapping[str, Figure]) -> dict[str, bytes]:
    """Each figure as a PNG, to be put into a page."""
    out = {}
    for name, figure in figures.items():
        held = io.BytesIO()
        figure.savefig(held, format="png", dpi=DPI)
        out[name] = held.getvalue()
    return out
