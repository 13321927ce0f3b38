"""The KPI table, and the balance of customers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

from churn_clv.overview_page._words import NONE, Document, interval, number, share
from churn_clv.report.html import paragraph, picture, table

STATUS = {"reached": "\N{CHECK MARK} reached", "missed": "\N{BALLOT X} missed",
          "open": "? within the interval", None: NONE}  # fmt: skip


def kpis_section(document: Document, pictures: Mapping[str, bytes]) -> str:
    """The balance, the table of what could be counted, and the list of what could not."""
    found = document["kpis"]
    out = paragraph(
        f"The {found['window_days']} days from {found['from']} to before {found['until']}, beside those from "
        f"{found['against_from']} to before {found['against_until']}; each as it was known at its end."
    )
    if found["overlap"]:
        out += paragraph("The two periods overlap, so they share purchases.", "missing")
    out += _balance(found, pictures)
    counted = [row for row in found["rows"] if row["value"] is not None]
    heads = ("KPI", "value", "change", "real?", "before", "95% interval", "n")
    out += table(heads, [_row(row) for row in counted], text=(0, 3)) if counted else ""
    out += _aims(found["rows"])
    notes = "".join(f"<li>{escape(_note(row))}</li>" for row in counted if row["n_of"] or row["note"])
    star = "* predicted, so it has not matured. " if any(row["matured"] is False for row in counted) else ""
    out += paragraph(star + found["test"], "small") + (f'<ul class="small">{notes}</ul>' if notes else "")
    gone = [row for row in found["rows"] if row["value"] is None]
    if gone:
        out += "<h3>Not counted, and why</h3>"
        rows = [(row["title"], f"{row['missing']}", f"{row['how']}") for row in gone]
        out += table(("KPI", "what is missing", "how to have it"), rows, text=(0, 1, 2), wrapped=(1, 2))
    return out


def _row(row: Document) -> tuple[str, ...]:
    unit = row["unit"]
    n = NONE if row["n"] is None else f"{row['n']:,}"
    value = number(row["value"], unit) + ("" if row["matured"] else " *")
    p = row["p"]
    real = (
        {"real": "real", "noise": "noise", None: "not tested"}[row["change_is"]] if row["change"] is not None else NONE
    )
    if p is not None:
        real += f" (p {p:.2g})" if p >= 0.001 else " (p < 0.001)"
    return (
        row["title"], value, number(row["change"], unit, True), real, number(row["before"]["value"], unit),
        interval(row), n,
    )  # fmt: skip


def _note(row: Document) -> str:
    """What n counts, and what the reader should know."""
    counts = f" (n: {row['n_of']})" if row["n_of"] else ""
    return f"{row['title']}{counts}" + (f": {row['note']}" if row["note"] else "")


def _aims(rows: Sequence[Document]) -> str:
    own = [row for row in rows if row["target"] is not None]
    if not own:
        return paragraph("No KPI has a target. To have some: kpis.aims.", "missing")
    return "<h3>Targets</h3>" + table(
        ("KPI", "target", "value", "status", "owner", "due"),
        [(r["title"], number(r["target"], r["unit"]), number(r["value"], r["unit"]), STATUS[r["status"]],
          r["owner"] or NONE, r["due"] or NONE) for r in own], text=(0, 3, 4, 5),
    )  # fmt: skip


def _balance(found: Document, pictures: Mapping[str, bytes]) -> str:
    own = found["balance"]
    if own["missing"]:
        return paragraph(f"No balance of customers: {own['missing']}. To have it: {own['how']}.", "missing")
    lost = share(own["lapsed"] / own["active_start"]) if own["active_start"] else NONE
    says = (f"Of {own['active_start']:,} active customers {own['lapsed']:,} lapsed ({lost}); {own['new']:,} were new "
            f"and {own['won_back']:,} came back: {own['active_end']:,} are active now.")  # fmt: skip
    if own["came_and_went"]:
        says += f" {own['came_and_went']:,} came and went within the period."
    shown = picture("Active customers at the start, lapsed, new, won back, at the end", pictures["balance"], False) \
        if "balance" in pictures else ""  # fmt: skip
    return shown + paragraph(says, "says")
