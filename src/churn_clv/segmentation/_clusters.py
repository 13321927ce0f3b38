"""Clusters learnt: how many, where, and what to call them (definition D34)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl
from numpy.typing import NDArray

from churn_clv import config, segments
from churn_clv.models import kmeans
from churn_clv.quantiles import Floats
from churn_clv.segments import Clusters

Labels = NDArray[np.int64]

# Customers that the number is chosen by, and the centres learnt from; how often they are drawn again; the fewest.
CHOSEN_BY, LEARNT_FROM, RESAMPLES, FEWEST = 2_000, 20_000, 5, 200
# Agreements that differ by less are called the same: the larger number then tells more.
ALIKE = 0.02
# A median so many widths of the middle half off the customers' own is worth a word; so many words a name.
WORTH, WORDS = 0.25, 2
TYPICAL = "typical"
# A cluster keeps the name of the last model's where they share at least so much of both.
SAME = 0.5


def learn(
    rules: config.Clusters, history: pl.DataFrame, seed: int, previous: Clusters | None = None
) -> tuple[Clusters | None, list[str]]:
    """The clusters of those of ``history`` who have bought, and notes on what was missing.

    The number is the one within ``between`` on which resampled customers agree most; where that is less than
    ``agreement`` (mean adjusted Rand index) there are no clusters. Names come from medians, or from ``previous`` where
    a cluster is mostly the same customers.
    """
    bought = history.filter(pl.col("days_since_last_purchase").is_not_null()).sort("customer_id")
    frame, notes = _scaled(rules, bought)
    if frame is None or bought.height < FEWEST:
        why = f"{bought.height:,} customers have bought, {FEWEST:,} are needed"
        return None, [*notes, f"no clusters: {why if bought.height < FEWEST else 'no feature of theirs varies'}"]
    rows = segments.placed(frame, segments.logs(bought, frame.features))
    few = _some(rows, CHOSEN_BY, seed)
    agreed = {k: _agreement(frame, few, k, seed) for k in range(rules.between[0], rules.between[1] + 1)}
    best = max(agreed, key=lambda k: agreed[k])
    if agreed[best] < rules.agreement:
        return None, [*notes, f"no clusters: resampled customers agree on no number from {rules.between[0]} to "
                              f"{rules.between[1]} (best: {best}, adjusted Rand index {agreed[best]:.2f}, "
                              f"{rules.agreement:g} is needed)"]  # fmt: skip
    k = max(k for k, found in agreed.items() if found >= max(rules.agreement, agreed[best] - ALIKE))
    own = _centred(frame, kmeans.centres(_some(rows, LEARNT_FROM, seed), k, seed), agreed[k])
    return _named(own, rules, bought, rows, previous), notes


def _scaled(rules: config.Clusters, bought: pl.DataFrame) -> tuple[Clusters | None, list[str]]:
    """Median and width of the features that are there and vary, without centres yet."""
    there = tuple(f.name for f in rules.features if f.name in bought.columns and bought[f.name].count())
    gone = [f.name for f in rules.features if f.name not in there]
    notes = [f"clusters do without {', '.join(gone)}: this log has no such feature"] if gone else []
    logs = segments.logs(bought, there)
    kept: dict[str, tuple[float, float]] = {}
    for place, name in enumerate(there):
        known = logs[:, place][~np.isnan(logs[:, place])]
        low, half, high = np.quantile(known, [0.25, 0.5, 0.75])
        if known.min() < known.max():
            kept[name] = (float(half), float(high - low) or float(np.std(known)))
    if still := [name for name in there if name not in kept]:
        notes.append(f"clusters do without {', '.join(still)}: all customers are alike in it")
    middle, scale = tuple(m for m, _ in kept.values()), tuple(w for _, w in kept.values())
    return (Clusters(tuple(kept), middle, scale, (), (), 0.0) if kept else None), notes


def _agreement(frame: Clusters, rows: Floats, k: int, seed: int) -> float:
    """Mean adjusted Rand index of the clusters of all rows with those of rows drawn again, both given to all rows."""
    if len(np.unique(rows, axis=0)) < 2 * k:
        return 0.0
    draw, whole = _draw(seed + k), _labels(frame, kmeans.centres(rows, k, seed), rows)
    found = []
    for _ in range(RESAMPLES):
        again = rows[draw.integers(0, len(rows), len(rows))]
        found.append(kmeans.agreement(whole, _labels(frame, kmeans.centres(again, k, seed), rows)))
    return float(np.mean(found))


def _labels(frame: Clusters, centres: Floats, rows: Floats) -> Labels:
    return segments.nearest_centre(_centred(frame, centres, 0.0), rows)


def _centred(frame: Clusters, centres: Floats, agreement: float) -> Clusters:
    held = tuple(tuple(float(v) for v in centre) for centre in centres)
    return Clusters(frame.features, frame.middle, frame.scale, held, (), agreement)


def _named(
    own: Clusters, rules: config.Clusters, bought: pl.DataFrame, rows: Floats, previous: Clusters | None
) -> Clusters:
    """The same with its clusters in order, largest first, each with a name of its own."""
    labels = segments.nearest_centre(own, rows)
    order = np.argsort(-np.bincount(labels, minlength=len(own.centres)), kind="stable")
    own = Clusters(own.features, own.middle, own.scale, tuple(own.centres[k] for k in order), (), own.agreement)
    labels = segments.nearest_centre(own, rows)
    kept = _kept(labels, bought, previous, len(own.centres))
    medians = [np.median(rows[labels == k], axis=0) if (labels == k).any() else np.array(own.centres[k])
               for k in range(len(own.centres))]  # fmt: skip
    names: list[str] = []
    for k, median in enumerate(medians):
        taken = {*names, *kept.values()}
        names.append(kept.get(k) or _unique(word_for(rules.features, own.features, median), taken))
    return Clusters(own.features, own.middle, own.scale, own.centres, tuple(names), own.agreement)


def word_for(words: Sequence[config.ClusterFeature], features: Sequence[str], median: Floats) -> str:
    """The words of the features whose median lies farthest from all customers', in the order of the rules."""
    far = np.argsort(-np.abs(median), kind="stable")[:WORDS]
    said = {features[p]: median[p] for p in far if abs(median[p]) >= WORTH}
    found = [w.high if said[w.name] > 0 else w.low for w in words if w.name in said]
    return ", ".join(found) or TYPICAL


def _unique(name: str, taken: set[str]) -> str:
    number, found = 2, name
    while found in taken:
        number, found = number + 1, f"{name} {number}"
    return found


def _kept(labels: Labels, bought: pl.DataFrame, previous: Clusters | None, count: int) -> dict[int, str]:
    """By new cluster the name of the last model's that it shares at least SAME with: shared over either's customers."""
    if previous is None or not set(previous.features) <= set(bought.columns):
        return {}
    before = segments.nearest_centre(previous, segments.placed(previous, segments.logs(bought, previous.features)))
    overlap = np.zeros((count, len(previous.names)), dtype=np.int64)
    np.add.at(overlap, (labels, before), 1)
    either = overlap.sum(axis=1)[:, None] + overlap.sum(axis=0)[None, :] - overlap
    return {new: previous.names[old] for new, old in kmeans.paired(overlap)
            if overlap[new, old] >= SAME * either[new, old] > 0}  # fmt: skip


def _some(rows: Floats, most: int, seed: int) -> Floats:
    """The rows, or so many of them drawn without regard to their order."""
    return rows if len(rows) <= most else rows[np.sort(_draw(seed).choice(len(rows), most, replace=False))]


def _draw(seed: int) -> np.random.Generator:
    return np.random.default_rng(seed)
