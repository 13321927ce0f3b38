"""Whether the scores still hold: the evidence of disjoint windows, year by year, with a stated false alarm rate."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from churn_clv.ledger._evidence import WIDTH, Floats, Limits, Seen, bets, factors, wealth

YEAR_DAYS = 365
OVERLAPS, IN_SAMPLE = "overlaps", "in sample"


@dataclass(frozen=True)
class Entry:
    """One scoring whose window has closed, in the order of the cutoffs."""

    cutoff: dt.date
    version: str
    in_sample: bool
    seen: Seen


def follow(entries: Sequence[Entry], horizon_days: int, limits: Limits, false_alarm: float) -> dict[str, Any]:
    """The evidence over time and the alarm, as ``docs/ledger.md`` says.

    Only scorings at least a horizon apart count, the first one first: windows that overlap share their outcomes, and a
    bet may not be placed on what another has seen half of. A year of 365 days begins with its first such scoring and a
    wealth of 1, of which each window of the year has the same share to begin betting with: what fails in autumn is not
    outweighed by a good spring. The alarm is raised once wealth reaches 1 / ``false_alarm`` and stands until another
    model scores, with which a new year begins.
    """
    limit, history = 1 / false_alarm, []
    windows = -(-YEAR_DAYS // horizon_days)
    running: list[Floats] = []
    began, last, raised = None, None, None
    for entry in entries:
        told: dict[str, Any] = {"cutoff": entry.cutoff.isoformat(), "model_version": entry.version}
        if entry.in_sample or (last is not None and (entry.cutoff - last).days < horizon_days):
            history.append(told | {"counts": False, "why": IN_SAMPLE if entry.in_sample else OVERLAPS})
            continue
        last = entry.cutoff
        fresh = raised is not None and raised["model_version"] != entry.version
        if began is None or fresh or (raised is None and (entry.cutoff - began).days >= YEAR_DAYS):
            running, began, raised = [], entry.cutoff, None
        won = factors(entry.seen, limits)
        # an alarm may stand for longer than its year: then all shares have begun already
        begins = [np.zeros((len(bets()), WIDTH))] if len(running) < windows else []
        running = [logs + won for logs in [*running, *begins]]
        own = _together(running, windows)
        if raised is None and own.sum() >= limit:
            raised = {"cutoff": told["cutoff"], "model_version": entry.version, "why": _why(own)}
        history.append(
            told | {"counts": True, "year": began.isoformat(), "evidence": float(own.sum()), "parts": _parts(own),
                    "alarm": raised is not None}
        )  # fmt: skip
    return {
        "alarm": raised is not None,
        "raised": raised,
        "evidence": next((h["evidence"] for h in reversed(history) if h["counts"]), None),
        "limit": limit,
        "false_alarms_a_year": false_alarm,
        "counted": sum(h["counts"] for h in history),
        "history": history,
    }


def _together(running: Sequence[Floats], windows: int) -> Floats:
    """Wealth by bet: of each window's share what it has become, and what waits for the windows to come."""
    waiting = np.array([b.stake for b in bets()]) * (windows - len(running)) / windows
    return np.asarray(waiting + sum(wealth(logs) for logs in running) / windows)


def _why(own: Floats) -> list[str]:
    """What the winning bets say: those that hold at least a tenth of the wealth, the richest first."""
    order = np.argsort(-own, kind="stable")
    return [bets()[i].says for i in order if own[i] >= own.sum() / 10][:3]


def _parts(own: Floats) -> dict[str, float]:
    out: dict[str, float] = {}
    for bet, value in zip(bets(), own, strict=True):
        out[bet.family] = out.get(bet.family, 0.0) + float(value)
    return out
