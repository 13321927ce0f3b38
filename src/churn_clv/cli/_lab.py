"""The commands that learn and judge: train, backtest, simulate."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table

from churn_clv import config, wording
from churn_clv.cli import _show
from churn_clv.cli._show import err, out
from churn_clv.cli._work import NOT_PROMOTED, Configs, Json, SomeConfigs, check_first, ready, timed
from churn_clv.errors import UserError

if TYPE_CHECKING:
    from churn_clv.events import Log


def train(
    configs: SomeConfigs = None,
    from_run: Annotated[
        str | None, typer.Option(help="Take the config of this recorded run; files then overlay it.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Train, compare with the rungs and the champion, track, and promote and publish where it is better."""
    files = configs or []
    if not files and from_run is None:
        raise UserError("give a config file, or --from-run with the id of a recorded run.")
    run, settings = _recorded(files, from_run) if from_run else (None, config.load(*files))
    check_first(settings)
    from churn_clv import events, retraining

    document = timed(lambda say: retraining.retrain(settings, lambda: events.read_log(settings), say, run))
    for note in document.get("reproduces", {}).get("notes", ()):
        err.print(escape(note))
    _show.answer(document, as_json, lambda found: print_training(found, settings))
    if not document["promoted"] and not document["already_champion"]:
        raise typer.Exit(NOT_PROMOTED)


def card(
    run: Annotated[str, typer.Argument(help="A run's id, or a version or alias of the config's registered model.")],
    configs: Configs,
    file: Annotated[Path | None, typer.Option("--out", help="Write it there: .html or .md.")] = None,
    as_json: Json = False,
) -> None:
    """Show the model card of a recorded training: what it is for, how good it is, where it ends."""
    from churn_clv import card as cards
    from churn_clv import tracking

    found = tracking.recorded(config.load(*configs), run, pictures=True)
    own = config.overlaid(found.values)
    text = cards.markdown(found.document, own)
    if file is not None:
        page = cards.html(found.document, own, found.plots) if file.suffix in (".html", ".htm") else text
        file.parent.mkdir(parents=True, exist_ok=True)
        aside = file.with_name(f".{file.name}.part")
        aside.write_text(page, encoding="utf-8")
        aside.replace(file)
    document = {"run_id": found.run_id, "file": None if file is None else str(file), "markdown": text}
    _show.answer(document, as_json, lambda d: out.print(escape(f"card: {d['file']}" if d["file"] else d["markdown"])))


def _recorded(configs: Sequence[Path], run_id: str) -> tuple[Any, config.Config]:
    """A run and its config: what is learnt comes from the run, where things lie and go from here."""
    from churn_clv import tracking

    here = config.places(*configs)
    found = tracking.recorded(here, run_id)
    places = {"out": here.out, "tracking": found.values["tracking"] | {"uri": here.tracking.uri},
              "service": found.values["service"] | {"bundles": here.service.bundles}}  # fmt: skip
    return found, config.overlaid(found.values | places, *configs)


def backtest(
    configs: Configs,
    final: Annotated[bool, typer.Option(help="Judge at the newest cutoffs; each such look is logged.")] = False,
    sales: Annotated[bool, typer.Option("--forecast", help="Also the sales forecast: minutes more.")] = False,
    folder: Annotated[Path | None, typer.Option("--out", help="Report; default: <out>/backtest/<data set>.")] = None,
    as_json: Json = False,
) -> None:
    """Run the recipe up to several earlier cutoffs and judge it at each beside every rung."""
    settings = ready(*configs)
    from churn_clv import backtest as rolling
    from churn_clv import events, grade, report, tracking

    def work(say: Callable[[str], None]) -> dict[str, Any]:
        tracking.prepare(settings)
        say("reading the log")
        log = events.read_log(settings)
        document = rolling.run(settings, log, final, say)
        line = None if final else document["development_until"]
        document["forecast"] = _sales(settings, log, line, say) if sales else None
        document["grade"] = grade.of_backtest(document, settings.grade).document()
        say("drawing the report")
        page = report.write(document, folder or rolling.looks_file(settings).parent)
        say("recording the run in MLflow")
        try:
            run_id, lost = tracking.log_backtest(settings, document, page.parent), None
        except tracking.STORE_ERRORS as error:  # what was judged is shown all the same
            run_id, lost = None, next(iter(str(error).strip().splitlines()), type(error).__name__)
        return document | {"report": str(page), "run_id": run_id, "not_recorded": lost}

    document = timed(work)
    _show.answer(document, as_json, print_backtest)
    if document["not_recorded"]:
        raise UserError(
            f"the tracking store did not take the run ({document['not_recorded']}). Nothing else is lost: the ladder "
            f"and all that was judged stand in {document['report']}, and as numbers in {report.DOCUMENT} beside it. "
            f"To have the run in MLflow, too, run the same command again once the store can be written"
            f"{', which logs a second look' if final else ''}."
        )


def _sales(settings: config.Config, log: Log, line: str | None, say: Callable[[str], None]) -> dict[str, Any] | None:
    """The forecast's document, from the development line where there is one; None, and said, where none can be made."""
    from churn_clv import forecast, timeline

    try:
        return forecast.run(settings, timeline.until(log, dt.date.fromisoformat(line)) if line else log, say)
    except UserError as error:  # what was judged is worth more than what cannot be foretold
        say(f"no sales forecast: {str(error).removeprefix('forecast: ')}")
        return None


def simulate(
    configs: Configs,
    judge: Annotated[bool, typer.Option(help="Also train on it and compare with the best possible score.")] = False,
    as_json: Json = False,
) -> None:
    """Write a synthetic log with known truth at the plan's test cutoff, and say how near a model comes to it."""
    settings = config.load(*configs)
    from churn_clv import benchmark

    document = timed(lambda say: benchmark.simulate(settings, judge, say))
    _show.answer(document, as_json, print_simulation)


# --- how it is shown ---------------------------------------------------------------------------------
def print_simulation(document: Mapping[str, Any]) -> None:
    out.print(
        f"{document['customers']:,} customers until {document['ends']}; log and truth are in {document['folder']}"
    )
    if judged := document.get("judged"):
        _show.print_rows(f"Out of time, {judged['n']:,} eligible customers", judged["scores"])
        share = judged["share_of_the_way"]
        out.print(f"The model goes {share:.1%} of the way from chance to the best score that the history allows.")
    else:
        out.print("Next: churn-clv train with this config, or churn-clv simulate --judge.")


LADDER_COLUMNS = {
    "churn_auroc": "AUC", "churn_log_loss": "log loss", "churn_ece": "ECE", "churn_lift_top_decile": "lift",
    "spend_gini": "Gini", "spend_mae": "MAE", "spend_tweedie_deviance": "Tweedie", "spend_total_ratio": "total",
}  # fmt: skip
FORMATS = {"spend_mae": "{:.2f}", "spend_tweedie_deviance": "{:.2f}", "churn_lift_top_decile": "{:.2f}",
           "spend_total_ratio": "{:.2f}"}  # fmt: skip


# The document calls this run's judged recipe "champion" whether it is promoted or not; people would misread that.
RUNGS = {"champion": "this run", "current_champion": "current champion"}


def print_training(document: Mapping[str, Any], settings: config.Config) -> None:
    if document["plan"]:
        _show.print_rows("Temporal plan", document["plan"])
    _show.print_note(document.get("plan_note"))
    _print_data(document["data"])
    _print_ladder(document["ladder"])
    for found in document["targets"].values():
        print_target(found)
    if graded := document.get("grade"):
        out.print(escape(graded["why"]))
    verdict, _, why = document["why"].partition(":")
    texts = [check["text"] for check in document["checks"]]
    out.print(f"[bold]{escape(verdict)}[/]:{escape(_show.listed(why, texts))}")
    out.print(
        f"run {document['run_id']}, version {document['model_version']} of {settings.registered_name}, "
        f"bundle {str(document['bundle_version'])[:16]}"
    )


def _print_data(data: Mapping[str, Any]) -> None:
    out.print(
        f"\n{data['rows']:,} events of {data['customers']:,} customers, {data['first_day']} to {data['ends']}; "
        f"{data['features']} features; {data['eligible_at_test']:,} of {data['known_at_test']:,} known customers are "
        f"eligible at the test cutoff; {data['new_customers_in_test_window']:,} new ones come in its window."
    )
    rate = data["label_return_rate"]
    if rate is not None:
        word = "lapse, not churn: they pause" if rate > 0.2 else "most stay away"
        out.print(
            f"{rate:.0%} of those labelled churned buy again within the next "
            f"{data['label_return_within_days'] / 7:.0f} weeks ({word})."
        )
    for family, why in data["families_left_out"].items():
        out.print(f"family left out: {family} ({escape(why)})")
    for target, why in data["targets_refused"].items():
        out.print(f"[bold]target refused[/]: {target} ({escape(why)})")


def _print_ladder(ladder: Sequence[Mapping[str, Any]]) -> None:
    n, rate = ladder[0]["metrics"]["n"], ladder[0]["metrics"]["churn_rate"]
    table = Table(title=f"\nOut of time: {n:,} customers, {rate:.1%} churned", title_justify="left", title_style="bold")
    table.add_column("rung")
    for head in LADDER_COLUMNS.values():
        table.add_column(head, justify="right")
    for rung in ladder:
        values = [rung["metrics"][key] for key in LADDER_COLUMNS]
        cells = [
            "-" if v is None else FORMATS.get(k, "{:.4f}").format(v)
            for k, v in zip(LADDER_COLUMNS, values, strict=True)
        ]
        table.add_row(RUNGS.get(rung["rung"], rung["rung"]), *cells)
    out.print(table)
    floor = ladder[0]["metrics"]["churn_ece_floor"]
    if floor is not None:
        out.print(f"A perfectly calibrated model of this size shows an ECE of {floor:.4f}.")


def print_target(found: Mapping[str, Any]) -> None:
    """A target of the user's own: its ladder, and who is ahead."""
    _show.print_rows(f"\n{wording.target(found)}", wording.target_rows(found))
    for metric, verdict in found["minus_best"].items():
        out.print(escape(wording.target_verdict(metric, verdict)))


BACKTEST = ("churn_auroc", "churn_log_loss", "ece_above_floor", "churn_lift_top_decile", "spend_gini", "spend_mae",
            "spend_tweedie_deviance")  # fmt: skip


def print_backtest(document: Mapping[str, Any]) -> None:
    """The ladder, the champion cutoff by cutoff, who is ahead of whom, strata, and where it does not win."""
    out.print(escape(f"{wording.question(document)} {wording.look(document)}"))
    rows = wording.ladder(document)
    title = f"\nMeans over {len(document['cutoffs'])} test cutoffs ({document['independent_cutoffs']} independent)"
    _show.print_rows(title, [_measured_rung(row) for row in rows])
    own = document["ladder"][0]["by_cutoff"]
    _show.print_rows("\nThe recipe at each cutoff", [_measured_cutoff(row) for row in own])
    for metric, _, found in wording.verdicts(document):
        out.print(escape(wording.verdict(metric, found)))
    _show.print_rows("\nSkill by group", [
        {"group": wording.stratum(r), "customers": f"{r['n']:,.0f}", "base rate": _show.share(r["churn_rate"]),
         "churn skill": _show.cell(r["churn_skill"]), "spend skill": _show.cell(r["spend_skill"])}
        for r in document["strata"] if not r["by"].startswith("attribute")
    ])  # fmt: skip
    out.print(f"\n{escape(wording.orders(document))}")
    if document["clv"]:
        _show.print_rows("\nCLV", wording.clv_rows(document["clv"]))
        out.print(escape(wording.clv(document["clv"])))
    if document.get("forecast"):
        _show.print_rows("\nSales forecast", wording.forecast_rows(document["forecast"]))
        out.print(escape(wording.forecast(document["forecast"])))
    for found in document["targets"].values():
        print_target(found)
    for name, why in document["targets_refused"].items():
        out.print(f"[bold]target refused[/]: {name} ({escape(why)})")
    out.print("Where it does not win:")
    for sentence in wording.where_it_does_not_win(document):
        out.print(escape(f"  {sentence}"))
    if said := wording.returning(document):
        out.print(escape(said))
    out.print(escape(wording.season(document)))
    if graded := document.get("grade"):
        out.print(escape(graded["why"]))
    out.print(f"report: {document['report']}, run {document['run_id'] or 'not recorded'}")


def _measured_rung(row: Mapping[str, Any]) -> dict[str, str]:
    names = {"rung": wording.rung(row["rung"])} | {
        wording.METRICS[k].title: wording.number(k, row[k]) for k in BACKTEST
    }
    return names | {"total, worst": wording.number("total_worst", row["total_worst"])}


def _measured_cutoff(row: Mapping[str, Any]) -> dict[str, str]:
    row = {**row, "ece_above_floor": wording.above_floor(row)}
    values = {wording.METRICS[k].title: wording.number(k, row[k]) for k in (*BACKTEST, "spend_total_ratio")}
    return {"cutoff": str(row["cutoff"]), "customers": f"{row['n']:,}"} | values | {"band": wording.band(row)}
