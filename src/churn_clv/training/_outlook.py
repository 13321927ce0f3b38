"""What a bundle says of a customer's value beside its heads, learnt: orders, silence, bounds of CLV."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence

import numpy as np
import polars as pl

from churn_clv import config, labels, strata, timeline
from churn_clv.beside import AT_ONCE, together
from churn_clv.events import Log
from churn_clv.metrics import Array
from churn_clv.models import bounds, loss
from churn_clv.models.outlook import Outlook
from churn_clv.models.predict import answers
from churn_clv.models.retention import days_of, kinds, values
from churn_clv.models.silence import Silence
from churn_clv.recipe import Say
from churn_clv.training._judge import Judged
from churn_clv.training._lookback import Lookback, light_models, look_back
from churn_clv.training._report import CONFIRM_HORIZONS, confirmed

# A recipe needs so many horizons of log before a cutoff for its errors to say something of today's.
HISTORY = 2


def outlook(log: Log, judged: Judged, settings: config.Config, say: Say = lambda _: None) -> Outlook:
    """The recipe's orders, silence and bounds from all of the log."""
    found, totals = clv_bounds(log, settings, judged.targets, judged.chosen.trees.get("spend", 0), say)
    return Outlook(judged.chosen.orders, learn_silence(log, judged, settings), found, totals)


def learn_silence(log: Log, judged: Judged, settings: config.Config) -> Silence:
    """For each later horizon, who of those who lapsed at the newest cutoff old enough stayed silent to its end.

    As many as the loss table and the longest of ``clv.next_order_days`` need, and as the log has seen. The judged model
    ranks them, though it has learnt their lapses: it has never seen what came after these.
    """
    shop, horizon, tables = judged.shop, settings.timeline.horizon_days, []
    count = max(1 + CONFIRM_HORIZONS, -(-settings.clv.next_order_days[-1] // horizon))
    for later in range(1, count):
        cutoffs = confirmed(log, judged, (later + 1) * horizon)
        rows, lapsed = shop.rows(cutoffs), shop.table(cutoffs, None)
        gone = (lapsed[labels.column("churned", horizon)] == 1).to_numpy()
        if not gone.any():
            break
        risk = answers(judged.heads, shop.values[rows[gone]])[0][-1]
        pairs = lapsed.filter(gone).select("customer_id", "cutoff")
        tables.append(loss.fit_loss(risk, labels.returned(log.frame, pairs, horizon, later * horizon).to_numpy()))
    return Silence(tuple(tables))


# --- bounds of CLV ------------------------------------------------------------------------------
Found = tuple[dict[int, bounds.Bounds], dict[int, tuple[float, float]]]


def clv_bounds(
    log: Log, settings: config.Config, targets: dict[str, config.Target], trees: int, say: Say = lambda _: None
) -> Found:
    """Bounds of each number of months' money, and of its total, as far as months have matured; empty without spend.

    From what came after cutoffs that all of the months have followed; ``trees`` of the spend booster at each.
    """
    found: dict[int, bounds.Bounds] = {}
    totals: dict[int, tuple[float, float]] = {}
    if "spend" not in targets:
        return found, totals
    matured = {m: cutoffs for m in settings.clv.months if (cutoffs := matured_at(log, settings, m))}
    ever = sorted({c for each in matured.values() for c in each})
    models = light_models(log, settings, targets, ever, trees)
    seen = together(lambda c: look_back(log, settings, targets["spend"], c, models.get(c)), ever, AT_ONCE)
    looks = dict(zip(ever, seen, strict=True))
    for m, cutoffs in matured.items():
        say(f"bounding CLV of {m} months by what came after {', '.join(c.isoformat() for c in cutoffs)}")
        pairs = [months_money(log, targets["spend"], looks[c], m) for c in cutoffs]
        if not all(e.sum() > 0 and a.sum() > 0 for e, a, _ in pairs):
            continue
        expected, actual = (np.concatenate([p[i] for p in pairs]) for i in (0, 1))
        found[m] = bounds.fit_bounds(expected, actual, [s for p in pairs for s in p[2]])
        alone = timeline.independent(cutoffs, min(days_of(m, c) for c in cutoffs))
        totals[m] = strata.total_band([float(e.sum() / a.sum()) for e, a, _ in pairs], alone)
    return found, totals


def matured_at(log: Log, settings: config.Config, months: int) -> list[dt.date]:
    """Cutoffs that so many months of log have followed and enough has come before; oldest first.

    The newest of these months and of each longer number, so that one model serves several; where there is only one,
    also one so many months before it or, for want of log, half a horizon.
    """
    horizon = settings.timeline.horizon_days
    least = max(HISTORY * horizon, settings.timeline.min_history_days or 0)
    first = log.starts["purchase"] + dt.timedelta(days=least)
    longer = (m for m in settings.clv.months if m >= months)
    found = [c for m in (months, *longer) if (c := _before(log.ends, m)) >= first]
    if len(set(found)) == 1:
        earlier = (_before(found[0], months), found[0] - dt.timedelta(days=-(-horizon // 2)))
        found += [c for c in earlier if c >= first][:1]
    return sorted(set(found))


def _before(day: dt.date, months: int) -> dt.date:
    """The same day so many months earlier."""
    return day + dt.timedelta(days=days_of(-months, day))


def months_money(log: Log, spend: config.Target, look: Lookback, months: int) -> tuple[Array, Array, Sequence[str]]:
    """Expected and actual money of the months after a look, and the strata; (customers,), of those who have a CLV."""
    rows, days = look.rows, days_of(months, look.cutoff)
    expected, _ = values(
        look.learnt, kinds(rows["stratum"].to_list(), [look.cutoff] * rows.height), look.first, months, 0.0
    )
    whole = spend.model_copy(update={"horizon_days": days})
    came = labels.build(log.frame, rows.select("customer_id", "cutoff"), {"spend": whole}, days,
                        minor_units=log.rules.minor_units, ends=log.ends)  # fmt: skip
    known = ~np.isnan(expected)
    actual = came[labels.column("spend", days)].to_numpy()
    return expected[known], actual[known], rows["stratum"].filter(pl.Series(known)).to_list()
