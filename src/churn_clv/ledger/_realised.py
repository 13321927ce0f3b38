"""What came of a scoring whose window has closed: realised against predicted, in all, by band and by decile."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from churn_clv import config, features, labels, metrics, timeline
from churn_clv.events import Log
from churn_clv.ledger._evidence import Seen, leads
from churn_clv.scoring import Scoring, parts_of
from churn_clv.timeline import Definitions

Floats = NDArray[np.float64]
Z = 1.959963984540054  # the normal's 97.5%
COLUMNS = ("customer_id", "churn_probability", "churn_band", "expected_spend")


def joined(one: Scoring, log: Log, definitions: Definitions, settings: config.Config) -> tuple[pl.DataFrame, int]:
    """The eligible of a scoring with what came, and how many of them the log no longer has.

    ``lapsed`` 0/1, ``silent`` (days since the last purchase); where the model and the log have money ``spend`` and
    ``last`` (net spend of the horizon window before the cutoff, in money per horizon, at least 0).
    """
    every = pl.scan_parquet(parts_of(one.folder), hive_partitioning=False)
    held = every.collect_schema().names()
    rows = every.filter("eligible").select(c for c in COLUMNS if c in held).collect().sort("customer_id")
    pairs = rows.select("customer_id", cutoff=pl.lit(one.cutoff, pl.Date))
    horizon, window = int(one.manifest["horizon_days"]), definitions.horizon_window_days
    core = {name: settings.targets[name] for name in config.CORE if name in settings.targets}
    came = labels.build(log.frame, pairs, core, horizon, minor_units=log.rules.minor_units, ends=log.ends)
    last = f"spend_last_{window}d"
    wanted = ("days_since_last_purchase", *((last,) if last in features.names(definitions) else ()))
    known = features.build(timeline.Past(log.frame, pairs), definitions, wanted)
    out = rows.with_columns(lapsed=came[labels.column("churned", horizon)], silent=known["days_since_last_purchase"])
    if "expected_spend" in rows.columns and rows["expected_spend"].count() and last in known.columns:
        before = (known[last] * horizon / window).clip(lower_bound=0)
        out = out.with_columns(spend=came[labels.column("spend", horizon)], last=before)
    there = out.filter(pl.col("silent").is_not_null() & pl.col("lapsed").is_not_null())
    return there, out.height - there.height


def seen(rows: pl.DataFrame) -> Seen:
    """The same as arrays."""
    money = "spend" in rows.columns
    spent = _array(rows, "last") if money and not rows["last"].null_count() else None
    return Seen(
        _array(rows, "churn_probability"), _array(rows, "lapsed"), _array(rows, "silent"),
        _array(rows, "expected_spend") if money else None, _array(rows, "spend") if money else None, spent,
    )  # fmt: skip


def told(rows: pl.DataFrame) -> dict[str, Any]:
    """Lapse and spend of a scoring, in all, by band and by decile, and its lead over the simple rungs."""
    own = seen(rows)
    money = own.spend is not None
    return {
        "customers": rows.height,
        "lapse": share(own.lapsed, own.risk),
        "spend": total(own.spend, own.expected) if money else None,
        "bands": _bands(rows),
        "lapse_deciles": lapse_deciles(own.risk, own.lapsed),
        "spend_deciles": spend_deciles(own.expected, own.spend) if money else None,
        "ahead_of_recency": _lead(leads(own)[0]),
        "ahead_of_last_horizon_spend": _lead(leads(own)[1]),
    }


def share(lapsed: Floats, risk: Floats) -> dict[str, Any]:
    """The predicted and the realised share of lapse with Wilson's 95% interval (Wilson 1927)."""
    low, high = wilson(float(lapsed.sum()), len(lapsed))
    return {"predicted": float(risk.mean()), "realised": float(lapsed.mean()), "low": low, "high": high}


def wilson(hits: float, n: float) -> tuple[float, float]:
    """The 95% interval of a share of ``n``."""
    middle = (hits + Z**2 / 2) / (n + Z**2)
    half = Z / (n + Z**2) * np.sqrt(hits * (n - hits) / n + Z**2 / 4)
    return float(max(middle - half, 0.0)), float(min(middle + half, 1.0))


def total(spend: Floats | None, expected: Floats | None) -> dict[str, Any]:
    """Predicted and realised money; the interval is what other customers of the same kind might have brought."""
    assert spend is not None and expected is not None
    half = Z * spend.std() * np.sqrt(len(spend))
    predicted, realised = float(expected.sum()), float(spend.sum())
    ratio = realised / predicted if predicted > 0 else None
    return {"predicted": predicted, "realised": realised, "low": float(realised - half),
            "high": float(realised + half), "ratio": ratio}  # fmt: skip


def _bands(rows: pl.DataFrame) -> list[dict[str, Any]]:
    if "churn_band" not in rows.columns:
        return []
    out = []
    for (band,), part in rows.partition_by("churn_band", as_dict=True).items():
        own = seen(part)
        money = total(own.spend, own.expected) if own.spend is not None else None
        out.append({"band": band, "customers": part.height} | {"lapse": share(own.lapsed, own.risk), "spend": money})
    return sorted(out, key=lambda row: row["lapse"]["predicted"])


def lapse_deciles(risk: Floats, lapsed: Floats) -> list[dict[str, float]]:
    """Ten bins of equal mass by risk, the least first; equal risks are shared out between neighbours."""
    order = metrics.Order(risk)
    n, p, y = (order.tenths(values) for values in (np.ones(len(risk)), risk, lapsed))
    out = []
    for size, predicted, hits in zip(n, p, y, strict=True):
        low, high = wilson(float(hits), float(size))
        out.append({"customers": float(size), "predicted": float(predicted / size), "realised": float(hits / size),
                    "low": low, "high": high})  # fmt: skip
    return out


def spend_deciles(expected: Floats | None, spend: Floats | None) -> list[dict[str, float]]:
    """The same by expected spend: money predicted and realised, with the realised total's 95% interval."""
    assert spend is not None and expected is not None
    order = metrics.Order(expected)
    n, p, y, squares = (order.tenths(values) for values in (np.ones(len(spend)), expected, spend, spend**2))
    half = Z * np.sqrt(np.maximum(squares - y**2 / n, 0.0))
    return [
        {"customers": float(n[i]), "predicted": float(p[i]), "realised": float(y[i]), "low": float(y[i] - half[i]),
         "high": float(y[i] + half[i])}
        for i in range(len(n))
    ]  # fmt: skip


def _lead(found: tuple[float, float] | None) -> dict[str, float] | None:
    if found is None:
        return None
    value, error = found
    return {"points": value, "low": value - Z * error, "high": value + Z * error}


def _array(rows: pl.DataFrame, name: str) -> Floats:
    return np.asarray(rows[name].cast(pl.Float64).to_numpy())
