"""The commands that look at a log before anything is learnt: init, check, plan, advise, features."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from churn_clv import config
from churn_clv.cli import _show
from churn_clv.cli._show import out
from churn_clv.cli._work import USER_ERROR, Configs, Json, read_log
from churn_clv.errors import UserError


def init(
    files: Annotated[list[Path], typer.Argument(help="Your own CSV, Parquet or JSON Lines files.")],
    to: Annotated[Path | None, typer.Option(help="Write the config here instead of stdout.")] = None,
) -> None:
    """Guess a commented mapping of your own files to the event log."""
    from churn_clv import guess

    text = guess.guess(files)
    if to is None:
        sys.stdout.write(text)
        return
    if to.exists():
        raise UserError(f"{to} exists already. Give another name, or remove it.")
    to.write_text(text, encoding="utf-8")
    out.print(f"Wrote {to}. Look at the lines marked CHECK, then run: churn-clv check {to}")


def check(configs: Configs, as_json: Json = False) -> None:
    """Say what the log is good for before any training: findings, minimums, the temporal plan."""
    from churn_clv import readiness

    settings = config.load(*configs)
    log = read_log(settings)
    report = readiness.check(log, settings)
    document = readiness.as_document(report)
    _show.answer(document, as_json, _show.print_readiness)
    if not report.ready:
        raise typer.Exit(USER_ERROR)


def plan(configs: Configs, as_json: Json = False) -> None:
    """Show the temporal plan: which cutoffs train, validate and test."""
    from churn_clv import timeline

    settings = config.load(*configs)
    log = read_log(settings)
    if "purchase" not in log.starts:
        raise UserError("the log has no 'purchase' events. Map event_type to 'purchase'.")
    found = timeline.make_plan(log.starts["purchase"], log.ends, settings.timeline)
    document = {"plan": found.rows(), "note": found.note, "horizon_days": found.horizon_days}
    _show.answer(document, as_json, _show.print_plan)


def advise(
    configs: Configs,
    picture: Annotated[Path | None, typer.Option("--out", help="The picture; default: <out>/advice.png.")] = None,
    as_json: Json = False,
) -> None:
    """Say which horizon and which activity window fit the log, and why; or that none does."""
    from churn_clv import advice, advice_figure, figures

    settings = config.load(*configs)
    path = picture or Path(settings.out) / "advice.png"
    if path.suffix.lower() != ".png":
        raise UserError(f"{path} does not end in .png, and the picture is one. Give such a name.")
    log = read_log(settings)
    found = advice.advise(log, settings)
    figures.save({path.stem: advice_figure.draw(found)}, path.parent)
    document = advice.as_document(found) | {"picture": str(path)}
    _show.answer(document, as_json, _show.print_advice)


def list_features(
    configs: Configs,
    as_json: Json = False,
    markdown: Annotated[bool, typer.Option(help="As docs/features.md.")] = False,
) -> None:
    """List the features this config's log gives: name, family, meaning, null policy."""
    from churn_clv import bundle, timeline
    from churn_clv import features as families

    settings = config.load(*configs)
    log = read_log(settings)
    definitions = timeline.define(log, settings, as_of=log.ends)
    if markdown and not as_json:
        sys.stdout.write(families.as_markdown(definitions))
        return
    entries, absent = bundle.feature_entries(definitions), families.left_out(definitions)
    _show.answer({"features": entries, "families_left_out": absent}, as_json, _show.print_features)
