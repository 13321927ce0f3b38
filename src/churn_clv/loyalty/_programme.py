"""What the loyalty programme costs and does: only against customers whom chance left out of it (definition D30)."""

from __future__ import annotations

import dataclasses
import datetime as dt
import math
from typing import Any

import numpy as np
import polars as pl

from churn_clv import actions, config, forgotten, playbook
from churn_clv.errors import UserError, nearest
from churn_clv.events import Log

HOW = ("leave a part of the customers out by chance (or begin with a part), keep who was in which arm as a table of "
       "events.attributes, and name it in loyalty.programme (docs/loyalty.md)")  # fmt: skip
UNLIKE = 0.001  # arms that chance alone makes so unlike before the programme only this often were not drawn by chance


def programme(settings: config.Config, log: Log) -> dict[str, Any]:
    """Cost, effect and profit of the programme from its first day to the log's end, or ``why`` not and ``how`` to.

    Intention to treat: everyone in the table counts in the arm drawn, whatever they did. Margin and lapse of these
    days, margins cut at a quantile of those before, each beside the same customer's own of as many days before.
    Raises UserError where the config names a table, column or arm that is not there.
    """
    own = settings.loyalty.programme
    if own is None:
        points = settings.loyalty.points
        seen = points in log.starts or bool(settings.loyalty.levels)
        why = ("members differ from others before they join, and nobody was left out by chance" if seen else
               f"the log shows no loyalty programme (no '{points}' events)")  # fmt: skip
        return {"measurable": False, "why": why, "how": HOW}
    arms = _arms(own, settings, log)
    until = min(own.until or log.ends, log.ends)
    days = (until - own.since).days
    head: dict[str, Any] = {
        "since": own.since.isoformat(),
        "until": until.isoformat(),
        "cost": own.cost,
        "measurable": False,
        "how": HOW,
    }
    head |= {"treated": arms.filter(arm=actions.TREATED).height, "control": arms.filter(arm=actions.HOLDOUT).height}
    earlier = min(days, (own.since - log.starts["purchase"]).days) if "purchase" in log.starts else 0
    if days < 1 or earlier < 1:
        when = "has no day in the log yet" if days < 1 else "began before the log, so the arms cannot be compared"
        return head | {"why": f"it {when}", "how": "give loyalty.programme.since, and a log that holds days before it"}
    measure = playbook.load_actions(playbook.files_of(settings)).measure
    if fault := actions.unusable(head["treated"], head["control"], own.control_share, measure.least):
        return head | {"why": fault}
    return head | _measured(arms, earlier, days, settings, log, measure)


def _measured(
    arms: pl.DataFrame, earlier: int, days: int, settings: config.Config, log: Log, measure: Any
) -> dict[str, Any]:  # fmt: skip
    own = settings.loyalty.programme
    assert own is not None
    before = _came(arms, own.since - dt.timedelta(days=earlier), earlier, None, settings, log)
    bought = before["margin"].filter(before["margin"] > 0)
    cap = None if bought.is_empty() else float(bought.quantile(measure.cap_quantile) or 0.0) * days / earlier
    came = _came(arms, own.since, days, cap, settings, log)
    treated, apart = (arms["arm"] == actions.TREATED).to_numpy(), measure.confidence
    past, lapsed = before["margin"].to_numpy(), before["lapsed"].to_numpy()
    alike = actions.effect(past, treated, np.zeros(len(past)), apart)
    if alike.se > 0 and math.erfc(abs(alike.effect / alike.se) / math.sqrt(2)) < UNLIKE:
        return {"why": f"the arms were unlike before it began (margin of {earlier} days {alike.effect:+,.2f} each, "
                       f"{alike.low:+,.2f} to {alike.high:+,.2f}): they were not drawn by chance"}  # fmt: skip
    gained = actions.effect(came["margin"].to_numpy(), treated, past, apart)
    n = int(treated.sum())
    return {
        "measurable": True, "why": None, "days": days, "days_before": earlier, "cap": cap,
        "before": dataclasses.asdict(alike), "margin": dataclasses.asdict(gained),
        "lapse": dataclasses.asdict(actions.effect(came["lapsed"].to_numpy(), treated, lapsed, apart)),
        "gained": n * gained.effect, "gained_low": n * gained.low, "gained_high": n * gained.high,
        "profit": n * gained.effect - own.cost, "low": n * gained.low - own.cost, "high": n * gained.high - own.cost,
    }  # fmt: skip


def _came(
    arms: pl.DataFrame, cutoff: dt.date, days: int, cap: float | None, settings: config.Config, log: Log
) -> pl.DataFrame:  # fmt: skip
    """``lapsed`` and ``margin`` of so many days from a cutoff, as ``measure`` takes them."""
    document = {"margin_share": settings.value.margin_share, "winsor_cap": cap}
    one = {"cutoff": cutoff, "horizon_days": days, "document": document, "rows": arms}
    return actions.outcomes(one, log, settings, ())


def _arms(own: config.Programme, settings: config.Config, log: Log) -> pl.DataFrame:
    """``customer_id`` and ``arm`` of who was drawn; of dated lines the last before the programme began."""
    table = log.attributes.get(own.attributes)
    if table is None:
        raise UserError(
            f"loyalty.programme.attributes: there is no '{own.attributes}' in events.attributes."
            f"{nearest(own.attributes, log.attributes)}"
        )
    if own.column not in table.columns:
        raise UserError(
            f"loyalty.programme.column: '{own.attributes}' has no column '{own.column}'."
            f"{nearest(own.column, table.columns)}"
        )
    if "valid_from" in table.columns:
        table = table.filter(pl.col("valid_from").dt.date() <= own.since).sort("valid_from", maintain_order=True)
    arms = dict.fromkeys(own.treated, actions.TREATED) | dict.fromkeys(own.control, actions.HOLDOUT)
    found = table.select("customer_id", arm=pl.col(own.column).cast(pl.String).str.strip_chars())
    if absent := sorted(set(arms) - set(found["arm"].drop_nulls())):
        there = ", ".join(sorted(found["arm"].drop_nulls().unique())[:5]) or "none"
        raise UserError(
            f"loyalty.programme: no customer is of arm {', '.join(absent)} (column '{own.column}' has: {there})."
        )
    kept = found.group_by("customer_id").last().with_columns(pl.col("arm").replace_strict(arms, default=None))
    return forgotten.without(settings)(kept.drop_nulls().sort("customer_id"))


def told(found: dict[str, Any], currency: str) -> str:
    """The sentence of the programme for people."""
    if not found["measurable"]:
        return f"Cost and effect of the loyalty programme are not shown: {found['why']}. To show them: {found['how']}."
    each, lapse = found["margin"], found["lapse"]
    return (
        f"The loyalty programme from {found['since']} until {found['until']}, {found['treated']:,} customers against "
        f"{found['control']:,} left out by chance (intention to treat): {each['effect']:+,.2f} {currency} of margin "
        f"each ({each['low']:+,.2f} to {each['high']:+,.2f}), lapse {lapse['effect']:+.1%} ({lapse['low']:+.1%} to "
        f"{lapse['high']:+.1%}); for a cost of {found['cost']:,.2f} a profit of {found['profit']:+,.2f} "
        f"({found['low']:+,.2f} to {found['high']:+,.2f})."
    )
