"""The tiny bundle with segments: learnt from its own log, with clusters made by hand (80 customers are too few)."""

from __future__ import annotations

import dataclasses
from functools import cache
from typing import Any

import polars as pl
import tiny

from churn_clv import bundle, events, segmentation
from churn_clv.segments import Clusters

CLUSTERS = Clusters(
    ("days_since_last_purchase", "purchase_days_per_week", "mean_order_value", "discount_share", "gap_days_cv"),
    (4.0, 0.1, 4.5, 0.02, 0.6), (1.0, 0.05, 0.3, 0.01, 0.2),
    ((0.0, 0.0, 0.0, 0.0, 0.0), (2.0, -1.0, 0.0, 0.0, 0.0), (-1.0, 1.0, 0.5, 0.0, 0.5), (0.0, 0.0, 1.0, -1.0, 0.0)),
    ("typical", "silent", "frequent", "dear"), 0.9,
)  # fmt: skip


@cache
def log(customers: int = 80) -> events.Log:
    """The log that the tiny bundle was made of, or one of more customers."""
    return log_of(tiny.plain_log(customers))


def log_of(plain: pl.DataFrame, **starts: Any) -> events.Log:
    """Plain event columns as the tiny bundle reads them."""
    own = tiny.definitions()
    return events.from_frame(plain, own.rules, tiny.TRAINED_THROUGH, own.starts | starts)


def with_segments(own: bundle.Bundle, of: events.Log, clusters: Clusters | None = CLUSTERS) -> bundle.Bundle:
    """A bundle with segments learnt from a log; ``clusters`` in the place of those found."""
    found = segmentation.learn(own, of)
    return dataclasses.replace(own, segments=dataclasses.replace(found, clusters=clusters or found.clusters))


@cache
def plain() -> bundle.Bundle:
    """The tiny bundle, made once."""
    return tiny.tiny_bundle()


@cache
def served() -> bundle.Bundle:
    """The tiny bundle with segments."""
    return with_segments(plain(), log())
