"""Few rows through LightGBM's single-row call: the same bits as Booster.predict, from any thread, and a way back."""

from __future__ import annotations

import gc
import weakref
from concurrent.futures import ThreadPoolExecutor

import lightgbm as lgb
import numpy as np
import pytest

from churn_clv.models import onerow
from churn_clv.models.predict import FEW_ROWS, raw_margin

COLUMNS, ROWS = 12, 3_000
DRAW = np.random.default_rng(3)
VALUES = np.where(DRAW.random((ROWS, COLUMNS)) < 0.2, np.nan, DRAW.normal(size=(ROWS, COLUMNS)) * 3)


def booster(objective: str, seed: int = 1, columns: int = COLUMNS) -> lgb.Booster:
    label = np.nan_to_num(VALUES[:, 0]) > 0.5
    settings = {"objective": objective, "num_leaves": 15, "verbose": -1, "seed": seed, "num_threads": 1}
    made = lgb.train(settings, lgb.Dataset(VALUES[:, :columns], label.astype(float)), 40)
    return lgb.Booster(model_str=made.model_to_string())


@pytest.fixture(scope="module")
def churn() -> lgb.Booster:
    return booster("binary")


def test_this_lightgbm_has_it() -> None:
    assert onerow.available()


@pytest.mark.parametrize("objective", ["binary", "tweedie", "poisson"])
@pytest.mark.parametrize("rows", [1, FEW_ROWS])
def test_the_same_bits_as_predict(objective: str, rows: int) -> None:
    own = booster(objective)
    parts = [np.ascontiguousarray(VALUES[k : k + rows]) for k in range(0, ROWS, rows)]
    found = np.concatenate([raw_margin(own, part) for part in parts])
    assert np.array_equal(found, own.predict(VALUES, raw_score=True, num_threads=1))


def test_from_many_threads(churn: lgb.Booster) -> None:
    spend, expected = booster("tweedie"), {}
    for own in (churn, spend):
        expected[id(own)] = own.predict(VALUES, raw_score=True, num_threads=1)

    def ask(k: int) -> bool:
        own = (churn, spend)[k % 2]
        return bool(raw_margin(own, np.ascontiguousarray(VALUES[k : k + 1]))[0] == expected[id(own)][k])

    with ThreadPoolExecutor(8) as threads:
        assert all(threads.map(ask, range(ROWS)))


def test_a_booster_that_grew_is_prepared_again() -> None:
    settings = {"objective": "binary", "num_leaves": 7, "verbose": -1, "num_threads": 1}
    own = lgb.Booster(settings, lgb.Dataset(VALUES, (np.nan_to_num(VALUES[:, 0]) > 0).astype(float)))
    row = np.ascontiguousarray(VALUES[:1])
    for _ in range(3):
        own.update()
        assert raw_margin(own, row) == own.predict(row, raw_score=True, num_iteration=-1)


def test_a_booster_goes_when_nobody_holds_it() -> None:
    # By itself, not by counting: boosters of other tests go whenever the collector finds them.
    own = booster("binary", seed=5)
    assert onerow.margins(own, np.ascontiguousarray(VALUES[:1])) is not None
    kept, held = weakref.ref(onerow._kept[own]), weakref.ref(own)
    del own
    gc.collect()
    assert held() is None
    assert kept() is None


def test_without_it_predict_does_the_work(churn: lgb.Booster, monkeypatch: pytest.MonkeyPatch) -> None:
    row = np.ascontiguousarray(VALUES[:1])
    fast = raw_margin(churn, row)
    monkeypatch.setattr(onerow, "_lib", None)
    assert onerow.margins(churn, row) is None
    assert np.array_equal(raw_margin(churn, row), fast)


def test_what_it_cannot_do_is_left_to_predict(churn: lgb.Booster) -> None:
    assert onerow.margins(churn, VALUES[:1, ::2]) is None  # too few columns, and not in order
    assert onerow.margins(churn, VALUES[:1].astype(np.float32)) is None
    assert onerow.margins(churn, np.ascontiguousarray(VALUES[:1, :5])) is None
