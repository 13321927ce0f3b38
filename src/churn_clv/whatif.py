"""What a small change would be worth: less lapse, dearer orders, more margin, less discount, by value tier.

Everything is arithmetic on the scores of one bundle; docs/whatif.md says what it is and what it is not.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from churn_clv import scoring
from churn_clv.bundle import Bundle
from churn_clv.errors import UserError
from churn_clv.events import Log
from churn_clv.models.interval import RELIABILITY
from churn_clv.models.retention import Retention, days_of

Floats = NDArray[np.float64]

LAPSE, ORDER_VALUE, MARGIN, DISCOUNT = 0.01, 0.02, 0.01, 0.01
CHANGES = ("lapse", "order_value", "margin", "discount")
# Shares of the customers, highest CLV first; the rest is the last tier.
TIERS = {"top 20%": 0.2, "next 30%": 0.5, "rest": 1.0}
ALL = "all"
MISS = 0.05
HOLDS = (
    "The 95% intervals resample the customers: how far a sum hangs on who happens to be in the base. They hold no "
    "error of the model, of the curve beyond the horizon or of the time to come; and no change is an action's effect."
)


def run(bundle: Bundle, log: Log) -> dict[str, Any]:
    """The document of ``churn-clv whatif``; docs/whatif.md says what each key means.

    Scores the log at its end with the margin and discount rate of the bundle. Raises UserError where the bundle gives
    no CLV.
    """
    retention = bundle.reference.retention
    if retention is None or bundle.head("churned") is None:
        raise UserError("whatif: this bundle predicts no money. Train with the target 'spend' (`churn-clv train`).")
    own = bundle.config
    discount, months = own.clv.discount_rate, own.clv.months[-1]
    margin = own.value.margin_share if retention.margin is None else retention.margin.whole
    scores = scoring.score(bundle, log)
    people = effects(scores, retention, discount, months)
    if people.is_empty():
        raise UserError("whatif: nobody has a CLV at the log's end. `churn-clv score` gives each customer's reason.")
    risk = scores["churn_probability"].drop_nulls()
    lower = {
        "lapse": (_mean(risk), _mean((risk - LAPSE).clip(0))), "order_value": (1.0, 1 + ORDER_VALUE),
        "margin": (margin, min(1.0, margin + MARGIN)), "discount": (discount, _less(discount)),
    }  # fmt: skip
    found = _intervals(people, own.promotion.bootstrap_draws, own.seed)
    return {
        "dataset": own.dataset,
        "cutoff": scores["cutoff"][0].isoformat(),
        "horizon_days": bundle.horizon_days,
        "months": months,
        "currency": bundle.currency,
        "margin_share": margin,
        "discount_rate": discount,
        "model_version": bundle.version,
        "in_sample": bool(scores["in_sample"].any()),
        "customers": people.height,
        "without_value": scores.height - people.height,
        "tiers": [_tier(people, name) for name in (*TIERS, ALL)],
        "changes": [
            {"change": name, "from": lower[name][0], "to": lower[name][1],
             "tiers": [{"tier": tier} | found[tier, name] for tier in (*TIERS, ALL)]}
            for name in CHANGES
        ],
        "intervals": HOLDS,
    }  # fmt: skip


def effects(scores: pl.DataFrame, retention: Retention, discount: float, months: int) -> pl.DataFrame:
    """Each customer's value and what each change adds to it, highest value first.

    ``scores`` as ``Bundle.predict`` gives them, at one cutoff. Columns: customer_id, eligible, tier, ``value`` (CLV of
    ``months``), ``horizon`` (of the first window alone, discounted alike), and <change> and <change>_horizon in the
    same money. Customers without a CLV are left out.

    Value is margin x the first window's spend x a coefficient of the stratum, so each change is a factor: of the
    spend (lapse: E[spend] = P(active) x E[spend if active], for the eligible), the margin, or the coefficient.
    """
    known = scores.filter(pl.col(f"clv_{months}m").is_not_null())
    known = known.sort(f"clv_{months}m", "customer_id", descending=[True, False])
    if known.is_empty():
        return known
    value, near, factors = _factors(known, retention, discount, months)
    first = value * near
    columns = {name: value * factor for name, (factor, _) in factors.items()}
    columns |= {f"{name}_horizon": first * factor for name, (_, factor) in factors.items()}
    return known.select("customer_id", "eligible", tier=pl.Series(_tiers(known.height))).with_columns(
        value=pl.Series(value), horizon=pl.Series(first), **{name: pl.Series(found) for name, found in columns.items()}
    )


def _factors(
    known: pl.DataFrame, retention: Retention, discount: float, months: int
) -> tuple[Floats, Floats, dict[str, tuple[Floats | float, Floats | float]]]:
    """Value (n,), the first window's share of it, and what each change multiplies value and the first window by."""
    orders = {reliable: name for name, reliable in RELIABILITY.items()}
    strata = [reason or orders[own] for reason, own in known.select("reason", "reliability").rows()]

    def coefficients(length: int, rate: float) -> Floats:
        each = {name: retention.coefficient(name, length, rate)[0] for name in sorted(set(strata))}
        return np.array([each[name] for name in strata])

    lengths = days_of(months, known["cutoff"][0]), retention.window_days
    long, near = (coefficients(length, discount) for length in lengths)
    farther, nearer = (coefficients(length, _less(discount)) for length in lengths)
    risk = known["churn_probability"].fill_null(0.0).to_numpy()
    kept = np.minimum(risk, LAPSE) / (1 - risk)
    margin = known["margin_rate"].to_numpy()
    # Who leaves no margin at all has no value to multiply: nothing is said of them.
    more = np.divide(np.minimum(MARGIN, 1 - margin), margin, out=np.zeros(known.height), where=margin != 0)
    return known[f"clv_{months}m"].to_numpy(), near / long, {
        "lapse": (kept, kept), "order_value": (ORDER_VALUE, ORDER_VALUE), "margin": (more, more),
        "discount": (farther / long - 1, nearer / near - 1),
    }  # fmt: skip


def _less(discount: float) -> float:
    return max(0.0, discount - DISCOUNT)


def _tiers(count: int) -> list[str]:
    """The tier of each of so many customers, highest value first; a part of a customer goes up."""
    ends = {name: math.ceil(share * count) for name, share in TIERS.items()}
    return [next(name for name, end in ends.items() if place < end) for place in range(count)]


def _tier(people: pl.DataFrame, name: str) -> dict[str, Any]:
    """Who is in a tier; ``cut`` is the lowest value in it, which ``tied`` customers of lower tiers have, too."""
    rows = people if name == ALL else people.filter(tier=name)
    cut = rows["value"][-1] if rows.height else None
    below = people.filter(pl.col("tier").is_in([*TIERS][1 + [*TIERS].index(name) :])) if name != ALL else people.clear()
    return {
        "tier": name,
        "n": rows.height,
        "eligible": int(rows["eligible"].sum()),
        "cut": cut,
        "tied": int((below["value"] == cut).sum()) if rows.height else 0,
        "value": math.fsum(rows["value"]),
        "horizon_value": math.fsum(rows["horizon"]),
    }


def _intervals(people: pl.DataFrame, draws: int, seed: int) -> dict[tuple[str, str], dict[str, float | None]]:
    """Each change's sum by tier with its interval from resampled customers, whose tiers stay theirs."""
    names = [*CHANGES, *(f"{name}_horizon" for name in CHANGES)]
    values = np.ascontiguousarray(people.select(names).to_numpy())
    n, rng = people.height, np.random.default_rng(seed)
    places = {tier: np.flatnonzero((people["tier"] == tier).to_numpy()) for tier in TIERS}
    sums = {tier: np.empty((draws, len(names))) for tier in places}
    for draw in range(draws):
        count = np.bincount(rng.integers(0, n, n), minlength=n).astype(np.float64)
        for tier, rows in places.items():
            sums[tier][draw] = count[rows] @ values[rows]
    sums[ALL] = np.sum(list(sums.values()), axis=0)
    places[ALL] = np.arange(n)
    out: dict[tuple[str, str], dict[str, float | None]] = {}
    for tier, rows in places.items():
        low, high = np.quantile(sums[tier], [MISS / 2, 1 - MISS / 2], axis=0)
        whole = {part: math.fsum(people[part].to_numpy()[rows]) for part in ("value", "horizon")}
        for place, name in enumerate(names):
            change, base = name.removesuffix("_horizon"), "horizon" if name.endswith("_horizon") else "value"
            total, prefix = math.fsum(values[rows, place]), "horizon_" if base == "horizon" else ""
            share = total / whole[base] if whole[base] else None
            told = {"change": total, "low": float(low[place]), "high": float(high[place]), "share": share}
            out.setdefault((tier, change), {}).update({prefix + key: told[key] for key in told})
    return out


def _mean(values: pl.Series) -> float | None:
    return math.fsum(values) / values.len() if values.len() else None
