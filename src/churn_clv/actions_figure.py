"""The action plan as one picture, drawn from its document: what contacts bring, and what wrong rates would cost."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from churn_clv.figures import BLUE, GREY, INK, ORANGE, _figure, _title

Document = Mapping[str, Any]
STYLES = (("-", "o"), ("--", "s"), ("-.", "^"), (":", "D"))


def draw(document: Document) -> Figure:
    """Cumulative expected profit by contacts; the plan's profit if its save, drive-away or take rates were others."""
    figure = _figure(15.0, 4.9)
    figure.suptitle(_verdict(document), x=0.01, ha="left", fontweight="bold")
    left, right, last = figure.subplots(1, 3, width_ratios=[3, 2, 1.5])
    if document["curve"]["points"]:
        _profit(left, document)
    else:
        _empty(left, "Nobody can be priced or contacted: see the plan's notes")
    if document["treated"]:
        _rates(right, document)
        _takers(last, document)
    else:
        _empty(right, "Nobody is selected")
        last.set_axis_off()
    return figure


def _verdict(document: Document) -> str:
    kind = "assumed" if document["assumed"] else "measured"
    return (
        f"{document['campaign']}: {document['treated']:,} treated and {document['holdout']:,} held out promise "
        f"{document['promised_profit']:,.0f} {document['currency']} at {kind} rates"
    )


def _profit(axes: Axes, document: Document) -> None:
    curve = document["curve"]
    points = curve["points"]
    at = [0, *(p["contacts"] for p in points)]
    axes.axhline(0, color=GREY, linewidth=1)
    axes.plot(at, [0, *(p["profit"] for p in points)], color=BLUE, linewidth=2, label="best profit first")
    axes.plot(at, [0, *(p["by_risk"] for p in points)], color=INK, linewidth=1.4, linestyle="--",
              label="highest risk first")  # fmt: skip
    best = curve["best_contacts"]
    axes.axvline(best, color=ORANGE, linestyle=":", linewidth=1.6)
    axes.plot([best], [curve["best_profit"]], "D", color=ORANGE, markersize=7, zorder=5,
              label=f"best cut-off: {best:,} contacts")  # fmt: skip
    axes.plot([document["selected"]], [document["found"]], "s", color=BLUE, mfc="white", markersize=9, zorder=4,
              label="selected, the held out with them")  # fmt: skip
    axes.set(xlabel="customers contacted", ylabel=f"expected profit ({document['currency']})")
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    axes.xaxis.set_major_locator(MaxNLocator(8, integer=True))
    axes.legend(loc="lower center", frameon=True, framealpha=0.9, edgecolor="none", fontsize=9)
    _title(axes, f"{best:,} of {curve['candidates']:,} candidates are worth an action")


def _rates(axes: Axes, document: Document) -> None:
    found = document["sensitivity"]
    rows = found["save_rate"]
    at = [row["factor"] for row in rows]
    away = [row["rate"] for row in found["driven_away"]]
    axes.axhline(0, color=GREY, linewidth=1)
    for number, (line, mark) in enumerate(STYLES[: len(away)]):
        label = "as assumed" if not number else f"at least {away[number]:.1%} driven away"
        axes.plot(at, [row["profit"][number] for row in rows], linestyle=line, marker=mark, markersize=5,
                  color=BLUE if not number else INK, alpha=1 - 0.15 * number, label=label)  # fmt: skip
    axes.plot([1], [found["planned"]], "s", color=ORANGE, markersize=9, zorder=5, label="the plan")
    axes.set(xlabel="save rates, as a multiple of the plan's", ylabel=f"profit of the treated ({document['currency']})")
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    axes.legend(loc="upper left", frameon=False, fontsize=9)
    factor = found["break_even_factor"]
    _title(axes, "No save rate pays" if factor is None else f"The plan breaks even at {factor:.0%} of its save rates")


def _takers(axes: Axes, document: Document) -> None:
    rows = document["sensitivity"]["take_rate"]
    profit = [row["profit"] for row in rows]
    axes.axhline(0, color=GREY, linewidth=1)
    axes.plot([row["rate"] for row in rows], profit, "-o", color=BLUE, markersize=5, label="of every action")
    axes.axhline(document["sensitivity"]["planned"], color=ORANGE, linestyle="--", linewidth=1.4, label="the plan")
    axes.set(xlabel="take rate of would-be stayers")
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    axes.legend(loc="best", frameon=False, fontsize=9)
    _title(axes, f"If all stayers took the offer: {profit[-1]:,.0f}")


def _empty(axes: Axes, sentence: str) -> None:
    axes.set_axis_off()
    axes.text(0.5, 0.5, sentence, ha="center", va="center", color=INK)
