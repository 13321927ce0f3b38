"""A backtest judges the recipe as training does, looks no further than its line, and reports what was predicted."""

from __future__ import annotations

import dataclasses
import datetime as dt
import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import sim

from churn_clv import backtest, config, events, labels, metrics, recipe, timeline, training
from churn_clv.errors import UserError
from churn_clv.models.baseline import metrics_of
from churn_clv.training import _report

DAY = dt.timedelta(days=1)
QUICKER = sim.QUICK | {"max_rounds": 15}
LINE = sim.log().ends - 42 * DAY  # where the older of two final windows begins
KEYS = {
    "dataset", "horizon_days", "active_within_days", "currency", "recipe_hash", "ends", "fingerprint", "cutoffs",
    "independent_cutoffs", "label_return_rate", "label_return_within_days", "policies", "ladder", "season",
    "season_note", "strata", "champion_minus_best", "reliability", "deciles", "lift", "intervals", "choices", "value",
    "orders",
    "clv", "targets", "targets_refused", "final", "development_until", "looks", "seconds",
}  # fmt: skip
RUNGS = ["champion", "recency_rule", "last_horizon_spend", "lifetime_rate", "rfm_cells", "logistic", "btyd",
         "single_snapshot"]  # fmt: skip


def settings(out: Path, cutoffs: int) -> config.Config:
    own = sim.settings(
        backtest={"cutoffs": cutoffs},
        promotion={"bootstrap_draws": 100},
        models={"threads": 1, "churn": QUICKER, "spend": QUICKER},
    )
    return own.model_copy(update={"out": str(out)})


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("backtest")


Ran = tuple[dict[str, Any], list[backtest.Look]]


@pytest.fixture(scope="module")
def developed(out: Path) -> Ran:
    """The document of two cutoffs before the line, and the looks that it was made of."""
    looks: list[backtest.Look] = []
    look = backtest._look
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(backtest, "_look", lambda *terms: looks.append(look(*terms)) or looks[-1])
        document = backtest.run(settings(out, 2), sim.log())
    return document, looks


@pytest.fixture(scope="module")
def final(out: Path, developed: Ran) -> dict[str, Any]:
    return backtest.run(settings(out, 1), sim.log(), final=True)


# --- the document -------------------------------------------------------------------------------
def test_the_document(developed: Ran) -> None:
    document, looks = developed
    assert set(document) == KEYS
    assert json.loads(json.dumps(document)) == document
    assert document["cutoffs"] == [(LINE - n * DAY).isoformat() for n in (42, 28)]
    assert (document["ends"], document["development_until"], document["final"]) == (
        LINE.isoformat(), LINE.isoformat(), False,
    )  # fmt: skip
    assert (document["independent_cutoffs"], document["label_return_within_days"]) == (1, 84)
    assert [row["rung"] for row in document["ladder"]] == RUNGS
    assert [look.cutoff.isoformat() for look in looks] == document["cutoffs"]
    assert [choice["cutoff"] for choice in document["choices"]] == document["cutoffs"]
    assert {(row["by"], row["stratum"]) for row in document["strata"]} >= {("orders", "1"), ("rhythm", "overdue")}
    assert [row["share"] for row in document["lift"]] == [(k + 1) / 10 for k in range(10)]
    assert document["lift"][-1]["champion"] == pytest.approx(1)
    assert (document["season"], document["dataset"]) == ("unseen", "simulated")


def test_each_cutoff_is_scored_by_what_was_predicted_for_it(developed: Ran) -> None:
    document, looks = developed
    for place, look in enumerate(looks):
        test = look.judged.test
        assert test["cutoff"].unique().to_list() == [look.cutoff]
        churned, spend = (test[labels.column(name, 28)].to_numpy() for name in ("churned", "spend"))
        risk, money = (look.judged.predictions[c].to_numpy() for c in ("churn_probability", "expected_spend"))
        champion = metrics.churn_metrics(churned, risk) | metrics.spend_metrics(spend, money) | {"n": test.height}
        own = document["ladder"][0]["by_cutoff"][place]
        assert {key: own[key] for key in champion} == champion
        for row in document["ladder"][1:]:
            rung = next(r for r in look.rungs if r.name == row["rung"])
            expected = metrics_of(rung, churned, spend)
            assert {key: row["by_cutoff"][place][key] for key in expected} == expected


def test_mean_and_worst_are_of_the_cutoffs(developed: Ran) -> None:
    for row in developed[0]["ladder"]:
        first, second = row["by_cutoff"]
        for key, mean in row["mean"].items():
            if first[key] is None:
                assert mean is None and row["worst"][key] is None
                continue
            assert mean == pytest.approx((first[key] + second[key]) / 2, rel=1e-12)
            assert row["worst"][key] in (first[key], second[key])
        ratios = [first["spend_total_ratio"], second["spend_total_ratio"]]
        if ratios[0] is not None:
            assert row["worst"]["spend_total_ratio"] == max(ratios, key=lambda r: abs(r - 1))


def test_the_looks_of_a_backtest_are_those_of_their_own_plans(developed: Ran) -> None:
    """Each look's choices and predictions are what a workshop of both plans gives at that plan alone."""
    _, looks = developed
    log, own = timeline.until(sim.log(), LINE), settings(Path(), 2)
    plans = backtest.plans(log, own)
    assert [look.judged.plan for look in looks] == plans
    targets, refused = training.answerable(log, own)
    shop = recipe.Workshop(log, own, plans, targets, lambda _: None, shipping=False)
    newest = training.judge_at(shop, plans[1], refused)  # without the older one before it
    assert newest.predictions.equals(looks[1].judged.predictions)
    assert newest.chosen.validation.equals(looks[1].judged.chosen.validation)


# --- the line -----------------------------------------------------------------------------------
def with_another_future(log: events.Log, line: dt.date) -> events.Log:
    """Every event from the line on given to others, at another price; those that become known only then are new."""
    draw = random.Random(5)
    later = pl.col("time") >= pl.lit(dt.datetime.combine(line, dt.time()))
    moved = log.frame.filter(later)
    everyone = sorted(set(log.frame["customer_id"]))
    moved = moved.with_columns(
        customer_id=pl.Series([draw.choice([*everyone, "new"]) for _ in range(moved.height)]),
        amount=pl.col("amount") * 7,
    )
    unseen = log.frame.filter(~later)[:200].with_columns(
        known_at=pl.lit(dt.datetime.combine(line, dt.time())).cast(pl.Datetime("us"))
    )
    fresh = moved[:50].with_columns(event_type=pl.lit("survey"), channel=pl.lit("web"))
    found = sim.changed(log, pl.concat([log.frame.filter(~later), moved, unseen, fresh]))
    return dataclasses.replace(
        found, starts=found.starts | {"survey": line}, columns=found.columns | {"channel"},
        counts=(*found.counts, events.Count("missing_customer", "tills", 7, "dropped")),
    )  # fmt: skip


def test_development_sees_nothing_from_its_line_on(developed: Ran, out: Path) -> None:
    """Another future changes no number of the document: the line may be crossed by `--final` alone."""
    other = backtest.run(settings(out, 2), with_another_future(sim.log(), LINE))
    apart = {"seconds", "looks"}
    mine = developed[0]
    for key in KEYS - apart:
        assert other[key] == mine[key], key


class Stop(Exception):
    """Enough has been seen."""


def learnt_from(log: events.Log, own: config.Config, monkeypatch: pytest.MonkeyPatch) -> tuple[events.Log, set[str]]:
    """The log and the targets that a development backtest works with."""

    def seen(log: events.Log, settings: Any, plans: Any, targets: dict[str, Any], *_: Any, **__: Any) -> None:
        raise Stop(log, {*targets})

    monkeypatch.setattr(backtest, "Workshop", seen)
    with pytest.raises(Stop) as stop:
        backtest.run(own, log)
    return stop.value.args  # type: ignore[return-value]


def test_what_only_came_after_the_line_is_nowhere_in_what_development_learns_from(
    out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log, own = sim.log(), settings(out, 2)
    one, targets = learnt_from(log, own, monkeypatch)
    other, others = learnt_from(with_another_future(log, LINE), own, monkeypatch)
    assert one.frame.equals(other.frame) and targets == others == {"churned", "spend"}
    for field in dataclasses.fields(events.Log):
        if field.name != "frame":
            assert getattr(one, field.name) == getattr(other, field.name), field.name


def test_no_target_is_answered_by_what_only_came_after_the_line(out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Money that was first written down after it, and events by which to leave that first came after it."""
    log, own = sim.log(), settings(out, 2)
    before = pl.col("time") < pl.lit(dt.datetime.combine(LINE, dt.time()))
    poor = sim.changed(log, log.frame.with_columns(amount=pl.when(~before).then("amount")))
    assert "amount" in poor.columns and learnt_from(poor, own, monkeypatch)[1] == {"churned"}
    cancel = own.targets["churned"].model_copy(
        update={"events": own.targets["churned"].events.model_copy(update={"is_in": ("survey",)})}
    )
    leaving = own.model_copy(update={"targets": own.targets | {"churned": cancel}})
    with pytest.raises(UserError, match=r"'churned' is needed, and it counts events of type survey"):
        backtest.run(leaving, with_another_future(log, LINE))


def test_only_the_final_backtest_logs_its_look(developed: Ran, final: dict[str, Any], out: Path) -> None:
    assert developed[0]["looks"] == []
    own = settings(out, 1)
    said = backtest.looks_file(own).read_text(encoding="utf-8").splitlines()
    assert [json.loads(line) for line in said] == final["looks"] and len(said) == 1
    newest = (sim.log().ends - 28 * DAY).isoformat()
    assert final["looks"][0]["cutoffs"] == final["cutoffs"] == [newest]
    assert final["looks"][0]["recipe_hash"] == final["recipe_hash"] == own.recipe_hash
    assert final["final"] and final["development_until"] is None and final["ends"] == sim.log().ends.isoformat()


# --- as training judges -------------------------------------------------------------------------
def test_the_newest_cutoff_is_judged_as_training_judges_it(final: dict[str, Any], out: Path) -> None:
    """One plan, one recipe: the same choices and the same metrics to the bit.

    With more cutoffs the population's rhythm is learnt at the earliest of all, and may differ from training's.
    """
    judged = training.judge(sim.log(), settings(out, 1))
    assert final["choices"] == [training.chosen_as_json(judged)]
    champion = _report.own_metrics(judged)
    own = final["ladder"][0]["by_cutoff"][0]
    assert {key: own[key] for key in champion} == champion
    assert final["reliability"][0]["mean_probability"] == pytest.approx(
        np.sort(judged.predictions["churn_probability"].to_numpy())[: judged.test.height // 10].mean(), rel=0.05
    )


@pytest.mark.parametrize("days", [(28, 0), (42, 14)])
def test_a_cutoff_without_money_leaves_the_money_out_of_the_whole_document(out: Path, days: tuple[int, int]) -> None:
    """At the newest cutoff, or at the one before: what cannot be learnt at each of them has no mean over them."""
    first, last = (dt.datetime.combine(sim.log().ends - n * DAY, dt.time()) for n in days)
    free = pl.col("time").is_between(first, last, closed="left")
    log = sim.changed(sim.log(), sim.log().frame.with_columns(amount=pl.when(free).then(0).otherwise("amount")))
    document = backtest.run(settings(out / "free", 2), log, final=True)
    champion = document["ladder"][0]
    assert champion["mean"]["churn_auroc"] > 0.6 and champion["mean"]["spend_gini"] is None
    assert set(document["champion_minus_best"]) == {"churn_log_loss", "churn_auroc"} and document["deciles"] == []
