"""KPIs of money: order value, revenue, margin, CLV by tier, and what acquiring, keeping and mailing costs (D33)."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Mapping
from typing import Any

import polars as pl

from churn_clv.kpis._customers import _or, active_at, first_time_buyers
from churn_clv.kpis._period import DAY, Missing, Period, within
from churn_clv.kpis._sample import Estimate, Sample, Z, make

MONTH_DAYS, MOST_MONTHS = 30, 36


def order_value(of: Period) -> Sample:
    """Net money per purchase day of the period."""
    days = _money(of).filter("stands").select("customer_id", x="net", y=pl.lit(1.0))
    if days.is_empty():
        raise Missing("nobody bought in the period", "nothing to give: a fact of the log")
    return Sample(make(days), "bought", amounts=True)


def revenue(of: Period) -> Sample:
    """Purchases less returns dated in the period."""
    return Sample(make(_money(of).select("customer_id", x="net", y=pl.lit(0.0))), "bought or returned", b=1.0)


def margin(of: Period) -> Sample:
    """Revenue x ``value.margin_share``."""
    own = revenue(of)
    share = of.settings.value.margin_share
    note = f"revenue x margin share {share:g} (value.margin_share)"
    if "margin" in of.log.columns:
        note += "; the margins that the log tells are not in it, nor in payback (CLV and value / CAC go by them)"
    return Sample(own.frame.with_columns(pl.col("x") * share), own.of, b=1.0, note=note)


def _money(of: Period) -> pl.DataFrame:
    if not of.has_money:
        raise _no_amounts()
    return of.days.filter(within(of.start, of.end))


def _no_amounts() -> Missing:
    return Missing("no purchase has an amount", "map the column `amount`")


def clv(scores: pl.DataFrame | None, tier: str | None = None) -> Sample:
    """Mean ``clv`` of everyone known, or of a ``value_tier``; predicted, so it never matures here."""
    if scores is None:
        raise Missing("there are no scores at this cutoff", "publish a model; the report then scores by itself")
    found = scores if tier is None else scores.filter(pl.col("value_tier") == tier)
    found = found.filter(pl.col("clv").is_not_null())
    if found.is_empty():
        what = "nobody has a CLV" if tier is None else f"nobody is in tier {tier}"
        raise Missing(what, "nothing to give: a fact of the log")
    frame = found.select("customer_id", x=pl.col("clv"), y=pl.lit(1.0)).sort("customer_id")
    return Sample(frame, "known" if tier is None else f"tier {tier}", note="predicted", matured=False, amounts=True)


# --- what it costs --------------------------------------------------------------------------------
def spent(of: Period, kind: str, source: str | None = None) -> float:
    """Money of a kind that falls into the period, each cost spread evenly over its days; Missing where none does."""
    own = [c for c in of.settings.kpis.costs if c.kind == kind and (source is None or c.source == source)]
    total, met = 0.0, False
    for cost in own:
        days = (cost.last - cost.first).days + 1
        inside = (min(cost.last + DAY, of.end) - max(cost.first, of.start)).days
        if inside > 0:
            met, total = True, total + cost.amount * inside / days
    if not met:
        of_source = f" of source {source}" if source else ""
        raise Missing(f"no {kind} cost{of_source} is given for {of.start} to {of.end - DAY}",
                      f"add it to kpis.costs with kind: {kind}")  # fmt: skip
    return total


def sources(settings: Any) -> list[str]:
    """The sources that acquisition costs name."""
    return sorted({c.source for c in settings.kpis.costs if c.kind == "acquisition" and c.source})


def cac(of: Period, source: str | None = None) -> Sample:
    """Acquisition cost of the period over its first-time buyers, of one source where one is named."""
    cost = spent(of, "acquisition", source)
    buyers = _acquired(of, source)
    return Sample(buyers.select("customer_id", x=pl.lit(0.0), y=pl.lit(1.0)), "first-time buyers", a=cost)


def _acquired(of: Period, source: str | None) -> pl.DataFrame:
    buyers = first_time_buyers(of).sort("customer_id")
    if source is None:
        return buyers
    column = of.settings.kpis.source_column
    bought = of.of_kind(("purchase",)).filter(pl.col(column) == source).select("customer_id", first="day").unique()
    found = buyers.join(bought, on=["customer_id", "first"], how="semi")
    if found.is_empty():
        raise Missing(f"nobody first bought through {source} ({column}) in the period",
                      f"the source of a cost must be a value of `{column}` of first purchases")  # fmt: skip
    return found


def clv_to_cac(of: Period, scores: pl.DataFrame | None) -> Sample:
    """Margin so far and CLV of the period's first-time buyers, over what acquiring them cost."""
    cost = spent(of, "acquisition")
    if not cost:
        raise Missing("the acquisition cost is 0", "give what acquiring costs in kpis.costs")
    if scores is None:
        raise Missing("there are no scores at this cutoff", "publish a model; the report then scores by itself")
    found = scores.join(first_time_buyers(of), on="customer_id", how="semi").filter(pl.col("total_value").is_not_null())
    if found.is_empty():
        raise Missing("no first-time buyer has a value", "nothing to give: a fact of the log")
    frame = found.select("customer_id", x=pl.col("total_value"), y=pl.lit(0.0)).sort("customer_id")
    return Sample(frame, "first-time buyers", b=cost, note="in margin; the CLV in it is predicted", matured=False)


def payback(of: Period) -> tuple[Estimate | None, str | None]:
    """Months of 30 days after the first purchase until the mean margin earned covers the CAC of the period.

    Month k counts those whose k months are over. None where it is not covered within what has matured; the sentence
    says how far that reached. The interval is where the margin's own 95% band crosses.
    """
    if not of.has_money:
        raise _no_amounts()
    cost = estimate_cac(of)
    curve = margin_curve(of)
    if curve.is_empty():
        raise Missing("no first-time buyer has been with us for a month", "give a longer log, or take a later cutoff")
    reached = [_first(curve, column, cost) for column in ("margin", "high", "low")]
    if reached[0] is None:
        last = curve.row(-1, named=True)
        return None, f"not within {last['month']} months: {last['margin']:,.2f} of {cost:,.2f} earned by then"
    n = int(curve["n"][reached[0] - 1])
    told = [None if m is None else float(m) for m in reached]
    assert told[0] is not None
    empty = pl.DataFrame(schema={"customer_id": pl.String, "u": pl.Float64})
    return Estimate(told[0], told[1], told[2], n, empty), None


def estimate_cac(of: Period) -> float:
    """The CAC of the period, all sources together."""
    own = cac(of)
    return own.a / own.frame.height


def margin_curve(of: Period) -> pl.DataFrame:
    """Mean margin of first-time buyers by month of 30 days since the first purchase: ``month`` (1, ...), ``n`` whose
    months are over, ``margin`` (cumulated), ``low``, ``high`` (95%).
    """  # fmt: skip
    share = of.settings.value.margin_share
    age = pl.lit(of.end) - pl.col("first")
    buyers = of.firsts.with_columns(months=age.dt.total_days() // MONTH_DAYS)
    buyers = buyers.filter(pl.col("months") >= 1)
    since = (pl.col("day") - pl.col("first")).dt.total_days()
    earned = (
        of.days.join(buyers, on="customer_id")
        .filter((since >= 0) & (since // MONTH_DAYS < pl.col("months")))
        .group_by("customer_id", month=since // MONTH_DAYS + 1)
        .agg(x=pl.col("net").sum() * share)
    )
    rows, total, parts = [], 0.0, dict.fromkeys(buyers["customer_id"], 0.0)
    for month in range(1, min(MOST_MONTHS, max(buyers["months"], default=0)) + 1):
        own = buyers.filter(pl.col("months") >= month).select("customer_id").sort("customer_id")
        found = own.join(earned.filter(pl.col("month") == month), on="customer_id", how="left")
        values = dict(zip(found["customer_id"], found["x"].fill_null(0.0), strict=True))
        mean = math.fsum(values.values()) / own.height
        total += mean
        for name, value in values.items():
            parts[name] += (value - mean) / own.height
        half = Z * math.sqrt(math.fsum(u * u for u in parts.values()))
        rows.append({"month": month, "n": own.height, "margin": total, "low": total - half, "high": total + half})
    return pl.DataFrame(rows, schema={"month": pl.Int64, "n": pl.Int64, "margin": pl.Float64, "low": pl.Float64,
                                      "high": pl.Float64})  # fmt: skip


def _first(curve: pl.DataFrame, column: str, least: float) -> int | None:
    found = curve.filter(pl.col(column) >= least)["month"]
    return int(found[0]) if len(found) else None


def retention_cost(of: Period) -> Sample:
    """Retention cost of the period over those active at its start who bought in it."""
    cost = spent(of, "retention")
    active = active_at(of, of.start)
    bought = of.occasions.filter(within(of.start, of.end))["customer_id"].unique()
    kept = active.filter(pl.col("customer_id").is_in(bought.implode()))
    if kept.is_empty():
        raise Missing("nobody active at the start bought in the period", "nothing to give: a fact of the log")
    return Sample(kept.select("customer_id", x=pl.lit(0.0), y=pl.lit(1.0)), "retained", a=cost)


def attributed_roas(of: Period) -> Sample:
    """Net money of purchase days within ``attribution_days`` after a contact, over the campaigns' cost."""
    if not of.has_money:
        raise _no_amounts()
    cost = spent(of, "campaign")
    if not cost:
        raise Missing("the campaigns' cost is 0", "give what campaigns cost in kpis.costs")
    kinds, days = of.settings.kpis.events.contact, of.settings.kpis.attribution_days
    contacts = of.of_kind(kinds).select("customer_id", "day").unique().sort("customer_id", "day")
    if contacts.is_empty():
        raise Missing(f"the log has no contact of type {_or(kinds)}", "name the types in kpis.events.contact")
    of.needs(kinds, of.start - days * DAY)
    bought = of.occasions.filter(within(of.start, of.end)).sort("customer_id", "day")
    met = bought.join_asof(contacts.with_columns(contact="day"), on="day", by="customer_id", check_sortedness=False)
    near = met.filter((pl.col("day") - pl.col("contact")).dt.total_days() <= days)
    frame = make(near.select("customer_id", x="net", y=pl.lit(0.0)))
    note = f"bought within {days} days after a contact; many would have bought without it"
    return Sample(frame, "bought after a contact", b=cost, note=note)


def incremental_roas(of: Period, measured: Mapping[str, Any] | None) -> Estimate:
    """Spend that campaigns caused over their cost, by their holdouts; campaigns whose window closed in the period.

    ``measured``: the document of ``churn-clv measure``; the spend of the treated that their holdouts did not have.
    """
    told = [] if measured is None else measured["campaigns"]
    own = [one for one in told if one.get("measurable") and _closed(one, of)]
    cost = math.fsum(one["cost"] for one in own)
    if not own or not cost:
        raise Missing("no campaign with a holdout was measured whose window closed in the period",
                      "release one with `churn-clv act --send`, and run `churn-clv measure` when its window has closed",
                      )  # fmt: skip
    value = math.fsum(one["treated"] * one["spend"]["effect"] for one in own) / cost
    halves = (one["treated"] * (one["spend"]["high"] - one["spend"]["low"]) / 2 for one in own)
    half = math.sqrt(math.fsum(one**2 for one in halves)) / cost
    n = sum(one["treated"] + one["holdout"] for one in own)
    return Estimate(value, value - half, value + half, n, pl.DataFrame(schema={"customer_id": pl.String,
                                                                              "u": pl.Float64}))  # fmt: skip


def _closed(one: Mapping[str, Any], of: Period) -> bool:
    """Whether a campaign's window ended in (start, end]."""
    last = dt.date.fromisoformat(str(one["cutoff"])) + int(one["horizon_days"]) * DAY
    return bool(of.start < last <= of.end)
