"""The model card: what a run is for, on what it rests, how good it is, where it ends. Markdown and one HTML page.

After Mitchell et al. (2019), Model Cards for Model Reporting, arXiv 1810.03993: the same headings, filled from the
run's own document, so that a card and a number never disagree.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from churn_clv.card._page import as_html, as_markdown
from churn_clv.card._sections import PICTURES, backtest_summary, sections, summary, title
from churn_clv.config import Config

__all__ = ["MARKDOWN", "PAGE", "backtest_note", "html", "markdown", "note", "write"]

MARKDOWN, PAGE = "model_card.md", "model_card.html"
Document = Mapping[str, Any]


def markdown(document: Document, config: Config) -> str:
    """The whole card as Markdown; ``document`` is what ``train --json`` prints."""
    return as_markdown(title(config), sections(document, config))


def html(document: Document, config: Config, pictures: Mapping[str, bytes] | None = None) -> str:
    """The whole card as a page that needs nothing else; ``pictures``: PNG bytes by name, as far as there are any."""
    return as_html(title(config), sections(document, config), PICTURES, pictures or {})


def note(document: Document, config: Config) -> str:
    """The card on half a page of Markdown: what MLflow shows as the run's description."""
    return as_markdown(None, summary(document, config))


def backtest_note(document: Document) -> str:
    """The same of a backtest's document."""
    return as_markdown(None, backtest_summary(document))


def write(document: Document, config: Config, folder: Path, plots: Path | None = None) -> list[Path]:
    """Write both files into ``folder``; pictures come from the folder ``plots``. Returns the paths."""
    found = {path.stem: path.read_bytes() for path in sorted(plots.glob("*.png"))} if plots and plots.is_dir() else {}
    paths = [folder / MARKDOWN, folder / PAGE]
    texts = (markdown(document, config), html(document, config, found))
    for path, text in zip(paths, texts, strict=True):
        path.write_text(text, encoding="utf-8")
    return paths
