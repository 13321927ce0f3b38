"""The commands of the service: publish, serve."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Mapping
from typing import Annotated, Any

import typer
from rich.markup import escape

from churn_clv import config
from churn_clv.cli import _show
from churn_clv.cli._show import err, out
from churn_clv.cli._work import Configs, Json
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


def serve(configs: Configs) -> None:
    """Answer prediction requests, on loopback unless the config says otherwise, until stopped."""
    from churn_clv import playbook, service
    from churn_clv import publish as folder
    from churn_clv.cli._score import stored_environment
    from churn_clv.service.settings import actions_text

    named = config.names_dataset(*configs)
    settings = config.load(*configs) if named else config.places(*configs)
    s = settings.service
    if named:
        folder.check_owner(settings)
    elif not (s.bundles or os.environ.get("CHURN_CLV_BUNDLES")):
        raise UserError("the config names no dataset, so no bundles folder follows from it. Give service.bundles too.")
    _check_port(s.host, s.port)
    err.print(f"serving {settings.bundles_folder} on http://{s.host}:{s.port} (Ctrl-C stops it)")
    files = playbook.files_of(settings)
    playbook.own(files)  # a mistake in them is told here, and not by a worker
    given = stored_environment(settings, named) | actions_text(files)
    service.serve(s.host, s.port, settings.bundles_folder, s.poll_seconds, s, given)


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
