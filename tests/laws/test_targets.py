"""Targets of the user's own: blind to what comes later, judged as shipped, no better than chance on noise."""

from __future__ import annotations

import dataclasses
import datetime as dt
import random
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import sim
import yaml

from churn_clv import backtest, bundle, config, events, labels, matrix, metrics, targets, timeline, training
from churn_clv.models.baseline import CS, fit_linear
from churn_clv.models.linear import Linear
from churn_clv.models.predict import Head, sigmoid
from churn_clv.recipe import Workshop

ROOT = Path(__file__).parents[2]
SHIPPED = yaml.safe_load((ROOT / "configs" / "targets.yaml").read_text(encoding="utf-8"))["targets"]
OWN = SHIPPED | {
    "lines": {"events": {"column": "category", "is_in": ["category 1", "category 2"]}, "measure": "count",
              "horizon_days": 42},
    "web_money": {"events": {"column": "channel", "is_in": ["web"]}, "measure": "amount", "at_least": 0},
}  # fmt: skip
DAY = dt.timedelta(days=1)
LOG = sim.log(2500)  # complaints and the like are rare
QUICK = sim.QUICK | {"max_rounds": 20}


def settings(own: dict[str, Any] = OWN, **sections: Any) -> config.Config:
    models = {"threads": 1, "churn": QUICK, "spend": QUICK, "targets": QUICK} | sections.pop("models", {})
    return sim.settings(targets=own, models=models, promotion={"bootstrap_draws": 100}, **sections)


def shop_of(log: events.Log, own: config.Config) -> Workshop:
    core, _ = training.answerable(log, own)
    plan = timeline.make_plan(log.starts["purchase"], log.ends, own.timeline)
    far = targets.far_plans(log, own, [log.ends])
    return Workshop(log, own, [plan], core, lambda _: None, others=far)


def judged(shop: Workshop, name: str) -> targets.Judged:
    found, why = targets.look(name, shop.settings.targets[name], shop, [shop.log.ends])
    assert why is None, why
    return found[0]


@cache
def shop() -> Workshop:
    return shop_of(LOG, settings())


@cache
def of(name: str) -> targets.Judged:
    return judged(shop(), name)


@cache
def dealt(test: dt.date) -> Workshop:
    """The same log with the events from ``test`` on dealt out among all customers, at ten times the money."""
    later = pl.col("time") >= pl.lit(dt.datetime.combine(test, dt.time()))
    rows, ids = LOG.frame.filter(later), sorted(set(LOG.frame["customer_id"]))
    draw = random.Random(5)
    rows = rows.with_columns(
        customer_id=pl.Series([draw.choice(ids) for _ in range(rows.height)]), amount=pl.col("amount") * 10
    )
    frame = pl.concat([LOG.frame.filter(~later), rows]).sort("customer_id", "time")
    return shop_of(sim.changed(LOG, frame), settings())


def seldom() -> str:
    """The product that is bought least."""
    return str(LOG.frame.drop_nulls("product_id")["product_id"].value_counts().sort("count", "product_id")[0, 0])


@pytest.fixture(scope="module")
def trained() -> training.Trained:
    return training.train(LOG, settings())


def substance(head: Head) -> tuple[object, ...]:
    return head.target, head.horizon_days, head.kind, head.intercept, head.slope, head.scale, head.pool, (
        head.booster.model_to_string()
    )  # fmt: skip


# --- time ---------------------------------------------------------------------------------------
@pytest.mark.parametrize("name", ["second_order", "unsubscribe", "buys_category", "lines"])
def test_what_comes_after_the_test_cutoff_changes_no_prediction_of_it(name: str) -> None:
    before = of(name)
    after = judged(dealt(before.plan.test), name)
    assert substance(after.head) == substance(before.head) and after.chosen == before.chosen
    known = set(LOG.frame.filter(pl.col("time").dt.date() < before.plan.test)["customer_id"])
    assert set(after.room.pairs[after.rows]["customer_id"]) <= known
    assert after.predicted.tolist() == before.predicted.tolist()
    assert after.label.tolist() != before.label.tolist()


@pytest.mark.parametrize("name", OWN)
def test_every_label_learnt_from_ends_before_what_it_helps_to_predict(name: str) -> None:
    found = of(name)
    room, plan = found.room, found.plan
    horizon = (OWN[name].get("horizon_days") or 28) * DAY
    for when in (*plan.origins, plan.test, plan.ends):
        cutoffs = room.pairs[room.learning(plan.learnt_by(when))]["cutoff"]
        assert len(cutoffs) and (cutoffs.max() + horizon) <= when
    assert plan.test + horizon == LOG.ends


def test_the_labels_are_those_of_the_population() -> None:
    """Rows and labels of a room, again by the plain functions."""
    own, log = settings(), LOG
    for name in ("first_purchase", "unsubscribe", "returns"):
        found = of(name)
        everyone = timeline.known_among(
            log.frame, timeline.pairs_of(log.frame["customer_id"].unique(), [found.plan.test])
        )
        asked = matrix.members(log.frame, everyone, {name: own.targets[name]}, found.room.shop.definitions)[name]
        pairs = everyone.filter(asked)
        assert found.room.pairs[found.rows].equals(pairs) and 20 < pairs.height < everyone.height
        label = labels.build(log.frame, pairs, {name: own.targets[name]}, 28, minor_units=2, ends=log.ends)
        assert found.label.tolist() == label[f"{name}_28d"].to_list()


def test_an_event_type_that_comes_only_after_the_judged_cutoff_is_no_target() -> None:
    """The bundle would not know its events: a population of theirs would be empty for ever."""
    test = of("complaint").plan.test
    rows = LOG.frame.filter(pl.col("event_type") == "visit", pl.col("time").dt.date() >= test)
    late = sim.changed(LOG, pl.concat([LOG.frame, rows.with_columns(event_type=pl.lit("app_open"))]))
    late = dataclasses.replace(late, starts=late.starts | {"app_open": test})
    for own in ({"events": {"is_in": ["app_open"]}}, {"events": {"is_in": ["visit"]}, "has": {"is_in": ["app_open"]}}):
        asked = settings({"asked": own | {"measure": "present"}})
        found, why = targets.look("asked", asked.targets["asked"], shop_of(late, asked), [late.ends])
        assert found == [] and why is not None and "came only after" in why


def test_a_far_target_hides_from_every_feature_what_comes_after_its_own_test_cutoff() -> None:
    own = settings({"far": {"events": {"is_in": ["visit"]}, "measure": "count", "horizon_days": 84}})
    plan = targets.plan_of(own.targets["far"], LOG, own, LOG.ends)
    rows = LOG.frame.filter(pl.col("event_type") == "visit", pl.col("time").dt.date() >= plan.test)
    late = sim.changed(LOG, pl.concat([LOG.frame, rows.with_columns(event_type=pl.lit("app_open"))]))
    late = dataclasses.replace(late, starts=late.starts | {"app_open": plan.test})
    plain, fuller = (shop_of(log, own).definitions for log in (LOG, late))
    assert plain == fuller and "app_open" not in fuller.event_types


# --- what is learnt from ------------------------------------------------------------------------
def test_a_large_population_is_learnt_from_in_part_and_later_customers_do_not_change_which() -> None:
    few = settings(models={"target_snapshots": 1000})
    name, asked = "unsubscribe", few.targets["unsubscribe"]
    plan = targets.plan_of(asked, LOG, few, LOG.ends)
    seen = pl.col("customer_id").is_in(set(LOG.frame.filter(pl.col("time").dt.date() < plan.test)["customer_id"]))
    rooms = [targets.Room(name, asked, [plan], shop_of(log, few)) for log in (
        LOG, dataclasses.replace(sim.changed(LOG, LOG.frame.filter(seen)), ends=LOG.ends))]  # fmt: skip
    learnt = [room.pairs[room.learning(plan.judged)] for room in rooms]
    assert learnt[0].equals(learnt[1]) and 850 < learnt[0].height < 1150
    whole = targets.Room(name, asked, [plan], shop())
    assert whole.pairs[whole.rows(plan.judged)].height > 2000
    # The test cutoff is judged whole, drawn or not.
    assert rooms[0].pairs[rooms[0].rows([plan.test])].equals(whole.pairs[whole.rows([plan.test])])


def test_a_target_moves_neither_churn_nor_spend() -> None:
    """Features of a category are its own head's alone."""
    tea = {"tea": {"events": {"column": "category", "is_in": ["category 3"]}, "measure": "present"}}
    plain, more = (training.judge(sim.log(), settings(own)) for own in ({}, tea))
    assert "target_tea_days" in more.shop.snapshots.columns and "target_tea_days" not in more.shop.columns
    assert plain.predictions.equals(more.predictions)


def test_only_what_may_move_churn_is_in_the_recipe_that_promotion_compares() -> None:
    plain = settings({})
    assert settings(OWN | {"lines": OWN["lines"] | {"horizon_days": 7}}).core_hash == plain.core_hash
    assert settings(OWN).recipe_hash != plain.recipe_hash
    assert settings({"far": OWN["lines"]}).core_hash != plain.core_hash  # 42 days: definitions are made earlier
    slower = {"models": {"churn": QUICK | {"learning_rate": 0.05}}}
    assert settings({}, **slower).core_hash != plain.core_hash


@pytest.mark.parametrize("name", ["second_order", "returns", "complaint", "unsubscribe"])
def test_the_table_of_recency_is_the_rung(name: str) -> None:
    found = of(name)
    steps = found.room.recency(found.plan, found.plan.test)
    assert steps is not None
    rung = next(r.predicted for r in targets.rungs(found) if r.name == "recency")
    said = steps.chance(found.room.values[found.rows], found.room.columns)
    assert said.tolist() == rung.tolist() and len(set(said.tolist())) > 1


@pytest.mark.parametrize("name", ["second_order", "returns", "complaint"])
def test_the_logistic_penalty_has_the_least_validation_loss(name: str) -> None:
    """Of regressions that learnt what ended by each origin; the rung has the same one."""
    found = of(name)
    room, plan, known = found.room, found.plan, found.room.label(found.plan.test)

    def learnt(by: dt.date, c: float) -> Linear:
        rows = room.learning(plan.learnt_by(by))
        return fit_linear(room.values[rows], known[rows], c)

    def loss(c: float) -> float:
        said = sigmoid(np.concatenate([learnt(o, c).margin(room.values[room.rows([o])]) for o in plan.origins]))
        return float(metrics.log_losses(known[room.rows(plan.origins)], said).mean())

    losses = {c: loss(c) for c in CS}
    assert found.chosen.linear_c == min(losses, key=lambda c: losses[c]) and len(set(losses.values())) == len(CS)
    rung = next(r.predicted for r in targets.rungs(found) if r.name == "logistic")
    own = learnt(plan.test, found.chosen.linear_c)
    assert rung.tolist() == sigmoid(own.margin(room.values[found.rows])).tolist()


@pytest.mark.parametrize("name", ["first_purchase", "second_order", "complaint"])
def test_reasons_compare_with_those_asked_at_the_test_cutoff(name: str, trained: training.Trained) -> None:
    found = of(name)
    usual, tenure = trained.bundle.reference.targets[name].usual, found.room.columns.index("tenure_days")
    assert usual is not None and len(usual.medians) == len(found.room.columns)
    assert usual.medians[tenure] == np.median(found.room.values[found.rows, tenure])
    assert usual.medians[tenure] != np.median(found.room.values[:, tenure])  # which is of all cutoffs


def test_prospects_have_no_table_of_recency() -> None:
    found = of("first_purchase")
    assert found.room.recency(found.plan, found.plan.test) is None and found.chosen.recency_share == 0


def test_where_only_recency_tells_anything_the_model_is_not_behind_it() -> None:
    """A rare event of everybody alike, but for how long ago they bought: trees of many columns find chance, too."""
    draw, whole = random.Random(4), LOG
    bought = whole.frame.filter(pl.col("event_type") == "purchase").select("customer_id", "time")
    rows = [
        {"customer_id": customer, "time": time + draw.randrange(1, 15) * DAY, "event_type": "ring"}
        for customer, time in bought.sort("customer_id", "time").iter_rows()
        if draw.random() < 0.15
    ]
    rings = pl.DataFrame(rows, schema={c: whole.frame.schema[c] for c in ("customer_id", "time", "event_type")})
    rings = rings.filter(pl.col("time").dt.date() < whole.ends)
    frame = pl.concat([whole.frame, rings], how="diagonal").sort("customer_id", "time", maintain_order=True)
    log = sim.changed(whole, frame)
    log.starts["ring"] = whole.starts["purchase"]
    own = settings({"ring": {"events": {"is_in": ["ring"]}, "measure": "present", "horizon_days": 14}})
    found = judged(shop_of(log, own), "ring")
    said = targets.describe(found)
    assert said["minus_best"]["log_loss"]["rungs"]["recency"] != "behind"
    assert found.chosen.recency_share > 0 and found.head.pool is not None and found.head.pool.table is not None


# --- honesty ------------------------------------------------------------------------------------
def test_noise_is_not_predicted() -> None:
    """Coins fall on everybody alike: the model ranks as by chance, and is not ahead of the base rate."""
    whole, draw = LOG, random.Random(11)
    start = whole.starts["purchase"]
    ids, days = sorted(set(whole.frame["customer_id"])), (whole.ends - start).days
    rows = [
        {"customer_id": draw.choice(ids), "time": dt.datetime.combine(start + draw.randrange(days) * DAY, dt.time(12)),
         "event_type": "coin"}
        for _ in range(4000)
    ]  # fmt: skip
    coins = pl.DataFrame(rows, schema={c: whole.frame.schema[c] for c in ("customer_id", "time", "event_type")})
    frame = pl.concat([whole.frame, coins], how="diagonal").sort("customer_id", "time", maintain_order=True)
    log = sim.changed(whole, frame)
    log.starts["coin"] = start
    own = settings({"coin": {"events": {"is_in": ["coin"]}, "measure": "present"}})
    said = targets.describe(judged(shop_of(log, own), "coin"))
    rungs = {r["rung"]: r["metrics"] for r in said["ladder"]}
    assert abs(rungs["champion"]["auroc"] - 0.5) < 0.06
    assert rungs["champion"]["log_loss"] < rungs["base_rate"]["log_loss"] + 0.02
    assert said["minus_best"]["log_loss"]["verdict"] != "ahead"


def test_a_category_is_known_by_those_who_buy_it() -> None:
    """Some buy of a category each time and some never do: the model sees what the watched features show."""
    whole = LOG
    fans = pl.col("customer_id").hash(7) % 2 == 0
    bought = pl.col("event_type") == "purchase"
    frame = whole.frame.with_columns(
        category=pl.when(bought & fans).then(pl.lit("tea")).when(bought).then(pl.lit("cups")).otherwise("category")
    )
    log = sim.changed(whole, frame)
    own = settings({"tea": {"events": {"column": "category", "is_in": ["tea"]}, "measure": "present"}})
    said = {r["rung"]: r["metrics"] for r in targets.describe(judged(shop_of(log, own), "tea"))["ladder"]}
    assert said["champion"]["auroc"] > said["recency"]["auroc"] + 0.1


# --- the bundle ---------------------------------------------------------------------------------
def test_every_shipped_target_is_learnt_by_yaml_alone(trained: training.Trained) -> None:
    own = trained.bundle.own_heads
    assert [h.target for h in own] == list(OWN) and trained.data["targets_refused"] == {}
    assert {h.target: h.kind for h in own} == dict.fromkeys(SHIPPED, "event") | {
        "lines": "count",
        "web_money": "amount",
    }
    assert list(trained.targets) == list(OWN) == list(trained.bundle.report["targets"])
    for name, found in trained.targets.items():
        rungs = {r["rung"]: r["metrics"] for r in found["ladder"]}
        keys = targets.EVENT_KEYS if name in SHIPPED else targets.AMOUNT_KEYS
        assert all(set(row) == {*keys, "n"} for row in rungs.values()), name
        assert {"champion", "base_rate", "recency"} < set(rungs)
        assert found["n"] == rungs["champion"]["n"] > 20
        assert set(found["minus_best"]) <= {"log_loss", "auroc", "tweedie_deviance", "gini"}


def test_the_shipped_recipe_is_the_judged_one(trained: training.Trained) -> None:
    for head in trained.bundle.own_heads:
        found = of(head.target)
        assert head.booster.num_trees() == found.chosen.trees == trained.targets[head.target]["trees"]
        if head.kind == "event":
            assert (head.intercept, head.slope) == (found.chosen.intercept, found.chosen.slope)
        reference = trained.bundle.reference.targets[head.target]
        assert reference.base == found.label.mean() and reference.quantiles[-1] == found.predicted.max()


def test_scores_hold_a_number_for_those_who_are_asked_and_no_other(trained: training.Trained, tmp_path: Path) -> None:
    bundle.save(trained.bundle, tmp_path / "bundle")
    loaded, log = bundle.load_bundle(tmp_path / "bundle"), LOG
    own = {n: loaded.config.targets[n] for n in OWN}
    scores = loaded.score_log(log.frame, log.ends)
    asked = matrix.members(log.frame, scores.select("customer_id", "cutoff"), own,
                           loaded.definitions)  # fmt: skip
    for head in loaded.own_heads:
        number, rank, *event = bundle.columns_of(head.target, head.kind)
        member = asked[head.target]
        assert (scores[number].is_not_null() == member).all() and (scores[rank].is_not_null() == member).all()
        assert 10 < member.sum() < scores.height or head.target == "unsubscribe"
        assert scores[number].drop_nulls().is_between(0, 1 if event else 1e6).all()
        if event:
            assert set(scores[event[1]].drop_nulls()) <= {"low", "medium", "high"}
            assert scores[event[0]].unique().to_list() == [loaded.reference.targets[head.target].base]
    again = trained.bundle.score_log(log.frame, log.ends)
    assert again.drop("model_version").equals(scores.drop("model_version"))


def test_a_target_that_the_log_cannot_answer_is_refused_and_the_rest_go_on() -> None:
    own = {
        "cancel": {"events": {"is_in": ["cancel"]}, "measure": "present"},
        "rare": {"events": {"column": "product_id", "is_in": [seldom()]}, "measure": "present"},
        "absent": {"events": {"column": "product_id", "is_in": ["no such product"]}, "measure": "present"},
        "long": {"events": {"is_in": ["purchase"]}, "measure": "present", "horizon_days": 300},
        "complaint": SHIPPED["complaint"],
    }
    found = targets.learn(shop_of(LOG, settings(own)))
    assert [h.target for h in found.heads] == ["complaint"] == list(found.documents) == list(found.references)
    assert "map such events" in found.refused["cancel"] and "the labels do not fit" in found.refused["long"]
    assert "10 are needed" in found.refused["rare"] and "no event has" in found.refused["absent"]


def test_the_backtest_judges_them_at_several_cutoffs(tmp_path: Path) -> None:
    names = ("second_order", "lines")
    own = settings({n: OWN[n] for n in names} | {"cancel": {"events": {"is_in": ["cancel"]}, "measure": "present"}},
                   backtest={"cutoffs": 2}).model_copy(update={"out": str(tmp_path)})  # fmt: skip
    document = backtest.run(own, sim.log(), final=True)
    assert list(document["targets"]) == list(names) and list(document["targets_refused"]) == ["cancel"]
    for name in names:
        found = document["targets"][name]
        assert len(found["cutoffs"]) == 2 and found["cutoffs"] == sorted(found["cutoffs"])
        champion = found["ladder"][0]
        assert champion["rung"] == "champion" and [r["cutoff"] for r in champion["by_cutoff"]] == found["cutoffs"]
        assert found["n"] == sum(r["n"] for r in champion["by_cutoff"])
        key = "auroc" if name != "lines" else "gini"
        values = [r[key] for r in champion["by_cutoff"]]
        assert champion["mean"][key] == pytest.approx(np.mean(values)) and champion["worst"][key] == min(values)
