"""Whether a run becomes champion: its recipe against the rungs and against the incumbent's recipe.

Judged on stored out-of-time predictions of the same customers at the same cutoffs (docs/definitions.md, "Promotion"
and "Better"), never by scoring a fitted model again. "Ahead" and "behind" mean that the 95% interval of a paired
bootstrap over customers leaves out 0. It is two-sided, so that of two equal recipes one is found ahead in 2.5% of
comparisons, and simultaneous over all that one question compares (the bootstrap maximum of |lead| / error):
``comparison`` computes it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import polars as pl

from churn_clv import metrics, timeline
from churn_clv.comparison import LOSSES, SIMPLE_RUNGS, Lead, Party, Question, Rows, leads
from churn_clv.promotion._frames import RungPredictions, matched, party_of, party_of_rung, rows_of

__all__ = [
    "INCUMBENT",
    "Check",
    "Decision",
    "RungPredictions",
    "decide",
    "of_checks",
    "party_of",
    "rows_of",
    "with_checks",
]

INCUMBENT = "incumbent."  # the names of checks against the incumbent begin so; the others stand without it
MARGINS = {"churn_auroc": 0.005, "churn_average_precision": 0.01, "spend_gini": 0.01}  # how much lower still passes
SLOPE_MARGIN = 0.1
ECE_MARGIN = 0.01
INFORMING_DRAWS = 200  # for intervals that are shown but decide nothing: within 5% of their width


@dataclass(frozen=True)
class Check:
    """One condition. ``lead`` is how much better the challenger is (positive = better), with its 95% interval.

    Promotion needs every ``required`` check; the others only inform.
    """

    name: str
    passed: bool
    required: bool
    text: str
    lead: float | None = None
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Decision:
    """The verdict, why, and what it rests on.

    ``unmatched`` counts predictions of one recipe that the other did not make; ``independent_cutoffs`` those whose
    label windows do not overlap (None without ``horizon_days``).
    """

    promote: bool
    why: str
    checks: tuple[Check, ...]
    rows: int
    customers: int
    cutoffs: int
    independent_cutoffs: int | None
    unmatched: int


def decide(
    challenger: pl.DataFrame,
    incumbent: pl.DataFrame | None,
    rungs: Mapping[str, RungPredictions],
    *,
    same_recipe: bool = False,
    newer_data: bool = False,
    renewed: str = "on newer data",
    horizon_days: int | None = None,
    total_band: tuple[float, float] | None = None,
    draws: int = 2000,
    seed: int = 0,
) -> Decision:
    """Promote, or not, and why.

    ``challenger`` and ``incumbent`` have the columns customer_key, cutoff (Date), churned, churn_probability and,
    where money is predicted, spend and expected_spend; each (customer_key, cutoff) once. Labels are taken from the
    challenger. ``rungs`` hold one prediction per row of ``challenger``, in its order.

    Promote when (a) no rung is ahead, on log loss where it has a probability and Tweedie deviance where its spend
    is never 0, else on AUC and Gini, and the ``SIMPLE_RUNGS`` are behind; and (b) against the incumbent: ahead on a
    primary metric without being behind on it at any cutoff, or ``same_recipe`` on ``newer_data``; behind on no
    primary metric; AUC, average precision and Gini lower by no more than ``MARGINS`` (as observed: on a few thousand
    customers no interval is that narrow). With or without an incumbent, (c) calibration slope, calibration error
    and total are acceptable, or no further off than the incumbent's (with none, the best rung's). ``total_band``
    bounds predicted over actual money at the worst cutoff; without it totals are not judged.

    Raises UserError when no row of the incumbent matches, ValueError on malformed frames (a programming error).
    """
    mine, rows = party_of("challenger", challenger), rows_of(challenger)
    ladder = [party_of_rung(name, given, challenger.height) for name, given in rungs.items()]
    checks, reference, unmatched = _rung_checks(mine, ladder, rows, draws, seed), _best(ladder, rows), 0
    if incumbent is not None:
        both, theirs = matched(challenger, incumbent)
        unmatched = challenger.height + incumbent.height - 2 * both.height
        mine, reference, rows = party_of("challenger", both), party_of("incumbent", theirs), rows_of(both)
        checks += _incumbent_checks(mine, reference, rows, same_recipe and newer_data, draws, seed)
    checks += _level_checks(mine, reference, rows, total_band)
    promote = all(check.passed for check in checks if check.required)
    independent = None if horizon_days is None else timeline.independent(rows.cutoffs, horizon_days)
    size = (len(rows.churned), int(rows.customers.max()) + 1, len(rows.cutoffs), independent, unmatched)
    return Decision(promote, f"{_verdict(checks, renewed)} {_basis(*size)}", tuple(checks), *size)


def with_checks(decision: Decision, more: Iterable[Check], renewed: str = "on newer data") -> Decision:
    """The decision with more conditions, each as binding as its own; those that it has already are left as they are."""
    there = {check.name for check in decision.checks}
    checks = (*decision.checks, *(check for check in more if check.name not in there))
    size = (decision.rows, decision.customers, decision.cutoffs, decision.independent_cutoffs, decision.unmatched)
    return replace(
        decision,
        promote=all(check.passed for check in checks if check.required),
        why=f"{_verdict(checks, renewed)} {_basis(*size)}",
        checks=checks,
    )


def of_checks(checks: Iterable[Check], challenger: pl.DataFrame) -> Decision:
    """The verdict that stored checks give, judged on ``challenger``'s rows."""
    rows = rows_of(challenger)
    bare = Decision(False, "", (), len(rows.churned), int(rows.customers.max()) + 1, len(rows.cutoffs), None, 0)
    return with_checks(bare, checks)


# --- the rules ----------------------------------------------------------------------------------
def _rung_checks(mine: Party, ladder: Sequence[Party], rows: Rows, draws: int, seed: int) -> list[Check]:
    """Rule (a): one check per rung and kind of prediction, the intervals simultaneous over all of them."""
    questions = [Question(rung.name, metric) for rung in ladder for metric in _rung_metrics(mine, rung)]
    checks = []
    for lead in leads(mine, ladder, questions, rows, draws, seed):
        name, metric = lead.question.other, lead.question.metric
        if name in SIMPLE_RUNGS:
            passed = lead.low > 0
            verdict = f"{name} {'is' if passed else 'is not shown to be'} beaten"
        else:
            passed = not lead.high < 0
            verdict = f"{name} is {'not ' if passed else ''}ahead"
        checks.append(_check(f"{name}.{metric}", passed, verdict, lead))
    return checks


def _incumbent_checks(mine: Party, theirs: Party, rows: Rows, refresh: bool, draws: int, seed: int) -> list[Check]:
    """Rule (b). A ``refresh`` (the same recipe on newer data) need not be ahead."""
    shared = [m for m in (*LOSSES, *MARGINS) if all(_predicts(party, m) for party in (mine, theirs))]
    primary = [Question("incumbent", m) for m in shared if m in LOSSES]
    guards = [Question("incumbent", m) for m in shared if m in MARGINS]
    dated = [Question("incumbent", q.metric, cutoff) for q in primary for cutoff in rows.cutoffs]
    found = leads(mine, [theirs], primary, rows, draws, seed)
    at_cutoffs = leads(mine, [theirs], dated, rows, draws, seed, joint=False) if len(rows.cutoffs) > 1 else []
    late = {lead.question.metric: lead.question.cutoff for lead in at_cutoffs if lead.high < 0}
    ahead = [lead for lead in found if lead.low > 0 and lead.question.metric not in late]
    text = "the challenger is ahead of the incumbent's recipe: " if ahead else "not ahead of the incumbent's recipe: "
    text += "; ".join(_numbers(lead) for lead in ahead or found)
    text += "".join(f"; behind on {metric} at cutoff {cutoff}" for metric, cutoff in late.items())
    checks = [Check("incumbent.ahead", bool(ahead), not refresh, text)]
    for lead in found:
        verdict = "behind" if lead.high < 0 else "not behind"
        checks.append(_check(f"incumbent.{lead.question.metric}", verdict == "not behind", verdict, lead))
    for lead in leads(mine, [theirs], guards, rows, min(draws, INFORMING_DRAWS), seed, joint=False):
        metric = lead.question.metric
        passed = not lead.lead < -MARGINS[metric]  # undefined (one class) is no reason to refuse
        verdict = f"{'not ' if passed else ''}lower than the incumbent's by more than {MARGINS[metric]}"
        checks.append(_check(f"incumbent.{metric}", passed, verdict, lead))
    return checks


def _level_checks(mine: Party, reference: Party | None, rows: Rows, band: tuple[float, float] | None) -> list[Check]:
    """Rule (c): what is measured, how far off it may be, and whether the reference is further off."""
    checks = []
    for name, off, limit in (
        ("calibration_slope", _slope_off, SLOPE_MARGIN),
        ("churn_ece_above_floor", _ece_off, ECE_MARGIN),
        ("total_outside_band", partial(_total_off, band=band), 0.0),
    ):
        found = off(mine, rows)
        if found is None:
            continue
        other = off(reference, rows) if reference is not None else None
        text = f"{name}: off by {found:.4f}, at most {limit}"
        if other is not None and reference is not None:
            text += f" or the {other:.4f} of {reference.name}"
        passed = found <= limit or (other is not None and found <= other)
        checks.append(Check(name, passed, True, text))
    return checks


def _slope_off(party: Party, rows: Rows) -> float | None:
    if party.churn is None or not party.is_probability:
        return None
    slope = metrics.calibration_slope(rows.churned, party.churn)
    return None if slope is None else abs(slope - 1)


def _ece_off(party: Party, rows: Rows) -> float | None:
    if party.churn is None or not party.is_probability:
        return None
    error = metrics.expected_calibration_error(rows.churned, party.churn)
    return error - metrics.calibration_floor(party.churn)


def _total_off(party: Party, rows: Rows, band: tuple[float, float] | None) -> float | None:
    if band is None or party.spend is None or rows.spend is None:
        return None
    pairs = [(party.spend[i].sum(), rows.spend[i].sum()) for i in rows.cutoffs.values()]
    ratios = [float(predicted / actual) for predicted, actual in pairs if actual > 0]
    return max((max(band[0] - ratio, ratio - band[1], 0.0) for ratio in ratios), default=0.0)


def _verdict(checks: Sequence[Check], renewed: str) -> str:
    failed = [check.text for check in checks if check.required and not check.passed]
    if failed:
        return f"Not promoted: {'; '.join(failed)}."
    rungs = "; ".join(c.text for c in checks if "." in c.name and not c.name.startswith(INCUMBENT))
    ahead = next((check for check in checks if check.name == "incumbent.ahead"), None)
    if ahead is None:
        start = "Promoted: there is no incumbent."
    elif ahead.passed:
        start = f"Promoted: {ahead.text}; not worse elsewhere."
    else:
        start = f"Promoted (refreshed): the same recipe {renewed} and not worse, though {ahead.text}."
    return f"{start} Rungs: {rungs}." if rungs else f"{start} No rung was compared."


def _basis(rows: int, customers: int, cutoffs: int, independent: int | None, unmatched: int) -> str:
    dates = f"{cutoffs} cutoff{'s' * (cutoffs > 1)}"
    dates += f" ({independent} independent)" if independent is not None and cutoffs > 1 else ""
    left = f"; {unmatched:,} that only one of the two recipes made were left out" if unmatched else ""
    return f"Judged on {rows:,} predictions for {customers:,} customers at {dates}{left}."


def _check(name: str, passed: bool, verdict: str, lead: Lead) -> Check:
    low, point, high = (x if np.isfinite(x) else None for x in (lead.low, lead.lead, lead.high))
    return Check(name, passed, True, f"{verdict} on {_numbers(lead)}", point, low, high)


def _numbers(lead: Lead) -> str:
    return (
        f"{lead.question.metric} ({lead.mine:.4f} against {lead.theirs:.4f}, "
        f"lead {lead.lead:.4f}, 95% interval {lead.low:.4f} to {lead.high:.4f})"
    )


def _predicts(party: Party, metric: str) -> bool:
    return (party.spend if metric.startswith("spend") else party.churn) is not None


def _rung_metrics(mine: Party, rung: Party) -> list[str]:
    """What a rung is compared on: the loss where its prediction has one, else the ranking."""
    names = []
    if rung.churn is not None:
        names.append("churn_log_loss" if rung.is_probability else "churn_auroc")
    if rung.spend is not None and mine.spend is not None:
        names.append("spend_tweedie_deviance" if (rung.spend > 0).all() else "spend_gini")
    return names


def _best(ladder: Iterable[Party], rows: Rows) -> Party | None:
    """The rung of the lowest log loss, among those that give probabilities."""
    rated = {
        float(metrics.log_losses(rows.churned, rung.churn).mean()): rung
        for rung in ladder
        if rung.churn is not None and rung.is_probability
    }
    return rated[min(rated)] if rated else None
