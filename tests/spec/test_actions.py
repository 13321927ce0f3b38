"""What an action is worth and who gets one: formulas, rules, contact policy, holdouts, power and solver, by hand."""

from __future__ import annotations

import datetime as dt
import itertools
import re
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from churn_clv import actions, actions_figure, playbook
from churn_clv.actions import NOBODY
from churn_clv.actions._contact import blocked
from churn_clv.actions._curve import curve
from churn_clv.errors import UserError
from churn_clv.playbook import Criterion, Policy, holds

DAY, KEY = dt.date(2024, 3, 1), bytes(range(32))
MAIL = {"channel": "email", "contact": 1.0, "offer": 0, "save_rate": 0.1, "take_rate": 0}
SHOP: dict[str, Any] = {
    "actions": {"mail": MAIL, "coupon": MAIL | {"offer": 10.0, "save_rate": 0.3, "take_rate": 1}},
    "playbook": {"all": {"actions": ["mail", "coupon"]}},
    "holdout": {"share": 0, "universal": 0},
}
LOG = pl.DataFrame(
    schema={"customer_id": pl.String, "time": pl.Datetime("us"), "event_type": pl.String, "channel": pl.String}
)


def terms(**values: float) -> playbook.Terms:
    base = {"lapse": 0.5, "value": 100.0, "save": 0.2, "take": 1.0, "away": 0.0, "offer": 10.0, "contact": 1.0}
    return playbook.Terms(**{k: np.array([v]) for k, v in (base | values).items()})


def scores(rows: list[tuple[str, float | None, float | None]], **columns: Any) -> pl.DataFrame:
    """(id, risk, expected spend) at DAY; without a risk: lapsed."""
    schema = {"customer_id": pl.String, "churn_probability": pl.Float64, "expected_spend": pl.Float64}
    return pl.DataFrame(rows, schema=schema, orient="row").with_columns(
        cutoff=pl.lit(DAY), eligible=pl.col("churn_probability").is_not_null(), horizon_days=pl.lit(28),
        reason=pl.when(pl.col("churn_probability").is_null()).then(pl.lit("lapsed")),
        **{name: pl.Series(values) for name, values in columns.items()},
    )  # fmt: skip


def planned(document: dict[str, Any], frame: pl.DataFrame, log: pl.DataFrame = LOG, sent: Any = None) -> actions.Plan:
    sent = pl.DataFrame(schema=actions.CONTACTS) if sent is None else sent
    return actions.make(playbook.actions_of(document), actions.Situation(frame, log, sent, KEY, "c", 0.3))


# --- D28 ------------------------------------------------------------------------------------------
def test_profit_by_hand() -> None:
    """p .5, V 100, s .2, t 1, d 10, c 1: .5 x .2 x 90 - .5 x 10 - 1 = 3; break-even (1 + 5) / (.5 x 90) = 2/15."""
    one = terms()
    assert one.profit()[0] == pytest.approx(3.0)
    assert one.break_even()[0] == pytest.approx(2 / 15)
    assert one.cost()[0] == pytest.approx(1 + 10 * (0.1 + 0.5))
    assert one.kept()[0] == pytest.approx(10.0)
    assert terms(save=2 / 15).profit()[0] == pytest.approx(0.0)


def test_forgetting_the_stayers_promises_what_is_lost() -> None:
    """With 2% driven away: 3 - .5 x .02 x 100 = 2; with nobody taking: 3 + 5 = 8."""
    assert terms(away=0.02).profit()[0] == pytest.approx(2.0)
    assert terms(take=0.0).profit()[0] == pytest.approx(8.0)
    assert terms(away=0.02).break_even()[0] == pytest.approx(7 / 45)


def test_no_save_rate_pays_for_an_offer_above_the_value() -> None:
    assert np.isnan(terms(value=10.0).break_even()[0]) and np.isnan(terms(lapse=0.0).break_even()[0])
    assert terms(value=8.0).profit()[0] < 0


def test_value_is_the_margin_if_active() -> None:
    """Expected 60 at risk .4 is 100 if active, 30 of margin at .3; unknown at certain lapse."""
    found = playbook.value_of(np.array([60.0, 5.0, np.nan]), np.array([0.4, 1.0, 0.2]), 0.3)
    assert found[0] == pytest.approx(30.0) and np.isnan(found[1:]).all()


# --- the plan -------------------------------------------------------------------------------------
def test_a_plan_by_hand() -> None:
    """a: p .5, V 60 (100 spent on average / .5 x .3): mail .5 x .1 x 60 - 1 = 2; coupon .5 x .3 x 50 - 5 - 1 = 1.5.

    b: p .9, V 60: mail 4.4; coupon .9 x .3 x 50 - 1 - 1 = 11.5. c: p .1, V 60: mail -.4, coupon -8.5: nothing.
    """
    plan = planned(SHOP, scores([("a", 0.5, 100.0), ("b", 0.9, 20.0), ("c", 0.1, 180.0), ("d", None, None)]))
    frame = plan.frame
    assert frame["profit_mail"].to_list()[:3] == pytest.approx([2.0, 4.4, -0.4])
    assert frame["profit_coupon"].to_list()[:3] == pytest.approx([1.5, 11.5, -8.5])
    assert frame["action"].to_list() == ["mail", "coupon", None, None]
    assert frame["value_at_risk"].to_list()[:3] == pytest.approx([30.0, 54.0, 6.0])
    assert frame["value_kept"].to_list()[:2] == pytest.approx([3.0, 0.27 * 60])
    assert frame["why_not"].to_list() == [None, None, "no action pays", "no prediction: lapsed"]
    assert frame["profit_mail"][3] is None and frame["expected_profit"][3] is None
    assert plan.document["promised_profit"] == pytest.approx(13.5)
    assert plan.document["value_at_risk"] == pytest.approx(90.0)
    assert plan.document["assumed"] == ["coupon", "mail"]


def test_a_budget_buys_the_best_mix() -> None:
    """b's coupon costs 1 + 10 (.27 + .1) = 4.7, mail 1. With 5.8, b's coupon and a's mail; with 5, b's coupon alone;
    with 2, two mails."""
    people = scores([("a", 0.5, 100.0), ("b", 0.9, 20.0)])
    for budget, wanted in ((5.8, ["mail", "coupon"]), (5.0, [None, "coupon"]), (2.0, ["mail", "mail"])):
        plan = planned(SHOP | {"budget": budget}, people)
        assert plan.frame["action"].to_list() == wanted
        assert plan.document["expected_cost"] <= budget
    assert plan.document["best_possible"] >= plan.document["found"] - 1e-9


@pytest.mark.parametrize("limit", [{"capacity": 1}, {"channels": {"email": 1}}])
def test_capacity_keeps_the_most_profitable(limit: dict[str, Any]) -> None:
    plan = planned(SHOP | limit, scores([("a", 0.5, 100.0), ("b", 0.9, 20.0)]))
    assert plan.frame["action"].to_list() == [None, "coupon"]
    assert plan.frame["why_not"].to_list() == ["budget or capacity", None]


def test_the_first_rule_that_holds_decides() -> None:
    document = SHOP | {
        "playbook": {
            "stage": {"when": [{"column": "lifecycle_stage", "is_in": ["new"]}], "actions": []},
            "safe": {"when": [{"column": "churn_probability", "below": 0.6}], "actions": ["coupon"]},
            "rest": {"actions": ["mail"]},
        }
    }
    plan = planned(document, scores([("a", 0.5, 100.0), ("b", 0.9, 20.0)]))
    assert plan.frame["action"].to_list() == ["coupon", "mail"] and plan.frame["rule"].to_list() == ["safe", "rest"]
    assert any("playbook.stage is left out: the scores have no lifecycle_stage" in n for n in plan.document["notes"])
    staged = planned(document, scores([("a", 0.5, 100.0), ("b", 0.9, 20.0)], lifecycle_stage=["new", None]))
    assert staged.frame["action"].to_list() == [None, "mail"]
    assert staged.frame["why_not"][0] == "no rule or not eligible"


@pytest.mark.parametrize(
    ("test", "wanted"),
    [
        ({"is_in": ["x"]}, [True, False, False, False]),
        ({"is_not_in": ["x"]}, [False, True, True, False]),
        ({"column": "n", "at_least": 2}, [False, True, True, False]),
        ({"column": "n", "below": 2}, [True, False, False, False]),
        ({"column": "n", "top_share": 0.34}, [False, False, True, False]),  # one of three that have a value
        ({"column": "n", "top_share": 1 / 3}, [False, False, True, False]),
        ({"column": "n", "top_share": 0.26}, [False, False, False, False]),  # of three .78, of all four 1.04
        ({"column": "n", "is_in": [3]}, [False, False, True, False]),
        ({"column": "x", "is_in": [3]}, [False, False, True, False]),  # 3.0
        ({"column": "x", "is_not_in": [3, "y"]}, [True, True, False, False]),
        ({"column": "n", "is_in": ["3"]}, [False, False, True, False]),
    ],
)
def test_the_grammar(test: dict[str, Any], wanted: list[bool]) -> None:
    frame = pl.DataFrame({"word": ["x", "y", "z", None], "n": [1, 2, 3, None], "x": [1.0, 2.0, 3.0, None]})
    assert holds([Criterion(**{"column": "word"} | test)], frame).tolist() == wanted


def test_rates_by_a_column() -> None:
    document = SHOP | {"actions": SHOP["actions"] | {
        "mail": MAIL | {"save_rate": {"by": "band", "rates": {"high": 0.5}, "otherwise": 0.0}}}}  # fmt: skip
    plan = planned(document, scores([("a", 0.5, 100.0), ("b", 0.5, 100.0)], band=["high", None]))
    assert plan.frame["profit_mail"].to_list() == pytest.approx([0.5 * 0.5 * 60 - 1, -1.0])
    with pytest.raises(UserError, match="have no column 'band'"):
        planned(document, scores([("a", 0.5, 100.0)]))


def test_an_action_for_the_lapsed_is_priced_by_what_is_assumed() -> None:
    """p .9 and V 40 assumed: .9 x .1 x 40 - 1 = 2.6."""
    back = {"back": MAIL | {"lapse_probability": 0.9, "value": 40.0}}
    document = SHOP | {"actions": SHOP["actions"] | back, "playbook": {"all": {"actions": ["back"]}}}
    plan = planned(document, scores([("gone", None, None)]))
    assert plan.frame.row(0, named=True)["action"] == "back"
    assert plan.document["promised_profit"] == pytest.approx(2.6)
    assert plan.frame["churn_probability"][0] is None and plan.frame["lapse"][0] == 0.9


def test_the_best_action_of_each_without_limits() -> None:
    """As in the plan by hand, whatever the budget."""
    people = scores([("a", 0.5, 100.0), ("b", 0.9, 20.0), ("c", 0.1, 180.0), ("d", None, None)])
    found = playbook.recommend(playbook.actions_of(SHOP | {"budget": 0}), people, 0.3)
    assert found["recommended_action"].to_list() == ["mail", "coupon", None, None]
    assert found["expected_profit"].to_list()[:2] == pytest.approx([2.0, 11.5])
    assert found["break_even_save_rate"].to_list()[:2] == pytest.approx([1 / 30, 2 / 45])
    assert found["value_at_risk"].to_list()[:3] == pytest.approx([30.0, 54.0, 6.0])
    assert found["value_at_risk"][3] is None and found["expected_profit"][2:].null_count() == 2


def test_a_customers_own_margin_decides() -> None:
    """Active, each of these spends 200 and lapses with p .5. At .3 V is 60: mail .5 x .1 x 60 - 1 = 2. At a rate of .1
    V is 20 and mail 0 (no action pays), at .6 V is 120 and mail 5; unknown is .3. At -.2 V is -40: nothing pays. A rate
    in the document is that of all."""
    people = scores([(who, 0.5, 100.0) for who in "abcde"], margin_rate=[0.3, 0.1, 0.6, None, -0.2])
    only = playbook.actions_of(SHOP | {"playbook": {"all": {"actions": ["mail"]}}})
    found = playbook.recommend(only, people, 0.3)
    assert found["value_at_risk"].to_list() == pytest.approx([30.0, 10.0, 60.0, 30.0, -20.0])
    assert found["recommended_action"].to_list() == ["mail", None, "mail", "mail", None]
    assert found["expected_profit"].to_list()[2] == pytest.approx(5.0)
    plan = actions.make(only, actions.Situation(people, LOG, pl.DataFrame(schema=actions.CONTACTS), KEY, "c", 0.3))
    assert plan.frame["profit_mail"].to_list() == pytest.approx([2.0, 0.0, 5.0, 2.0, -3.0])
    assert plan.frame["margin_rate"].to_list() == pytest.approx([0.3, 0.1, 0.6, 0.3, -0.2])
    one = playbook.recommend(only.model_copy(update={"margin_share": 0.6}), people, 0.3)
    assert one["value_at_risk"].to_list() == pytest.approx([60.0] * 5)


def test_an_offer_is_of_what_is_spent_whatever_the_margin() -> None:
    """A tenth off 200 is 20 at every rate, also at 0; who has no spend has what the action assumes, 60 / .3 / 10."""
    people = scores([("a", 0.5, 100.0), ("b", 0.5, 100.0), ("c", None, None)], margin_rate=[0.6, 0.0, None])
    own = MAIL | {"offer": None, "offer_share": 0.1, "value": 60.0, "lapse_probability": 0.9}
    found = playbook.terms_of(
        playbook.actions_of(SHOP | {"actions": {"mail": own}, "playbook": {"all": {"actions": ["mail"]}}}), people, 0.3
    )
    assert found.offer[:, 0] == pytest.approx([20.0, 20.0, 20.0])


def test_a_share_of_the_spend_is_what_who_stays_spends() -> None:
    """p .5, expected 100: who stays spends 200, of which a tenth is 20. V 60: .5 x .1 x (60 - 20) - .5 x .2 x 20 - 1 =
    -1. At .4 saved it is 5."""
    part = {"channel": "email", "contact": 1.0, "offer_share": 0.1, "save_rate": 0.4, "take_rate": 0.2}
    document = {"actions": {"part": part}, "playbook": {"all": {"actions": ["part"]}}, "holdout": SHOP["holdout"]}
    plan = planned(document, scores([("a", 0.5, 100.0)]))
    assert plan.frame["offer"].to_list() == [pytest.approx(20.0)]
    assert plan.frame["expected_profit"].to_list() == [pytest.approx(5.0)]
    assert plan.frame["expected_cost"].to_list() == [pytest.approx(1 + 20 * (0.2 + 0.1))]


def test_a_recommendation_takes_the_documents_margin_and_ranks_nobody() -> None:
    """Margin .6 of the document: V 120 for a, mail .5 x .1 x 120 - 1 = 5, coupon .5 x .3 x 110 - 5 - 1 = 10.5. The rule
    of the best half would give a mail alone; here it is left out, whoever else is asked about."""
    best = {"best": {"when": [{"column": "expected_spend", "top_share": 0.5}], "actions": ["mail"]}}
    document = playbook.actions_of(SHOP | {"margin_share": 0.6, "playbook": best | SHOP["playbook"]})
    found = playbook.recommend(document, scores([("a", 0.5, 100.0), ("b", 0.5, 90.0)]), 0.3)
    assert found["recommended_action"].to_list() == ["coupon", "coupon"]
    assert found["expected_profit"][0] == pytest.approx(10.5) and found["value_at_risk"][0] == pytest.approx(60.0)


def test_the_lapsed_without_a_prediction_have_no_value_at_risk_of_the_models() -> None:
    """Nothing may be done to b, whom the model gives nothing: neither a risk nor the first action's assumed value."""
    back = {"back": MAIL | {"lapse_probability": 0.9, "value": 40.0, "eligible": [{"column": "n", "at_least": 1}]}}
    document = SHOP | {"actions": back | SHOP["actions"], "playbook": {"all": {"actions": ["back"]}}}
    plan = planned(document, scores([("a", None, None), ("b", None, None)], n=[1, 0]))
    assert plan.frame["value_at_risk"].to_list() == [pytest.approx(36.0), None]
    assert plan.document["with_value"] == 1 and plan.frame["why_not"].to_list() == [None, "no rule or not eligible"]


def test_the_cap_of_one_action_holds_for_it_alone() -> None:
    capped = SHOP["actions"] | {"coupon": SHOP["actions"]["coupon"] | {"capacity": 0}}
    plan = planned(SHOP | {"actions": capped}, scores([("a", 0.5, 100.0), ("b", 0.9, 20.0)]))
    assert plan.frame["action"].to_list() == ["mail", "mail"]


# --- bad input ------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("document", "said"),
    [
        ({"actions": {"mail": {"channel": "email", "save_rate": 0.1, "offer": 0}}}, "contact: required, and not given"),
        ({"actions": {"mail": {"channel": "email", "save_rate": 0.1, "contact": 1}}}, "say what the offer costs"),
        ({"actions": {"mail": {"channel": "email", "contact": 1, "offer": 0}}}, "save_rate: required, and not given"),
        ({"actions": {"mail": MAIL | {"contct": 1}}}, "Did you mean 'contact'"),
        ({"actions": {"mail": MAIL | {"contact": -1}}}, "contact: expected a number at least 0, found -1"),
        ({"actions": {"mail": MAIL | {"save_rate": 1.5}}}, "expected a number at most 1, found 1.5"),
        ({"playbook": {"all": {"actions": ["mial"]}}}, "unknown action 'mial'. Did you mean 'mail'"),
        ({"channels": {"fax": 3}}, "no action goes by 'fax'"),
        ({"playbook": {"all": {"actions": [], "when": [{"column": "x", "below": 1, "at_least": 0}]}}}, "exactly one"),
        ({"actions": {}}, "at least 1"),
        ({"webhook": {"url": "ftp://x"}}, "webhook.url"),
    ],
)  # fmt: skip
def test_a_document_that_cannot_be(document: dict[str, Any], said: str) -> None:
    base = SHOP | {"actions": {"mail": MAIL}, "playbook": {"all": {"actions": ["mail"]}}}
    with pytest.raises(UserError, match=said.replace("(", r"\(")):
        playbook.actions_of(base | document)


def test_files_merge_over_the_shipped_playbook(tmp_path: Path) -> None:
    over = "{coupon: {save_rate: 0.3}, call: null}"
    gone = "{protect: null, protect_without_segments: null}"
    (tmp_path / "a.yaml").write_text(f"budget: 5\nactions: {over}\nplaybook: {gone}\n", encoding="utf-8")
    shipped, own = playbook.load_actions(), playbook.load_actions([tmp_path / "a.yaml"])
    assert set(shipped.actions) == {"reminder", "coupon", "call"} and set(own.actions) == {"reminder", "coupon"}
    assert own.budget == 5
    assert own.actions["coupon"].save_rate.otherwise == 0.3 and own.actions["coupon"].offer == 1.5
    assert set(shipped.playbook) - set(own.playbook) == {"protect", "protect_without_segments"}
    mail = "{mail: {channel: m, contact: 1, offer: 0, save_rate: .1}}"
    (tmp_path / "d.yaml").write_text("channels: {email: 9, phone: 3}\n", encoding="utf-8")
    (tmp_path / "e.yaml").write_text("channels: {email: null}\n", encoding="utf-8")
    assert playbook.load_actions([tmp_path / "d.yaml", tmp_path / "e.yaml"]).channels == {"phone": 3}
    (tmp_path / "f.yaml").write_text("playbook: {protet: null}\n", encoding="utf-8")
    with pytest.raises(UserError, match="protet"):
        playbook.load_actions([tmp_path / "f.yaml"])
    whole = f"on_top: false\nactions: {mail}\nplaybook: {{all: {{actions: [mail]}}}}\n"
    (tmp_path / "b.yaml").write_text(whole, encoding="utf-8")
    assert set(playbook.load_actions([tmp_path / "b.yaml"]).actions) == {"mail"}
    with pytest.raises(UserError, match="not found"):
        playbook.load_actions([tmp_path / "none.yaml"])
    (tmp_path / "c.yaml").write_text("- a", encoding="utf-8")
    with pytest.raises(UserError, match="expected keys"):
        playbook.load_actions([tmp_path / "c.yaml"])


@pytest.mark.parametrize(
    ("document", "people", "note"),
    [
        ({"budget": 0}, [("a", 0.9, 20.0)], "budget is 0"),
        ({"capacity": 0}, [("a", 0.9, 20.0)], "capacity is 0"),
        ({}, [("a", None, None)], "no customer has a churn probability"),
        ({"playbook": {"all": {"actions": ["mail"]}}}, [("a", 0.9, 20.0)], "coupon: no customer is eligible"),
        ({}, [("a", 0.9, 20.0)], "nobody is held out"),
        ({"policy": {"opt_out": ["unsubscribe"]}}, [("a", 0.9, 20.0)], "no events of type unsubscribe"),
        ({"measure": {"segment": "elligible"}}, [("a", 0.9, 20.0)], "no 'elligible'.* Did you mean 'eligible'"),
    ],
)
def test_what_is_missing_is_said_and_drawn(document: dict[str, Any], people: Any, note: str) -> None:
    plan = planned(SHOP | document, scores(people))
    assert any(re.search(note, n) for n in plan.document["notes"]), plan.document["notes"]
    assert len(actions_figure.draw(plan.document | {"currency": "USD"}).axes) == 3
    if "budget" in document or "capacity" in document:
        assert plan.document["selected"] == 0 and plan.document["curve"]["best_contacts"] == 1


def test_scores_without_money_are_refused() -> None:
    with pytest.raises(UserError, match="lack expected_spend"):
        planned(SHOP, scores([("a", 0.9, 20.0)]).drop("expected_spend"))


# --- contact policy (D29) -------------------------------------------------------------------------
def at(age: int, customer: str, kind: str, channel: str | None = None) -> tuple[Any, ...]:
    return customer, dt.datetime.combine(DAY - dt.timedelta(days=age), dt.time(12)), kind, channel


POLICY: dict[str, Any] = {
    "opt_out": ["stop"], "opt_in": ["start"], "contacts": ["mail"], "most_contacts": 2, "within_days": 10,
    "quiet_days": 2, "complaints": ["complaint"], "complaints_closed": ["closed"], "complaint_days": 20,
}  # fmt: skip


@pytest.mark.parametrize(
    ("events", "rule", "barred"),
    [
        ([at(30, "a", "stop", "email")], "opted out", [True, False]),
        ([at(30, "a", "stop")], "opted out", [True, True]),
        ([at(30, "a", "stop"), at(20, "a", "start", "email")], "opted out", [False, True]),
        ([at(30, "a", "start"), at(30, "a", "stop")], "opted out", [True, True]),  # of two at once, no wins
        ([at(30, "a", "stop"), at(30, "a", "start")], "opted out", [True, True]),
        ([at(20, "a", "start"), at(-5, "a", "stop")], "opted out", [True, True]),  # since the scores were made
        ([at(9, "a", "mail"), at(10, "a", "mail")], "frequency cap", [True, True]),
        ([at(9, "a", "mail"), at(11, "a", "mail")], "frequency cap", [False, False]),
        ([at(2, "a", "mail")], "quiet days", [True, True]),
        ([at(3, "a", "mail")], "quiet days", [False, False]),
        ([at(-1, "a", "mail")], "quiet days", [False, False]),  # the plan's day knows of none that comes
        ([at(20, "a", "complaint")], "open complaint", [True, True]),
        ([at(21, "a", "complaint")], "open complaint", [False, False]),
        ([at(20, "a", "complaint"), at(19, "a", "closed")], "open complaint", [False, False]),
        ([at(9, "a", "complaint"), at(9, "a", "closed")], "open complaint", [True, True]),  # of two at once, open
        ([at(9, "a", "closed"), at(9, "a", "complaint")], "open complaint", [True, True]),
        ([at(20, "b", "complaint")], "open complaint", [False, False]),
    ],
)
def test_the_policy_by_hand(events: list[Any], rule: str, barred: list[bool]) -> None:
    log = pl.DataFrame(events, schema=LOG.schema, orient="row")
    found = blocked(
        Policy(**POLICY), pl.Series(["a"]), ["email", "phone"], log, pl.DataFrame(schema=actions.CONTACTS), DAY
    )
    assert found[rule][0].tolist() == barred
    assert not any(who.any() for other, who in found.items() if other != rule)


def test_what_was_sent_counts_and_consent_may_be_needed() -> None:
    sent = pl.DataFrame([("a", DAY - dt.timedelta(days=1), "email")], schema=actions.CONTACTS, orient="row")
    log = pl.DataFrame([at(5, "b", "start", "email")], schema=LOG.schema, orient="row")
    policy = Policy(**POLICY | {"consent_required": True, "quiet_periods": [{"first": DAY, "last": DAY}]})
    found = blocked(policy, pl.Series(["a", "b"]), ["email"], log, sent, DAY)
    assert found["quiet days"].ravel().tolist() == [True, False]
    assert found["no consent"].ravel().tolist() == [True, False]
    assert found["quiet period"].all()


def test_a_contact_that_the_log_knows_too_counts_once() -> None:
    """Two in ten days are too many: one sent 5 days ago, which the log has as well, is one; another 6 days ago, two."""
    sent = pl.DataFrame([("a", DAY - dt.timedelta(days=5), "email")], schema=actions.CONTACTS, orient="row")
    for ages, barred in (((5,), False), ((5, 6), True)):
        log = pl.DataFrame([at(age, "a", "mail", "email") for age in ages], schema=LOG.schema, orient="row")
        found = blocked(Policy(**POLICY), pl.Series(["a"]), ["email"], log, sent, DAY)
        assert found["frequency cap"].ravel().tolist() == [barred]


def test_the_plan_counts_each_exclusion() -> None:
    log = pl.DataFrame([at(5, "b", "stop")], schema=LOG.schema, orient="row")
    plan = planned(SHOP | {"policy": POLICY}, scores([("a", 0.9, 20.0), ("b", 0.9, 20.0)]), log)
    assert plan.frame["why_not"].to_list() == [None, "opted out"]
    assert plan.document["barred_by_rule"]["opted out"] == 1 and plan.document["left_out"] == {"opted out": 1}


# --- holdouts and power (D30) ---------------------------------------------------------------------
def test_the_holdout_is_a_keyed_hash() -> None:
    ids = pl.Series([f"c{i}" for i in range(20_000)])
    drawn = actions.held_out(ids, 0.1, KEY, "spring")
    assert drawn.mean() == pytest.approx(0.1, abs=0.007)  # 3 standard errors
    assert (actions.held_out(ids[::-1], 0.1, KEY, "spring")[::-1] == drawn).all()
    assert (drawn <= actions.held_out(ids, 0.2, KEY, "spring")).all()
    for other in (actions.held_out(ids, 0.1, KEY, "summer"), actions.held_out(ids, 0.1, bytes(32), "spring")):
        assert (drawn & other).mean() == pytest.approx(0.01, abs=0.003)


def test_holdouts_stand_in_the_plan() -> None:
    people = scores([(f"c{i}", 0.9, 20.0) for i in range(2000)])
    plan = planned(SHOP | {"holdout": {"share": 0.2, "universal": 0.05}}, people)
    apart = actions.held_out(people["customer_id"], 0.05, KEY, actions.UNIVERSAL)
    assert (plan.frame["why_not"] == "universal holdout").fill_null(False).to_list() == apart.tolist()
    rest = plan.frame.filter(~pl.Series(apart))
    assert rest["action"].null_count() == 0
    held = actions.held_out(rest["customer_id"], 0.2, KEY, "c")
    assert (rest["arm"] == "holdout").to_list() == held.tolist()
    assert plan.document["promised_profit"] == pytest.approx(11.5 * (~held).sum())


def test_power_by_hand() -> None:
    """Definition D30: 10% of 2,227 at 13.6%: (1.95996 + .84162) sqrt(.136 x .864 (1/2004 + 1/223)) = .0678."""
    found = actions.detectable(0.136, 2004, 223, 0.95, 0.8)
    assert found == pytest.approx(0.0678, abs=5e-5)
    n = actions.needed(0.136, found, 223 / 2227, 0.95, 0.8)
    assert n == pytest.approx(2227, abs=1)
    assert actions.detectable(0.136, 100, 0, 0.95, 0.8) is None and actions.needed(0.1, 0.0, 0.1, 0.95, 0.8) is None


# --- solver and curve -----------------------------------------------------------------------------
@pytest.mark.parametrize("seed", range(40))
def test_the_solver_finds_the_best_of_all_plans(seed: int) -> None:
    draw = np.random.default_rng(seed)
    profit = draw.normal(1, 2, (6, 2))
    profit[draw.random((6, 2)) < 0.2] = -np.inf
    use = np.stack([draw.random((6, 2)), np.ones((6, 2))])
    limit = np.array([1.2, 4.0])
    best = 0.0
    for choice in itertools.product((NOBODY, 0, 1), repeat=6):
        picked = [(i, c) for i, c in enumerate(choice) if c != NOBODY]
        if all(sum(u[i, c] for i, c in picked) <= m for u, m in zip(use, limit, strict=True)):
            best = max(best, sum(profit[i, c] for i, c in picked))
    found = actions.solve(profit, use, limit)
    assert found.profit == pytest.approx(best) and found.bound >= best - 1e-9


def test_many_customers_come_within_a_thousandth_of_the_bound() -> None:
    draw = np.random.default_rng(1)
    profit, use = draw.gamma(1, 2, (2000, 3)) - 1, draw.gamma(1, 1, (1, 2000, 3))
    found = actions.solve(profit, use, np.array([200.0]))
    rows = np.flatnonzero(found.choice != NOBODY)
    assert use[0, rows, found.choice[rows]].sum() <= 200 + 1e-6
    assert 0.9999 * found.bound <= found.profit <= found.bound + 1e-6


def test_the_curve_by_hand() -> None:
    """Profits 5, -1, 2: best first 5, 7, 6; by falling risk (.9, .5, .1) 2, 1, 6; the best cut-off is after two."""
    each = terms(lapse=0.1)
    three = playbook.Terms(**{k: np.repeat(getattr(each, k), 3)[:, None] for k in playbook.Terms.__dataclass_fields__})
    object.__setattr__(three, "lapse", np.array([[0.1], [0.5], [0.9]]))
    found = curve(np.array([[5.0], [-1.0], [2.0]]), three)
    assert [p["profit"] for p in found["points"]] == [5.0, 7.0, 6.0]
    assert [p["by_risk"] for p in found["points"]] == [2.0, 1.0, 6.0]
    assert (found["best_contacts"], found["best_profit"]) == (2, 7.0)


def test_sensitivity_by_hand() -> None:
    """One coupon: .9 x s x 50 - .1 (10 + 60 a) - 1 at s .3: 11.5. At half the rate 4.75; at 1% driven away 11.44."""
    found = planned(SHOP, scores([("b", 0.9, 20.0)])).document["sensitivity"]
    assert found["planned"] == pytest.approx(11.5)
    more = next(row for row in found["save_rate"] if row["factor"] == 1.5)
    assert more["profit"][0] == pytest.approx(0.9 * 0.45 * 50 - 2)
    half = next(row for row in found["save_rate"] if row["factor"] == 0.5)
    assert half["profit"][0] == pytest.approx(4.75)
    assert [row["profit"] for row in found["driven_away"]] == pytest.approx([11.5, 11.47, 11.44, 11.38])
    assert [row["profit"] for row in found["take_rate"]][::4] == pytest.approx([12.5, 11.5])
    assert found["break_even_factor"] == pytest.approx(2 / 13.5)


def test_the_document_is_frozen_and_the_shipped_one_loads() -> None:
    shipped = playbook.load_actions()
    with pytest.raises(Exception, match="frozen"):
        shipped.budget = 1.0  # type: ignore[misc]
    assert isinstance(shipped, playbook.Actions) and all(
        not r.measured for a in shipped.actions.values() for r in a.rates.values()
    )
