"""Which horizon and which activity window fit a log, measured on it, or why none does (definition D27)."""

from __future__ import annotations

from collections import Counter

import polars as pl

from churn_clv import config
from churn_clv.advice._population import Measure, thin
from churn_clv.advice._records import (
    BASE_RATE,
    EACH_CLASS,
    MOST_RETURN,
    RETURN_HORIZONS,
    RULE,
    WEEKS,
    Advice,
    Gaps,
    Horizon,
    Judged,
    as_document,
    in_range,
)
from churn_clv.advice._silence import Silences, gaps
from churn_clv.errors import UserError
from churn_clv.events import Log

__all__ = [
    "BASE_RATE",
    "EACH_CLASS",
    "MOST_RETURN",
    "RETURN_HORIZONS",
    "RULE",
    "WEEKS",
    "Advice",
    "Gaps",
    "Horizon",
    "Judged",
    "Silences",
    "advise",
    "as_document",
    "in_range",
    "thin",
]


def advise(log: Log, settings: config.Config) -> Advice:
    """Measure every horizon in whole weeks that fits the log, and choose one by RULE.

    Raises UserError where the log has no purchases or the config does not say what churned means.
    """
    if "churned" not in settings.targets:
        raise UserError("targets.churned is not set, and the advice is about it. Take it from the defaults.")
    measure = Measure(log, settings)
    horizons = tuple(measure.horizons())
    configured = measure.horizon(settings.timeline.horizon_days, settings.population.active_within_days)
    chosen = min((h for h in horizons if h.acceptable), key=lambda h: (not h.firm, h.horizon_days), default=None)
    nearest = None if chosen else min(horizons, key=lambda h: (len(h.misses), h.shortfall), default=None)
    spells = measure.spells
    kinds = {"first": spells.filter(pl.col("nth") == 0), "later": spells.filter(pl.col("nth") > 0), "all": spells}
    return Advice(
        dataset=settings.dataset,
        first_day=measure.definitions.purchases_start,
        ends=log.ends,
        customers=spells["customer_id"].n_unique(),
        gaps=tuple(gaps(name, part) for name, part in kinds.items() if part.height),
        horizons=horizons,
        chosen=chosen,
        nearest=nearest,
        configured=configured,
        reason=_reason(horizons, chosen, nearest, log),
        return_by_silence=measure.silences.by_day(
            RETURN_HORIZONS * (chosen or nearest or configured).horizon_days,
        ),
    )


def _reason(horizons: tuple[Horizon, ...], chosen: Horizon | None, nearest: Horizon | None, log: Log) -> str:
    """Why this horizon, or why none."""
    if chosen:
        good = sum(h.acceptable for h in horizons)
        rule = RULE if chosen.firm else "the shortest acceptable horizon; none holds at each of a backtest's cutoffs"
        return f"{rule[0].upper()}{rule[1:]} ({good} of {len(horizons)} are acceptable)."
    if nearest is None:
        days = (log.ends - log.starts["purchase"]).days
        return f"The log covers {days} days, and not even a horizon of one week fits its temporal plan."
    topics = Counter(topic for h in horizons for topic in h.misses)
    said = {
        "return": f"more than {MOST_RETURN:.0%} come back after every silence that the log is long enough to follow",
        "base_rate": f"the base rate is outside {BASE_RATE[0]:.0%} to {BASE_RATE[1]:.0%}",
        "classes": f"fewer than {EACH_CLASS} churned or stayed after a cutoff",
    }
    parts = "; ".join(f"at {n} of {len(horizons)} horizons {said[topic]}" for topic, n in topics.most_common())
    return f"No horizon meets everything: {parts}."
