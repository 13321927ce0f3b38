"""What the commands print with: tables and sentences on stdout, errors and progress on stderr."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

# Piped output is not cut to 80 columns: tables would lose their words.
WIDE = None if sys.stdout.isatty() else 132
out = Console(highlight=False, soft_wrap=True, width=WIDE)
err = Console(stderr=True, highlight=False, soft_wrap=True)


def print_json(document: Mapping[str, Any]) -> None:
    sys.stdout.write(json.dumps(document, indent=2, default=str, allow_nan=False) + "\n")


def answer(document: Mapping[str, Any], as_json: bool, show: Callable[[Mapping[str, Any]], None]) -> None:
    """The document on stdout: as JSON, or as ``show`` puts it to people."""
    if as_json:
        print_json(document)
    else:
        show(document)


def print_rows(title: str, rows: Sequence[Mapping[str, Any]]) -> None:
    table = Table(title=title, title_justify="left", title_style="bold", header_style="bold")
    for name in rows[0]:
        numeric = isinstance(rows[0][name], int | float) and not isinstance(rows[0][name], bool)
        table.add_column(name.replace("_", " "), justify="right" if numeric else "left")
    for row in rows:
        table.add_row(*(escape(cell(v)) for v in row.values()))
    out.print(table)


def cell(value: Any) -> str:
    if value is None:
        return "-"
    return f"{value:.4f}" if isinstance(value, float) else str(value)


def listed(why: str, whole: Sequence[str | None] = ()) -> str:
    """A verdict with each of its reasons on a line; the texts ``whole``, in which a ';' is their own, are left so."""
    for text in filter(None, whole):
        why = why.replace(text, text.replace("; ", ";\0"))
    return why.replace("; ", "\n  ").replace("\0", " ")


def print_note(text: str | None) -> None:
    if text:
        out.print(escape(text))


def share(value: float | None) -> str:
    return "-" if value is None else f"{value:.0%}"
