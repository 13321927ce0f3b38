"""The command that makes an API key of the service."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from churn_clv.cli import _show
from churn_clv.cli._show import out
from churn_clv.cli._work import Json


def key(
    name: Annotated[str, typer.Argument(help="Whose key it is; the name stands in the log and has its own rate.")],
    to: Annotated[Path | None, typer.Option(help="The file of service.keys: the line is added to it.")] = None,
    as_json: Json = False,
) -> None:
    """Make an API key: shown once, known afterwards only by its hash."""
    from churn_clv.service import keys

    made, line = keys.make(name)
    if to is not None:
        keys.add(to, line)
    document = {"name": name, "key": made, "line": line, "file": None if to is None else str(to)}
    _show.answer(document, as_json, print_key)


def print_key(document: Mapping[str, Any]) -> None:
    out.print(f"key (shown only now; give it to the caller): {document['key']}", soft_wrap=True)
    out.print(f"line (what the service knows of it): {document['line']}", soft_wrap=True)
    if document["file"] is None:
        out.print("[dim]add the line to the file of service.keys, or to CHURN_CLV_KEYS[/]")
    else:
        out.print(f"added to {document['file']}; a running service reads it within a second")
