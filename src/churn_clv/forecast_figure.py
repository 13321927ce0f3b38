"""The forecast as one picture, drawn from its document: what came, window by window, and what comes with its band."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from churn_clv.figures import BLUE, GREY, INK, ORANGE, _figure, _title

Document = Mapping[str, Any]
Rows = Sequence[Mapping[str, Any]]

KNOWN, NEW = "#C9C9C9", "#8A8A8A"
BAND = "#CFE3F1"
MOST_BARS = 14


def draw(document: Document) -> Figure:
    """Two panels: money by window with the forecast last; beside it the total said at each origin, and what came."""
    figure = _figure(13.0, 4.9)
    figure.suptitle(_verdict(document), x=0.01, ha="left", fontweight="bold")
    left, right = figure.subplots(1, 2, width_ratios=[3, 2])
    _windows(left, document)
    _origins(right, document)
    return figure


def _verdict(document: Document) -> str:
    total, currency = document["total"], document["currency"]
    return (
        f"The next {document['horizon_days']} days: {total['expected']:,.0f} {currency}, in 9 of 10 cases "
        f"{total['low']:,.0f} to {total['high']:,.0f}"
    )


def _windows(axes: Axes, document: Document) -> None:
    """Known below, new above; the forecast's bar is open, with its band as a line."""
    rows: Rows = document["history"][-MOST_BARS:]
    place, at = list(range(len(rows))), len(rows)
    known, new = [r["known"] for r in rows], [r["new"] for r in rows]
    axes.bar(place, known, 0.72, color=KNOWN, label="came: customers known at its start")
    axes.bar(place, new, 0.72, bottom=known, color=NEW, hatch="///", edgecolor="white", linewidth=0,
             label="came: new customers")  # fmt: skip
    said, fresh, total = document["known"]["expected"], document["new"]["expected"], document["total"]
    axes.bar([at], [said], 0.72, color="white", edgecolor=BLUE, linewidth=1.6, label="forecast: known")
    axes.bar([at], [fresh], 0.72, bottom=[said], color="white", edgecolor=BLUE, hatch="///", label="forecast: new")
    axes.vlines(at, total["low"], total["high"], color=ORANGE, linewidth=2.4, zorder=4, label="band of the total")
    axes.plot([at], [total["expected"]], "D", color=ORANGE, markersize=7, zorder=5)
    early = sum(r["start"] < document["settled"] for r in rows)
    if early:
        axes.axvspan(-0.6, early - 0.5, color="#EFEFEF", zorder=0, label="the log's start: old ones look new")
    days = [dt.date.fromisoformat(r["start"]) for r in rows] + [dt.date.fromisoformat(document["cutoff"])]
    axes.set_xticks([*place, at], [_day(d) for d in days], fontsize=8, rotation=30 if len(rows) > 8 else 0)
    axes.set(xlabel=f"first day of a window of {document['horizon_days']} days", xlim=(-0.6, at + 0.6))
    axes.set(ylabel=f"spend ({document['currency']})")
    highest = max(total["high"], total["expected"], *(k + n for k, n in zip(known, new, strict=True)))
    axes.set_ylim(0, 1.32 * highest)
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    axes.legend(loc="upper left", ncols=2, frameon=False, fontsize=8.5)
    share = fresh / total["expected"] if total["expected"] > 0 else 0.0
    _title(axes, f"New customers bring {share:.1%} of the forecast")


def _origins(axes: Axes, document: Document) -> None:
    """The total over what came, at each origin, on the band that was given for it."""
    rows: Rows = [r for r in document["origins"] if r["total_actual"] > 0]
    place = list(range(len(rows)))
    axes.axhline(1, color=GREY, linestyle="--", linewidth=1.2, label="what came")
    banded = [(p, r) for p, r in zip(place, rows, strict=True) if r["total_low"] is not None]
    reach = max([abs(r[k] / r["total_actual"] - 1) for r in rows for k in ("total_predicted", "last_horizon")] or [0.1])
    for number, (p, r) in enumerate(banded):
        low, high = r["total_low"] / r["total_actual"], r["total_high"] / r["total_actual"]
        axes.bar([p], [high - low], 0.6, bottom=[low], color=BAND, zorder=1, label="its band" if not number else "_")
    axes.plot(place, [r["last_horizon"] / r["total_actual"] for r in rows], "s", color=INK, mfc="none", markersize=6,
              label="the last horizon again", zorder=3)  # fmt: skip
    axes.plot(place, [r["total_predicted"] / r["total_actual"] for r in rows], "o", color=BLUE, markersize=7,
              label="forecast", zorder=4)  # fmt: skip
    axes.set_xticks(place, [_day(dt.date.fromisoformat(r["cutoff"])) for r in rows], fontsize=8,
                    rotation=30 if len(rows) > 6 else 0)  # fmt: skip
    reach = max(0.1, 1.9 * reach)
    axes.set(xlim=(-0.6, len(rows) - 0.4), ylim=(max(0.0, 1 - reach), 1 + 1.3 * reach))
    axes.set(xlabel="origin", ylabel="total said over what came")
    axes.yaxis.set_major_locator(MaxNLocator(6))
    axes.legend(loc="upper left", ncols=2, framealpha=0.9, edgecolor="none", fontsize=8.5)
    _title(axes, _off(document))


def _off(document: Document) -> str:
    if document["mape"] is None:
        return "No origin's window brought anything"
    return f"Off by {document['mape']:.1%} on average; the last horizon again: {document['naive_mape']:.1%}"


def _day(day: dt.date) -> str:
    return f"{day:%d %b}\n{day:%Y}"
