"""What segments learn once, at training: RFM edges, the population's rhythm, value quantiles, clusters (D25-D27, D34).

The lab's: what it finds is a ``segments.Segments``, frozen in the bundle; assigning needs nothing of this package.
"""

from __future__ import annotations

import datetime as dt

import polars as pl

from churn_clv import config, segments, timeline
from churn_clv.bundle import Bundle
from churn_clv.events import Log
from churn_clv.quantiles import QUANTILES, quantiles_of
from churn_clv.segmentation import _clusters
from churn_clv.segments import Edges, Rhythm, Segments
from churn_clv.timeline import Definitions

__all__ = ["check", "learn", "rfm_edges", "rhythm", "without_clusters"]

FALLING = segments.RECENCY
# Of fewer a place among them says nothing, and the frozen values would be theirs.
FEWEST = 10


def check(log: Log, settings: config.Config) -> None:
    """UserError, before hours of training, where the rules do not fit together or look at what the log has not."""
    rules = config.segment_rules(settings)
    features = segments.features_of(rules)
    segments.check(rules, segments.offered(timeline.define(log, settings, log.ends)) if features else ())


def learn(bundle: Bundle, log: Log, previous: Segments | None = None) -> Segments:
    """The segments that ship with ``bundle``, learnt from everyone known at the log's end and the bundle's own scores.

    ``previous``: those of the last model, whose clusters' names are kept where the customers are mostly the same.
    """
    definitions, settings = bundle.definitions, bundle.config
    rules = config.segment_rules(settings)
    frame = log.frame.filter(pl.col("event_type").is_in(bundle.event_types))
    scores = bundle.score_log(frame, log.ends)
    past = timeline.Past(frame, scores.select("customer_id", "cutoff"))
    old = None if previous is None else previous.clusters
    features = tuple(f.name for f in rules.clusters.features) + (() if old is None else old.features)
    history = segments.read(past, definitions, rules, features)
    found = without_clusters(rules, history, scores, rhythm(frame, log.ends, definitions, rules.lifecycle),
                             definitions, settings)  # fmt: skip
    clusters, notes = _clusters.learn(rules.clusters, history, settings.seed, old)
    return Segments(found.rules, found.customers, found.rfm, found.rhythm, found.clv, found.stage_clv, clusters,
                    (*found.notes, *notes))  # fmt: skip


def without_clusters(
    rules: config.SegmentRules, history: pl.DataFrame, scores: pl.DataFrame, own: Rhythm, definitions: Definitions,
    settings: config.Config,
) -> Segments:  # fmt: skip
    """Everything but the clusters, from ``segments.read`` and scores of the same rows."""
    edges, notes = rfm_edges(history)
    clv = scores[f"clv_{settings.clv.months[-1]}m"]
    stage = segments.staged(history, own, rules.lifecycle, definitions)
    by_stage = {name: clv.filter(stage == name).drop_nulls() for name in segments.STAGES}
    notes += [f"{found.len() or 'nobody'} '{name}' at training, {FEWEST} are needed: no percentile within that stage"
              for name, found in by_stage.items() if clv.count() and found.len() < FEWEST]  # fmt: skip
    if not clv.count():
        notes.append("nobody has a CLV: no stage percentile, and value tiers and the matrix as far as stages tell them")
    notes += [f"the log does not reach the {what}: {definitions.active_within_days} days are taken"
              for what in own.capped]  # fmt: skip
    if "engagement" not in history.columns and "engagement" in segments.looked_at(rules):
        notes.append("rules name engagement, and the log has no events beside purchases and returns")
    if gone := sorted(segments.features_of(rules) - set(history.columns)):
        notes.append(f"rules look at {', '.join(gone)}, which the model does not know: such bounds never hold")
    frozen = {name: _frozen(found) for name, found in by_stage.items() if found.len() >= FEWEST}
    return Segments(rules, history.height, edges, own, _frozen(clv.drop_nulls()), frozen, None, tuple(notes))


def rfm_edges(history: pl.DataFrame) -> tuple[dict[str, Edges], list[str]]:
    """The edges of the scores among those who have bought, and what is to be said of them."""
    bought = history.filter(pl.col("days_since_last_purchase").is_not_null())
    out, notes = {}, []
    if bought.is_empty():
        return {}, ["nobody has bought: no RFM scores"]
    for name, measure in segments.MEASURES.items():
        if measure not in bought.columns:
            notes.append(
                "no source maps 'amount': no monetary score, and a group only where recency and frequency decide"
            )
            continue
        values = segments.floats(bought[measure])
        out[name] = segments.edges(values, falling=name == FALLING)
        if empty := segments.empty_levels(out[name], values):
            levels = ", ".join(map(str, empty))
            notes.append(f"{name}: nobody has level {levels}, as many customers share one {measure.replace('_', ' ')}")
    return out, notes


def rhythm(frame: pl.DataFrame, as_of: dt.date, definitions: Definitions, rules: config.Lifecycle) -> Rhythm:
    """The population's gaps before ``as_of``, by Kaplan-Meier with the open one, one weight per customer (D27).

    First gaps apart from later ones: many who buy once never come back, and they have no later gaps. Each at most the
    days after which a customer has lapsed.
    """
    most = definitions.active_within_days
    spells = timeline.gaps(timeline.occasion_days(frame, as_of), as_of)
    first, later = spells.filter(nth=0), spells.filter(pl.col("nth") > 0)
    asked = {
        "median time from first to second purchase": (first, 0.5),
        "usual longest first gap": (first, rules.quantile),
        "usual longest gap": (later, rules.quantile),
    }
    days = {what: _gap_quantile(part, share, most) for what, (part, share) in asked.items()}
    new, one, more = (most if d is None else d for d in days.values())
    return Rhythm(new, one, more, tuple(what for what, d in days.items() if d is None))


def _gap_quantile(spells: pl.DataFrame, share: float, most: int) -> int | None:
    """Days within which ``share`` of the gaps end; None where that is not within ``most`` days, or not seen."""
    if spells.is_empty():
        return None
    # an open gap is known to last up to the eve of the cutoff, no longer
    length = pl.col("gap") - (~pl.col("closed")).cast(pl.Int64)
    counted = spells.select(gap=length, closed="closed", weight=1.0 / pl.len().over("customer_id"))
    ended = timeline.kaplan_meier(counted).filter(pl.col("alive") <= 1.0 - share + 1e-12)["gap"]
    found = ended.min()
    return int(found) if isinstance(found, int) and found <= most else None


def _frozen(values: pl.Series) -> tuple[float, ...]:
    return quantiles_of(segments.floats(values), QUANTILES) if values.len() else ()
