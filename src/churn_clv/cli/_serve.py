"""The commands that use what was learnt: publish, score, serve."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape

from churn_clv import config
from churn_clv.cli import _show
from churn_clv.cli._show import err, out
from churn_clv.cli._work import Configs, Json, timed
from churn_clv.errors import UserError


def publish(
    configs: Configs,
    version: Annotated[str, typer.Option(help="A registered version's number, or an alias.")] = "champion",
    follow: Annotated[bool, typer.Option(help="Keep publishing whatever the alias points at.")] = False,
    every_seconds: Annotated[float, typer.Option(help="How often --follow looks.", min=0.1)] = 10.0,
    as_json: Json = False,
) -> None:
    """Hand a registered bundle to the service's folder."""
    from churn_clv import publish as folder
    from churn_clv import succession

    settings = config.load(*configs)
    if follow and as_json:
        raise UserError("--json gives one document, and --follow never ends. Use one of them.")
    folder.check_owner(settings)
    last: str | None = None
    while True:
        sha = last
        try:
            sha = succession.publish_version(settings, version)
        except UserError as error:
            if not follow:
                raise
            err.print(f"[bold red]error:[/] {escape(str(error))}")
        if sha is not None and sha != last:
            document = {"bundle_version": sha, "folder": str(settings.bundles_folder)}
            _show.answer(document, as_json, print_published)
        if not follow:
            return
        last = sha
        time.sleep(every_seconds)


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

    document = timed(work)
    _show.answer(document, as_json, print_scoring)


def serve(configs: Configs) -> None:
    """Answer prediction requests on loopback until stopped."""
    settings = config.load(*configs)
    from churn_clv import publish as folder
    from churn_clv import service

    s = settings.service
    folder.check_owner(settings)
    _check_port(s.host, s.port)
    err.print(f"serving {settings.bundles_folder} on http://{s.host}:{s.port} (Ctrl-C stops it)")
    service.serve(s.host, s.port, settings.bundles_folder, s.poll_seconds, s)


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


# --- how it is shown ---------------------------------------------------------------------------------
def print_published(document: Mapping[str, Any]) -> None:
    out.print(f"{document['folder']}/CURRENT is bundle {document['bundle_version'][:16]}.")


def print_scoring(document: Mapping[str, Any]) -> None:
    out.print(
        f"{document['rows']:,} customers known at {document['cutoff']}, {document['eligible']:,} eligible "
        f"(others: {document['reasons'] or 'none'}); bands {document['bands']}"
    )
    if document["expected_spend_total"] is not None:
        out.print(
            f"expected spend of the next {document['horizon_days']} days: {document['expected_spend_total']:,.2f} "
            f"{document['currency']}"
        )
    months, total = list(document["clv_total"].items())[-1]
    if total is not None:
        out.print(f"CLV of the next {months} months, of everyone known: {total:,.2f} {document['currency']}")
        bounded = [m for m, low in document["clv_total_low"].items() if low is not None]
        for m in bounded[-1:]:
            low, value, high = (document[f"clv_total{end}"][m] for end in ("_low", "", "_high"))
            out.print(f"of {m} months: {value:,.2f}, in 9 of 10 cases between {low:,.2f} and {high:,.2f}")
        if months not in bounded:
            out.print(f"[dim]no band for {months} months: the log is too short to have seen so many months mature[/]")
    if document["in_sample"]:
        out.print("[bold]in sample[/]: the model has learnt from labels after this cutoff; these scores look too good.")
    out.print(f"written to {document['path']}" + (" and scores.csv beside it" if document["csv"] else ""))
