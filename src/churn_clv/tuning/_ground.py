"""Where tuning searches, and the later cutoffs that judge it (definition D14)."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass, replace

from churn_clv import backtest, config, timeline
from churn_clv.errors import UserError
from churn_clv.events import Log
from churn_clv.recipe import Say
from churn_clv.timeline import Plan

FEWEST_ORIGINS = 2


@dataclass(frozen=True)
class Ground:
    """``search`` is the plan whose validation origins are searched on; ``judged`` are the plans judged afterwards.

    ``log`` ends where development ends. ``notes`` say what a short history took away.
    """

    log: Log
    search: Plan
    judged: tuple[Plan, ...]
    notes: tuple[str, ...]


def ground(log: Log, settings: config.Config, say: Say = lambda _: None) -> Ground:
    """The cutoffs of a log that ends before the development line.

    Searched on: the origins of the earliest development plan of the backtest that has two of them; judged on: its test
    cutoff and the later ones. Where the development log is too short for any plan, the origins of the earliest final
    plan are searched (their labels end where development does) and nothing is judged. UserError where that fails too.
    """
    newest = backtest.plans(log, settings)
    line = settings.backtest.development_until or newest[0].test
    before = timeline.until(log, line)
    try:
        plans = backtest.plans(before, settings, say)
    except UserError:
        return _unjudged(before, newest, line)
    wanted = [n for n, p in enumerate(plans) if len(p.origins) >= FEWEST_ORIGINS]
    first, notes = (wanted or [0])[0], []
    if not wanted:
        notes.append(
            f"history is short: one validation cutoff ({plans[0].origins[0]}) fits before {line}, so the search may "
            f"follow that one cutoff's luck"
        )
    if len(plans) - first < settings.backtest.cutoffs:
        notes.append(f"history is short: {len(plans) - first} of {settings.backtest.cutoffs} cutoffs are left to judge")
    return Ground(before, plans[first], tuple(plans[first:]), tuple(notes))


def _unjudged(before: Log, newest: Sequence[Plan], line: dt.date) -> Ground:
    plan = newest[0]
    origins = tuple(o for o in plan.origins if plan.label_ends(o) <= line)
    if not origins:
        raise UserError(
            f"tune: no validation cutoff has labels that end by {line}, where development ends. Give a later "
            f"backtest.development_until, fewer backtest.cutoffs, or more history."
        )
    note = (
        f"history is short: no test cutoff fits before {line}, so nobody can say whether tuning paid; a later "
        f"backtest.development_until, fewer backtest.cutoffs or more history would allow it"
    )
    return Ground(before, replace(plan, origins=origins), (), (note,))


def coarser(plan: Plan, multiple: int) -> Plan:
    """The plan with every ``multiple``-th training cutoff over the same reach: rows that the plan itself has."""
    return replace(plan, step_days=plan.step_days * multiple, most=max(1, plan.most // multiple))


def steps_that_fit(plan: Plan, multiples: Sequence[int]) -> tuple[int, ...]:
    """The multiples of the step that leave every origin enough training cutoffs; always 1."""
    few = min(timeline.FEW_TRAIN_CUTOFFS, min(len(plan.learnt_by(o)) for o in plan.origins))
    kept = {m for m in multiples if all(len(coarser(plan, m).learnt_by(o)) >= few for o in plan.origins)}
    return tuple(sorted(kept | {1}))
