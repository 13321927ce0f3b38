"""Whether a log can answer churned and spend."""

from __future__ import annotations

from churn_clv import config, labels, targets
from churn_clv.errors import UserError
from churn_clv.events import Log


def answerable(log: Log, settings: config.Config) -> tuple[dict[str, config.Target], dict[str, str]]:
    """Churned and spend, as far as the log can answer them, and the refused, with why; churned must be among the first.

    Of the other targets (``targets``) only the declarations are checked.
    """
    core = {n: t for n, t in settings.targets.items() if n in targets.CORE}
    for name in core:
        _same_window(name, settings)
    if "churned" in core and core["churned"].measure != "absent":
        raise UserError("targets.churned.measure must be 'absent': churned means that no such event comes.")
    refused = labels.refused(core, tuple(log.starts), tuple(log.columns))
    if "churned" in refused or "churned" not in core:
        raise UserError(f"targets: 'churned' is needed, and {refused.get('churned', 'it is not declared')}.")
    spend = core.get("spend")
    if spend and (spend.measure != "amount" or spend.at_least is None or spend.at_least < 0):
        raise UserError("targets.spend: measure must be 'amount' and at_least 0 or more: it is served as money.")
    targets.declared(log, settings)
    return {n: t for n, t in core.items() if n not in refused}, refused


def _same_window(name: str, settings: config.Config) -> None:
    """Refuse a horizon or a population of their own: the two belong together and to ``timeline``."""
    target, horizon = settings.targets[name], settings.timeline.horizon_days
    if target.horizon_days not in (None, horizon):
        raise UserError(
            f"targets.{name}.horizon_days is {target.horizon_days}, and timeline.horizon_days {horizon}: churned and "
            f"spend look as far as that. Leave it out here; a target of another name may have its own."
        )
    if target.population != "eligible" or target.has or target.has_not:
        raise UserError(
            f"targets.{name}: churned and spend are asked of the eligible; leave population, has and has_not out. A "
            f"target of another name may have its own."
        )
