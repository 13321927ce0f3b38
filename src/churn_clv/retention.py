"""How money and activity hold from window to window, read from the log up to a cutoff (definition D21)."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence

import numpy as np
import polars as pl

from churn_clv import config, features, labels, matrix, population, timeline
from churn_clv.events import Log
from churn_clv.metrics import Array
from churn_clv.models import btyd
from churn_clv.models.interval import ORDERS
from churn_clv.models.retention import Retention, strata_of
from churn_clv.timeline import Definitions

REASONS = (population.LAPSED, population.PROSPECT, population.SHORT)
STRATA = (*ORDERS, *REASONS)
WHAT = ("money", "active")
# A curve reaches three years; beyond, its last value holds.
LONGEST_DAYS = 1096
# Where nothing is matured, each step falls by this power of the step of BG/NBD's expected orders. That model lets
# customers leave for ever: taken whole (1) it gave .84 of the money of a year on CDNOW; nobody leaving is 0.
PRIOR_POWER = 0.5
# The prior counts as so many independent cutoffs, a stratum's own step as what this many active customers say of it.
PRIOR_CUTOFFS, POOL_ROWS = 2.0, 200.0


def learn(
    log: Log, definitions: Definitions, spend: config.Target | None, earliest: dt.date, when: dt.date
) -> Retention:
    """The retention curves of what ended by ``when``: each step a ratio of sums of neighbouring windows (chain ladder).

    Cutoffs half a horizon apart from ``earliest`` on. The step from window k to k + 1 is the money (or the active) of
    window k + 1 over that of window k at all cutoffs where both are complete, drawn to a prior step by how few
    independent cutoffs there are; beyond them the prior alone goes on. Customers who are not eligible have
    curves of their own, drawn to flat ones.
    """
    days = definitions.horizon_days
    count = -(-LONGEST_DAYS // days)
    cutoffs = _cutoffs(earliest, when, days)
    known_by = None if when == log.ends else when
    table = _table(log, definitions, spend, cutoffs, when, known_by)
    prior = _prior(log, definitions, when, count)
    steps, matured = _steps(table, cutoffs, when, days)
    curves: dict[str, dict[str, tuple[float, ...]]] = {what: {} for what in WHAT}
    for name in STRATA:
        for what in WHAT:
            curve = [1.0]
            for k in range(1, count):
                guess = float(np.log(prior[name][k]))
                found, cutoffs_of = steps.get((what, name, k), (guess, 0))
                step = (cutoffs_of * found + PRIOR_CUTOFFS * guess) / (cutoffs_of + PRIOR_CUTOFFS)
                curve.append(curve[-1] * float(np.exp(step)))
            curves[what][name] = tuple(curve)
    start = table.filter(pl.col("window") == 0).sort("stratum", "cutoff")
    first = start.group_by("stratum", maintain_order=True).agg(pl.col("n", "money", "active").sum())
    means = {s: (m / n, a / n) for s, n, m, a in first.select("stratum", "n", "money", "active").rows() if n}
    seen = {r: means[r] for r in REASONS if r in means}  # of a kind that no cutoff held nothing is said
    return Retention(
        days, matured, curves["money"], curves["active"],
        spend={r: money for r, (money, _) in seen.items()}, active={r: active for r, (_, active) in seen.items()},
    )  # fmt: skip


def known_at(log: Log, definitions: Definitions, cutoffs: Sequence[dt.date]) -> pl.DataFrame:
    """Everyone known at each cutoff: customer_id, cutoff, eligible, reason, btyd's timing, stratum."""
    pairs = timeline.pairs_of(log.frame["customer_id"].unique(), cutoffs)
    rows = matrix.with_eligibility(log.frame, timeline.known_among(log.frame, pairs), definitions)
    past = timeline.Past(log.frame, rows.select("customer_id", "cutoff"))
    timing = features.build(past, definitions, btyd.TIMING).select(btyd.TIMING)
    rows = pl.concat([rows, timing], how="horizontal")
    found = strata_of(rows["reason"].to_list(), rows[btyd.TIMING[0]].fill_null(0).to_numpy())
    return rows.with_columns(stratum=pl.Series(found, dtype=pl.String))


def _cutoffs(earliest: dt.date, when: dt.date, days: int) -> list[dt.date]:
    """From one horizon before ``when`` back to ``earliest``, half a horizon apart, oldest first."""
    step, out = -(-days // 2), []
    cutoff = when - dt.timedelta(days=days)
    while cutoff >= earliest:
        out.append(cutoff)
        cutoff -= dt.timedelta(days=step)
    return out[::-1]


def _table(
    log: Log, definitions: Definitions, spend: config.Target | None, cutoffs: Sequence[dt.date], when: dt.date,
    known_by: dt.date | None,
) -> pl.DataFrame:  # fmt: skip
    """``cutoff``, ``stratum``, ``window``, ``n``, ``money``, ``active`` for every window complete by ``when``."""
    days = definitions.horizon_days
    empty = {"cutoff": pl.Date, "stratum": pl.String, "window": pl.Int64, "n": pl.Int64, "money": pl.Float64,
             "active": pl.Float64}  # fmt: skip
    if not cutoffs:
        return pl.DataFrame(schema=empty)
    rows = known_at(log, definitions, cutoffs)
    pairs = rows.select("customer_id", "cutoff")
    found = labels.by_windows(
        log.frame, pairs, spend, days, minor_units=definitions.rules.minor_units, ends=when, known_by=known_by
    )
    own = rows.select("cutoff", "stratum").with_row_index(labels.ROW)
    sums = (
        found.join(own, on=labels.ROW)
        .group_by("cutoff", "stratum", "window")
        .agg(pl.col("money").sort_by(labels.ROW).sum(), active=(pl.col("orders") > 0).sum().cast(pl.Float64))
    )
    sizes = own.group_by("cutoff", "stratum").agg(n=pl.len().cast(pl.Int64))
    # A window that is complete and in which nothing happened is a 0, not absent.
    grid = pl.concat(
        sizes.filter(cutoff=c).join(pl.DataFrame({"window": range((when - c).days // days)}), how="cross")
        for c in cutoffs
    ).with_columns(pl.col("window").cast(pl.Int64))
    return (
        grid.join(sums, on=["cutoff", "stratum", "window"], how="left")
        .with_columns(pl.col("money", "active").fill_null(0.0))
        .select(list(empty))
        .sort("cutoff", "stratum", "window")
    )


def _steps(
    table: pl.DataFrame, cutoffs: Sequence[dt.date], when: dt.date, days: int
) -> tuple[dict[tuple[str, str, int], tuple[float, int]], int]:
    """Log step to window k and its number of independent cutoffs, by (money or active, stratum, k); windows matured."""
    out: dict[tuple[str, str, int], tuple[float, int]] = {}
    longest = max(((when - c).days // days for c in cutoffs), default=0)
    sums = {(what, name): np.zeros((len(cutoffs), longest)) for what in WHAT for name in STRATA}
    places = {cutoff: place for place, cutoff in enumerate(cutoffs)}
    for cutoff, name, window, *found in table.select("cutoff", "stratum", "window", *WHAT).rows():
        for what, value in zip(WHAT, found, strict=True):
            sums[what, name][places[cutoff], window] = value
    for k in range(1, longest):
        seen = [place for place, c in enumerate(cutoffs) if (when - c).days >= (k + 1) * days]
        independent = timeline.independent([cutoffs[place] for place in seen], days)
        for what in WHAT:
            # numpy's own order of adding, not a hash's: the same curve in every run, to the bit
            pairs = {name: sums[what, name][seen, k - 1 : k + 1].sum(axis=0) for name in STRATA}
            pooled = _log_ratio(np.sum([pairs[name] for name in ORDERS], axis=0))
            for name in STRATA:
                middle = pooled if name in ORDERS else 0.0
                if middle is None:
                    continue
                own = _log_ratio(pairs[name])
                active = float(sums["active", name][seen, k - 1].sum())
                weight = 0.0 if own is None else active / (active + POOL_ROWS)
                out[what, name, k] = (weight * (own or 0.0) + (1 - weight) * middle, independent)
    return out, max(longest, 1)


def _log_ratio(pair: Array) -> float | None:
    before, after = pair
    return float(np.log(after / before)) if before > 0 and after > 0 else None


def _prior(log: Log, definitions: Definitions, when: dt.date, count: int) -> dict[str, Array]:
    """A prior step to each window by stratum: BG/NBD's expected orders, softened; flat for those not eligible."""
    out: dict[str, Array] = {name: np.ones(count) for name in STRATA}
    everyone = known_at(log, definitions, [when])
    eligible = everyone.filter("eligible")
    fit = btyd.fitted(everyone.drop_nulls(btyd.TIMING), eligible, definitions.horizon_days) if eligible.height else None
    if fit is None:
        return out
    weeks = definitions.horizon_days / 7
    for name in ORDERS:
        rows = eligible.filter(stratum=name)
        rows = rows if rows.height else eligible
        histories = btyd.histories(rows)
        sums = [0.0, *(float(btyd.expected_orders(fit, histories, weeks * k).sum()) for k in range(1, count + 1))]
        each = np.diff(sums)
        if not (np.isfinite(each).all() and (each > 0).all()):
            continue
        out[name] = np.concatenate([[1.0], (each[1:] / each[:-1]) ** PRIOR_POWER])
    return out
