"""A picture with its sentence, and other commands' documents as sentences and tables."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import Any

from churn_clv.overview_page._words import NONE, Document, words
from churn_clv.report.html import paragraph, picture, table

# On a phone these scroll: made to fit, their letters would be too small.
BROAD = {"cohorts_retention", "cohorts_revenue", "realised", "affinity", "segments_matrix", "transitions"}
FULL = {"plan", "segments_flows_lifecycle_stage", "segments_flows_value_tier"}
Shown = Mapping[str, bytes]


def shown(pictures: Shown, name: str, alt: str, says: str) -> str:
    """A picture and the sentence under it; nothing where there is none."""
    if name not in pictures:
        return ""
    return picture(alt, pictures[name], name in BROAD, name in FULL) + paragraph(says, "says")


def tables(found: Document) -> str:
    """A document of another command: its ``sentences``, and ``tables`` of ``title`` and ``rows``."""
    out = "".join(paragraph(str(line)) for line in found.get("sentences", ()))
    for one in found.get("tables", ()):
        rows = one["rows"]
        if rows:
            out += f"<h3>{escape(str(one['title']))}</h3>"
            out += table([words(k) for k in rows[0]], [[_cell(v) for v in row.values()] for row in rows])
    return out


def _cell(value: Any) -> str:
    if value is None:
        return NONE
    return f"{value:,.4g}" if isinstance(value, float) else f"{value:,}" if type(value) is int else str(value)
