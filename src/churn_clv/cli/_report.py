"""The command that writes the report of the customers: report."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape

from churn_clv import config
from churn_clv.cli import _show
from churn_clv.cli._act import Files, _actions
from churn_clv.cli._score import bundle_of
from churn_clv.cli._show import out
from churn_clv.cli._watch import judged_of, past_of
from churn_clv.cli._work import Configs, Json, timed
from churn_clv.errors import UserError


def report(
    configs: Configs,
    file: Annotated[Path, typer.Option("--out", help="The HTML file; its tables go to <name>_tables beside it.")],
    cutoff: Annotated[str | None, typer.Option(help="A date; default: the end of the log.")] = None,
    against: Annotated[str | None, typer.Option(help="Compare with this date; default: a window before.")] = None,
    customer: Annotated[str | None, typer.Option(help="Write this customer's page instead.")] = None,
    files: Files = None,
    budget: Annotated[float | None, typer.Option(min=0, help="Of the plan: expected outlay at most.")] = None,
    version: Annotated[str | None, typer.Option(help="A registered version or alias; default: the published.")] = None,
    language: Annotated[str, typer.Option(help="Of a customer's reasons: en, zh.")] = "en",
    as_json: Json = False,
) -> None:  # fmt: skip
    """Write one HTML file on the customers: KPIs, cohorts, segments, journey, drivers, plan; or one customer's page."""
    from churn_clv import overview_page
    from churn_clv.bundle import as_date

    settings = config.load(*configs)
    overview_page.check_place(file)
    when, since = (as_date(day) if day else None for day in (cutoff, against))
    actions = _actions(settings, files, budget, None)
    if customer is not None:
        document = timed(lambda say: _customer(settings, customer, file, when, actions, version, language, say))
        _show.answer(document, as_json, _print_customer)
        return
    shipped = not (files or settings.actions.files)
    document = timed(lambda say: _report(settings, file, when, since, actions, shipped, version, say))
    _show.answer(document, as_json, print_report)


def _report(
    settings: config.Config, file: Path, when: Any, since: Any, actions: Any, shipped: bool, version: str | None,
    say: Callable[[str], None],
) -> dict[str, Any]:  # fmt: skip
    from churn_clv import actions_figure, events, overview, overview_figure, overview_page, portfolio_figure

    bundle = bundle_of(settings, version)
    say("reading the log")
    log = events.read_log(settings)
    stored, _ = judged_of(settings, bundle)
    past, _ = past_of(settings, bundle, log)
    document = overview.run(settings, bundle, log, when, since, book=actions, shipped=shipped, judged=stored, past=past,
                            measured=_measured(settings), say=say)  # fmt: skip
    say("drawing")
    drawn = overview_figure.draw(document)
    if document["segments"]["missing"] is None:
        drawn |= portfolio_figure.draw(document["segments"])
    if document["plan"]["missing"] is None:
        drawn["plan"] = actions_figure.draw(document["plan"])
    tables = overview_page.write_tables(document, file)
    overview_page.write(overview_page.render(document, overview_figure.png(drawn)), file)
    return document | {"page": str(file), "tables": [str(path) for path in tables]}


def _customer(
    settings: config.Config, who: str, file: Path, when: Any, actions: Any, version: str | None, language: str,
    say: Callable[[str], None],
) -> dict[str, Any]:  # fmt: skip
    from churn_clv import events, explain, overview, overview_figure, overview_page

    explain.phrases(language)
    bundle = bundle_of(settings, version)
    say("reading the log")
    log = events.read_log(settings)
    document = overview.customer(settings, bundle, log, who, when, actions, language)
    say("drawing")
    drawn = overview_figure.png(overview_figure.draw_customer(document))
    overview_page.write(overview_page.render_customer(document, drawn), file)
    return document | {"page": str(file)}


def _measured(settings: config.Config) -> dict[str, Any] | None:
    """What ``churn-clv measure`` wrote, if it has; UserError for a damaged file."""
    from churn_clv import actions

    path = actions.overlay_file(settings).with_suffix(".json")
    if not path.is_file():
        return None
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except (ValueError, TypeError):
        raise UserError(f"{path} is damaged. Make it again (`churn-clv measure`), or remove it.") from None


# --- how it is shown ---------------------------------------------------------------------------------
def print_report(document: Mapping[str, Any]) -> None:
    """The KPIs, what is missing, and where the page is."""
    from churn_clv.overview_page._words import interval, number

    rows = [
        {"KPI": row["title"], "value": number(row["value"], row["unit"]), "95%": interval(row), "n": f"{row['n']:,}",
         "before": number(row["before"]["value"], row["unit"]), "change": row["change_is"] or "not tested"}
        for row in document["kpis"]["rows"] if row["value"] is not None
    ]  # fmt: skip
    if rows:
        _show.print_rows(f"KPIs of the {document['kpis']['window_days']} days before {document['cutoff']}", rows)
    for row in document["kpis"]["rows"]:
        if row["value"] is None:
            _show.print_note(f"{row['title']}: {row['missing']}")
    from churn_clv.overview import SECTIONS

    for name in SECTIONS:
        if document[name]["missing"] is not None:
            _show.print_note(f"{name}: {document[name]['missing']}; {document[name]['how']}")
    out.print(escape(f"written to {document['page']}, and {len(document['tables'])} tables beside it"))


def _print_customer(document: Mapping[str, Any]) -> None:
    out.print(escape(f"customer {document['customer_id']} as of {document['cutoff']}: written to {document['page']}"))
