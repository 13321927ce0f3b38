"""The plots of a run: each title says what the picture means for this model, each mark is readable without colour.

Figures are built on ``matplotlib.figure.Figure`` itself (the Agg canvas), never on pyplot: no global state, so
threads cannot draw into one another's axes. Colours are Okabe and Ito's, told apart by the colour-blind. Tenths
are those of ``metrics``, so a plot and a number never disagree.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from churn_clv.metrics import Array, Order

BLUE, ORANGE, GREY, INK = "#0072B2", "#D55E00", "#767676", "#222222"
DPI = 130
MOST_FEATURES = 20
RANKS = {"churn_auroc": "churn: AUC", "spend_gini": "spend: normalised Gini"}
NAMES = {"champion": "this model"}


def draw(
    oot: pl.DataFrame, importance: pl.DataFrame, ladder: Sequence[Mapping[str, Any]], currency: str
) -> dict[str, Figure]:
    """Every figure that the judged predictions allow, by file stem.

    ``oot``: churned (0/1), churn_probability, spend, expected_spend (major units, null without a spend head).
    ``importance``: feature, churn_gain, spend_gain. ``ladder``: {"rung", "metrics"} per rung, this model first.
    """
    figures: dict[str, Figure] = {}
    y, p = _arrays(oot, "churned", "churn_probability")
    if 0 < y.sum() < y.size:
        floor = ladder[0]["metrics"].get("churn_ece_floor") if ladder else None
        figures |= {"reliability": reliability(y, p, floor), "lift": lift(y, p), "gains": gains(y, p)}
    spend, expected = _arrays(oot, "spend", "expected_spend")
    if spend.sum() > 0:
        figures["spend_by_decile"] = spend_by_decile(spend, expected, currency)
    if importance.height:
        figures["importance"] = feature_importance(importance)
    if ladder:
        figures["ladder"] = rung_ladder(ladder)
    return figures


def save(figures: Mapping[str, Figure], folder: Path) -> list[Path]:
    """Write each figure as ``folder``/<name>.png; returns the paths."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{name}.png" for name in figures]
    for figure, path in zip(figures.values(), paths, strict=True):
        figure.savefig(path, format="png", dpi=DPI)
    return paths


def reliability(churned: Array, probability: Array, floor: float | None = None) -> Figure:
    """Predicted against observed churn in ten groups of equal size, 95% Wilson bars, above a histogram.

    ``floor`` is the calibration error that a perfect model of this size shows (definition 11), for the title.
    """
    order, n = Order(probability), churned.size / 10
    said, seen = order.tenths(probability) / n, order.tenths(churned) / n
    low, high = _wilson(seen, n)
    figure = _figure(6.4, 6.4)
    top, below = figure.subplots(2, 1, sharex=True, height_ratios=[4, 1])
    top.plot([0, 1], [0, 1], color=GREY, linestyle="--", linewidth=1.2, label="exactly as predicted")
    top.errorbar(said, seen, [seen - low, high - seen], None, "o", color=BLUE, capsize=3, label="a tenth, 95% bar")
    reach = min(1.02, 1.08 * max(float(high.max()), float(probability.max())))
    top.set(ylabel="share that churned", ylim=(-0.02, reach), xlim=(-0.02, reach))
    chance = "" if floor is None else f" (chance: {100 * floor:.1f})"
    _title(top, f"Churn probabilities miss by {100 * np.abs(seen - said).mean():.1f} points on average{chance}")
    top.legend(loc="upper left", frameon=False)
    below.hist(probability, bins=40, range=(0, 1), color=BLUE, alpha=0.75)
    below.set(xlabel="predicted churn probability", ylabel="customers")
    _percent(top.xaxis, top.yaxis)
    return figure


def lift(churned: Array, probability: Array) -> Figure:
    """The churn rate of each tenth, riskiest first, beside the rate of all."""
    rate = Order(probability).tenths(churned)[::-1] / (churned.size / 10)
    mean, place = float(churned.mean()), np.arange(1, 11)
    figure = _figure(6.8, 4.0)
    axes = figure.subplots()
    bars = axes.bar(place, rate, color=BLUE, width=0.8)
    ground = {"facecolor": "white", "edgecolor": "none", "pad": 0.5}
    axes.bar_label(bars, [f"{r / mean:.1f}x" for r in rate], padding=2, fontsize=8, color=INK, bbox=ground, zorder=4)
    axes.axhline(mean, color=ORANGE, linewidth=1.5, linestyle="--", label=f"everyone: {mean:.0%}")
    axes.set(xlabel="tenth of customers, riskiest first", ylabel="share that churned", ylim=(0, rate.max() * 1.15))
    axes.set_xticks(place)
    _title(axes, f"The riskiest tenth churns {rate[0] / mean:.1f} times as often as everyone")
    _percent(axes.yaxis)
    axes.legend(loc="upper right", frameon=False)
    return figure


def gains(churned: Array, probability: Array) -> Figure:
    """The share of all churners among the riskiest x% of customers, with the best possible curve and chance."""
    order = Order(probability)
    share, found = (
        np.concatenate([[0.0], np.cumsum(order.sums(v)[::-1])]) / v.sum() for v in (np.ones(churned.size), churned)
    )
    fifth = float(np.interp(0.2, share, found))
    figure = _figure(5.6, 5.2)
    axes = figure.subplots()
    axes.plot([0, churned.mean(), 1], [0, 1, 1], color=GREY, linewidth=1.2, label="best possible")
    axes.plot(share, found, color=BLUE, linewidth=2.2, label="this model")
    axes.plot([0, 1], [0, 1], color=GREY, linestyle="--", linewidth=1.2, label="chance")
    axes.plot([0.2, 0.2, 0], [0, fifth, fifth], color=ORANGE, linewidth=1, linestyle=":")
    axes.plot([0.2], [fifth], "o", color=ORANGE)
    axes.set(xlabel="share of customers, riskiest first", ylabel="share of all who churn", xlim=(0, 1), ylim=(0, 1.01))
    _title(axes, f"The riskiest fifth holds {fifth:.0%} of those who churn")
    _percent(axes.xaxis, axes.yaxis)
    axes.legend(loc="lower right", frameon=False)
    return figure


def spend_by_decile(spend: Array, expected: Array, currency: str) -> Figure:
    """Mean predicted and mean actual spend (major units) per tenth of customers, highest prediction first."""
    order, n, place = Order(expected), spend.size / 10, np.arange(1, 11)
    actual, said = order.tenths(spend)[::-1] / n, order.tenths(expected)[::-1] / n
    off = float(expected.sum() / spend.sum() - 1)
    figure = _figure(6.8, 4.2)
    axes = figure.subplots()
    axes.vlines(place, np.minimum(actual, said), np.maximum(actual, said), color=GREY, linewidth=1.2, zorder=1)
    axes.plot(place, actual, "o", color=BLUE, markersize=7, label="actual")
    axes.plot(place, said, "D", color=ORANGE, markersize=6, mfc="none", mew=1.6, label="predicted")
    axes.set(xlabel="tenth of customers, highest prediction first", ylabel=f"mean spend per customer ({currency})")
    axes.set_ylim(bottom=0)
    axes.set_xticks(place)
    total = f"the predicted total is {abs(off):.1%} too {'high' if off > 0 else 'low'}"
    _title(axes, f"The top tenth brings {actual[0] / actual.sum():.0%} of the money; {total}")
    axes.legend(loc="upper right", frameon=False)
    return figure


def feature_importance(importance: pl.DataFrame, most: int = MOST_FEATURES) -> Figure:
    """Each head's ``most`` strongest features by their share of the head's total gain (split gain, not cause)."""
    heads = {"churn_gain": "churn", "spend_gain": "spend"}
    drawn = {c: t for c, t in heads.items() if importance[c].cast(pl.Float64).fill_null(0).sum() > 0}
    rows = min(most, importance.height)
    figure = _figure(5.4 * max(1, len(drawn)), 1.5 + 0.24 * rows)
    figure.suptitle("What the trees split on most (use, not cause)", x=0.01, ha="left", fontweight="bold")
    for column, axes in zip(drawn, _row(figure, len(drawn)), strict=False):
        share = importance[column].cast(pl.Float64).fill_null(0) / importance[column].sum()
        best = importance.select("feature", share=share).sort(["share", "feature"], descending=[True, False]).head(rows)
        axes.barh(best["feature"].to_list(), best["share"].to_numpy(), color=BLUE, height=0.7)
        axes.set_ylim(rows - 0.4, -0.6)
        axes.tick_params(axis="y", labelsize=8)
        axes.xaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))
        axes.set_xlabel("share of the gain of all splits")
        _title(axes, f"{drawn[column]}: the first {rows} hold {best['share'].sum():.0%}")
        _percent(axes.xaxis)
    return figure


def rung_ladder(ladder: Sequence[Mapping[str, Any]]) -> Figure:
    """AUC of churn and normalised Gini of spend for each rung, one row a rung, in the ladder's order."""
    names = [NAMES.get(step["rung"], str(step["rung"]).replace("_", " ")) for step in ladder]
    drawn = [key for key in RANKS if any(step["metrics"].get(key) is not None for step in ladder)]
    figure = _figure(2.0 + 3.6 * max(1, len(drawn)), 1.5 + 0.36 * len(names))
    figure.suptitle(_verdict(ladder, names), x=0.01, ha="left", fontweight="bold")
    for pane, (key, axes) in enumerate(zip(drawn, _row(figure, len(drawn)), strict=False)):
        _dots(axes, [step["metrics"].get(key) for step in ladder])
        axes.set_yticks(range(len(names)), names if pane == 0 else [""] * len(names))
        axes.set_ylim(len(names) - 0.5, -0.5)
        axes.xaxis.set_major_locator(MaxNLocator(5))
        _title(axes, RANKS[key])
    return figure


def _dots(axes: Axes, values: Sequence[float | None]) -> None:
    """One labelled dot a row, the first in the strong colour; a row without a value says so."""
    known = [v for v in values if v is not None]
    reach = max(known) - min(known) or 0.1
    axes.set_xlim(min(known) - 0.12 * reach, max(known) + 0.3 * reach)
    axes.grid(axis="y", color="#E5E5E5")
    for row, value in enumerate(values):
        if value is None:
            place = ("axes fraction", "data")
            axes.annotate("does not apply", (0.02, row), xycoords=place, color=GREY, va="center", fontsize=8)
            continue
        axes.plot([value], [row], "o", color=BLUE if row == 0 else INK, markersize=9 if row == 0 else 6)
        axes.annotate(f"{value:.3f}", (value, row), (9, 0), textcoords="offset points", va="center", fontsize=9)


def _verdict(ladder: Sequence[Mapping[str, Any]], names: Sequence[str]) -> str:
    """Who ranks better than the first rung, on either head; a tie is not better."""
    ahead: list[str] = []
    for key in RANKS:
        values = [step["metrics"].get(key) for step in ladder]
        known = [(v, name) for v, name in zip(values, names, strict=True) if v is not None]
        if values[0] is not None and max(known)[0] > values[0]:
            ahead.append(f"{max(known)[1]} ({RANKS[key].split(':')[0]})")
    return f"Ahead of this model: {', '.join(ahead)}" if ahead else "No rung ranks customers better than this model"


def _wilson(rate: Array, n: float) -> tuple[Array, Array]:
    """Wilson's 95% interval of a share (Wilson 1927): stays within 0..1 and holds near both ends."""
    z = 1.96
    middle = (rate + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * np.sqrt(np.clip(rate * (1 - rate), 0, None) / n + z**2 / (4 * n**2))
    return np.minimum(rate, middle - half), np.maximum(rate, middle + half)


def _arrays(frame: pl.DataFrame, *columns: str) -> tuple[Array, Array]:
    """Two columns as floats, only the rows where neither is null."""
    rows = frame.select(pl.col(c).cast(pl.Float64) for c in columns).drop_nulls()
    return rows[columns[0]].to_numpy(), rows[columns[1]].to_numpy()


def _figure(width: float, height: float) -> Figure:
    return Figure(figsize=(width, height), layout="constrained")


def _row(figure: Figure, panes: int) -> list[Axes]:
    return list(figure.subplots(1, max(1, panes), squeeze=False)[0])


def _title(axes: Axes, text: str) -> None:
    axes.set_title(text, loc="left", fontsize=11)
    axes.spines[["top", "right"]].set_visible(False)


def _percent(*scales: Axis) -> None:
    for scale in scales:
        scale.set_major_formatter(PercentFormatter(1, decimals=0))
