"""One campaign by hand, from the log to the plan, the outbox, what was measured and the next plan's labels."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import segmented
import tiny

from churn_clv import actions, config, playbook
from churn_clv.snapshots import untreated

DAY = dt.date(2024, 6, 3)
KEY = bytes(range(32))
IDS = ["complained", "contacted", *(f"c{i:02d}" for i in range(60))]
MAIL = {"channel": "email", "contact": 1.0, "offer": 4.0, "save_rate": 0.5, "take_rate": 0.25}
DOCUMENT: dict[str, Any] = {
    "actions": {"mail": MAIL}, "playbook": {"all": {"actions": ["mail"]}}, "holdout": {"share": 0.5, "universal": 0},
    "policy": {"complaints": ["complaint"], "contacts": ["campaign"], "quiet_days": 2},
    "measure": {"segment": "all", "takes": ["redemption"], "least": 10},
}  # fmt: skip
TARGETS = {
    "churned": {"events": {"is_in": ["purchase"]}, "measure": "absent"},
    "spend": {"events": {"is_in": ["purchase", "return"]}, "measure": "amount", "at_least": 0},
}


def event(who: str, days: int, kind: str, amount: float | None = None) -> dict[str, Any]:
    """At midnight so many days after the cutoff."""
    at = dt.datetime.combine(DAY, dt.time()) + dt.timedelta(days=days)
    return {"customer_id": who, "time": at, "event_type": kind, "amount": amount, "channel": None}


def log_of(rows: list[dict[str, Any]], ends: dt.date) -> Any:
    frame = pl.DataFrame(rows, schema_overrides={"amount": pl.Float64, "channel": pl.String})
    return segmented.events.from_frame(frame, tiny.definitions().rules, ends)


def test_a_campaign_by_hand(tmp_path: Path) -> None:
    """p .5, expected spend 40, margin .5: V = .5 x 40 / .5 = 40. The mail brings .5 x .5 x (40 - 4) - .5 x .25 x 4 - 1,
    7.5, and costs 1 + 4 (.25 + .125) = 2.5. Who complained 3 days ago, and who was contacted 2 days ago, gets nothing.

    Then every treated customer buys for 30 and returns 10: a margin of 10, less for one, who buys for 1,000: cut at
    the plan's .5 x 40 = 20. One buys at the cutoff's midnight; of the held out one buys 28 days after it, too late, so
    all of them lapse. Three treated redeem: 4 each. n treated: 10 (n - 1) + 20 of margin, less n, less 12.
    """
    past = [event(who, -40, "purchase", 20.0) for who in IDS]
    past += [event("complained", -3, "complaint"), event("contacted", -2, "campaign")]
    document = playbook.actions_of(DOCUMENT)
    scores = pl.DataFrame({"customer_id": sorted(IDS)}).with_columns(
        cutoff=pl.lit(DAY), eligible=pl.lit(True), reason=pl.lit(None, pl.String), horizon_days=pl.lit(28),
        churn_probability=pl.lit(0.5), expected_spend=pl.lit(40.0),
    )  # fmt: skip
    sent = pl.DataFrame(schema=actions.CONTACTS)
    plan = actions.make(document, actions.Situation(scores, log_of(past, DAY).frame, sent, KEY, "june", 0.5))
    assert plan.document["left_out"] == {"open complaint": 1, "quiet days": 1}
    assert plan.document["winsor_cap"] == 20.0
    outbox = tmp_path / "outbox.sqlite"
    released = actions.release(outbox, plan, 10)
    n, held = released.treated, released.holdout
    assert n + held == 60 and min(n, held) >= 20
    assert plan.document["promised_profit"] == pytest.approx(7.5 * n)
    assert plan.document["profit_given_up_by_holdout"] == pytest.approx(7.5 * held)
    assert plan.document["expected_cost"] == pytest.approx(2.5 * n)

    (one,) = actions.campaigns(outbox)
    treated, rest = (one["rows"].filter(arm=arm)["customer_id"].to_list() for arm in ("treated", "holdout"))
    came = [event(who, 5, "purchase", 30.0) for who in treated[2:]]
    came += [event(who, 6, "return", -10.0) for who in treated[1:]]
    came += [event(treated[0], 27, "purchase", 1000.0), event(treated[1], 0, "purchase", 30.0)]
    came += [event(rest[0], 28, "purchase", 30.0), event(rest[1], 29, "redemption")]
    came += [event(who, day, "redemption") for who, day in zip(treated, (0, 27, 3), strict=False)]
    came += [event(treated[3], 28, "redemption"), event(treated[4], -1, "redemption")]
    log = log_of(past + came, DAY + dt.timedelta(days=30))
    settings = config.from_dict({"dataset": "tiny", "targets": TARGETS})
    found = actions.measure(document, [one], log, settings)
    (row,) = found["campaigns"]
    assert row["lapse_rate"] == {"treated": 0.0, "holdout": 1.0} and row["lapse"]["effect"] == pytest.approx(-1.0)
    assert (row["cost"], row["offers"]) == (n + 12.0, "counted")
    assert row["realised"]["profit"] == pytest.approx(10 * (n - 1) + 20 - n - 12)
    # Welch with arms of n and no spread among the held out; 10 of n margins differ by 10 from the rest
    se = np.sqrt(100 * (1 / n) / n)
    reach = 2.0017 * se  # t of 58, 97.5%
    assert row["realised"]["low"] == pytest.approx(n * (10 + 10 / n - reach) - n - 12, rel=1e-4)
    assert row["realised"]["high"] == pytest.approx(n * (10 + 10 / n + reach) - n - 12, rel=1e-4)
    assert found["together"]["realised_over_promised"] == pytest.approx(row["realised"]["profit"] / (7.5 * n))
    # all kept their margins only where they were treated: the next plan expects more than .5 of them
    assert found["rates"]["mail"]["save_rate"]["groups"]["all"]["rate"] > 0.5

    # the window of a snapshot on the day before holds the contact, that of four weeks before does not
    contacts = actions.events_of([one])
    assert sorted(contacts["customer_id"]) == sorted(treated) and contacts["time"].unique().dt.date().to_list() == [DAY]
    both = log_of([*past, *(event(who, 0, "campaign_contact") for who in contacts["customer_id"])], DAY)
    assert "campaign_contact" not in both.starts  # a log that is said to end at the cutoff does not hold them
    after = log_of([*past, *(event(who, 0, "campaign_contact") for who in contacts["customer_id"])], log.ends)
    days = [DAY - dt.timedelta(days=1), DAY - dt.timedelta(days=28)]
    rows = pl.DataFrame([(who, day) for day in days for who in IDS], schema=["customer_id", "cutoff"], orient="row")
    kept = untreated(after, rows, 28)
    assert kept.height == rows.height - n and kept.filter(cutoff=days[1]).height == len(IDS)


@pytest.mark.parametrize("closed", [True, False])
def test_a_window_that_has_just_closed_is_measured(closed: bool, tmp_path: Path) -> None:
    """The last day of 28 is DAY + 27: a log that ends (exclusive) on DAY + 28 holds it, one of a day less does not."""
    ends = DAY + dt.timedelta(days=28 if closed else 27)
    rows = pl.DataFrame({"customer_id": IDS, "arm": ["treated", "holdout"] * 31}).with_columns(
        action=pl.lit("mail"), segment=pl.lit("all"), lapse=0.5, value=40.0, save_rate=0.5, take_rate=0.25, offer=4.0,
        contact=1.0, expected_profit=7.5,
    )  # fmt: skip
    one = {"name": "june", "cutoff": DAY, "horizon_days": 28, "rows": rows,
           "document": {"margin_share": 0.5, "winsor_cap": None, "holdout_share": 0.5}}  # fmt: skip
    log = log_of([event(who, -40, "purchase", 20.0) for who in IDS], ends)
    settings = config.from_dict({"dataset": "tiny", "targets": TARGETS})
    (row,) = actions.measure(playbook.actions_of(DOCUMENT), [one], log, settings)["campaigns"]
    assert row["measurable"] is closed
    # nothing of type redemption in the log: an offer costs what was expected, 31 (1 + 4 x .375)
    assert row.get("cost") == (pytest.approx(77.5) if closed else None)


def test_the_margin_is_adjusted_for_what_the_model_expected_and_the_ranking_is_by_value_kept() -> None:
    """Margins of exactly (1 - p) V, and 5 more of each treated: an effect of 5 without error. Qini is by p s V."""
    from churn_clv.actions._measure import _campaign

    places = np.arange(48)
    lapse, value, treated = (places % 2) * 0.6 + 0.2, 10.0 + 10 * (places % 3), places % 5 < 2
    margin = (1 - lapse) * value + 5 * treated
    frame = pl.DataFrame({
        "customer_id": [f"c{i}" for i in places], "arm": np.where(treated, "treated", "holdout"), "lapse": lapse,
        "value": value, "margin": margin, "spend": 2 * margin,
        "lapsed": (places % 5 == 0).astype(float), "save_rate": 0.1 * (places % 3),
        "expected_profit": 1.0, "contact": 0.0, "offer": 0.0, "take_rate": 0.0, "took": None,
    })  # fmt: skip
    one = {
        "name": "x",
        "cutoff": DAY,
        "horizon_days": 28,
        "rows": frame,
        "document": {"holdout_share": 0.5, "margin_share": 0.5},
    }
    row = _campaign(playbook.actions_of(DOCUMENT), one, frame)
    assert row["margin"]["effect"] == pytest.approx(5.0) and row["margin"]["se"] < 1e-9
    kept = actions.qini(lapse * 0.1 * (places % 3) * value, margin, treated)
    assert row["qini_by_value_kept"] == pytest.approx(kept) and row["qini_by_risk"] != pytest.approx(kept)


def test_arms_that_lost_lines_measure_nothing() -> None:
    """Of half and half, 46 treated and 16 held out: p below .001. Neither an effect nor a rate is told."""
    rows = pl.DataFrame({"customer_id": IDS, "arm": ["treated"] * 46 + ["holdout"] * 16}).with_columns(
        action=pl.lit("mail"), segment=pl.lit("all"), lapse=0.5, value=40.0, save_rate=0.5, take_rate=0.25, offer=4.0,
        contact=1.0, expected_profit=7.5,
    )  # fmt: skip
    one = {"name": "june", "cutoff": DAY, "horizon_days": 28, "rows": rows,
           "document": {"margin_share": 0.5, "winsor_cap": None, "holdout_share": 0.5}}  # fmt: skip
    log = log_of([event(who, -40, "purchase", 20.0) for who in IDS], DAY + dt.timedelta(days=28))
    settings = config.from_dict({"dataset": "tiny", "targets": TARGETS})
    found = actions.measure(playbook.actions_of(DOCUMENT), [one], log, settings)
    assert "do not fit a holdout of 50%" in found["campaigns"][0]["why"] and found["rates"] == {}
    assert found["overlay"] == "" and found["together"]["measurable"] == 0
