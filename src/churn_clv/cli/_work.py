"""What the commands share: their arguments, exit codes, and the progress they show."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape

from churn_clv import config
from churn_clv.cli._show import err
from churn_clv.errors import UserError

USER_ERROR, NOT_PROMOTED = 2, 3

Configs = Annotated[list[Path], typer.Argument(help="YAML overlays on the defaults, merged left to right.")]
SomeConfigs = Annotated[list[Path] | None, typer.Argument(help="YAML overlays, merged left to right.")]
Json = Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")]


def ready(*configs: Path) -> config.Config:
    """The config, after all that can be refused before anything heavy is imported, read or trained."""
    settings = config.load(*configs)
    check_first(settings)
    return settings


def check_first(settings: config.Config) -> None:
    """Raise UserError where `out` is no folder, or a file of the log is not there."""
    from churn_clv import events

    place = Path(settings.out).expanduser()
    above = next(p for p in (place, *place.absolute().parents) if p.exists())
    if not above.is_dir():
        raise UserError(f"out: {above} is a file, and results need a folder. Give another path, or move the file away.")
    events.check_places(settings.events)


def timed(work: Callable[[Callable[[str], None]], Any]) -> Any:
    """Run ``work`` with a function that reports its stages on stderr with the seconds since the start."""
    began = time.monotonic()

    def say(stage: str) -> None:
        err.print(f"[dim]{time.monotonic() - began:6.1f} s[/]  {escape(stage)} ...")

    result = work(say)
    err.print(f"[dim]{time.monotonic() - began:6.1f} s[/]  done")
    return result


def read_log(settings: config.Config) -> Any:
    """The log, with its progress shown."""
    from churn_clv import events

    def work(say: Callable[[str], None]) -> events.Log:
        say("reading the log")
        return events.read_log(settings)

    return timed(work)
