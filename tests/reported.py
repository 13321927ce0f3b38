"""The report of the tiny bundle's own log, made once."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import segmented

from churn_clv import actions_figure, config, overview, overview_figure, portfolio_figure


def settings(out: Path, **sections: Any) -> config.Config:
    """The tiny bundle's own dataset, with surveys as NPS answers."""
    kpis = {"events": {"nps": ["survey"], "contact": ["visit"]}} | sections.pop("kpis", {})
    return config.load(dataset="tiny", out=str(out), kpis=kpis, **sections)


@cache
def base(out: Path) -> dict[str, Any]:
    own = settings(out, kpis={
        "costs": [{"kind": "acquisition", "first": "2024-01-01", "last": "2024-06-30", "amount": 500}],
        "aims": {"retention": {"target": 0.9, "owner": "Ann <b>", "due": "2024-12-31"}},
    })  # fmt: skip
    return overview.run(own, segmented.served(), segmented.log(), measured={"campaigns": []})


def drawn(document: dict[str, Any]) -> dict[str, Any]:
    out = overview_figure.draw(document)
    if document["segments"]["missing"] is None:
        out |= portfolio_figure.draw(document["segments"])
    if document["plan"]["missing"] is None:
        out["plan"] = actions_figure.draw(document["plan"])
    return out
