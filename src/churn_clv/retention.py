"""How money holds from window to window, read from the log up to a cutoff (definition D21)."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence

import numpy as np
import polars as pl

from churn_clv import config, features, labels, margins, matrix, population, timeline
from churn_clv.events import Log
from churn_clv.metrics import Array
from churn_clv.models import btyd, monotone
from churn_clv.models.interval import ORDERS
from churn_clv.models.retention import Retention, strata_of
from churn_clv.timeline import Definitions

# Kinds of ineligible customers. Nobody's history is too short at a cutoff that is learnt from: they get a fallback.
KINDS = (population.LAPSED, population.PROSPECT)
STRATA = (*ORDERS, *KINDS)
# A curve reaches three years; beyond, its last value holds.
LONGEST_DAYS = 1096
MOST_CUTOFFS = 40
# Where nothing is matured, money falls by this power of BG/NBD's expected orders. That model lets customers leave for
# ever: taken whole (1) it gave .86 of the money of a year on CDNOW; nobody leaving is 0.
PRIOR_POWER = 0.5
# The prior counts as so many independent cutoffs; a stratum's own level as what so many active customers say of it.
PRIOR_CUTOFFS, POOL_ROWS = 2.0, 200.0
# The ineligible have the mean money of their kind at so many newest cutoffs: those of long ago were other people.
NEWEST = 4
# By stratum and window: log of its level, and the number of independent cutoffs behind it.
Levels = dict[tuple[str, int], tuple[float, int]]


def learn(log: Log, definitions: Definitions, spend: config.Target | None, earliest: dt.date) -> Retention:
    """The retention curves of all that the log holds; cut it (``timeline.until``) to learn as of an earlier date.

    The level of window k is its money over that of the first window, at all cutoffs (half a horizon apart from
    ``earliest`` on) where both are complete, drawn to a prior level by how few independent cutoffs there are. Levels
    are measured each on its own, not chained from step to step: an odd month then counts once, not in every step.
    Strata of the eligible are drawn to all of them, kinds of the ineligible to a flat curve. The same with active
    customers instead of money, by the same prior, is made to fall. Without ``spend`` there is no money.
    """
    days = definitions.horizon_days
    count = -(-LONGEST_DAYS // days)
    cutoffs = _cutoffs(earliest, log.ends, days)
    table = _table(log, definitions, spend, cutoffs)
    prior = _prior(log, definitions, count)
    levels = _levels(table.with_columns(money="active"), cutoffs, log.ends, days)
    active = {name: _falling(curve) for name, curve in _curves(prior, levels).items() if name in ORDERS}
    if spend is None:
        return Retention(days, _matured(levels), {}, {}, active)
    levels = _levels(table, cutoffs, log.ends, days)
    start = table.filter(pl.col("window") == 0, pl.col("cutoff").is_in(cutoffs[-NEWEST:])).sort("stratum", "cutoff")
    first = start.group_by("stratum", maintain_order=True).agg(pl.col("n", "money").sum())
    means, curves = _fallbacks({name: (n, money) for name, n, money in first.rows() if n}, _curves(prior, levels))
    margin = margins.learn(log, definitions, earliest)
    return Retention(days, _matured(levels), curves, means, active, margin)


def known_at(log: Log, definitions: Definitions, cutoffs: Sequence[dt.date]) -> pl.DataFrame:
    """Everyone known at each cutoff: customer_id, cutoff, eligible, reason, btyd's timing, stratum."""
    pairs = timeline.pairs_of(log.frame["customer_id"].unique(), cutoffs)
    rows = matrix.with_eligibility(log.frame, timeline.known_among(log.frame, pairs), definitions)
    past = timeline.Past(log.frame, rows.select("customer_id", "cutoff"))
    timing = features.build(past, definitions, btyd.TIMING).select(btyd.TIMING)
    rows = pl.concat([rows, timing], how="horizontal")
    found = strata_of(rows["reason"].to_list(), rows[btyd.TIMING[0]].fill_null(0).to_numpy())
    return rows.with_columns(stratum=pl.Series(found, dtype=pl.String))


def _cutoffs(earliest: dt.date, ends: dt.date, days: int) -> list[dt.date]:
    """From one horizon before ``ends`` back to ``earliest``, half a horizon apart or, of many, evenly; oldest first."""
    newest = ends - dt.timedelta(days=days)
    step = max(-(-days // 2), -(-(newest - earliest).days // MOST_CUTOFFS))
    reach = (newest - earliest).days // step
    return [newest - dt.timedelta(days=k * step) for k in reversed(range(reach + 1))] if newest >= earliest else []


def _table(log: Log, definitions: Definitions, spend: config.Target | None, cutoffs: Sequence[dt.date]) -> pl.DataFrame:
    """``cutoff``, ``stratum``, ``window``, ``n``, ``money``, ``active`` for every complete window."""
    days = definitions.horizon_days
    empty = {"cutoff": pl.Date, "stratum": pl.String, "window": pl.Int64, "n": pl.Int64, "money": pl.Float64,
             "active": pl.Float64}  # fmt: skip
    if not cutoffs:
        return pl.DataFrame(schema=empty)
    rows = known_at(log, definitions, cutoffs)
    pairs = rows.select("customer_id", "cutoff")
    found = labels.by_windows(log.frame, pairs, spend, days, minor_units=log.rules.minor_units, ends=log.ends)
    own = rows.select("cutoff", "stratum").with_row_index(labels.ROW)
    sums = (
        found.join(own, on=labels.ROW)
        .group_by("cutoff", "stratum", "window")
        .agg(pl.col("money").sort_by(labels.ROW).sum(), active=(pl.col("orders") > 0).sum().cast(pl.Float64))
    )
    sizes = own.group_by("cutoff", "stratum").agg(n=pl.len().cast(pl.Int64))
    # A window that is complete and in which nothing happened is a 0, not absent.
    grid = pl.concat(
        sizes.filter(cutoff=c).join(pl.DataFrame({"window": range((log.ends - c).days // days)}), how="cross")
        for c in cutoffs
    ).with_columns(pl.col("window").cast(pl.Int64))
    return (
        grid.join(sums, on=["cutoff", "stratum", "window"], how="left")
        .with_columns(pl.col("money", "active").fill_null(0.0))
        .select(list(empty))
        .sort("cutoff", "stratum", "window")
    )


def _levels(table: pl.DataFrame, cutoffs: Sequence[dt.date], ends: dt.date, days: int) -> Levels:
    """Log of the money of window k over the first's, and its number of independent cutoffs, by (stratum, k >= 1)."""
    out: Levels = {}
    longest = max(((ends - c).days // days for c in cutoffs), default=0)
    money, active = ({name: np.zeros((len(cutoffs), longest)) for name in STRATA} for _ in range(2))
    places = {cutoff: place for place, cutoff in enumerate(cutoffs)}
    for cutoff, name, window, paid, bought in table.select("cutoff", "stratum", "window", "money", "active").rows():
        if name in money:
            money[name][places[cutoff], window], active[name][places[cutoff], window] = paid, bought
    for k in range(1, longest):
        seen = [place for place, c in enumerate(cutoffs) if (ends - c).days >= (k + 1) * days]

        def sums(names: Sequence[str], seen: list[int] = seen, k: int = k) -> Array:
            """First window, window k, and the active of the first; numpy's order of adding: the same in every run."""
            parts = [(money[n][seen, 0].sum(), money[n][seen, k].sum(), active[n][seen, 0].sum()) for n in names]
            return np.asarray(np.sum(parts, axis=0), dtype=np.float64)

        pooled = _log_ratio(*sums(ORDERS))
        for name in STRATA:
            middle = pooled if name in ORDERS else 0.0
            first, later, buyers = sums([name])
            own = _log_ratio(first, later, buyers)
            if middle is None or own is None:
                continue
            # Cutoffs a horizon apart share a window: the one's first is the other's second.
            held = [cutoffs[place] for place in seen if money[name][place, 0] > 0]
            weight = buyers / (buyers + POOL_ROWS)
            out[name, k] = (weight * own + (1 - weight) * middle, timeline.independent(held, 2 * days))
    return out


def _matured(levels: Levels) -> int:
    """The first window that fewer than two independent cutoffs have seen."""
    return 1 + max((k for (_, k), (_, seen) in levels.items() if seen >= PRIOR_CUTOFFS), default=0)


def _curves(prior: dict[str, Array], levels: Levels) -> dict[str, tuple[float, ...]]:
    """By stratum the ratio of each window to the first, drawn to the prior one."""
    return {
        name: tuple(float(np.exp(_drawn(own[k], levels.get((name, k))))) for k in range(len(own)))
        for name, own in prior.items()
    }


def _falling(curve: Sequence[float]) -> tuple[float, ...]:
    """The falling curve from 1 that is nearest: a window that rises above an earlier one shares its level with it."""
    later = np.minimum(np.array(curve[1:]), 1.0)
    return (1.0, *(-monotone.rising(-later, np.ones_like(later))).tolist())


def _fallbacks(
    first: Mapping[str, tuple[int, float]], curves: Mapping[str, tuple[float, ...]]
) -> tuple[dict[str, float], dict[str, tuple[float, ...]]]:
    """Mean money of the first window of each kind of the ineligible, and all curves, also of those too young to learn.

    ``first``: number and money by stratum. A kind that nobody was of has the smallest mean that there is. Where the log
    is too short, customers have the mean of all eligible, and the strata's curves weighed by their money.
    """
    if not first:
        return {}, dict(curves)
    means = {name: money / n for name, (n, money) in first.items()}
    found, whole = {name: means.get(name, min(means.values())) for name in KINDS}, dict(curves)
    eligible = [name for name in ORDERS if name in first]
    money = [first[name][1] for name in eligible]
    if sum(money) > 0:
        found[population.SHORT] = sum(money) / sum(first[name][0] for name in eligible)
        each = np.average([curves[name] for name in eligible], axis=0, weights=money)
        whole[population.SHORT] = tuple(each.tolist())
    return found, whole


def _log_ratio(first: float, later: float, buyers: float) -> float | None:
    """Log of later over first money, each with half a buyer's money more, so that nothing at all is finite."""
    if first <= 0 or buyers <= 0:
        return None
    half = first / buyers / 2
    return float(np.log((later + half) / (first + half)))


def _drawn(prior: float, level: tuple[float, int] | None) -> float:
    found, cutoffs = level or (prior, 0)
    return (cutoffs * found + PRIOR_CUTOFFS * prior) / (cutoffs + PRIOR_CUTOFFS)


def _prior(log: Log, definitions: Definitions, count: int) -> dict[str, Array]:
    """The log of a prior level of each window by stratum: BG/NBD's expected orders, softened; 0 for the ineligible."""
    out: dict[str, Array] = {name: np.zeros(count) for name in STRATA}
    everyone = known_at(log, definitions, [log.ends])
    eligible = everyone.filter("eligible")
    fit = btyd.fitted(everyone.drop_nulls(btyd.TIMING), eligible, definitions.horizon_days) if eligible.height else None
    if fit is None:
        return out
    weeks, histories = definitions.horizon_days / 7, btyd.histories(eligible)
    whole = np.stack([btyd.expected_orders(fit, histories, weeks * k) for k in range(1, count + 1)])
    each = np.diff(whole, axis=0, prepend=0.0)
    good = np.isfinite(each).all(axis=0) & (each > 0).all(axis=0)  # where the closed form holds in floats
    for name in ORDERS:
        rows = good & (eligible["stratum"] == name).to_numpy()
        rows = rows if rows.any() else good
        if rows.any():
            total = each[:, rows].sum(axis=1)
            out[name] = PRIOR_POWER * np.log(total / total[0])
    return out
