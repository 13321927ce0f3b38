"""What a scoring comes to: counts and totals, gathered frame by frame."""

from __future__ import annotations

import datetime as dt
import math
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import polars as pl

from churn_clv.bundle import Bundle


@dataclass
class Tally:
    """Counts and sums of some of a scoring's rows. Sums are kept by frame and added exactly (``math.fsum``)."""

    bundle: Bundle
    rows: int = 0
    eligible: int = 0
    in_sample: bool = False
    cutoff: dt.date | None = None
    reasons: Counter[str] = field(default_factory=Counter)
    bands: Counter[str] = field(default_factory=Counter)
    sums: dict[str, list[float]] = field(default_factory=dict)

    def add(self, scores: pl.DataFrame) -> None:
        """Count the rows of a frame."""
        own = scores.filter("eligible")
        self.rows += scores.height
        self.eligible += own.height
        self.in_sample |= bool(scores["in_sample"].any())
        self.cutoff = scores["cutoff"][0] if scores.height else self.cutoff
        self.reasons.update(dict(scores.filter(~pl.col("eligible"))["reason"].value_counts().iter_rows()))
        self.bands.update(dict(own["churn_band"].value_counts().iter_rows()))
        for name in ("churn_probability", "expected_spend"):
            self._sum(own[name])
        for months in self.bundle.config.clv.months:
            self._sum(scores[f"clv_{months}m"])

    def _sum(self, column: pl.Series) -> None:
        if column.count():
            self.sums.setdefault(column.name, []).append(math.fsum(column.drop_nulls()))

    def total(self, column: str) -> float | None:
        """The sum of a column, None where it has no value."""
        return math.fsum(self.sums[column]) if column in self.sums else None

    def told(self) -> dict[str, Any]:
        """Counts and totals by name."""
        bundle, risk = self.bundle, self.total("churn_probability")
        assert self.cutoff is not None
        return {
            "cutoff": self.cutoff.isoformat(),
            "model_version": bundle.version,
            "trained_through": bundle.trained_through.isoformat(),
            "horizon_days": bundle.horizon_days,
            "currency": bundle.currency,
            "rows": self.rows,
            "eligible": self.eligible,
            "reasons": _sorted(self.reasons),
            "bands": _sorted(self.bands),
            "base_rate": bundle.base_rate,
            "mean_churn_probability": None if risk is None else risk / self.eligible,
            "expected_spend_total": self.total("expected_spend"),
            **self._clv(),
            "in_sample": self.in_sample,
        }

    def _clv(self) -> dict[str, dict[str, float | None]]:
        """CLV of all by months, and where its total will lie in 9 of 10 cases; null where no such months have matured.

        The band comes from how predicted totals compared with actual ones at earlier cutoffs (definition D18).
        """
        outlook = self.bundle.reference.outlook
        out: dict[str, dict[str, float | None]] = {"clv_total": {}, "clv_total_low": {}, "clv_total_high": {}}
        for m in self.bundle.config.clv.months:
            total = self.total(f"clv_{m}m")
            band = outlook.totals.get(m) if outlook is not None else None
            out["clv_total"][str(m)] = total
            out["clv_total_low"][str(m)] = total / band[1] if band and total is not None else None
            out["clv_total_high"][str(m)] = total / band[0] if band and total is not None else None
        return out


def summary(scores: pl.DataFrame, bundle: Bundle) -> dict[str, Any]:
    """Counts and totals of a scoring held whole: rows, eligible, reasons, bands, expected money."""
    return summary_of([scores], bundle)


def summary_of(frames: Iterable[pl.DataFrame], bundle: Bundle) -> dict[str, Any]:
    """The same of a scoring that comes in frames."""
    tally = Tally(bundle)
    for frame in frames:
        tally.add(frame)
    return tally.told()


def _sorted(counts: Counter[str]) -> dict[str, int]:
    return {name: counts[name] for name in sorted(counts, key=str)}
