"""Score everyone at a cutoff and write it down: one Parquet file per (cutoff, model version), whole or not at all."""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

import polars as pl

from churn_clv.bundle import Bundle
from churn_clv.errors import UserError
from churn_clv.events import Log

SCORES = "scores.parquet"
MANIFEST = "manifest.json"


def score(bundle: Bundle, log: Log, cutoff: dt.date | None = None) -> pl.DataFrame:
    """Every known customer at the cutoff (default: the end of the log), with the batch-only column.

    ``percentile_in_scoring`` is the rank of the risk within this scoring, 0 to 100, ties at their middle (definition
    D22). Raises UserError for a cutoff after the log's end, at which nobody's present would be known.
    """
    cutoff = cutoff or log.ends
    if cutoff > log.ends:
        raise UserError(f"cutoff {cutoff} lies after the log's end {log.ends}. Give a date up to then.")
    if cutoff <= min(log.starts.values()):
        raise UserError(f"cutoff {cutoff} lies before the first event ({min(log.starts.values())}): nobody is known.")
    _check_fits(bundle, log)
    scored = bundle.score_log(log.frame, cutoff)
    if scored.is_empty():
        raise UserError(f"nobody is known at {cutoff}: no event of the log lies before it. Give a later cutoff.")
    risk = pl.col("churn_probability")
    middle = (risk.rank("average") - 0.5) / risk.count() * 100
    return scored.with_columns(percentile_in_scoring=middle)


def _check_fits(bundle: Bundle, log: Log) -> None:
    """Refuse a log that is read by other rules, or begins later, than the one the bundle was trained on."""
    trained = bundle.definitions
    if log.rules != trained.rules:
        raise UserError(
            f"the log is read as {log.rules}, and the model was trained on {trained.rules}. Use one config."
        )
    late = {k: day for k, day in log.starts.items() if k in trained.starts and day > trained.starts[k]}
    if late:
        kind, day = min(late.items())
        raise UserError(
            f"the log's {kind} events begin {day}, those of training {trained.starts[kind]}: windows that reach "
            f"further back would count too little. Give the whole history, or train on this log."
        )


def write(scores: pl.DataFrame, bundle: Bundle, log: Log, folder: Path, *, csv: bool = False) -> Path:
    """Write the scores and a manifest to ``folder``/cutoff=.../model=.../; returns that folder.

    The folder is written aside and renamed, so a reader sees all of it or none; writing the same scores again
    replaces it.
    """
    cutoff = scores["cutoff"][0]
    target = folder / f"cutoff={cutoff}" / f"model={bundle.version[:16]}"
    target.parent.mkdir(parents=True, exist_ok=True)
    aside = Path(tempfile.mkdtemp(prefix=".scores-", dir=target.parent))
    try:
        scores.write_parquet(aside / SCORES)
        if csv:
            # people read it: 55.3, not 55.300000000000004
            scores.with_columns(pl.col("^percentile_.*$").round(3)).write_csv(aside / "scores.csv")
        manifest = summary(scores, bundle) | {
            "fingerprint": log.fingerprint,
            "sha256": hashlib.sha256((aside / SCORES).read_bytes()).hexdigest(),
        }
        (aside / MANIFEST).write_text(json.dumps(manifest, indent=1), encoding="utf-8")
        aside.chmod(0o755)
        if target.exists():  # a folder cannot be replaced in one step: the old one steps aside whole
            os.replace(target, aside.with_name(f"{aside.name}-old"))
        os.replace(aside, target)
    finally:
        shutil.rmtree(aside, ignore_errors=True)
        shutil.rmtree(aside.with_name(f"{aside.name}-old"), ignore_errors=True)
    return target


def summary(scores: pl.DataFrame, bundle: Bundle) -> dict[str, Any]:
    """Counts and totals of a scoring: rows, eligible, reasons, bands, expected money."""
    eligible = scores.filter("eligible")
    money = eligible["expected_spend"]
    return {
        "cutoff": scores["cutoff"][0].isoformat(),
        "model_version": bundle.version,
        "trained_through": bundle.trained_through.isoformat(),
        "horizon_days": bundle.horizon_days,
        "currency": bundle.currency,
        "rows": scores.height,
        "eligible": eligible.height,
        "reasons": _counts(scores.filter(~pl.col("eligible"))["reason"]),
        "bands": _counts(eligible["churn_band"]),
        "base_rate": bundle.base_rate,
        "mean_churn_probability": eligible["churn_probability"].mean() if eligible.height else None,
        "expected_spend_total": float(money.sum()) if money.count() else None,
        **_clv_totals(scores, bundle),
        "in_sample": bool(scores["in_sample"].any()),
    }


def _clv_totals(scores: pl.DataFrame, bundle: Bundle) -> dict[str, dict[str, float | None]]:
    """CLV of all by months, and where its total will lie in 9 of 10 cases; null where no such months have matured.

    The band comes from how predicted totals compared with actual ones at earlier cutoffs (definition D18).
    """
    outlook = bundle.reference.outlook
    out: dict[str, dict[str, float | None]] = {"clv_total": {}, "clv_total_low": {}, "clv_total_high": {}}
    for m in bundle.config.clv.months:
        total = _total(scores[f"clv_{m}m"])
        band = outlook.totals.get(m) if outlook is not None else None
        out["clv_total"][str(m)] = total
        out["clv_total_low"][str(m)] = total / band[1] if band and total is not None else None
        out["clv_total_high"][str(m)] = total / band[0] if band and total is not None else None
    return out


def _total(column: pl.Series) -> float | None:
    return float(column.sum()) if column.count() else None


def _counts(column: pl.Series) -> dict[str, int]:
    return {str(k): int(v) for k, v in sorted(column.value_counts().rows(), key=lambda kv: str(kv[0]))}
