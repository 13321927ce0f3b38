"""The command line: ``churn-clv``. The only module that prints.

Results go to stdout, progress and warnings to stderr. Exit codes (contract K13): 0 done (also "already champion"),
1 unexpected failure, 2 the user's mistake, 3 trained but not promoted.
"""

from __future__ import annotations

import errno
import json
import socket
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from churn_clv import config
from churn_clv.errors import UserError

USER_ERROR, NOT_PROMOTED = 2, 3
# What a folder's owner can mend; anything else that the system refuses is a failure of ours.
_NAMES = "EACCES EDQUOT EEXIST EISDIR ENAMETOOLONG ENOENT ENOSPC ENOTDIR EPERM EROFS"
DISK_ERRORS = {getattr(errno, name) for name in _NAMES.split() if hasattr(errno, name)}

app = typer.Typer(
    help="From a customer event log to churn and next-period-spend predictions.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
# Piped output is not cut to 80 columns: tables would lose their words.
WIDE = None if sys.stdout.isatty() else 132
out = Console(highlight=False, soft_wrap=True, width=WIDE)
err = Console(stderr=True, highlight=False, soft_wrap=True)

Configs = Annotated[list[Path], typer.Argument(help="YAML overlays on the defaults, merged left to right.")]
Json = Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")]


def main() -> None:
    """Run a command; a user's mistake is printed without a traceback and ends with exit code 2."""
    try:
        app()
    except UserError as error:
        err.print(f"[bold red]error:[/] {escape(str(error))}")
        raise SystemExit(USER_ERROR) from None
    except OSError as error:
        if error.errno not in DISK_ERRORS:
            raise
        place = f"{error.filename}: " if error.filename else ""
        err.print(
            f"[bold red]error:[/] {escape(place)}{error.strerror}. Check the path, its rights and the disk's space."
        )
        raise SystemExit(USER_ERROR) from None


@app.command()
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


@app.command()
def check(configs: Configs, as_json: Json = False) -> None:
    """Say what the log is good for before any training: findings, minimums, the temporal plan."""
    from churn_clv import readiness

    settings = config.load(*configs)
    log = _read_log(settings)
    report = readiness.check(log, settings)
    document = readiness.as_document(report)
    if as_json:
        _print_json(document)
    else:
        _print_readiness(document)
    if not report.ready:
        raise typer.Exit(USER_ERROR)


@app.command()
def plan(configs: Configs, as_json: Json = False) -> None:
    """Show the temporal plan: which cutoffs train, stop, calibrate and test."""
    from churn_clv import timeline

    settings = config.load(*configs)
    log = _read_log(settings)
    if "purchase" not in log.starts:
        raise UserError("the log has no 'purchase' events. Map event_type to 'purchase'.")
    found = timeline.make_plan(log.starts["purchase"], log.ends, settings.timeline)
    if as_json:
        _print_json({"plan": found.rows(), "note": found.note, "horizon_days": found.horizon_days})
    else:
        _print_rows("Temporal plan", found.rows())
        _note(found.note)


@app.command()
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
    log = _read_log(settings)
    found = advice.advise(log, settings)
    figures.save({path.stem: advice_figure.draw(found)}, path.parent)
    document = advice.as_document(found) | {"picture": str(path)}
    if as_json:
        _print_json(document)
    else:
        _print_advice(document)


@app.command()
def train(configs: Configs, as_json: Json = False) -> None:
    """Train, compare with the rungs and the champion, track, and promote and publish where it is better."""
    from churn_clv import events, retraining

    settings = config.load(*configs)
    document = _timed(lambda say: retraining.retrain(settings, lambda: events.read_log(settings), say))
    if as_json:
        _print_json(document)
    else:
        _print_training(document, settings)
    if not document["promoted"]:
        raise typer.Exit(NOT_PROMOTED)


@app.command()
def publish(
    configs: Configs,
    version: Annotated[str, typer.Option(help="A registered version's number, or an alias.")] = "champion",
    follow: Annotated[bool, typer.Option(help="Keep publishing whatever the alias points at.")] = False,
    every_seconds: Annotated[float, typer.Option(help="How often --follow looks.", min=0.1)] = 10.0,
    as_json: Json = False,
) -> None:
    """Hand a registered bundle to the service's folder."""
    from churn_clv import publish as folder
    from churn_clv import tracking

    settings = config.load(*configs)
    if follow and as_json:
        raise UserError("--json gives one document, and --follow never ends. Use one of them.")
    folder.check_owner(settings)
    last: str | None = None
    while True:
        sha = last
        try:
            sha = folder.publish(tracking.fetch(settings, version), settings.bundles_folder)
        except UserError as error:
            if not follow:
                raise
            err.print(f"[bold red]error:[/] {escape(str(error))}")
        if sha is not None and sha != last:
            if as_json:
                _print_json({"bundle_version": sha, "folder": str(settings.bundles_folder)})
            else:
                out.print(f"{settings.bundles_folder}/CURRENT is bundle {sha[:16]}.")
        if not follow:
            return
        last = sha
        time.sleep(every_seconds)


@app.command()
def score(
    configs: Configs,
    cutoff: Annotated[str | None, typer.Option(help="A date; default: the end of the log.")] = None,
    version: Annotated[str | None, typer.Option(help="A registered version or alias; default: the published.")] = None,
    csv: Annotated[bool, typer.Option("--csv", help="Write a CSV beside the Parquet file.")] = False,
    as_json: Json = False,
) -> None:
    """Score every known customer at a cutoff."""
    from churn_clv import events, scoring
    from churn_clv.bundle import as_date

    settings = config.load(*configs)
    when = as_date(cutoff) if cutoff else None

    def work(say: Callable[[str], None]) -> dict[str, Any]:
        bundle = _bundle(settings, version)
        say("reading the log")
        log = events.read_log(settings)
        say("scoring")
        scores = scoring.score(bundle, log, when)
        folder = scoring.write(scores, bundle, log, Path(settings.out) / "scores" / settings.dataset, csv=csv)
        return scoring.summary(scores, bundle) | {"path": str(folder / scoring.SCORES), "csv": csv}

    document = _timed(work)
    if as_json:
        _print_json(document)
    else:
        _print_scoring(document)


@app.command()
def serve(configs: Configs) -> None:
    """Answer prediction requests on loopback until stopped."""
    settings = config.load(*configs)
    from churn_clv import publish as folder
    from churn_clv import service

    s = settings.service
    folder.check_owner(settings)
    _check_port(s.host, s.port)
    err.print(f"serving {settings.bundles_folder} on http://{s.host}:{s.port} (Ctrl-C stops it)")
    service.serve(s.host, s.port, settings.bundles_folder, s.poll_seconds)


@app.command()
def simulate(
    configs: Configs,
    judge: Annotated[bool, typer.Option(help="Also train on it and compare with the best possible score.")] = False,
    as_json: Json = False,
) -> None:
    """Write a synthetic log with known truth at the plan's test cutoff, and say how near a model comes to it."""
    from churn_clv import benchmark

    settings = config.load(*configs)
    document = _timed(lambda say: benchmark.simulate(settings, judge, say))
    if as_json:
        _print_json(document)
        return
    out.print(
        f"{document['customers']:,} customers until {document['ends']}; log and truth are in {document['folder']}"
    )
    if judge:
        _print_rows(f"Out of time, {document['judged']['n']:,} eligible customers", document["judged"]["scores"])
        share = document["judged"]["share_of_the_way"]
        out.print(f"The model goes {share:.1%} of the way from chance to the best score that the history allows.")
    else:
        out.print("Next: churn-clv train with this config, or churn-clv simulate --judge.")


@app.command("features")
def list_features(
    configs: Configs,
    as_json: Json = False,
    markdown: Annotated[bool, typer.Option(help="As docs/features.md.")] = False,
) -> None:
    """List the features this config's log gives: name, family, meaning, null policy."""
    from churn_clv import bundle, timeline
    from churn_clv import features as families

    settings = config.load(*configs)
    log = _read_log(settings)
    definitions = timeline.define(log, settings, as_of=log.ends)
    entries, absent = bundle.feature_entries(definitions), families.left_out(definitions)
    if as_json:
        _print_json({"features": entries, "families_left_out": absent})
    elif markdown:
        sys.stdout.write(families.as_markdown(definitions))
    else:
        _print_rows(
            f"{len(entries)} features", [{k: e[k] for k in ("name", "family", "meaning", "nulls")} for e in entries]
        )
        for family, why in absent.items():
            out.print(f"left out: {family} ({why})")


# --- progress and output ------------------------------------------------------------------------
def _timed(work: Callable[[Callable[[str], None]], Any]) -> Any:
    """Run ``work`` with a function that reports its stages on stderr with the seconds since the start."""
    began = time.monotonic()

    def say(stage: str) -> None:
        err.print(f"[dim]{time.monotonic() - began:6.1f} s[/]  {escape(stage)} ...")

    result = work(say)
    err.print(f"[dim]{time.monotonic() - began:6.1f} s[/]  done")
    return result


def _read_log(settings: config.Config) -> Any:
    """The log, with its progress shown."""
    from churn_clv import events

    def work(say: Callable[[str], None]) -> events.Log:
        say("reading the log")
        return events.read_log(settings)

    return _timed(work)


def _bundle(settings: config.Config, version: str | None) -> Any:
    """The registered version asked for, else the published bundle."""
    from churn_clv import publish as folder
    from churn_clv.bundle import load_bundle

    if version is not None:
        from churn_clv import tracking

        return load_bundle(tracking.fetch(settings, version))
    folder.check_owner(settings)
    sha = folder.current(settings.bundles_folder)
    if sha is None:
        raise UserError(f"no bundle is published in {settings.bundles_folder}. Run `churn-clv train` first.")
    return load_bundle(settings.bundles_folder / sha)


def _check_port(host: str, port: int) -> None:
    """Refuse an address that is taken before a server is started on it."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise UserError(f"{host}:{port} cannot be used ({error.strerror}). Set service.port to another.") from None


def _print_json(document: Mapping[str, Any]) -> None:
    sys.stdout.write(json.dumps(document, indent=2, default=str, allow_nan=False) + "\n")


def _print_rows(title: str, rows: Sequence[Mapping[str, Any]]) -> None:
    table = Table(title=title, title_justify="left", title_style="bold", header_style="bold")
    for name in rows[0]:
        numeric = isinstance(rows[0][name], int | float) and not isinstance(rows[0][name], bool)
        table.add_column(name.replace("_", " "), justify="right" if numeric else "left")
    for row in rows:
        table.add_row(*(escape(_cell(v)) for v in row.values()))
    out.print(table)


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    return f"{value:.4f}" if isinstance(value, float) else str(value)


def _note(text: str | None) -> None:
    if text:
        out.print(escape(text))


LADDER_COLUMNS = {
    "churn_auroc": "AUC", "churn_log_loss": "log loss", "churn_ece": "ECE", "churn_lift_top_decile": "lift",
    "spend_gini": "Gini", "spend_mae": "MAE", "spend_tweedie_deviance": "Tweedie", "spend_total_ratio": "total",
}  # fmt: skip
FORMATS = {"spend_mae": "{:.2f}", "spend_tweedie_deviance": "{:.2f}", "churn_lift_top_decile": "{:.2f}",
           "spend_total_ratio": "{:.2f}"}  # fmt: skip


# The document calls this run's judged recipe "champion" whether it is promoted or not; people would misread that.
RUNGS = {"champion": "this run", "current_champion": "current champion"}


def _print_training(document: Mapping[str, Any], settings: config.Config) -> None:
    if document["plan"]:
        _print_rows("Temporal plan", document["plan"])
    _note(document.get("plan_note"))
    _print_data(document["data"])
    _print_ladder(document["ladder"])
    verdict, _, why = document["why"].partition(":")
    out.print(f"[bold]{escape(verdict)}[/]:{escape(why.replace('; ', f'{chr(10)}  '))}")
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


def _print_scoring(document: Mapping[str, Any]) -> None:
    out.print(
        f"{document['rows']:,} customers known at {document['cutoff']}, {document['eligible']:,} eligible "
        f"(others: {document['reasons'] or 'none'}); bands {document['bands']}"
    )
    if document["expected_spend_total"] is not None:
        out.print(
            f"expected spend of the next {document['horizon_days']} days: {document['expected_spend_total']:,.2f} "
            f"{document['currency']}"
        )
    if document["in_sample"]:
        out.print("[bold]in sample[/]: the model has learnt from labels after this cutoff; these scores look too good.")
    out.print(f"written to {document['path']}" + (" and scores.csv beside it" if document["csv"] else ""))


def _print_readiness(document: Mapping[str, Any]) -> None:
    for finding in document["findings"]:
        colour = {"error": "red", "warning": "yellow"}.get(finding["severity"], "dim")
        where = ", ".join(str(finding[k]) for k in ("source", "column", "where") if finding[k])
        out.print(
            f"[{colour}]{finding['severity']:8}[/] {escape(finding['found'])}{escape(f' ({where})' if where else '')}"
        )
        out.print(f"         {escape(finding['do'])}", style="dim")
    if document["plan"]:
        _print_rows("\nTemporal plan", document["plan"])
    _note(document["plan_note"])
    for notice in document["notices"]:
        out.print(escape(notice), style="dim")
    for target in document["targets"]:
        word = "[green]ready[/]" if target["ready"] else "[red]not ready[/]"
        out.print(f"{word} for {target['target']}" + escape("".join(f": {w}" for w in target["why_not"][:1])))


MISSES = {"plan": "plan", "return": "return", "base_rate": "base rate", "classes": "300 of each"}
ADVICE_COLUMNS = (
    "return: of those silent for the whole window, the share that buys within two horizons. churned, stayed: the "
    "fewest at any cutoff.\ncome back: of the churned, the share that buys within the two horizons after. train: "
    "training cutoffs."
)


def _print_advice(document: Mapping[str, Any]) -> None:
    chosen, own = document["chosen"], document["configured"]
    if document["horizons"]:
        _print_rows(
            "Horizons in whole weeks, each with its activity window", [_advised(h) for h in document["horizons"]]
        )
    if chosen:
        out.print(
            f"[bold]horizon_days: {chosen['horizon_days']}, active_within_days: {chosen['active_within_days']}[/] "
            f"({_measured(chosen)})."
        )
    else:
        out.print("[bold]no such horizon[/]")
    out.print(escape(document["reason"]))
    near = document["nearest"]
    if near:
        out.print(f"Nearest: {_pair(near)}: {'; '.join(near['misses'].values())}.")
    verdict = "; ".join(own["misses"].values()) or "fine"
    out.print(escape(f"Your config: {_pair(own)}: {_measured(own)}: {verdict}"))
    out.print(f"picture: {document['picture']}")


def _advised(horizon: Mapping[str, Any]) -> dict[str, str]:
    """A horizon as a row of the table; what it misses in a word each, as the numbers stand beside."""
    passed = "holds at every cutoff" if horizon["firm"] else "acceptable"
    return {
        "horizon": str(horizon["horizon_days"]),
        "active": _cell(horizon["active_within_days"]),
        "return": _share(horizon["return_share"]),
        "base rate": _share(horizon["base_rate"]),
        "churned": f"{horizon['churned']:,}",
        "stayed": f"{horizon['stayed']:,}",
        "come back": _share(horizon["come_back"]),
        "train": str(horizon["train_cutoffs"]),
        "backtest": "fits" if horizon["backtest_fits"] else "-",
        "verdict": "misses " + ", ".join(MISSES[m] for m in horizon["misses"]) if horizon["misses"] else passed,
    }


def _pair(horizon: Mapping[str, Any]) -> str:
    return f"horizon {horizon['horizon_days']}, active within {_cell(horizon['active_within_days'])}"


def _measured(horizon: Mapping[str, Any]) -> str:
    back, late = horizon["return_share"], horizon["come_back"]
    parts = [f"base rate {_share(horizon['base_rate'])}", f"{_share(back)} buy again after such a silence"]
    if late is not None:
        parts.append(f"{_share(late)} of the churned come back" + (", so read lapse" if late > 0.2 else ""))
    return "; ".join(parts)


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:.0%}"


if __name__ == "__main__":
    main()
