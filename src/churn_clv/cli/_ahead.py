"""The commands that look at everyone's money in sum: forecast, whatif."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape

from churn_clv.cli import _show
from churn_clv.cli._score import bundle_of
from churn_clv.cli._show import out
from churn_clv.cli._work import Configs, Json, ready, timed

PARTS = {"known": "known customers", "new": "new customers", "total": "total"}
CHANGES = {
    "lapse": "one point less lapse", "order_value": "order value +2%", "margin": "margin +1 point",
    "discount": "discount rate -1 point",
}  # fmt: skip


def forecast(
    configs: Configs,
    folder: Annotated[Path | None, typer.Option("--out", help="Picture, document; default: <out>/forecast/...")] = None,
    as_json: Json = False,
) -> None:
    """Say what the next horizon will bring, of known and of new customers, with a band from earlier origins."""
    settings = ready(*configs)
    from churn_clv import events, figures, forecast_figure
    from churn_clv import forecast as ahead

    name = f"{settings.dataset}-h{settings.timeline.horizon_days}"
    place = folder or Path(settings.out) / "forecast" / name

    def work(say: Callable[[str], None]) -> dict[str, Any]:
        say("reading the log")
        document = ahead.run(settings, events.read_log(settings), say)
        say("drawing")
        figures.save({"forecast": forecast_figure.draw(document)}, place)
        text = json.dumps(document, indent=2, allow_nan=False)
        (place / "forecast.json").write_text(text + "\n", encoding="utf-8")
        return document | {"picture": str(place / "forecast.png")}

    document = timed(work)
    _show.answer(document, as_json, print_forecast)


def print_forecast(document: Mapping[str, Any]) -> None:
    """The three totals, then each origin, then what they say."""
    currency, days = document["currency"], document["horizon_days"]
    title = f"Spend of the next {days} days from {document['cutoff']} on ({currency})"
    _show.print_rows(title, [_part(name, document[name]) for name in PARTS])
    _show.print_rows(f"\nThe same from earlier origins, {document['origin_step_days']} days apart",
                     [_origin(row) for row in document["origins"]])  # fmt: skip
    known, new = document["known"], document["new"]
    who = ", ".join(f"{n:,} {kind}" for kind, n in known["customers"].items())
    out.print(f"known customers: {who}; new customers by '{new['method']}' of the windows before")
    if known["unpredicted"]:
        out.print(
            f"{known['unpredicted']:,} of them have no prediction (no window of their kind was seen): counted as 0"
        )
    out.print(escape(f"{document['origins_note']}. Season {document['season']}: {document['season_note']}."))
    if document["mape"] is not None:
        out.print(
            f"off by {document['mape']:.1%} on average; repeating the last horizon: {document['naive_mape']:.1%} "
            f"(it would say {document['last_horizon']:,.0f} now). "
            f"In the band: {document['inside_band']} of the {document['banded_origins']} origins that had one."
        )
    out.print(f"picture: {document['picture']}")


def _part(name: str, found: Mapping[str, Any]) -> dict[str, str]:
    return {"of": PARTS[name]} | {k: f"{found[k]:,.0f}" for k in ("expected", "low", "high")}


def _origin(row: Mapping[str, Any]) -> dict[str, str]:
    said, came = ({part: row[f"{part}_{what}"] for part in PARTS} for what in ("predicted", "actual"))
    band = "-" if row["total_low"] is None else f"{row['total_low']:,.0f} to {row['total_high']:,.0f}"
    both = {f"{part} (came)": f"{said[part]:,.0f} ({came[part]:,.0f})" for part in PARTS}
    ratio = "-" if row["ratio"] is None else f"{row['ratio']:.3f}"
    return {"origin": row["cutoff"]} | both | {"ratio": ratio, "band": band,
                                               "last horizon": f"{row['last_horizon']:,.0f}"}  # fmt: skip


def whatif(
    configs: Configs,
    version: Annotated[str | None, typer.Option(help="A registered version or alias; default: the published.")] = None,
    as_json: Json = False,
) -> None:
    """Say what less lapse, dearer orders, more margin or less discount would add to value, by value tier."""
    settings = ready(*configs)
    from churn_clv import events
    from churn_clv import whatif as change

    def work(say: Callable[[str], None]) -> dict[str, Any]:
        bundle = bundle_of(settings, version)
        say("reading the log")
        log = events.read_log(settings)
        say("scoring")
        return change.run(bundle, log)

    document = timed(work)
    _show.answer(document, as_json, print_whatif)


def print_whatif(document: Mapping[str, Any]) -> None:
    """Who holds the value, then what each change adds to it."""
    currency, months, days = document["currency"], document["months"], document["horizon_days"]
    title = f"Value at {document['cutoff']}: CLV of {months} months and of the next {days} days ({currency})"
    _show.print_rows(title, [_tier(row, months, days) for row in document["tiers"]])
    for row in document["tiers"]:
        if row["tied"]:
            out.print(f"{row['tier']}: {row['tied']:,} customers of lower tiers have the same lowest CLV; ids decide")
    title = f"\nWhat a change adds to the CLV of {months} months, and of the next {days} days ({currency})"
    _show.print_rows(title, [_added(one, row) for one in document["changes"] for row in one["tiers"]])
    if document["without_value"]:
        out.print(f"{document['without_value']:,} customers have no CLV and are left out")
    out.print(escape(document["intervals"]))
    if document["in_sample"]:
        out.print("[bold]in sample[/]: the model has learnt from labels after this cutoff.")


def _tier(row: Mapping[str, Any], months: int, days: int) -> dict[str, str]:
    cut = "-" if row["cut"] is None else f"{row['cut']:,.2f}"
    return {
        "tier": row["tier"], "customers": f"{row['n']:,}", "eligible": f"{row['eligible']:,}", "lowest": cut,
        f"{months} months": f"{row['value']:,.0f}", f"{days} days": f"{row['horizon_value']:,.0f}",
    }  # fmt: skip


def _added(one: Mapping[str, Any], row: Mapping[str, Any]) -> dict[str, str]:
    def told(prefix: str) -> str:
        values = (row[f"{prefix}{k}"] for k in ("change", "low", "high"))
        return "{:+,.0f} ({:,.0f} to {:,.0f})".format(*values)

    share = "-" if row["share"] is None else f"{row['share']:+.2%}"
    return {"change": CHANGES[one["change"]], "tier": row["tier"], "CLV": told(""), "of it": share,
            "horizon": told("horizon_")}  # fmt: skip
