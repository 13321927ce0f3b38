"""The command that makes an API key of the service."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from churn_clv.cli import _show
from churn_clv.cli._show import out
from churn_clv.cli._work import Json


def key(
    name: Annotated[str, typer.Argument(help="Whose key it is: for the log and the rate; default: today.")] = "",
    file: Annotated[Path | None, typer.Option(help="The file of service.keys: the line is added to it.")] = None,
    as_json: Json = False,
) -> None:
    """Make an API key: shown once, known afterwards only by its hash."""
    from churn_clv.service import keys

    name = name or f"key-{dt.date.today():%Y%m%d}"
    made, line = keys.make(name)
    if file is not None:
        keys.add(file, line)
    document = {"name": name, "key": made, "line": line, "file": None if file is None else str(file)}
    _show.answer(document, as_json, print_key)


def print_key(document: Mapping[str, Any]) -> None:
    out.print(f"key (shown only now; give it to the caller): {document['key']}", soft_wrap=True)
    out.print(f"line (what the service knows of it): {document['line']}", soft_wrap=True)
    if document["file"] is None:
        out.print("[dim]add the line to the file of service.keys, or to CHURN_CLV_KEYS[/]")
    else:
        out.print(f"added to {document['file']}; a running service reads it within a second")
