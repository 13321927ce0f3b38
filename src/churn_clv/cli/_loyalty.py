"""The command that shows how loyal the customers are, and who waits for an answer: loyalty."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from rich.markup import escape

from churn_clv import config
from churn_clv.cli import _show
from churn_clv.cli._show import out
from churn_clv.cli._work import Configs, Json, timed

LINES = 20


def loyalty(configs: Configs, as_json: Json = False) -> None:
    """Show the loyalty index against retention, surveys, and who waits for an answer, by value."""
    settings = config.load(*configs)
    _show.answer(timed(lambda say: _loyalty(settings, say)), as_json, print_loyalty)


def _loyalty(settings: config.Config, say: Callable[[str], None]) -> dict[str, Any]:
    from churn_clv import disk, events, forgotten, scoring
    from churn_clv import loyalty as room

    say("reading the log")
    log = events.read_log(settings)
    stored = scoring.stored(settings, log, forgotten.without(settings), log.ends)
    frame, document = room.run(settings, log, None if stored is None else stored[0], say)
    folder = room.loyalty_folder(settings) / f"cutoff={log.ends}"
    document |= {"folder": str(folder)}
    with disk.alone(room.loyalty_folder(settings) / ".lock", say):
        room.write(frame, document, folder)
    return document


# --- how it is shown ---------------------------------------------------------------------------------
def print_loyalty(document: Mapping[str, Any]) -> None:
    """The index by quintile, surveys, who waits."""
    out.print(f"[bold]{document['customers_known']:,} customers[/] known at {document['cutoff']}")
    told = ", ".join(f"{name} {weight:+g}" for name, weight in document["weights"].items())
    _show.print_note(f"index of: {told or 'nothing that the log has'}")
    if (found := document["retention"]) and found["quintiles"]:
        rows = [
            {"quintile": str(row["quintile"]), "customers": f"{row['customers']:,}",
             "bought within the horizon": f"{row['retention']:.1%} ({row['low']:.1%} to {row['high']:.1%})"}
            for row in found["quintiles"]
        ]  # fmt: skip
        _show.print_rows(f"Loyalty index at {found['cutoff']} against retention: {found['verdict']}", rows)
    for kind, row in document["surveys"].items():
        _show.print_note(
            f"{kind}: {row['net']:+.0f} ({row['net_low']:+.0f} to {row['net_high']:+.0f}) of {row['answers']:,} "
            f"answers; promoters {row['promoters']:.0%}, detractors {row['detractors']:.0%}"
        )
    if document["customers"]:
        name = "CLV" if document["value_of"] == "clv" else "margin of late"
        rows = [_row(row, name) for row in document["customers"][:LINES]]
        _show.print_rows(f"Who waits, dearest first ({name}, {document['currency']})", rows)
        if (left := len(document["customers"]) - LINES) > 0:
            out.print(f"and {left:,} more in the files")
    else:
        out.print("nobody waits for an answer")
    _show.print_note(room_told(document))
    for note in document["notes"]:
        _show.print_note(f"note: {note}")
    out.print(escape(f"written to {document['folder']}: loyalty.parquet, loyalty.csv, loyalty.json"))


def room_told(document: Mapping[str, Any]) -> str:
    """What is known of the programme."""
    from churn_clv import loyalty as room

    return room.told(document["programme"], document["currency"])


def _row(row: Mapping[str, Any], name: str) -> dict[str, str]:
    risk, value = row.get("churn_probability"), row["value"]
    return {
        "customer": row["customer_id"], name: "-" if value is None else f"{value:,.2f}", "why": row["why"],
        "days": str(row["days"]), "risk": "-" if risk is None else f"{risk:.1%}",
    }  # fmt: skip
