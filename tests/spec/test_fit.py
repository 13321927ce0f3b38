"""Learning's parts, by hand: stages of one booster, totals, and maps that believe little of what few origins show."""

from __future__ import annotations

import itertools
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from churn_clv import config
from churn_clv.errors import UserError
from churn_clv.models import fit
from churn_clv.models.predict import Kind, raw_margin, sigmoid

Floats = NDArray[np.float64]
COLUMNS = ("a", "b", "c")
OWN = config.Booster(min_data_in_leaf=20, max_rounds=60)


def rows(kind: Kind, count: int = 1500) -> tuple[Floats, Floats]:
    """Three columns, of which two say something; an outcome that is 0/1, or money of which a third is 0."""
    draw = np.random.default_rng(5)
    values = draw.normal(size=(count, 3))
    values[draw.random((count, 3)) < 0.1] = np.nan
    told = np.nan_to_num(values[:, 0]) - 0.5 * np.nan_to_num(values[:, 1])
    if kind == "hazard":
        return values, (draw.random(count) < 1 / (1 + np.exp(-told))).astype(float)
    return values, np.where(draw.random(count) < 0.33, 0.0, draw.lognormal(told, 1.2))


# --- boosters -------------------------------------------------------------------------------------
@pytest.mark.parametrize("kind", ["hazard", "amount"])
def test_the_first_trees_of_a_long_booster_are_a_short_booster(kind: Kind) -> None:
    values, label = rows(kind)
    long = fit.booster(values, label, COLUMNS, kind, 60, OWN, 7, 1)
    assert long.num_trees() == 60 and long.feature_name() == list(COLUMNS)
    for trees in (1, 6, 27, 60):
        short = fit.booster(values, label, COLUMNS, kind, trees, OWN, 7, 1)
        assert short.num_trees() == trees
        assert raw_margin(fit.cut(long, trees), values).tobytes() == raw_margin(short, values).tobytes()
    assert raw_margin(fit.cut(long, 6), values).tobytes() != raw_margin(long, values).tobytes()


@pytest.mark.parametrize("kind", ["hazard", "amount"])
def test_a_booster_is_made_of_its_rows_and_seed_alone(kind: Kind) -> None:
    values, label = rows(kind)
    made = [fit.booster(values, label, COLUMNS, kind, 9, OWN, s, t).model_to_string() for s, t in ((7, 1), (7, 1))]
    assert made[0] == made[1] != fit.booster(values, label, COLUMNS, kind, 9, OWN, 8, 1).model_to_string()
    two = fit.booster(values, label, COLUMNS, kind, 9, OWN, 7, 2)
    assert raw_margin(two, values).tobytes() == raw_margin(fit.booster(values, label, COLUMNS, kind, 9, OWN, 7, 1),
                                                           values).tobytes()  # fmt: skip


@pytest.mark.parametrize("kind", ["hazard", "amount"])
def test_margins_at_many_numbers_of_trees_are_those_of_each_to_the_bit(
    kind: Kind, monkeypatch: pytest.MonkeyPatch
) -> None:
    values, label = rows(kind)
    made = fit.booster(values, label, COLUMNS, kind, 60, OWN, 7, 1)
    monkeypatch.setattr(fit, "AT_ONCE", 97)  # the last piece is not full
    for stages in ((1, 6, 27, 60), (60,), (1,), (1, 6, 27)):
        found = fit.staged_margins(made, values, stages)
        assert found.shape == (len(stages), len(values))
        for trees, margin in zip(stages, found, strict=True):
            assert margin.tobytes() == raw_margin(fit.cut(made, trees), values).tobytes()
    assert fit.staged_margins(made, values[:0], (1, 6)).shape == (2, 0)


def test_a_booster_that_found_nothing_more_to_split_keeps_its_last_margin() -> None:
    """One split explains all: LightGBM stops there, whatever number of trees was asked for."""
    values = np.column_stack([np.repeat([0.0, 1.0], 40), *np.zeros((2, 80))])
    own = config.Booster(
        num_leaves=2, min_data_in_leaf=5, learning_rate=1.0, bagging_fraction=1.0, feature_fraction=1.0
    )
    for label in (np.repeat([0.0, 3.0], 40), np.full(80, 3.0)):
        made = fit.booster(values, label, COLUMNS[:3], "amount", 60, own, 7, 1)
        assert made.num_trees() < 60
        found = fit.staged_margins(made, values, (1, 6, 60))
        for trees, margin in zip((1, 6, 60), found, strict=True):
            assert margin.tobytes() == raw_margin(fit.cut(made, trees), values).tobytes()


def test_boosters_that_share_binned_rows_are_those_that_bin_their_own() -> None:
    """Another label, another objective and other settings, one after the other; to the letter."""
    values, label = rows("hazard")
    other = config.Booster(num_leaves=20, min_data_in_leaf=5, bagging_fraction=0.6, lambda_l2=0.1)
    asked: list[tuple[np.ndarray[Any, Any], Kind, config.Booster]] = [
        (label, "hazard", OWN), (rows("amount")[1], "amount", OWN), (rows("amount")[1], "amount", other),
        (label, "hazard", other),
    ]  # fmt: skip
    shared = fit.binned(values, 1 - label, COLUMNS, 7, 1)
    for own, kind, settings in asked:
        found = fit.learnt(shared, own, COLUMNS, kind, 9, settings, 7, 1).model_to_string()
        assert found == fit.booster(values, own, COLUMNS, kind, 9, settings, 7, 1).model_to_string()


FAMILY = {"a": "recency", "b": "basket", "c": "basket"}


@pytest.mark.parametrize("kind", ["hazard", "amount"])
def test_trees_split_on_the_given_families_and_on_what_is_no_feature(kind: Kind) -> None:
    values, label = rows(kind)
    every = fit.booster(values, label, COLUMNS, kind, 20, OWN, 7, 1, FAMILY)
    assert every.model_to_string() == fit.booster(values, label, COLUMNS, kind, 20, OWN, 7, 1).model_to_string()
    assert (every.feature_importance() > 0).all()
    for families, used in ((("basket",), [False, True, True]), (("recency",), [True, False, False])):
        few = OWN.model_copy(update={"families": families})
        assert (
            fit.booster(values, label, COLUMNS, kind, 20, few, 7, 1, FAMILY).feature_importance() > 0
        ).tolist() == used
    few = OWN.model_copy(update={"families": ("recency",)})
    part = fit.booster(values, label, ("a", "b", "part"), kind, 20, few, 7, 1, {"a": "recency", "b": "basket"})
    assert (part.feature_importance() > 0).tolist() == [True, False, True]


def test_families_that_the_log_does_not_feed_are_refused() -> None:
    values, label = rows("hazard")
    few = OWN.model_copy(update={"families": ("recency", "baskets")})
    with pytest.raises(UserError, match=r"no family 'baskets'. Did you mean 'basket'\?"):
        fit.booster(values, label, COLUMNS, "hazard", 3, few, 7, 1, FAMILY)


@pytest.mark.parametrize(
    ("most", "expected"),
    [
        (200, (20, 30, 40, 54, 70, 90, 110, 140, 170, 200)),
        (40, (4, 6, 8, 11, 14, 18, 22, 28, 34, 40)),
        (3, (1, 2, 3)),
        (1, (1,)),
    ],
)
def test_numbers_of_trees_to_choose_from(most: int, expected: tuple[int, ...]) -> None:
    assert fit.tree_counts(config.Booster(max_rounds=most)) == expected


@pytest.mark.parametrize("most", range(1, 60))
def test_numbers_of_trees_rise_to_the_most(most: int) -> None:
    found = fit.tree_counts(config.Booster(max_rounds=most))
    assert found[0] >= 1 and found[-1] == most and all(a < b for a, b in itertools.pairwise(found))


# --- money ----------------------------------------------------------------------------------------
def test_one_booster_answers_threads_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each asks for another number of its trees; LightGBM itself would give some of them what nobody asked for."""
    values, label = rows("hazard")
    made = fit.booster(values, label, COLUMNS, "hazard", 200, OWN, 7, 1)
    monkeypatch.setattr(fit, "AT_ONCE", 50)
    asked = [(1, 6, 27), (200,), (3, 90), (150, 200)] * 8
    alone = [fit.staged_margins(made, values, stages).tobytes() for stages in asked]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda stages: fit.staged_margins(made, values, stages).tobytes(), asked))
    assert together == alone


def test_money_is_measured_in_its_own_mean() -> None:
    assert fit.money_scale(np.array([0.0, 30.0, 0.0, 60.0])) == 45.0
    assert fit.money_scale(np.array([0.0, 0.0])) == 1.0


@pytest.mark.parametrize("trees", [3, 30, 60])
def test_balance_makes_the_training_total_right(trees: int) -> None:
    values, label = rows("amount")
    fitted = fit.booster(values, label, COLUMNS, "amount", 60, OWN, 7, 1)
    fitted = fit.cut(fitted, trees)
    level = fit.balance(fitted, values, label)
    raw = raw_margin(fitted, values)
    assert abs(level) > 1e-4  # the loss does not keep totals by itself
    assert np.exp(level + raw).sum() == pytest.approx(label.sum(), rel=1e-12)


def test_balance_of_no_money_at_all_is_none() -> None:
    values, label = rows("amount")
    fitted = fit.booster(values, label, COLUMNS, "amount", 3, OWN, 7, 1)
    assert fit.balance(fitted, values, label * 0) == 0.0


# --- the map --------------------------------------------------------------------------------------
def seen(intercept: float, slope: float, count: int = 200_000, seed: int = 2) -> tuple[Floats, Floats]:
    """Margins, and outcomes whose true log-odds are intercept + slope * margin."""
    draw = np.random.default_rng(seed)
    margin = draw.normal(-0.5, 1.5, count)
    return margin, (draw.random(count) < 1 / (1 + np.exp(-(intercept + slope * margin)))).astype(float)


def test_the_map_finds_what_was_planted() -> None:
    assert fit.logistic_map(*seen(0.6, 1.4)) == pytest.approx((0.6, 1.4), abs=0.03)
    assert fit.logistic_map(np.array([0.3, 2.0]), np.array([1.0, 1.0])) == (0.0, 1.0)
    separable = fit.logistic_map(np.array([-2.0, -1.0, 1.0, 2.0]), np.array([0.0, 0.0, 1.0, 1.0]))
    assert np.isfinite(separable).all() and separable[1] > 1


@pytest.mark.parametrize(("independent", "belief"), [(1, 1 / 5), (2, 2 / 6), (3, 3 / 7), (12, 12 / 16)])
def test_the_slope_is_believed_as_far_as_independent_origins_show_it(independent: int, belief: float) -> None:
    margin, label = seen(0.0, 1.8)
    _, slope = fit.shrunk_map(margin, label, np.zeros(len(label), dtype=np.intp), independent)
    free = fit.logistic_map(margin, label)[1]
    assert free == pytest.approx(1.8, abs=0.04)
    assert slope == pytest.approx(1 + belief * (free - 1), rel=1e-12)


@pytest.mark.parametrize("independent", [1, 2])
def test_one_or_two_origins_leave_the_level_as_it_is(independent: int) -> None:
    margin, label = seen(0.9, 1.4)
    origin = np.arange(len(label)) % 3
    intercept, slope = fit.shrunk_map(margin, label, origin, independent)
    assert slope > 1.05
    assert sigmoid(intercept + slope * margin).mean() == pytest.approx(sigmoid(margin).mean(), rel=1e-12)
    assert abs(label.mean() - sigmoid(margin).mean()) > 0.1  # though the level is known to be off


def test_three_origins_that_err_alike_move_the_level_by_what_they_are_believed() -> None:
    margin, label = seen(0.9, 1.0)
    origin = np.arange(len(label)) % 3
    intercept, slope = fit.shrunk_map(margin, label, origin, 3)
    free = fit.logistic_map(margin, label)
    assert intercept == pytest.approx(3 / 7 * free[0], rel=1e-12) and slope == pytest.approx(1, abs=0.02)
    below = fit.shrunk_map(*seen(-0.9, 1.0), origin, 3)
    assert below[0] == pytest.approx(-3 / 7 * 0.9, abs=0.02)


def test_three_origins_that_disagree_leave_the_level_as_it_is() -> None:
    parts = [seen(level, 1.4, 60_000, seed) for seed, level in enumerate((0.9, 0.9, -0.4))]
    margin, label = (np.concatenate(column) for column in zip(*parts, strict=True))
    intercept, slope = fit.shrunk_map(margin, label, np.repeat(np.arange(3), 60_000), 3)
    assert slope > 1.05
    assert sigmoid(intercept + slope * margin).mean() == pytest.approx(sigmoid(margin).mean(), rel=1e-12)
    assert fit.logistic_map(margin, label)[0] > 0.3
