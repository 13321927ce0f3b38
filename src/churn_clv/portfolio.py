"""The customers of a scoring as a portfolio: sizes and money of each segment, and who moved since an earlier cutoff."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from typing import Any

import polars as pl

from churn_clv import scoring, segments
from churn_clv.bundle import Bundle
from churn_clv.errors import UserError
from churn_clv.events import Log
from churn_clv.segments import CELL, SEGMENTATIONS, TIER, Segments

# Money of a segment: CLV of the longest months, spend expected in the horizon, net margin so far.
CLV, SPEND, PAST = "clv", "expected_spend", "historic_value"
MONEY = (CLV, SPEND, PAST)
Say = Callable[[str], None]


def run(
    bundle: Bundle, log: Log, cutoff: dt.date | None = None, against: dt.date | None = None,
    say: Say = lambda _: None,
) -> dict[str, Any]:  # fmt: skip
    """The document of ``churn-clv segments``; docs/segments.md says what each key means.

    Scores the log at ``cutoff`` (default: its end) and, to compare, at ``against``, which must lie before it, both by
    the same frozen bundle. Raises UserError where the bundle has no segments.
    """
    own = bundle.segments
    if own is None:
        raise UserError("this bundle was trained before there were segments. Train again (`churn-clv train`).")
    cutoff = cutoff or log.ends
    if against is not None and against >= cutoff:
        raise UserError(f"--against {against} does not lie before the cutoff {cutoff}. Give an earlier date.")
    say("scoring")
    after = people(bundle, log, cutoff)
    before = None
    if against is not None:
        say(f"scoring {against}")
        before = people(bundle, log, against)
    return document(own, after, before) | head(bundle, cutoff, against) | {
        "log_days": (cutoff - bundle.definitions.purchases_start).days,
    }  # fmt: skip


def head(bundle: Bundle, cutoff: dt.date, against: dt.date | None) -> dict[str, Any]:
    """What of a portfolio's document says of when, by what and in which money it is."""
    return {
        "dataset": bundle.config.dataset,
        "cutoff": cutoff.isoformat(),
        "against": against.isoformat() if against else None,
        "horizon_days": bundle.horizon_days,
        "months": bundle.config.clv.months[-1],
        "currency": bundle.currency,
        "model_version": bundle.version,
        "trained_through": bundle.trained_through.isoformat(),
        "in_sample": bool((cutoff if against is None else against) < bundle.trained_through),
    }


def people(bundle: Bundle, log: Log, cutoff: dt.date) -> pl.DataFrame:
    """Everyone known at the cutoff: ``customer_id``, the columns of segments, MONEY."""
    return of_scores(bundle, scoring.score(bundle, log, cutoff))


def of_scores(bundle: Bundle, scores: pl.DataFrame) -> pl.DataFrame:
    """The same of a scoring's columns; segments are null where the bundle has none."""
    own = [name if name in scores.columns else pl.lit(None, pl.String).alias(name) for name in segments.COLUMNS]
    return scores.with_columns(pl.col(f"clv_{bundle.config.clv.months[-1]}m").alias(CLV)).select(
        "customer_id", *own, *MONEY
    )


def document(own: Segments, after: pl.DataFrame, before: pl.DataFrame | None = None) -> dict[str, Any]:
    """Sizes, the matrix and the migration, from ``people`` at one or two cutoffs."""
    sizes = {column: segments.sizes(after, column, own.names(column), MONEY) for column in SEGMENTATIONS}
    empty = [f"{column} '{row['segment']}': nobody" for column, rows in sizes.items() for row in rows
             if not row["customers"]]  # fmt: skip
    rhythm = {name: getattr(own.rhythm, name) for name in ("new_days", "first_days", "later_days")}
    return {
        "customers": after.height,
        "segments": sizes,
        "empty": empty,
        "matrix": matrix(own, after),
        "migration": None if before is None else {c: _moves(own, before, after, c) for c in SEGMENTATIONS},
        "rhythm": rhythm,
        "notes": list(own.notes),
    }


def matrix(own: Segments, scores: pl.DataFrame) -> list[dict[str, Any]]:
    """Value tier x risk: one row for each meeting, named as the rules do; risks of one name in a tier stand together.

    ``tier``, ``risk`` (a list), ``cell``, ``customers``, ``clv``. Who has no tier or no risk is not in it.
    """
    out, risks = [], [rule.name for rule in reversed(own.rules.value_risk.risk)]
    for tier in own.names(TIER):
        named = own.rules.value_risk.cells[tier]
        for cell in dict.fromkeys(named[risk] for risk in risks):
            found = scores.filter(pl.col(TIER) == tier, pl.col(CELL) == cell)
            money = segments.sizes(found, CELL, [cell], [CLV])[0][CLV]
            of = [risk for risk in risks if named[risk] == cell]
            out.append({"tier": tier, "risk": of, "cell": cell, "customers": found.height, CLV: money})
    return out


def _moves(own: Segments, before: pl.DataFrame, after: pl.DataFrame, column: str) -> dict[str, Any]:
    """Flows of a segmentation; the change in its money by those who stayed, moved, came and went."""
    flows = segments.migration(before, after, column, CLV, own.names(column))
    return {"flows": flows} | segments.moved(flows)
