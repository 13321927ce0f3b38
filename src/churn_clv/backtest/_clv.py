"""CLV judged: windows of one horizon each, predicted at cutoffs old enough that all have matured (definition D21)."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from churn_clv import config, labels, margins, metrics, retention, strata, timeline, training
from churn_clv.backtest._clv_bounds import judge_bounds
from churn_clv.beside import AT_ONCE, together
from churn_clv.events import Log
from churn_clv.metrics import Array
from churn_clv.models.retention import Retention
from churn_clv.recipe import Say
from churn_clv.timeline import Definitions

CHAMPION = "champion"
# What is judged at most: a year.
YEAR_DAYS = 365
FEWEST_WINDOWS = 2


@dataclass(frozen=True)
class ClvLook:
    """Money of every known customer in each window after a cutoff: actual, and by rung; (customers, windows)."""

    cutoff: dt.date
    actual: Array
    predicted: dict[str, Array]
    matured: int
    source: str  # what the first window rests on
    margin: MarginLook | None = None


@dataclass(frozen=True)
class MarginLook:
    """Margin of all windows together by customer: what came, expected by own rates and by the whole's; (customers,)."""

    actual: Array
    expected: Array
    one_rate: Array
    whole: float
    days: float


def judge_clv(log: Log, settings: config.Config, say: Say) -> dict[str, Any] | None:
    """The document's ``clv``; None without spend, or where no cutoff leaves two windows and a horizon of history."""
    targets, _ = training.answerable(log, settings)
    if "spend" not in targets:
        return None
    horizon, count = settings.timeline.horizon_days, windows_of(log, settings)
    backs = (-(-horizon // 2), 0) if count >= FEWEST_WINDOWS else ()
    cutoffs = [log.ends - dt.timedelta(days=count * horizon + back) for back in backs]
    least = max(horizon, settings.timeline.min_history_days or 0)
    cutoffs = [c for c in cutoffs if c >= log.starts["purchase"] + dt.timedelta(days=least)]
    if not cutoffs:
        return None
    say(f"CLV: {count} windows of {horizon} days from {' and '.join(c.isoformat() for c in cutoffs)} on")
    judged = training.horizon_models(log, settings, targets, cutoffs)
    looks = together(lambda c: _look(log, settings, targets, c, count, judged.get(c)), cutoffs, AT_ONCE)
    if not all(look.predicted[CHAMPION].sum() > 0 for look in looks):
        say("no CLV is judged: at a cutoff nobody is eligible")
        return None
    if empty := sum(int((look.actual.sum(axis=0) == 0).sum()) for look in looks):
        say(f"no CLV is judged: {empty} of {count * len(looks)} windows brought no money at all")
        return None
    return _document(looks, horizon) | {"bounds": judge_bounds(log, settings, targets)}


def windows_of(log: Log, settings: config.Config) -> int:
    """How many windows are judged: as configured, else up to a year and half of the log."""
    half = (log.ends - log.starts["purchase"]).days // 2
    return settings.clv.backtest_windows or min(YEAR_DAYS, half) // settings.timeline.horizon_days


def _look(
    log: Log, settings: config.Config, targets: dict[str, config.Target], cutoff: dt.date, count: int,
    judged: training.Judged | None,
) -> ClvLook:  # fmt: skip
    horizon, spend = settings.timeline.horizon_days, targets["spend"]
    past = timeline.until(log, cutoff)
    back = training.look_back(log, settings, spend, cutoff, training.model_of(judged), count)
    rows, learnt = back.rows, back.learnt
    assert back.btyd is not None
    champion = _champion(rows, back.first, learnt, count)
    predicted = {
        CHAMPION: champion,
        "btyd": back.btyd,
        "last_horizon_spend": np.repeat(_spent(past, rows, spend, cutoff, horizon)[:, None], count, axis=1),
        "product_formula": _product(past, rows, spend, back.definitions, cutoff, count),
        "no_lapse": np.repeat(champion[:, :1], count, axis=1),
    }
    pairs = rows.select("customer_id", "cutoff")
    actual = _matrix(_windows(log, pairs, spend, horizon), rows.height, count)
    own = _margin_look(log, past, back, actual, champion, horizon * count)
    return ClvLook(cutoff, actual, predicted, learnt.matured, back.source, own)


def _margin_look(
    log: Log, past: Log, back: training.Lookback, actual: Array, champion: Array, days: int
) -> MarginLook | None:
    """The margin of the coming days; None where the log told none by the cutoff, or what came left none."""
    learnt, pairs = back.learnt.margin, back.rows.select("customer_id", "cutoff")
    if learnt is None:
        return None
    margin, money = margins.came(log, back.definitions, pairs, days)
    if money.sum() <= 0 or margin.sum() <= 0:
        return None
    # Money whose margin is not told counts at the rate of what is: that is what came as far as anybody can tell.
    came = margin + margin.sum() / money.sum() * (actual.sum(axis=1) - money)
    expected, rate = champion.sum(axis=1), margins.rates(learnt, past, back.definitions, pairs)
    return MarginLook(came, rate * expected, learnt.whole * expected, learnt.whole, learnt.days)


def _champion(rows: pl.DataFrame, first: Array, learnt: Retention, count: int) -> Array:
    """Expected money by window: the horizon's times the stratum's curve; the mean of their kind for the ineligible."""
    start = np.nan_to_num(first, nan=0.0)  # where nothing was learnt there is no CLV when served either
    curves = {name: np.array([curve[min(k, len(curve) - 1)] for k in range(count)])
              for name, curve in learnt.money.items()}  # fmt: skip
    none = np.zeros(count)
    return np.asarray(start[:, None] * np.stack([curves.get(s, none) for s in rows["stratum"]]))


def _product(
    past: Log, rows: pl.DataFrame, spend: config.Target, definitions: Definitions, cutoff: dt.date, count: int
) -> Array:
    """Mean spend per horizon in the active window x the share of the last horizon's eligible who bought in it."""
    horizon, active = definitions.horizon_days, definitions.active_within_days
    there = min(active, (cutoff - past.starts["purchase"]).days)
    rate = _spent(past, rows, spend, cutoff, active) * horizon / there
    before = cutoff - dt.timedelta(days=horizon)
    kept = 1.0
    if before > past.starts["purchase"]:
        held = retention.known_at(past, definitions, [before]).filter("eligible")
        bought = _windows(past, held.select("customer_id", "cutoff"), spend, horizon)
        kept = bought.filter(pl.col("orders") > 0).height / held.height if held.height else 1.0
    return np.repeat((rate * kept)[:, None], count, axis=1)


def _spent(past: Log, rows: pl.DataFrame, spend: config.Target, cutoff: dt.date, days: int) -> Array:
    """Money of the last so many days before the cutoff; (customers,)."""
    pairs = rows.select("customer_id", cutoff=pl.lit(cutoff - dt.timedelta(days=days)))
    return _matrix(_windows(past, pairs, spend, days), rows.height, 1)[:, 0]


def _windows(log: Log, pairs: pl.DataFrame, spend: config.Target, days: int) -> pl.DataFrame:
    return labels.by_windows(log.frame, pairs, spend, days, minor_units=log.rules.minor_units, ends=log.ends)


def _matrix(found: pl.DataFrame, customers: int, count: int) -> Array:
    out = np.zeros((customers, count))
    inside = found.filter(pl.col("window") < count)
    out[inside[labels.ROW].to_numpy(), inside["window"].to_numpy()] = inside["money"].fill_null(0.0).to_numpy()
    return out


def _document(looks: Sequence[ClvLook], horizon: int) -> dict[str, Any]:
    by_cutoff = [_row(look) for look in looks]
    pooled = sum(look.actual.sum(axis=0) for look in looks), sum(look.predicted[CHAMPION].sum(axis=0) for look in looks)
    every = {name: np.concatenate([look.predicted[name].sum(axis=1) for look in looks]) for name in (CHAMPION, "btyd")}
    actual = np.concatenate([look.actual.sum(axis=1) for look in looks])
    count = looks[0].actual.shape[1]
    extrapolated = [float(look.predicted[CHAMPION][:, look.matured :].sum() / look.predicted[CHAMPION].sum())
                    for look in looks]  # fmt: skip
    return {
        "window_days": horizon,
        "windows_judged": count,
        "days": horizon * count,
        "cutoffs": [look.cutoff.isoformat() for look in looks],
        "total_ratio": float(np.mean([row["total_ratio"] for row in by_cutoff])),
        "worst": max((row["total_ratio"] for row in by_cutoff), key=lambda v: abs(v - 1)),
        "last_window_worst": max((row["last_window_ratio"] for row in by_cutoff), key=lambda v: abs(v - 1)),
        "gini": float(np.mean([row["gini"] for row in by_cutoff])),
        "horizon_gini": float(np.mean([row["horizon_gini"] for row in by_cutoff])),
        "extrapolated_share": float(np.mean(extrapolated)),
        "windows": _by_window(pooled[0][None, :], pooled[1][None, :]),
        "deciles": strata.tenths(every[CHAMPION], every | {"actual": actual}),
        "rungs": [{"rung": name} | _mean([_numbers(look, name) for look in looks]) for name in looks[0].predicted],
        "by_cutoff": by_cutoff,
        "margin": _margins(looks),
    }


def _margins(looks: Sequence[ClvLook]) -> dict[str, Any] | None:
    """Each customer's margin beside the whole's rate for all; None where a cutoff knew of none."""
    found = [(look.cutoff, look.margin) for look in looks if look.margin is not None]
    if len(found) < len(looks):
        return None
    return {
        "own_rates": _mean([_numbers_of(own.actual, own.expected) for _, own in found]),
        "one_rate": _mean([_numbers_of(own.actual, own.one_rate) for _, own in found]),
        "by_cutoff": [
            {"cutoff": cutoff.isoformat(), "rate": own.whole, "counts_as_purchase_days": own.days}
            for cutoff, own in found
        ],
    }


def _row(look: ClvLook) -> dict[str, Any]:
    own = look.predicted[CHAMPION]
    return {
        "cutoff": look.cutoff.isoformat(),
        "n": len(look.actual),
        "first_window_by": look.source,
        "windows_matured": look.matured,
        **_numbers(look, CHAMPION),
        "horizon_gini": _gini(look.actual[:, 0], own[:, 0]),
        "windows": _by_window(look.actual, own),
        "btyd": look.predicted["btyd"].sum(axis=0).tolist(),
    }


def _numbers(look: ClvLook, name: str) -> dict[str, float]:
    last = look.actual[:, -1].sum()
    return _numbers_of(look.actual.sum(axis=1), look.predicted[name].sum(axis=1)) | {
        "last_window_ratio": float(look.predicted[name][:, -1].sum() / last)
    }


def _numbers_of(actual: Array, said: Array) -> dict[str, float]:
    return {
        "predicted": float(said.sum()),
        "actual": float(actual.sum()),
        "total_ratio": float(said.sum() / actual.sum()),
        "gini": _gini(actual, said),
        "mae": float(np.abs(said - actual).mean()),
    }


def _mean(rows: Sequence[dict[str, float]]) -> dict[str, float]:
    worst = max((row["total_ratio"] for row in rows), key=lambda v: abs(v - 1))
    return {key: float(np.mean([row[key] for row in rows])) for key in rows[0]} | {"worst": worst}


def _by_window(actual: Array, predicted: Array) -> list[dict[str, float]]:
    pairs = zip(predicted.sum(axis=0), actual.sum(axis=0), strict=True)
    return [{"k": k + 1, "predicted": float(p), "actual": float(a), "total_ratio": float(p / a)}
            for k, (p, a) in enumerate(pairs)]  # fmt: skip


def _gini(actual: Array, predicted: Array) -> float:
    """Of money below nothing as of nothing."""
    return float(metrics.spend_metrics(np.maximum(actual, 0.0), predicted)["spend_gini"] or 0.0)
