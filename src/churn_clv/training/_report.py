"""What a training says of itself: the data, the choices, the metrics, who came back."""

from __future__ import annotations

import datetime as dt
from typing import Any

import numpy as np
import polars as pl

from churn_clv import config, features, labels, metrics, timeline
from churn_clv.events import Log
from churn_clv.models import baseline, loss
from churn_clv.models.predict import answers
from churn_clv.training._judge import Judged

# The confirmation window of definition D6, in horizons: a customer back within it had only paused.
CONFIRM_HORIZONS = 3


def chosen_as_json(judged: Judged) -> dict[str, Any]:
    """What the validation origins chose, for reports."""
    chosen = judged.chosen
    return {
        "cutoff": judged.plan.test.isoformat(),
        "churn_trees": chosen.trees["churned"],
        "spend_trees": chosen.trees.get("spend"),
        "fresh": chosen.fresh,
        "linear_c": chosen.linear_c,
        "linear_weight": chosen.linear_share,
        "renewal_weight": chosen.renewal_share,
        "two_part_weight": chosen.two_part,
        "priced_weight": chosen.priced,
        "intercept": chosen.intercept,
        "slope": chosen.slope,
        "validation_origins": len(judged.plan.origins),
    }


def out_of_time(judged: Judged) -> pl.DataFrame:
    """The judged recipe's predictions at the test cutoff beside what happened.

    Columns: customer_id, cutoff, churned (0/1), churn_probability, spend and expected_spend (major units, null where
    no spend was trained).
    """
    horizon, nothing = judged.definitions.horizon_days, pl.lit(None, dtype=pl.Float64)
    spend = labels.column("spend", horizon)
    both = judged.test.hstack(judged.predictions)
    money = "expected_spend" in both.columns
    return both.select(
        "customer_id",
        "cutoff",
        churned=pl.col(labels.column("churned", horizon)),
        churn_probability=pl.col("churn_probability"),
        spend=pl.col(spend) if money else nothing,
        expected_spend=pl.col("expected_spend") if money else nothing,
    )


def describe(log: Log, judged: Judged, settings: config.Config) -> dict[str, Any]:
    """What the data were, for the report: rows, policies, who was asked about, and how many come back."""
    rate, within = label_return_rate(log, judged, settings)
    horizon = settings.timeline.horizon_days
    test_ends = judged.plan.label_ends(judged.plan.test)
    everyone = timeline.pairs_of(log.frame["customer_id"].unique(), [judged.plan.test, test_ends])
    known = timeline.known_among(log.frame, everyone)["cutoff"]
    known_before, known_after = int((known == judged.plan.test).sum()), int((known == test_ends).sum())
    net, spend = labels.column("net_spend", horizon), labels.column("spend", horizon)
    clipped = judged.test.select((pl.col(spend) - pl.col(net)).sum()).item() if net in judged.test.columns else None
    return {
        "dataset": settings.dataset,
        "rows": log.frame.height,
        "customers": log.frame["customer_id"].n_unique(),
        "first_day": log.starts["purchase"].isoformat(),
        "ends": log.ends.isoformat(),
        "fingerprint": log.fingerprint,
        "policies": [{"policy": c.policy, "source": c.source, "rows": c.rows, "action": c.action} for c in log.counts],
        "eligible_at_test": judged.test.height,
        "known_at_test": known_before,
        "new_customers_in_test_window": known_after - known_before,
        "clipped_spend_in_test_window": clipped,
        "label_return_rate": rate,
        "label_return_within_days": within,
        **_treated(judged),
        "features": len(features.core(judged.definitions)),
        "families_left_out": features.left_out(judged.definitions),
        "targets_refused": judged.refused,
    }


def _treated(judged: Judged) -> dict[str, Any]:
    """Share of snapshots that were left out because a campaign reached the customer; nothing where none did (D31)."""
    left, out = judged.snapshots.height, judged.shop.treated
    return {"treated_share": out / (left + out)} if out else {}


def label_return_rate(log: Log, judged: Judged, settings: config.Config) -> tuple[float | None, int]:
    """Share of those labelled churned who bought again within the confirmation window, and its days (D6).

    Measured at the newest cutoff of the plan whose confirmation window lies inside the log.
    """
    horizon = settings.timeline.horizon_days
    within = CONFIRM_HORIZONS * horizon
    rows = judged.shop.table(confirmed(log, judged, horizon + within), None)
    churned = rows[labels.column("churned", horizon)]
    return labels.return_rate(log.frame, rows.select("customer_id", "cutoff"), churned, horizon, within), within


def confirmed(log: Log, judged: Judged, days: int) -> list[dt.date]:
    """The newest snapshots' cutoff that is followed by so many days of log; none where the log is too short."""
    there = judged.snapshots["cutoff"].unique().sort().to_list()
    return [c for c in there if c <= log.ends - dt.timedelta(days=days)][-1:]


def loss_table(log: Log, judged: Judged, settings: config.Config) -> loss.LossTable | None:
    """From lapse to loss: who, of those who lapsed at the newest confirmed cutoff, came back (definition D6).

    The judged model ranks them, though it has learnt their lapses: it has never seen what came after these.
    """
    horizon = settings.timeline.horizon_days
    within = CONFIRM_HORIZONS * horizon
    cutoffs = confirmed(log, judged, horizon + within)
    rows, lapsed = judged.shop.rows(cutoffs), judged.shop.table(cutoffs, None)
    gone = (lapsed[labels.column("churned", horizon)] == 1).to_numpy()
    if not gone.any():
        return None
    risk = answers(judged.heads, judged.shop.values[rows[gone]])[0][-1]
    back = labels.returned(log.frame, lapsed.filter(gone).select("customer_id", "cutoff"), horizon, within)
    return loss.fit_loss(risk, back.to_numpy())


def own_metrics(judged: Judged) -> dict[str, float | None]:
    """Every metric of the judged recipe at its test cutoff."""
    horizon = judged.definitions.horizon_days
    churned = judged.test[labels.column("churned", horizon)].to_numpy()
    found: dict[str, float | None] = dict.fromkeys(metrics.METRIC_KEYS)
    found |= metrics.churn_metrics(churned, judged.predictions["churn_probability"].to_numpy())
    if "spend" in judged.targets:
        money = judged.test[labels.column("spend", horizon)].to_numpy()
        found |= metrics.spend_metrics(money, judged.predictions["expected_spend"].to_numpy())
    return found | {"n": judged.test.height}


def rung_metrics(rung: baseline.Rung, judged: Judged) -> dict[str, float | None]:
    """The same of a rung, on the same rows."""
    horizon = judged.definitions.horizon_days
    money = labels.column("spend", horizon)
    spend = judged.test[money].to_numpy() if money in judged.test.columns else None
    return baseline.metrics_of(rung, judged.test[labels.column("churned", horizon)].to_numpy(), spend)


def importance(judged: Judged) -> pl.DataFrame:
    """Gain per feature of the judged boosters: feature, churn_gain, spend_gain, highest churn_gain first."""
    columns = features.core(judged.definitions)
    gains = {"churned": np.zeros(len(columns)), "spend": np.zeros(len(columns))}
    for h in judged.heads:  # without the hazard's own last column, the part of the horizon
        gains["churned" if h.kind == "hazard" else "spend"] += h.booster.feature_importance("gain")[: len(columns)]
        if h.whole is not None:
            gains["churned"] += h.whole.feature_importance("gain")
    return pl.DataFrame({"feature": columns, "churn_gain": gains["churned"], "spend_gain": gains["spend"]}).sort(
        "churn_gain", "feature", descending=[True, False]
    )
