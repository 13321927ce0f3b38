"""Expected orders x expected order value, by hand."""

from __future__ import annotations

import dataclasses
from functools import cache
from typing import Any

import lightgbm as lgb
import numpy as np
import pytest
import sim

from churn_clv import recipe, training
from churn_clv.models import predict
from churn_clv.models.linear import Linear
from churn_clv.models.orders import Orders, fit_orders
from churn_clv.models.predict import Head
from churn_clv.models.priced import OrderValue, Priced
from churn_clv.recipe import _choice

NAN = float("nan")
VALUE = OrderValue(20.0, 2.0, 1.5)
# No column counts: an active customer has 1 + exp(log 2) = 3 orders.
THREE = Orders(Linear(float(np.log(2)), (0.0, 0.0), (0.0, 0.0), (0.0, 0.0)), 0.0, -9.0, 9.0)
COLUMNS = ("mean_order_value", "purchase_days")


def test_an_order_is_drawn_to_everybodys_by_how_few_there_are() -> None:
    """Everybody's order is 1.5 x 20 = 30 and counts as two."""
    counted, own = np.array([1.0, 2.0, 8.0, 3.0, 1.0]), np.array([90.0, 10.0, 10.0, -5.0, NAN])
    # (2 x 30 + 90) / 3; (60 + 20) / 4; (60 + 80) / 10; more returned than bought: (60 + 0) / 5; nothing known: 30
    np.testing.assert_allclose(VALUE.expected(counted, own), [50, 20, 14, 12, 30], rtol=1e-15)


def test_spend_is_orders_times_value() -> None:
    values, silent = np.array([[90.0, 1.0], [10.0, 8.0]]), np.array([0.5, 0.2])
    np.testing.assert_allclose(Priced(THREE, VALUE, 0.5).money(values, COLUMNS, silent), [1.5 * 50, 2.4 * 14])
    np.testing.assert_allclose(Priced(THREE, VALUE, 0.25).mixed(np.array([100.0, 20.0]), values, COLUMNS, silent),
                               [75 + 75 / 4, 15 + 33.6 / 4])  # fmt: skip


@pytest.fixture(scope="module")
def heads() -> tuple[Head, ...]:
    """A booster of churn and one of spend, which each know only the two columns."""
    draw = np.random.default_rng(0)
    values = draw.gamma(2.0, 10.0, (400, 2))
    found = []
    for objective, label in (("binary", draw.random(400) < 0.4), ("tweedie", draw.gamma(1.0, 1.0, 400))):
        data = lgb.Dataset(values, label.astype(float), feature_name=list(COLUMNS), params={"verbosity": -1})
        found.append(lgb.train({"objective": objective, "verbosity": -1, "num_threads": 1}, data, 5))
    whole = Head("churned", 28, "event", found[0])
    return whole, Head("spend", 28, "amount", found[1], scale=30.0)


def test_the_head_of_spend_carries_it(heads: tuple[Head, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.random.default_rng(1).gamma(2.0, 10.0, (50, 2))
    priced = Priced(THREE, VALUE, 0.75)
    curve = predict.sigmoid(heads[0].margin(values))[None, :]
    hazard = dataclasses.replace(heads[0], kind="hazard")
    monkeypatch.setattr(Head, "curve", lambda self, rows: curve[:, : len(rows)])
    plain = predict.answers((hazard, heads[1]), values)[1]
    mixed = predict.answers((hazard, dataclasses.replace(heads[1], priced=priced)), values)[1]
    assert plain is not None and mixed is not None
    np.testing.assert_allclose(mixed, 0.25 * plain + 0.75 * priced.money(values, COLUMNS, curve[-1]), rtol=1e-14)


# --- chosen by validation -------------------------------------------------------------------------
@cache
def judged() -> training.Judged:
    return training.judge(sim.log(), sim.settings())


def asked() -> tuple[Any, ...]:
    """What the choice is made from: workshop, plan, risk, orders that came, spend and origin of each row."""
    shop, plan, table = judged().shop, judged().plan, judged().chosen.validation
    risk, spend = table["churn_probability"].to_numpy(), table["spend"].to_numpy()
    came = shop.orders(shop.rows(plan.origins), plan.test, plan.horizon_days)
    return shop, plan, risk, came, spend, np.searchsorted(plan.origins, table["cutoff"].to_list())


def test_each_origin_is_told_by_the_others() -> None:
    shop, plan, risk, came, spend, origin = asked()
    values, parts = shop.values[shop.rows(plan.origins)], []
    for k, when in enumerate(plan.origins):
        rest = origin != k
        orders = fit_orders(values[rest], shop.columns, risk[rest], came[rest])
        model = Priced(orders, shop.order_value(when), 1.0)
        parts.append(model.money(values[~rest], shop.columns, risk[~rest]))
    told, flat = np.concatenate(parts), np.full(len(spend), 10 * spend.mean())
    share, money = _choice._choose_priced(shop, plan, risk, came, flat, spend, origin)
    assert share == max(_choice.PRICED_SHARES) and len(plan.origins) == 3
    np.testing.assert_allclose(money, (1 - share) * flat + share * told)
    # An origin's own orders say nothing of what it is told: trebled, only the other two change.
    trebled = np.where(origin == 1, 3 * came, came)
    again = _choice._choose_priced(shop, plan, risk, trebled, flat, spend, origin)[1]
    np.testing.assert_array_equal(again[origin == 1], money[origin == 1])
    assert (again[origin != 1] > money[origin != 1]).mean() > 0.9


def test_a_share_only_where_it_is_better_at_every_origin(monkeypatch: pytest.MonkeyPatch) -> None:
    shop, plan, risk, came, spend, origin = asked()
    best, flat = np.maximum(spend, 0.5), np.full(len(spend), 10 * spend.mean())

    def share(money: Any, told: Any = plan, of: Any = origin) -> float:
        return _choice._choose_priced(shop, told, risk, came, money, spend, of)[0]

    assert share(flat) > 0 and share(best) == 0.0 and share(np.where(origin == 0, best, flat)) == 0.0
    alone = dataclasses.replace(plan, origins=plan.origins[:1])
    assert share(flat, alone, np.zeros_like(origin)) == 0.0
    monkeypatch.setattr(type(shop), "order_value", lambda self, when: None)
    assert share(flat) == 0.0


@pytest.mark.parametrize("share", [0.0, 0.5])
def test_what_is_judged_is_what_was_chosen(share: float) -> None:
    shop, plan = judged().shop, judged().plan
    chosen = dataclasses.replace(judged().chosen, priced=share, two_part=0.0)
    first, *rest = [h for h in recipe.heads(shop, plan, chosen, plan.test) if h.target in predict.SPEND_HEADS]
    assert not rest and (first.priced.share if first.priced else 0.0) == share
    if first.priced is not None:
        assert first.priced.orders == chosen.orders and first.priced.value == shop.order_value(plan.test)


def test_no_order_value_at_the_test_cutoff_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    shop, plan, told = judged().shop, judged().plan, []
    monkeypatch.setattr(type(shop), "order_value", lambda self, when: None)
    chosen = dataclasses.replace(judged().chosen, priced=0.5)
    heads = recipe.heads(shop, plan, chosen, plan.test, told.append)
    assert all(h.priced is None for h in heads) and "take its share of 50%" in told[-1]
