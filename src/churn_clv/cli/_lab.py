"""The commands that learn and judge: train, backtest, simulate."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from churn_clv import config
from churn_clv.cli import _show
from churn_clv.cli._work import NOT_PROMOTED, Configs, Json, timed


def train(configs: Configs, as_json: Json = False) -> None:
    """Train, compare with the rungs and the champion, track, and promote and publish where it is better."""
    from churn_clv import events, retraining

    settings = config.load(*configs)
    document = timed(lambda say: retraining.retrain(settings, lambda: events.read_log(settings), say))
    _show.answer(document, as_json, lambda found: _show.print_training(found, settings))
    if not document["promoted"]:
        raise typer.Exit(NOT_PROMOTED)


def backtest(
    configs: Configs,
    final: Annotated[bool, typer.Option(help="Judge at the newest cutoffs; each such look is logged.")] = False,
    folder: Annotated[Path | None, typer.Option("--out", help="Report; default: <out>/backtest/<data set>.")] = None,
    as_json: Json = False,
) -> None:
    """Run the recipe up to several earlier cutoffs and judge it at each beside every rung."""
    from churn_clv import backtest as rolling
    from churn_clv import events, report, tracking

    settings = config.load(*configs)

    def work(say: Callable[[str], None]) -> dict[str, Any]:
        tracking.prepare(settings)
        say("reading the log")
        document = rolling.run(settings, events.read_log(settings), final, say)
        say("drawing the report")
        page = report.write(document, folder or rolling.looks_file(settings).parent)
        say("recording the run in MLflow")
        run_id = tracking.log_backtest(settings, document, page.parent)
        return document | {"report": str(page), "run_id": run_id}

    document = timed(work)
    _show.answer(document, as_json, _show.print_backtest)


def simulate(
    configs: Configs,
    judge: Annotated[bool, typer.Option(help="Also train on it and compare with the best possible score.")] = False,
    as_json: Json = False,
) -> None:
    """Write a synthetic log with known truth at the plan's test cutoff, and say how near a model comes to it."""
    from churn_clv import benchmark

    settings = config.load(*configs)
    document = timed(lambda say: benchmark.simulate(settings, judge, say))
    _show.answer(document, as_json, _show.print_simulation)
