"""The list's own record: whom it would have named at past cutoffs, and how many of them lapsed (definition D32).

Only cutoffs count whose scores had seen nothing that came after: the out-of-time predictions that the champion was
judged on, and stored scorings that are not in sample.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from churn_clv import config, features, labels, metrics, timeline
from churn_clv.events import Log
from churn_clv.timeline import Definitions
from churn_clv.watch._lead import lead
from churn_clv.watch._list import BEFORE, NEW, at_risk, going_on, listed, measure_of

Floats = NDArray[np.float64]
WATCH, RISK, RECENCY, RANDOM = "watch", "risk", "recency", "random"
CONFIRM_HORIZONS = 2
CONFIDENCE = 0.95
NO_CUTOFF = (
    "not measured: there is no cutoff whose scores had seen nothing that came after and whose window has closed. A "
    "training keeps one (its test cutoff, in the tracking store); so does every `churn-clv score` once its horizon has "
    "passed."
)


@dataclass(frozen=True)
class Earlier:
    """Out-of-sample scores at one past cutoff: ``customer_id``, ``churn_probability``, ``expected_spend``, eligible."""

    cutoff: dt.date
    source: str
    scores: pl.DataFrame


def measured(
    earlier: Sequence[Earlier], log: Log, definitions: Definitions, settings: config.Config, capacity: int
) -> dict[str, Any]:
    """The record: by cutoff and over all of them. Cutoffs whose window is still open are left out.

    ``lists``: watch, risk (the likeliest to lapse), recency (the longest silent), random; each with ``listed``,
    ``lapsed``, ``precision`` and ``value_caught`` (its share of what those who lapsed used to bring), with 95%
    intervals over customers; ``ahead_of_recency`` and ``ahead_of_random``: the watch list's differences.
    """
    horizon = definitions.horizon_days
    over = [e for e in earlier if e.cutoff + dt.timedelta(days=horizon) <= log.ends and e.scores.height]
    every = [(e, outcomes(e, log, definitions, settings)) for e in sorted(over, key=lambda e: e.cutoff)]
    closed, past = [e for e, rows in every if rows.height], [rows for _, rows in every if rows.height]
    if not closed:
        nothing = dict.fromkeys(
            ("lists", "ahead_of_recency", "ahead_of_random", "on_time", "alerts_a_customer_year", "lead")
        )
        return {"why": NO_CUTOFF, "capacity": capacity, "cutoffs": [], "independent_cutoffs": 0, "draws": 0} | nothing
    draws = settings.promotion.bootstrap_draws
    found = compare(past, capacity, draws, settings.seed)
    return {
        "why": None,
        "capacity": capacity,
        "cutoffs": [_told(e, rows, capacity) for e, rows in zip(closed, past, strict=True)],
        "independent_cutoffs": timeline.independent([e.cutoff for e in closed], horizon),
        "draws": draws,
        **found,
        "on_time": on_time(pl.concat(past)),
        "alerts_a_customer_year": alerts(past, capacity, settings.watch.stay),
        "lead": lead(past, capacity),
    }


def outcomes(earlier: Earlier, log: Log, definitions: Definitions, settings: config.Config) -> pl.DataFrame:
    """What came of each: ``lapsed`` 0/1, ``lost`` (nor in two more horizons; null where they are not over),
    ``brought`` (margin per horizon over the last ``active_within_days``), ``silent`` and ``overdue``.

    Whom the log no longer has did not lapse: they are left out.
    """
    margin, churned = settings.value.margin_share, settings.targets["churned"]
    scores = at_risk(earlier.scores.with_columns(eligible=pl.lit(True)), margin)
    rows = scores.with_columns(by=pl.col(measure_of(scores))).sort("customer_id")
    pairs = rows.select("customer_id", cutoff=pl.lit(earlier.cutoff, pl.Date))
    lapsed = after(log, pairs, churned, definitions.horizon_days)
    lost = after(log, pairs, churned, (1 + CONFIRM_HORIZONS) * definitions.horizon_days)
    past = timeline.Past(log.frame, pairs)
    known = features.build(past, definitions, ("days_since_last_purchase", "overdue_ratio"))
    return rows.select(
        "customer_id", "by", risk="churn_probability", lapsed=lapsed, lost=lost,
        silent=known["days_since_last_purchase"], overdue=known["overdue_ratio"],
        brought=pl.Series(margin * brought(past, definitions)), cutoff=pl.lit(earlier.cutoff, pl.Date),
    ).filter(pl.col("silent").is_not_null())  # fmt: skip


def after(log: Log, pairs: pl.DataFrame, churned: config.Target, days: int) -> pl.Series:
    """1 where the customer churned within so many days of the pair's cutoff, null where they are not over."""
    found = labels.build(log.frame, pairs, {"churned": churned}, days, minor_units=log.rules.minor_units, ends=log.ends)
    return found[labels.column("churned", days)]


def brought(past: timeline.Past, definitions: Definitions) -> Floats:
    """Net money per horizon (major units, at least 0) of the last ``active_within_days`` before each pair's cutoff."""
    away = definitions.active_within_days
    near = features.grain(past, "days").filter(pl.col("age_days") <= away)
    sums = past.collect(near.group_by("row").agg(net=pl.col("net").sum()))
    rows = past.pairs.join(sums, on="row", how="left", maintain_order="left")
    net = rows["net"].fill_null(0).cast(pl.Float64).clip(lower_bound=0.0).to_numpy()
    return np.asarray(net / 10**definitions.rules.minor_units * definitions.horizon_days / away)


def compare(past: Sequence[pl.DataFrame], capacity: int, draws: int, seed: int) -> dict[str, Any]:
    """Each list's totals over all cutoffs with intervals; customers are drawn with all their cutoffs."""
    ids = pl.concat([rows.select("customer_id") for rows in past])["customer_id"].unique().sort()
    places = [rows["customer_id"].replace_strict(ids, np.arange(len(ids)), return_dtype=pl.Int64).to_numpy()
              for rows in past]  # fmt: skip
    draw = np.random.default_rng(seed)
    whole = _lists(past, [np.ones((1, len(p))) for p in places], capacity)
    parts = []
    for size in _portions(draws, len(ids)):
        counts = draw.multinomial(len(ids), np.full(len(ids), 1 / len(ids)), size).astype(np.float64)
        parts.append(_lists(past, [counts[:, p] for p in places], capacity))
    drawn = {k: np.concatenate([p[k] for p in parts], axis=1) for k in whole}
    return {
        "lists": {k: _list(whole[k][:, 0], drawn[k]) for k in whole},
        "ahead_of_recency": _ahead(whole, drawn, RECENCY),
        "ahead_of_random": _ahead(whole, drawn, RANDOM),
    }


# Customers x draws that are held at once.
_HELD = 4_000_000
LISTED, LAPSED, CAUGHT, VALUE = range(4)


def _portions(draws: int, customers: int) -> list[int]:
    each = max(1, _HELD // max(customers, 1))
    return [min(each, draws - k) for k in range(0, draws, each)]


def _lists(past: Sequence[pl.DataFrame], weights: Sequence[Floats], capacity: int) -> dict[str, Floats]:
    """By list: listed, lapsed, margin of the lapsed on it, margin of all lapsed; (4, draws), summed over cutoffs."""
    out: dict[str, Floats] = {}
    for rows, weight in zip(past, weights, strict=True):
        lapsed, money = rows["lapsed"].to_numpy(), (rows["lapsed"] * rows["brought"]).to_numpy()
        for name, by in ((WATCH, "by"), (RISK, "risk"), (RECENCY, "silent"), (RANDOM, None)):
            score = np.zeros(rows.height) if by is None else -rows[by].to_numpy().astype(np.float64)
            taken = take(metrics.Order(score), weight, capacity)
            own = np.stack([taken.sum(axis=1), taken @ lapsed, taken @ money, weight @ money])
            out[name] = out.get(name, 0.0) + own
    return out


def take(order: metrics.Order, weights: Floats, capacity: int) -> Floats:
    """How much of each row (draws, n) is among the first ``capacity``; of equals each gets the same share."""
    sums = order.sums(weights)
    before = np.cumsum(sums, axis=-1) - sums
    with np.errstate(invalid="ignore", divide="ignore"):
        share = np.where(sums > 0, np.clip(capacity - before, 0, sums) / sums, 0.0)
    group = np.repeat(np.arange(len(order.starts)), np.diff(np.append(order.starts, order.n)))
    out = np.empty_like(weights)
    out[:, order.order] = share[:, group] * weights[:, order.order]
    return out


def _rates(found: Floats) -> tuple[Floats, Floats]:
    with np.errstate(invalid="ignore", divide="ignore"):
        return found[LAPSED] / found[LISTED], np.where(found[VALUE] > 0, found[CAUGHT] / found[VALUE], np.nan)


def _list(whole: Floats, drawn: Floats) -> dict[str, Any]:
    rates, draws = _rates(whole[:, None]), _rates(drawn)
    out: dict[str, Any] = {
        "listed": float(whole[LISTED]), "lapsed": float(whole[LAPSED]), "lapsed_value_caught": float(whole[CAUGHT]),
        "lapsed_value": float(whole[VALUE]),
    }  # fmt: skip
    for name, value, own in zip(("precision", "value_caught"), rates, draws, strict=True):
        out[name] = number(value[0])
        out[f"{name}_low"], out[f"{name}_high"] = interval(own)
    return out


def _ahead(whole: dict[str, Floats], drawn: dict[str, Floats], other: str) -> dict[str, Any]:
    out: dict[str, Any] = {}
    mine, theirs = (_rates(whole[k]) for k in (WATCH, other))
    own, rest = (_rates(drawn[k]) for k in (WATCH, other))
    for place, name in enumerate(("precision", "value_caught")):
        out[name] = number((mine[place] - theirs[place])[0])
        out[f"{name}_low"], out[f"{name}_high"] = interval(own[place] - rest[place])
    return out


def interval(drawn: Floats) -> tuple[float | None, float | None]:
    """The middle 95% of draws; None where no draw has a value."""
    known = drawn[~np.isnan(drawn)]
    if not len(known):
        return None, None
    low, high = np.quantile(known, ((1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2))
    return float(low), float(high)


def number(value: float) -> float | None:
    """A float, None for NaN."""
    return None if np.isnan(value) else float(value)


def alerts(past: Sequence[pl.DataFrame], capacity: int, stay: float) -> float | None:
    """New alerts per eligible customer and year, had the list been made at each of these cutoffs, one after the other.

    The first list is where it begins, not counted; None with fewer than two cutoffs.
    """
    on, new, years = pl.DataFrame(schema=BEFORE), 0, 0.0
    for place, rows in enumerate(past):
        now = rows.select("customer_id", "cutoff", days_since_last_purchase="silent")
        scores = rows.select("customer_id", "cutoff", value_at_risk="by", churn_probability="risk", eligible=True)
        found = listed(scores, capacity, stay, going_on(on, now))
        if place:
            new += found.filter(alert=NEW).height
            days = (rows["cutoff"][0] - past[place - 1]["cutoff"][0]).days
            years += rows.height * days / 365
        on = found.select(BEFORE.names())
    return new / years if years else None


def on_time(rows: pl.DataFrame) -> dict[str, Any] | None:
    """AUC for lapse among customers silent for no longer than their own median gap: the model's, and the recency
    rule's; None without both kinds."""
    own = rows.filter(pl.col("overdue") <= 1)
    if own["lapsed"].n_unique() < 2:
        return None
    lapsed, ones = own["lapsed"].to_numpy(), np.ones((1, own.height))
    found = {name: float(metrics.auroc(metrics.Order(own[by].to_numpy()), lapsed, ones)[0])
             for name, by in (("auc", "risk"), ("auc_recency", "silent"))}  # fmt: skip
    return {"customers": own.height, "lapsed": int(lapsed.sum())} | found


def _told(earlier: Earlier, rows: pl.DataFrame, capacity: int) -> dict[str, Any]:
    top = rows.sort("by", "customer_id", descending=[True, False]).head(capacity)
    lost = top["lost"].sum() if top["lost"].count() else None
    return {
        "cutoff": earlier.cutoff.isoformat(), "source": earlier.source, "customers": rows.height,
        "base_rate": float(np.mean(rows["lapsed"].to_numpy())), "listed": top.height,
        "lapsed": int(top["lapsed"].sum()), "lost": None if lost is None else int(lost),
    }  # fmt: skip
