"""From margins to answers, by hand; and one customer exactly as in a batch."""

from __future__ import annotations

from typing import Any

import lightgbm as lgb
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from churn_clv.models import fit, predict
from churn_clv.models.linear import Linear
from churn_clv.models.predict import PART, SPEND_IF_ACTIVE, Head, Pool
from churn_clv.models.renewal import COUNT, FIRST, LAST, Renewal
from churn_clv.models.steps import Steps

Floats = NDArray[np.float64]
COLUMNS = ("spend", LAST, COUNT, FIRST)
EDGES = (7, 14, 28)
RENEWAL = Renewal("MBG/NBD", 0.8, 5.0, 0.7, 2.4)
LINEAR = Linear(-0.4, (0.1, 0.2, 0.3, 0.4), (0.05, 0.6, -0.5, 0.0), (0.3, 0.0, 0.0, -0.1))


def values(rows: int, seed: int = 1) -> Floats:
    """Histories of buyers, and of a few who never bought; money unknown here and there."""
    draw = np.random.default_rng(seed)
    first = draw.integers(1, 500, rows).astype(float)
    last = np.ceil(first * draw.random(rows))
    days = draw.integers(1, 30, rows).astype(float)
    never = draw.random(rows) < 0.05
    first[never], last[never], days[never] = np.nan, np.nan, 0.0
    money = np.where(draw.random(rows) < 0.1, np.nan, draw.gamma(2, 40, rows))
    return np.column_stack([money, last, days, first])


def booster(objective: str, columns: tuple[str, ...], seed: int = 3) -> lgb.Booster:
    draw = np.random.default_rng(seed)
    part = draw.integers(0, 3, 4000)
    many = np.column_stack([values(4000, seed), part])[:, : len(columns)]
    chance = (0.2 + 0.2 * part) / (1 + np.exp((np.nan_to_num(many[:, 1]) - 40) / 30))
    came = draw.random(4000) < chance
    label = came if objective == "binary" else came * draw.gamma(2, 0.5, 4000)
    own = {"objective": objective, "verbose": -1, "num_threads": 1, "seed": seed, "deterministic": True}
    return lgb.train(own, lgb.Dataset(many, label, feature_name=list(columns)), num_boost_round=12)


@pytest.fixture(scope="module")
def hazard() -> Head:
    own = booster("binary", (*COLUMNS, PART))
    return Head("churned", 28, "hazard", own, 0.1, 1.2, edges=EDGES, pool=Pool(RENEWAL, 0.25, LINEAR, 0.35),
                whole=booster("binary", COLUMNS, 5))  # fmt: skip


@pytest.fixture(scope="module")
def money() -> tuple[Head, Head]:
    return (
        Head("spend", 28, "amount", booster("tweedie", COLUMNS), 0.05, 1.0, 30.0, weight=0.6),
        Head(SPEND_IF_ACTIVE, 28, "amount", booster("tweedie", COLUMNS, 4), -0.02, 1.0, 50.0, weight=0.4),
    )


# --- the survival curve ---------------------------------------------------------------------------
def test_survival_by_hand() -> None:
    """Odds 1 to 3 and 1 to 1 of a purchase in the two parts: 3/4 stay silent, then 3/8; evens, then 4 to 1: 1/10."""
    margins = np.array([[np.log(1 / 3), 0.0], [0.0, np.log(4)]])
    np.testing.assert_allclose(predict.survival(margins), [[3 / 4, 1 / 2], [3 / 8, 1 / 10]], rtol=1e-14)


def test_nobody_is_certain() -> None:
    found = predict.survival(np.array([[800.0, -800.0], [800.0, -800.0]]))
    assert found.tolist() == [[1e-9, 1 - 1e-9]] * 2
    assert np.isfinite(predict.logit(found)).all()


numbers = st.floats(-60, 60)


@given(margins=st.lists(st.tuples(numbers, numbers, numbers), min_size=1, max_size=6))
@settings(max_examples=60, deadline=None)
def test_the_curve_falls_whatever_the_margins(margins: list[tuple[float, float, float]]) -> None:
    curve = predict.survival(np.array(margins).T.copy())
    assert (np.diff(curve, axis=0) <= 0).all() and ((curve > 0) & (curve < 1)).all()


def test_margins_ask_each_part_of_the_horizon(hazard: Head) -> None:
    rows = values(50)
    found = hazard.margin(rows)
    assert found.shape == (3, 50)
    for part in range(3):
        asked = np.column_stack([rows, np.full(50, float(part))])
        assert found[part].tolist() == hazard.booster.predict(asked, raw_score=True).tolist()
    assert not np.array_equal(found[0], found[2])
    fewer = predict.part_margins(fit.cut(hazard.booster, 5), rows, 3)
    asked = np.column_stack([rows, np.full(50, 2.0)])
    assert fewer[2].tolist() == hazard.booster.predict(asked, raw_score=True, num_iteration=5).tolist()


def test_every_question_asks_for_the_same_number_of_threads_and_all_trees(
    hazard: Head, monkeypatch: pytest.MonkeyPatch
) -> None:
    """LightGBM keeps the one for the process, the other in the booster: two questions at once with two numbers can end
    the process, or get an answer that neither asked for.
    """
    asked: list[tuple[int, int]] = []
    own = lgb.Booster.predict

    def heard(booster: lgb.Booster, *given: Any, **named: Any) -> Any:
        asked.append((named["num_threads"], named.get("num_iteration") or -1))
        return own(booster, *given, **named)

    monkeypatch.setattr(lgb.Booster, "predict", heard)
    for count in (20, 5000):
        rows = values(count)
        hazard.margin(rows)
        asked_of = np.column_stack([rows, np.zeros(count)])
        predict.raw_contributions(hazard.booster, asked_of)
        fit.staged_margins(hazard.booster, asked_of, (1, 5))
    assert len(asked) >= 6 and {*asked} == {(predict.THREADS, -1)}


# --- the pool -------------------------------------------------------------------------------------
def test_pooled_by_hand() -> None:
    own, said, given_ = np.array([0.2, 0.2]), np.array([0.6, 0.6]), np.array([0.9, np.nan])
    found = predict.pooled(own, said, 0.3, given_, 0.5)
    assert found.tolist() == pytest.approx([0.2 * 0.2 + 0.3 * 0.6 + 0.5 * 0.9, 0.7 * 0.2 + 0.3 * 0.6], rel=1e-15)
    assert predict.pooled(own, said, 0.0, given_, 0.0).tolist() == own.tolist()
    certain = predict.pooled(np.array([1e-9]), np.array([0.0]), 0.5, np.array([1.0]), 0.5)
    assert 0 < certain[0] < 1
    assert predict.pooled(np.array([0.5]), np.array([1.0]), 1.0, np.array([np.nan]), 0.0)[0] == 1 - 1e-9


def test_a_pool_mixes_at_the_horizon_alone(hazard: Head) -> None:
    rows = values(300)
    curve, own = hazard.curve(rows), predict.survival(hazard.margin(rows))
    mean = predict.averaged(own[-1], predict.raw_margin(hazard.whole, rows)) if hazard.whole else own[-1]
    said = 1 / (1 + np.exp(-LINEAR.margin(rows)))
    given_ = RENEWAL.curve(rows, COLUMNS, [28])[0]
    never = np.isnan(given_)
    assert 5 < never.sum() < 40
    mixed = 0.4 * mean + 0.35 * said + 0.25 * np.where(never, mean, given_)
    expected = 1 / (1 + np.exp(-(0.1 + 1.2 * np.log(mixed / (1 - mixed)))))
    np.testing.assert_allclose(curve[-1], expected, rtol=1e-12)
    assert hazard.predict(rows).tolist() == curve[-1].tolist()
    for part in range(2):  # the same power of survival takes each part where the last one went
        power = np.log(curve[-1]) / np.log(own[-1])
        np.testing.assert_allclose(curve[part], np.clip(own[part] ** power, curve[-1], 1), rtol=1e-9)


@pytest.mark.parametrize(("renewal", "linear"), [(None, LINEAR), (RENEWAL, None), (None, None)])
def test_a_pool_without_one_of_them(hazard: Head, renewal: Renewal | None, linear: Linear | None) -> None:
    rows = values(100)
    own = predict.survival(hazard.margin(rows))[-1]
    pool = Pool(renewal, 0.25 if renewal else 0.0, linear, 0.35 if linear else 0.0)
    expected = own * (1 - pool.renewal_share - pool.linear_share)
    if linear:
        expected = expected + 0.35 / (1 + np.exp(-linear.margin(rows)))
    if renewal:
        said = renewal.curve(rows, COLUMNS, [28])[0]
        expected = expected + 0.25 * np.where(np.isnan(said), own, said)
    np.testing.assert_allclose(pool.mixed(own, rows, (*COLUMNS, PART), 28), expected, rtol=1e-12)


def test_a_table_has_its_share_of_the_mean_with_all_others(hazard: Head) -> None:
    """Cuts at 10 and 20: a value at a cut lies beyond it, a null before all."""
    rows = np.zeros((5, len(COLUMNS)))
    rows[:, 1] = [np.nan, 9.0, 10.0, 19.0, 20.0]
    steps = Steps(COLUMNS[1], (10.0, 20.0), (0.1, 0.2, 0.4))
    assert steps.chance(rows, COLUMNS).tolist() == [0.1, 0.1, 0.2, 0.2, 0.4]
    own = predict.survival(hazard.margin(rows))[-1]
    pool = Pool(None, 0.0, LINEAR, 0.25, steps, 0.2)
    both = 0.75 * own + 0.25 / (1 + np.exp(-LINEAR.margin(rows)))
    found = pool.mixed(own, rows, (*COLUMNS, PART), 28)
    np.testing.assert_allclose(found, 0.8 * both + 0.2 * np.array([0.1, 0.1, 0.2, 0.2, 0.4]), rtol=1e-12)


# --- the map --------------------------------------------------------------------------------------
def test_the_map_by_hand() -> None:
    """Odds of 1 to 3, squared and doubled: 2 to 9."""
    found = predict.mapped(np.array([1 / 4, 1 / 2]), float(np.log(2)), 2.0)
    assert found.tolist() == pytest.approx([2 / 11, 2 / 3], rel=1e-14)


def test_the_map_that_changes_nothing(hazard: Head) -> None:
    rows = values(200)
    plain = Head("churned", 28, "hazard", hazard.booster, edges=EDGES)
    np.testing.assert_allclose(plain.curve(rows), predict.survival(plain.margin(rows)), rtol=1e-12)


def test_two_views_of_the_horizon_count_half_each(hazard: Head) -> None:
    """1/4 and even odds: 3/8. A head with a second booster says the mean of what each says alone, at the horizon."""
    assert predict.averaged(np.array([1 / 4]), np.array([0.0])).tolist() == [3 / 8]
    assert predict.averaged(np.array([1.0]), np.array([800.0])).tolist() == [1 - 1e-9]
    rows = values(200)
    plain = Head("churned", 28, "hazard", hazard.booster, edges=EDGES)
    both = Head("churned", 28, "hazard", hazard.booster, edges=EDGES, whole=hazard.whole)
    assert hazard.whole is not None
    alone = 1 / (1 + np.exp(-hazard.whole.predict(rows, raw_score=True)))
    np.testing.assert_allclose(both.predict(rows), (plain.predict(rows) + alone) / 2, rtol=1e-12)
    assert (np.diff(both.curve(rows), axis=0) <= 0).all()


def test_the_other_edges_follow_by_one_power() -> None:
    """3/4 then 9/16: to take the last one to 3/4 survival is raised to 1/2; to (9/16)^2, to 2."""
    curve = np.array([[3 / 4, 3 / 4], [9 / 16, 9 / 16]])
    found = predict.through(curve, np.array([3 / 4, 81 / 256]))
    np.testing.assert_allclose(found, [[(3 / 4) ** 0.5, 9 / 16], [3 / 4, 81 / 256]], rtol=1e-14)
    assert found[-1].tolist() == [3 / 4, 81 / 256] and curve[0].tolist() == [3 / 4, 3 / 4]


probability = st.floats(1e-9, 1 - 1e-9)


@given(
    steps=st.lists(st.tuples(numbers, numbers, numbers), min_size=2, max_size=6),
    intercept=st.floats(-20, 20),
    slope=st.floats(0.01, 5),
)
@example(steps=[(0.0, 0.0, 0.0), (60.0, 0.0, -60.0)], intercept=20.0, slope=0.01)
@example(steps=[(-60.0, -60.0, -60.0), (60.0, 60.0, 60.0)], intercept=-20.0, slope=5.0)
@settings(max_examples=200, deadline=None)
def test_no_map_breaks_the_order(steps: list[tuple[float, float, float]], intercept: float, slope: float) -> None:
    """Neither that of the parts of one customer, nor that of customers at the horizon."""
    curve = predict.survival(np.array(steps).T.copy())
    found = predict.through(curve, predict.mapped(curve[-1], intercept, slope))
    assert ((found > 0) & (found < 1)).all() and (np.diff(found, axis=0) <= 0).all()
    order = np.argsort(curve[-1], kind="stable")
    assert (np.diff(found[-1][order]) >= -1e-12).all()


@given(last=probability, first=probability, to=probability)
@settings(max_examples=200, deadline=None)
def test_through_meets_any_last_value(last: float, first: float, to: float) -> None:
    curve = np.array([[max(first, last)], [last]])
    found = predict.through(curve, np.array([to]))
    assert found[1, 0] == to and to <= found[0, 0] < 1


# --- any number of days ---------------------------------------------------------------------------
def test_within_the_horizon_by_hand() -> None:
    """At an edge its own value; between, a straight line of the logarithm: the same chance each day."""
    curve = np.array([[0.81, 0.5], [0.64, 0.25]])
    assert predict.within(curve, (14, 28), 14).tolist() == [0.81, 0.5]
    assert predict.within(curve, (14, 28), 28).tolist() == [0.64, 0.25]
    assert predict.within(curve, (14, 28), 7).tolist() == pytest.approx([0.9, 0.5**0.5], rel=1e-14)
    assert predict.within(curve, (14, 28), 21).tolist() == pytest.approx([0.72, (0.5 * 0.25) ** 0.5], rel=1e-14)


def test_the_chance_of_silence_falls_with_every_day_and_joins_at_the_horizon() -> None:
    curve = np.array([[1 - 1e-9, 0.9, 0.7], [1 - 1e-9, 0.9, 0.2], [1e-9, 0.5, 0.2]])
    days = [predict.within(curve, (5, 9, 20), d) for d in range(1, 21)] + [
        predict.beyond(curve, (5, 9, 20), d) for d in range(21, 60)
    ]
    assert (np.diff([np.ones(3), *days], axis=0) <= 0).all() and (np.array(days) >= 0).all()
    ratios = days[1] / days[0], days[2] / days[1]
    np.testing.assert_allclose(*ratios, rtol=1e-12)


@pytest.mark.parametrize("days", [-1, 0, 29])
def test_what_does_not_lie_within_the_horizon_is_refused(days: int) -> None:
    with pytest.raises(ValueError, match=f"{days} days do not lie between 1 and the horizon of 28"):
        predict.within(np.array([[0.9], [0.5]]), (14, 28), days)


# --- beyond the horizon ---------------------------------------------------------------------------
def test_beyond_the_horizon_by_hand() -> None:
    curve = np.array([[0.9, 0.5], [0.64, 0.25]])
    assert predict.beyond(curve, (14, 28), 56).tolist() == pytest.approx([0.64**2, 0.25**2], rel=1e-14)
    assert predict.beyond(curve, (14, 28), 42).tolist() == pytest.approx([0.64**1.5, 0.25**1.5], rel=1e-14)


def test_beyond_goes_on_from_the_horizon_and_falls() -> None:
    curve = np.array([[0.9, 0.5], [0.64, 1 - 1e-9]])
    days = [predict.beyond(curve, (700, 1400), d) for d in (1401, 1500, 3000, 90_000)]
    np.testing.assert_allclose(days[0], curve[-1], rtol=1e-3)
    assert (np.diff([curve[-1], *days], axis=0) < 0).all()


@pytest.mark.parametrize("days", [-1, 0, 14, 27, 28])
def test_within_the_horizon_nothing_is_extrapolated(days: int) -> None:
    with pytest.raises(ValueError, match=f"{days} days do not lie beyond the horizon of 28"):
        predict.beyond(np.array([[0.9], [0.5]]), (14, 28), days)


# --- money ----------------------------------------------------------------------------------------
def test_expected_spend_is_the_mean_of_the_direct_and_the_two_part_model(
    hazard: Head, money: tuple[Head, Head]
) -> None:
    rows = values(100)
    curve, found = predict.answers((hazard, *money), rows)
    assert curve.tobytes() == hazard.curve(rows).tobytes() and found is not None
    direct = 30 * np.exp(0.05 + money[0].booster.predict(rows, raw_score=True))
    if_active = 50 * np.exp(-0.02 + money[1].booster.predict(rows, raw_score=True))
    expected = 0.6 * direct + 0.4 * (1 - curve[-1]) * if_active
    np.testing.assert_allclose(found, expected, rtol=1e-12)
    assert money[0].predict(rows).tolist() == pytest.approx(direct.tolist(), rel=1e-12)


def test_one_spend_model_alone(hazard: Head, money: tuple[Head, Head]) -> None:
    rows = values(20)
    direct, active = (Head(h.target, 28, "amount", h.booster, h.intercept, 1.0, h.scale, weight=1.0) for h in money)
    found = [predict.answers((hazard, head), rows)[1] for head in (direct, active)]
    assert found[0] is not None and found[0].tolist() == direct.predict(rows).tolist()
    assert found[1] is not None
    np.testing.assert_allclose(found[1], active.predict(rows) * (1 - hazard.predict(rows)), rtol=1e-14)
    assert predict.answers((hazard,), rows)[1] is None


# --- one customer and a batch ---------------------------------------------------------------------
@pytest.mark.parametrize("rows", [0, 1, 2, 3, 5, 8, 17, 700, 1000])
def test_one_row_equals_the_batch_to_the_bit(hazard: Head, money: tuple[Head, Head], rows: int) -> None:
    many, heads = values(rows, seed=rows), (hazard, *money)
    curve, spend = predict.answers(heads, many)
    assert spend is not None and curve.shape == (3, rows) and spend.shape == (rows,)
    for row in range(rows):
        alone, own = predict.answers(heads, many[row : row + 1])
        assert own is not None
        assert alone[:, 0].tobytes() == curve[:, row].tobytes() and own.tobytes() == spend[row : row + 1].tobytes()


def test_some_rows_equal_the_batch_to_the_bit_whatever_their_strides(hazard: Head, money: tuple[Head, Head]) -> None:
    many, heads = values(1000), (hazard, *money)
    curve, spend = predict.answers(heads, many)
    assert spend is not None
    for some in (np.asfortranarray(many), many[::3], many[::-1], many[5:12], np.asfortranarray(many)[1::2]):
        part, own = predict.answers(heads, some)
        at = np.array([np.flatnonzero((np.nan_to_num(many, nan=-1) == np.nan_to_num(row, nan=-1)).all(axis=1))[0]
                       for row in some])  # fmt: skip
        assert own is not None and np.ascontiguousarray(curve[:, at]).tobytes() == part.tobytes()
        assert spend[at].tobytes() == own.tobytes()


def test_many_threads_change_nothing(hazard: Head) -> None:
    """From 2,000 rows on two threads predict."""
    many = values(2500)
    assert hazard.curve(many)[:, :600].tobytes() == np.ascontiguousarray(hazard.curve(many[:600])).tobytes()
