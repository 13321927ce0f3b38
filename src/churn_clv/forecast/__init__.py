"""The next horizon's sales: known customers one by one, new ones by their trend, checked at rolling origins.

docs/forecast.md says what each number means.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from churn_clv import config, timeline, training
from churn_clv.errors import UserError
from churn_clv.events import Log
from churn_clv.forecast._band import Pair, band
from churn_clv.forecast._known import WANTED, Known, origin_plans, plain, predict, too_few
from churn_clv.forecast._money import Money, Takings
from churn_clv.forecast._new import ahead
from churn_clv.recipe import Say, Workshop
from churn_clv.timeline import Plan

__all__ = ["WANTED", "run"]

PARTS: dict[str, Callable[[Money], float]] = {
    "known": lambda m: m.known,
    "new": lambda m: m.new,
    "total": lambda m: m.total,
}


@dataclass(frozen=True)
class Origin:
    """A forecast from a cutoff, and what came where the log has it; ``before`` is the money of the horizon before."""

    cutoff: dt.date
    known: Known
    new: float
    method: str
    before: float
    came: Money | None

    def said(self, part: str) -> float:
        return PARTS[part](Money(self.known.expected, self.new))

    def pair(self, part: str) -> Pair:
        assert self.came is not None, "an origin lies at least one horizon before the log's end"
        return Pair(self.cutoff, self.said(part), PARTS[part](self.came))


def run(settings: config.Config, log: Log, say: Say = lambda _: None) -> dict[str, Any]:
    """The forecast's document; docs/forecast.md says what each key means.

    Raises UserError where the log has no money, or is too short for a single origin.
    """
    one = plain(settings)
    targets, refused = training.answerable(log, one)
    if "spend" not in targets:
        why = refused.get("spend", "the config declares no target 'spend'")
        raise UserError(f"forecast: there is no money to forecast: {why}.")
    plans, step = origin_plans(log, one)
    if not plans:
        _refuse(log, one)
    horizon = settings.timeline.horizon_days
    now = timeline.make_plan(log.starts["purchase"], log.ends + dt.timedelta(days=horizon), one.timeline)
    shop = Workshop(log, one, [*plans, now], targets, say, shipping=False)
    takings = Takings(log, targets["spend"], shop.definitions)
    if why_not := too_few(shop, now):
        raise UserError(f"forecast: {why_not}. `churn-clv check` says what the log holds.")
    misses = {plan.test: too_few(shop, plan) for plan in plans}
    for when, missing in misses.items():
        if missing:
            say(f"no origin at {when}: {missing}")
    learnable = [plan for plan in plans if misses[plan.test] is None]
    if not learnable:
        raise UserError(f"forecast: no earlier origin can be learnt from: {misses[plans[-1].test]}.")
    origins = [_origin(log, shop, plan, takings, say) for plan in learnable]
    return _document(settings, log, origins, _origin(log, shop, now, takings, say), now, takings, step)


def _refuse(log: Log, one: config.Config) -> None:
    """Say why not even the newest origin fits."""
    try:
        timeline.make_plan(log.starts["purchase"], log.ends, one.timeline)
    except UserError as error:
        raise UserError(f"forecast: no origin fits before {log.ends}: {error}") from None


def _origin(log: Log, shop: Workshop, plan: Plan, takings: Takings, say: Say) -> Origin:
    when, horizon = plan.test, plan.horizon_days
    known = predict(log, shop, plan, say)
    starts = takings.newest(when, takings.settled, horizon) or [when - dt.timedelta(days=horizon)]
    new, method = ahead([takings.at(start, when).new for start in starts], horizon)
    before = takings.at(when - dt.timedelta(days=horizon), when).total
    came = takings.at(when) if plan.label_ends(when) <= log.ends else None
    return Origin(when, known, new, method, before, came)


def _moves(takings: Takings, when: dt.date, part: str) -> list[Pair]:
    """Of each window that ends by ``when``, half a horizon apart, what the window before it would have said."""
    horizon, get = takings.horizon_days, PARTS[part]
    back, step = dt.timedelta(days=horizon), -(-horizon // 2)
    return [
        Pair(start, get(takings.at(start - back, when)), get(takings.at(start, when)))
        for start in takings.newest(when, takings.settled + back, step)
    ]


def _band(
    now: Origin, origins: Sequence[Origin], takings: Takings, part: str, learnt: bool
) -> tuple[float, float] | None:
    """The band of a part of a forecast, from origins whose windows had ended by then."""
    horizon = takings.horizon_days
    ended = [o.pair(part) for o in origins if o.cutoff + dt.timedelta(days=horizon) <= now.cutoff]
    return band(now.said(part), ended, [] if learnt else _moves(takings, now.cutoff, part), horizon)


def _document(
    settings: config.Config, log: Log, origins: Sequence[Origin], now: Origin, plan: Plan, takings: Takings, step: int
) -> dict[str, Any]:
    learnt = training.season_learnt(plan)
    years = (now.cutoff - plan.earliest).days / training.DAYS_A_YEAR
    rows = [_row(o, origins, takings, plan) for o in origins]
    banded = [row for row in rows if row["total_low"] is not None]
    parts = {name: _part(now, origins, takings, name, learnt) for name in PARTS}
    parts["known"] |= {
        "eligible_expected": now.known.eligible,
        "customers": dict(now.known.customers),
        "unpredicted": now.known.unpredicted,
    }
    parts["new"] |= {"method": now.method}
    few = f"; the log holds too little for {WANTED}" if len(rows) < WANTED else ""
    alone = timeline.independent([o.cutoff for o in origins], takings.horizon_days)
    return {
        "dataset": settings.dataset,
        "cutoff": now.cutoff.isoformat(),
        "horizon_days": takings.horizon_days,
        "currency": log.rules.currency,
        **parts,
        "last_horizon": now.before,
        "season": "learnt" if learnt else "unseen",
        "season_note": f"labels cover {years:.1f} years" + ("" if learnt else "; a season needs two"),
        "origins": rows,
        "origin_step_days": step,
        "independent_origins": alone,
        "origins_note": f"{len(rows)} origins, {alone} of them independent{few}",
        "mape": _mape([row["total_predicted"] for row in rows], rows),
        "naive_mape": _mape([row["last_horizon"] for row in rows], rows),
        "inside_band": sum(row["total_low"] <= row["total_actual"] <= row["total_high"] for row in banded),
        "banded_origins": len(banded),
        "settled": takings.settled.isoformat(),
        "history": _history(takings, now.cutoff),
    }


def _part(now: Origin, origins: Sequence[Origin], takings: Takings, part: str, learnt: bool) -> dict[str, Any]:
    found = _band(now, origins, takings, part, learnt)
    assert found is not None, "a forecast has an origin"
    return {"expected": now.said(part), "low": found[0], "high": found[1]}


def _row(origin: Origin, origins: Sequence[Origin], takings: Takings, plan: Plan) -> dict[str, Any]:
    """An origin as it was: its band is made from those that had ended before it."""
    learnt = (origin.cutoff - plan.earliest).days >= 2 * training.DAYS_A_YEAR
    low, high = _band(origin, origins, takings, "total", learnt) or (None, None)
    pairs = {name: origin.pair(name) for name in PARTS}
    return {
        "cutoff": origin.cutoff.isoformat(),
        **{f"{n}_{what}": value for n, p in pairs.items() for what, value in
           (("predicted", p.said), ("actual", p.came))},
        "ratio": pairs["total"].said / pairs["total"].came if pairs["total"].came > 0 else None,
        "total_low": low,
        "total_high": high,
        "new_method": origin.method,
        "last_horizon": origin.before,
    }  # fmt: skip


def _mape(said: Sequence[float], rows: Sequence[dict[str, Any]]) -> float | None:
    """Mean absolute error over what came, of the origins whose window brought anything."""
    off = [abs(s / row["total_actual"] - 1) for s, row in zip(said, rows, strict=True) if row["total_actual"] > 0]
    return sum(off) / len(off) if off else None


def _history(takings: Takings, when: dt.date) -> list[dict[str, Any]]:
    """What came in each whole horizon before ``when``, oldest first."""
    starts = takings.newest(when, takings.starts, takings.horizon_days)
    return [{"start": s.isoformat(), "known": m.known, "new": m.new} for s in starts for m in (takings.at(s),)]
