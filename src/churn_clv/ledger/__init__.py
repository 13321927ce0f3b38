"""The ledger: every scoring and promised profit against what came of it (docs/ledger.md)."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from churn_clv import actions, config, playbook, scoring, timeline
from churn_clv.events import Log
from churn_clv.ledger._alarm import Entry, follow
from churn_clv.ledger._evidence import Limits, Seen, auc_lead, bets, factors, gini_lead, shifted, wealth
from churn_clv.ledger._realised import joined, lapse_deciles, seen, share, told, total, wilson
from churn_clv.scoring import Scoring

__all__ = [
    "Entry",
    "Limits",
    "Seen",
    "auc_lead",
    "bets",
    "factors",
    "follow",
    "gini_lead",
    "joined",
    "ledger_folder",
    "run",
    "seen",
    "share",
    "shifted",
    "told",
    "total",
    "wealth",
    "wilson",
]

Say = Callable[[str], None]
NONE = (
    "no stored scoring's window has closed yet: nothing can be compared. `churn-clv score` stores one; come back when "
    "its horizon has passed."
)


def ledger_folder(settings: config.Config) -> Path:
    """Where the ledger of a data set is written: ``out``/ledger/<dataset>."""
    return Path(settings.out) / "ledger" / settings.dataset


def run(
    settings: config.Config, log: Log, plans: playbook.Actions, released: Sequence[dict[str, Any]],
    say: Say = lambda _: None,
) -> dict[str, Any]:  # fmt: skip
    """The document of ``churn-clv ledger``. ``released``: the outbox's campaigns (``actions.campaigns``).

    Every stored scoring of the config's horizon whose window has closed is joined to what came; the alarm is raised on
    those that are not in sample.
    """
    own = settings.ledger
    horizon = settings.timeline.horizon_days
    stored = scoring.scorings(scoring.scores_folder(settings))
    closed, waiting = chosen(stored, log.ends, horizon)
    rows, entries, parts = [], [], []
    definitions = timeline.define(log, settings, log.ends) if closed else None
    for one in closed:
        assert definitions is not None
        say(f"joining the scoring of {one.cutoff}")
        frame, gone = joined(one, log, definitions, settings)
        if frame.is_empty():
            continue
        sample = bool(one.manifest.get("in_sample", True))
        head = {"cutoff": one.cutoff.isoformat(), "model_version": one.version, "in_sample": sample, "gone": gone}
        rows.append(head | told(frame))
        entries.append(Entry(one.cutoff, one.version, sample, seen(frame)))
        parts += [] if sample else [frame]
    limits = Limits(own.log_odds, own.spend_share, own.lead)
    return {
        "dataset": settings.dataset,
        "log_ends": log.ends.isoformat(),
        "horizon_days": horizon,
        "currency": settings.events.currency,
        "scorings": rows,
        "open": [one.cutoff.isoformat() for one in waiting],
        "other_horizons": len(stored) - len([s for s in stored if s.manifest["horizon_days"] == horizon]),
        "why": None if rows else NONE,
        "all": _all(parts),
        "alarm": follow(entries, horizon, limits, own.false_alarms) | {"limits": vars(limits)},
        "campaigns": _campaigns(plans, released, log, settings),
    }


def chosen(stored: Sequence[Scoring], ends: dt.date, horizon_days: int) -> tuple[list[Scoring], list[Scoring]]:
    """Of each cutoff the last scoring that is not in sample (else the last): those whose window has closed by ``ends``,
    and those that wait. Scorings of another horizon answer another question."""
    best: dict[dt.date, Scoring] = {}
    for one in stored:
        if one.manifest["horizon_days"] != horizon_days:
            continue
        if one.manifest.get("in_sample", True) and one.cutoff in best:
            continue
        best[one.cutoff] = one
    found = [best[day] for day in sorted(best)]
    over = [one for one in found if one.cutoff + dt.timedelta(days=horizon_days) <= ends]
    return over, [one for one in found if one not in over]


def _all(parts: Sequence[pl.DataFrame]) -> dict[str, Any] | None:
    """Deciles over all scorings that are not in sample; their windows may overlap, so intervals would be too narrow."""
    if not parts:
        return None
    every = [seen(frame) for frame in parts]
    risk, lapsed = (np.concatenate([getattr(s, name) for s in every]) for name in ("risk", "lapsed"))
    tenths = [{k: row[k] for k in ("predicted", "realised")} for row in lapse_deciles(risk, lapsed)]
    return {
        "customers": len(risk), "lapse": float(lapsed.mean()), "predicted": float(risk.mean()), "lapse_deciles": tenths,
    }  # fmt: skip


def _campaigns(
    plans: playbook.Actions, released: Sequence[dict[str, Any]], log: Log, settings: config.Config
) -> dict[str, Any] | None:
    """Promised against realised profit of every released plan; None where none was."""
    if not released:
        return None
    found = actions.measure(plans, released, log, settings)
    return {"campaigns": found["campaigns"], "together": found["together"]}
