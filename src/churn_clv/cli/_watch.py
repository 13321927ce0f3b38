"""The command of the early-warning list: watch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape

from churn_clv import config
from churn_clv.cli import _show
from churn_clv.cli._act import scores_at_end
from churn_clv.cli._score import bundle_of
from churn_clv.cli._show import out
from churn_clv.cli._work import Configs, Json, timed
from churn_clv.errors import UserError

LINES = 20  # of the list, on the terminal
ROWS = {"watch": "this list", "risk": "the likeliest to lapse", "recency": "the longest silent", "random": "by chance"}


def watch(
    configs: Configs,
    capacity: Annotated[int | None, typer.Option(min=1, help="Customers on the list; default: watch.capacity.")] = None,
    language: Annotated[str, typer.Option(help="Of reasons and changes: en, zh.")] = "en",
    as_json: Json = False,
) -> None:
    """List who is leaving with money: value at risk, why, what changed, and how often such a list was right."""
    settings = config.load(*configs)
    document = timed(lambda say: _watch(settings, capacity, language, say))
    _show.answer(document, as_json, print_watch)


def _watch(
    settings: config.Config, capacity: int | None, language: str, say: Callable[[str], None]
) -> dict[str, Any]:  # fmt: skip
    from churn_clv import disk, events, explain
    from churn_clv import watch as room

    explain.phrases(language)
    bundle = bundle_of(settings, None)
    say("reading the log")
    log = events.read_log(settings)
    scores, source = scores_at_end(settings, log, say, bundle)
    past, said = past_of(settings, bundle, log)
    frame, document = room.run(settings, bundle, log, scores, past, capacity, language, say)
    document["notes"] += said
    folder = room.list_folder(settings, log.ends)
    document |= {"scores": source, "folder": str(folder)}
    with disk.alone(room.watch_folder(settings) / ".lock", say):
        room.write(frame, document, folder)
    return document


def past_of(settings: config.Config, bundle: Any, log: Any) -> tuple[list[Any], list[str]]:
    """Out-of-sample scores of the past, by cutoff: stored scorings, else what the champion was judged on."""
    from churn_clv import forgotten
    from churn_clv import watch as room

    stored, said = judged_of(settings, bundle)
    ids = forgotten.without(settings)(log.frame.select("customer_id"))["customer_id"]
    judged = room.of_predictions(settings, stored, ids) if stored is not None else []
    scored = room.of_scorings(settings, bundle.horizon_days, log.ends)
    return list({e.cutoff: e for e in (*judged, *scored)}.values()), said


def judged_of(settings: config.Config, bundle: Any) -> tuple[Any, list[str]]:
    """The out-of-time predictions of the run that made the bundle, or None and why there are none."""
    no_store = ["the predictions that the model was judged on are not known here: there is no tracking store"]
    _, local, place = settings.tracking_uri.partition("sqlite:///")
    if local and not Path(place).exists():
        return None, no_store  # before MLflow is imported, which takes seconds
    try:
        from churn_clv import tracking
    except ImportError:
        return None, ["the predictions that the model was judged on are not known here: MLflow is not installed"]
    if not tracking.made_already(settings):
        return None, no_store
    try:
        run = tracking.find(settings, tracking.CHAMPION)
    except (UserError, *tracking.STORE_ERRORS) as error:
        return None, [f"the predictions that the model was judged on are not known: {error}"]
    if run.tags["bundle_sha256"] != bundle.version:
        return None, ["the published model is not the store's champion, so what it was judged on is not known"]
    return run.oot, []


# --- how it is shown ---------------------------------------------------------------------------------
def print_watch(document: Mapping[str, Any]) -> None:
    """The list, then its record."""
    currency, listed = document["currency"], document["listed"]
    out.print(
        f"[bold]{listed['customers']:,} of {document['eligible']:,} eligible customers[/] at {document['cutoff']}: "
        f"{_money(listed['value_at_risk'])} of {_money(document['value_at_risk'])} {currency} margin at risk within "
        f"{document['horizon_days']} days; {listed['new']:,} are new on the list, {listed['on_time']:,} still on time"
    )
    _show.print_rows(
        f"Watch list (margin in {currency}; changes: the last {document['window_days']} days against those before)",
        [_row(row) for row in document["customers"][:LINES]],
    )
    if (left := len(document["customers"]) - LINES) > 0:
        out.print(f"and {left:,} more in the files")
    out.print(f"not eligible, so not on it: {document['left_out'] or 'nobody'}")
    print_record(document["record"])
    for note in document["notes"]:
        _show.print_note(f"note: {note}")
    if document["in_sample"]:
        out.print("[bold]in sample[/]: the model has learnt from labels after this cutoff.")
    out.print(escape(f"written to {document['folder']}: watch.parquet, watch.csv, watch.json"))


def _row(row: Mapping[str, Any]) -> dict[str, str]:
    why = next((r["text"] for r in row["reasons"] or () if r["direction"] == "raises"), "-")
    since = "new" if row["alert"] == "new" else f"since {row['since']}"
    return {
        "customer": row["customer_id"], "at risk": _money(row["value_at_risk"]),
        "risk": _share(row["churn_probability"]), "same phase": _share(row["risk_same_phase"]), "on the list": since,
        "theme": row["theme"] or "-", "why": why, "changed": row["changed"],
    }  # fmt: skip


def print_record(record: Mapping[str, Any]) -> None:
    """Whom such a list would have caught at past cutoffs."""
    if record["why"]:
        _show.print_note(f"the list's own record: {record['why']}")
        return
    days = ", ".join(f"{c['cutoff']} ({c['source']})" for c in record["cutoffs"])
    rows = [_list(ROWS[name], found) for name, found in record["lists"].items()]
    _show.print_rows(f"\nIts own record: the {record['capacity']:,} it would have listed at {days}", rows)
    ahead = record["ahead_of_recency"]
    out.print(
        f"ahead of the recency rule by {_points(ahead, 'value_caught')} points of the value, and by "
        f"{_points(ahead, 'precision')} points of precision (95% intervals over customers)"
    )
    if (found := record["on_time"]) is not None:
        out.print(
            f"among the {found['customers']:,} still on time, of whom {found['lapsed']:,} lapsed: AUC "
            f"{found['auc']:.3f}, recency rule {found['auc_recency']:.3f}"
        )

    if (lead := record["lead"]) is not None and (own := lead["watch"])["median_days"] is not None:
        span = f" ({own['low']:+.0f} to {own['high']:+.0f})" if own["low"] is not None else ""
        out.print(
            f"days earlier than a rule of {own['silent_days']} silent days ({own['rule_alerts']:,} alerts, the list "
            f"{own['alerts']:,}): {own['median_days']:+.0f}{span} in the middle of {own['named_by_both']:,} silences "
            f"that both named and that ended in a lapse; of all alerts {own['precision']:.0%} did, of the rule's "
            f"{own['rule_precision'] or 0:.0%}"
        )


def _list(name: str, found: Mapping[str, Any]) -> dict[str, str]:
    def span(key: str) -> str:
        if found[key] is None:
            return "-"
        return f"{found[key]:.1%} ({found[key + '_low']:.1%} to {found[key + '_high']:.1%})"

    return {
        "list": name, "lapsed": f"{found['lapsed']:.0f} of {found['listed']:.0f}", "precision": span("precision"),
        "of the lapsed value": span("value_caught"),
    }  # fmt: skip


def _points(found: Mapping[str, Any], key: str) -> str:
    if found[key] is None:
        return "-"
    return f"{100 * found[key]:+.1f} ({100 * found[key + '_low']:+.1f} to {100 * found[key + '_high']:+.1f})"


def _money(value: float | None) -> str:
    return "-" if value is None else f"{value:,.2f}"


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:.1%}"
