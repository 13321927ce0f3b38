"""The renewal model that a bundle carries, by hand and as the rung uses it."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from churn_clv.models import btyd
from churn_clv.models.renewal import COUNT, FIRST, LAST, Model, Renewal

COLUMNS = ("spend", LAST, COUNT, "recency", FIRST)  # in any order, among others
EDGES = (7, 14, 28, 90)
NAMES = pytest.mark.parametrize("name", ["BG/NBD", "MBG/NBD"])


def model(name: Model, r: float = 0.8, alpha: float = 5.0, a: float = 0.7, b: float = 2.4) -> Renewal:
    return Renewal(name, r, alpha, a, b)


def values(days: list[float], first: list[float], last: list[float]) -> np.ndarray:  # type: ignore[type-arg]
    noise = np.full(len(days), -1.0)
    return np.column_stack([noise, last, days, noise, first])


def none(own: Renewal, days: float, first: float, last: float, edge: int) -> float:
    """P(no purchase by the edge) as the papers write it, for one customer."""
    x, now, recent = days - 1, (first - 1) / 7, (first - last) / 7 if days > 1 else 0.0
    left = x if own.model == "BG/NBD" else x + 1  # chances to leave
    odds = own.a / (own.b + left - 1) * ((own.alpha + now) / (own.alpha + recent)) ** (own.r + x) if left else 0.0
    return 1 - (1 - ((own.alpha + now) / (own.alpha + now + edge / 7)) ** (own.r + x)) / (1 + odds)


@NAMES
def test_the_curve_is_what_the_rung_predicts_at_each_edge(name: Model) -> None:
    draw = np.random.default_rng(1)
    days = draw.integers(1, 40, 500).astype(float)
    first = draw.integers(1, 700, 500).astype(float)
    last = np.where(days == 1, first, np.ceil(first * draw.random(500)))
    own = model(name)
    fitted = btyd.Fit(name, own.r, own.alpha, own.a, own.b, -1.0)
    assert btyd.renewal(fitted) == own
    frame = pl.DataFrame({COUNT: days, FIRST: first, LAST: last})
    curve = own.curve(values(*(c.tolist() for c in (days, first, last))), COLUMNS, EDGES)
    assert curve.shape == (4, 500)
    for place, edge in enumerate(EDGES):
        rung = 1 - btyd.active(fitted, btyd.histories(frame), edge / 7)
        assert curve[place].tolist() == rung.tolist()
        expected = [none(own, *row, edge) for row in zip(days, first, last, strict=True)]
        np.testing.assert_allclose(curve[place], expected, rtol=1e-9, atol=1e-13)
    assert (np.diff(curve, axis=0) <= 0).all() and ((curve > 0) & (curve <= 1)).all()
    assert (np.diff(curve[:, curve[-1] < 0.999], axis=0) < 0).all()  # nearer to 1 there is nothing left to fall


def test_one_order_under_bg_nbd_is_alive_for_certain() -> None:
    """No repeat, so no chance to leave yet: P(none) = ((alpha + T) / (alpha + T + t))^r, T from the first day's end."""
    found = model("BG/NBD").curve(values([1], [15], [15]), COLUMNS, [7, 14])
    assert found[:, 0].tolist() == pytest.approx([(7 / 8) ** 0.8, (7 / 9) ** 0.8], rel=1e-12)


def test_one_order_under_mbg_nbd_may_have_left_at_once() -> None:
    """Alive with odds b to a, times what the silence of two weeks says: 1 / (1 + a / b * (7 / 5)^r)."""
    alive = 1 / (1 + 0.7 / 2.4 * (7 / 5) ** 0.8)
    found = model("MBG/NBD").curve(values([1], [15], [15]), COLUMNS, [7])
    assert found[0, 0] == pytest.approx(1 - alive * (1 - (7 / 8) ** 0.8), rel=1e-12)


def test_repeats_by_hand() -> None:
    """Three repeats, the last two of ten weeks ago; BG/NBD: odds of having left a / (b + 2) * (15 / 13)^(r + 3)."""
    alive = 1 / (1 + 0.7 / 4.4 * (15 / 13) ** 3.8)
    found = model("BG/NBD").curve(values([4], [71], [15]), COLUMNS, [14])
    assert found[0, 0] == pytest.approx(1 - alive * (1 - (15 / 17) ** 3.8), rel=1e-12)
    modified = 1 / (1 + 0.7 / 5.4 * (15 / 13) ** 3.8)
    found = model("MBG/NBD").curve(values([4], [71], [15]), COLUMNS, [14])
    assert found[0, 0] == pytest.approx(1 - modified * (1 - (15 / 17) ** 3.8), rel=1e-12)


@NAMES
def test_who_never_bought_is_unknown(name: Model) -> None:
    found = model(name).curve(values([0, np.nan, 2], [np.nan, np.nan, 30], [np.nan, np.nan, 3]), COLUMNS, EDGES)
    assert np.isnan(found[:, :2]).all() and np.isfinite(found[:, 2]).all()


@NAMES
def test_bought_yesterday_for_the_first_time(name: Model) -> None:
    """T is 0: nothing is known but that the customer came."""
    found = model(name).curve(values([1], [1], [1]), COLUMNS, [7])[0, 0]
    alive = 1.0 if name == "BG/NBD" else 1 / (1 + 0.7 / 2.4)
    assert found == pytest.approx(1 - alive * (1 - (5 / 6) ** 0.8), rel=1e-12)


@NAMES
def test_long_silence_after_many_orders_does_not_overflow(name: Model) -> None:
    with np.errstate(over="raise", invalid="raise"):
        found = model(name).curve(values([900], [5000], [4000]), COLUMNS, EDGES)
    assert (found == 1.0).all()


@NAMES
@pytest.mark.parametrize("rows", [1, 2, 3, 7, 64, 501])
def test_one_row_equals_the_batch_to_the_bit(name: Model, rows: int) -> None:
    draw = np.random.default_rng(rows)
    first = draw.integers(1, 400, rows).astype(float)
    many = values(draw.integers(0, 9, rows).tolist(), first.tolist(), np.ceil(first * draw.random(rows)).tolist())
    batch = model(name).curve(many, COLUMNS, EDGES)
    for row in range(min(rows, 60)):
        assert model(name).curve(many[row : row + 1], COLUMNS, EDGES)[:, 0].tobytes() == batch[:, row].tobytes()
