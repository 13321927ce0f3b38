"""The recipe as it would have been at cutoffs so old that much has come since: what CLV is judged and bounded by."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from churn_clv import config, features, labels, retention, timeline
from churn_clv.errors import UserError
from churn_clv.events import Log
from churn_clv.metrics import Array
from churn_clv.models import btyd
from churn_clv.models.predict import raw_margin
from churn_clv.models.retention import Retention
from churn_clv.recipe import Lesson, Workshop
from churn_clv.timeline import Definitions, Plan
from churn_clv.training._judge import MIN_CLASS, Judged, judge_at

# The definitions of then, and the money of the first window of the eligible, in the matrix's order.
Model = tuple[Definitions, Array]
LIGHT_CUTOFFS = 4


@dataclass(frozen=True)
class Lookback:
    """Everyone known at a cutoff (``rows``, as ``retention.known_at``), and what was expected of them then.

    ``first`` (rows,) is the money of the first window, NaN for the ineligible where nothing was learnt;
    ``source`` says what it rests on. ``btyd`` (rows, windows) is that rung's money, where it was asked for.
    """

    cutoff: dt.date
    definitions: Definitions
    rows: pl.DataFrame
    first: Array
    learnt: Retention
    source: str
    btyd: Array | None


def look_back(
    log: Log, settings: config.Config, spend: config.Target, cutoff: dt.date, model: Model | None, count: int = 0
) -> Lookback:
    """From nothing that ends after ``cutoff``: by a ``model`` of then (None: the first window is BTYD's).

    ``count``: windows of BTYD's that are wanted too.
    """
    past = timeline.until(log, cutoff)
    history = settings.timeline.min_history_days or settings.timeline.horizon_days
    definitions = model[0] if model else timeline.define(past, settings, as_of=cutoff, known_by=cutoff)
    rows = retention.known_at(past, definitions, [cutoff])
    rungs = btyd_windows(past, definitions, rows, max(count, 1)) if count or model is None else None
    learnt = retention.learn(past, definitions, spend, log.starts["purchase"] + dt.timedelta(days=history))
    first = np.array([learnt.spend.get(s, np.nan) for s in rows["stratum"]], dtype=np.float64)
    eligible = rows["eligible"].to_numpy()
    if model is not None:
        first[eligible], source = model[1], "horizon model"
    else:
        assert rungs is not None
        first[eligible] = rungs[eligible, 0]
        source = "BTYD, for too little history or money for the horizon model"
    return Lookback(cutoff, definitions, rows, first, learnt, source, rungs)


def model_of(judged: Judged | None) -> Model | None:
    """A judged recipe as ``look_back`` takes it."""
    return (judged.definitions, judged.predictions["expected_spend"].to_numpy()) if judged else None


def horizon_models(
    log: Log, settings: config.Config, targets: dict[str, config.Target], cutoffs: Sequence[dt.date]
) -> dict[dt.date, Judged]:
    """The recipe judged at each cutoff that leaves enough history for it: the horizon as one part, one origin.

    More parts and origins cost eight times the fitting and hardly move the horizon's spend.
    """
    out: dict[dt.date, Judged] = {}
    shop, plans = _workshop(log, settings, targets, cutoffs)
    if shop is None:
        return out
    for plan in plans:
        try:
            out[plan.test] = judge_at(shop, plan, {}, lambda _: None)
        except UserError:  # too few churned or stayed
            continue
    return out


def light_models(
    log: Log, settings: config.Config, targets: dict[str, config.Target], cutoffs: Sequence[dt.date], trees: int
) -> dict[dt.date, Model]:
    """The same with a booster of spend alone, of ``trees`` trees, from four cutoffs spread over a horizon.

    It costs a twentieth, and a month's spend is told a little less well: what is learnt from its errors is wide
    rather than narrow.
    """
    out: dict[dt.date, Model] = {}
    own = settings.timeline
    step = max(own.step_days, -(-own.horizon_days // LIGHT_CUTOFFS))
    spread = own.model_copy(update={"max_train_cutoffs": LIGHT_CUTOFFS, "step_days": step})
    shop, plans = _workshop(log, settings.model_copy(update={"timeline": spread}), targets, cutoffs)
    if shop is None:
        return out
    for plan in plans:
        booster, scale, level = shop.balanced(Lesson(plan, plan.test), trees, active_only=False)
        raw = raw_margin(booster, shop.values[shop.rows([plan.test])])
        out[plan.test] = shop.definitions, scale * np.exp(level + raw)
    return out


def _workshop(
    log: Log, settings: config.Config, targets: dict[str, config.Target], cutoffs: Sequence[dt.date]
) -> tuple[Workshop | None, list[Plan]]:
    """One workshop for all cutoffs that leave enough history and money, and their plans."""
    plain = settings.timeline.model_copy(update={"sub_windows": 1, "validation_origins": 1})
    one = settings.model_copy(update={"timeline": plain})
    horizon, plans = dt.timedelta(days=settings.timeline.horizon_days), []
    for cutoff in cutoffs:
        try:
            plans.append(timeline.make_plan(log.starts["purchase"], cutoff + horizon, plain))
        except UserError:  # too little history
            continue
    if not plans:
        return None, []
    shop = Workshop(timeline.until(log, plans[-1].ends), one, plans, targets, lambda _: None, shipping=False)
    return shop, [plan for plan in plans if _some_money(shop, plan)]


def _some_money(shop: Workshop, plan: Plan) -> bool:
    """Whether enough customers spend anything in what is learnt from and validated on."""
    spend = labels.column("spend", plan.horizon_days)
    learnt = [shop.table(cutoffs, plan.test)[spend] for cutoffs in (plan.train, plan.origins)]
    return min(int((money > 0).sum()) for money in learnt) >= MIN_CLASS


def btyd_windows(past: Log, definitions: Definitions, rows: pl.DataFrame, count: int) -> Array:
    """BG/NBD or MBG/NBD x Gamma-Gamma, window by window; 0 for those who never bought."""
    everyone = features.build(
        timeline.Past(past.frame, rows.select("customer_id", "cutoff")), definitions, btyd.COLUMNS
    )
    bought = (everyone["purchase_days"] > 0).fill_null(False)
    known, horizon = everyone.filter(bought), definitions.horizon_days
    fit = btyd.fitted(known, known, horizon)
    out = np.zeros((rows.height, count))
    if fit is None:  # then what the rung itself falls back to, the same in every window
        rung, _ = btyd.rung(known, known, horizon) if known.height else (None, "")
        if rung is not None and rung.spend is not None:
            out[bought.to_numpy()] = rung.spend[:, None]
        return out
    value, _ = btyd.order_value(known, known)
    histories = btyd.histories(known)
    orders = [btyd.expected_orders(fit, histories, horizon / 7 * k) for k in range(1, count + 1)]
    out[bought.to_numpy()] = np.diff(np.stack([np.zeros(known.height), *orders], axis=1), axis=1) * value[:, None]
    return out
