"""The command that searches for better settings: tune."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from churn_clv import config
from churn_clv.cli import _show
from churn_clv.cli._show import err, out
from churn_clv.cli._work import Configs, Json, check_first, timed

if TYPE_CHECKING:
    from churn_clv import tuning


def tune(
    configs: Configs,
    trials: Annotated[int, typer.Option(help="Trials in total, churn's and spend's together.")] = 100,
    timeout: Annotated[float | None, typer.Option(help="Seconds of searching, at most; judging comes after.")] = None,
    jobs: Annotated[int | None, typer.Option(help="Trials, later models, at a time; default: one per core.")] = None,
    to: Annotated[Path | None, typer.Option("--to", "--out", help="Default: <out>/tuned/<data set>.yaml.")] = None,
    space: Annotated[Path | None, typer.Option(help="What to search; default: the shipped search.yaml.")] = None,
    as_json: Json = False,
) -> None:  # fmt: skip
    """Search for better settings, say on later cutoffs whether it paid, and write them as an overlay for train."""
    settings = config.load(*configs)
    check_first(settings)
    from churn_clv import events, tuning

    searched = tuning.load_space(space)
    limits = tuning.Limits(trials, timeout, (os.cpu_count() or 1) if jobs is None else jobs)
    tuning.check(limits, settings, to)

    def work(say: Callable[[str], None]) -> dict[str, Any]:
        say("reading the log")
        log = events.read_log(settings)
        with _bar(say) as watch:
            return tuning.tune(settings, log, limits, searched, to, say, watch)

    document = timed(work)
    _show.answer(document, as_json, lambda found: print_tuning(found, configs))


@contextmanager
def _bar(say: Callable[[str], None]) -> Iterator[Callable[[tuning.Progress], None]]:
    """A bar on a terminal; elsewhere a line at each tenth of the way."""
    if not err.is_terminal:
        yield _Lines(say)
        return
    bars = (BarColumn(20), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(TextColumn("trials"), *bars, TextColumn("{task.description}"), console=err, transient=True) as bar:
        task = bar.add_task("", total=None)
        yield lambda found: bar.update(
            task, completed=found.done, total=found.wanted, description=escape(briefly(found))
        )


class _Lines:
    """Says the best so far at each tenth of the way."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self.say, self.tenth = say, -1

    def __call__(self, found: tuning.Progress) -> None:
        tenth = 10 * found.done // found.wanted
        if tenth != self.tenth:
            self.tenth = tenth
            self.say(f"{found.done} of {found.wanted} trials; {best(found)}")


def best(found: tuning.Progress) -> str:
    """Each head's lowest loss so far beside the default's, in the trials' small problem."""
    parts = []
    for head, (value, default) in found.best.items():
        gain = "" if value is None else f", {value / default - 1:+.2%}"
        parts.append(f"{head} best {'-' if value is None else f'{value:.5g}'} (default {default:.5g}{gain})")
    return "; ".join(parts)


def briefly(found: tuning.Progress) -> str:
    """The same for a line of 80 columns: the lowest loss, and by how much it is below the default's."""
    return ", ".join(f"{head} best {'-' if value is None else f'{value:.4g} ({value / default - 1:+.1%})'}"
                     for head, (value, default) in found.best.items())  # fmt: skip


def print_tuning(document: Mapping[str, Any], configs: list[Path]) -> None:
    """The chosen settings, and whether they paid."""
    rows = []
    for head, found in document["best"].items():
        gain = found["value"] / found["default_value"] - 1
        rows.append({"head": head, "trials": found["n_complete"], "cut short": found["n_pruned"],
                     "default": found["default_value"], "best": found["value"], "gain": f"{gain:+.2%}"})  # fmt: skip
    _show.print_rows(f"\nSearched on {', '.join(document['search_cutoffs'])} (small problems)", rows)
    for head, found in document["best"].items():
        said = ", ".join(f"{k} {' '.join(v) if isinstance(v, list) else _show.cell(v)}"
                         for k, v in found["params"].items() if v is not None)  # fmt: skip
        out.print(escape(f"{head}: {said}"))
    out.print(f"a snapshot every {document['step_days']} days")
    if minus := document["tuned_minus_default"]:
        shown = [{"metric": m, "tuned": r["tuned"], "default": r["default"], "difference": f"{r['difference']:+.5f}",
                  "95% interval": f"{r['low']:+.5f} to {r['high']:+.5f}", "verdict": r["verdict"]}
                 for m, r in minus.items()]  # fmt: skip
        _show.print_rows(f"\nThe whole recipe, judged on {', '.join(document['judged_cutoffs'])}", shown)
    for note in document["notes"]:
        _show.print_note(note)
    out.print(f"[bold]{escape(document['verdict'])}[/]")
    out.print(f"{document['n_complete']} trials in {document['wall_s']:.0f} s; run {document['run_id']}")
    files = f"{' '.join(map(str, configs))} {document['overlay']}"
    if document["paid"]:
        out.print(escape(f"Use it: churn-clv train {files}"))
    else:
        out.print(escape(f"Keep the default. To try it all the same: churn-clv train {files}"))
    out.print(
        escape(f"The newest cutoffs have not been looked at. Judge it there, once: churn-clv backtest --final {files}")
    )
