"""The commands about who is champion: compare, promote, rollback, history, sync."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape

from churn_clv import config, wording
from churn_clv.cli import _show
from churn_clv.cli._show import out
from churn_clv.cli._work import NOT_PROMOTED, Configs, Json, timed
from churn_clv.errors import UserError

MOST_OF_WHY = 200  # letters shown of each reason: a verdict names every rung
Run = Annotated[str, typer.Argument(help="A version, a run id or its beginning, or champion or challenger.")]


def promote(
    run: Run,
    configs: Configs,
    force: Annotated[bool, typer.Option("--force", help="Though it loses; needs --reason.")] = False,
    reason: Annotated[str | None, typer.Option(help="Kept in the history.")] = None,
    as_json: Json = False,
) -> None:
    """Make a stored run champion and publish it, where it passes the rules against the champion of now."""
    from churn_clv import succession

    run_first(run)
    document = succession.promote(config.load(*configs), run, reason, force)
    _show.answer(document, as_json, lambda found: print_promotion(found, reason))
    if not document["promoted"]:
        raise typer.Exit(NOT_PROMOTED)


def rollback(
    configs: Configs,
    reason: Annotated[str, typer.Option(help="Kept in the history.")],
    to: Annotated[int | None, typer.Option(help="A former champion's version; default: the one before.")] = None,
    as_json: Json = False,
) -> None:
    """Make the champion before this one champion again and publish its bundle."""
    from churn_clv import succession

    document = succession.rollback(config.load(*configs), reason, to)
    _show.answer(document, as_json, print_rollback)


def history(configs: Configs, as_json: Json = False) -> None:
    """Tell who became champion, when, over whom, by whom and why."""
    from churn_clv import succession

    document = succession.history(config.load(*configs))
    _show.answer(document, as_json, print_history)


def compare(
    run_a: Run,
    run_b: Run,
    configs: Configs,
    folder: Annotated[Path | None, typer.Option("--out", help="Page, picture; default: <out>/comparison/...")] = None,
    as_json: Json = False,
) -> None:
    """Compare two stored runs on the customers both predicted: who is ahead, who would move, with how much money."""
    from churn_clv import contest

    run_first(run_a, run_b)
    document = contest.run(config.load(*configs), run_a, run_b, folder)
    _show.answer(document, as_json, print_contest)


def sync(configs: Configs, as_json: Json = False) -> None:
    """Send the runs that the tracking store could not take when they ended."""
    from churn_clv import unsent

    settings = config.load(*configs)
    document = timed(lambda say: unsent.send(settings, say))
    _show.answer(document, as_json, print_sent)
    if failed := document["failed"]:
        raise UserError(
            f"{len(failed)} kept run(s) cannot be sent. To drop one, remove its folder: "
            + "; ".join(f"{one['folder']} ({one['why']})" for one in failed)
        )


def run_first(*runs: str) -> None:
    """Runs come before the configs; whoever turns it round is told so."""
    for run in runs:
        if run.lower().endswith((".yaml", ".yml")) or Path(run).is_file():
            raise UserError(f"'{run}' stands where a run is expected: runs come first, then the config files.")


# --- how it is shown ---------------------------------------------------------------------------------
def print_promotion(document: Mapping[str, Any], reason: str | None = None) -> None:
    texts = [check["text"] for check in document["checks"]]
    out.print(escape(_show.listed(document["why"], [*texts, reason])))
    if document["promoted"]:
        over = f" over version {document['over']}" if document["over"] and not document["already_champion"] else ""
        out.print(
            f"version {document['version']} is champion{over}; bundle {document['bundle_version'][:16]} published"
        )
    else:
        out.print(f'version {document["version"]} stays out. To overrule: --force --reason "...".')


def print_rollback(document: Mapping[str, Any]) -> None:
    out.print(
        f"version {document['version']} is champion again, over version {document['over']}; bundle "
        f"{document['bundle_version'][:16]} published"
    )


def print_contest(document: Mapping[str, Any]) -> None:
    """The runs, the metrics, who moves, and what differs between the two."""
    from churn_clv.contest import basis, moves

    _show.print_rows("A and B", [_run(document, who) for who in "ab"])
    _show.print_rows("\nB against A", [_metric(one) for one in document["metrics"]])
    for line in moves(document):
        out.print(escape(line))
    for one in document["settings"]:
        out.print(escape(f"{one['key']}: {one['a']} in A, {one['b']} in B"))
    out.print(escape(basis(document)))
    out.print(f"page: {document['page']}, also with run {document['attached_to']}")


def _run(document: Mapping[str, Any], who: str) -> dict[str, str]:
    run = document[who]
    return {
        "": who.upper(), "version": _show.cell(run["version"]), "alias": ", ".join(run["aliases"]) or "-",
        "grade": run["grade"] or "-", "run": run["run_id"],
        "recipe": str(run["recipe_hash"])[:8], "data": str(run["fingerprint"])[:8],
    }  # fmt: skip


def _metric(one: Mapping[str, Any]) -> dict[str, str]:
    name = one["metric"]
    return {
        "metric": wording.METRICS[name].title, "A": wording.number(name, one["a"]), "B": wording.number(name, one["b"]),
        "B - A": f"{one['difference']:+.4g}", "95% interval": f"{one['low']:+.4g} to {one['high']:+.4g}",
        "verdict": f"{one['better'].upper()} is ahead" if one["better"] else "not told apart",
    }  # fmt: skip


def print_sent(document: Mapping[str, Any]) -> None:
    for one in document["sent"]:
        verdict = "promoted" if one["promoted"] else "not promoted"
        out.print(f"run {one['run_id']} is version {one['model_version']}, {verdict}")
        out.print(escape(_show.listed(one["why"])))
    if not document["sent"]:
        out.print("Nothing to send.")
    if document["left"]:
        out.print(f"{document['left']} kept run(s) of other models are left. Each has its config beside it:")
    for one in document["others"]:
        out.print(escape(f"  {one['model']}: churn-clv sync {one['config']}"))


def print_history(document: Mapping[str, Any]) -> None:
    """The moves as a table, their reasons below, then where things stand."""
    moves = document["moves"]
    if moves:
        _show.print_rows(f"Champions of {document['model']}", [_row(i, move) for i, move in enumerate(moves, 1)])
    for number, move in enumerate(moves, 1):
        out.print(
            escape(f"{number}. {textwrap.shorten(move['why'], MOST_OF_WHY, placeholder=' ... (--json has it whole)')}")
        )
    now = document["champion"]
    out.print(f"champion: {f'version {now}' if now else 'none yet'}")
    if document["unrecorded"]:
        out.print(
            f"[bold]not on record[/]: the alias was moved to version {now} outside churn-clv, or before it kept one"
        )
    if not document["in_step"]:
        out.print(f"[bold]the service's folder does not hold version {now}[/]: run `churn-clv publish`")


def _row(number: int, move: Mapping[str, Any]) -> dict[str, str]:
    what = ("forced " if move["forced"] else "") + move["move"] + ("" if move["happened"] else " (broke off)")
    return {
        "": str(number), "at (UTC)": move["at"][:19].replace("T", " "), "move": what, "version": str(move["version"]),
        "over": _show.cell(move["over"]), "by": move["who"], "bundle": move["bundle"][:8],
    }  # fmt: skip
