"""The ledger as one picture, drawn from its document: what was predicted, what came, and whether the scores hold."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from churn_clv.figures import BLUE, GREY, INK, ORANGE, _figure, _title

Document = Mapping[str, Any]
SCORED, SAMPLE = "realised, 95% interval", "in sample: not judged"
LEADS = (
    ("ahead_of_recency", "AUC over the recency rule", "o", BLUE),
    ("ahead_of_last_horizon_spend", "Gini over the last horizon's spend", "^", ORANGE),
)


def draw(document: Document) -> Figure:
    """Lapse and spend by scoring, deciles of risk, the evidence against its limit, and campaigns' profit."""
    figure = _figure(15.0, 8.6)
    figure.suptitle(_verdict(document), x=0.01, ha="left", fontweight="bold")
    ((lapse, spend, decile), (evidence, lead, profit)) = figure.subplots(2, 3)
    rows = document["scorings"]
    if rows:
        _by_scoring(lapse, rows, "lapse", "Lapse, by scoring")
        lapse.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
        _spend(spend, rows, document["currency"])
        _deciles(decile, document)
        _evidence(evidence, document["alarm"])
        _leads(lead, rows)
    else:
        for axes in (lapse, spend, decile, evidence, lead):
            _empty(axes, "No scoring's window has closed yet")
    _campaigns(profit, document)
    return figure


def _verdict(document: Document) -> str:
    alarm = document["alarm"]
    if not alarm["counted"]:
        return f"{document['dataset']}: nothing to judge yet"
    if alarm["raised"]:
        return f"{document['dataset']}: ALARM at {alarm['raised']['cutoff']}: {alarm['raised']['why'][0]}"
    return (
        f"{document['dataset']}: the scores hold: evidence against them {alarm['evidence']:.2g} of "
        f"{alarm['limit']:.0f} after {alarm['counted']} windows"
    )


def _days(rows: Sequence[Mapping[str, Any]]) -> list[int]:
    """The cutoffs as numbers of days."""
    return [dt.date.fromisoformat(row["cutoff"]).toordinal() for row in rows]


def _dated(axes: Axes, days: Sequence[int]) -> None:
    """Dates under the axis, a week of room on either side."""
    axes.set_xlim(min(days) - 7, max(days) + 7)
    axes.xaxis.set_major_locator(MaxNLocator(4, integer=True))
    axes.xaxis.set_major_formatter(lambda day, _: dt.date.fromordinal(int(day)).isoformat())
    axes.set_xlabel("cutoff of the scoring")


def _by_scoring(axes: Axes, rows: Sequence[Mapping[str, Any]], key: str, title: str) -> None:
    """Predicted as a line, realised as points with their intervals; what is in sample is hollow."""
    there = [row for row in rows if row[key]]
    axes.plot(_days(there), [row[key]["predicted"] for row in there], "-", color=INK, linewidth=1.4, label="predicted")
    for sample, fill, label in ((False, BLUE, SCORED), (True, "white", SAMPLE)):
        own = [row for row in there if row["in_sample"] is sample]
        if own:
            value = np.array([row[key]["realised"] for row in own])
            ends = np.array([[row[key]["low"], row[key]["high"]] for row in own]).T
            axes.errorbar(_days(own), value, yerr=np.abs(ends - value), fmt="o", color=BLUE, mfc=fill, capsize=3,
                          label=label)  # fmt: skip
    axes.set_ylim(bottom=0)
    _dated(axes, _days(there))
    axes.legend(loc="lower left", frameon=False, fontsize=9)
    _title(axes, title)


def _spend(axes: Axes, rows: Sequence[Mapping[str, Any]], currency: str) -> None:
    if not any(row["spend"] for row in rows):
        _empty(axes, "The scores hold no spend")
        return
    _by_scoring(axes, rows, "spend", "Spend of the eligible, by scoring")
    axes.set_ylabel(currency)
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")


def _deciles(axes: Axes, document: Document) -> None:
    whole = document["all"]
    if whole is None:
        _empty(axes, "Every scoring is in sample")
        return
    rows = whole["lapse_deciles"]
    at = np.arange(1, len(rows) + 1)
    axes.bar(at, [row["realised"] for row in rows], color=BLUE, width=0.7, label="realised")
    axes.plot(at, [row["predicted"] for row in rows], "D-", color=ORANGE, markersize=5, label="predicted")
    axes.set(xlabel="tenth of the customers, by predicted risk", xticks=at)
    axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    axes.legend(loc="upper left", frameon=False, fontsize=9)
    _title(axes, f"Lapse by tenth of risk, {whole['customers']:,} predictions")


def _evidence(axes: Axes, alarm: Mapping[str, Any]) -> None:
    own = [row for row in alarm["history"] if row["counts"]]
    if not own:
        _empty(axes, "No scoring out of sample yet")
        return
    axes.axhline(alarm["limit"], color=ORANGE, linestyle="--", linewidth=1.6, label=f"alarm at {alarm['limit']:.0f}")
    axes.plot(_days(own), [row["evidence"] for row in own], "s-", color=BLUE, markersize=5, label="against the scores")
    axes.set_yscale("log")
    _dated(axes, _days(own))
    axes.legend(loc="best", frameon=False, fontsize=9)
    rate = alarm["false_alarms_a_year"]
    _title(axes, f"Evidence (false alarms: at most {rate:.0%} a year)")


def _leads(axes: Axes, rows: Sequence[Mapping[str, Any]]) -> None:
    if not any(row[key] and not row["in_sample"] for row in rows for key, *_ in LEADS):
        _empty(axes, "No scoring out of sample with enough of both kinds")
        return
    axes.axhline(0, color=GREY, linewidth=1)
    for key, label, mark, colour in LEADS:
        own = [row for row in rows if row[key] and not row["in_sample"]]
        if own:
            value = np.array([row[key]["points"] for row in own])
            ends = np.array([[row[key]["low"], row[key]["high"]] for row in own]).T
            axes.errorbar(_days(own), value, yerr=np.abs(ends - value), fmt=mark, color=colour, capsize=3, label=label)
    _dated(axes, _days(rows))
    axes.set_ylabel("points ahead")
    axes.set_ylim(top=1.25 * max(axes.get_ylim()[1], 0.01))
    axes.legend(loc="upper left", frameon=False, fontsize=9)
    _title(axes, "Lead over the simple rules")


def _campaigns(axes: Axes, document: Document) -> None:
    found = document["campaigns"]
    own = [one for one in found["campaigns"] if one["measurable"]] if found else []
    if not own:
        why = "No campaign was released" if not found else "No campaign can be measured yet"
        _empty(axes, why)
        return
    at = np.arange(len(own))
    promised = [one["promised_profit"] for one in own]
    value = np.array([one["realised"]["profit"] for one in own])
    ends = np.array([[one["realised"]["low"], one["realised"]["high"]] for one in own]).T
    axes.axhline(0, color=GREY, linewidth=1)
    axes.plot(at, promised, "D", color=ORANGE, markersize=7, label="promised")
    axes.errorbar(at, value, yerr=np.abs(ends - value), fmt="o", color=BLUE, capsize=4, label=SCORED)
    axes.set_xticks(at, [one["campaign"] for one in own], rotation=20, ha="right")
    axes.set_xlim(-0.6, len(own) - 0.4)
    axes.set_ylabel(f"profit ({document['currency']})")
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    axes.legend(loc="best", frameon=False, fontsize=9)
    _title(axes, "Campaigns: promised and realised profit")


def _empty(axes: Axes, sentence: str) -> None:
    axes.set_axis_off()
    axes.text(0.5, 0.5, sentence, ha="center", va="center", color=INK)
