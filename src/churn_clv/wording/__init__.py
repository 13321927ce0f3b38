"""What a backtest's document says, in plain words and rows: one wording for terminal, page and picture."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from churn_clv.wording._base import (
    ECE_MARGIN,
    FEW,
    LADDER,
    LAPSE_ABOVE,
    METRICS,
    NONE,
    PRIMARY,
    RUNGS,
    STRATA,
    UNMEASURED,
    Document,
    Shown,
    listed,
    number,
    percent,
    rung,
)
from churn_clv.wording._clv import clv, clv_deciles, clv_rows, clv_weak, orders
from churn_clv.wording._forecast import forecast, forecast_rows
from churn_clv.wording._targets import target, target_rows, target_verdict, target_weak

__all__ = [
    "ECE_MARGIN",
    "FEW",
    "LADDER",
    "LAPSE_ABOVE",
    "METRICS",
    "NONE",
    "PRIMARY",
    "RUNGS",
    "STRATA",
    "UNMEASURED",
    "Document",
    "Shown",
    "above_floor",
    "band",
    "beats",
    "clv",
    "clv_deciles",
    "clv_rows",
    "forecast",
    "forecast_rows",
    "in_band",
    "ladder",
    "listed",
    "look",
    "noun",
    "number",
    "orders",
    "percent",
    "question",
    "returning",
    "rung",
    "season",
    "stratum",
    "target",
    "target_rows",
    "target_verdict",
    "verdict",
    "verdicts",
    "where_it_does_not_win",
]


def stratum(row: Mapping[str, Any]) -> str:
    """'4+ orders so far', 'on time', 'region: north'."""
    kind, value = str(row["by"]), str(row["stratum"])
    if kind.startswith("attribute:"):
        return f"{kind.rpartition('.')[2]}: {value}"
    return f"{value} order{'' if value == '1' else 's'}" if kind == "orders" else value


def noun(document: Document) -> str:
    """'lapse' where many of those labelled churned come back, else 'churn'."""
    rate = document["label_return_rate"]
    return "lapse" if rate is not None and rate > LAPSE_ABOVE else "churn"


def ladder(document: Document) -> list[dict[str, Any]]:
    """One row per rung: its means over the cutoffs, ``ece_above_floor`` and ``total_worst``; None where not given."""
    return [
        dict(step["mean"])
        | {
            "rung": step["rung"],
            "note": step["note"],
            "ece_above_floor": above_floor(step["mean"]),
            "total_worst": step["worst"].get("spend_total_ratio"),
        }
        for step in document["ladder"]
    ]


def above_floor(metrics: Mapping[str, float | None]) -> float | None:
    ece, floor = metrics.get("churn_ece"), metrics.get("churn_ece_floor")
    return None if ece is None or floor is None else ece - floor


def in_band(row: Mapping[str, Any]) -> bool | None:
    """Whether a cutoff's total lies within its band; None where it has no band."""
    low, ratio, high = (row.get(k) for k in ("spend_total_low", "spend_total_ratio", "spend_total_high"))
    return None if low is None or ratio is None or high is None else bool(low <= ratio <= high)


def band(row: Mapping[str, Any]) -> str:
    """'0.900 to 1.060', where a cutoff's total was expected; in words where it has no band."""
    ends = [row.get(f"spend_total_{end}") for end in ("low", "high")]
    return UNMEASURED if None in ends else " to ".join(number("spend_total_ratio", end) for end in ends)


def question(document: Document) -> str:
    """What was asked, when and of how many."""
    first, last = document["cutoffs"][0], document["cutoffs"][-1]
    rows = sum(int(row["n"]) for row in document["ladder"][0]["by_cutoff"])
    count, alone = len(document["cutoffs"]), document["independent_cutoffs"]
    when = f"at one cutoff, {first}" if count == 1 else f"at {count} cutoffs from {first} to {last}"
    apart = "" if count == 1 else f" ({alone} of them independent: their windows do not overlap)"
    return (
        f"Which customers who bought in the last {document['active_within_days']} days will buy nothing in the next "
        f"{document['horizon_days']}, and what will each spend ({document['currency']})? Asked {when}{apart}, "
        f"{rows:,} times in all, each time of models that had learnt nothing that ends after the cutoff."
    )


def returning(document: Document) -> str | None:
    """How many of those labelled churned come back, and what the label is therefore called."""
    rate = document["label_return_rate"]
    if rate is None:
        return None
    weeks = f"{document['label_return_within_days'] / 7:.0f} weeks"
    word = "read lapse, not churn: they pause" if rate > LAPSE_ABOVE else "most stay away"
    return f"{rate:.0%} of those labelled churned buy again within the next {weeks} ({word})."


def look(document: Document) -> str:
    """Whether this crossed the development line, and how often that has been done."""
    line, looks = document["development_until"], len(document["looks"])
    times = f" Looks at the final windows logged so far: {looks}."
    if not document["final"]:
        until = f" No label window ends after {line}." if line else ""
        return f"A development backtest: its numbers may guide choices.{until}{times}"
    return f"A final backtest: nothing may be chosen by these numbers.{times}"


def season(document: Document) -> str:
    note = str(document["season_note"]).strip().rstrip(".")
    return f"Season {document['season']}{f': {note}' if note else ''}."


def verdict(metric: str, found: Mapping[str, Any]) -> str:
    """'log loss: ahead of logistic, difference -0.0051 (95% interval -0.0081 to -0.0021), lower is better'."""
    preposition = {"ahead": "ahead of", "level": "level with", "behind": "behind"}[found["verdict"]]
    form = METRICS[metric].form.lstrip("+")
    difference, low, high = (
        NONE if found[k] is None else format(float(found[k]), f"+{form}") for k in ("difference", "low", "high")
    )
    return (
        f"{METRICS[metric].title}: {preposition} {rung(found['rung'])}, difference {difference} "
        f"(95% interval {low} to {high}), {'higher' if METRICS[metric].higher else 'lower'} is better"
    )


def verdicts(document: Document) -> list[tuple[str, str, Mapping[str, Any]]]:
    """(metric, sentence, comparison) of each metric that was compared with the best rung."""
    found = document["champion_minus_best"] or {}
    return [(metric, verdict(metric, one), one) for metric, one in found.items() if one and one["rung"]]


def where_it_does_not_win(document: Document) -> list[str]:
    """Sentences: where a rung is as good or better, or the model is wrong. Where nothing is found, one that says so."""
    found = [
        *_not_ahead(document), *_better_means(document), *_better_cutoffs(document), *_miscalibrated(document),
        *_totals(document), *_strata(document), *clv_weak(document),
        *(line for one in document["targets"].values() for line in target_weak(one)),
    ]  # fmt: skip
    return found or ["In nothing that was measured here: no rung, cutoff or group of customers shows it behind."]


def _not_ahead(document: Document) -> Iterator[str]:
    for metric, _, found in verdicts(document):
        if found["verdict"] != "ahead":
            level = found["verdict"] == "level"
            word = "not shown to be better than" if level else "worse than"
            yield f"On {METRICS[metric].title} it is {word} {rung(found['rung'])} ({_interval(metric, found)})."


def _interval(metric: str, found: Mapping[str, Any]) -> str:
    form = f"+{METRICS[metric].form.lstrip('+')}"
    if found["low"] is None or found["high"] is None:
        return "no interval"
    return f"95% interval of the difference {float(found['low']):{form}} to {float(found['high']):{form}}"


def _better_means(document: Document) -> Iterator[str]:
    """Rungs with a better mean on a metric for which no verdict names them already."""
    own, *others = ladder(document)
    said = {(metric, found["rung"]) for metric, _, found in verdicts(document) if found["verdict"] != "ahead"}
    for metric in (*LADDER, "churn_empc"):
        rows = [r for r in others if (metric, r["rung"]) not in said]
        shown = number(metric, own.get(metric))  # what looks equal is not called better
        better = [
            r for r in rows if beats(metric, r.get(metric), own.get(metric)) and number(metric, r[metric]) != shown
        ]
        if better:
            names = listed([f"{rung(r['rung'])} ({number(metric, r[metric])})" for r in better])
            yield f"On average {METRICS[metric].title} is better for {names} than for this model ({shown})."


def beats(metric: str, value: float | None, other: float | None) -> bool:
    higher = METRICS[metric].higher
    if value is None or other is None or higher is None:
        return False
    return value > other if higher else value < other


def _better_cutoffs(document: Document) -> Iterator[str]:
    own, *others = document["ladder"]
    for metric in PRIMARY:
        found = []
        for place, row in enumerate(own["by_cutoff"]):
            rows = [(step["rung"], step["by_cutoff"][place]) for step in others if place < len(step["by_cutoff"])]
            ahead = [rung(name) for name, other in rows if beats(metric, other.get(metric), row.get(metric))]
            found += [f"{row['cutoff']} ({', '.join(ahead)})"] if ahead else []
        if found:
            count = len(own["by_cutoff"])
            at = f"At {len(found)} of {count} cutoffs" if count > 1 else "At the one cutoff"
            yield f"{at} another rung has the lower {METRICS[metric].title}: {listed(found)}."


def _miscalibrated(document: Document) -> Iterator[str]:
    own = document["ladder"][0]
    late = [r for r in own["by_cutoff"] if (above_floor(r) or 0.0) > ECE_MARGIN]
    if late:
        worst = max(late, key=lambda r: above_floor(r) or 0.0)
        yield (
            f"Its calibration error is more than {ECE_MARGIN:g} above the floor at {len(late)} of "
            f"{len(own['by_cutoff'])} cutoffs, most at {worst['cutoff']} ({number('churn_ece', worst['churn_ece'])}, "
            f"floor {number('churn_ece_floor', worst['churn_ece_floor'])})."
        )


def _totals(document: Document) -> Iterator[str]:
    rows = document["ladder"][0]["by_cutoff"]
    out = [r for r in rows if in_band(r) is False]
    if out:
        keys = ("spend_total_ratio", "spend_total_low", "spend_total_high")
        each = [f"{r['cutoff']} ({{}}, band {{}} to {{}})".format(*(number(keys[0], r[k]) for k in keys)) for r in out]
        yield f"The predicted total is outside its band at {len(out)} of {len(rows)} cutoffs: {listed(each)}."


def _strata(document: Document) -> Iterator[str]:
    for key, what in (("churn_skill", "probabilities"), ("spend_skill", "expected spends")):
        rows = [r for r in document["strata"] if r[key] is not None and r[key] < 0]
        if rows:
            names = listed([f"{stratum(r)} ({r[key]:+.3f}, n {r['n']:,}{_few(r)})" for r in rows])
            yield f"Its {what} are no better than the group's own mean for {names}."


def _few(row: Mapping[str, Any]) -> str:
    return ", few" if row["n"] < FEW else ""
