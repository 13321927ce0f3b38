"""What a log is good for, before any training: the temporal plan, readiness by target, and what to mend.

``check`` is cheap: population and labels come from customer-days, and no feature matrix is built.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
from collections.abc import Iterator

import polars as pl

from churn_clv import advice, config, features, labels, targets, timeline, training
from churn_clv.errors import UserError
from churn_clv.events import Log
from churn_clv.readiness import _log
from churn_clv.readiness._outcome import Outcome, other_horizons, outcome
from churn_clv.readiness._own import own_targets
from churn_clv.readiness._records import (
    EACH_CLASS,
    ELIGIBLE,
    HISTORY_IN_HORIZONS,
    SEVERITIES,
    Data,
    Finding,
    Minimum,
    Readiness,
    Severity,
    Target,
    as_document,
    share,
)
from churn_clv.timeline import Definitions, Plan

__all__ = ["Data", "Finding", "Minimum", "Readiness", "Target", "as_document", "check"]

# Above this share of returning "churned" customers the word is lapse (definition D6).
LAPSE_ABOVE = 0.2


def check(log: Log, settings: config.Config) -> Readiness:
    """The readiness report of a log under a config: what can be trained, on which cutoffs, and what to mend.

    Raises nothing for a log that is not ready: whatever training would refuse is a finding of severity error.
    """
    findings: list[Finding] = []
    refused = _refused(log, settings, findings)
    core = {n: t for n, t in settings.targets.items() if n not in refused and n in targets.CORE}
    small = dataclasses.replace(log, frame=advice.thin(log.frame, [t.events.column for t in core.values()]))
    plan = _plan(log, settings, findings)
    definitions = _definitions(log, settings, plan, findings)
    found = outcome(small, core, plan, definitions) if plan and definitions and "churned" in core else None
    days = _log.customer_days(log.frame)
    data = _data(log, settings, days, found, definitions, refused)
    judged = (*_targets(log, settings, refused, found), *own_targets(log, settings, definitions, refused))
    core_judged = [t for t in judged if t.target in targets.CORE]
    missed = dict.fromkeys(m for t in core_judged for m in t.minimums if m.found is not None and not m.comfortable)
    findings += [_missed(m, data.test_cutoff) for m in missed]
    findings += [_weak(t) for t in judged if t not in core_judged and t.minimums and not t.ready]
    held = targets.unknown(log, settings)
    findings += [_slip(name, values) for name, values in held.items() if name not in refused]
    if found and definitions:
        findings += _label_findings(small, settings, data, definitions)
    findings += _log.findings(log, data, days)
    findings.sort(key=lambda f: SEVERITIES.index(f.severity))
    policies = tuple(c for c in log.counts if c.rows > 0)
    notices = tuple(n for n in log.notes if not n.startswith("attributes '"))  # those are findings here
    return Readiness(data, tuple(findings), policies, plan, judged, notices)


# --- what can be asked --------------------------------------------------------------------------
def _refused(log: Log, settings: config.Config, findings: list[Finding]) -> dict[str, str]:
    """The targets that the log cannot answer, with why."""
    core = {n: t for n, t in settings.targets.items() if n in targets.CORE}
    refused = labels.refused(core, tuple(log.starts), tuple(sorted(log.columns)))
    refused |= {name: "it is not declared under targets" for name in targets.CORE if name not in settings.targets}
    for name, target in core.items():
        if target.horizon_days not in (None, settings.timeline.horizon_days):
            refused[name] = "its horizon_days is not timeline.horizon_days"
    try:
        training.answerable(log, settings)
        refused |= targets.declared(log, settings)[1]
    except UserError as error:
        findings.append(Finding("error", "targets", str(error), "Correct targets, or the mapping of what they count."))
    for name, why in refused.items():
        if name != "churned":  # the error above is about that one
            text = f"{name} cannot be trained: {why}."
            findings.append(Finding("warning", "target_refused", text, "Map what is missing, or go on without it."))
    return refused


def _plan(log: Log, settings: config.Config, findings: list[Finding]) -> Plan | None:
    if "purchase" not in log.starts:
        return None  # _definitions says so
    try:
        plan = timeline.make_plan(log.starts["purchase"], log.ends, settings.timeline)
    except UserError as error:
        findings.append(Finding("error", "plan", str(error), "Change timeline.horizon_days, or add older events."))
        return None
    if plan.note:
        findings.append(Finding("note", "plan", f"{plan.note}.", "Nothing; more history would separate them."))
    return plan


def _definitions(log: Log, settings: config.Config, plan: Plan | None, findings: list[Finding]) -> Definitions | None:
    try:
        definitions = timeline.define(
            log, settings, as_of=plan.all_cutoffs[0] if plan else log.ends, known_by=plan.test if plan else log.ends
        )
        features.catalogue(definitions)
    except UserError as error:
        findings.append(Finding("error", "definitions", str(error), "Correct the mapping, or the features section."))
        return None
    for family, why in features.left_out(definitions).items():
        text = f"The feature family {family} is left out: {why}."
        findings.append(Finding("note", "family_left_out", text, "Map the column if the source has it."))
    return definitions


# --- targets against the minimums ---------------------------------------------------------------
def _targets(
    log: Log, settings: config.Config, refused: dict[str, str], found: Outcome | None
) -> tuple[Target, Target]:
    """Churn and spend, each against its minimums."""
    horizon = settings.timeline.horizon_days
    history = (log.ends - log.starts.get("purchase", log.ends)).days - horizon
    eligible = found.test.height if found else None
    shared = [
        Minimum("of history before the test cutoff", "horizons", history / horizon, *HISTORY_IN_HORIZONS),
        Minimum("eligible at the test cutoff", "customers", eligible, *ELIGIBLE),
    ]
    churned = _target("churned", [*shared, *(_classes(found) if found else ())], refused, found)
    money = [Minimum("with spend after the test cutoff", "customers", found.count(found.test, "spend"), *EACH_CLASS)
             if found and "spend" not in refused else None]  # fmt: skip
    spend = _target("spend", [*shared, *(m for m in money if m)], refused, found)
    if not churned.ready:
        why = (*spend.why_not, "churned is not ready, and training starts with it")
        spend = Target("spend", False, why, spend.minimums)
    return churned, spend


def _classes(found: Outcome) -> Iterator[Minimum]:
    """Enough of those who churned and of those who stayed, at the test cutoff and in every slice."""
    for what, label in (("churned", 1.0), ("stayed", 0.0)):
        at_test = found.count(found.test, "churned", label)
        yield Minimum(f"that {what} after the test cutoff", "customers", at_test, *EACH_CLASS)
        for role, rows in found.slices.items():
            least = training.MIN_CLASS
            yield Minimum(f"that {what} in the {role} slice", "rows", found.count(rows, "churned", label), least, least)


def _target(name: str, minimums: list[Minimum], refused: dict[str, str], found: Outcome | None) -> Target:
    why = [refused[name]] if name in refused else []
    if found is None and not why:
        why.append("there is no plan or no population to train on")
    why += [f"{_number(m)}, at least {m.required:,} needed" for m in minimums if m.found is not None and not m.met]
    return Target(name, not why, tuple(why), tuple(minimums))


def _missed(m: Minimum, cutoff: str | None) -> Finding:
    """The finding for a minimum that is not met, or not comfortably."""
    severity: Severity = "warning" if m.met else "error"
    better = f", better {m.better:,}" if m.better > m.required else ""
    if m.unit == "horizons":
        do, rows = "Add older events, or shorten timeline.horizon_days.", None
    else:
        do = "Add customers or history, widen population.active_within_days, or change timeline.horizon_days."
        rows = int(m.found or 0)
    text = f"{_number(m)}; at least {m.required:,} are needed{better}."
    where = f"test cutoff {cutoff}" if cutoff and "test" in m.name else None
    return Finding(severity, "minimum", text, do, rows=rows, where=where)


def _weak(target: Target) -> Finding:
    """The finding for a target of the user's own that cannot be trained for want of events."""
    do = "Nothing else hangs on it; a longer horizon_days, a wider population or a longer log would give it more."
    return Finding("warning", "target_minimum", f"{target.target}: {target.why_not[0]}.", do)


def _slip(name: str, values: list[str]) -> Finding:
    text = f"{name} asks for {', '.join(values)} too, and the log holds no such value."
    return Finding("warning", "target_value", text, "Mend the spelling in targets, or leave it if it is still to come.")


def _number(m: Minimum) -> str:
    value = m.found or 0
    return f"{value:,.1f} {m.unit} {m.name}" if m.unit == "horizons" else f"{value:,.0f} {m.unit} {m.name}"


# --- the labels ---------------------------------------------------------------------------------
def _label_findings(log: Log, settings: config.Config, data: Data, definitions: Definitions) -> Iterator[Finding]:
    """The base rate and how many come back; ``log`` is the thin one."""
    rate, back, where = data.base_rate_at_test, data.label_return_rate, f"test cutoff {data.test_cutoff}"
    if rate is not None and not advice.in_range(rate):
        text = f"{rate:.1%} of the eligible churn within {data.horizon_days} days; between 10 and 60% is learnt best."
        others = list(other_horizons(log, settings, definitions).items())[:3]
        do = "Try timeline.horizon_days " + " or ".join(f"{h} ({r:.0%})" for h, r in others) + "."
        none = f"No horizon in whole weeks that fits this log gives that with {advice.EACH_CLASS} of each kind."
        yield Finding("warning", "base_rate", text, do if others else none, share=rate, where=where)
    if back is None:
        text = "How many of the churned come back is not known: nobody churned, or no cutoff has matured."
        yield Finding("note", "label_return_rate", text, "Add history or shorten the horizon to measure it.")
    elif back > LAPSE_ABOVE:
        text = f"{back:.0%} of those labelled churned bought again within {data.label_return_within_days} more days."
        do = "Read churned as lapsed: many only pause, so never price it as a lost customer."
        yield Finding("warning", "label_return_rate", text, do, share=back)


# --- the numbers --------------------------------------------------------------------------------
def _data(
    log: Log, settings: config.Config, days: pl.DataFrame, found: Outcome | None, definitions: Definitions | None,
    refused: dict[str, str],
) -> Data:  # fmt: skip
    horizon = settings.timeline.horizon_days
    bought, returned = int(days["purchases"].sum()), int(days["returns"].sum())
    gross, back = int(days["gross"].sum()), -int(days["given_back"].sum())
    giant = days["gross"].max()
    per_customer = days.filter("occasion").group_by("customer_id").len()
    test = found.test if found else None
    first = log.starts.get("purchase") or min(log.starts.values())
    return Data(
        dataset=settings.dataset,
        rows=log.frame.height,
        customers=log.frame["customer_id"].n_unique(),
        first_day=first.isoformat(),
        last_day=(log.ends - dt.timedelta(days=1)).isoformat(),
        ends=log.ends.isoformat(),
        timezone=log.rules.timezone,
        currency=log.rules.currency,
        horizon_days=horizon,
        active_within_days=settings.population.active_within_days,
        purchase_lines=bought,
        purchase_days=int(days["occasion"].sum()),
        one_purchase_customer_share=share(per_customer.filter(pl.col("len") == 1).height, per_customer.height),
        return_line_share=share(returned, bought + returned),
        return_money_share=share(back, gross),
        zero_amount_lines=int(days["zeros"].sum()),
        largest_customer_day_share=share(giant, gross) if isinstance(giant, int) else None,
        test_cutoff=found.plan.test.isoformat() if found else None,
        eligible_at_test=None if test is None else test.height,
        base_rate_at_test=share(found.count(test, "churned", 1.0), test.height) if found and test is not None else None,
        label_return_rate=found.label_return_rate if found else None,
        label_return_within_days=training.CONFIRM_HORIZONS * horizon,
        families_left_out=features.left_out(definitions) if definitions else {},
        targets_refused=refused,
    )
