"""The search on a simulated log: blind to the future, repeatable, never losing or repeating a finished trial."""

from __future__ import annotations

import datetime as dt
from dataclasses import asdict
from itertools import pairwise
from pathlib import Path
from typing import Any, ClassVar

import lightgbm as lgb
import numpy as np
import optuna
import pytest
import sim
from filelock import FileLock

from churn_clv import backtest, config, metrics, timeline, tuning
from churn_clv.errors import UserError
from churn_clv.models import fit
from churn_clv.models.predict import Kind, raw_margin, sigmoid
from churn_clv.recipe import Lesson, Workshop
from churn_clv.tuning import _arena, _crew, _ground, _space, _steps, _studies, _verdict

SETTINGS = sim.settings(timeline={"step_days": 7, "max_train_cutoffs": 8})
SPACE = tuning.space_of({
    "trial": {"rows": 1000, "rounds": 10}, "step": [1, 2],
    "churn": {"num_leaves": {"low": 2, "high": 15, "log": True}, "lambda_l2": {"low": 0.1, "high": 100, "log": True},
              "families": ["monetary", "tenure"]},
    "spend": {"num_leaves": {"low": 2, "high": 15}, "tweedie_variance_power": {"low": 1.1, "high": 1.9}},
})  # fmt: skip


@pytest.fixture(scope="module")
def found() -> _ground.Ground:
    return _ground.ground(sim.log(300), SETTINGS)


@pytest.fixture(scope="module")
def shop(found: _ground.Ground) -> Workshop:
    return Workshop(found.log, SETTINGS, [found.search], dict(SETTINGS.targets), lambda _: None, shipping=False)


# --- where --------------------------------------------------------------------------------------------
def test_what_is_searched_ends_before_what_judges_and_both_before_the_final_cutoffs(found: _ground.Ground) -> None:
    line = backtest.plans(sim.log(300), SETTINGS)[0].test
    tests = [p.test for p in found.judged]
    assert found.log.ends == line and len(tests) == 3 and len(found.search.origins) == 3 and not found.notes
    assert all(found.search.label_ends(o) <= tests[0] for o in found.search.origins)
    assert all(p.label_ends(p.test) <= line for p in found.judged)
    assert tests[0] == found.search.test


@pytest.mark.parametrize(
    ("days", "origins", "judged", "said"),
    [
        (200, 2, 1, "1 of 3 cutoffs are left to judge"),  # older plans have one origin: they judge nothing
        (170, 1, 1, "one validation cutoff"),
        (160, 1, 0, "nobody can say whether tuning paid"),
    ],
)  # fmt: skip
def test_a_short_history_takes_away_in_words(days: int, origins: int, judged: int, said: str) -> None:
    short = _ground.ground(timeline.until(sim.log(300), dt.date(2024, 1, 1) + dt.timedelta(days=days)), SETTINGS)
    assert (len(short.search.origins), len(short.judged)) == (origins, judged)
    assert any(said in note for note in short.notes)
    assert all(short.search.label_ends(o) <= short.log.ends for o in short.search.origins)


def test_a_history_too_short_for_one_origin_is_refused() -> None:
    own = SETTINGS.model_copy(update={"backtest": config._sections.Backtest(development_until=dt.date(2024, 3, 1))})
    with pytest.raises(UserError, match="no validation cutoff has labels that end by 2024-03-01"):
        _ground.ground(timeline.until(sim.log(300), dt.date(2024, 6, 8)), own)


def test_a_coarser_step_takes_every_second_row_of_the_same_reach(found: _ground.Ground) -> None:
    plan = found.search
    for origin in plan.origins:
        fine, coarse = plan.learnt_by(origin), _ground.coarser(plan, 2).learnt_by(origin)
        assert set(coarse) <= set(fine) and len(coarse) == len(fine) // 2
        assert {(b - a).days for a, b in pairwise(coarse)} == {14}
    assert _ground.steps_that_fit(plan, (1, 2, 8)) == (1, 2)  # every eighth week leaves one cutoff


# --- one trial ------------------------------------------------------------------------------------------
@pytest.mark.parametrize("head", _space.HEADS)
def test_a_trial_is_what_the_workshops_own_boosters_would_say(
    head: _space.Head, shop: Workshop, found: _ground.Ground, tmp_path: Path
) -> None:
    """Without leaving rows out, boosters of raw values, in the bins of all that is learnt from, lose the same."""
    plan, problem = found.search, _space.Trial(rows=100_000, rounds=12, learning_rate=0.2)
    _arena.build(tmp_path, shop, plan, (1, 2))
    arena = _arena.Arena(tmp_path)
    own = config.Booster(min_data_in_leaf=15, num_leaves=5, families=("recency", "monetary"))
    for step in (1, 2):
        heard: dict[int, float] = {}
        outcome = _arena.solve(arena, head, own, step, problem, heard.__setitem__)
        every = plan if step == 1 else _ground.coarser(plan, 2)
        expected = by_hand(head, shop, found, every, own, problem)
        best = min(expected, key=lambda trees: expected[trees])
        assert outcome.trees == best and outcome.value == pytest.approx(expected[best], rel=1e-12)
        assert list(heard) == [0, 1, 2] and heard[2] == outcome.value


def by_hand(
    head: str, shop: Workshop, found: _ground.Ground, plan: timeline.Plan, own: config.Booster, problem: Any
) -> dict[int, float]:
    """The pooled loss at each number of trees, by boosters on raw values of labels that end by each origin."""
    own = own.model_copy(update={"learning_rate": problem.learning_rate, "max_rounds": problem.rounds})
    fine = [c for o in plan.origins for c in found.search.learnt_by(o)]
    binning = {"feature_pre_filter": False, "verbosity": -1}
    whole = lgb.Dataset(shop.values[shop.rows([*{*fine}])], params=binning).construct()
    losses: dict[int, list[Any]] = {n: [] for n in fit.tree_counts(own)}
    for origin in plan.origins:
        rows, asked = shop.rows(Lesson(plan, origin).cutoffs()), shop.rows([origin])
        assert all(plan.label_ends(c) <= origin for c in Lesson(plan, origin).cutoffs())
        label = shop.label("churned" if head == "churn" else "spend", plan.horizon_days, plan.test)
        scale = fit.money_scale(label[rows]) if head == "spend" else 1.0
        data = lgb.Dataset(shop.values[rows], label=label[rows] / scale, reference=whole)
        kind: Kind = "hazard" if head == "churn" else "amount"
        booster = lgb.train(fit.parameters(kind, own, 3, 1, shop.columns, shop.family_of), data, 12)
        for trees, into in losses.items():
            margin = raw_margin(fit.cut(booster, trees), shop.values[asked])
            into.append(metrics.log_losses(label[asked], sigmoid(margin)) if head == "churn"
                        else metrics.tweedie_deviances(label[asked], scale * np.exp(margin)))  # fmt: skip
    return {trees: float(np.concatenate(parts).mean()) for trees, parts in losses.items()}


# --- the search -----------------------------------------------------------------------------------------
def search(shop: Workshop, found: _ground.Ground, path: Path, trials: int, jobs: int = 1, watch: Any = None) -> Any:
    with _studies.quiet(), _studies.held(path):
        return tuning._search(shop, found, SPACE, tuning.Limits(trials, None, jobs), path, lambda _: None,
                              watch or (lambda _: None))  # fmt: skip


def told(searched: Any) -> dict[str, list[Any]]:
    return {h: [(t.number, t.state, t.params, t.value, t.intermediate_values) for t in _studies.finished(s.study)]
            for h, s in searched.items()}  # fmt: skip


def test_the_same_seed_and_one_job_give_the_same_trials(shop: Workshop, found: _ground.Ground, tmp_path: Path) -> None:
    first = told(search(shop, found, tmp_path / "a.db", 28))
    assert first == told(search(shop, found, tmp_path / "b.db", 28))
    assert [len(trials) for trials in first.values()] == [14, 14]
    start, *others = first["churn"]
    assert start[2]["num_leaves"] == 7 and start[2]["step"] == 1  # the config's own settings come first
    assert len({str(t[2]) for t in first["churn"]}) == 14
    assert any(t[1].name == "PRUNED" for trials in first.values() for t in trials)
    assert min(t[3] for t in others if t[3] is not None) != start[3]
    assert not list(tmp_path.glob("*.arena"))


def test_an_interrupted_search_goes_on_where_it_stopped(shop: Workshop, found: _ground.Ground, tmp_path: Path) -> None:
    def stop(progress: tuning.Progress) -> None:
        if progress.done == 5:
            raise KeyboardInterrupt

    with pytest.raises(UserError, match=r"interrupted: 5 of 8 trials are kept in .*goes on from there"):
        search(shop, found, tmp_path / "a.db", 8, watch=stop)
    heard: list[tuning.Progress] = []
    ended = told(search(shop, found, tmp_path / "a.db", 8, watch=heard.append))
    assert [heard[0].done, heard[-1].done] == [5, 8] and [len(t) for t in ended.values()] == [4, 4]
    assert told(search(shop, found, tmp_path / "a.db", 8)) == ended  # nothing is left to run


def test_what_a_killed_run_was_at_is_run_again(shop: Workshop, found: _ground.Ground, tmp_path: Path) -> None:
    with _studies.quiet():
        study = _studies.open_study(tmp_path / "a.db", "churn", 1)
        lost = study.ask()
        drawn = {"num_leaves": lost.suggest_int("num_leaves", 2, 15, log=True)}
    ended = search(shop, found, tmp_path / "a.db", 6)["churn"].study
    assert ended.get_trials()[lost.number].state.name == "FAIL"
    again = [t for t in _studies.finished(ended) if t.system_attrs.get("fixed_params") == drawn]
    assert len(again) == 1 and again[0].params["num_leaves"] == drawn["num_leaves"]
    assert len(_studies.finished(ended)) == 3


@pytest.mark.check
def test_workers_share_the_trials_and_none_is_run_twice(shop: Workshop, found: _ground.Ground, tmp_path: Path) -> None:
    heard: list[tuning.Progress] = []
    ended = told(search(shop, found, tmp_path / "a.db", 9, jobs=2, watch=heard.append))
    assert [len(t) for t in ended.values()] == [5, 4] and heard[-1].done == 9
    assert len({str(t[2]) for t in ended["churn"]}) == 5


def test_trials_are_shared_out_in_turn() -> None:
    class Study:
        def __init__(self, done: int) -> None:
            self.done = done

        def get_trials(self, **_: Any) -> list[int]:
            return [0] * self.done

    def left(churn: int, spend: int, trials: int) -> list[str]:
        return list(_crew.missing({"churn": Study(churn), "spend": Study(spend)}, trials))  # type: ignore[dict-item]

    assert left(0, 0, 5) == ["churn", "spend", "churn", "spend", "churn"]
    assert left(0, 2, 5) == ["churn", "churn", "churn"]
    assert left(3, 2, 5) == [] == left(9, 9, 5)
    assert left(3, 0, 6) == ["spend", "spend", "spend"]


def test_a_study_that_cannot_be_opened_or_is_held(tmp_path: Path) -> None:
    path = tmp_path / "studies" / "a.db"
    path.parent.mkdir()
    path.write_text("this is no database, and long enough to be seen as none " * 50)
    with pytest.raises(UserError, match=r"a\.db cannot be opened: file is not a database"), _studies.held(path):
        pass
    busy = pytest.raises(UserError, match="another tune is at work")
    with FileLock(path.with_suffix(".lock")), busy, _studies.held(path):
        pass


def test_another_space_config_or_log_is_another_study(found: _ground.Ground) -> None:
    other = tuning.space_of({"churn": {"num_leaves": [3, 7]}})
    seeded = SETTINGS.model_copy(update={"seed": 4})
    names = [
        _studies.study_file(SETTINGS, SPACE, "a", found.search),
        _studies.study_file(SETTINGS, other, "a", found.search),
        _studies.study_file(seeded, SPACE, "a", found.search),
        _studies.study_file(SETTINGS, SPACE, "b", found.search),
        _studies.study_file(SETTINGS, SPACE, "a", found.judged[-1]),
    ]
    assert len(set(names)) == 5
    assert names[0] == _studies.study_file(SETTINGS, SPACE, "a", found.search)


# --- did it pay -----------------------------------------------------------------------------------------
def predictions(noise: float, seed: int = 1, rows: int = 600) -> Any:
    import polars as pl

    draw = np.random.default_rng(0)
    truth = draw.normal(size=rows)
    churned = (draw.random(rows) < sigmoid(truth)).astype(np.int8)
    spend = np.where(churned == 1, 0.0, draw.gamma(2.0, 20.0, rows))
    guess = truth + noise * np.random.default_rng(seed).normal(size=rows)
    dates = [dt.date(2024, 1, 1)] * (rows // 2) + [dt.date(2024, 2, 1)] * (rows // 2)
    return pl.DataFrame({
        "customer_id": [f"c{i:03d}" for i in range(rows // 2)] * 2, "cutoff": dates, "churned": churned,
        "churn_probability": sigmoid(guess), "spend": spend, "expected_spend": 40 * (1 - sigmoid(guess)),
    })  # fmt: skip


def test_a_better_recipe_is_ahead_a_worse_one_behind_the_same_one_level() -> None:
    good, bad = predictions(0.0), predictions(2.0)
    better = _verdict.differences(good, bad, SETTINGS)
    row = better["churn_log_loss"]
    own = metrics.log_losses(good["churned"].to_numpy(), good["churn_probability"].to_numpy()).mean()
    assert row["tuned"] == pytest.approx(own) and row["difference"] == pytest.approx(row["tuned"] - row["default"])
    assert row["low"] < row["difference"] < row["high"] < 0 and row["verdict"] == "ahead"
    assert better["churn_auroc"]["low"] > 0 and better["churn_auroc"]["verdict"] == "ahead"
    assert _verdict.in_words(better)["churn"] == "tuning paid"
    worse = _verdict.differences(bad, good, SETTINGS)
    assert worse["churn_log_loss"]["low"] > 0 and _verdict.in_words(worse)["churn"].endswith("behind the default")
    same = _verdict.differences(good, good, SETTINGS)
    assert {r["verdict"] for r in same.values()} == {"level"}
    with pytest.raises(ValueError, match="did not predict the same rows"):
        _verdict.differences(good.head(10), bad, SETTINGS)


def test_outcomes_are_kept_with_the_study(shop: Workshop, found: _ground.Ground, tmp_path: Path) -> None:
    searched = search(shop, found, tmp_path / "a.db", 4)
    step, chosen = _steps.choose(searched)
    for head, one in searched.items():
        assert one.study.user_attrs["default"] == asdict(one.default)
        best = min(t.value for t in _studies.finished(one.study) if t.user_attrs["step"] == step)
        assert chosen[head].value == best


def test_both_heads_settle_on_one_step_and_search_on_at_it(
    shop: Workshop, found: _ground.Ground, tmp_path: Path
) -> None:
    searched = search(shop, found, tmp_path / "a.db", 10)
    steps = {one.study.user_attrs["step"] for one in searched.values()}
    assert len(steps) == 1 and _steps.choose(searched)[0] in steps
    for one in searched.values():
        asked = [t.user_attrs["step"] for t in _studies.finished(one.study)]
        assert {*asked[2:]} == steps  # three of ten trials came before
        assert "step" not in _studies.finished(one.study)[-1].params


def test_the_shared_step_is_the_best_of_both_heads_together() -> None:
    """Losses over the default's: step 1 .9 x 1 = .9, step 2 .95 x .9 = .855, step 4 was not seen through by spend."""

    class Trial:
        state = optuna.trial.TrialState.COMPLETE

        def __init__(self, step: int, value: float) -> None:
            self.value, self.user_attrs = value, {"step": step}

    class Study:
        user_attrs: ClassVar[dict[str, int]] = {}

        def __init__(self, *trials: Trial) -> None:
            self.trials = trials

        def get_trials(self, **_: Any) -> tuple[Trial, ...]:
            return self.trials

    ten = _arena.Outcome(10.0, 5)
    churn = Study(Trial(1, 9.0), Trial(1, 9.9), Trial(2, 9.5), Trial(4, 1.0))
    spend = Study(Trial(1, 10.0), Trial(2, 9.0))
    searched: Any = {"churn": _steps.Searched(churn, None, ten), "spend": _steps.Searched(spend, None, ten)}  # type: ignore[arg-type]
    step, chosen = _steps.choose(searched)
    assert step == 2 and {h: t.value for h, t in chosen.items()} == {"churn": 9.5, "spend": 9.0}
