"""A plan as a document: totals, actions, power, and what stands in its way."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import polars as pl

from churn_clv.actions import _power
from churn_clv.actions._curve import curve, sensitivity
from churn_clv.actions._solve import Solution
from churn_clv.errors import nearest
from churn_clv.playbook import Actions, Bools, Floats, Terms, rates_of, source

if TYPE_CHECKING:
    from churn_clv.actions._plan import Situation

TREATED, HOLDOUT = "treated", "holdout"
ALL = "all"  # the segment of everybody where effects are not measured by a column


def document_of(
    actions: Actions, situation: Situation, frame: pl.DataFrame, terms: Terms, profit: Floats, found: Solution,
    barred: dict[str, Bools],
) -> dict[str, Any]:  # fmt: skip
    treated = frame.filter(arm=TREATED)
    at_risk = frame.filter(pl.col("value_at_risk").is_not_null())
    scores = situation.scores
    return {
        "campaign": situation.campaign,
        "cutoff": situation.cutoff.isoformat(),
        "horizon_days": int(scores["horizon_days"][0]),
        "margin_share": situation.margin,
        "known": frame.height,
        "with_value": at_risk.height,
        "value_at_risk": _sum(at_risk["value_at_risk"]),
        "left_out": _counts(frame["why_not"]),
        "barred_by_rule": {rule: int(who.any(axis=1).sum()) for rule, who in barred.items()},
        "selected": int(frame["arm"].count()),
        "treated": treated.height,
        "holdout": int((frame["arm"] == HOLDOUT).sum()),
        "holdout_share": actions.holdout.share,
        "budget": actions.budget,
        "capacity": actions.capacity,
        "expected_cost": _sum(treated["expected_cost"]),
        "promised_profit": _sum(treated["expected_profit"]),
        "value_kept": _sum(treated["value_kept"]),
        "profit_given_up_by_holdout": _sum(frame.filter(arm=HOLDOUT)["expected_profit"]),
        "best_possible": found.bound,
        "found": found.profit,
        "assumed": sorted({name for name in actions.actions if source(actions, name) == "assumed"}),
        "actions": [_told(actions, frame, name) for name in actions.actions],
        "power": _power_of(actions, frame),
        "winsor_cap": _cap(actions, scores, situation.margin),
        "curve": curve(profit, terms),
        "sensitivity": sensitivity(frame.filter(arm=TREATED)),
    }


def _told(actions: Actions, frame: pl.DataFrame, name: str) -> dict[str, Any]:
    own = frame.filter(action=name)
    treated = own.filter(arm=TREATED)
    return {
        "action": name, "channel": actions.actions[name].channel, "rates": source(actions, name),
        "best_for": int((frame["best_action"] == name).sum()), "selected": own.height, "treated": treated.height,
        "holdout": own.height - treated.height, "expected_cost": _sum(treated["expected_cost"]),
        "promised_profit": _sum(treated["expected_profit"]), "value_kept": _sum(treated["value_kept"]),
        "mean_save_rate": treated["save_rate"].mean(),
        "mean_break_even": treated["break_even_save_rate"].mean(),
        "detectable": _detectable(actions, own),
    }  # fmt: skip


def _detectable(actions: Actions, own: pl.DataFrame) -> float | None:
    held = own.filter(arm=HOLDOUT).height
    rate = own["lapse"].mean()
    if not isinstance(rate, float):
        return None
    m = actions.measure
    return _power.detectable(rate, own.height - held, held, m.confidence, m.power)


def _power_of(actions: Actions, frame: pl.DataFrame) -> dict[str, Any]:
    """The smallest change in lapse that the arms can show, beside the one that is promised."""
    own = frame.filter(pl.col("arm").is_not_null())
    rate, m = own["lapse"].mean(), actions.measure
    p = pl.col("lapse")
    promised = own.select((p * pl.col("save_rate") - (1 - p) * pl.col("driven_away")).mean()).item()
    smallest = _detectable(actions, own)
    asked = None
    if isinstance(rate, float) and promised is not None:
        asked = _power.needed(rate, promised, actions.holdout.share, m.confidence, m.power)
    return {
        "lapse_expected": rate, "promised_effect": promised, "detectable_effect": smallest,
        "enough": None if smallest is None or promised is None else bool(promised >= smallest),
        "customers_needed": asked, "power": m.power, "confidence": m.confidence,
    }  # fmt: skip


def _cap(actions: Actions, scores: pl.DataFrame, margin: float) -> float | None:
    """Where margins are cut before they are compared: a quantile of the margin that few exceed, fixed beforehand."""
    upper = "expected_spend_high" if "expected_spend_high" in scores.columns else "expected_spend"
    margins = scores[upper] * pl.Series(rates_of(actions, scores, margin))
    return margins.quantile(actions.measure.cap_quantile)


def gaps(actions: Actions, document: dict[str, Any], allowed: Bools, scores: pl.DataFrame) -> list[str]:
    """What stands in the way of a plan, and what to do about it."""
    out = []
    for place, name in enumerate(actions.actions):
        if not allowed[:, place].any():
            out.append(f"{name}: no customer is eligible. See its `eligible` and the playbook's rules.")
    if not document["with_value"]:
        out.append(
            "no customer has a churn probability and an expected spend, so no action can be priced: "
            f"{document['left_out']}. Score at a later cutoff, or give the action a `lapse_probability` and a `value`."
        )
    if actions.budget == 0 or actions.capacity == 0:
        which = "budget" if actions.budget == 0 else "capacity"
        out.append(f"{which} is 0, so nobody is selected; the curve says what each contact would bring.")
    if document["selected"] and not document["holdout"]:
        out.append("nobody is held out: the campaign's effect will not be measurable. Give holdout.share, such as 0.1.")
    segment = actions.measure.segment
    if segment != ALL and segment not in scores.columns:
        out.append(
            f"measure.segment: the scores have no '{segment}', so effects will be measured of all together."
            f"{nearest(segment, scores.columns)}"
        )
    power = document["power"]
    if power["enough"] is False:
        out.append(
            f"the holdout can show an effect on lapse of {100 * power['detectable_effect']:.2f} points, the plan "
            f"promises {100 * power['promised_effect']:.2f}: to see it takes {power['customers_needed']:,} customers, "
            f"in this campaign or in several together."
        )
    return out


def _sum(column: pl.Series) -> float:
    return float(column.drop_nulls().to_numpy().sum())


def _counts(column: pl.Series) -> dict[str, int]:
    return {str(k): int(v) for k, v in sorted(column.drop_nulls().value_counts().rows())}
