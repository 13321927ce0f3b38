"""Expected orders x expected order value, by hand."""

from __future__ import annotations

import dataclasses
import datetime as dt

import lightgbm as lgb
import numpy as np
import pytest
import sim

from churn_clv import metrics, training
from churn_clv.models import predict
from churn_clv.models.linear import Linear
from churn_clv.models.orders import Orders
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
def test_the_share_is_validations(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the other model is the truth it gets the largest share, where it is worse at one origin none."""
    judged = training.judge(sim.log(), sim.settings())
    shop, plan, chosen = judged.shop, judged.plan, judged.chosen
    table = chosen.validation
    risk, spend = table["churn_probability"].to_numpy(), table["spend"].to_numpy()
    origin = np.searchsorted(plan.origins, table["cutoff"].to_list())
    parts = [
        Priced(chosen.orders, value, 1.0).money(shop.values[shop.rows([o])], shop.columns, risk[origin == k])
        for k, o in enumerate(plan.origins)
        if (value := shop.order_value(o)) is not None
    ]
    told = np.concatenate(parts)
    assert len(parts) == len(plan.origins) and told.sum() == pytest.approx(spend.sum(), rel=0.2)
    flat = np.full_like(told, 10 * spend.mean())
    share, money = _choice._choose_priced(shop, plan, chosen.orders, risk, flat, spend, origin)
    assert share == max(_choice.PRICED_SHARES)
    np.testing.assert_allclose(money, (1 - share) * flat + share * told)
    best = np.maximum(spend, 0.5)
    assert _choice._choose_priced(shop, plan, chosen.orders, risk, best, spend, origin)[0] == 0.0
    mixed = np.where(origin == 0, best, flat)
    assert _choice._choose_priced(shop, plan, chosen.orders, risk, mixed, spend, origin)[0] == 0.0
    monkeypatch.setattr(type(shop), "order_value", lambda self, when: None)
    assert _choice._choose_priced(shop, plan, chosen.orders, risk, flat, spend, origin)[0] == 0.0


def test_the_shipped_heads_say_what_was_chosen() -> None:
    judged = training.judge(sim.log(), sim.settings())
    first = next(h for h in judged.heads if h.target in predict.SPEND_HEADS)
    assert (first.priced.share if first.priced else 0.0) == judged.chosen.priced
    when: dt.date = judged.plan.test
    if first.priced:
        assert first.priced.value == judged.shop.order_value(when) and first.priced.orders == judged.chosen.orders
    loss = metrics.tweedie_deviances(judged.chosen.validation["spend"].to_numpy(),
                                     judged.chosen.validation["expected_spend"].to_numpy())  # fmt: skip
    assert np.isfinite(loss).all()
