"""After a campaign: what it did against its holdout, what was promised, and rates that the next plan takes."""

from __future__ import annotations

import dataclasses
import datetime as dt
from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl
import yaml

from churn_clv import config, labels
from churn_clv.actions._effect import RATIO_ALARM, Effect, effect, response, sample_ratio, takers
from churn_clv.actions._telling import ALL, HOLDOUT, TREATED
from churn_clv.actions._uplift import auuc, qini
from churn_clv.errors import UserError
from churn_clv.events import Log
from churn_clv.playbook import Action, Actions


def measure(actions: Actions, campaigns: Sequence[dict[str, Any]], log: Log, settings: config.Config) -> dict[str, Any]:
    """The document of ``churn-clv measure``, with the overlay of measured rates under ``overlay``.

    ``campaigns`` as the outbox gives them. UserError where none was released.
    """
    if not campaigns:
        raise UserError("no campaign was released yet. `churn-clv act CONFIG --send` releases one.")
    told, frames = [], []
    for one in campaigns:
        ends = one["cutoff"] + dt.timedelta(days=one["horizon_days"])
        if ends > log.ends:
            told.append(_head(one) | {"measurable": False, "why": f"its window ends {ends}, the log {log.ends}"})
            continue
        frame = outcomes(one, log, settings, actions.measure.takes)
        said = _campaign(actions, one, frame)
        told.append(said)
        if said["sample_ratio_p"] >= RATIO_ALARM:
            frames.append(frame.with_columns(campaign=pl.lit(one["name"])))
    rates = measured_rates(actions, pl.concat(frames)) if frames else {}
    return {
        "dataset": settings.dataset,
        "log_ends": log.ends.isoformat(),
        "campaigns": told,
        "together": _together(told),
        "notes": _notes(actions, log),
        "rates": rates,
        "overlay": overlay(actions, rates),
    }


def _notes(actions: Actions, log: Log) -> list[str]:
    """What the document asks of events that the log does not hold."""
    gone = sorted(set(actions.measure.takes) - set(log.starts))
    if not gone:
        return []
    return [
        f"measure.takes: the log has no events of type {', '.join(gone)} (it has {', '.join(log.starts)})."
        + ("" if set(actions.measure.takes) & set(log.starts) else " Offers are counted as expected, not as taken.")
    ]


def outcomes(one: dict[str, Any], log: Log, settings: config.Config, takes: Sequence[str]) -> pl.DataFrame:
    """A campaign's rows with what came: ``lapsed`` 0/1, ``spend`` and ``margin`` (cut at the plan's cap), ``took`` 0/1.

    ``took`` is null where ``takes`` names nothing that the log holds: an event that was never written down is no proof
    that nobody took the offer.
    """
    horizon, document = one["horizon_days"], one["document"]
    pairs = one["rows"].select("customer_id", cutoff=pl.lit(one["cutoff"]))
    core = {name: settings.targets[name] for name in config.CORE if name in settings.targets}
    found = labels.build(log.frame, pairs, core, horizon, minor_units=log.rules.minor_units, ends=log.ends)
    rows: pl.DataFrame = one["rows"]
    cap, share = document.get("winsor_cap"), pl.Series([document["margin_share"]] * rows.height, dtype=pl.Float64)
    if "margin_rate" in rows.columns:  # as the plan promised by; null of plans before there were such rates
        share = rows["margin_rate"].fill_null(document["margin_share"])
    spend = found[labels.column("spend", horizon)]
    margin = share * spend
    kept = margin if cap is None else margin.clip(upper_bound=cap)
    out = rows.with_columns(
        lapsed=found[labels.column("churned", horizon)],
        spend=spend * (kept / margin).fill_nan(1.0),  # cut where the margin is
        margin=kept,
        took=pl.lit(None, pl.Float64),
    )
    if not set(takes) & set(log.starts):
        return out
    day = (pl.col("time").dt.date() - pl.lit(one["cutoff"])).dt.total_days()
    took = log.frame.filter(pl.col("event_type").is_in(list(takes)) & (day >= 0) & (day < horizon))["customer_id"]
    return out.with_columns(took=pl.col("customer_id").is_in(took.unique().implode()).cast(pl.Float64))


def measured_rates(actions: Actions, rows: pl.DataFrame) -> dict[str, dict[str, Any]]:
    """By action, what rows of ``outcomes`` with their ``campaign`` say of its rates; only those with enough rows."""
    out = {}
    for name, action in actions.actions.items():
        own = rows.filter(action=name)
        arms = own["arm"].value_counts().rows()
        if len(arms) == 2 and min(n for _, n in arms) >= actions.measure.least:
            out[name] = _rates(actions, action, own)
    return out


def overlay(actions: Actions, rates: dict[str, dict[str, Any]]) -> str:
    """The measured rates as YAML that ``act --actions`` takes behind the file that they were assumed in."""
    document: dict[str, Any] = {}
    for name, found in rates.items():
        own = document.setdefault(name, {})
        for rate in ("save_rate", "driven_away", "take_rate"):
            if rate not in found:
                continue
            value = found[rate]
            groups = {g: _short(v["rate"]) for g, v in value["groups"].items()}
            # measured without segments: the one group is everybody, no guess at a group that was not seen
            whole = value["groups"][ALL] if set(groups) == {ALL} else value["otherwise"]
            by = {"by": actions.measure.segment, "rates": groups} if groups and set(groups) != {ALL} else {}
            own[rate] = by | {"otherwise": _short(whole["rate"]), "assumed": value["assumed"],
                              "measured": found["campaigns"]}  # fmt: skip
    head = "# Rates measured by `churn-clv measure`, shrunk to what was assumed. churn-clv act CONFIG --actions THIS\n"
    return head + yaml.safe_dump({"actions": document}, sort_keys=False) if document else ""


def _short(value: float) -> float:
    return round(value, 5)


def _head(one: dict[str, Any]) -> dict[str, Any]:
    rows, document = one["rows"], one["document"]
    treated = rows.filter(arm=TREATED)
    return {
        "campaign": one["name"], "cutoff": one["cutoff"].isoformat(), "horizon_days": one["horizon_days"],
        "treated": treated.height, "holdout": rows.height - treated.height,
        "promised_profit": float(treated["expected_profit"].sum()),
        "detectable_effect": document.get("power", {}).get("detectable_effect"),
        "margin_share": document.get("margin_share"),
    }  # fmt: skip


def _campaign(actions: Actions, one: dict[str, Any], frame: pl.DataFrame) -> dict[str, Any]:
    """One campaign whose window has closed."""
    head, m = _head(one), actions.measure
    share = one["document"].get("holdout_share", actions.holdout.share)
    ratio = sample_ratio(head["treated"], head["holdout"], share)
    said = head | {"sample_ratio_p": ratio, "measurable": False, "lapse": None, "margin": None, "spend": None,
                   "realised": None}  # fmt: skip
    if why := unusable(head["treated"], head["holdout"], share, m.least):
        return said | {"why": why}
    arm = (frame["arm"] == TREATED).to_numpy()
    lapse, lapsed = frame["lapse"].to_numpy(), frame["lapsed"].to_numpy()
    money = frame["margin"].to_numpy()
    expected = ((1 - frame["lapse"]) * frame["value"]).to_numpy()
    change = effect(lapsed, arm, lapse, m.confidence)
    gained = effect(money, arm, expected, m.confidence)
    sold = effect(frame["spend"].to_numpy(), arm, _expected_spend(one, frame), m.confidence)
    cost, counted = _costs(frame)
    n = head["treated"]
    kept = (frame["lapse"] * frame["save_rate"] * frame["value"]).to_numpy()
    return said | {
        "measurable": True, "why": None, "lapse": _told(change), "margin": _told(gained), "spend": _told(sold),
        "cost": cost, "offers": "counted" if counted else "assumed",
        "realised": {"profit": n * gained.effect - cost, "low": n * gained.low - cost, "high": n * gained.high - cost},
        "lapse_rate": {"treated": float(lapsed[arm].mean()), "holdout": float(lapsed[~arm].mean())},
        "qini_by_value_kept": qini(kept, money, arm), "qini_by_risk": qini(lapse, money, arm),
        "auuc_by_value_kept": auuc(kept, money, arm), "auuc_by_risk": auuc(lapse, money, arm),
    }  # fmt: skip


def _expected_spend(one: dict[str, Any], frame: pl.DataFrame) -> Any:
    """What the model expected each to spend: its margin over the rate that the plan took; 0 where that is 0."""
    share = one["document"]["margin_share"]
    rate = frame["margin_rate"].fill_null(share) if "margin_rate" in frame.columns else pl.Series([share] * len(frame))
    expected = (1 - frame["lapse"]) * frame["value"] / rate
    return expected.set(rate == 0, 0.0).to_numpy()


def unusable(treated: int, held: int, share: float, least: int) -> str | None:
    """Why arms of these sizes, drawn with a holdout of ``share``, cannot be compared; None where they can."""
    if min(treated, held) < least:
        return f"an arm has fewer than {least} customers (measure.least)"
    if (ratio := sample_ratio(treated, held, share)) < RATIO_ALARM:
        return f"the arms' sizes do not fit a holdout of {share:.0%} (p = {ratio:.1g}): lines were lost"
    return None


def _costs(frame: pl.DataFrame) -> tuple[float, bool]:
    """What the treated cost: contacts, and offers as taken where takes are events, else as expected."""
    own = frame.filter(arm=TREATED)
    counted = own["took"].null_count() == 0
    p = pl.col("lapse")
    expected = p * pl.col("save_rate") + (1 - p) * pl.col("take_rate")
    paid = own.select((pl.col("contact") + pl.col("offer") * (pl.col("took") if counted else expected)).sum()).item()
    return float(paid), counted


def _together(told: list[dict[str, Any]]) -> dict[str, Any]:
    """All measurable campaigns: promised against realised."""
    own = [one for one in told if one["measurable"]]
    promised = sum(one["promised_profit"] for one in own)
    realised = sum(one["realised"]["profit"] for one in own)
    half = float(np.sqrt(sum(((one["realised"]["high"] - one["realised"]["low"]) / 2) ** 2 for one in own)))
    return {
        "measurable": len(own), "promised_profit": promised, "realised_profit": realised if own else None,
        "low": realised - half if own else None, "high": realised + half if own else None,
        "realised_over_promised": realised / promised if own and promised > 0 else None,
    }  # fmt: skip


def _rates(actions: Actions, action: Action, own: pl.DataFrame) -> dict[str, Any]:
    names = sorted(own["segment"].drop_nulls().unique())
    # who has no segment (the lapsed have no band) is of no group: of the last row, that of a group not seen
    numbers = own["segment"].replace_strict(names, list(range(len(names))), default=len(names), return_dtype=pl.Int64)
    group = numbers.to_numpy()
    campaigns = sorted(own["campaign"].unique())
    campaign = own["campaign"].replace_strict(campaigns, list(range(len(campaigns))), return_dtype=pl.Int64).to_numpy()
    arm, lapse = (own["arm"] == TREATED).to_numpy(), own["lapse"].to_numpy()
    sd, prior = actions.measure.prior_sd, {k: rate.prior for k, rate in action.rates.items()}
    both = response(
        own["lapsed"].to_numpy(), arm, lapse, group, len(names), campaign,
        (prior["save_rate"], prior["driven_away"]), (sd.save_rate, sd.driven_away),
    )  # fmt: skip
    found: dict[str, Any] = {
        "campaigns": campaigns, "treated": int(arm.sum()), "holdout": int((own["arm"] == HOLDOUT).sum()),
        "save_rate": _posterior(both.mean[:, 0], both.sd[:, 0], names, prior["save_rate"]),
        "driven_away": _posterior(both.mean[:, 1], both.sd[:, 1], names, prior["driven_away"]),
    }  # fmt: skip
    if own["took"].null_count() == 0 and (own["offer"] > 0).any():
        told = takers(own["took"].to_numpy(), arm, lapse, both.mean[group, 0], group, len(names), prior["take_rate"],
                      sd.take_rate)  # fmt: skip
        found["take_rate"] = _posterior(told.mean[:, 0], told.sd[:, 0], names, prior["take_rate"])
    return found


def _posterior(mean: Any, sd: Any, names: list[str], assumed: float) -> dict[str, Any]:
    told = [{"rate": float(m), "sd": float(s)} for m, s in zip(mean, sd, strict=True)]
    return {"assumed": assumed, "otherwise": told[-1], "groups": dict(zip(names, told[:-1], strict=True))}


def _told(found: Effect) -> dict[str, float]:
    return dataclasses.asdict(found)
