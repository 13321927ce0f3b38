"""A backtest's document with made-up numbers that no two places share, so that a test can tell where each went."""

from __future__ import annotations

import datetime as dt
from typing import Any

from churn_clv.metrics import METRIC_KEYS

CUTOFFS = [dt.date(2017, 8, 7) + dt.timedelta(days=14 * k) for k in range(6)]
PLAIN = dict.fromkeys((*METRIC_KEYS, "churn_empc", "spend_rmse_winsorised"))
BASE = {
    "churn_auroc": 0.8612, "churn_average_precision": 0.5523, "churn_log_loss": 0.2834, "churn_brier": 0.0876,
    "churn_ece": 0.0152, "churn_ece_floor": 0.0131, "churn_calibration_slope": 0.983,
    "churn_lift_top_decile": 3.91, "churn_rate": 0.1354,
    "spend_mae": 75.13, "spend_rmse": 131.7, "spend_wape": 0.4419, "spend_total_ratio": 1.013,
    "spend_tweedie_deviance": 8.64, "spend_spearman": 0.8021, "spend_gini": 0.8317, "spend_decile_mape": 0.0811,
    "spend_top_decile_share": 0.3312, "churn_empc": 4.217, "spend_rmse_winsorised": 118.4,
}  # fmt: skip
CHURN = [key for key in BASE if key.startswith("churn_")]
PROBABILITY = {"churn_log_loss", "churn_brier", "churn_ece", "churn_ece_floor", "churn_calibration_slope"}
# how much worse each rung is, and which heads it has
RUNGS = {
    "champion": (0.0, True, True, True), "recency_rule": (0.11, True, False, False),
    "last_horizon_spend": (0.08, False, False, True), "lifetime_rate": (0.05, True, True, True),
    "rfm_cells": (0.06, True, True, True), "logistic": (0.006, True, True, False), "btyd": (0.03, True, True, True),
    "single_snapshot": (0.013, True, True, True),
}  # fmt: skip
WORSE_BY = {"churn_auroc": -1.0, "churn_lift_top_decile": -9.0, "spend_gini": -0.7, "churn_log_loss": 0.8,
            "spend_mae": 150.0, "spend_tweedie_deviance": 40.0, "churn_ece": 0.4}  # fmt: skip


def values(name: str, place: int = 0) -> dict[str, Any]:
    """A rung's metrics at one cutoff; None where it has no such head."""
    worse, ranks, probability, money = RUNGS[name]
    shift = worse + 0.004 * ((place * 7) % 5 - 2)
    found: dict[str, Any] = PLAIN | {k: v + shift * WORSE_BY.get(k, 0.1) for k, v in BASE.items()}
    for key in BASE:
        absent = not ranks if key in CHURN else not money
        if absent or (key in PROBABILITY and not probability):
            found[key] = None
    return found | {"n": 2200 + 11 * place}


def at_cutoffs(name: str) -> list[dict[str, Any]]:
    rows = []
    for place, cutoff in enumerate(CUTOFFS):
        row = values(name, place)
        if row["spend_total_ratio"] is not None:
            row["spend_total_ratio"] = 0.93 + 0.031 * place
        row |= {"spend_total_low": 0.9 if name == "champion" else None, "spend_total_high": None}
        if name == "champion":
            row["spend_total_high"] = 1.06
        rows.append({"cutoff": cutoff, **row})
    return rows


def means(name: str) -> dict[str, Any]:
    rows = [values(name, place) for place in range(len(CUTOFFS))]
    return {k: None if rows[0][k] is None else sum(row[k] for row in rows) / len(rows) for k in rows[0]}


def strata() -> list[dict[str, Any]]:
    kinds = [("orders", "1", 61), ("orders", "2-3", 243), ("orders", "4+", 12901), ("rhythm", "on time", 9120),
             ("rhythm", "overdue", 4085), ("attribute:demographics.age", "25-34", 1403),
             ("attribute:demographics.age", "65+", 905)]  # fmt: skip
    return [
        {"by": by, "stratum": stratum, "n": n, "churn_rate": 0.41 - 0.051 * k, "churn_skill": 0.281 - 0.043 * k,
         "spend_skill": 0.512 - 0.037 * k if k != 1 else -0.018, "churn_auroc": 0.701 + 0.017 * k,
         "mean_churn_probability": 0.403 - 0.0507 * k}
        for k, (by, stratum, n) in enumerate(kinds)
    ]  # fmt: skip


def comparison(rung: str, difference: float, verdict: str, half: float = 0.0043) -> dict[str, Any]:
    low, high = difference - half, difference + half
    rungs = {"btyd": "ahead", rung: verdict}
    return {"rung": rung, "difference": difference, "low": low, "high": high, "verdict": verdict, "rungs": rungs}


def document(**over: Any) -> dict[str, Any]:
    """The whole document; ``over`` replaces keys."""
    gains = [0.37, 0.58, 0.71, 0.8, 0.87, 0.92, 0.955, 0.98, 0.994, 1.0]
    return {
        "dataset": "grocer", "horizon_days": 28, "active_within_days": 56, "currency": "USD", "final": False,
        "development_until": "2017-11-13", "recipe_hash": "0123456789abcdef", "ends": dt.date(2018, 1, 1),
        "cutoffs": CUTOFFS, "independent_cutoffs": 3, "label_return_rate": 0.8473, "label_return_within_days": 84,
        "policies": [{"policy": "missing_customer", "source": "tills", "rows": 13579, "action": "dropped"}],
        "ladder": [
            {
                "rung": name, "note": "BG/NBD diverged; MBG/NBD instead" if name == "btyd" else None,
                "mean": means(name), "by_cutoff": at_cutoffs(name),
                "worst": values(name, 4) | {"spend_total_ratio": 1.085 if RUNGS[name][3] else None},
            }
            for name in RUNGS
        ],
        "season": "unseen", "season_note": "labels cover 0.6 years before the newest test cutoff; a season needs two",
        "strata": strata(),
        "champion_minus_best": {
            "churn_log_loss": comparison("logistic", -0.0048, "ahead"),
            "churn_auroc": comparison("logistic", 0.0031, "level"),
            "spend_tweedie_deviance": comparison("single_snapshot", 0.52, "behind", 0.31),
            "spend_gini": comparison("single_snapshot", 0.0091, "ahead"),
        },
        "reliability": [
            {"n": 1320, "mean_probability": p, "churn_rate": p * 0.97 + 0.004, "low": p * 0.93 - 0.004 * p,
             "high": p * 1.05 + 0.013}
            for p in (0.0121, 0.0202, 0.0313, 0.0454, 0.0655, 0.0926, 0.1317, 0.1938, 0.3149, 0.5421)
        ],
        "deciles": [
            {"decile": k, "n": 1321, "expected_spend": 2.81 * 1.72**k, "spend": 2.63 * 1.735**k,
             "churn_probability": 0.5 / k, "churn_rate": 0.49 / k}
            for k in range(1, 11)
        ],
        "lift": [
            {"share": (k + 1) / 10, "champion": gain, "recency_rule": gain**1.35, "logistic": gain**1.03,
             "lifetime_rate": gain**1.2, "rfm_cells": gain**1.22, "btyd": gain**1.15, "single_snapshot": gain**1.05}
            for k, gain in enumerate(gains)
        ],
        "choices": [
            {"cutoff": cutoff, "churn_trees": 87 + k, "spend_trees": 143 + k, "fresh": bool(k % 2),
             "linear_c": 0.01, "linear_weight": 0.15 * k, "renewal_weight": 0.1 * k, "two_part_weight": 0.5,
             "priced_weight": 0.25, "intercept": 0.017 * k, "slope": 0.981 + 0.007 * k, "validation_origins": 3}
            for k, cutoff in enumerate(CUTOFFS)
        ],
        "intervals": [
            {"cutoff": cutoff, "miss_above": 0.093 + 0.004 * k, "miss_below": 0.061 + 0.003 * k,
             "worst_decile": 0.143 - 0.002 * k}
            for k, cutoff in enumerate(CUTOFFS)
        ],
        "orders": [
            {"cutoff": cutoff, "n": 1000, "mean": 1.9, "total_ratio": 1.02 - 0.01 * k, "deviance": 1.2 + 0.1 * k,
             "last_horizon_ratio": 1.4, "last_horizon_deviance": 1.7456}
            for k, cutoff in enumerate(CUTOFFS)
        ],
        "clv": clv(),
        "targets": {t["target"]: t for t in targets()},
        "targets_refused": {"complaint": "it counts events of type complaint, and the log has only purchase"},
        "value": {"value": 38.5, "offer": 3.85, "contact": 0.39},
        "looks": [{"at": "2018-02-03", "cutoffs": [str(CUTOFFS[-1])], "recipe_hash": "feedfacefeedface"}],
        "seconds": 345.6,
    } | over  # fmt: skip


def without_spend() -> dict[str, Any]:
    """The same where the log holds no money."""
    plain = document()
    for step in plain["ladder"]:
        for row in (step["mean"], step["worst"], *step["by_cutoff"]):
            row |= {key: None for key in row if key.startswith("spend_")}
    compared = {k: v for k, v in plain["champion_minus_best"].items() if k.startswith("churn")}
    return plain | {
        "champion_minus_best": compared,
        "deciles": [],
        "intervals": [
            row | {"miss_above": None, "miss_below": None, "worst_decile": None} for row in plain["intervals"]
        ],
        "strata": [row | {"spend_skill": None} for row in plain["strata"]],
        "choices": [row | {"spend_trees": None} for row in plain["choices"]],
        "value": None,
        "clv": None,
        "targets": {},
        "targets_refused": {},
    }


def targets() -> list[dict[str, Any]]:
    """An event and a count, each at two cutoffs."""
    event = {"auroc": 0.7931, "log_loss": 0.4127, "ece": 0.0143, "ece_floor": 0.0129, "lift_top_decile": 3.17}
    amount = {"gini": 0.6347, "mae": 1.273, "tweedie_deviance": 2.191, "total_ratio": 1.0372}
    out = []
    for name, measure, base, verdict in (
        ("second_order", "present", event, comparison("logistic", -0.0117, "ahead")),
        ("tea_days", "count", amount, comparison("last_horizon", -0.219, "level", 0.31)),
    ):
        rungs = {r: {k: v * f for k, v in base.items()} for r, f in (("champion", 1.0), ("base_rate", 1.31))}
        key = "log_loss" if measure == "present" else "tweedie_deviance"
        rows = [{"rung": r, "mean": m, "worst": m, "by_cutoff": []} for r, m in rungs.items()]
        out.append({
            "target": name, "measure": measure, "population": "one_order", "horizon_days": 42, "n": 2718,
            "has": ["mail"], "has_not": ["unsubscribe"] if measure == "count" else [],
            "base": 0.2031, "cutoffs": CUTOFFS[-2:], "independent_cutoffs": 1, "ladder": rows,
            "minus_best": {key: verdict},
        })  # fmt: skip
    return out


def clv() -> dict[str, Any]:
    """A CLV judged at two cutoffs over four windows."""

    def row(cutoff: str, ratio: float) -> dict[str, Any]:
        windows = [
            {"k": k, "predicted": 9e4 * ratio - 2e3 * k, "actual": 9e4 - 2e3 * k,
             "total_ratio": (9e4 * ratio - 2e3 * k) / (9e4 - 2e3 * k)} for k in (1, 2, 3, 4)
        ]  # fmt: skip
        return {
            "cutoff": cutoff, "n": 2345, "first_window_by": "horizon model", "windows_matured": 2,
            "predicted": 360e3 * ratio, "actual": 340e3, "total_ratio": ratio, "last_window_ratio": ratio, "gini": 0.81,
            "mae": 31.4, "horizon_gini": 0.8, "windows": windows, "btyd": [8e4, 7e4, 6e4, 5e4],
        }  # fmt: skip

    rungs = [
        {"rung": name, "predicted": 340e3 * total, "actual": 340e3, "total_ratio": total,
         "last_window_ratio": total - 0.05, "gini": gini, "mae": 33.3, "worst": total + 0.02}
        for name, total, gini in (("champion", 1.012, 0.81), ("btyd", 0.871, 0.79), ("no_lapse", 1.231, 0.8))
    ]  # fmt: skip
    return {
        "window_days": 28, "windows_judged": 4, "days": 112,
        "cutoffs": ["2017-08-28", "2017-09-11"],
        "total_ratio": 1.012, "worst": 1.032, "last_window_worst": 0.957, "gini": 0.81, "horizon_gini": 0.8,
        "extrapolated_share": 0.482, "windows": row("", 1.012)["windows"], "rungs": rungs,
        "deciles": [{"decile": i, "n": 469.0, "champion": 31.5 * i, "btyd": 29.5 * i, "actual": 30.25 * i}
                    for i in range(1, 11)],
        "by_cutoff": [row("2017-08-28", 0.992), row("2017-09-11", 1.032)],
        "bounds": {
            "months": 3, "cutoff": "2017-10-01", "learnt_at": ["2017-04-02", "2017-07-02"],
            "first_window_by": "horizon model", "n": 2345, "miss_above": 0.087, "miss_below": 0.06,
            "miss_above_level_aside": 0.094,
            "lower_above_zero": 0.7, "total_ratio": 1.05, "total_band": [0.81, 1.23], "total_inside": True,
        },
    }  # fmt: skip


def forecast() -> dict[str, Any]:
    """A sales forecast's document, as the backtest's ``--forecast`` adds it."""
    starts = [CUTOFFS[0] + dt.timedelta(days=28 * k) for k in range(7)]
    origins = [
        {"cutoff": start.isoformat(), "total_predicted": 1001.0 + 11 * k, "total_actual": 953.0 + 17 * k,
         "total_low": 871.0 + k if k > 1 else None, "total_high": 1117.0 + k if k > 1 else None,
         "last_horizon": 907.0 + 13 * k}
        for k, start in enumerate(starts[:6])
    ]  # fmt: skip
    return {
        "dataset": "toy", "cutoff": starts[6].isoformat(), "horizon_days": 28, "currency": "USD",
        "known": {"expected": 123_457.0, "low": 111_119.0, "high": 134_561.0},
        "new": {"expected": 7_919.0, "low": 6_007.0, "high": 9_973.0, "method": "last"},
        "total": {"expected": 131_376.0, "low": 117_223.0, "high": 145_513.0}, "last_horizon": 128_461.0,
        "season": "unseen", "season_note": "labels cover 0.8 years; a season needs two", "origins": origins,
        "origins_note": "6 origins, 6 of them independent", "mape": 0.0417, "naive_mape": 0.0523, "inside_band": 3,
        "banded_origins": 4, "settled": starts[1].isoformat(),
        "history": [{"start": s.isoformat(), "known": 99_991.0 + 7 * k, "new": 5_003.0 + k}
                    for k, s in enumerate(starts[:6])],
    }  # fmt: skip
