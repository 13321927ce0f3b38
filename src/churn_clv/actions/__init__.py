"""Actions that pay: what may be done to whom at what profit, the plan, its release, what it did (docs/actions.md)."""

from __future__ import annotations

from churn_clv.actions._contact import CONTACTS
from churn_clv.actions._draw import UNIVERSAL, held_out
from churn_clv.actions._effect import Effect, effect, response, sample_ratio, takers
from churn_clv.actions._measure import measure, measured_rates, outcomes, overlay, unusable
from churn_clv.actions._outbox import campaigns, check, contacts, forget, release, write_audiences
from churn_clv.actions._places import (
    folder,
    outbox_file,
    overlay_file,
    write_json,
    write_plan,
    write_text,
)
from churn_clv.actions._plan import Plan, Situation, make
from churn_clv.actions._power import detectable, needed
from churn_clv.actions._solve import NOBODY, Solution, solve
from churn_clv.actions._telling import HOLDOUT, TREATED
from churn_clv.actions._treated import events_of, write_events
from churn_clv.actions._uplift import auuc, curves, qini
from churn_clv.actions._webhook import deliver

__all__ = [
    "CONTACTS",
    "HOLDOUT",
    "NOBODY",
    "TREATED",
    "UNIVERSAL",
    "Effect",
    "Plan",
    "Situation",
    "Solution",
    "auuc",
    "campaigns",
    "check",
    "contacts",
    "curves",
    "deliver",
    "detectable",
    "effect",
    "events_of",
    "folder",
    "forget",
    "held_out",
    "make",
    "measure",
    "measured_rates",
    "needed",
    "outbox_file",
    "outcomes",
    "overlay",
    "overlay_file",
    "qini",
    "release",
    "response",
    "sample_ratio",
    "solve",
    "takers",
    "unusable",
    "write_audiences",
    "write_events",
    "write_json",
    "write_plan",
    "write_text",
]
