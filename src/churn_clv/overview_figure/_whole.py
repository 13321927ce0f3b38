"""The pictures of all customers: balance, cohorts, journey, drivers, said and realised, reliability, affinity."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from churn_clv.figures import BLUE, GREY, INK, ORANGE, _figure, _title
from churn_clv.overview_figure._sizes import NARROW, plain, words

Document = Mapping[str, Any]
Rows = Sequence[Mapping[str, Any]]

MOST_COHORTS, MOST_AGES, MOST_KINDS, MOST_PAIRS = 24, 24, 10, 12
CMAP = "cividis_r"


def draw(document: Document) -> dict[str, Figure]:
    """The pictures that the document allows, by name."""
    out: dict[str, Figure] = {}
    if document["kpis"]["balance"]["missing"] is None:
        out["balance"] = balance(document["kpis"])
    if document["cohorts"]["missing"] is None:
        out["cohorts_retention"] = heat(document["cohorts"], "retention")
        if document["cohorts"]["money"]:
            out["cohorts_revenue"] = heat(document["cohorts"], "revenue")
    if document["journey"]["transitions"]:
        out["transitions"] = transitions(document["journey"])
    if document["journey"]["steps"]:
        out["steps"] = steps(document["journey"])
    if document["drivers"]["missing"] is None:
        out["drivers"] = drivers(document["drivers"], document["currency"])
    if document["realised"]["scorings"]:
        out["realised"] = realised(document["realised"]["scorings"][-1], document["currency"])
    if document["reliability"]["tenths"]:
        out["reliability"] = reliability(document["reliability"])
    if document["affinity"].get("pairs"):
        out["affinity"] = affinity(document["affinity"])
    return out


def balance(kpis: Document) -> Figure:
    """A waterfall from the active at the start to those at the end."""
    own = kpis["balance"]
    names = ("active\nat start", "lapsed", "new", "won back", "active\nat end")
    sizes = [own[k] for k in ("active_start", "lapsed", "new", "won_back", "active_end")]
    tops = np.cumsum([sizes[0], -sizes[1], sizes[2], sizes[3]])
    figure = _figure(NARROW, 3.6)
    axes = figure.subplots()
    axes.bar([0, 4], [sizes[0], sizes[4]], color=INK, width=0.6)
    axes.bar([1], [sizes[1]], bottom=[tops[1]], color=ORANGE, hatch="///", edgecolor="white", width=0.6)
    axes.bar([2, 3], sizes[2:4], bottom=tops[1:3], color=BLUE, width=0.6)
    above = (tops[0], tops[0], tops[2], tops[3], tops[3])
    for place, (size, sign, top) in enumerate(zip(sizes, ("", "-", "+", "+", ""), above, strict=True)):
        axes.text(place, top, f"{sign}{size:,}", ha="center", va="bottom", color=INK)
    low = min(tops.min(), sizes[0], sizes[4])
    if low > 0.8 * max(sizes[0], sizes[4]):  # the moves are small beside the whole: show them
        axes.set_ylim(low - (max(tops) - low) * 0.6, max(tops) + (max(tops) - low) * 0.25)
        axes.text(
            0.5, 0.02, "the axis does not start at 0", transform=axes.transAxes, color=GREY, fontsize=8, ha="center"
        )
    axes.set_xticks(range(5), names)
    axes.set_ylabel("active customers")
    change = sizes[4] - sizes[0]
    _title(axes, f"{abs(change):,} {'more' if change >= 0 else 'fewer'} active customers than at the start")
    return figure


def heat(cohorts: Document, what: str) -> Figure:
    """A row per cohort, a column per age; darker is more; cells that are not complete are blank."""
    rows = cohorts["cohorts"][-MOST_COHORTS:]
    ages = min(cohorts["ages"], MOST_AGES)
    cells = np.array([[np.nan if v is None else float(v) for v in row[what][:ages]] for row in rows])
    shown = cells[:, 1:] if what == "retention" else cells  # of the first month all bought
    first = 1 if what == "retention" else 0
    figure = _figure(2.6 + 0.62 * max(4, shown.shape[1]), 1.7 + 0.34 * len(rows))
    axes = figure.subplots()
    if shown.size and np.isfinite(shown).any():
        top = float(np.nanmax(shown)) or 1.0
        axes.imshow(shown, cmap=CMAP, vmin=min(0.0, float(np.nanmin(shown))), vmax=top, aspect="auto")
        for (i, j), value in np.ndenumerate(shown):
            if np.isfinite(value):
                text = f"{value:.0%}" if what == "retention" else f"{value:,.0f}"
                axes.text(j, i, text, ha="center", va="center", fontsize=8, color=_on(value / top))
    axes.set_xticks(range(shown.shape[1]), [str(a + first) for a in range(shown.shape[1])])
    axes.set_yticks(range(len(rows)), [f"{r['cohort']}{'*' if r['censored'] else ''}  ({r['n']:,})" for r in rows])
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    unit = cohorts["unit"]
    axes.set(xlabel=f"{unit}s since the first purchase", ylabel=f"{unit} of the first purchase (customers)")
    text = (f"Share with a purchase, by {unit}" if what == "retention"
            else f"Net spend per customer of the cohort ({cohorts['currency']}), by {unit}")  # fmt: skip
    axes.set_title(text, loc="left", fontsize=11)
    return figure


def _on(share: float) -> str:
    """A colour of letters that stands out on the map at this share of its range."""
    red, green, blue, _ = matplotlib.colormaps[CMAP](min(1.0, max(0.0, share)))
    return INK if 0.2126 * red + 0.7152 * green + 0.0722 * blue > 0.45 else "white"


def transitions(journey: Document) -> Figure:
    """From each type of event (rows) to what came next (columns)."""
    rows: Rows = journey["transitions"]
    weight: dict[str, int] = {}
    for row in rows:
        weight[row["from"]] = weight.get(row["from"], 0) + row["n"]
    kinds = sorted(weight, key=lambda k: -weight[k])[:MOST_KINDS]
    ends = [*kinds, *(["silence"] if any(r["to"] == "silence" for r in rows) else [])]
    share = {(r["from"], r["to"]): r["share"] for r in rows}
    cells = np.array([[share.get((a, b), 0.0) for b in ends] for a in kinds])
    figure = _figure(2.4 + 1.05 * max(3, len(ends)), 1.8 + 0.5 * max(2, len(kinds)))
    axes = figure.subplots()
    axes.imshow(cells, cmap=CMAP, vmin=0, vmax=1, aspect="auto")
    for (i, j), value in np.ndenumerate(cells):
        text = "0" if not value else f"{value:.1%}" if value < 0.1 else f"{value:.0%}"
        axes.text(j, i, text, ha="center", va="center", color=_on(value), fontsize=9)
    axes.set_xticks(range(len(ends)), [words(e) for e in ends], rotation=20, ha="right")
    axes.set_yticks(range(len(kinds)), [f"{words(k)}  ({weight[k]:,})" for k in kinds])
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    axes.set(xlabel="what came next", ylabel="after")
    axes.set_title(f"What follows what; silence: nothing for {journey['active_days']} days", loc="left", fontsize=11)
    return figure


def steps(journey: Document) -> Figure:
    """Of each type of event, how many moments of lapse and of a repeat purchase it came before."""
    rows = sorted(journey["steps"], key=lambda r: -max(r["lapse"] or 0.0, r["repeat"] or 0.0))[:MOST_KINDS]
    figure = _figure(NARROW, 1.7 + 0.6 * len(rows))
    axes = figure.subplots()
    for name, colour, mark, off in (("lapse", ORANGE, "D", -0.13), ("repeat", BLUE, "o", 0.13)):
        own = [(i, r) for i, r in enumerate(rows) if r[name] is not None]
        at, value = [i + off for i, _ in own], [r[name] for _, r in own]
        for place, (_, row) in zip(at, own, strict=True):
            if row[f"{name}_low"] is not None:
                axes.plot(
                    [max(0.0, row[f"{name}_low"]), row[f"{name}_high"]], [place, place], color=colour, linewidth=1.5
                )
        axes.plot(value, at, mark, color=colour, markersize=7, linestyle="none", clip_on=False, zorder=3,
                  label="before lapsing" if name == "lapse" else "before buying again")  # fmt: skip
        for place, share in zip(at, value, strict=True):
            below = name == "repeat"
            edge = share < 0.02
            axes.annotate(f"{share:.1%}", (share, place), (6 if edge else 0, -9 if below else 7), fontsize=8,
                          textcoords="offset points", ha="left" if edge else "center",
                          va="top" if below else "bottom")  # fmt: skip
    axes.set_yticks(range(len(rows)), [words(r["event_type"]) for r in rows])
    axes.set_ylim(len(rows) - 0.35, -0.75)
    axes.set_xlim(0, 1.1 * max(0.01, *(r[k] or 0.0 for r in rows for k in ("lapse_high", "repeat_high"))))
    axes.xaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    axes.set_xlabel(f"share that met it in the {journey['window_days']} days before (95% bars)")
    _title(axes, "What customers met last")
    figure.legend(loc="outside lower center", ncols=2, frameon=False)
    return figure


def drivers(found: Document, currency: str) -> Figure:
    """Margin that each theme puts at risk (right) and keeps safe (left), against the base customer."""
    rows = sorted(found["themes"], key=lambda r: r["raises"] - r["lowers"])
    figure = _figure(NARROW, 1.8 + 0.45 * len(rows))
    axes = figure.subplots()
    place = range(len(rows))
    axes.barh(
        place,
        [r["raises"] for r in rows],
        color=ORANGE,
        hatch="///",
        edgecolor="white",
        height=0.6,
        label="raises the risk",
    )
    axes.barh(place, [r["lowers"] for r in rows], color=BLUE, height=0.6, label="lowers the risk")
    reach = max((max(r["raises"], -r["lowers"]) for r in rows), default=0.0) or 1.0
    for i, row in enumerate(rows):
        axes.text(row["raises"] + 0.02 * reach, i, f"+{row['raises']:,.0f}", va="center", fontsize=9)
        axes.text(row["lowers"] - 0.02 * reach, i, f"{row['lowers']:,.0f}", va="center", ha="right", fontsize=9)
    axes.axvline(0, color=INK, linewidth=1)
    axes.set_xlim(-1.45 * reach, 1.45 * reach)
    axes.set_yticks(place, [r["theme"] for r in rows])
    axes.xaxis.set_major_locator(MaxNLocator(5))
    axes.set_xlabel(f"margin at risk against the base customer's ({currency})")
    _title(axes, f"{found['at_risk']:,.0f} {currency} at risk; {found['base']:,.0f} were all as the base")
    axes.legend(loc="lower right", frameon=False)
    return figure


def realised(one: Document, currency: str) -> Figure:
    """A stored scoring by tenths of risk: lapse predicted and realised, spend predicted and realised."""
    figure = _figure(10.4, 4.2)
    left, right = figure.subplots(1, 2)
    _tenths(left, one["tenths"])
    _title(left, f"Scored {one['cutoff']}: {one['predicted']:.1%} said to lapse, {one['lapsed']:.1%} did")
    at = np.arange(1, len(one["tenths"]) + 1)
    right.plot(at, [r["spend"] for r in one["tenths"]], "o", color=BLUE, markersize=7, label="realised")
    right.plot(
        at, [r["expected_spend"] for r in one["tenths"]], "D", color=ORANGE, mfc="none", mew=1.6, label="predicted"
    )
    right.set(xlabel="tenth of customers, least risk first", ylabel=f"spend ({currency})")
    right.set_ylim(bottom=0)
    right.set_xticks(at)
    ratio = "" if one["ratio"] is None else f": {one['ratio']:.2f} of what was said"
    _title(right, f"Spend realised{ratio}")
    right.legend(frameon=False)
    return figure


def reliability(found: Document) -> Figure:
    """The test's tenths: predicted and observed lapse."""
    figure = _figure(NARROW, 4.2)
    axes = figure.subplots()
    _tenths(axes, found["tenths"])
    off = float(np.mean([abs(r["predicted"] - r["lapsed"]) for r in found["tenths"]]))
    _title(axes, f"Test of {found['test_cutoff']}: missed by {100 * off:.1f} points on average")
    return figure


def _tenths(axes: Axes, rows: Rows) -> None:
    said, seen = [r["predicted"] for r in rows], [r["lapsed"] for r in rows]
    bars = [[max(0.0, r["lapsed"] - r["low"]) for r in rows], [max(0.0, r["high"] - r["lapsed"]) for r in rows]]
    reach = 1.08 * max(*said, *(r["high"] for r in rows), 0.01)
    axes.plot([0, reach], [0, reach], color=GREY, linestyle="--", linewidth=1.2, label="exactly as said")
    axes.errorbar(said, seen, bars, None, "o", color=BLUE, capsize=3, label="a tenth, 95% bar")
    axes.set(xlabel="predicted share that lapses", ylabel="share that did", xlim=(0, reach), ylim=(0, reach))
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(PercentFormatter(1, decimals=0))
    axes.legend(loc="upper left", frameon=False)


def affinity(found: Document) -> Figure:
    """The most significant pairs: how many times as often b comes after a."""
    rows = found["pairs"][:MOST_PAIRS][::-1]
    figure = _figure(8.4, 1.5 + 0.36 * len(rows))
    axes = figure.subplots()
    lifts = [r["lift"] for r in rows]
    axes.hlines(range(len(rows)), 1, lifts, color=GREY, linewidth=1.5)
    axes.plot(lifts, range(len(rows)), "o", color=BLUE, markersize=7)
    for i, row in enumerate(rows):
        axes.annotate(
            f"{row['lift']:.2f}x", (row["lift"], i), (8, 0), textcoords="offset points", va="center", fontsize=8
        )
    axes.set_yticks(range(len(rows)), [f"{_short(r['first'])} \N{RIGHTWARDS ARROW} {_short(r['then'])}" for r in rows])
    axes.set_ylim(-0.6, len(rows) - 0.4)
    axes.set_xlim(1, 1 + 1.2 * (max(lifts) - 1))
    axes.set_xlabel("times as often as after the same customers' other purchases")
    _title(axes, f"What comes next within {found['within_days']} days")
    return figure


def _short(name: str) -> str:
    return plain(name if len(name) <= 28 else name[:27] + "\N{HORIZONTAL ELLIPSIS}")
