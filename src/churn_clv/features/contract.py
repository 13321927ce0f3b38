"""Contract: the openings and renewals of the contract that a target asks about."""

from __future__ import annotations

import re

import polars as pl

from churn_clv import config, timeline
from churn_clv.features._feature import Feature, Grain, count, derived, statistic
from churn_clv.features.watched import GRAINS
from churn_clv.timeline import Definitions


def needs(definitions: Definitions) -> str | None:
    """A target that asks about a contract, and openings in the log."""
    return None if _held(definitions) else "no target asks about a contract that the log opens"


def features(definitions: Definitions) -> list[Feature]:
    """When the contract was first and last opened, on how many days, how long its term still runs, of which plan."""
    out = [f for name, contract in _held(definitions).items() for f in _of_target(name, contract)]
    return out + [f for name in _held(definitions) if name in definitions.plans
                  for f in _of_plans(name, definitions.plans[name])]  # fmt: skip


def _held(definitions: Definitions) -> dict[str, config.Contract]:
    """Those of whose openings' event types the log has any."""
    types = set(definitions.event_types)
    return {n: contract for n, contract in definitions.contracts.items() if set(contract.opens.kinds) & types}


def _of_target(name: str, contract: config.Contract) -> list[Feature]:
    asked = contract.opens
    grain: Grain = GRAINS.get(asked.column, "event_type_days")
    meant, of = timeline.matching(asked), asked.kinds
    said = f"opened or renewed the contract of the target {name}"
    days, last = pl.col("age_days").filter(meant), f"days_since_last_{name}_opening"
    out = [
        statistic(last, days.min(), grain, f"Days from the last day that {said} to the cutoff.", of=of, where=meant),
        count(f"{name}_openings", days.n_unique().cast(pl.Int64), grain, f"Days that {said}.", of=of, where=meant),
        statistic(f"days_since_first_{name}_opening", days.max(), grain,
                  f"Days from the first day that {said} to the cutoff.", of=of, where=meant),
    ]  # fmt: skip
    if contract.term_days is not None:
        left = pl.lit(contract.term_days, pl.Int64) - pl.col(last)
        meaning = "Days from the cutoff to the end of the term last opened; below 0 where it is over."
        out.append(derived(f"{name}_days_to_end", left, meaning, "null without an opening"))
    return out


def _of_plans(name: str, plans: config.Predicate) -> list[Feature]:
    """For each plan whether the last opening was of it; of plans written alike only the first."""
    written = {re.sub(r"\W+", "_", plan.lower()).strip("_"): plan for plan in reversed(plans.is_in)}
    last, out = pl.col(f"days_since_last_{name}_opening"), []
    for word, plan in sorted(written.items()):
        meant = timeline.matching(plans) & (pl.col(plans.column) == plan)
        part = f"_days_since_last_{name}_{word}"
        days = pl.col("age_days").filter(meant).min()
        is_last = pl.when(last.is_not_null()).then((pl.col(part) == last).fill_null(False))
        meaning = f"Whether the last day that opened the contract of the target {name} was of the plan {plan}."
        out += [
            statistic(part, days, GRAINS[plans.column], of=plans.kinds, where=meant),
            derived(f"{name}_plan_{word}", is_last, meaning, "null without an opening"),
        ]
    return out
