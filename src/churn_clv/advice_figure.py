"""The advice as one picture: how silences end, which horizon gives a base rate to learn from, who counts as active."""

from __future__ import annotations

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from churn_clv.advice import BASE_RATE, EACH_CLASS, MOST_RETURN, RETURN_HORIZONS, Advice, Horizon
from churn_clv.figures import BLUE, GREY, INK, ORANGE, _figure, _percent, _title

# The curve of all gaps lies broad and pale under the others, which it nearly meets where most gaps are later ones.
KINDS = {
    "all": ("#B5B5B5", "all", 5.0),
    "later": (BLUE, "after later purchases", 1.6),
    "first": (ORANGE, "after the first purchase", 1.6),
}
BAND = "#E6F1F8"


def draw(advice: Advice) -> Figure:
    """Three panels: the gaps between purchases, the base rate of each horizon, the return after each silence."""
    figure = _figure(15.0, 5.2)
    figure.suptitle(_verdict(advice), x=0.01, ha="left", fontweight="bold", fontsize=13)
    left, middle, right = figure.subplots(1, 3)
    _gaps(left, advice)
    _base_rates(middle, advice)
    _returns(right, advice)
    return figure


def _verdict(advice: Advice) -> str:
    best, near = advice.chosen, advice.nearest
    if best:
        return f"{advice.dataset}: horizon {best.horizon_days} days, active within {best.active_within_days}"
    misses = f"; the nearest, {near.horizon_days} days: {'; '.join(near.misses.values())}" if near else ""
    return f"{advice.dataset}: no such horizon{misses}"


def _gaps(axes: Axes, advice: Advice) -> None:
    """The share of gaps that have ended, by days; a label at each share that the curves reach."""
    reach, drawn = 7, {gaps.name: gaps for gaps in advice.gaps}
    for name, (colour, label, width) in KINDS.items():
        if name in drawn:
            days, ended = drawn[name].days, drawn[name].ended
            axes.step((0, *days), (0.0, *ended), where="post", color=colour, linewidth=width, label=label)
            reach = max(reach, *(mark for mark in drawn[name].marks.values() if mark), 0)
    ground = {"facecolor": "white", "edgecolor": "none", "pad": 0.5, "alpha": 0.8}
    for share, mark in drawn["all"].marks.items():
        if mark:
            height = float(share.rstrip("%")) / 100
            axes.plot([mark], [height], "o", color=INK, zorder=4)
            axes.annotate(f"{share} of all: {mark} days", (mark, height), (10, -13), textcoords="offset points",
                          fontsize=9, bbox=ground, zorder=4)  # fmt: skip
    if not any(days for gaps in advice.gaps for days in gaps.marks.values()):
        reach = (advice.ends - advice.first_day).days
    axes.set(xlim=(0, 1.35 * reach), ylim=(0, 1.02), xlabel="days since a purchase", ylabel="have bought again")
    half = drawn["all"].marks["50%"]
    _title(axes, f"Half of all gaps end within {half} days" if half
           else "Fewer than half of all gaps are seen to end")  # fmt: skip
    _percent(axes.yaxis)
    axes.legend(loc="lower right", frameon=False)


def _base_rates(axes: Axes, advice: Advice) -> None:
    """The base rate of each horizon at its own window, with the range over the cutoffs, beside the range wanted."""
    axes.axhspan(*BASE_RATE, color=BAND, zorder=0, label=f"wanted: {BASE_RATE[0]:.0%} to {BASE_RATE[1]:.0%}")
    drawn = [h for h in advice.horizons if h.base_rate is not None]
    for horizon in drawn:
        axes.vlines(horizon.horizon_days, min(horizon.rates), max(horizon.rates), color=GREY, linewidth=1.2, zorder=1)
    drawings = (
        ("acceptable", "o", BLUE, [h for h in drawn if h.acceptable]),
        ("missed: too many come back", "x", BLUE, [h for h in drawn if "return" in h.misses]),
        (
            f"missed: base rate, or {EACH_CLASS} of each class",
            "o",
            "white",
            [h for h in drawn if h.misses.keys() - {"return"}],
        ),
    )
    for label, marker, face, those in reversed(drawings):
        points = [(h.horizon_days, h.base_rate) for h in those]
        if points:
            size = 4 if marker == "x" else 7
            axes.plot(*zip(*points, strict=True), marker, color=BLUE, mfc=face, markersize=size, linestyle="",
                      label=label)  # fmt: skip
    _mark(axes, advice.chosen or advice.nearest, "D", ORANGE, "chosen" if advice.chosen else "nearest")
    _mark(axes, advice.configured, "s", INK, "your config")
    longest = max([h.horizon_days for h in (*drawn, advice.configured)])
    axes.set(xlim=(0, 1.08 * longest), ylim=(0, 1), xlabel="horizon, days", ylabel="base rate: no purchase in it")
    fit = sum(h.acceptable for h in advice.horizons)
    _title(axes, f"{fit or 'None'} of {len(advice.horizons)} horizons {'is' if fit < 2 else 'are'} acceptable")
    _percent(axes.yaxis)
    axes.legend(loc="upper right", frameon=False, fontsize=9)


def _mark(axes: Axes, horizon: Horizon | None, marker: str, colour: str, label: str) -> None:
    if horizon is None or horizon.base_rate is None:
        return
    text = f"{label}: {horizon.horizon_days} d, {horizon.base_rate:.0%}"
    axes.plot([horizon.horizon_days], [horizon.base_rate], marker, color=colour, mfc="none", mew=2, markersize=12,
              linestyle="", label=text)  # fmt: skip


def _returns(axes: Axes, advice: Advice) -> None:
    """The share that comes back after each length of silence; the window ends where it falls to the limit."""
    shown = advice.shown
    window = RETURN_HORIZONS * shown.horizon_days
    points = [(n, share) for n, share in enumerate(advice.return_by_silence, start=1) if share is not None]
    axes.axhline(MOST_RETURN, color=GREY, linestyle="--", linewidth=1.2, label=f"limit: {MOST_RETURN:.0%}")
    if points:
        axes.plot(*zip(*points, strict=True), color=BLUE, linewidth=2)
    n, share = shown.active_within_days, shown.return_share
    if n is not None and share is not None:
        axes.plot([n, n], [0, share], color=ORANGE, linestyle=":", linewidth=1.5)
        name = "chosen" if advice.chosen else "nearest" if advice.nearest else "your config"
        label = f"{name}: {n} d, {share:.0%} within {window} d"
        axes.plot([n], [share], "D", color=ORANGE, mfc="none", mew=2, markersize=10, linestyle="", label=label)
        low = share <= MOST_RETURN
        _title(axes, f"After {n} days of silence {share:.0%} come back" if low
               else f"Even after {n} days of silence {share:.0%} come back")  # fmt: skip
    else:
        _title(axes, "Too few silences are followed so long")
    own = advice.configured
    if own is not shown and own.return_share is not None:
        there = f"{own.return_share:.0%} within {RETURN_HORIZONS * own.horizon_days} d"
        label = f"your config: {own.active_within_days} d, {there}"
        axes.plot([own.active_within_days or 0], [own.return_share], "s", color=INK, mfc="none", mew=2, markersize=10,
                  linestyle="", label=label)  # fmt: skip
    axes.set(xlim=(0, None), ylim=(0, 1), xlabel="days of silence", ylabel=f"buy within the next {window} days")
    _percent(axes.yaxis)
    axes.legend(loc="upper right", frameon=False)
