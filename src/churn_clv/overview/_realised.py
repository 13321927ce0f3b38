"""What was said, and what came: stored scorings whose window has closed, and the model's own test."""

from __future__ import annotations

import datetime as dt
import math
from typing import Any

import polars as pl

from churn_clv import config, kpis, labels, scoring
from churn_clv.bundle import Bundle
from churn_clv.events import Log

TEN = 10
# The newest so many closed scorings.
MOST = 6
TEST_METRICS = (
    "n", "churn_rate", "churn_auroc", "churn_log_loss", "churn_ece", "churn_ece_floor", "churn_calibration_slope",
    "churn_lift_top_decile", "spend_gini", "spend_mae", "spend_total_ratio",
)  # fmt: skip


def realised(settings: config.Config, log: Log, horizon_days: int) -> dict[str, Any]:
    """``scorings``: of each closed one the predicted and the actual lapse and spend, and the same by tenths of risk."""
    found = []
    for one in scoring.scorings(scoring.scores_folder(settings)):
        ends = one.cutoff + dt.timedelta(days=horizon_days)
        if one.manifest["horizon_days"] == horizon_days and ends <= log.ends:
            found.append(one)
    told = [made for one in found[-MOST:] if (made := _told(settings, log, one, horizon_days))]
    if told:
        return {"scorings": told}
    return {"scorings": [], "missing": f"no stored scoring is {horizon_days} days old, so none can be held to account",
            "how": "run `churn-clv score` now; after its window the report shows what came"}  # fmt: skip


def _told(settings: config.Config, log: Log, one: scoring.Scoring, horizon_days: int) -> dict[str, Any] | None:
    columns = ["customer_id", "churn_probability", "expected_spend"]
    scores = pl.concat([pl.read_parquet(p, columns=[*columns, "eligible", "in_sample"], hive_partitioning=False)
                        for p in scoring.parts_of(one.folder)])  # fmt: skip
    scores = scores.filter("eligible").drop_nulls(columns)
    if scores.is_empty():
        return None
    pairs = scores.select("customer_id", cutoff=pl.lit(one.cutoff))
    core = {name: settings.targets[name] for name in config.CORE if name in settings.targets}
    came = labels.build(log.frame, pairs, core, horizon_days, minor_units=log.rules.minor_units, ends=log.ends)
    frame = scores.with_columns(churned=came[labels.column("churned", horizon_days)],
                                spend=came[labels.column("spend", horizon_days)])  # fmt: skip
    told = compared(frame)
    return told | {"cutoff": one.cutoff.isoformat(), "model_version": one.version,
                   "in_sample": bool(scores["in_sample"].any())}  # fmt: skip


def compared(frame: pl.DataFrame) -> dict[str, Any]:
    """Of rows with ``churn_probability``, ``churned``, ``expected_spend`` and ``spend``: totals and tenths."""
    expected, came = math.fsum(frame["expected_spend"]), math.fsum(frame["spend"])
    n, hits = frame.height, math.fsum(frame["churned"])
    low, high = kpis.wilson(hits, n)
    return {
        "n": n, "predicted": math.fsum(frame["churn_probability"]) / n, "lapsed": hits / n, "low": low, "high": high,
        "expected_spend": expected, "spend": came, "ratio": came / expected if expected else None,
        "tenths": tenths(frame),
    }  # fmt: skip


def tenths(frame: pl.DataFrame) -> list[dict[str, Any]]:
    """Ten groups of rising risk: ``n``, ``predicted``, ``lapsed`` with its 95% interval, ``expected_spend``, ``spend``
    (sums)."""  # fmt: skip
    ranked = frame.sort("churn_probability", maintain_order=True).with_columns(
        tenth=pl.int_range(pl.len()) * TEN // frame.height
    )
    out = []
    for part in ranked.partition_by("tenth", maintain_order=True):
        hits = math.fsum(part["churned"])
        low, high = kpis.wilson(hits, part.height)
        out.append({
            "n": part.height, "predicted": math.fsum(part["churn_probability"]) / part.height,
            "lapsed": hits / part.height, "low": low, "high": high,
            "expected_spend": math.fsum(part["expected_spend"]), "spend": math.fsum(part["spend"]),
        })  # fmt: skip
    return out


def of_judged(own: Bundle, judged: pl.DataFrame | None, scores: pl.DataFrame) -> dict[str, Any]:
    """How far to trust the numbers: the judged test's measures, its tenths where its predictions are at hand, and how
    many customers have how much history."""  # fmt: skip
    ladder = own.report.get("ladder") or []
    metrics = ladder[0]["metrics"] if ladder else {}
    known = scores.filter("eligible")["reliability"].drop_nulls().value_counts().rows()
    out: dict[str, Any] = {
        "test_cutoff": own.report.get("test_cutoff"), "metrics": {k: metrics.get(k) for k in TEST_METRICS},
        "label_return_rate": (own.report.get("data") or {}).get("label_return_rate"),
        "history": {name: int(n) for name, n in sorted(known)}, "tenths": [],
    }  # fmt: skip
    columns = ["churn_probability", "churned", "expected_spend", "spend"]
    if judged is not None and set(columns) <= set(judged.columns):
        rows = judged.drop_nulls(columns)
        out["tenths"] = tenths(rows) if rows.height >= TEN else []
    if not metrics:
        out |= {"missing": "this bundle holds no report of its test", "how": "train again (`churn-clv train`)"}
    return out
