"""Rules of the user's own: the first that holds names the segment; nothing is evaluated but bounds."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import polars as pl

from churn_clv.config import Bound, Rule, SegmentRules
from churn_clv.errors import UserError, nearest
from churn_clv.segments._history import BASE, ENGAGEMENT, GROWTH
from churn_clv.segments._state import CLUSTER, GROUP, SCORES, STAGE, STAGE_PERCENTILE, TIER

RISK_ODDS, CLV, CLV_PERCENTILE = "risk_odds", "clv", "clv_percentile"
_NAME = "_name"
WORDS = ("churn_band", "reason", STAGE, GROUP, CLUSTER)
NUMBERS = ("churn_probability", "percentile_in_reference", RISK_ODDS, CLV, CLV_PERCENTILE, GROWTH, ENGAGEMENT,
           STAGE_PERCENTILE, *SCORES, *BASE, "spend")  # fmt: skip


def choose(rules: Sequence[Rule], quantities: pl.DataFrame) -> pl.Series:
    """The name that the first rule that holds gives to each row of ``quantities``; null where none does.

    A bound on a quantity that is null, or that ``quantities`` has not, does not hold.
    """
    out = pl.lit(None, dtype=pl.String)
    for rule in reversed(rules):
        out = pl.when(_holds(rule, quantities.columns)).then(pl.lit(rule.name)).otherwise(out)
    # with_columns, as rules that look at nothing that is there are literals and have no height of their own
    return quantities.with_columns(out.alias(_NAME))[_NAME]


def looked_at(rules: SegmentRules) -> set[str]:
    """The quantities that the rules of tiers and risk name."""
    every = (*rules.value_tiers, *rules.value_risk.risk)
    return {name for rule in every for line in rule.when or () for name in line}


def features_of(rules: SegmentRules) -> set[str]:
    """Those of them that are features of the log, which not every log has."""
    return looked_at(rules) - {*WORDS, *NUMBERS, TIER}


def check(rules: SegmentRules, features: Iterable[str]) -> None:
    """UserError where a rule looks at what is neither a quantity nor one of ``features``, or at words as numbers."""
    numbers = {*NUMBERS, *features}
    parts = {"value_tiers": (rules.value_tiers, {*WORDS}), "value_risk.risk": (rules.value_risk.risk, {*WORDS, TIER})}
    for part, (own, words) in parts.items():
        for rule, name, bound in ((r, n, b) for r in own for line in r.when or () for n, b in line.items()):
            where = f"segments.{part}, '{rule.name}': '{name}'"
            if name not in words | numbers:
                raise UserError(f"{where} is no quantity or feature of this log.{nearest(name, words | numbers)}")
            if (bound.is_in is not None) != (name in words):
                asked, held = ("is_in", "numbers") if bound.is_in is not None else ("at_least and below", "words")
                raise UserError(f"{where} holds {held}, and {asked} does not fit them.")


def _holds(rule: Rule, columns: Sequence[str]) -> pl.Expr:
    if rule.when is None:
        return pl.lit(True)
    lines = [[_within(name, bound) if name in columns else pl.lit(False) for name, bound in line.items()]
             for line in rule.when]  # fmt: skip
    return pl.any_horizontal(pl.all_horizontal(line) for line in lines)


def _within(name: str, bound: Bound) -> pl.Expr:
    if bound.is_in is not None:
        return pl.col(name).is_in(list(bound.is_in)).fill_null(False)
    found = pl.lit(True)
    if bound.at_least is not None:
        found = found & (pl.col(name) >= bound.at_least)
    if bound.below is not None:
        found = found & (pl.col(name) < bound.below)
    return found.fill_null(False)
