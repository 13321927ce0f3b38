"""Contributions by hand and in sum, and the reasons made of them."""

from __future__ import annotations

import dataclasses
from itertools import permutations

import lightgbm as lgb
import numpy as np
import pytest
import tiny
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from churn_clv import explain, timeline
from churn_clv.bundle import Bundle
from churn_clv.errors import UserError
from churn_clv.events import canonical
from churn_clv.explain import _chain
from churn_clv.models import predict
from churn_clv.models.linear import Linear
from churn_clv.models.predict import PART, Head, Pool
from churn_clv.models.renewal import COUNT, FIRST, LAST, Renewal
from churn_clv.models.steps import Steps
from churn_clv.models.usual import Usual

Floats = NDArray[np.float64]
COLUMNS = ("spend", LAST, COUNT, FIRST)
EDGES = (7, 14, 28)
RENEWAL = Renewal("MBG/NBD", 0.8, 5.0, 0.7, 2.4)
LINEAR = Linear(-0.4, (0.1, 0.2, 0.3, 0.4), (0.05, 0.6, -0.5, 0.0), (0.3, 0.0, 0.0, -0.1))
TABLE = Steps(LAST, (10.0, 60.0), (0.5, 0.3, 0.05))
SUM = 1e-9


def values(rows: int, seed: int = 1) -> Floats:
    """Histories of buyers, and of a few who never bought; money unknown here and there, now and then beyond all."""
    draw = np.random.default_rng(seed)
    first = draw.integers(1, 500, rows).astype(float)
    last = np.ceil(first * draw.random(rows))
    days = draw.integers(1, 30, rows).astype(float)
    never = draw.random(rows) < 0.05
    first[never], last[never], days[never] = np.nan, np.nan, 0.0
    money = np.where(draw.random(rows) < 0.1, np.nan, draw.gamma(2, 40, rows))
    money[draw.random(rows) < 0.02] = 1e9
    return np.column_stack([money, last, days, first])


def booster(columns: tuple[str, ...], seed: int = 3, rate: float = 0.1, trees: int = 12) -> lgb.Booster:
    """Of two classes, here told apart by silence; a large ``rate`` makes margins of hundreds."""
    draw = np.random.default_rng(seed)
    part = draw.integers(0, 3, 3000)
    many = np.column_stack([values(3000, seed), part])[:, : len(columns)]
    label = draw.random(3000) < (0.2 + 0.2 * part) / (1 + np.exp((np.nan_to_num(many[:, 1]) - 40) / 30))
    own = {"objective": "binary", "verbose": -1, "num_threads": 1, "seed": seed, "learning_rate": rate,
           "deterministic": True}  # fmt: skip
    return lgb.train(own, lgb.Dataset(many, label, feature_name=list(columns)), num_boost_round=trees)


def heads() -> dict[str, Head]:
    """Heads with and without each of their parts, of churn and of other targets; of some the margins are extreme."""
    own, whole = booster((*COLUMNS, PART)), booster(COLUMNS, 5)
    both = Pool(RENEWAL, 0.25, LINEAR, 0.35)
    return {
        "all": Head("churned", 28, "hazard", own, 0.1, 1.2, edges=EDGES, pool=both, whole=whole),
        "booster": Head("churned", 28, "hazard", own, 0.0, 1.0, edges=EDGES),
        "whole": Head("churned", 28, "hazard", own, -0.3, 0.8, edges=EDGES, whole=whole),
        "renewal": Head("churned", 28, "hazard", own, edges=EDGES, pool=Pool(RENEWAL, 1.0, None, 0.0)),
        "linear": Head("churned", 28, "hazard", own, edges=EDGES, pool=Pool(None, 0.0, LINEAR, 1.0)),
        "extreme": Head("churned", 28, "hazard", booster((*COLUMNS, PART), rate=400.0, trees=3), edges=EDGES),
        "extreme in part": Head("churned", 28, "hazard", booster((*COLUMNS, PART), rate=400.0, trees=3), edges=EDGES,
                                pool=both, whole=booster(COLUMNS, 7, rate=300.0, trees=3)),
        "event": Head("back", 14, "event", whole, -0.2, 0.9, pool=Pool(None, 0.0, LINEAR, 0.3, TABLE, 0.4)),
        "event of a booster": Head("back", 14, "event", whole, 0.1, 1.1),
        "event of a table": Head("back", 14, "event", whole, pool=Pool(None, 0.0, None, 0.0, TABLE, 1.0)),
        "extreme event": Head("back", 14, "event", booster(COLUMNS, 7, rate=300.0, trees=3),
                              pool=Pool(None, 0.0, None, 0.0, TABLE, 1e-6)),
        "count": Head("visits", 28, "count", whole, 0.03),
        "amount": Head("tea", 28, "amount", whole, -0.1, 1.2, scale=40.0),
    }  # fmt: skip


HEADS = heads()
USUAL = {name: explain.learn(head, values(800, 9)) for name, head in HEADS.items()}


# --- by hand --------------------------------------------------------------------------------------
def stump(at: float, low: float, high: float, columns: tuple[str, ...]) -> lgb.Booster:
    """One split of the second column, half of the customers on each side: ``low`` up to ``at``, else ``high``."""
    rows = np.zeros((200, len(columns)))
    rows[100:, 1] = 2 * at
    label = np.where(rows[:, 1] > at, high, low)
    own = {"objective": "regression", "verbose": -1, "num_leaves": 2, "min_data_in_leaf": 1, "learning_rate": 1.0,
           "boost_from_average": False, "num_threads": 1}  # fmt: skip
    return lgb.train(own, lgb.Dataset(rows, label, feature_name=list(columns)), num_boost_round=1)


def test_one_stump_by_hand() -> None:
    """Log-odds of buying -1 after 40 silent days, +3 before, so 1 on average: P(none) = 1 / (1 + e^-1), base e^1.

    What silence adds to the log-odds of churn is all that lies between: 1 - -1 = 2.
    """
    own = Head("churned", 28, "hazard", stump(40, 3.0, -1.0, (*COLUMNS, PART)), edges=(28,))
    found = _chain.score(own, Usual((None,) * 4, (0.0,), ()), np.array([[0.0, 60.0, 1.0, 100.0]]))
    np.testing.assert_allclose((found.base, found.value[0]), (-1.0, 1.0), rtol=1e-12)
    np.testing.assert_allclose(found.parts[:, 0], [0.0, 2.0, 0.0, 0.0], atol=1e-12)


def test_the_page_s_example_by_hand() -> None:
    """docs/explaining.md: the stump and a logistic regression by halves; .7311 and .3775 make .5543 against .3845."""
    linear = Linear(-0.5, (0.0,) * 4, (0.0, 0.0, -1.0, 0.0), (0.0,) * 4)
    pool = Pool(None, 0.0, linear, 0.5)
    own = Head("churned", 28, "hazard", stump(40, 3.0, -1.0, (*COLUMNS, PART)), edges=(28,), pool=pool)
    usual = Usual((None,) * 4, (0.0,), (0.0, 0.0, 0.5, 0.0))  # so many purchases that the mean term is .5
    found = _chain.score(own, usual, np.array([[0.0, 60.0, 0.0, 100.0]]))
    np.testing.assert_allclose(found.base, -0.4706, atol=1e-4)
    np.testing.assert_allclose(found.value[0], 0.2181, atol=1e-4)
    np.testing.assert_allclose(found.parts[:, 0], [0.0, 0.9370, -0.2483, 0.0], atol=1e-4)


def test_an_event_s_table_by_hand() -> None:
    """A booster's log-odds of 1 after 40 days, -1 before, 0 on average: .7311 against .5; a table .2, usually .1.

    By halves .4655 against .3, log-odds of -.1382 against -.8473: all of it is of silence, about which both speak.
    """
    pool = Pool(None, 0.0, None, 0.0, Steps(LAST, (50.0,), (0.05, 0.2)), 0.5)
    own = Head("back", 28, "event", stump(40, -1.0, 1.0, COLUMNS), pool=pool)
    found = _chain.score(own, Usual((None,) * 4, (), (), 0.1), np.array([[0.0, 60.0, 1.0, 100.0]]))
    np.testing.assert_allclose((found.base, found.value[0]), (-0.8473, -0.1382), atol=1e-4)
    np.testing.assert_allclose(found.parts[:, 0], [0.0, 0.8473 - 0.1382, 0.0, 0.0], atol=1e-4)


def test_two_features_of_an_event_by_hand() -> None:
    """The same booster by silence, the table by purchase days, .4 against .1: .1155 and .15 of the mean's .2655.

    The log-odds of .5655 less those of .3 are 1.1108: 4.183 times as much, .4834 of silence and .6275 of the days.
    """
    pool = Pool(None, 0.0, None, 0.0, Steps(COUNT, (3.0,), (0.05, 0.4)), 0.5)
    own = Head("back", 28, "event", stump(40, -1.0, 1.0, COLUMNS), pool=pool)
    found = _chain.score(own, Usual((None,) * 4, (), (), 0.1), np.array([[0.0, 60.0, 9.0, 100.0]]))
    np.testing.assert_allclose(found.parts[:, 0], [0.0, 0.4834, 0.6275, 0.0], atol=2e-4)


def test_the_usual_of_an_event_by_hand() -> None:
    """Silence of 5, 10 and 60 days and never: the table says .5, .3, .05 and .5, so .3375; spends of 1, 2, 3 and 6."""
    rows = np.array([[1.0, 5.0, 1.0, 9.0], [2.0, 10.0, 2.0, 9.0], [3.0, 60.0, 3.0, 9.0], [6.0, np.nan, 0.0, np.nan]])
    usual = explain.learn(HEADS["event of a table"], rows)
    assert usual.table == 0.3375 and usual.medians == (2.5, 10.0, 1.5, 9.0)
    assert usual.parts == () == usual.linear
    assert explain.learn(HEADS["event of a booster"], rows).table == 0.0


def test_a_count_by_hand() -> None:
    """The log of 2 x e^(.1 + 1.5 m): m is 1 after 40 days, -1 before, 0 on average; silence has 1.5 of it."""
    own = Head("visits", 28, "count", stump(40, -1.0, 1.0, COLUMNS), 0.1, 1.5, scale=2.0)
    found = _chain.score(own, Usual((None,) * 4, (), ()), np.array([[0.0, 60.0, 1.0, 100.0]]))
    np.testing.assert_allclose((found.base, found.value[0]), (np.log(2) + 0.1, np.log(2) + 1.6), rtol=1e-12)
    np.testing.assert_allclose(found.parts[:, 0], [0.0, 1.5, 0.0, 0.0], atol=1e-12)


def test_through_a_map_by_hand() -> None:
    """x from 1 to 3 by +5 and -3; its square from 1 to 9 by four times as much; where nothing moved, the derivative."""
    step = _chain.Step(np.array([3.0, 1.0]), 1.0, np.array([[5.0, 2.0], [-3.0, -2.0]]))
    found = step.through(step.value**2, 1.0, 2 * step.value)
    assert found.parts.tolist() == [[20.0, 4.0], [-12.0, -4.0]] and found.value.tolist() == [9.0, 1.0]


@given(base=st.floats(1e-6, 1 - 1e-6), gap=st.sampled_from((1e-3, 1e-6, 1e-9, 1e-12, 1e-15, 0.0)), up=st.booleans(),
       mine=st.floats(-1, 2))  # fmt: skip
def test_through_a_steep_map_from_far_and_near(base: float, gap: float, up: bool, mine: float) -> None:
    """Log-odds of a chance hardly off the base, even at the ends: quotients of rounded differences would not do."""
    value = np.clip(np.array([base + gap * min(base, 1 - base) * (1 if up else -1)]), 1e-9, 1 - 1e-9)
    moved = value - base
    step = _chain.Step(value, base, np.stack([mine * moved, (1 - mine) * moved]))
    at = float(predict.logit(np.array([base]))[0])
    found = step.through(predict.logit(value), at, 1 / (value * (1 - value)))
    assert abs(at + found.parts.sum() - found.value[0]) <= SUM
    assert np.abs(found.parts).max() <= 4 * max(abs(float(moved[0])), 1e-300) / min(base, 1 - base) * 2


def test_the_renewal_model_s_parts_are_the_mean_over_all_orders() -> None:
    rows, usual = values(40, 3), USUAL["renewal"]
    rows = rows[rows[:, 2] > 0]
    nothing = _chain.Step(np.zeros(len(rows)), 0.0, np.zeros((4, len(rows))))
    found = _chain._renewal(RENEWAL, usual, rows, COLUMNS, 28, nothing)
    places = (2, 3, 1)
    for i, row in enumerate(rows):
        total = dict.fromkeys(places, 0.0)
        for order in permutations(places):
            mixed = np.array([[0.0 if m is None else m for m in usual.medians]])
            before = RENEWAL.curve(mixed, COLUMNS, [28])[0, 0]
            for place in order:
                mixed[0, place] = row[place]
                after = RENEWAL.curve(mixed, COLUMNS, [28])[0, 0]
                total[place] += (after - before) / 6
                before = after
        np.testing.assert_allclose([found.parts[p, i] for p in places], [total[p] for p in places], atol=1e-14)


# --- in sum ---------------------------------------------------------------------------------------
@pytest.mark.parametrize("name", list(HEADS))
def test_base_and_contributions_sum_to_the_score(name: str) -> None:
    head, many = HEADS[name], values(3000, 4)
    found = _chain.score(head, USUAL[name], many)
    if head.kind in ("count", "amount"):
        score = np.log(head.predict(many))
        np.testing.assert_allclose(found.value, score, rtol=0, atol=1e-12)
    else:
        score = predict.logit(head.predict(many))
        assert found.value.tobytes() == score.tobytes()
    assert np.isfinite(found.parts).all()
    np.testing.assert_allclose(found.base + found.parts.sum(axis=0), score, rtol=0, atol=SUM)
    if name in ("extreme", "extreme event"):
        assert (np.abs(score) > 5).any()


@pytest.mark.parametrize("name", list(HEADS))
def test_a_customer_alone_is_explained_as_among_others_to_the_bit(name: str) -> None:
    head, many = HEADS[name], values(300, 6)
    found = _chain.score(head, USUAL[name], many)
    for row in range(0, 300, 7):
        alone = _chain.score(head, USUAL[name], many[row : row + 1])
        assert alone.parts[:, 0].tobytes() == np.ascontiguousarray(found.parts[:, row]).tobytes()
        assert alone.base == found.base


def test_who_is_the_base_customer_has_no_reason() -> None:
    """A booster that splits on nothing: every input is its own reference, where quotients would be 0 / 0."""
    few, label = values(10), np.arange(10) % 2
    plain = {"objective": "binary", "verbose": -1, "num_threads": 1}
    flat = lgb.train(plain, lgb.Dataset(few, label), num_boost_round=2)
    part = lgb.train(plain, lgb.Dataset(np.column_stack([few, np.zeros(10)]), label), num_boost_round=2)
    own = Head("churned", 28, "hazard", part, edges=(28,), whole=flat)
    found = _chain.score(own, explain.learn(own, few), values(20, 2))
    assert not found.parts.any() and np.abs(found.value - found.base).max() < 1e-12


def test_one_that_never_bought_is_explained_by_that() -> None:
    """The renewal model knows nothing of it: its share is the booster's, and the difference is the purchase days'."""
    row = np.array([[50.0, np.nan, 0.0, np.nan]])
    found = _chain.score(HEADS["renewal"], USUAL["renewal"], row)
    np.testing.assert_allclose(found.base + found.parts.sum(), found.value[0], atol=1e-12)
    assert found.parts[2, 0] != 0


# --- reasons --------------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def asked(tiny_bundle: Bundle) -> tuple[Bundle, Floats]:
    log = canonical(tiny.plain_log(60, seed=5), tiny_bundle.definitions.rules)
    pairs = timeline.pairs_of(log["customer_id"].unique(), [tiny.TRAINED_THROUGH])
    return tiny_bundle, tiny_bundle.values(tiny_bundle.rows_of(log, pairs).filter("eligible"))


def test_the_loaded_bundle_s_contributions_sum_to_its_score(asked: tuple[Bundle, Floats]) -> None:
    bundle, rows = asked
    found = explain.contributions(bundle, rows)
    risk = predict.answers(bundle.heads, rows)[0][-1]
    np.testing.assert_allclose(found.base + found.parts.sum(axis=0), predict.logit(risk), rtol=0, atol=SUM)


def test_reasons_are_the_strongest_groups(asked: tuple[Bundle, Floats]) -> None:
    """All groups with any say: their shares sum to 1, contributions to the score; fewer are the first of them."""
    bundle, rows = asked
    found, known = explain.contributions(bundle, rows), explain.meanings(bundle.definitions)
    for every, three, score in zip(
        explain.of_rows(bundle, rows, 1000), explain.of_rows(bundle, rows, 3), found.score, strict=True
    ):
        assert every[:3] == three and len({known[r.feature].group for r in every}) == len(every) > 3
        assert abs(sum(r.share for r in every) - 1) < 1e-12
        assert abs(found.base + sum(r.contribution for r in every) - score) < SUM
        sizes = [abs(r.contribution) for r in every]
        assert sizes == sorted(sizes, reverse=True) and sizes[-1] > 0
        assert all((r.contribution > 0) == (r.direction == "raises") for r in every)


def test_the_usual_by_hand(asked: tuple[Bundle, Floats]) -> None:
    """Own median gap for silence, own earlier rate for a count, the mean for the latest order; else the median."""
    bundle, _ = asked
    place = {name: i for i, name in enumerate(bundle.core_features)}
    row = np.full(len(place), np.nan)
    given = {"days_since_last_purchase": 74.0, "gap_days_median": 30.0, "purchase_days": 22.0, "tenure_days": 228.0,
             "purchase_days_last_28d": 2.0, "purchase_days_last_112d": 12.0, "purchase_days_from_56d_to_112d": 3.0,
             "purchase_days_last_224d": 21.0, "mean_order_value": 20.0, "order_value_last": 35.0}  # fmt: skip
    for name, value in given.items():
        row[place[name]] = value
    usual = explain._reasons._Usual(bundle, explain.meanings(bundle.definitions))
    assert usual.of(place["days_since_last_purchase"], row)[:2] == (30.0, True)
    assert usual.of(place["purchase_days_last_28d"], row)[:2] == (20.0 / 200 * 28, True)
    assert usual.of(place["purchase_days_from_56d_to_112d"], row)[:2] == (10.0 / 116 * 56, True)
    assert usual.of(place["order_value_last"], row)[:2] == (20.0, True)
    assert usual.of(place["overdue_ratio"], row)[:2] == (1.0, True)
    assert bundle.reference.usual is not None
    # too short a time before; no such rule; the total unknown
    for name in ("purchase_days_last_224d", "purchase_days", "spend_last_28d"):
        assert usual.of(place[name], row)[:2] == (bundle.reference.usual.medians[place[name]], False)


def test_the_usual_fits_the_reason_where_one_does(asked: tuple[Bundle, Floats]) -> None:
    """Silent for longer than is typical, not than the customer's own gap: a higher risk is told by the first."""
    bundle, _ = asked
    assert bundle.reference.usual is not None
    place = {name: i for i, name in enumerate(bundle.core_features)}
    at = place["days_since_last_purchase"]
    typical = bundle.reference.usual.medians[at]
    assert typical is not None
    row = np.full(len(place), np.nan)
    row[at], row[place["gap_days_median"]] = typical + 10, typical + 30
    usual = explain._reasons._Usual(bundle, explain.meanings(bundle.definitions))
    assert usual.of(at, row, 1) == (typical, False, True) and usual.of(at, row, -1) == (typical + 30, True, True)
    row[at] = typical + 40
    assert usual.of(at, row, 1) == (typical + 30, True, True)
    assert usual.of(at, row, -1) == (typical + 30, True, False)  # neither fits: the customer's own


def test_a_group_is_told_by_the_strongest_feature_that_one_would_expect(asked: tuple[Bundle, Floats]) -> None:
    """Nothing spent for a lower risk is not told where the many purchases can be."""
    bundle, _ = asked
    place = {name: i for i, name in enumerate(bundle.core_features)}
    row, parts = np.full(len(place), np.nan), np.zeros(len(place))
    row[place["spend_last_28d"]], row[place["purchase_days"]] = 0.0, 900.0
    parts[place["spend_last_28d"]], parts[place["purchase_days"]] = -0.9, -0.5
    usual = explain._reasons._Usual(bundle, explain.meanings(bundle.definitions))
    words, group = explain.phrases("en"), [place["spend_last_28d"], place["purchase_days"]]
    told = explain._reasons._reason(usual, words, row, parts, group, -1.4, 1.4)
    assert (told.feature, told.direction, told.contribution) == ("purchase_days", "lowers", -1.4)
    row[place["purchase_days"]] = 0.0
    assert explain._reasons._reason(usual, words, row, parts, group, -1.4, 1.4).feature == "spend_last_28d"


def test_reasons_as_columns(asked: tuple[Bundle, Floats]) -> None:
    bundle, _ = asked
    log = canonical(tiny.plain_log(60, seed=5), bundle.definitions.rules)
    pairs = timeline.pairs_of(log["customer_id"].unique(), [tiny.TRAINED_THROUGH])
    found = explain.frame(bundle, log, pairs, 2)
    scored = bundle.score_log(log, tiny.TRAINED_THROUGH)
    assert found.schema == explain.SCHEMA and found["customer_id"].to_list() == (
        scored.filter("eligible")["customer_id"].to_list()
    )
    assert set(found["reasons"].list.len()) == {2}
    nobody = explain.frame(bundle, log, pairs.head(0), 2)
    assert nobody.schema == explain.SCHEMA and nobody.is_empty()
    with pytest.raises(ValueError, match="between 1 and 10"):
        explain.frame(bundle, log, pairs, 0)


def test_a_target_of_one_s_own_is_explained_to_those_it_asks(asked: tuple[Bundle, Floats]) -> None:
    """Of each kind: contributions of the strongest groups, all of them the whole way from the base to its number."""
    bundle, _ = asked
    log = canonical(tiny.plain_log(300, seed=5), bundle.definitions.rules)
    pairs = timeline.pairs_of(log["customer_id"].unique(), [tiny.TRAINED_THROUGH])
    rows, scored = bundle.rows_of(log, pairs), bundle.score_log(log, tiny.TRAINED_THROUGH)
    assert len(bundle.own_heads) == 4
    for head in bundle.own_heads:
        number = scored[bundle.columns_of(head)[0]]
        mine = scored.filter(number.is_not_null())
        told = explain.frame(bundle, log, pairs, 3, target=head.target)
        assert told.schema == explain.SCHEMA and told["customer_id"].to_list() == mine["customer_id"].to_list()
        assert told.height > 3 and told["reasons"].list.len().max() == 3
        values = bundle.values(rows.filter(number.is_not_null()), head)
        found = explain.contributions(bundle, values, head.target)
        known = number.drop_nulls().to_numpy()
        said = predict.logit(known) if head.kind == "event" else np.log(known)
        np.testing.assert_allclose(found.score, said, rtol=0, atol=1e-12)
        every = explain.of_rows(bundle, values, 1000, target=head.target)
        sums = [found.base + sum(r.contribution for r in own) for own in every]
        np.testing.assert_allclose(sums, said, rtol=0, atol=SUM)


def test_of_a_target_of_one_s_own_nobody_knows_what_to_expect(asked: tuple[Bundle, Floats]) -> None:
    """Few purchases may well make a complaint less likely: the strongest feature tells it, against the own usual."""
    bundle, _ = asked
    place = {name: i for i, name in enumerate(bundle.features)}
    row, parts = np.full(len(place), np.nan), np.zeros(len(place))
    row[place["spend_last_28d"]], row[place["purchase_days"]] = 0.0, 900.0
    parts[place["spend_last_28d"]], parts[place["purchase_days"]] = -0.9, -0.5
    usual = explain._reasons._Usual(bundle, explain.meanings(bundle.definitions), "back")
    words, group = explain.phrases("en"), [place["spend_last_28d"], place["purchase_days"]]
    assert explain._reasons._reason(usual, words, row, parts, group, -1.4, 1.4).feature == "spend_last_28d"


def test_no_base_customer_and_no_such_language_are_said(asked: tuple[Bundle, Floats]) -> None:
    bundle, rows = asked
    without = dataclasses.replace(bundle, reference=dataclasses.replace(bundle.reference, usual=None))
    with pytest.raises(UserError, match="Train it again"):
        explain.contributions(without, rows)
    back = dataclasses.replace(bundle.reference.targets["back"], usual=None)
    older = dataclasses.replace(bundle.reference, targets={**bundle.reference.targets, "back": back})
    before = dataclasses.replace(bundle, reference=older)
    with pytest.raises(UserError, match="Train it again"):
        explain.contributions(before, rows, "back")
    assert explain.own_targets(before) == ["visits", "tea", "ended"]
    with pytest.raises(UserError, match="'fr'"):
        explain.of_rows(bundle, rows, 1, "fr")
