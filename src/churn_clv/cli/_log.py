"""The commands that look at a log before anything is learnt: init, check, plan, advise, features."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape

from churn_clv.cli import _show
from churn_clv.cli._show import out
from churn_clv.cli._work import USER_ERROR, Configs, Json, read_log, ready
from churn_clv.errors import UserError


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


def check(configs: Configs, as_json: Json = False) -> None:
    """Say what the log is good for before any training: findings, minimums, the temporal plan."""
    settings = ready(*configs)
    from churn_clv import readiness

    log = read_log(settings)
    report = readiness.check(log, settings)
    document = readiness.as_document(report)
    _show.answer(document, as_json, print_readiness)
    if not report.ready:
        raise typer.Exit(USER_ERROR)


def plan(configs: Configs, as_json: Json = False) -> None:
    """Show the temporal plan: which cutoffs train, validate and test."""
    settings = ready(*configs)
    from churn_clv import timeline

    log = read_log(settings)
    if "purchase" not in log.starts:
        raise UserError("the log has no 'purchase' events. Map event_type to 'purchase'.")
    found = timeline.make_plan(log.starts["purchase"], log.ends, settings.timeline)
    document = {"plan": found.rows(), "note": found.note, "horizon_days": found.horizon_days}
    _show.answer(document, as_json, print_plan)


def advise(
    configs: Configs,
    picture: Annotated[Path | None, typer.Option("--out", help="The picture; default: <out>/advice.png.")] = None,
    as_json: Json = False,
) -> None:
    """Say which horizon and which activity window fit the log, and why; or that none does."""
    settings = ready(*configs)
    from churn_clv import advice, advice_figure, figures

    path = picture or Path(settings.out) / "advice.png"
    if path.suffix.lower() != ".png":
        raise UserError(f"{path} does not end in .png, and the picture is one. Give such a name.")
    log = read_log(settings)
    found = advice.advise(log, settings)
    figures.save({path.stem: advice_figure.draw(found)}, path.parent)
    document = advice.as_document(found) | {"picture": str(path)}
    _show.answer(document, as_json, print_advice)


def list_features(
    configs: Configs,
    as_json: Json = False,
    markdown: Annotated[bool, typer.Option(help="As docs/features.md.")] = False,
) -> None:
    """List the features this config's log gives: name, family, meaning, null policy."""
    settings = ready(*configs)
    from churn_clv import bundle, timeline
    from churn_clv import features as families

    log = read_log(settings)
    definitions = timeline.define(log, settings, as_of=log.ends)
    if markdown and not as_json:
        sys.stdout.write(families.as_markdown(definitions))
        return
    entries, absent = bundle.feature_entries(definitions), families.left_out(definitions)
    _show.answer({"features": entries, "families_left_out": absent}, as_json, print_features)


# --- how it is shown ---------------------------------------------------------------------------------
def print_plan(document: Mapping[str, Any]) -> None:
    _show.print_rows("Temporal plan", document["plan"])
    _show.print_note(document["note"])


def print_features(document: Mapping[str, Any]) -> None:
    entries = document["features"]
    rows = [{k: e[k] for k in ("name", "family", "meaning", "nulls")} for e in entries]
    _show.print_rows(f"{len(entries)} features", rows)
    for family, why in document["families_left_out"].items():
        out.print(f"left out: {family} ({why})")


def print_readiness(document: Mapping[str, Any]) -> None:
    for finding in document["findings"]:
        colour = {"error": "red", "warning": "yellow"}.get(finding["severity"], "dim")
        where = ", ".join(str(finding[k]) for k in ("source", "column", "where") if finding[k])
        out.print(
            f"[{colour}]{finding['severity']:8}[/] {escape(finding['found'])}{escape(f' ({where})' if where else '')}"
        )
        out.print(f"         {escape(finding['do'])}", style="dim")
    if document["plan"]:
        _show.print_rows("\nTemporal plan", document["plan"])
    _show.print_note(document["plan_note"])
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


def print_advice(document: Mapping[str, Any]) -> None:
    chosen, own = document["chosen"], document["configured"]
    if document["horizons"]:
        _show.print_rows(
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
        "active": _show.cell(horizon["active_within_days"]),
        "return": _show.share(horizon["return_share"]),
        "base rate": _show.share(horizon["base_rate"]),
        "churned": f"{horizon['churned']:,}",
        "stayed": f"{horizon['stayed']:,}",
        "come back": _show.share(horizon["come_back"]),
        "train": str(horizon["train_cutoffs"]),
        "backtest": "fits" if horizon["backtest_fits"] else "-",
        "verdict": "misses " + ", ".join(MISSES[m] for m in horizon["misses"]) if horizon["misses"] else passed,
    }


def _pair(horizon: Mapping[str, Any]) -> str:
    return f"horizon {horizon['horizon_days']}, active within {_show.cell(horizon['active_within_days'])}"


def _measured(horizon: Mapping[str, Any]) -> str:
    back, late = horizon["return_share"], horizon["come_back"]
    parts = [f"base rate {_show.share(horizon['base_rate'])}", f"{_show.share(back)} buy again after such a silence"]
    if late is not None:
        parts.append(f"{_show.share(late)} of the churned come back" + (", so read lapse" if late > 0.2 else ""))
    return "; ".join(parts)
