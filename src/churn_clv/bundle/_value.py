"""A customer's value as columns: orders of the horizon, and what lies beyond it (docs/clv.md)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
from numpy.typing import NDArray

from churn_clv import config
from churn_clv.features.margin import MARGIN, MONEY
from churn_clv.models.predict import Floats
from churn_clv.models.retention import Kinds, Retention, active_probability, kinds, strata_of, values
from churn_clv.models.silence import Silence

if TYPE_CHECKING:
    from churn_clv.bundle._reference import Reference

# The feature that says how much is known of a customer, and the one that holds all net money so far.
ORDERS, LIFETIME = "purchase_days", "spend"
# The reliability of whose CLV is the mean of their kind.
FALLBACK = "fallback"


def in_horizon(
    reference: Reference, settings: config.Config, matrix: Floats, curve: Floats, edges: tuple[int, ...],
    money: Floats | None,
) -> dict[str, Floats]:  # fmt: skip
    """Of the eligible (rows,): expected_orders, expected_order_value, next_order_within_<d>d; NaN where unknown.

    ``matrix`` (rows, columns); ``curve`` (edges, rows) is P(no purchase by each edge), ``money`` the expected spend.
    """
    unknown, own = np.full(len(matrix), np.nan), reference.outlook
    orders = unknown if own is None else own.orders.expected(matrix, curve[-1])
    silence = Silence() if own is None else own.silence
    within = {f"next_order_within_{d}d": 1 - silence.no_purchase(curve, edges, d) for d in settings.clv.next_order_days}
    return {"expected_orders": orders, "expected_order_value": unknown if money is None else money / orders} | within


def beyond(
    reference: Reference, settings: config.Config, rows: pl.DataFrame, out: pl.DataFrame
) -> dict[str, pl.Series]:
    """Columns beyond the horizon for every known customer: P(active), CLV and its bounds, historic and total value.

    ``rows`` is the matrix, ``out`` (its rows in its order) has churn_probability and expected_spend. P(active) is null
    for the ineligible, money for all without a spend head.
    """
    own, clv = reference.retention, settings.clv
    names = [
        *(f"active_probability_{m}m" for m in clv.active_months), *(f"clv_{m}m" for m in clv.months),
        *(f"clv_{m}m_{end}" for m in clv.months for end in ("low", "high")),
        "clv_extrapolated_share", "margin_rate", "historic_value", "total_value",
    ]  # fmt: skip
    found: dict[str, Floats] = {}
    if own is not None and rows.height and ORDERS in rows.columns:
        orders = np.nan_to_num(_floats(rows[ORDERS]), nan=0.0)
        strata = strata_of(rows["reason"].to_list(), orders)
        own_kinds = kinds(strata, rows["cutoff"].to_list())
        active = 1 - _floats(out["churn_probability"])
        for m in clv.active_months:
            found[f"active_probability_{m}m"] = active_probability(own, own_kinds, active, m)
        if own.money:
            mean = np.array([own.spend.get(s, np.nan) for s, _ in own_kinds.pairs])[own_kinds.place]
            first = np.where(rows["eligible"].to_numpy(), _floats(out["expected_spend"]), mean)
            found |= _money(own, reference, settings, rows, first, strata, own_kinds)
    unknown = np.full(rows.height, np.nan)
    return {name: column(found.get(name, unknown)) for name in names}


def labelled(scored: pl.DataFrame, settings: config.Config) -> pl.DataFrame:
    """The same scores with the reliability ``FALLBACK`` for the ineligible who have a CLV (definition D1)."""
    if scored["eligible"].all():
        return scored
    valued = pl.col(f"clv_{settings.clv.months[-1]}m").is_not_null()
    kept = pl.when(~pl.col("eligible") & valued).then(pl.lit(FALLBACK)).otherwise("reliability")
    return scored.with_columns(reliability=kept)


def column(numbers: Floats) -> pl.Series:
    """Numbers as a column, null where NaN."""
    return pl.Series(values=np.asarray(numbers, dtype=np.float64), nan_to_null=True)


def words(found: Sequence[str], asked: NDArray[np.bool_]) -> pl.Series:
    """The words of those ``asked`` (n,) at their places, null for the others; (n,)."""
    each = iter(found)
    return pl.Series(values=[next(each) if own else None for own in asked.tolist()], dtype=pl.String)


def _money(
    own: Retention, reference: Reference, settings: config.Config, rows: pl.DataFrame, first: Floats,
    strata: Sequence[str], own_kinds: Kinds,
) -> dict[str, Floats]:  # fmt: skip
    """CLV, its bounds and the values, from the first window's money (rows,)."""
    months, discount = settings.clv.months, settings.clv.discount_rate
    rate, past = _margins(own, settings, rows)
    bounds = {} if reference.outlook is None else reference.outlook.bounds
    label, found = np.array(strata, dtype=np.str_), dict[str, Floats]()
    shares: dict[int, list[Floats]] = {}
    for m in months:
        found[f"clv_{m}m"], found["clv_extrapolated_share"] = values(own, own_kinds, rate * first, m, discount)
        if m in bounds:
            plain = values(own, own_kinds, first, m, 0.0)[0]
            shares[m] = [end / np.where(plain > 0, plain, np.nan) for end in bounds[m].apply(plain, label)]
    for place, side in enumerate(("low", "high")):
        ends = {m: np.abs(found[f"clv_{m}m"]) * share[place] for m, share in shares.items()}
        found |= {f"clv_{m}m_{side}": end for m, end in _rising(ends, upper=side == "high").items()}
    for m in shares:  # money that costs: what is more of it is worth less
        low, high = found[f"clv_{m}m_low"], found[f"clv_{m}m_high"]
        found[f"clv_{m}m_low"], found[f"clv_{m}m_high"] = np.where(rate < 0, (-high, -low), (low, high))
    found["margin_rate"] = np.where(np.isnan(found[f"clv_{months[-1]}m"]), np.nan, rate)
    found["historic_value"], found["total_value"] = past, past + found[f"clv_{months[-1]}m"]
    return found


def _margins(own: Retention, settings: config.Config, rows: pl.DataFrame) -> tuple[Floats, Floats]:
    """The margin expected of a unit of spend, and that of all so far, (rows,) each: told, and at that rate the rest.

    One rate for all where the log told no margin at training. The second is NaN where lifetime money is no feature.
    """
    net = np.nan_to_num(_floats(rows[LIFETIME]), nan=0.0) if LIFETIME in rows.columns else np.full(rows.height, np.nan)
    if own.margin is None:
        rate = np.full(rows.height, settings.value.margin_share)
        return rate, rate * net
    there = MARGIN in rows.columns
    told, money = (np.nan_to_num(_floats(rows[n])) if there else np.zeros(rows.height) for n in (MARGIN, MONEY))
    rate = own.margin.rate(told, money)
    return rate, told + rate * (net - money)


def _rising(ends: dict[int, Floats], *, upper: bool) -> dict[int, Floats]:
    """Ends that rise with the months: an upper one is at least any shorter one's, a lower one at most any longer's."""
    out: dict[int, Floats] = {}
    before: Floats | None = None
    for m in ends if upper else reversed(ends):
        before = ends[m] if before is None else (np.fmax if upper else np.fmin)(before, ends[m])
        out[m] = np.where(np.isnan(ends[m]), np.nan, before)
    return out


def _floats(column: pl.Series) -> Floats:
    return np.ascontiguousarray(column.to_numpy(), dtype=np.float64)
