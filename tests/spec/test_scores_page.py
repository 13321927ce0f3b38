"""docs/scores.md and the manifest name every column of a scoring, with its type and unit."""

from __future__ import annotations

import os
from pathlib import Path

import polars as pl
import pytest
import segmented
import shop
import tiny

from churn_clv import playbook, scoring
from churn_clv.bundle import Bundle, load_bundle, save

PAGE = Path(__file__).parents[2] / "docs" / "scores.md"
START, END = "<!-- columns: written by tests/spec/test_scores_page.py -->\n", "<!-- end of columns -->\n"


def test_the_page_holds_the_columns_that_there_are(tmp_path: Path) -> None:
    """CHURN_CLV_WRITE_PAGES=1 writes the page's table anew."""
    save(segmented.served(), tmp_path / "bundle")
    served = load_bundle(tmp_path / "bundle")
    found = shop.scores(shop.score(shop.settings(tmp_path), served, actions=playbook.load_actions()))
    known = scoring.columns(found.schema, served)
    assert [column.name for column in known] == found.columns
    text = PAGE.read_text(encoding="utf-8")
    before, rest = text.split(START)
    table, after = rest.split(END)
    made = scoring.page(known)
    if os.environ.get("CHURN_CLV_WRITE_PAGES"):
        PAGE.write_text(before + START + made + END + after, encoding="utf-8")
    assert table == made, "write it anew: CHURN_CLV_WRITE_PAGES=1 pytest tests/spec/test_scores_page.py"
    # Every column is documented by one line, and every line has a column.
    documented = {line.split("`")[1] for line in table.splitlines() if line.startswith("| `")}
    met = {name for name in documented if any(fits(name, column) for column in found.columns)}
    assert documented == met


def fits(pattern: str, column: str) -> bool:
    if "<name>" in pattern:
        return any(pattern.replace("<name>", name) == column for name in tiny.TARGETS)
    stem = pattern.replace("<d>", "").replace("<m>", "")
    digits = "".join(c for c in column if c.isdigit())
    return column == pattern or ("<" in pattern and bool(digits) and column.replace(digits, "") == stem)


def test_a_column_without_an_entry_is_an_error(tiny_bundle: Bundle) -> None:
    with pytest.raises(ValueError, match="the column novelty of a scoring has no entry"):
        scoring.columns(pl.Schema({"novelty": pl.Float64()}), tiny_bundle)
