"""The columns of segments, from one customer's past and scores alone."""

from __future__ import annotations

import numpy as np
import polars as pl

from churn_clv import config, timeline
from churn_clv.models.retention import days_of
from churn_clv.quantiles import Floats, percentile
from churn_clv.segments import _clusters, _history, _lifecycle, _rfm, _rules
from churn_clv.segments._history import EARNED, GROWTH
from churn_clv.segments._rules import CLV, CLV_PERCENTILE, RISK_ODDS
from churn_clv.segments._state import CELL, COLUMNS, STAGE, STAGE_PERCENTILE, TIER, Segments
from churn_clv.timeline import Definitions


def columns(
    own: Segments, past: timeline.Past, rows: pl.DataFrame | None, scores: pl.DataFrame, definitions: Definitions,
    settings: config.Config,
) -> pl.DataFrame:  # fmt: skip
    """COLUMNS of each pair of ``past``; scores (``Bundle.predict``) and matrix (``rows``, if made) in its order."""
    history = read(past, definitions, own.rules, _clustered(own), rows)
    return assign(own, history, scores, definitions, settings)


def features_read(own: Segments, definitions: Definitions) -> tuple[str, ...]:
    """The features of everyone that ``columns`` looks at, and builds where the matrix does not have them."""
    return _history.columns(definitions, _rules.looked_at(own.rules) | set(_clustered(own)))


def _clustered(own: Segments) -> tuple[str, ...]:
    return () if own.clusters is None else own.clusters.features


def read(
    past: timeline.Past, definitions: Definitions, rules: config.SegmentRules, features: tuple[str, ...],
    rows: pl.DataFrame | None = None,
) -> pl.DataFrame:  # fmt: skip
    """What is needed of the past: see ``_history.read``."""
    return _history.read(past, definitions, rules, _rules.looked_at(rules) | set(features), rows)


def assign(
    own: Segments, history: pl.DataFrame, scores: pl.DataFrame, definitions: Definitions, settings: config.Config
) -> pl.DataFrame:
    """COLUMNS from ``history`` (``read``) and ``scores``, row by row: nothing is ranked among the rows."""
    found = history.with_columns(_lifecycle.staged(history, own.rhythm, own.rules.lifecycle, definitions))
    groups = _rfm.grouped(own.groups, own.rfm, found)
    found = found.hstack([*groups.values(), _clusters.assigned(own.clusters, found)])
    found = found.with_columns(**valued(own, found, scores, definitions, settings))
    found = found.with_columns(_rules.choose(own.rules.value_tiers, found).alias(TIER))
    risk = _rules.choose(own.rules.value_risk.risk, found)
    cells = own.rules.value_risk.cells
    named = [cells[t][r] if t is not None and r is not None else None for t, r in zip(found[TIER], risk, strict=True)]
    return found.with_columns(pl.Series(CELL, named, dtype=pl.String)).select(COLUMNS)


def valued(
    own: Segments, history: pl.DataFrame, scores: pl.DataFrame, definitions: Definitions, settings: config.Config
) -> dict[str, pl.Series]:
    """The quantities of value and risk that rules may look at, beside the scores' own.

    ``clv`` is that of the longest of clv.months; ``growth`` the same per day over the net margin per day of the last
    horizon window (infinite where that earned nothing and more is to come).
    """
    months = settings.clv.months[-1]
    clv = floats(scores[f"clv_{months}m"])
    out = {name: scores[name] for name in ("churn_probability", "percentile_in_reference", "churn_band", "reason")}
    odds, base = pl.col("churn_probability") / (1 - pl.col("churn_probability")), pl.col("base_rate")
    out[RISK_ODDS] = scores.select((odds / (base / (1 - base))).fill_nan(None)).to_series()
    out[CLV] = _series(clv)
    out[CLV_PERCENTILE] = _series(_placed(own.clv, clv))
    out[STAGE_PERCENTILE] = stage_percentile(own, history[STAGE], clv)
    if EARNED in history.columns:
        days = {c: days_of(months, c) for c in history["cutoff"].unique().to_list()}
        coming = clv / floats(history["cutoff"].replace_strict(days, return_dtype=pl.Float64))
        # of the customer's own margin, as CLV is
        margin = floats(scores["margin_rate"]) if "margin_rate" in scores.columns else settings.value.margin_share
        out[GROWTH] = _series(growth(coming, floats(history[EARNED]), margin, definitions.horizon_window_days))
    return out


def growth(coming: Floats, earned: Floats, margin: Floats | float, days: int) -> Floats:
    """Margin a day to come over the margin a day of the last ``days``, whose net spend is ``earned``; NaN for 0 / 0."""
    last = margin * earned / days
    with np.errstate(divide="ignore", invalid="ignore"):
        found = np.where(last > 0, coming / last, np.where(coming > 0, np.inf, np.nan))
    return np.where(np.isnan(last), np.nan, found)


def stage_percentile(own: Segments, stage: pl.Series, clv: Floats) -> pl.Series:
    """Where each CLV stands among those of its stage at training, 0 to 100; null for a stage that nobody was in."""
    found, stages = np.full(len(clv), np.nan), stage.to_numpy()
    for name, frozen in own.stage_clv.items():
        within = stages == name
        found[within] = _placed(frozen, clv[within])
    return _series(found)


def floats(column: pl.Series) -> Floats:
    """A column as an array, NaN where null."""
    return np.ascontiguousarray(column.to_numpy(), dtype=np.float64)


def _placed(frozen: tuple[float, ...], values: Floats) -> Floats:
    if not frozen:
        return np.full(len(values), np.nan)
    return np.where(np.isnan(values), np.nan, percentile(frozen, values))


def _series(values: Floats) -> pl.Series:
    return pl.Series(values, dtype=pl.Float64, nan_to_null=True)
