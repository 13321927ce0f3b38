"""The portfolio as pictures, drawn from its document: the value x risk matrix, and the flows between two cutoffs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from matplotlib.patches import Patch, Polygon, Rectangle

from churn_clv.figures import BLUE, GREY, INK, ORANGE, _figure, _title

Document = Mapping[str, Any]
Rows = Sequence[Mapping[str, Any]]

# Two segmentations are drawn; the rest is in the tables.
FLOWS = ("lifecycle_stage", "value_tier")
# Shares of the height: the gap between two bars, and the smallest that is labelled.
GAP, LABELLED = 0.025, 0.012
BAR = 0.035


def draw(document: Document) -> dict[str, Figure]:
    """The pictures that the document allows, by file stem."""
    out = {"segments_matrix": matrix(document)} if any(r["customers"] for r in document["matrix"]) else {}
    for column in FLOWS if document["migration"] else ():
        moves = document["migration"][column]
        if moves["stayed"] + moves["moved"]:
            out[f"segments_flows_{column}"] = flows(document, column)
    return out


def matrix(document: Document) -> Figure:
    """Value tier x risk: in each field its name, how many customers and their CLV; the darker, the more CLV."""
    rows: Rows = document["matrix"]
    tiers = list(dict.fromkeys(r["tier"] for r in rows))
    risks = list(dict.fromkeys(name for r in rows for name in r["risk"]))
    figure = _figure(1.6 + 3.0 * len(risks), 1.2 + 1.25 * len(tiers))
    axes = figure.subplots()
    most = max((r["clv"] or 0.0 for r in rows), default=0.0) or 1.0
    for row in rows:
        at = sorted(risks.index(name) for name in row["risk"])
        left, width, bottom = at[0], len(at), len(tiers) - 1 - tiers.index(row["tier"])
        colour = to_rgba(BLUE, 0.08 + 0.5 * (row["clv"] or 0.0) / most)
        axes.add_patch(Rectangle((left, bottom), width, 1, facecolor=colour, edgecolor="white", linewidth=4))
        money = "" if row["clv"] is None else f"\nCLV {row['clv']:,.0f} {document['currency']}"
        axes.text(left + width / 2, bottom + 0.62, _words(row["cell"]), ha="center", va="center", color=INK,
                  fontweight="bold", fontsize=12)  # fmt: skip
        axes.text(left + width / 2, bottom + 0.3, f"{row['customers']:,} customers{money}", ha="center", va="center",
                  color=INK, fontsize=9.5)  # fmt: skip
    axes.set(xlim=(0, len(risks)), ylim=(0, len(tiers)))
    axes.set_xticks(np.arange(len(risks)) + 0.5, [_words(r) for r in risks])
    axes.set_yticks(np.arange(len(tiers)) + 0.5, [_words(t) for t in reversed(tiers)])
    axes.set(xlabel="risk of no purchase", ylabel="value tier")
    axes.tick_params(length=0)
    for side in axes.spines.values():
        side.set_visible(False)
    _title(axes, _matrix_says(document))
    return figure


def _matrix_says(document: Document) -> str:
    rows: Rows = document["matrix"]
    whole = sum(r["clv"] or 0.0 for r in rows)
    count = sum(r["customers"] for r in rows)
    cells = dict.fromkeys(r["cell"] for r in rows)
    worth = {c: sum(r["clv"] or 0.0 for r in rows if r["cell"] == c) for c in cells}
    if whole <= 0:
        return f"{count:,} customers at {document['cutoff']}; nobody has a value"
    top = max(worth, key=lambda c: worth[c])
    who = sum(r["customers"] for r in rows if r["cell"] == top)
    return f"{_words(top)}: {who / count:.0%} of the customers hold {worth[top] / whole:.0%} of the CLV"


def flows(document: Document, column: str) -> Figure:
    """Who was where then (left) and is now (right), by customers and by CLV.

    Those who stayed are grey; those who moved blue where their CLV rose in sum, orange and hatched where it fell.
    """
    figure = _figure(12.0, 5.6)
    left, right = figure.subplots(1, 2)
    moves = document["migration"][column]
    known = moves["stayed"] + moves["moved"]
    figure.suptitle(
        f"{_words(column)}: {moves['moved']:,} of {known:,} customers ({moves['moved'] / known:.0%}) moved between "
        f"{document['against']} and {document['cutoff']}", x=0.01, ha="left", fontweight="bold",
    )  # fmt: skip
    rows = [r for r in moves["flows"] if "not known" not in (r["from"], r["to"])]
    named = [r["segment"] for r in document["segments"][column]]
    order = list(dict.fromkeys([*named, *(n for r in rows for n in (r["from"], r["to"]))]))
    _alluvial(left, rows, order, lambda r: (r["customers"], r["customers"]))
    _title(left, "By customers known at both")
    _alluvial(right, rows, order, lambda r: (max(0.0, r["money_before"] or 0.0), max(0.0, r["money_after"] or 0.0)))
    totals = [sum(r[k] or 0.0 for r in rows) for k in ("money_before", "money_after")]
    _title(right, f"By CLV: {totals[0]:,.0f} then, {totals[1]:,.0f} now ({document['currency']})")
    kinds = [Patch(facecolor=GREY, alpha=0.3, label="stayed"), Patch(facecolor=BLUE, alpha=0.55, label="moved, CLV up"),
             Patch(facecolor=ORANGE, alpha=0.55, hatch="///", edgecolor="white", label="moved, CLV down")]  # fmt: skip
    figure.legend(handles=kinds, loc="outside lower center", ncols=3, frameon=False)
    return figure


def _alluvial(axes: Axes, rows: Rows, order: Sequence[str], size: Any) -> None:
    """Bars of both sides from the top down in one order, and a ribbon for each flow, as wide as it is on each side."""
    sizes = {(r["from"], r["to"]): size(r) for r in rows}
    rose = {(r["from"], r["to"]): (r["money_after"] or 0.0) >= (r["money_before"] or 0.0) for r in rows}
    wholes = [sum(pair[side] for pair in sizes.values()) or 1.0 for side in (0, 1)]
    tops: list[dict[str, float]] = []
    for side in (0, 1):
        at, top = 1.0, {}
        for name in order:
            own = sum(pair[side] for key, pair in sizes.items() if key[side] == name) / wholes[side]
            if own <= 0:
                continue
            top[name] = at
            x = 0.0 if side == 0 else 1.0 - BAR
            axes.add_patch(Rectangle((x, at - own), BAR, own, color=INK, linewidth=0))
            if own >= LABELLED:
                axes.text(-0.02 if side == 0 else 1.02, at - own / 2, f"{_words(name)}  {own:.0%}", va="center",
                          ha="right" if side == 0 else "left", fontsize=9)  # fmt: skip
            at -= own + GAP
        tops.append(top)
    used: list[dict[str, float]] = [{}, {}]
    for a in order:
        for b in order:
            if (a, b) in sizes and any(sizes[a, b]):
                _ribbon(axes, a, b, [sizes[a, b][s] / wholes[s] for s in (0, 1)], tops, used, rose[a, b])
    axes.set(xlim=(-0.42, 1.42), ylim=(-GAP * len(order), 1.01))
    axes.axis("off")


def _ribbon(
    axes: Axes, a: str, b: str, widths: Sequence[float], tops: Sequence[Mapping[str, float]],
    used: Sequence[dict[str, float]], rose: bool,
) -> None:  # fmt: skip
    starts = [tops[s].get(name, 0.0) - used[s].get(name, 0.0) for s, name in ((0, a), (1, b))]
    for s, name in ((0, a), (1, b)):
        used[s][name] = used[s].get(name, 0.0) + widths[s]
    x = np.linspace(0, 1, 40)
    ease = x**2 * (3 - 2 * x)
    above = starts[0] + (starts[1] - starts[0]) * ease
    under = above - (widths[0] + (widths[1] - widths[0]) * ease)
    at = BAR + x * (1 - 2 * BAR)
    colour = GREY if a == b else BLUE if rose else ORANGE
    points = np.concatenate([np.column_stack([at, above]), np.column_stack([at, under])[::-1]])
    hatch = "///" if a != b and not rose else None
    axes.add_patch(Polygon(points, closed=True, facecolor=to_rgba(colour, 0.3 if a == b else 0.55), linewidth=0,
                           hatch=hatch, edgecolor="white"))  # fmt: skip


def _words(name: str) -> str:
    # A dollar sign would begin a formula.
    return name.replace("_", " ").replace("$", r"\$")
