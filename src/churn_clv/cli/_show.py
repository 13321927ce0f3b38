"""How the command line shows each document: tables and sentences on stdout, errors and progress on stderr."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from churn_clv import config, wording

# Piped output is not cut to 80 columns: tables would lose their words.
WIDE = None if sys.stdout.isatty() else 132
out = Console(highlight=False, soft_wrap=True, width=WIDE)
err = Console(stderr=True, highlight=False, soft_wrap=True)


def print_json(document: Mapping[str, Any]) -> None:
    sys.stdout.write(json.dumps(document, indent=2, default=str, allow_nan=False) + "\n")


def answer(document: Mapping[str, Any], as_json: bool, show: Callable[[Mapping[str, Any]], None]) -> None:
    """The document on stdout: as JSON, or as ``show`` puts it to people."""
    if as_json:
        print_json(document)
    else:
        show(document)


def print_rows(title: str, rows: Sequence[Mapping[str, Any]]) -> None:
    table = Table(title=title, title_justify="left", title_style="bold", header_style="bold")
    for name in rows[0]:
        numeric = isinstance(rows[0][name], int | float) and not isinstance(rows[0][name], bool)
        table.add_column(name.replace("_", " "), justify="right" if numeric else "left")
    for row in rows:
        table.add_row(*(escape(_cell(v)) for v in row.values()))
    out.print(table)


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    return f"{value:.4f}" if isinstance(value, float) else str(value)


def print_note(text: str | None) -> None:
    if text:
        out.print(escape(text))


def print_plan(document: Mapping[str, Any]) -> None:
    print_rows("Temporal plan", document["plan"])
    print_note(document["note"])


def print_features(document: Mapping[str, Any]) -> None:
    entries = document["features"]
    rows = [{k: e[k] for k in ("name", "family", "meaning", "nulls")} for e in entries]
    print_rows(f"{len(entries)} features", rows)
    for family, why in document["families_left_out"].items():
        out.print(f"left out: {family} ({why})")


def print_published(document: Mapping[str, Any]) -> None:
    out.print(f"{document['folder']}/CURRENT is bundle {document['bundle_version'][:16]}.")


def print_simulation(document: Mapping[str, Any]) -> None:
    out.print(
        f"{document['customers']:,} customers until {document['ends']}; log and truth are in {document['folder']}"
    )
    if judged := document.get("judged"):
        print_rows(f"Out of time, {judged['n']:,} eligible customers", judged["scores"])
        share = judged["share_of_the_way"]
        out.print(f"The model goes {share:.1%} of the way from chance to the best score that the history allows.")
    else:
        out.print("Next: churn-clv train with this config, or churn-clv simulate --judge.")


LADDER_COLUMNS = {
    "churn_auroc": "AUC", "churn_log_loss": "log loss", "churn_ece": "ECE", "churn_lift_top_decile": "lift",
    "spend_gini": "Gini", "spend_mae": "MAE", "spend_tweedie_deviance": "Tweedie", "spend_total_ratio": "total",
}  # fmt: skip
FORMATS = {"spend_mae": "{:.2f}", "spend_tweedie_deviance": "{:.2f}", "churn_lift_top_decile": "{:.2f}",
           "spend_total_ratio": "{:.2f}"}  # fmt: skip


# The document calls this run's judged recipe "champion" whether it is promoted or not; people would misread that.
RUNGS = {"champion": "this run", "current_champion": "current champion"}


def print_training(document: Mapping[str, Any], settings: config.Config) -> None:
    if document["plan"]:
        print_rows("Temporal plan", document["plan"])
    print_note(document.get("plan_note"))
    _print_data(document["data"])
    _print_ladder(document["ladder"])
    for found in document["targets"].values():
        print_target(found)
    verdict, _, why = document["why"].partition(":")
    out.print(f"[bold]{escape(verdict)}[/]:{escape(why.replace('; ', f'{chr(10)}  '))}")
    out.print(
        f"run {document['run_id']}, version {document['model_version']} of {settings.registered_name}, "
        f"bundle {str(document['bundle_version'])[:16]}"
    )


def _print_data(data: Mapping[str, Any]) -> None:
    out.print(
        f"\n{data['rows']:,} events of {data['customers']:,} customers, {data['first_day']} to {data['ends']}; "
        f"{data['features']} features; {data['eligible_at_test']:,} of {data['known_at_test']:,} known customers are "
        f"eligible at the test cutoff; {data['new_customers_in_test_window']:,} new ones come in its window."
    )
    rate = data["label_return_rate"]
    if rate is not None:
        word = "lapse, not churn: they pause" if rate > 0.2 else "most stay away"
        out.print(
            f"{rate:.0%} of those labelled churned buy again within the next "
            f"{data['label_return_within_days'] / 7:.0f} weeks ({word})."
        )
    for family, why in data["families_left_out"].items():
        out.print(f"family left out: {family} ({escape(why)})")
    for target, why in data["targets_refused"].items():
        out.print(f"[bold]target refused[/]: {target} ({escape(why)})")


def _print_ladder(ladder: Sequence[Mapping[str, Any]]) -> None:
    n, rate = ladder[0]["metrics"]["n"], ladder[0]["metrics"]["churn_rate"]
    table = Table(title=f"\nOut of time: {n:,} customers, {rate:.1%} churned", title_justify="left", title_style="bold")
    table.add_column("rung")
    for head in LADDER_COLUMNS.values():
        table.add_column(head, justify="right")
    for rung in ladder:
        values = [rung["metrics"][key] for key in LADDER_COLUMNS]
        cells = [
            "-" if v is None else FORMATS.get(k, "{:.4f}").format(v)
            for k, v in zip(LADDER_COLUMNS, values, strict=True)
        ]
        table.add_row(RUNGS.get(rung["rung"], rung["rung"]), *cells)
    out.print(table)
    floor = ladder[0]["metrics"]["churn_ece_floor"]
    if floor is not None:
        out.print(f"A perfectly calibrated model of this size shows an ECE of {floor:.4f}.")


def print_target(found: Mapping[str, Any]) -> None:
    """A target of the user's own: its ladder, and who is ahead."""
    print_rows(f"\n{wording.target(found)}", wording.target_rows(found))
    for metric, verdict in found["minus_best"].items():
        out.print(escape(wording.target_verdict(metric, verdict)))


BACKTEST = ("churn_auroc", "churn_log_loss", "ece_above_floor", "churn_lift_top_decile", "spend_gini", "spend_mae",
            "spend_tweedie_deviance")  # fmt: skip


def print_backtest(document: Mapping[str, Any]) -> None:
    """The ladder, the champion cutoff by cutoff, who is ahead of whom, strata, and where it does not win."""
    out.print(escape(f"{wording.question(document)} {wording.look(document)}"))
    rows = wording.ladder(document)
    title = f"\nMeans over {len(document['cutoffs'])} test cutoffs ({document['independent_cutoffs']} independent)"
    print_rows(title, [_measured_rung(row) for row in rows])
    own = document["ladder"][0]["by_cutoff"]
    print_rows("\nThe recipe at each cutoff", [_measured_cutoff(row) for row in own])
    for metric, _, found in wording.verdicts(document):
        out.print(escape(wording.verdict(metric, found)))
    print_rows("\nSkill by group", [
        {"group": wording.stratum(r), "customers": f"{r['n']:,.0f}", "base rate": _share(r["churn_rate"]),
         "churn skill": _cell(r["churn_skill"]), "spend skill": _cell(r["spend_skill"])}
        for r in document["strata"] if not r["by"].startswith("attribute")
    ])  # fmt: skip
    out.print(f"\n{escape(wording.orders(document))}")
    if document["clv"]:
        print_rows("\nCLV", wording.clv_rows(document["clv"]))
        out.print(escape(wording.clv(document["clv"])))
    for found in document["targets"].values():
        print_target(found)
    for name, why in document["targets_refused"].items():
        out.print(f"[bold]target refused[/]: {name} ({escape(why)})")
    out.print("Where it does not win:")
    for sentence in wording.where_it_does_not_win(document):
        out.print(escape(f"  {sentence}"))
    if said := wording.returning(document):
        out.print(escape(said))
    out.print(escape(wording.season(document)))
    out.print(f"report: {document['report']}, run {document['run_id']}")


def _measured_rung(row: Mapping[str, Any]) -> dict[str, str]:
    names = {"rung": wording.rung(row["rung"])} | {
        wording.METRICS[k].title: wording.number(k, row[k]) for k in BACKTEST
    }
    return names | {"total, worst": wording.number("total_worst", row["total_worst"])}


def _measured_cutoff(row: Mapping[str, Any]) -> dict[str, str]:
    row = {**row, "ece_above_floor": wording.above_floor(row)}
    values = {wording.METRICS[k].title: wording.number(k, row[k]) for k in (*BACKTEST, "spend_total_ratio")}
    return {"cutoff": str(row["cutoff"]), "customers": f"{row['n']:,}"} | values | {"band": wording.band(row)}


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


def print_readiness(document: Mapping[str, Any]) -> None:
    for finding in document["findings"]:
        colour = {"error": "red", "warning": "yellow"}.get(finding["severity"], "dim")
        where = ", ".join(str(finding[k]) for k in ("source", "column", "where") if finding[k])
        out.print(
            f"[{colour}]{finding['severity']:8}[/] {escape(finding['found'])}{escape(f' ({where})' if where else '')}"
        )
        out.print(f"         {escape(finding['do'])}", style="dim")
    if document["plan"]:
        print_rows("\nTemporal plan", document["plan"])
    print_note(document["plan_note"])
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
        print_rows(
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
        "active": _cell(horizon["active_within_days"]),
        "return": _share(horizon["return_share"]),
        "base rate": _share(horizon["base_rate"]),
        "churned": f"{horizon['churned']:,}",
        "stayed": f"{horizon['stayed']:,}",
        "come back": _share(horizon["come_back"]),
        "train": str(horizon["train_cutoffs"]),
        "backtest": "fits" if horizon["backtest_fits"] else "-",
        "verdict": "misses " + ", ".join(MISSES[m] for m in horizon["misses"]) if horizon["misses"] else passed,
    }


def _pair(horizon: Mapping[str, Any]) -> str:
    return f"horizon {horizon['horizon_days']}, active within {_cell(horizon['active_within_days'])}"


def _measured(horizon: Mapping[str, Any]) -> str:
    back, late = horizon["return_share"], horizon["come_back"]
    parts = [f"base rate {_share(horizon['base_rate'])}", f"{_share(back)} buy again after such a silence"]
    if late is not None:
        parts.append(f"{_share(late)} of the churned come back" + (", so read lapse" if late > 0.2 else ""))
    return "; ".join(parts)


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:.0%}"
