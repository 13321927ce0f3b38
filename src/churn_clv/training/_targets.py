"""Which targets a log can answer."""

from __future__ import annotations

from churn_clv import config, labels
from churn_clv.errors import UserError, nearest
from churn_clv.events import Log

# Targets that this version has a place for in its answers.
TARGETS = ("churned", "spend")


def answerable(log: Log, settings: config.Config) -> tuple[dict[str, config.Target], dict[str, str]]:
    """The targets to train and those the log cannot answer (with why); churned must be among the first."""
    for name in settings.targets:
        if name not in TARGETS:
            raise UserError(f"targets.{name}: this version trains churned and spend.{nearest(name, TARGETS)}")
    for name in settings.targets:
        _same_window(name, settings)
    if "churned" in settings.targets and settings.targets["churned"].measure != "absent":
        raise UserError("targets.churned.measure must be 'absent': churned means that no such event comes.")
    refused = labels.refused(settings.targets, tuple(log.starts), tuple(log.columns))
    if "churned" in refused or "churned" not in settings.targets:
        raise UserError(f"targets: 'churned' is needed, and {refused.get('churned', 'it is not declared')}.")
    spend = settings.targets.get("spend")
    if spend and (spend.measure != "amount" or spend.at_least is None or spend.at_least < 0):
        raise UserError("targets.spend: measure must be 'amount' and at_least 0 or more: it is served as money.")
    return {n: t for n, t in settings.targets.items() if n not in refused}, refused


def _same_window(name: str, settings: config.Config) -> None:
    """Refuse what this version has no plan for: a horizon or a population of a target's own."""
    target, horizon = settings.targets[name], settings.timeline.horizon_days
    if target.horizon_days not in (None, horizon):
        raise UserError(
            f"targets.{name}.horizon_days is {target.horizon_days}, and timeline.horizon_days {horizon}. This version "
            f"trains all targets on one horizon: give both the same, or leave the target's out."
        )
    if target.population != "eligible":
        raise UserError(
            f"targets.{name}.population is '{target.population}'. This version trains on the eligible: leave it out."
        )
