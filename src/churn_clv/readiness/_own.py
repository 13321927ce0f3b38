"""The user's own targets against their minimums: the population and its labels at one cutoff each."""

from __future__ import annotations

import datetime as dt

from churn_clv import config, labels, matrix, targets, timeline
from churn_clv.errors import UserError
from churn_clv.events import Log
from churn_clv.metrics import Array
from churn_clv.readiness._records import EACH_CLASS, Minimum, Target
from churn_clv.timeline import Definitions


def own_targets(
    log: Log, settings: config.Config, definitions: Definitions | None, refused: dict[str, str]
) -> list[Target]:
    """One row for each target beside churned and spend, in the config's order."""
    own = {n: t for n, t in settings.targets.items() if n not in targets.CORE}
    return [_one(log, settings, definitions, name, target, refused.get(name)) for name, target in own.items()]


def _one(
    log: Log, settings: config.Config, definitions: Definitions | None, name: str, target: config.Target,
    refused: str | None,
) -> Target:  # fmt: skip
    if refused or definitions is None:
        return Target(name, False, (refused or "there is no plan or no population to train on",), ())
    try:
        plan = targets.plan_of(target, log, settings, log.ends)
    except UserError as error:
        return Target(name, False, (str(error),), ())
    found = _label(log, definitions, name, target, target.looks_days(settings.timeline.horizon_days), plan.test)
    some = int((found > 0).sum())
    asked = [("with any", some)] if target.measure in ("count", "amount") else []
    asked = asked or [("with the event", some), ("without it", len(found) - some)]
    minimums = tuple(Minimum(f"{what} after the test cutoff", "customers", n, *EACH_CLASS) for what, n in asked)
    why = tuple(f"{m.found:,.0f} {m.unit} {m.name}, at least {m.required:,} needed" for m in minimums if not m.met)
    return Target(name, not why, why, minimums)


def _label(log: Log, definitions: Definitions, name: str, target: config.Target, days: int, test: dt.date) -> Array:
    """The labels of the target's population at its test cutoff."""
    known = timeline.known_among(log.frame, timeline.pairs_of(log.frame["customer_id"].unique(), [test]))
    pairs = known.filter(matrix.members(log.frame, known, {name: target}, definitions)[name])
    found = labels.build(log.frame, pairs, {name: target}, days, minor_units=log.rules.minor_units, ends=log.ends)
    return found[labels.column(name, days)].to_numpy()
