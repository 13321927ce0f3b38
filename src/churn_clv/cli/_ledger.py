"""The command that says whether scores and promises held: ledger."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from rich.markup import escape

from churn_clv import config
from churn_clv.cli import _show
from churn_clv.cli._act import Files, _actions
from churn_clv.cli._show import out
from churn_clv.cli._work import Configs, Json, timed


def ledger(configs: Configs, files: Files = None, as_json: Json = False) -> None:
    """Set every stored scoring and released plan against what came of it; alarm where the scores no longer hold."""
    settings = config.load(*configs)
    _show.answer(timed(lambda say: _ledger(settings, files, say)), as_json, print_ledger)


def _ledger(settings: config.Config, files: Any, say: Callable[[str], None]) -> dict[str, Any]:
    from churn_clv import actions, events, figures, ledger_figure
    from churn_clv import ledger as room

    plans = _actions(settings, files, None, None)
    released = actions.campaigns(actions.outbox_file(settings))
    say("reading the log")
    log = events.read_log(settings)
    document = room.run(settings, log, plans, released, say)
    say("drawing")
    folder = room.ledger_folder(settings)
    picture = figures.save({"ledger": ledger_figure.draw(document)}, folder)[0]
    document |= {"folder": str(folder), "picture": str(picture)}
    actions.write_json(document, folder / "ledger.json")
    return document


# --- how it is shown ---------------------------------------------------------------------------------
def print_ledger(document: Mapping[str, Any]) -> None:
    """A line per scoring, the alarm, the campaigns."""
    if document["scorings"]:
        title = f"Scorings whose {document['horizon_days']} days are over, against what came ({document['currency']})"
        _show.print_rows(title, [_scoring(row) for row in document["scorings"]])
    _show.print_note(document["why"])
    if document["open"]:
        out.print(f"still open: {', '.join(document['open'])}")
    _print_alarm(document["alarm"])
    _print_campaigns(document["campaigns"])
    out.print(escape(f"written to {document['folder']}: ledger.json, ledger.png"))


def _scoring(row: Mapping[str, Any]) -> dict[str, str]:
    lapse, spend = row["lapse"], row["spend"]
    ahead = row["ahead_of_recency"]
    return {
        "cutoff": row["cutoff"] + (" (in sample)" if row["in_sample"] else ""), "customers": f"{row['customers']:,}",
        "lapse predicted": f"{lapse['predicted']:.1%}",
        "realised": f"{lapse['realised']:.1%} ({lapse['low']:.1%} to {lapse['high']:.1%})",
        "spend predicted": f"{spend['predicted']:,.0f}" if spend else "-",
        "realised spend": f"{spend['realised']:,.0f} ({spend['low']:,.0f} to {spend['high']:,.0f})" if spend else "-",
        "AUC over recency": f"{ahead['points']:+.3f} ({ahead['low']:+.3f} to {ahead['high']:+.3f})" if ahead else "-",
    }  # fmt: skip


def _print_alarm(alarm: Mapping[str, Any]) -> None:
    if not alarm["counted"]:
        out.print("no alarm is possible yet: no window out of sample has closed")
        return
    rate = f"false alarms: at most {alarm['false_alarms_a_year']:.0%} a year"
    if alarm["raised"]:
        why = "; ".join(alarm["raised"]["why"])
        out.print(f"[bold red]ALARM[/] since the scoring of {alarm['raised']['cutoff']}: {why} ({rate})")
        out.print("look for what changed, then `churn-clv train`; the alarm stands until another model scores")
        return
    out.print(
        f"the scores hold: evidence against them {alarm['evidence']:.2g}, alarm at {alarm['limit']:.0f}, "
        f"{alarm['counted']} window(s) that do not overlap ({rate})"
    )


def _print_campaigns(found: Mapping[str, Any] | None) -> None:
    if found is None:
        out.print("no campaign was released")
        return
    rows = [
        {
            "campaign": one["campaign"], "treated": f"{one['treated']:,}", "promised": f"{one['promised_profit']:,.2f}",
            "realised": _realised(one.get("realised")), "why not": one["why"] or "-",
        }
        for one in found["campaigns"]
    ]  # fmt: skip
    _show.print_rows("Campaigns: profit", rows)


def _realised(found: Mapping[str, float] | None) -> str:
    return f"{found['profit']:,.2f} ({found['low']:,.2f} to {found['high']:,.2f})" if found else "not measurable"
