"""What a bundle is: heads, definitions and a frozen reference that turn a matrix into predictions."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from churn_clv import config, events, features, matrix, segments, timeline
from churn_clv.bundle import _value
from churn_clv.bundle._reference import Reference
from churn_clv.bundle._targets import ASKED, answers_of, band, columns_of
from churn_clv.bundle._valid import VALID, Ageing
from churn_clv.bundle._value import LIFETIME, ORDERS
from churn_clv.errors import UserError
from churn_clv.features import margin
from churn_clv.models.interval import reliability
from churn_clv.models.predict import Floats, Head, answers
from churn_clv.models.silence import Silence
from churn_clv.quantiles import percentile
from churn_clv.timeline import Definitions

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Bundle:
    """A verified model of one question, ready to predict. Build with ``training.train`` or ``load_bundle``."""

    definitions: Definitions
    heads: tuple[Head, ...]
    reference: Reference
    config: config.Config
    trained_through: dt.date
    report: dict[str, Any] = field(default_factory=dict)
    manifest: dict[str, Any] = field(default_factory=dict)
    version: str = ""
    segments: segments.Segments | None = None

    @cached_property
    def features(self) -> tuple[str, ...]:
        """The matrix's columns in the order the boosters know them."""
        return features.names(self.definitions)

    @cached_property
    def core_features(self) -> tuple[str, ...]:
        """Those of them that the heads of churn and spend know; the heads of other targets know all."""
        return features.core(self.definitions)

    def values(self, rows: pl.DataFrame, head: Head | None = None) -> Floats:
        """A matrix's features as ``head`` (default: those of churn and spend) knows them; (rows, features)."""
        own = head is not None and head.target in self.reference.targets
        return matrix.values(rows, self.features if own else self.core_features)

    @cached_property
    def _ageing(self) -> Ageing:
        return Ageing(self)

    @cached_property
    def _also(self) -> tuple[str, ...]:
        """What is asked of a customer beside the matrix: margins, where the log told them at training."""
        return margin.NAMES if self.reference.retention and self.reference.retention.margin else ()

    @property
    def base_rate(self) -> float:
        """Share churned among the eligible at the test cutoff."""
        return self.reference.base_rate

    @property
    def currency(self) -> str:
        """The declared currency of all money."""
        return self.definitions.rules.currency

    @property
    def horizon_days(self) -> int:
        """How far the predictions look."""
        return self.definitions.horizon_days

    @property
    def edges(self) -> tuple[int, ...]:
        """Days within which no purchase is predicted, rising to the horizon."""
        return next(h.edges for h in self.heads if h.kind == "hazard")

    @property
    def silence(self) -> Silence:
        """How long silence lasts beyond the horizon, as far as it was learnt."""
        return Silence() if self.reference.outlook is None else self.reference.outlook.silence

    @property
    def event_types(self) -> tuple[str, ...]:
        """Purchases, returns, and the other types that the log held at training."""
        return tuple(sorted({"purchase", "return", *self.definitions.event_types}))

    @cached_property
    def own_heads(self) -> tuple[Head, ...]:
        """The heads of the config's targets beside churned and spend."""
        return tuple(h for h in self.heads if h.target in self.reference.targets)

    def columns_of(self, head: Head) -> tuple[str, ...]:
        """The columns of the scores that a head of ``own_heads`` gives."""
        return columns_of(head.target, head.kind)

    def head(self, target: str) -> Head | None:
        """The head of a target, or None where the bundle has none."""
        return next((h for h in self.heads if h.target == target), None)

    def score(self, frame: pd.DataFrame | pl.DataFrame, cutoff: dt.date | str) -> pd.DataFrame | pl.DataFrame:
        """Predictions for every known customer of a frame of plain event columns; the same kind of frame back.

        ``frame`` has customer_id and time, and event_type, amount (major units), ... as ``read_log`` describes;
        events at or after ``cutoff`` (a local midnight) are ignored. Raises UserError on columns of a wrong type.
        """
        return _like(frame, self.score_log(self._log(frame), as_date(cutoff)))

    def no_purchase(
        self, frame: pd.DataFrame | pl.DataFrame, cutoff: dt.date | str, days: int
    ) -> pd.DataFrame | pl.DataFrame:
        """P(no purchase in the first ``days`` from ``cutoff``) of every known customer; the same kind of frame back.

        Columns: customer_id, cutoff, days, probability (null for ineligible customers), extrapolated. At an edge
        (``edges``) the probability is ``score``'s own, between two edges the chance is the same each day. So it is at
        later horizons as far as the log has seen silence last; past them it goes on at the last one's chance per day,
        and ``extrapolated`` is true: nothing was learnt there. Raises UserError for fewer days than 1.
        """
        if days < 1:
            raise UserError(f"days must be 1 or more, found {days}.")
        log = self._log(frame)
        rows = self.rows_of(log, timeline.pairs_of(log["customer_id"].unique(), [as_date(cutoff)]))
        asked = rows.filter("eligible")
        hazard = next(h for h in self.heads if h.kind == "hazard")
        found = self.silence.no_purchase(hazard.curve(self.values(asked)), self.edges, days)
        known = asked.select("customer_id", probability=pl.Series(found, dtype=pl.Float64))
        out = rows.select("customer_id", "cutoff", days=pl.lit(days))
        out = out.join(known, on="customer_id", how="left", maintain_order="left")
        return _like(frame, out.with_columns(extrapolated=pl.lit(days > self.silence.learnt_days(self.horizon_days))))

    def score_log(self, frame: pl.DataFrame, cutoff: dt.date) -> pl.DataFrame:
        """Predictions for every known customer of a canonical log frame, sorted by customer_id."""
        pairs = timeline.pairs_of(frame["customer_id"].unique(), [cutoff])
        if self.reference.targets:  # whose populations hold others than the eligible
            return self.score_pairs(frame, pairs)
        met = frame.filter(pl.col("event_type").is_in(self.event_types))
        past = timeline.Past(met, pairs).known()
        own = self.segments
        always = (ORDERS, LIFETIME, *(() if own is None else segments.features_read(own, self.definitions)))
        rows, eligible = matrix.build_lean(past, self.definitions, always, self._also)
        scores = self.predict(rows, frame, eligible)
        return scores if own is None else scores.hstack(self._segments_of(past, rows, scores))

    def score_pairs(self, frame: pl.DataFrame, pairs: pl.DataFrame) -> pl.DataFrame:
        """Predictions for the known customers among ``pairs`` (``customer_id``, ``cutoff``), in the matrix's order.

        Events of other types than ``event_types`` are ignored: the model has never met them. With the columns of
        segments (docs/segments.md) where the bundle holds any.
        """
        rows = self.rows_of(frame, pairs)
        scores = self.predict(rows, frame)
        return scores if self.segments is None else scores.hstack(self.segmented(frame, rows, scores))

    def segmented(self, frame: pl.DataFrame, rows: pl.DataFrame, scores: pl.DataFrame) -> pl.DataFrame:
        """The segments' columns of a log frame's customers, in the order of their scores and whole matrix."""
        met = frame.filter(pl.col("event_type").is_in(self.event_types))
        return self._segments_of(timeline.Past(met, scores.select("customer_id", "cutoff")), rows, scores)

    def _segments_of(self, past: timeline.Past, rows: pl.DataFrame | None, scores: pl.DataFrame) -> pl.DataFrame:
        assert self.segments is not None
        return segments.columns(self.segments, past, rows, scores, self.definitions, self.config)

    def _log(self, frame: pd.DataFrame | pl.DataFrame) -> pl.DataFrame:
        plain = events.to_polars(frame)
        return events.without_repeats(events.canonical(plain, self.definitions.rules))[0]

    def rows_of(self, frame: pl.DataFrame, pairs: pl.DataFrame) -> pl.DataFrame:
        """The matrix of the known customers among ``pairs`` of a canonical log frame, as ``predict`` takes it."""
        # Of few events to look costs less than to filter.
        strange = frame.height > timeline.FEW or not {*frame["event_type"].unique()} <= {*self.event_types}
        met = frame.filter(pl.col("event_type").is_in(self.event_types)) if strange else frame
        rows = matrix.build(met, pairs, self.definitions, also=self._also)
        if not self.reference.targets:
            return rows
        asked = {name: self.config.targets[name] for name in self.reference.targets}
        found = matrix.members(met, rows, asked, self.definitions)
        return rows.hstack([series.alias(ASKED + series.name) for series in found.get_columns()])

    def predict(
        self, rows: pl.DataFrame, frame: pl.DataFrame | None = None, eligible: pl.DataFrame | None = None
    ) -> pl.DataFrame:
        """Predictions for a matrix, in its order; null for ineligible customers.

        ``eligible``: the matrix of these alone, where it was made apart (``matrix.build_lean``).

        Columns: customer_id, cutoff, eligible, reason, churn_probability, percentile_in_reference (0-100, higher is
        riskier), loss_probability (no purchase in the confirmation window either), expected_spend and its _low and
        _high (major units; 10% of customers lie above, at most 10% below), churn_probability_<d>d for each part of the
        horizon (no purchase in the first d days: falling with d, down to churn_probability), churn_band, reliability
        (low, medium, high: 1, 2-3, 4+ purchase days; fallback: not eligible, CLV is a mean), base_rate, currency,
        horizon_days, in_sample, model_version.

        Also of the eligible: expected_orders (purchase days in the horizon), expected_order_value (expected_spend over
        them), next_order_within_<d>d (at least one purchase in d days; learnt up to next_order_learnt_days) and
        active_probability_<m>m (at least one purchase in the window of one horizon that ends m months ahead).

        For every known customer, eligible or not: clv_<m>m (discounted net margin of the next m months) and its _low
        and _high (as of spend; null where no such months have matured), clv_extrapolated_share (of the longest),
        margin_rate (margin per unit of spend), historic_value (net margin so far) and total_value (their sum).

        For every target of the config beside churned and spend, of its own population: <name>_probability, or for a
        count or money expected_<name>; <name>_percentile_in_reference, <name>_base_rate and <name>_band.

        score_valid_until is the first later midnight at which the score (all but own targets) differs if nothing more
        becomes known of the customer, null where it never does. Without the log's ``frame`` it is at most the next day
        for those few whose coming days would have to be scored to know.
        """
        asked = rows["eligible"].to_numpy()
        if eligible is None:
            eligible = rows if asked.all() else rows.filter("eligible")
        values = self.values(eligible)
        out = with_series(rows[list(matrix.KEYS)], self._numbers(values, asked))
        out = _value.labelled(with_series(out, _value.beyond(self.reference, self.config, rows, out)), self.config)
        out = with_series(out, self._targets(rows) | {VALID: self._ageing.column(rows, out, values, frame)})
        constants: dict[str, tuple[Any, pl.DataType]] = {
            "next_order_learnt_days": (self.silence.learnt_days(self.horizon_days), pl.Int32()),
            "base_rate": (self.base_rate, pl.Float64()),
            "currency": (self.currency, pl.String()),
            "horizon_days": (self.horizon_days, pl.Int32()),
            "in_sample": (None, pl.Boolean()),
            "model_version": (self.version, pl.String()),
        }
        same = {n: pl.Series([v], dtype=kind).new_from_index(0, rows.height) for n, (v, kind) in constants.items()}
        return with_series(out, same | {"in_sample": rows["cutoff"] < self.trained_through})

    def _numbers(self, values: Floats, asked: NDArray[np.bool_]) -> dict[str, pl.Series]:
        """The answers of the customers ``asked`` (n,), whose features are ``values``, as columns (n,).

        Null for the others; money is null throughout where there is no spend head.
        """
        curve, money = answers(self.heads, values)
        risk, unknown = curve[-1], np.full(len(values), np.nan)
        orders = values[:, self.core_features.index(ORDERS)] if ORDERS in self.core_features else unknown
        low, high = unknown, unknown
        if money is not None and self.reference.interval is not None:
            low, high = self.reference.interval.apply(money, np.ascontiguousarray(orders))
        numbers = {
            "churn_probability": risk,
            "percentile_in_reference": percentile(self.reference.quantiles, risk),
            "loss_probability": unknown if self.reference.loss is None else self.reference.loss.apply(risk),
            "expected_spend": unknown if money is None else money,
            "expected_spend_low": low,
            "expected_spend_high": high,
        } | {f"churn_probability_{d}d": by for d, by in zip(self.edges[:-1], curve, strict=False)}
        numbers |= _value.in_horizon(self.reference, self.config, values, curve, self.edges, money)
        words = {
            "churn_band": band(self.reference.band_edges, self.reference.band_names, risk),
            "reliability": reliability(orders),
        }
        return {name: _value.column(spread(found, asked)) for name, found in numbers.items()} | {
            name: _value.words(found, asked) for name, found in words.items()
        }

    def _targets(self, rows: pl.DataFrame) -> dict[str, pl.Series]:
        """The answers to the targets of the user's own, for a matrix that says who is asked."""
        if not self.reference.targets:
            return {}
        return answers_of(self.own_heads, self.reference.targets, rows, matrix.values(rows, self.features))


def spread(found: Floats, asked: NDArray[np.bool_]) -> Floats:
    """Numbers of those ``asked`` (n,) at their places, NaN for the others; (n,)."""
    out = np.full(len(asked), np.nan)
    out[asked] = found
    return out


def with_series(frame: pl.DataFrame, columns: Mapping[str, pl.Series]) -> pl.DataFrame:
    """The frame and the columns behind it: a select of so many literals takes longer than most predictions."""
    return frame.hstack([series.alias(name) for name, series in columns.items()])


def _like(frame: pd.DataFrame | pl.DataFrame, answer: pl.DataFrame) -> pd.DataFrame | pl.DataFrame:
    """The answer as the kind of frame that was asked with."""
    return answer if isinstance(frame, pl.DataFrame | pl.LazyFrame) else answer.to_pandas()


def as_date(cutoff: dt.date | str) -> dt.date:
    """A cutoff as a date; raises UserError for text that is none."""
    if isinstance(cutoff, dt.datetime):
        cutoff = cutoff.date()
    try:
        return cutoff if isinstance(cutoff, dt.date) else dt.date.fromisoformat(cutoff)
    except ValueError:
        raise UserError(f"cutoff '{cutoff}' is not a date. Give YYYY-MM-DD.") from None
