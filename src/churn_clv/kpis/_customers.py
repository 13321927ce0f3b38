"""KPIs of who stays, comes and goes (definition D33)."""

from __future__ import annotations

import datetime as dt
from typing import Any

import polars as pl

from churn_clv.kpis._period import DAY, Missing, Period, within
from churn_clv.kpis._sample import Sample

MONEY = ("purchase", "return")


def active_at(of: Period, day: dt.date) -> pl.DataFrame:
    """``customer_id`` of those who bought within ``active_within_days`` before the midnight ``day``."""
    if not of.reaches(day - of.active_days * DAY):
        raise Missing(
            f"the log starts {of.log.starts['purchase']}, less than {of.active_days} days before {day}",
            f"take a cutoff at least {of.active_days + of.length} days after the log's start",
        )
    since = day - of.active_days * DAY
    return of.occasions.filter(within(since, day)).select("customer_id").unique().sort("customer_id")


def retention(of: Period) -> Sample:
    """Bought in the period, among those active at its start."""
    active = active_at(of, of.start)
    bought = of.occasions.filter(within(of.start, of.end))["customer_id"].unique()
    frame = active.select("customer_id", x=pl.col("customer_id").is_in(bought.implode()).cast(pl.Float64), y=1.0)
    return Sample(frame, "active at the start")


def lapse(of: Period) -> Sample:
    """No longer active at the end, among those active at the start."""
    active = active_at(of, of.start)
    still = active_at(of, of.end)["customer_id"]
    frame = active.select("customer_id", x=(~pl.col("customer_id").is_in(still.implode())).cast(pl.Float64), y=1.0)
    note = None
    if of.length < of.active_days:
        note = (f"Active means a purchase within {of.active_days} days, so this is not 1 - retention of the "
                f"{of.length} days.")  # fmt: skip
    return Sample(frame, "active at the start", note=note)


def balance(of: Period) -> dict[str, int]:
    """To the customer: active_end = active_start - lapsed + new + won_back; beside it those who came and went."""
    start, end = (set(active_at(of, day)["customer_id"]) for day in (of.start, of.end))
    first = of.occasions.group_by("customer_id").agg(first=pl.col("day").min())
    new = set(first.filter(within(of.start, of.end, "first"))["customer_id"])
    return {
        "active_start": len(start), "lapsed": len(start - end), "new": len((end - start) & new),
        "won_back": len(end - start - new), "active_end": len(end), "came_and_went": len(new - end),
    }  # fmt: skip


def net_change(of: Period) -> Sample:
    """Active at the end less active at the start; each who came counts 1, each who went -1."""
    start, end = active_at(of, of.start), active_at(of, of.end)
    moved = pl.concat([
        end.join(start, on="customer_id", how="anti").with_columns(x=pl.lit(1.0)),
        start.join(end, on="customer_id", how="anti").with_columns(x=pl.lit(-1.0)),
    ]).select("customer_id", "x", y=pl.lit(0.0))  # fmt: skip
    return Sample(moved.sort("customer_id"), "came or went", b=1.0)


def repeat(of: Period) -> Sample:
    """A second purchase day within ``repeat_days`` of the first; first purchases so long ago that all had the time."""
    return _reach(of, 2, of.settings.kpis.repeat_days)


def activation(of: Period) -> Sample:
    """``activation_orders`` purchase days within ``activation_days`` of the first, the same way."""
    return _reach(of, of.settings.kpis.activation_orders, of.settings.kpis.activation_days)


def _reach(of: Period, orders: int, days: int) -> Sample:
    """Who of the first-time buyers of the newest period that has had ``days`` reached so many purchase days."""
    end = of.end - days * DAY
    cohort = _first_time(of, end - of.length * DAY, end)
    soon = of.occasions.join(cohort, on="customer_id").filter((pl.col("day") - pl.col("first")).dt.total_days() <= days)
    count = soon.group_by("customer_id").agg(times=pl.len())
    frame = cohort.join(count, on="customer_id", how="left").select(
        "customer_id", x=(pl.col("times") >= orders).fill_null(False).cast(pl.Float64), y=1.0
    )
    since = (end - of.length * DAY).isoformat()
    return Sample(frame.sort("customer_id"), f"first bought {since} to {(end - DAY).isoformat()}")


def _first_time(of: Period, first: dt.date, end: dt.date) -> pl.DataFrame:
    """Customers whose first purchase lies in [first, end); Missing where none can be told."""
    if first < of.new_from:
        raise Missing(
            f"first purchases from {first} on cannot be told from those of customers of before the log "
            f"(a usual gap after its start ends {of.new_from})",
            "give a longer log, or take a later cutoff",
        )
    found = of.firsts.filter(within(first, end, "first"))
    if found.is_empty():
        raise Missing(f"nobody bought for the first time from {first} to {end - DAY}",
                      "nothing to give: a fact of the log")  # fmt: skip
    return found


def first_time_buyers(of: Period) -> pl.DataFrame:
    """``customer_id``, ``first`` of those who first bought in the period."""
    return _first_time(of, of.start, of.end)


def conversion(of: Period) -> Sample:
    """A purchase within ``conversion_days`` of the first event, among those first seen without one; matured cohorts.

    Who is first seen with a purchase (among other events of that time) or a return is no prospect.
    """
    days = of.settings.kpis.conversion_days
    end = of.end - days * DAY
    first = end - of.length * DAY
    at_first = pl.col("event_type").filter(pl.col("time") == pl.col("time").min())
    seen = of.events.group_by("customer_id").agg(seen=pl.col("day").min(), known=at_first.is_in(list(MONEY)).any())
    prospects = seen.filter(~pl.col("known"))
    if prospects.filter(pl.col("seen") >= of.new_from).is_empty():
        raise Missing("no customer is known before the first purchase",
                      "map a source of earlier events, such as visits or sign-ups")  # fmt: skip
    if first < of.new_from:
        raise Missing(f"the log is too short to know who was first seen from {first} on",
                      "give a longer log, or take a later cutoff")  # fmt: skip
    cohort = prospects.filter(within(first, end, "seen"))
    if cohort.is_empty():
        raise Missing(f"no prospect was first seen from {first} to {end - DAY}", "nothing to give: a fact of the log")
    bought = of.occasions.group_by("customer_id").agg(bought=pl.col("day").min())
    soon = (pl.col("bought") - pl.col("seen")).dt.total_days() <= days
    frame = cohort.join(bought, on="customer_id", how="left").select(
        "customer_id", x=soon.fill_null(False).cast(pl.Float64), y=1.0
    )
    return Sample(frame.sort("customer_id"), f"first seen {first} to {end - DAY}")


def referral(of: Period) -> Sample:
    """Recommended us in the period, among those active at its end."""
    kinds = of.settings.kpis.events.referral
    found = of.of_kind(kinds)
    if found.is_empty():
        raise Missing(f"the log has no event of type {_or(kinds)}",
                      "map a source of referrals; kpis.events.referral names its type")  # fmt: skip
    of.needs(kinds, of.start)
    who = found.filter(within(of.start, of.end))["customer_id"].unique()
    active = active_at(of, of.end)
    frame = active.select("customer_id", x=pl.col("customer_id").is_in(who.implode()).cast(pl.Float64), y=1.0)
    return Sample(frame, "active at the end")


def _or(kinds: Any) -> str:
    return " or ".join(f"'{kind}'" for kind in kinds) or "(none named)"
