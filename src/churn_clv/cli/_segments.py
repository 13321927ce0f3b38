"""The command that shows who the customers are: segments."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape

from churn_clv.cli import _show
from churn_clv.cli._score import bundle_of
from churn_clv.cli._show import out
from churn_clv.cli._work import Configs, Json, ready, timed

TITLES = {
    "lifecycle_stage": "Lifecycle", "rfm_group": "RFM groups", "value_tier": "Value tiers",
    "value_risk": "Value x risk", "cluster": "Clusters",
}  # fmt: skip

# A wider matrix is not printed (the document has all of it), nor are smaller moves.
MOST_COLUMNS, MOST_MOVES = 9, 6


def segments(
    configs: Configs,
    cutoff: Annotated[str | None, typer.Option(help="A date; default: the end of the log.")] = None,
    against: Annotated[str | None, typer.Option(help="An earlier date: who moved since, by count and money.")] = None,
    version: Annotated[str | None, typer.Option(help="A registered version or alias; default: the published.")] = None,
    folder: Annotated[Path | None, typer.Option("--out", help="Write the pictures here.")] = None,
    as_json: Json = False,
) -> None:
    """Show every customer segment: how many, what they are worth, and who moved since an earlier cutoff."""
    settings = ready(*configs)
    from churn_clv import events, portfolio
    from churn_clv.bundle import as_date

    when, since = (as_date(day) if day else None for day in (cutoff, against))

    def work(say: Callable[[str], None]) -> dict[str, Any]:
        bundle = bundle_of(settings, version)
        say("reading the log")
        log = events.read_log(settings)
        document = portfolio.run(bundle, log, when, since, say)
        return document | {"pictures": _drawn(document, folder, say) if folder else []}

    _show.answer(timed(work), as_json, print_segments)


def _drawn(document: Mapping[str, Any], folder: Path, say: Callable[[str], None]) -> list[str]:
    from churn_clv import figures, portfolio_figure

    say("drawing")
    return [str(path) for path in figures.save(portfolio_figure.draw(document), folder)]


def print_segments(document: Mapping[str, Any]) -> None:
    """The sizes and money of each segmentation, then the flows, then what is missing."""
    months, currency = document["months"], document["currency"]
    out.print(f"{document['customers']:,} customers known at {document['cutoff']}; money in {currency}")
    for column, rows in document["segments"].items():
        if rows:
            _show.print_rows(f"\n{TITLES[column]} ({column})", [_size(row, months) for row in rows])
    if document["migration"]:
        for column, moves in document["migration"].items():
            _print_moves(TITLES[column], moves, document)
    for note in (*document["notes"], *document["empty"]):
        out.print(f"[dim]{escape(note)}[/]")
    if document["in_sample"]:
        out.print("[bold]in sample[/]: the model has learnt from labels after a cutoff; tiers and risks look too good.")
    for path in document["pictures"]:
        out.print(f"picture: {escape(path)}")


def _size(row: Mapping[str, Any], months: int) -> dict[str, str]:
    return {
        "segment": row["segment"], "customers": f"{row['customers']:,}", "share": _share(row["share"]),
        f"CLV {months} months": _money(row["clv"]), "share of CLV": _share(row["clv_share"]),
        "expected spend": _money(row["expected_spend"]), "margin so far": _money(row["historic_value"]),
    }  # fmt: skip


def _print_moves(title: str, moves: Mapping[str, Any], document: Mapping[str, Any]) -> None:
    from churn_clv.segments import matrix

    known = moves["stayed"] + moves["moved"]
    if not known:
        return
    out.print(f"\n[bold]{title} from {document['against']} to {document['cutoff']}[/]: {moves['moved']:,} of {known:,} "
              f"customers moved ({moves['moved'] / known:.1%}), {moves['new']:,} are new")  # fmt: skip
    rows = matrix(moves["flows"], "customers")
    if rows and len(rows[0]) <= MOST_COLUMNS:
        _show.print_rows("customers by segment left (rows) and reached",
                         [{k: v if k == "from" else f"{v:,}" for k, v in row.items()} for row in rows])  # fmt: skip
    if far := _largest(moves["flows"]):
        _show.print_rows("the largest moves by CLV", far)


def _largest(flows: Sequence[Mapping[str, Any]]) -> list[dict[str, str]]:
    """The flows between two segments with most money on either side."""
    went = [f for f in flows if f["from"] != f["to"]]
    went = sorted(went, key=lambda f: -max(f["money_before"] or 0.0, f["money_after"] or 0.0))[:MOST_MOVES]
    return [
        {"from": f["from"], "to": f["to"], "customers": f"{f['customers']:,}", "CLV then": _money(f["money_before"]),
         "CLV now": _money(f["money_after"])}
        for f in went
    ]  # fmt: skip


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:.1%}"


def _money(value: float | None) -> str:
    return "-" if value is None else f"{value:,.0f}"
