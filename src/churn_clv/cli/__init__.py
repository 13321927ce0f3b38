"""The command line: ``churn-clv``. The only module that prints.

Results go to stdout, progress and warnings to stderr. Exit codes (contract K13): 0 done (also "already champion"),
1 unexpected failure, 2 the user's mistake, 3 trained but not promoted.
"""

from __future__ import annotations

import errno
import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape

from churn_clv import config
from churn_clv.cli import _show
from churn_clv.cli._show import err, out
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
        _show.print_json(document)
    else:
        _show.print_readiness(document)
    if not report.ready:
        raise typer.Exit(USER_ERROR)


@app.command()
def plan(configs: Configs, as_json: Json = False) -> None:
    """Show the temporal plan: which cutoffs train, validate and test."""
    from churn_clv import timeline

    settings = config.load(*configs)
    log = _read_log(settings)
    if "purchase" not in log.starts:
        raise UserError("the log has no 'purchase' events. Map event_type to 'purchase'.")
    found = timeline.make_plan(log.starts["purchase"], log.ends, settings.timeline)
    if as_json:
        _show.print_json({"plan": found.rows(), "note": found.note, "horizon_days": found.horizon_days})
    else:
        _show.print_rows("Temporal plan", found.rows())
        _show.print_note(found.note)


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
        _show.print_json(document)
    else:
        _show.print_advice(document)


@app.command()
def train(configs: Configs, as_json: Json = False) -> None:
    """Train, compare with the rungs and the champion, track, and promote and publish where it is better."""
    from churn_clv import events, retraining

    settings = config.load(*configs)
    document = _timed(lambda say: retraining.retrain(settings, lambda: events.read_log(settings), say))
    if as_json:
        _show.print_json(document)
    else:
        _show.print_training(document, settings)
    if not document["promoted"]:
        raise typer.Exit(NOT_PROMOTED)


@app.command()
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

    document = _timed(work)
    if as_json:
        _show.print_json(document)
    else:
        _show.print_backtest(document)


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
                _show.print_json({"bundle_version": sha, "folder": str(settings.bundles_folder)})
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
        _show.print_json(document)
    else:
        _show.print_scoring(document)


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
        _show.print_json(document)
        return
    out.print(
        f"{document['customers']:,} customers until {document['ends']}; log and truth are in {document['folder']}"
    )
    if judge:
        _show.print_rows(f"Out of time, {document['judged']['n']:,} eligible customers", document["judged"]["scores"])
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
        _show.print_json({"features": entries, "families_left_out": absent})
    elif markdown:
        sys.stdout.write(families.as_markdown(definitions))
    else:
        _show.print_rows(
            f"{len(entries)} features", [{k: e[k] for k in ("name", "family", "meaning", "nulls")} for e in entries]
        )
        for family, why in absent.items():
            out.print(f"left out: {family} ({why})")


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
