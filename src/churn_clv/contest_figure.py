"""A contest as one picture: who is ahead on what, how alike the predictions are, who moves and with how much money."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure

from churn_clv import wording
from churn_clv.comparison import LOSSES
from churn_clv.figures import BLUE, GREY, INK, ORANGE, _figure, _percent, _title

COLOURS = {"a": ORANGE, "b": BLUE, None: GREY}


def draw(document: Mapping[str, Any], both: pl.DataFrame) -> Figure:
    """Four panels; ``both`` are the shared rows (churn_a, churn_b and, with money, spend_a and spend_b)."""
    figure = _figure(13.0, 10.0)
    figure.suptitle(headline(document), x=0.01, ha="left", fontweight="bold", fontsize=13)
    (first, second), (third, fourth) = figure.subplots(2, 2)
    _metrics(first, document["metrics"])
    _cloud(second, document, both)
    _matrix(third, document["bands"], document, "band")
    _matrix(fourth, document["tiers"], document, "value tier")
    return figure


def headline(document: Mapping[str, Any]) -> str:
    """Who is ahead, in one line."""
    ahead = {
        who: [wording.METRICS[m["metric"]].title for m in document["metrics"] if m["better"] == who] for who in "ab"
    }
    told = [f"{who.upper()} is ahead on {wording.listed(names)}" for who, names in ahead.items() if names]
    basis = f"{document['customers']:,} customers at {', '.join(document['cutoffs'])}"
    return f"{'; '.join(told) or 'Neither is ahead on anything'} ({basis})"


def _metrics(axes: Axes, found: Sequence[Mapping[str, Any]]) -> None:
    """B's lead on each metric in % of A's value, with its interval; to the right B is better."""
    for row, one in enumerate(reversed(found)):
        sign = -1 if one["metric"] in LOSSES else 1
        point, low, high = (100 * sign * one[k] / abs(one["a"]) for k in ("difference", "low", "high"))
        colour = COLOURS[one["better"]]
        axes.plot([low, high], [row, row], color=colour, linewidth=2.2)
        axes.plot([point], [row], "o" if one["better"] else "D", color=colour, markersize=7)
        values = " to ".join(wording.number(one["metric"], one[who]) for who in "ab")
        axes.annotate(values, (point, row), (0, 9), textcoords="offset points", ha="center", fontsize=9, color=INK)
    axes.axvline(0, color=GREY, linewidth=1)
    axes.set_yticks(range(len(found)), [wording.METRICS[m["metric"]].title for m in reversed(found)])
    axes.set(ylim=(-0.6, len(found) - 0.4), xlabel="<- A is better     % of A's value, 95%     B is better ->")
    axes.margins(x=0.15)
    _title(axes, "Lead of B over A (values: A to B; a diamond: not told apart)")


def _cloud(axes: Axes, document: Mapping[str, Any], both: pl.DataFrame) -> None:
    """Every customer by both runs' churn probability, with the bands' edges."""
    a, b = both["churn_a"].to_numpy(), both["churn_b"].to_numpy()
    drawn = axes.hexbin(
        a, b, gridsize=45, extent=(0, 1, 0, 1), cmap="Blues", norm=LogNorm(vmin=0.3), mincnt=1, linewidths=0.1
    )
    axes.plot([0, 1], [0, 1], color=GREY, linewidth=1)
    if document["bands"]:
        first, second = document["bands"]["edges"]
        for x, y in zip(first, second, strict=True):
            axes.axvline(x, color=ORANGE, linewidth=1, linestyle=":")
            axes.axhline(y, color=ORANGE, linewidth=1, linestyle=":")
    axes.set(xlim=(0, 1), ylim=(0, 1), xlabel="churn probability by A", ylabel="churn probability by B")
    axes.figure.colorbar(drawn, ax=axes, label="customers", shrink=0.8)
    agreed, top = document["rank_agreement"]["churn"], document["top_tenth"]["churn"]
    rank = "" if agreed is None else f"rank agreement {agreed:.3f}; "
    _title(axes, f"Churn: {rank}{top['share']:.0%} of the riskiest tenth are the same")
    _percent(axes.xaxis, axes.yaxis)


def _matrix(axes: Axes, moves: Mapping[str, Any] | None, document: Mapping[str, Any], what: str) -> None:
    """Who is where by A (rows) and by B (columns): customers, and the money they went on to spend."""
    if moves is None:
        axes.axis("off")
        _title(axes, f"No {what} to compare")
        return
    counts = np.asarray(moves["customers"])
    size = len(moves["names"])
    # The diagonal stays; only those who move are shaded.
    shade = np.where(np.eye(size, dtype=bool), np.nan, counts / max(1, counts.sum()))
    axes.imshow(shade, cmap="Oranges", vmin=0, vmax=max(0.05, float(np.nan_to_num(shade).max()) * 1.6))
    for row in range(size):
        for column in range(size):
            text = f"{counts[row, column]:,}"
            if moves["money"] is not None:
                text += f"\n{moves['money'][row][column]:,.0f} {document['currency']}"
            axes.text(column, row, text, ha="center", va="center", fontsize=10,
                      fontweight="normal" if row == column else "bold")  # fmt: skip
    axes.set_xticks(range(size), moves["names"])
    axes.set_yticks(range(size), moves["names"])
    axes.set(xlabel=f"{what} by B", ylabel=f"{what} by A")
    _title(axes, moved(moves, what))


def moved(moves: Mapping[str, Any], what: str) -> str:
    """How many change, and with what share of the money."""
    money = "" if moves["moved_money_share"] is None else f", with {moves['moved_money_share']:.0%} of the money"
    return f"{moves['moved']:,} customers ({moves['moved_share']:.0%}) change {what}{money}"
