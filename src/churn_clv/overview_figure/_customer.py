"""The pictures of one customer: the timeline, the scores over time."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from typing import Any

from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from churn_clv.figures import BLUE, GREY, INK, ORANGE, _figure, _title
from churn_clv.overview_figure._sizes import NARROW, words

Document = Mapping[str, Any]

MOST_ROWS = 8
STYLES = ("o", "s", "^", "D", "v", "P", "X", "*")


def draw_customer(document: Document) -> dict[str, Figure]:
    """The timeline, and the scores over time where there are several."""
    out = {"timeline": timeline(document)}
    if sum(r["churn_probability"] is not None for r in document["scores_over_time"]) > 1:
        out["scores"] = scores(document)
    return out


def timeline(document: Document) -> Figure:
    """Orders as stems as high as their money, other events as marks in rows below."""
    figure = _figure(9.0, 4.2)
    axes = figure.subplots()
    orders, rest = document["orders"], document["touches"]
    days = [_day(o["day"]) for o in orders]
    net = [float(o["net"]) for o in orders]
    top = max([*net, 1.0])
    axes.vlines(days, 0, net, color=BLUE, linewidth=1.5)
    axes.plot(days, net, "o", color=BLUE, markersize=5, label="order")
    kinds = sorted({s["event_type"] for s in rest})[:MOST_ROWS]
    for row, kind in enumerate(kinds):
        own = [_day(s["day"]) for s in rest if s["event_type"] == kind]
        axes.plot(own, [-0.1 * top * (row + 1)] * len(own), STYLES[row % len(STYLES)],
                  color=ORANGE if row % 2 == 0 else INK, markersize=6, linestyle="none",
                  label=words(kind))  # fmt: skip
    axes.axhline(0, color=GREY, linewidth=1)
    axes.axvline(
        _day(document["cutoff"]), color=INK, linestyle=":", linewidth=1.5, label=f"today, {document['cutoff']}"
    )
    axes.set_ylim(-0.1 * top * (len(kinds) + 1), 1.15 * top)
    axes.set_ylabel(f"money of the order ({document['currency']})")
    axes.tick_params(axis="x", rotation=20)
    since = document["profile"].get("days_since_last_order")
    _title(axes, "No order yet" if since is None else f"{len(orders):,} purchase days; days since the last: {since:,}")
    axes.legend(loc="upper left", frameon=False, ncols=3, fontsize=8)
    return figure


def scores(document: Document) -> Figure:
    """Probability of lapse at each stored scoring."""
    rows = [r for r in document["scores_over_time"] if r["churn_probability"] is not None]
    figure = _figure(NARROW, 3.4)
    axes = figure.subplots()
    days = [_day(r["cutoff"]) for r in rows]
    axes.plot(days, [r["churn_probability"] for r in rows], "o-", color=BLUE)
    base = document["scores"].get("base_rate")
    if base is not None:
        axes.axhline(base, color=GREY, linestyle="--", label=f"everyone: {base:.0%}")
        axes.legend(frameon=False)
    axes.set_ylim(0, 1)
    axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    few = days[:: -(-len(days) // 4)]
    axes.set_xticks(few, [day.isoformat() for day in few])
    axes.set_ylabel("probability of lapse")
    change = rows[-1]["churn_probability"] - rows[0]["churn_probability"]
    _title(axes, f"Risk {'up' if change >= 0 else 'down'} by {abs(100 * change):.0f} points since {rows[0]['cutoff']}")
    return figure


def _day(text: str) -> Any:
    return dt.date.fromisoformat(text)
