"""Frequency: how many purchase days, how regular, speeding up or slowing down."""

from __future__ import annotations

from itertools import pairwise

import polars as pl

from churn_clv.canonical import divide
from churn_clv.features._feature import Feature, count, derived, ratio, spread, statistic, within
from churn_clv.timeline import Definitions

# Logarithms are whole millionths: a float sum would depend on the order of rows (contract K1), and the last bit of
# a logarithm on the processor.
MILLION = 1_000_000


def needs(definitions: Definitions) -> str | None:
    """Nothing beyond purchases."""
    return None


def features(definitions: Definitions) -> list[Feature]:
    """Purchase days per window and block, trends, gaps and clumpiness."""
    return [*_counts(definitions), *_blocks(definitions), *_gaps(), *_habits(definitions)]


def _counts(definitions: Definitions) -> list[Feature]:
    out = [count("purchase_days", pl.len().cast(pl.Int64), "gaps", "Purchase days (occasions) before the cutoff.")]
    for w in definitions.windows_days:
        out.append(count(f"purchase_days_last_{w}d", within(w).sum().cast(pl.Int64), "gaps",
                         f"Purchase days in the last {w} days.", w))  # fmt: skip
    w = definitions.horizon_window_days
    out.append(count(f"purchase_events_last_{w}d", pl.col("purchases").filter(within(w)).sum(), "gaps",
                     f"Purchase events (lines, where the log has lines) on the purchase days of the last {w} days.",
                     w))  # fmt: skip
    out.append(derived("purchase_days_per_week", ratio(pl.col("purchase_days") * 7, "tenure_days"),
                       "Purchase days per week since the first event.",
                       "never null for a known customer"))  # fmt: skip
    return out


def _blocks(definitions: Definitions) -> list[Feature]:
    """Disjoint blocks of time and the change of rate between neighbours."""
    out = []
    for near, far in pairwise(definitions.windows_days):
        block = f"purchase_days_from_{near}d_to_{far}d"
        last = pl.col(f"purchase_days_last_{near}d")
        out.append(derived(block, pl.col(f"purchase_days_last_{far}d") - last,
                           f"Purchase days between {far} and {near} days before the cutoff.",
                           "null where the longer window starts before the log"))  # fmt: skip
        # last / near - block / (far - near), over all / far, as one division of exact integers.
        rate = ratio((last * (far - near) - pl.col(block) * near) * far,
                     pl.col(f"purchase_days_last_{far}d") * (near * (far - near)))  # fmt: skip
        out.append(derived(f"purchase_days_trend_{near}d_to_{far}d", rate,
                           f"Rate of purchase days in the last {near} days minus the rate in the block before, as a "
                           f"share of the {far}-day rate.",
                           "null where the longer window has none or starts before the log"))  # fmt: skip
    return out


def _gaps() -> list[Feature]:
    gap = pl.col("gap_days")
    # Entropy of the gaps' shares of the whole is log(total) - sum(gap * log(gap)) / total, and at most log(gaps):
    # Zhang, Bradlow and Small 2015, without the open intervals before the first purchase and after the last.
    entropy = _log(pl.col("_gap_total")) - pl.col("_gap_x_log_x") / pl.col("_gap_total")
    below_two = "null below two purchase days"
    return [
        count("_gaps", gap.count().cast(pl.Int64), "gaps"),
        count("_gap_total", gap.sum(), "gaps"),
        count("_gap_squares", (gap * gap).sum(), "gaps"),
        count("_gap_x_log_x", (gap * _log(gap)).sum(), "gaps"),
        count("_gap_by_rank", (gap * pl.col("nth")).sum(), "gaps"),
        count("_last_three_gaps", gap.tail(3).sum(), "gaps"),
        derived("gap_days_mean", ratio("_gap_total", "_gaps"), "Mean days between purchase days.", below_two),
        derived("gap_days_sd", spread("_gaps", "_gap_total", "_gap_squares"),
                "Standard deviation of the days between purchase days.", "null below three purchase days"),
        derived("gap_days_cv", ratio("gap_days_sd", "gap_days_mean"),
                "Coefficient of variation of the gaps: low is regular.", "null below three purchase days"),
        statistic("gap_days_min", gap.min(), "gaps", "Shortest gap between purchase days.", below_two),
        statistic("gap_days_max", gap.max(), "gaps", "Longest gap between purchase days.", below_two),
        statistic("gap_days_median", gap.median(), "gaps", "Median gap between purchase days.", below_two),
        statistic("gap_days_last", gap.last(), "gaps", "The latest gap between purchase days.", below_two),
        derived("gap_last_to_mean", ratio("gap_days_last", "gap_days_mean"),
                "The latest gap over the mean gap: above 1 is slowing down.", below_two),
        derived("gap_last_three_to_mean",
                ratio(ratio("_last_three_gaps", pl.min_horizontal("_gaps", 3)), "gap_days_mean"),
                "Mean of the last three gaps over the mean gap.", below_two),
        derived("gap_days_slope", _slope(), "Least-squares change of the gap per purchase: above 0 is slowing down.",
                "null below three purchase days"),
        derived("clumpiness", 1 - ratio(entropy, _log(pl.col("_gaps"))),
                "1 minus the entropy of the gaps' shares of their sum over its largest value, from logarithms in whole "
                "millionths: 0 is even, near 1 is bunched.", "null below three purchase days"),
    ]  # fmt: skip


def _log(whole: pl.Expr) -> pl.Expr:
    """The natural logarithm in whole millionths, null for 0."""
    return pl.when(whole > 0).then((whole.cast(pl.Float64).log() * MILLION).round().cast(pl.Int64, strict=False))


def _slope() -> pl.Expr:
    """Slope of the gaps on their ranks 1..n, from exact integer sums."""
    n, total = pl.col("_gaps"), pl.col("_gap_total")
    ranks = n * (n + 1) // 2
    rank_squares = n * (n + 1) * (2 * n + 1) // 6
    return ratio(n * pl.col("_gap_by_rank") - ranks * total, n * rank_squares - ranks * ranks)


def _habits(definitions: Definitions) -> list[Feature]:
    w = definitions.long_window_days
    weekend = pl.col("weekday") >= 6
    return [
        count("_weekend_days", weekend.sum().cast(pl.Int64), "gaps"),
        derived("weekend_share", ratio("_weekend_days", "purchase_days"),
                "Share of purchase days on Saturday or Sunday.", "null without purchases"),
        statistic("weekdays_distinct", pl.col("weekday").n_unique().cast(pl.Int64), "gaps",
                  "Number of different weekdays with a purchase."),
        count(f"active_weeks_last_{w}d", ((pl.col("age_days") - 1) // 7).filter(within(w)).n_unique().cast(pl.Int64),
              "gaps", f"Weeks (counted back from the cutoff) with a purchase in the last {w} days.", w),
        derived(f"active_weeks_share_last_{w}d", divide(pl.col(f"active_weeks_last_{w}d"), -(-w // 7)),
                f"Share of weeks (a begun one counts) with a purchase in the last {w} days.",
                "null where the window starts before the log"),
    ]  # fmt: skip
