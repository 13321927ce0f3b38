"""The commands of the batch job: score, forget."""

from __future__ import annotations

import datetime as dt
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any
from zoneinfo import ZoneInfo

import typer
from rich.markup import escape

from churn_clv import config
from churn_clv.cli import _show
from churn_clv.cli._show import out
from churn_clv.cli._work import Configs, Json, ready, timed
from churn_clv.errors import UserError

PUBLISHED, NAMED, CHAMPION_THEN = "published", "named", "champion then"


def score(
    configs: Configs,
    cutoff: Annotated[
        str | None, typer.Option(help="A date, scored by the champion of that day; default: the end of the log.")
    ] = None,
    version: Annotated[str | None, typer.Option(help="A registered version or alias; default: the published.")] = None,
    csv: Annotated[bool, typer.Option("--csv", help="Write a CSV beside the Parquet files.")] = False,
    changes: Annotated[
        bool,
        typer.Option("--changes", help="Also write who changed since the last scoring: band, eligibility, reason."),
    ] = False,
    reasons: Annotated[
        str,
        typer.Option(
            help="Reasons too: a number, of so many likeliest to lapse (and of each target's highest), or `all`."
        ),
    ] = "0",
    language: Annotated[str, typer.Option(help="Of the reasons: en or zh.")] = "en",
    again: Annotated[bool, typer.Option("--again", help="Score even if the same log was scored already.")] = False,
    table: Annotated[
        bool | None,
        typer.Option(
            "--table/--no-table",
            help="Put the scores into the SQL table that the service reads; default: unless --version is given or the "
            "table holds a later cutoff.",
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Score every known customer at a cutoff: Parquet, CSV, and the SQL table that the service answers from."""
    settings = ready(*configs)
    from churn_clv import batch, explain, playbook
    from churn_clv.bundle import as_date
    from churn_clv.scoring import Asked
    from churn_clv.service.replies import Prediction

    when = as_date(cutoff) if cutoff else None
    wanted = False if table is None and version is not None else table
    why = _how_many(reasons)
    explain.phrases(language)
    actions = playbook.own(playbook.files_of(settings))

    def work(say: Callable[[str], None]) -> dict[str, Any]:
        bundle, chosen = _chosen(settings, version, when)
        asked = Asked(when, csv, changes, again, why, language, actions)
        return batch.score(settings, bundle, asked, tuple(Prediction.model_fields), say, wanted) | chosen

    _show.answer(timed(work), as_json, print_scoring)


def forget(
    configs: Configs,
    ids: Annotated[list[str] | None, typer.Option("--id", help="A customer's id, as the scores have it.")] = None,
    ids_file: Annotated[Path | None, typer.Option(help="A text file with one id a line.")] = None,
    as_json: Json = False,
) -> None:
    """Remove customers from the scores, the changes and the table of scores, and leave them out from now on."""
    from churn_clv import forgetting

    settings = config.load(*configs)
    names = [*(ids or []), *_listed(ids_file)]
    _show.answer(timed(lambda say: forgetting.forget(settings, names, say)), as_json, print_forgotten)


def stored_environment(settings: config.Config, named: bool = True) -> dict[str, str]:
    """What the service needs to answer by id: the table, the model's name in it, and the key of the forgotten.

    Where the config is not ``named`` after a data set, the model is the loaded bundle's, and the table the one that is
    set, if any.
    """
    from churn_clv import batch, pseudonym, scoretable
    from churn_clv.service import stored

    key = Path(settings.out).absolute() / pseudonym.FILE
    out = {stored.KEY_FILE: str(key)}
    given = batch.table_url(settings) if named else os.environ.get(scoretable.ENVIRONMENT) or settings.service.scores
    if given:
        out[stored.TABLE] = given if "://" in given else str(Path(given).absolute())
    return out | ({stored.MODEL: settings.registered_name} if named else {})


def _how_many(reasons: str) -> int | None:
    """Customers to explain; None for all of them."""
    if reasons == "all":
        return None
    if not reasons.isascii() or not reasons.isdigit() or len(reasons) > 9:
        raise UserError(f"--reasons {reasons} is neither a number of customers nor `all`.")
    return int(reasons)


def _listed(path: Path | None) -> list[str]:
    if path is None:
        return []
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"--ids-file {path} cannot be read: {error}. Give a text file with one id a line.") from None
    return [line for line in lines if line.strip()]


# --- which model -------------------------------------------------------------------------------------
def _chosen(settings: config.Config, version: str | None, when: dt.date | None) -> tuple[Any, dict[str, Any]]:
    """The bundle that scores, and how it was chosen.

    A version that is named; for an old cutoff the champion of that day; else what is published for the service.
    """
    from churn_clv.bundle import load_bundle

    if version is not None or when is None:
        chosen = PUBLISHED if version is None else NAMED
        return bundle_of(settings, version), {"model_chosen": chosen, "model_note": None}
    move, why_not = _champion_of(settings, when)
    if move is None:
        note = f"{why_not}: scored with the published bundle instead. --version names another."
        return bundle_of(settings, None), {"model_chosen": PUBLISHED, "model_note": note}
    from churn_clv import tracking

    note = f"version {move.version} was champion on {when} (since {move.at[:10]})"
    return load_bundle(tracking.fetch(settings, move.version)), {"model_chosen": CHAMPION_THEN, "model_note": note}


def _champion_of(settings: config.Config, day: dt.date) -> tuple[Any, str]:
    """The recorded move that made the champion of the end of a day, or None and why there is none.

    The end of the day, because a cutoff is its first midnight and the scoring runs some hours later.
    """
    try:
        from churn_clv import tracking
    except ImportError:
        return None, f"who was champion on {day} is not known here: MLflow is not installed"
    if not tracking.made_already(settings):
        return None, f"nobody is recorded as champion on {day}"
    ended = dt.datetime.combine(day + dt.timedelta(days=1), dt.time(), ZoneInfo(settings.events.timezone))
    moves, _ = tracking.history(settings)
    found = tracking.reigned(moves, ended)
    if found is not None:
        return found, ""
    first = next((m.at[:10] for m in moves if m.happened), None)
    since = f"; the first recorded promotion was on {first}" if first else ""
    return None, f"nobody is recorded as champion on {day}{since}"


def bundle_of(settings: config.Config, version: str | None) -> Any:
    """The registered version asked for, else the published bundle."""
    from churn_clv import publish as folder
    from churn_clv.bundle import load_bundle

    if version is not None:
        from churn_clv import tracking

        return load_bundle(tracking.fetch(settings, version))
    folder.check_owner(settings)
    sha = folder.current(settings.bundles_folder)
    if sha is None:
        raise UserError(
            f"no bundle is published in {settings.bundles_folder}. Run `churn-clv train` first. If it ran and said "
            f"'Not promoted', `churn-clv promote` judges its version again; score and whatif take --version, too."
        )
    return load_bundle(settings.bundles_folder / sha)


# --- how it is shown ---------------------------------------------------------------------------------
def print_scoring(document: Mapping[str, Any]) -> None:
    if document.get("model_note"):
        out.print(escape(f"{document['model_note']}"))
    if document.get("already_scored"):
        out.print("already scored: the same log, cutoff and model. Nothing was changed (--again scores it once more).")
    out.print(
        f"{document['rows']:,} customers known at {document['cutoff']}, {document['eligible']:,} eligible "
        f"(others: {document['reasons'] or 'none'}); bands {document['bands']}"
    )
    _print_money(document)
    if document["in_sample"]:
        out.print("[bold]in sample[/]: the model has learnt from labels after this cutoff; these scores look too good.")
    out.print(f"written to {document['path']}" + (", scores.csv beside" if document["csv"] else ""), markup=False)
    _print_changes(document)
    if document.get("explained"):
        why = document["explained"]
        out.print(f"reasons of {why['rows']:,} customers: {why['path']}", markup=False)
        for target, own in why["targets"].items():
            out.print(f"reasons of {target}, {own['rows']:,} customers: {own['path']}", markup=False)
    table = document.get("table")
    if table:
        state = "is in" if table["published"] else "was not put into"
        why = f": {table['why']}" if table["why"] else ""
        out.print(f"the scoring {state} the table of scores {table['url']}{why}", markup=False)


def _print_money(document: Mapping[str, Any]) -> None:
    currency = document["currency"]
    if document["expected_spend_total"] is not None:
        total = document["expected_spend_total"]
        out.print(f"expected spend of the next {document['horizon_days']} days: {total:,.2f} {currency}")
    months, total = list(document["clv_total"].items())[-1]
    if total is None:
        return
    out.print(f"CLV of the next {months} months, of everyone known: {total:,.2f} {currency}")
    bounded = [m for m, low in document["clv_total_low"].items() if low is not None]
    for m in bounded[-1:]:
        low, value, high = (document[f"clv_total{end}"][m] for end in ("_low", "", "_high"))
        out.print(f"of {m} months: {value:,.2f}, in 9 of 10 cases between {low:,.2f} and {high:,.2f}")
    if months not in bounded:
        out.print(f"[dim]no band for {months} months: the log is too short to have seen so many months mature[/]")


def _print_changes(document: Mapping[str, Any]) -> None:
    if "changes" not in document or not document.get("changes_asked"):
        return
    changes = document["changes"]
    if changes is None:
        out.print("changes: there is no earlier scoring to compare with")
        return
    out.print(
        f"{changes['rows']:,} customers changed since the scoring of {changes['previous_cutoff']} "
        f"({changes['joined']:,} of them new): {changes['path']}",
        markup=False,
    )


def print_forgotten(document: Mapping[str, Any]) -> None:
    for one in document["customers"]:
        known = "" if one["id"] not in document["never_known"] else "; no scoring has ever known this id"
        out.print(f"{one['id']}: {one['state']}{known}", markup=False)
    for place in document["removed"]:
        out.print(f"removed {place['rows']:,} row(s): {place['place']}", markup=False)
    if not document["removed"]:
        out.print("nothing held any of them: nothing was removed")
    for place in document["remains"]:
        out.print(f"remains: {place['place']}: {place['why']}", markup=False)
