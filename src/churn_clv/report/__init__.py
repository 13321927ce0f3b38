"""The report of a backtest: one page that needs nothing else, its pictures and the document itself."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from churn_clv import backtest_figures, figures, forecast_figure
from churn_clv.report import page

FORECAST = "forecast"
DOCUMENT, PAGE = "backtest.json", "report.html"


def write(document: Mapping[str, Any], folder: Path) -> Path:
    """Write backtest.json, report.html and a PNG per picture into ``folder``; returns the page's path.

    The page embeds its pictures and refers to nothing outside itself. Dates become ISO text. Pictures of an earlier
    report that this document has no numbers for are removed. ValueError on NaN or infinity, which JSON cannot hold.
    """
    text = json.dumps(document, indent=2, default=str, allow_nan=False)
    plain = json.loads(text)
    drawn = backtest_figures.draw(plain)
    if plain.get("forecast"):
        drawn[FORECAST] = forecast_figure.draw(plain["forecast"])
    for old in {*backtest_figures.NAMES, FORECAST} - set(drawn):
        (folder / f"{old}.png").unlink(missing_ok=True)
    paths = figures.save(drawn, folder)
    (folder / DOCUMENT).write_text(text + "\n", encoding="utf-8")
    html = page.render(plain, {path.stem: path.read_bytes() for path in paths})
    (folder / PAGE).write_text(html, encoding="utf-8")
    return folder / PAGE
