"""KPIs of what customers say and how they are answered: NPS, CSAT, support (definition D33)."""

from __future__ import annotations

import datetime as dt

import polars as pl

from churn_clv.kpis._customers import _or
from churn_clv.kpis._money import spent
from churn_clv.kpis._period import DAY, Missing, Period, within
from churn_clv.kpis._sample import Sample, make

THOUSANDTHS = 1000
NPS_BEST, PROMOTER, DETRACTOR = 10, 9, 6


def nps(of: Period) -> Sample:
    """Share answering 9 or 10 less share answering 0 to 6, in points: each customer's latest answer of the period."""
    answers, note = _answers(of, of.settings.kpis.events.nps, 0, NPS_BEST, "nps")
    sign = pl.when(pl.col("answer") >= PROMOTER).then(100.0).when(pl.col("answer") <= DETRACTOR).then(-100.0)
    return Sample(answers.select("customer_id", x=sign.otherwise(0.0), y=1.0), "answered", note=note, amounts=True)


def csat(of: Period) -> Sample:
    """Share whose latest rating of the period is one of the best two."""
    best = of.settings.kpis.csat_best
    answers, note = _answers(of, of.settings.kpis.events.csat, 1, best, "csat")
    return Sample(
        answers.select("customer_id", x=(pl.col("answer") >= best - 1).cast(pl.Float64), y=1.0), "answered", note=note
    )


def _answers(of: Period, kinds: tuple[str, ...], low: int, high: int, name: str) -> tuple[pl.DataFrame, str | None]:
    """The latest whole-numbered answer in low..high per customer: ``customer_id``, ``answer``; what was left out."""
    found = of.of_kind(kinds).filter(pl.col("value").is_not_null())
    if found.is_empty():
        raise Missing(f"the log has no answers of type {_or(kinds)}",
                      f"map a source of them with `value`; kpis.events.{name} names its type")  # fmt: skip
    told = found.filter(within(of.start, of.end))
    whole = (pl.col("value") % THOUSANDTHS == 0) & pl.col("value").is_between(low * THOUSANDTHS, high * THOUSANDTHS)
    fit = told.filter(whole)
    if fit.is_empty():
        raise Missing(f"nobody answered from {of.start} to {of.end - DAY} with {low} to {high}",
                      "ask again, or take another period")  # fmt: skip
    latest = fit.sort("time", "event_id", nulls_last=True, maintain_order=True).group_by("customer_id").agg(
        answer=pl.col("value").last() // THOUSANDTHS
    )  # fmt: skip
    left = told.height - fit.height
    note = f"{left:,} answers that are not whole numbers from {low} to {high} were left out" if left else None
    return latest.sort("customer_id"), note


def support_in_time(of: Period) -> Sample:
    """Tickets closed within ``support_days``, of those opened so long ago that all had the time."""
    events, days = of.settings.kpis.events, of.settings.kpis.support_days
    end = of.end - days * DAY
    opened = _tickets(of, end)
    closed = of.of_kind(events.ticket_closed).select("customer_id", "time", closed="time")
    if closed.is_empty():
        raise Missing(f"the log has no event of type {_or(events.ticket_closed)}",
                      "map when tickets are closed; kpis.events.ticket_closed names the type")  # fmt: skip
    of.needs(events.ticket_closed, end - of.length * DAY)
    met = opened.sort("time").join_asof(closed.sort("time"), on="time", by="customer_id", strategy="forward",
                                        check_sortedness=False)  # fmt: skip
    soon = ((pl.col("closed") - pl.col("time")).dt.total_seconds() <= days * 86_400).fill_null(False)
    frame = make(met.select("customer_id", x=soon.cast(pl.Float64), y=pl.lit(1.0)))
    return Sample(frame, "opened a ticket", note="a closing answers all tickets that the customer had open")


def support_cost(of: Period) -> Sample:
    """Support cost of the period per ticket opened in it."""
    cost = spent(of, "support")
    frame = make(_tickets(of, of.end).select("customer_id", x=pl.lit(0.0), y=pl.lit(1.0)))
    return Sample(frame, "opened a ticket", a=cost)


def _tickets(of: Period, end: dt.date) -> pl.DataFrame:
    """Tickets opened in the period's length of days before ``end``."""
    kinds = of.settings.kpis.events.ticket_opened
    found = of.of_kind(kinds)
    if found.is_empty():
        raise Missing(f"the log has no event of type {_or(kinds)}",
                      "map a source of tickets; kpis.events.ticket_opened names its type")  # fmt: skip
    of.needs(kinds, end - of.length * DAY)
    own = found.filter(within(end - of.length * DAY, end))
    if own.is_empty():
        raise Missing("no ticket was opened in the period", "nothing to give: a fact of the log")
    return own.select("customer_id", "time")
