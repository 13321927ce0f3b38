"""The backtest's parts, by hand: which cutoffs, means and worst, who is ahead, and the log of looks."""

from __future__ import annotations

import dataclasses
import datetime as dt
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import polars as pl
import pytest
import sim

from churn_clv import backtest, comparison, config, events, metrics
from churn_clv.backtest import Look, _ladder, _looks, _strata
from churn_clv.errors import UserError
from churn_clv.models.baseline import Rung

DAY = dt.timedelta(days=1)
ENDS = sim.log().ends
FIRST = dt.date(2024, 3, 4)


def settings(cutoffs: int = 3, **sections: dict[str, Any]) -> config.Config:
    own: dict[str, dict[str, Any]] = {"promotion": {"bootstrap_draws": 200}, "backtest": {}}
    own |= sections
    own["backtest"] = {"cutoffs": cutoffs} | own["backtest"]
    return sim.settings(**own)


# --- which cutoffs --------------------------------------------------------------------------------
def test_the_newest_matured_cutoff_and_half_horizons_before_it() -> None:
    found = backtest.plans(sim.log(), settings(4))
    assert [(ENDS - plan.test).days for plan in found] == [28 + 42, 28 + 28, 28 + 14, 28]
    assert [(ENDS - plan.ends).days for plan in found] == [42, 28, 14, 0]
    stepped = backtest.plans(sim.log(), settings(2, backtest={"step_days": 9}))
    assert [(ENDS - plan.test).days for plan in stepped] == [37, 28]
    odd = backtest.plans(sim.log(), settings(2, timeline={"horizon_days": 21}))
    assert [(ENDS - plan.test).days for plan in odd] == [21 + 11, 21]


def test_as_many_cutoffs_as_fit() -> None:
    said: list[str] = []
    starts = dict.fromkeys(sim.log().starts, dt.date(2024, 1, 1))
    short = dataclasses.replace(sim.log(), starts=starts, ends=dt.date(2024, 1, 1) + 140 * DAY)
    own = settings(9, timeline={"step_days": 7, "max_train_cutoffs": 4})
    found = backtest.plans(short, own, said.append)
    assert [(plan.ends - dt.date(2024, 1, 1)).days for plan in found] == [112, 126, 140]
    assert said == ["only 3 of 9 test cutoffs fit the log"]
    with pytest.raises(UserError, match="not one cutoff fits before 2024-04-10: the labels do not fit"):
        backtest.plans(dataclasses.replace(sim.log(), ends=dt.date(2024, 4, 10)), own)


class Stop(Exception):
    """Enough has been seen."""


@pytest.mark.parametrize(("cutoffs", "horizon", "step"), [(3, 28, None), (1, 28, None), (5, 28, None), (3, 21, None),
                                                          (3, 28, 20)])  # fmt: skip
def test_development_ends_where_the_final_windows_begin(
    monkeypatch: pytest.MonkeyPatch, cutoffs: int, horizon: int, step: int | None
) -> None:
    own = settings(cutoffs, timeline={"horizon_days": horizon}, backtest={"step_days": step})
    final = backtest.plans(sim.log(), own)

    def seen(log: events.Log, *_: object, **__: object) -> None:
        raise Stop(log.ends, log.frame["time"].max())

    monkeypatch.setattr(backtest, "Workshop", seen)
    with pytest.raises(Stop) as stop:
        backtest.run(own, sim.log())
    ends, last = stop.value.args
    assert ends <= min(plan.test for plan in final) and last < dt.datetime.combine(ends, dt.time())
    with pytest.raises(Stop) as stop:
        backtest.run(own, sim.log(), final=True)
    assert stop.value.args[0] == ENDS


def test_the_line_may_be_drawn_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    def seen(log: events.Log, *_: object) -> None:
        raise Stop(log.ends)

    monkeypatch.setattr(backtest, "plans", seen)
    with pytest.raises(Stop) as stop:
        backtest.run(settings(backtest={"development_until": "2024-08-01"}), sim.log())
    assert stop.value.args == (dt.date(2024, 8, 1),)


# --- means and worst ------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("key", "values", "worst"),
    [
        ("churn_log_loss", [0.4, 0.6, 0.5], 0.6),
        ("churn_auroc", [0.8, 0.7, 0.9], 0.7),
        ("churn_average_precision", [0.5, 0.4], 0.4),
        ("churn_lift_top_decile", [2.0, 3.0], 2.0),
        ("churn_empc", [2.0, 1.0], 1.0),
        ("churn_ece", [0.01, 0.02], 0.02),
        ("spend_gini", [0.6, 0.5], 0.5),
        ("spend_spearman", [0.6, 0.5], 0.5),
        ("spend_top_decile_share", [0.3, 0.4], 0.3),  # of all money, what the top tenth by prediction brought
        ("spend_tweedie_deviance", [9.0, 8.0], 9.0),
        ("spend_rmse_winsorised", [9.0, 8.0], 9.0),
        ("spend_total_ratio", [0.9, 1.05, 1.0], 0.9),  # the farthest from 1, on either side
        ("spend_total_ratio", [0.9, 1.15, 1.0], 1.15),
        ("n", [200, 100], 100),
        ("churn_auroc", [0.8, None], None),
        ("spend_total_ratio", [None], None),
    ],
)
def test_worst(key: str, values: list[float | None], worst: float | None) -> None:
    assert _ladder.worst(key, values) == worst


def test_mean_is_of_all_cutoffs_or_none() -> None:
    assert _ladder.mean([1.0, 2.0, 6.0]) == 3.0
    assert _ladder.mean([1.0, None]) is None


# --- made-up looks --------------------------------------------------------------------------------
N = 400


def look(place: int, champion: float, rungs: dict[str, float], money: bool = True, zero: bool = False) -> Look:
    """A test cutoff at which the champion and the rungs see the truth through so much noise."""
    draw = np.random.default_rng(place)
    truth = draw.normal(size=N)
    churned = (draw.random(N) < 1 / (1 + np.exp(-1.5 * truth))).astype(float)
    spend = np.where(churned == 1, 0.0, draw.gamma(3.0, 20 * np.exp(-0.4 * truth)))

    def said(noise: float) -> tuple[Any, Any]:
        seen = (truth + noise * draw.normal(size=N)) / (1 + noise**2)
        risk = 1 / (1 + np.exp(-1.5 * seen))
        return risk, (1 - risk) * 60 * np.exp(-0.4 * seen)

    cutoff = FIRST + 28 * place * DAY
    test = pl.DataFrame({"customer_id": [f"c{n}" for n in range(N)], "cutoff": [cutoff] * N, "churned_28d": churned,
                         "spend_28d": spend})  # fmt: skip
    own = said(champion)
    predictions = pl.DataFrame({"churn_probability": own[0], "expected_spend": own[1]})
    others = [Rung("recency_rule", truth + 3 * draw.normal(size=N), False, None)]
    for name, noise in rungs.items():
        risk, worth = said(noise)
        others.append(Rung(name, risk, True, np.where(worth < 5, 0.0, worth) if zero else worth))
    targets = {"churned": None, "spend": None} if money else {"churned": None}
    plan = SimpleNamespace(horizon_days=28, test=cutoff)
    judged = SimpleNamespace(plan=plan, test=test, predictions=predictions if money else predictions[:, :1],
                             targets=targets)  # fmt: skip
    return Look(judged, tuple(others), (0.8, 1.25) if money else None, 100.0 if money else None)  # type: ignore[arg-type]


def compared(looks: list[Look]) -> dict[str, dict[str, Any]]:
    rows = [_ladder.ladder_row(name, looks, settings(), None) for name in _looks.rung_names(looks)]
    return _ladder.comparisons(looks, rows, settings())


def test_a_clear_lead_and_a_clear_lag() -> None:
    ahead = compared([look(k, 0.1, {"near": 1.2, "far": 2.5}) for k in range(3)])
    assert list(ahead) == list(_ladder.COMPARED)
    assert {row["verdict"] for row in ahead.values()} == {"ahead"}
    assert {row["rung"] for row in ahead.values()} == {"near"}
    for metric, row in ahead.items():
        assert row["low"] < row["difference"] < row["high"]
        assert (row["high"] < 0) if metric in comparison.LOSSES else (row["low"] > 0)
    behind = compared([look(k, 1.6, {"near": 0.1, "far": 2.5}) for k in range(3)])
    assert {row["verdict"] for row in behind.values()} == {"behind"}
    assert behind["churn_log_loss"]["low"] > 0 > behind["churn_auroc"]["high"]


def test_the_difference_is_that_of_the_means() -> None:
    looks = [look(k, 0.6, {"near": 0.7}) for k in range(2)]
    rows = {n: _ladder.ladder_row(n, looks, settings(), None)["mean"] for n in ("champion", "near")}
    for metric, row in compared(looks).items():
        assert row["difference"] == pytest.approx(rows["champion"][metric] - rows["near"][metric], rel=1e-9)
        assert row["verdict"] == "level" and row["low"] < 0 < row["high"]


def test_one_cutoff_significantly_behind_takes_the_lead_away() -> None:
    looks = [look(k, 0.1, {"near": 1.5}) for k in range(3)]
    assert compared(looks)["churn_log_loss"]["verdict"] == "ahead"
    found = compared([*looks, look(3, 1.6, {"near": 0.2})])["churn_log_loss"]
    assert found["verdict"] == "level" and found["high"] < 0


def test_who_has_no_probability_or_no_money_is_not_compared_on_it() -> None:
    found = compared([look(0, 0.3, {})])
    assert list(found) == ["churn_auroc"] and found["churn_auroc"]["rung"] == "recency_rule"
    # a spend of 0 has a deviance without bound where money came: a ranking it still has
    nothing = compared([look(0, 0.3, {"near": 0.9}, zero=True)])
    assert list(nothing) == ["churn_log_loss", "churn_auroc", "spend_gini"]
    assert list(compared([look(0, 0.3, {"near": 0.9}, money=False)])) == ["churn_log_loss", "churn_auroc"]


def test_a_rung_that_is_silent_at_one_cutoff_is_left_out() -> None:
    looks = [look(0, 0.3, {"near": 0.9, "once": 1.0}), look(1, 0.3, {"near": 0.9})]
    assert _looks.rung_names(looks) == ["champion", "recency_rule", "near"]


def test_a_row_of_the_ladder_by_hand() -> None:
    looks = [look(k, 0.5, {"near": 0.9}) for k in range(2)]
    row = _ladder.ladder_row("champion", looks, settings(), {"value": 50.0, "offer": 5.0, "contact": 0.5})
    for own, at in zip(row["by_cutoff"], looks, strict=True):
        churned, spend = at.judged.test["churned_28d"].to_numpy(), at.judged.test["spend_28d"].to_numpy()
        risk, money = (at.judged.predictions[c].to_numpy() for c in ("churn_probability", "expected_spend"))
        expected = metrics.churn_metrics(churned, risk) | metrics.spend_metrics(spend, money)
        assert {k: own[k] for k in expected} == expected
        assert own["cutoff"] == at.cutoff.isoformat() and own["n"] == N
        assert (own["spend_total_low"], own["spend_total_high"]) == (0.8, 1.25)
        capped = np.minimum(money, 100.0) - np.minimum(spend, 100.0)
        assert own["spend_rmse_winsorised"] == pytest.approx(float(np.sqrt(np.mean(capped**2))), rel=1e-12)
        assert own["spend_rmse_winsorised"] < own["spend_rmse"] and own["churn_empc"] > 0
    for key in ("churn_log_loss", "spend_total_ratio", "churn_empc", "spend_rmse_winsorised"):
        values = [own[key] for own in row["by_cutoff"]]
        assert row["mean"][key] == pytest.approx(sum(values) / 2, rel=1e-12) and row["worst"][key] in values
    near = _ladder.ladder_row("near", looks, settings(), None)
    assert near["by_cutoff"][0]["spend_total_low"] is None and near["mean"]["churn_empc"] is None
    rule = _ladder.ladder_row("recency_rule", looks, settings(), None)["mean"]
    assert rule["churn_log_loss"] is None and rule["spend_gini"] is None and rule["churn_auroc"] is not None


def test_strata_by_attributes_as_they_were() -> None:
    """Of few values: each row takes the one known at its cutoff, or 'unknown'; an id of its own is no stratum."""
    rows = pl.DataFrame({"customer_id": ["a", "b", "c", "a"], "cutoff": [FIRST, FIRST, FIRST, FIRST + 9 * DAY]})
    moved = dt.datetime.combine(FIRST + 3 * DAY, dt.time())
    people = pl.DataFrame({
        "customer_id": ["a", "a", "b"], "city": ["Rome", "Oslo", "Rome"],
        "valid_from": [moved - 90 * DAY, moved, moved - 90 * DAY],
    })  # fmt: skip
    many = pl.DataFrame({"customer_id": ["a", "b", "c"], "card": ["1", "2", "3"], "all": ["x", "x", "x"]})
    log = dataclasses.replace(sim.log(), attributes={"people": people, "cards": many})
    found = _strata.attributes(log, rows)
    assert found["attribute:people.city"] == ["Rome", "Rome", "unknown", "Oslo"]
    assert "attribute:cards.all" not in found and "attribute:people.valid_from" not in found
    wide = pl.DataFrame({"customer_id": [f"w{n}" for n in range(20)], "card": [str(n) for n in range(20)]})
    own = pl.DataFrame({"customer_id": wide["customer_id"], "cutoff": [FIRST] * 20})
    assert _strata.attributes(dataclasses.replace(log, attributes={"cards": wide}), own) == {}


# --- the log of looks -----------------------------------------------------------------------------
def test_only_final_looks_are_logged(tmp_path: Path) -> None:
    own = settings().model_copy(update={"out": str(tmp_path)})
    path = backtest.looks_file(own)
    assert path == tmp_path / "backtest" / "simulated-h28" / "looks.jsonl"
    document = {"cutoffs": ["2024-09-01"], "recipe_hash": "abc"}
    assert backtest._log_look(document, own, final=False) == [] and not path.exists()
    first = backtest._log_look(document, own, final=True)
    second = backtest._log_look(document | {"recipe_hash": "def"}, own, final=True)
    assert [look["recipe_hash"] for look in second] == ["abc", "def"] and second[0] == first[0]
    assert first[0]["cutoffs"] == ["2024-09-01"] and dt.datetime.fromisoformat(first[0]["at"]).tzinfo is not None
    assert [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] == second
    assert backtest._log_look(document, own, final=False) == second
    assert len(path.read_text(encoding="utf-8").splitlines()) == 2
