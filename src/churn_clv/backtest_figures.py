"""The pictures of a backtest, drawn from its document alone (the keys of backtest.json).

A title says what the picture shows for this model. The model stands in the strong colour and a larger mark, so that
nothing hangs on colour. Each function returns None where the document has no numbers for its picture.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from churn_clv import wording
from churn_clv.figures import BLUE, GREY, INK, ORANGE, _figure, _percent, _row, _title

Document = Mapping[str, Any]

NAMES = ("ladder", "reliability", "gains", "deciles", "totals", "strata", "clv", "targets")
PANES = {"churn_log_loss": "churn: log loss, lower is better", "spend_gini": "spend: Gini, higher is better"}
SKILLS = {"churn_skill": "churn: skill", "spend_skill": "spend: skill"}
BANDED = ("spend_total_low", "spend_total_ratio", "spend_total_high")
PALE, BAND = "#C9C9C9", "#CFE3F1"
MOST_STRATA = 24
GROUND = {"facecolor": "white", "edgecolor": "none", "pad": 0.5, "alpha": 0.85}


def draw(document: Document) -> dict[str, Figure]:
    """Every picture that the document has numbers for, by its name in ``NAMES``."""
    makers = (ladder, reliability, gains, deciles, totals, strata, clv, targets)
    drawn = {name: make(document) for name, make in zip(NAMES, makers, strict=True)}
    return {name: figure for name, figure in drawn.items() if figure is not None}


def ladder(document: Document) -> Figure | None:
    """Log loss and Gini of every rung: a small dot per cutoff, a large mark with its number at their mean."""
    steps = document["ladder"]
    keys = [k for k in PANES if any(step["mean"].get(k) is not None for step in steps)]
    if not keys:
        return None
    names = [wording.rung(step["rung"]) for step in steps]
    figure = _figure(2.0 + 3.8 * len(keys), 1.6 + 0.42 * len(names))
    figure.suptitle(_standing(document), x=0.01, ha="left", fontweight="bold")
    for place, (key, axes) in enumerate(zip(keys, _row(figure, len(keys)), strict=True)):
        _cutoff_dots(axes, key, steps)
        axes.set_yticks(range(len(names)), names if place == 0 else [""] * len(names))
        axes.set_ylim(len(names) - 0.5, -0.5)
        axes.xaxis.set_major_locator(MaxNLocator(4))
        _title(axes, PANES[key])
    return figure


def _standing(document: Document) -> str:
    """The verdicts on the two primary metrics, in one line each."""
    lines = [
        f"{wording.METRICS[metric].title}: {found['verdict']} {'of' if found['verdict'] == 'ahead' else 'with'} "
        f"{wording.rung(found['rung'])}".replace("behind with", "behind")
        for metric, _, found in wording.verdicts(document)
        if metric in wording.PRIMARY
    ]
    count = len(document["cutoffs"])
    return f"{'; '.join(lines) or 'The ladder'} ({count} cutoff{'s' if count != 1 else ''})"


def _cutoff_dots(axes: Axes, key: str, steps: Sequence[Mapping[str, Any]]) -> None:
    axes.grid(axis="y", color="#EEEEEE")
    given = [row.get(key) for step in steps for row in (step["mean"], *step["by_cutoff"])]
    seen = [float(v) for v in given if v is not None]
    reach = (max(seen) - min(seen)) or 0.1
    axes.set_xlim(min(seen) - 0.12 * reach, max(seen) + 0.12 * reach)
    for row, step in enumerate(steps):
        mean = step["mean"].get(key)
        if mean is None:
            place = ("axes fraction", "data")
            axes.annotate("does not apply", (0.02, row), xycoords=place, color=GREY, va="center", fontsize=8)
            continue
        colour, pale, size = (INK, PALE, 5.5) if row else (BLUE, "#9CC6E2", 8.0)
        dots, height = [r[key] for r in step["by_cutoff"] if r.get(key) is not None], row + 0.08
        axes.plot(dots, [height] * len(dots), "o", color=pale, markersize=4, zorder=2)
        axes.plot([mean], [height], "D", color=colour, markersize=size, zorder=3)
        axes.annotate(wording.number(key, mean), (mean, height), (0, 6), textcoords="offset points", ha="center",
                      fontsize=8.5, zorder=4)  # fmt: skip


def reliability(document: Document) -> Figure | None:
    """Predicted against observed share in ten groups with 95% bars; a strip below says where the groups lie."""
    rows = document["reliability"]
    if not rows:
        return None
    said, seen, low, high = (np.array([r[k] for r in rows]) for k in ("mean_probability", "churn_rate", "low", "high"))
    noun = wording.noun(document)
    figure = _figure(6.2, 5.8)
    axes = figure.subplots()
    reach = min(1.02, 1.08 * float(max(high.max(), said.max())))
    axes.plot([0, 1], [0, 1], color=GREY, linestyle="--", linewidth=1.2, label="exactly as predicted")
    bars = [np.maximum(seen - low, 0), np.maximum(high - seen, 0)]
    axes.errorbar(said, seen, bars, None, "o", color=BLUE, capsize=3, label="a tenth of customers, 95% bar")
    axes.set(xlim=(-0.02 * reach, reach), ylim=(-0.02 * reach, reach))
    axes.set(xlabel=f"predicted {noun} probability", ylabel=f"share that did {noun}")
    axes.legend(loc="upper left", frameon=False)
    _title(axes, _calibration(document, rows))
    _percent(axes.xaxis, axes.yaxis)
    return figure


def _calibration(document: Document, rows: Sequence[Mapping[str, Any]]) -> str:
    inside = sum(r["low"] <= r["mean_probability"] <= r["high"] for r in rows)
    mean = document["ladder"][0]["mean"]
    head = f"In {inside} of {len(rows)} groups the prediction lies within the bar"
    if mean.get("churn_ece") is None or mean.get("churn_ece_floor") is None:
        return head
    ece, floor = (wording.number(k, mean[k]) for k in ("churn_ece", "churn_ece_floor"))
    return f"{head};\ncalibration error {ece}, a perfect model of this size {floor}"


def gains(document: Document) -> Figure | None:
    """The share of those who stop buying among the riskiest x%: the model, the recency rule, the rung that is next."""
    rows = [r for r in document["lift"] if r.get("champion") is not None]
    if not rows:
        return None
    share = [0.0, *(r["share"] for r in rows)]
    curves = {k: [0.0, *(r[k] for r in rows)] for k in rows[0] if k != "share" and all(r[k] is not None for r in rows)}
    fifth = {name: float(np.interp(0.2, share, curve)) for name, curve in curves.items()}
    best = max((k for k in curves if k != "champion"), key=fifth.__getitem__, default=None)
    figure = _figure(5.8, 5.2)
    axes = figure.subplots()
    named = {"recency_rule": (ORANGE, "--"), best: (INK, "-.")}
    for name, curve in sorted(curves.items(), key=lambda item: item[0] in named):
        if name != "champion":
            colour, line = named.get(name, (PALE, "-"))
            axes.plot(share, curve, color=colour, linestyle=line, linewidth=1.4,
                      label=wording.rung(name) if name in named else "_")  # fmt: skip
    axes.plot(share, curves["champion"], "o-", color=BLUE, linewidth=2.2, markersize=4, label="this model")
    axes.plot([0, 1], [0, 1], color=GREY, linestyle=":", linewidth=1.2, label="chance")
    noun = wording.noun(document)
    axes.set(xlabel="share of customers, riskiest first", ylabel=f"share of all who {noun}")
    axes.set(xlim=(0, 1), ylim=(0, 1.02))
    against = f"; {wording.rung(best)}: {fifth[best]:.0%}" if best else ""
    _title(axes, f"The riskiest fifth holds {fifth['champion']:.0%} of those who {noun}{against}")
    _percent(axes.xaxis, axes.yaxis)
    axes.legend(loc="lower right", frameon=False)
    return figure


def deciles(document: Document) -> Figure | None:
    """Expected and actual mean spend per tenth of customers, the tenth of highest expectation first."""
    known = [r for r in document["deciles"] if r["expected_spend"] is not None and r["spend"] is not None]
    rows = sorted(known, key=lambda r: -r["decile"])
    if not rows:
        return None
    said, actual, size = (np.array([float(r[k]) for r in rows]) for k in ("expected_spend", "spend", "n"))
    place = np.arange(len(rows))
    figure = _figure(6.8, 4.2)
    axes = figure.subplots()
    axes.vlines(place, np.minimum(actual, said), np.maximum(actual, said), color=GREY, linewidth=1.2, zorder=1)
    axes.plot(place, actual, "o", color=BLUE, markersize=7, label="actual")
    axes.plot(place, said, "D", color=ORANGE, markersize=6, mfc="none", mew=1.6, label="expected")
    currency = document["currency"]
    axes.set(xlabel="tenth of customers; 10: highest expectation", ylabel=f"mean spend per customer ({currency})")
    axes.set_ylim(bottom=0)
    axes.set_xticks(place, [str(r["decile"]) for r in rows])
    money = actual @ size
    top = f"The top tenth brings {actual[0] * size[0] / money:.0%} of the money; " if money > 0 else ""
    _title(axes, f"{top}expected {said[0]:,.0f}, spent {actual[0]:,.0f} {currency} each")
    axes.legend(loc="upper right", frameon=False)
    return figure


def totals(document: Document) -> Figure | None:
    """Predicted total over actual at each cutoff, on the band that was given for it."""
    rows = [r for r in document["ladder"][0]["by_cutoff"] if r.get("spend_total_ratio") is not None]
    if not rows:
        return None
    ratio, place = np.array([r["spend_total_ratio"] for r in rows]), np.arange(len(rows))
    figure = _figure(max(6.0, 1.6 + 0.8 * len(rows)), 4.4)
    axes = figure.subplots()
    axes.axhline(1, color=GREY, linestyle="--", linewidth=1.2, label="exactly right")
    banded = [(p, r) for p, r in zip(place, rows, strict=True) if wording.in_band(r) is not None]
    if banded:
        low, high = (np.array([r[k] for _, r in banded]) for k in ("spend_total_low", "spend_total_high"))
        axes.bar([p for p, _ in banded], high - low, 0.5, bottom=low, color=BAND, label="band", zorder=1)
    axes.plot(place, ratio, "o", color=BLUE, markersize=7, label="predicted over actual", zorder=3)
    for at, value in zip(place, ratio, strict=True):
        axes.annotate(f"{value:.3f}", (at, value), (9, 0), textcoords="offset points", va="center", fontsize=9,
                      bbox=GROUND, zorder=4)  # fmt: skip
    axes.set_xticks(place, [str(r["cutoff"]) for r in rows], rotation=30 if len(rows) > 4 else 0)
    axes.set(xlim=(-0.6, len(rows) - 0.2), ylabel="predicted total over actual")
    edges = [v for r in rows for k in BANDED if (v := r.get(k)) is not None]
    reach = max(*edges, 1.0) - min(*edges, 1.0) or 0.1
    axes.set_ylim(min(*edges, 1.0) - 0.12 * reach, max(*edges, 1.0) + 0.12 * reach)
    inside = sum(wording.in_band(r) is True for r in rows)
    held = f";\nin its band at {inside} of {len(banded)} cutoffs" if banded else ""
    worst = rows[int(np.abs(ratio - 1).argmax())]
    off = worst["spend_total_ratio"] - 1
    way = "too high" if off > 0 else "too low"
    _title(axes, f"The total is off by {abs(off):.1%} at most ({way}, {worst['cutoff']}){held}")
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.2 if len(rows) <= 4 else -0.28), ncols=3, frameon=False)
    return figure


def strata(document: Document) -> Figure | None:
    """Skill against each group's own base rate or mean: 0 is no better than that, 1 is perfect."""
    rows = list(document["strata"])[:MOST_STRATA]
    keys = [k for k in SKILLS if any(r[k] is not None for r in rows)]
    if not keys:
        return None
    figure = _figure(2.2 + 3.6 * len(keys), 1.5 + 0.34 * len(rows))
    figure.suptitle(_worst_group(rows, keys), x=0.01, ha="left", fontweight="bold")
    names = [f"{wording.stratum(r)} (n {r['n']:,})" for r in rows]
    for pane, (key, axes) in enumerate(zip(keys, _row(figure, len(keys)), strict=True)):
        values = [r[key] for r in rows]
        known = [0.0 if v is None else float(v) for v in values]
        axes.barh(range(len(rows)), known, color=[ORANGE if v < 0 else BLUE for v in known], height=0.62)
        axes.axvline(0, color=INK, linewidth=1)
        for row, value in enumerate(values):
            text = "does not apply" if value is None else f"{value:+.3f}"
            end = (max(known[row], 0.0), row)
            axes.annotate(text, end, (5, 0), textcoords="offset points", va="center", fontsize=8.5)
        axes.set_yticks(range(len(rows)), names if pane == 0 else [""] * len(rows))
        axes.set_ylim(len(rows) - 0.4, -0.6)
        reach = max(known) - min(0.0, *known) or 0.1
        axes.set_xlim(min(0.0, *known) - 0.02 * reach, max(0.0, *known) + 0.25 * reach)
        axes.xaxis.set_major_locator(MaxNLocator(4))
        _title(axes, SKILLS[key])
    return figure


def _worst_group(rows: Sequence[Mapping[str, Any]], keys: Sequence[str]) -> str:
    found = [(float(r[k]), f"{wording.stratum(r)} ({SKILLS[k].partition(':')[0]})") for r in rows for k in keys
             if r[k] is not None]  # fmt: skip
    value, name = min(found)
    verb = "no better than the group's own mean" if value < 0 else "least skill"
    return f"Weakest: {name}, {verb}: {value:+.3f}"


def clv(document: Document) -> Figure | None:
    """Money of everyone known at a cutoff by window: what came, this model, and the other rungs in grey."""
    found = document["clv"]
    if not found:
        return None
    cutoffs = found["by_cutoff"]
    figure = _figure(1.0 + 3.8 * len(cutoffs), 4.0)
    worst = abs(found["worst"] - 1)
    figure.suptitle(f"The total of {found['windows_judged']} windows is off by {worst:.1%} at most", x=0.01, ha="left",
                    fontweight="bold")  # fmt: skip
    for pane, (own, axes) in enumerate(zip(cutoffs, _row(figure, len(cutoffs)), strict=True)):
        place = [row["k"] for row in own["windows"]]
        axes.bar(place, [row["actual"] for row in own["windows"]], 0.62, color=PALE, label="came")
        axes.plot(place, [row["predicted"] for row in own["windows"]], "o-", color=BLUE, label="this model", zorder=3)
        axes.plot(place, own["btyd"], "s--", color=ORANGE, markersize=4, label="BTYD", zorder=2)
        if own["windows_matured"] < len(place):
            axes.axvspan(own["windows_matured"] + 0.5, len(place) + 0.5, color="#F2F2F2", zorder=0)
            axes.annotate("extrapolated", (len(place) + 0.45, 0.97), xycoords=("data", "axes fraction"), ha="right",
                          va="top", fontsize=8, color=GREY)  # fmt: skip
        axes.set(xlabel=f"window of {found['window_days']} days", xlim=(0.5, len(place) + 0.5))
        axes.set_ylim(0, 1.22 * max(max(row["actual"], row["predicted"]) for row in own["windows"]))
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.yaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
        if pane == 0:
            axes.set_ylabel(f"money ({document['currency']})")
            axes.legend(loc="lower left", frameon=True, framealpha=0.9, edgecolor="none")
        _title(axes, f"from {own['cutoff']} on, {own['n']:,} customers")
    return figure


# The marks of a target's rungs: form and colour.
MARKS = {"champion": ("o", BLUE), "logistic": ("D", ORANGE), "last_horizon": ("^", GREY), "recency": ("s", GREY)}


def targets(document: Document) -> Figure | None:
    """How much of the base rate's loss (log loss, or Tweedie deviance) each rung saves, a row per target."""
    found = list(document["targets"].values())
    if not found:
        return None
    figure = _figure(7.2, 1.7 + 0.5 * len(found))
    axes = _row(figure, 1)[0]
    for place, one in enumerate(found):
        key = "log_loss" if one["measure"] in ("absent", "present") else "tweedie_deviance"
        loss = {row["rung"]: row["mean"][key] for row in one["ladder"]}
        for name in (n for n in MARKS if loss.get(n) is not None):
            (form, colour), own = MARKS[name], name == "champion"
            axes.plot(1 - loss[name] / loss["base_rate"], place, form, color=colour, ms=9 if own else 6, zorder=2 + own)
    for name, (form, colour) in MARKS.items():
        axes.plot([], [], form, color=colour, ls="", label=wording.rung(name))
    axes.axvline(0, color=INK, lw=0.8)
    axes.set_yticks(range(len(found)), [one["target"].replace("_", " ") for one in found])
    axes.set_ylim(len(found) - 0.5, -0.5)
    _percent(axes.xaxis)
    ahead = sum(v["verdict"] == "ahead" for one in found for v in list(one["minus_best"].values())[:1])
    _title(axes, f"Ahead of every rung on {ahead} of {len(found)} targets: share of the base rate's loss that is saved")
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.25), ncols=4, frameon=False)
    return figure
