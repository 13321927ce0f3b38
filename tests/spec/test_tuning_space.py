"""The search space: what may be asked, what a draw means, and what the overlay makes of it; by hand."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import optuna
import pytest

from churn_clv import config, tuning
from churn_clv.config import Booster
from churn_clv.errors import UserError
from churn_clv.tuning import _space

LEAVES = {"num_leaves": {"low": 3, "high": 31, "log": True}}
FAMILIES = ("recency", "frequency", "basket", "price")


def test_the_shipped_space_loads_and_searches_both_heads() -> None:
    space = tuning.load_space()
    for head in _space.HEADS:
        own = space.of(head)
        assert own is not None and {"num_leaves", "min_data_in_leaf", "feature_fraction"} <= own.ranges.keys()
        assert "recency" not in own.families and "basket" in own.families
    assert space.step == (1, 2, 4) and space.spend is not None and "tweedie_variance_power" in space.spend.ranges


def test_a_space_of_ones_own_replaces_the_shipped_one_whole(tmp_path: Path) -> None:
    (tmp_path / "own.yaml").write_text("churn:\n  num_leaves: [3, 7]\n")
    space = tuning.load_space(tmp_path / "own.yaml")
    assert space.spend is None and space.churn is not None and space.churn.ranges == {"num_leaves": [3.0, 7.0]}
    assert space.step == (1,) and space.trial == _space.Trial()


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"churn": {"num_leafs": [3]}}, r"churn: unknown setting 'num_leafs'. Did you mean 'num_leaves'\?"),
        ({"chrun": LEAVES}, r"unknown setting 'chrun'. Did you mean 'churn'\?"),
        ({"churn": {"num_leaves": []}}, "1 setting.*churn.num_leaves: expected at least 1 value, found none"),
        ({"churn": {"num_leaves": {"low": 9, "high": 3}}}, "low must be below high, found low 9, high 3"),
        ({"churn": {"num_leaves": {"low": 9, "high": 9}}}, "low must be below high"),
        ({"churn": {"lambda_l2": {"low": 0, "high": 9, "log": True}}}, "with log: true, low must be above 0"),
        ({"churn": {"feature_fraction": {"low": 0.5, "high": 1.5}}}, "churn.feature_fraction: 1.5 is refused"),
        ({"churn": {"num_leaves": [3, 4.5]}}, "churn.num_leaves: 4.5 is refused"),
        ({"churn": {"learning_rate": [0.1]}}, "churn.learning_rate is not searched"),
        ({"churn": {"num_leaves": "many"}}, r"1 setting.s. refused.\n  churn.num_leaves: expected a range"),
        ({"churn": {"num_leaves": 5}}, r"churn.num_leaves: expected a range such as .* or a list of values such as"),
        ({"churn": {"num_leaves": {"low": 3}}}, "1 setting.*churn.num_leaves.high: required, and not given"),
        ({"churn": {"num_leaves": {"low": 3, "hihg": 9}}}, r"2 .*unknown setting 'churn.num_leaves.hihg'. Did"),
        ({"churn": {"num_leaves": ["few", 9]}}, "churn.num_leaves.0: expected a number, found text"),
        ({"churn": {"num_leaves": {"low": 3, "high": 9, "log": "si"}}}, "log: expected true or false, found text"),
        ({"churn": LEAVES | {"families": "basket"}}, "churn.families: expected a list"),
        ({"churn": LEAVES | {"families": ["prize"]}}, r"unknown family 'prize'. Did you mean 'price'\?"),
        ({"churn": 3}, "churn: expected settings with their ranges"),
        ({"step": [1, 2]}, "nothing to search"),
        ({"churn": LEAVES, "step": [1, 1]}, "step names a multiple twice"),
        ({"churn": LEAVES, "step": [0]}, "1 setting.s. refused.\n  step.0: expected a number above 0, found 0"),
        ({"churn": LEAVES, "trial": {"row": 900}}, r"unknown setting 'trial.row'. Did you mean 'rows'\?"),
        ({"churn": LEAVES, "trial": {"rows": 3, "rounds": "x"}}, "2 .*rows: expected a number at least 500"),
        ({"churn": LEAVES, "final": 4}, "final: expected keys and values, found 4"),
    ],
)  # fmt: skip
def test_a_space_that_cannot_be_is_refused_in_words(values: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError, match=f"(?s){said}") as refused:
        tuning.space_of(values)
    assert "Input" not in str(refused.value) and "should be" not in str(refused.value)


@pytest.mark.parametrize(("text", "said"), [("a: [", "is not valid YAML"), ("- 1", "expected keys and values")])
def test_a_file_that_is_no_space(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "s.yaml").write_text(text)
    with pytest.raises(UserError, match=said):
        tuning.load_space(tmp_path / "s.yaml")
    with pytest.raises(UserError, match="search space not found"):
        tuning.load_space(tmp_path / "none.yaml")
    with pytest.raises(UserError, match="cannot be read: Is a directory"):
        tuning.load_space(tmp_path)


def test_families_that_are_all_are_refused() -> None:
    every = _space.HeadSpace(ranges={}, families=FAMILIES)
    with pytest.raises(UserError, match="leave out at least one"):
        _space.optional_families(every, FAMILIES, "churn")
    some = _space.HeadSpace(ranges={}, families=("price", "channel"))  # this log feeds no channel: nothing to leave out
    assert _space.optional_families(some, FAMILIES, "churn") == ("price",)


def test_a_draw_is_a_booster_rounded_as_the_overlay_says_it() -> None:
    base = Booster(num_leaves=7, lambda_l2=5.0)
    drawn = {"num_leaves": 12, "lambda_l2": 3.14159265, "with_basket": False, "with_price": True, "step": 2}
    found = _space.booster_of(drawn, base, FAMILIES)
    assert found == base.model_copy(
        update={"num_leaves": 12, "lambda_l2": 3.142, "families": ("recency", "frequency", "price")}
    )
    assert _space.booster_of({"with_basket": True, "with_price": True}, base, FAMILIES) == base  # all of them: null
    few = base.model_copy(update={"families": ("recency",)})
    two = base.model_copy(update={"families": ("recency", "price")})
    kept = _space.booster_of({"with_price": True}, two, ("recency", "price"))
    assert kept.families == ("recency", "price")  # a config that names some is never widened to all
    assert _space.booster_of({"num_leaves": 3}, few, ("recency",)).families == ("recency",)  # not searched: as it was


def test_trees_are_traded_for_learning_rate() -> None:
    """A trial's 20 trees at .25 are 80 at .0625; with room for half as many again: 120."""
    space = tuning.space_of({"churn": LEAVES, "trial": {"learning_rate": 0.25}, "final": {"slower": 4, "room": 1.5}})
    found = _space.final_of(Booster(num_leaves=5), 20, space)
    assert (found.learning_rate, found.max_rounds, found.num_leaves) == (0.0625, 120, 5)


def test_the_search_starts_at_the_configs_own_settings_moved_into_the_ranges() -> None:
    values = LEAVES | {"lambda_l2": {"low": 10, "high": 20}, "bagging_freq": [0, 2], "families": ["basket"]}
    space = tuning.space_of({"churn": values}).churn
    assert space is not None
    found = _space.start_of(Booster(families=("recency",)), space, (1, 2), ("basket",))
    assert found == {"num_leaves": 7, "lambda_l2": 10, "bagging_freq": 0, "with_basket": False, "step": 1}


def test_a_trial_draws_everything_that_is_searched() -> None:
    space = tuning.space_of({"spend": LEAVES | {"bagging_freq": [1, 5], "lambda_l2": {"low": 1, "high": 2}}}).spend
    assert space is not None
    trial = optuna.trial.FixedTrial({"num_leaves": 4, "bagging_freq": 5.0, "lambda_l2": 1.5, "with_basket": True,
                                     "step": 4})  # fmt: skip
    _space.draw(trial, space, (1, 4), ("basket",))  # type: ignore[arg-type]
    assert trial.params == {"num_leaves": 4, "bagging_freq": 5.0, "lambda_l2": 1.5, "with_basket": True, "step": 4}
    assert _space.booster_of(trial.params, Booster(), FAMILIES).bagging_freq == 5


@pytest.mark.parametrize(
    ("limits", "said"),
    [
        (tuning.Limits(trials=0), "--trials must be 1 or more, found 0"),
        (tuning.Limits(jobs=0), "--jobs must be 1 or more, found 0"),
        (tuning.Limits(seconds=0.0), "--timeout must be above 0 seconds"),
    ],
)
def test_limits_that_cannot_be(limits: tuning.Limits, said: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=said):
        tuning.check(limits, config.Config(dataset="x", out=str(tmp_path)))


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_an_overlay_where_nothing_can_be_written(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(UserError, match="cannot be written"):
        tuning.check(tuning.Limits(), config.Config(dataset="x"), tmp_path / "tuned.yaml")


def test_an_overlay_that_is_a_folder(tmp_path: Path) -> None:
    own = config.Config(dataset="x", out=str(tmp_path))
    assert tuning.check(tuning.Limits(), own) == tmp_path / "tuned" / "x.yaml"
    with pytest.raises(UserError, match="is a folder"):
        tuning.check(tuning.Limits(), own, tmp_path)
