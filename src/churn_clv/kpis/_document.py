"""All KPIs of a period beside those of the one before it: numbers, intervals, real or noise, aims, what is missing."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import polars as pl

from churn_clv import config
from churn_clv.errors import UserError
from churn_clv.events import Log
from churn_clv.kpis import _customers, _money, _voice
from churn_clv.kpis._period import DAY, Missing, Period, period, usual_gap
from churn_clv.kpis._sample import LEAST, REAL, Estimate, Sample, estimate, holm, p_of_change

SHARE, MONEY, NUMBER, POINTS, MONTHS, TIMES = "share", "money", "number", "points", "months", "times"
TEST = (
    f"A change is called real where p < {REAL:g} after Holm's correction over all KPIs of the report: the difference "
    "over its standard error, linearised by customer, who may be in both periods. Fewer than "
    f"{LEAST} customers in either period are not tested. "
    "The test speaks of chance alone: seasons, prices and campaigns change customers, too."
)  # fmt: skip


@dataclass(frozen=True)
class Kpi:
    """A KPI: its words, its unit, whether more of it is better (None: neither), and how it is counted.

    ``tested``: its change can be tested by itself. ``of_period``: it counts what happened in the period.
    """

    title: str
    unit: str
    more_is_better: bool | None
    of: Callable[[Situation], Sample | Estimate | tuple[Estimate | None, str | None] | None]
    tested: bool = True
    of_period: bool = True


@dataclass(frozen=True)
class Situation:
    """A period and what else KPIs are made of: ``scores`` at its end (``customer_id``, ``value_tier``, ``clv``,
    ``total_value``), ``measured``: the document of ``churn-clv measure``."""  # fmt: skip

    period: Period
    scores: pl.DataFrame | None = None
    measured: Mapping[str, Any] | None = None


def _plain(count: Callable[[Period], Any]) -> Callable[[Situation], Any]:
    return lambda s: count(s.period)


def _clv(tier: str | None, s: Situation) -> Sample:
    return _money.clv(s.scores, tier)


def _cac(source: str | None, s: Situation) -> Sample:
    return _money.cac(s.period, source)


def known(settings: config.Config, tiers: tuple[str, ...] = ()) -> dict[str, Kpi]:
    """Every KPI by name, in the report's order; CLV by the scores' tiers, CAC by the sources of the costs."""
    months, horizon = settings.clv.months[-1], settings.kpis
    every = {
        "retention": Kpi("Retention", SHARE, True, _plain(_customers.retention)),
        "lapse": Kpi("Lapse (churn)", SHARE, False, _plain(_customers.lapse)),
        "balance": Kpi("Active customers, net change", NUMBER, True, _plain(_customers.net_change)),
        "repeat": Kpi(f"Repeat within {horizon.repeat_days} days", SHARE, True, _plain(_customers.repeat)),
        "activation": Kpi(f"{horizon.activation_orders} purchase days within {horizon.activation_days} days", SHARE,
                          True, _plain(_customers.activation)),
        "conversion": Kpi(f"Conversion within {horizon.conversion_days} days", SHARE, True,
                          _plain(_customers.conversion)),
        "order_value": Kpi("Order value", MONEY, None, _plain(_money.order_value)),
        "revenue": Kpi("Revenue", MONEY, True, _plain(_money.revenue)),
        "margin": Kpi("Margin", MONEY, True, _plain(_money.margin), tested=False),
        "clv": Kpi(f"CLV of {months} months, mean", MONEY, True, partial(_clv, None), of_period=False),
        **{f"clv:{t}": Kpi(f"CLV of {months} months, tier {t}", MONEY, True, partial(_clv, t), of_period=False)
           for t in tiers},
        "cac": Kpi("Acquisition cost (CAC)", MONEY, False, partial(_cac, None)),
        **{f"cac:{s}": Kpi(f"Acquisition cost, {s}", MONEY, False, partial(_cac, s)) for s in _money.sources(settings)},
        "clv_to_cac": Kpi("Value / acquisition cost", TIMES, True,
                          lambda s: _money.clv_to_cac(s.period, s.scores)),
        "payback": Kpi("Payback", MONTHS, False, _plain(_money.payback), tested=False),
        "attributed_roas": Kpi("ROAS, attributed", TIMES, True, _plain(_money.attributed_roas)),
        "incremental_roas": Kpi("ROAS, incremental", TIMES, True,
                                lambda s: _money.incremental_roas(s.period, s.measured), tested=False),
        "retention_cost": Kpi("Retention cost per retained", MONEY, False, _plain(_money.retention_cost)),
        "referral": Kpi("Referral rate", SHARE, True, _plain(_customers.referral)),
        "support_in_time": Kpi(f"Tickets closed within {horizon.support_days} days", SHARE, True,
                               _plain(_voice.support_in_time)),
        "support_cost": Kpi("Support cost per ticket", MONEY, False, _plain(_voice.support_cost)),
        "nps": Kpi("NPS", POINTS, True, _plain(_voice.nps)),
        "csat": Kpi("CSAT", SHARE, True, _plain(_voice.csat)),
    }  # fmt: skip
    assert {name for name in every if ":" not in name} == set(config.KPIS)
    return every


def document(
    log: Log, settings: config.Config, cutoff: dt.date, against: dt.date | None = None, *,
    scores: pl.DataFrame | None = None, scores_before: pl.DataFrame | None = None,
    measured: Mapping[str, Any] | None = None,
) -> dict[str, Any]:  # fmt: skip
    """The KPIs of the ``kpis.window_days`` before ``cutoff``, beside those before ``against`` (default: one window
    earlier); each period as it was known at its end. ``scores``: see ``Situation``.

    Keys: ``from``, ``until``, ``against_from``, ``against_until``, ``rows`` (one a KPI), ``balance``, ``test``. Raises
    UserError where ``against`` does not lie before the cutoff or the cutoff after the log.
    """  # fmt: skip
    length = (settings.kpis.window_days or settings.timeline.horizon_days) * DAY
    against = against or cutoff - length
    if cutoff > log.ends:
        raise UserError(f"the cutoff {cutoff} lies after the log's end {log.ends}. Take one up to it.")
    if against >= cutoff:
        raise UserError(f"--against {against} does not lie before the cutoff {cutoff}. Give an earlier date.")
    gap = usual_gap(log, settings.population.active_within_days, cutoff)
    now = Situation(period(log, settings, cutoff - length, cutoff, gap), scores, measured)
    before = Situation(period(log, settings, against - length, against, gap), scores_before, measured)
    tiers = () if scores is None else tuple(scores["value_tier"].drop_nulls().unique().sort())
    every = known(settings, tiers)
    rows = [_row(name, kpi, now, before, settings) for name, kpi in every.items()]
    _judge(rows, every)
    return {
        "from": now.period.start.isoformat(), "until": now.period.end.isoformat(),
        "against_from": before.period.start.isoformat(), "against_until": before.period.end.isoformat(),
        "window_days": length.days, "currency": settings.events.currency, "rows": [_told(row) for row in rows],
        "balance": _balance(now.period), "balance_before": _balance(before.period), "test": TEST,
        "overlap": against > now.period.start,
    }  # fmt: skip


def _row(name: str, kpi: Kpi, now: Situation, before: Situation, settings: config.Config) -> dict[str, Any]:
    """One KPI, its p of change not yet adjusted."""
    row: dict[str, Any] = {"name": name, "title": kpi.title, "unit": kpi.unit, "more_is_better": kpi.more_is_better}
    row |= _counted(kpi, now)
    other = _counted(kpi, before)
    row["before"] = {key: other[key] for key in ("value", "low", "high", "n", "missing")}
    a, b = row["value"], other["value"]
    row["change"] = None if a is None or b is None else a - b
    mine, theirs = row["estimate"], other["estimate"]
    row["p"] = p_of_change(mine, theirs) if kpi.tested and mine and theirs else None
    return row | _aimed(settings.kpis.aims.get(name), row)


def _counted(kpi: Kpi, situation: Situation) -> dict[str, Any]:
    """Value, interval, n and what they are of; or what is missing and how to give it."""
    out: dict[str, Any] = dict.fromkeys(("value", "low", "high", "n", "n_of", "note", "missing", "how", "estimate"))
    out["matured"] = True
    try:
        if kpi.of_period and not situation.period.reaches(situation.period.start):
            raise Missing(f"the log starts {situation.period.log.starts['purchase']}, within or after the period",
                          "give a longer log, or take a later date")  # fmt: skip
        made = kpi.of(situation)
    except Missing as missing:
        return out | {"missing": missing.what, "how": missing.how, "matured": None}
    if isinstance(made, Sample):
        out |= {"n_of": made.of, "note": made.note, "matured": made.matured}
        made = estimate(made)
        if made is None:
            return out | {"missing": "nobody to count", "how": "nothing to give: a fact of the log", "matured": None}
    if isinstance(made, tuple):
        made, why = made
        if made is None:
            return out | {"missing": why, "how": "nothing to give: a fact of the log", "matured": None}
    assert made is not None
    return out | {"value": made.value, "low": made.low, "high": made.high, "n": made.n, "estimate": made}


def _aimed(aim: config.Aim | None, row: Mapping[str, Any]) -> dict[str, Any]:
    """Target, owner, due date; ``status`` is reached, missed, or open where the interval holds the target."""
    if aim is None:
        return {"target": None, "owner": None, "due": None, "status": None}
    told = {"target": aim.target, "owner": aim.owner, "due": aim.due.isoformat() if aim.due else None}
    value, low, high = row["value"], row["low"], row["high"]
    if value is None:
        return told | {"status": None}
    if low is not None and low <= aim.target <= high:
        return told | {"status": "open"}
    above = value >= aim.target
    return told | {"status": "reached" if above == (row["more_is_better"] is not False) else "missed"}


def _judge(rows: list[dict[str, Any]], every: Mapping[str, Kpi]) -> None:
    """Adjust all p together; ``change_is``: real, noise, or None where it was not tested."""
    tested = [row for row in rows if row["p"] is not None]
    for row, p in zip(tested, holm([row["p"] for row in tested]), strict=True):
        row["p"] = p
    by_name = {row["name"]: row for row in rows}
    for row in rows:
        # Margin is revenue times a constant: one test for both.
        p = by_name["revenue"]["p"] if row["name"] == "margin" else row["p"]
        row["p"] = p
        row["change_is"] = None if p is None else "real" if p < REAL else "noise"


def _told(row: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in row.items() if key != "estimate"}


def _balance(of: Period) -> dict[str, Any]:
    try:
        return _customers.balance(of) | {"missing": None, "how": None}
    except Missing as missing:
        return {"missing": missing.what, "how": missing.how}
