"""BTYD: published answers, closed forms against simulation, and what happens where a fit fails."""

from __future__ import annotations

import datetime as dt
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from churn_clv import config, features, timeline
from churn_clv.errors import UserError
from churn_clv.events import read_log
from churn_clv.metrics import Array
from churn_clv.models import btyd, tables
from churn_clv.models.btyd import _histories, _money, _transactions

for package in ("clvkit", "pandas", "scipy"):
    pytest.importorskip(package)
from scipy import integrate, stats  # type: ignore[import-untyped]  # noqa: E402

ROOT = Path(__file__).parents[2]
BG = btyd.Fit("BG/NBD", 0.8, 6.0, 0.7, 2.0, 0.0)
MBG = replace(BG, name="MBG/NBD")
KINDS = pytest.mark.parametrize("fit", [BG, MBG], ids=lambda fit: fit.name)


def matrix(days: list[int], first: list[int], last: list[int], value: list[float] | None = None) -> pl.DataFrame:
    """Purchase days, days since the first and the last, and the mean order value (of the first order too)."""
    timing = pl.DataFrame(dict(zip(btyd.TIMING, (days, first, last), strict=True)), schema_overrides=dict.fromkeys(
        btyd.TIMING, pl.Float64))  # fmt: skip
    return timing if value is None else timing.with_columns(
        mean_order_value=pl.Series(value, dtype=pl.Float64)
    )  # fmt: skip


def lives(fit: btyd.Fit, n: int, weeks: float, seed: int = 0) -> tuple[btyd.Histories, Array]:
    """Histories over 20 to 60 weeks simulated as the model tells it, and the purchases of the weeks after."""
    random = np.random.default_rng(seed)
    rate, leaves = random.gamma(fit.r, 1 / fit.alpha, n), random.beta(fit.a, fit.b, n)
    now = random.uniform(20, 60, n)
    time, x, last, later = np.zeros(n), np.zeros(n), np.zeros(n), np.zeros(n)
    here = random.random(n) >= leaves if fit.name == "MBG/NBD" else np.ones(n, dtype=bool)
    while here.any():
        time[here] += random.exponential(1 / np.maximum(rate[here], 1e-12))
        here &= time <= now + weeks
        past = here & (time <= now)
        x += past
        last[past] = time[past]
        later += here & ~past
        here &= random.random(n) >= leaves
    return btyd.Histories(x, last, now), later


def shop(n: int, seed: int = 0) -> pl.DataFrame:
    """A matrix of simulated customers (whole days) with Gamma-Gamma order values around 30."""
    known, _ = lives(MBG, n, 1.0, seed)
    first = np.round(known.now * 7) + 1
    last = np.clip(np.round((known.now - known.last) * 7) + 1, 1, first)
    random = np.random.default_rng(seed + 1)
    personal = 6.0 / random.gamma(4.0, 1 / 15.0, n)
    mean = personal * random.gamma(6.0 * (known.x + 1)) / (6.0 * (known.x + 1))
    return pl.DataFrame(dict(zip(btyd.COLUMNS, (known.x + 1, first, last, mean), strict=True)))


# --- published answers ----------------------------------------------------------------------------
@pytest.fixture(scope="module")
def cdnow() -> pl.DataFrame:
    """CDNOW's 1/10 sample at the end of its published calibration period, 1997-09-30."""
    loaded = config.load(ROOT / "configs" / "cdnow.yaml")
    orders = loaded.events.sources["orders"].model_copy(update={"table": "sample"})
    settings = loaded.model_copy(update={"events": loaded.events.model_copy(update={"sources": {"orders": orders}})})
    try:
        log = read_log(settings)
    except UserError as absent:
        pytest.skip(str(absent))
    cutoff = dt.date(1997, 10, 1)
    pairs = timeline.known_among(log.frame, timeline.pairs_of(log.frame["customer_id"].unique(), [cutoff]))
    return features.build(
        timeline.Past(log.frame, pairs), timeline.define(log, settings, cutoff), (*btyd.COLUMNS, "order_value_first")
    )


def test_bg_nbd_of_fader_hardie_lee_2005(cdnow: pl.DataFrame) -> None:
    fit = btyd.by_likelihood("BG/NBD", btyd.histories(cdnow))
    assert fit is not None and cdnow.height == 2357
    assert [fit.r, fit.alpha, fit.a, fit.b] == pytest.approx([0.243, 4.414, 0.793, 2.426], abs=6e-4)
    assert fit.log_likelihood == pytest.approx(-9582.4, abs=0.05)


def test_gamma_gamma_of_fader_hardie_2013(cdnow: pl.DataFrame) -> None:
    repeat = cdnow.filter(pl.col("purchase_days") > 1)
    total = repeat["mean_order_value"] * repeat["purchase_days"] - repeat["order_value_first"]
    x = repeat["purchase_days"].to_numpy() - 1
    value = total.to_numpy() / x
    weight, mean, how = btyd.gamma_gamma(x[value > 0], value[value > 0] / 35)
    assert (value > 0).sum() == 946 and how == "Gamma-Gamma (p 6.25, q 3.74)"
    assert weight * mean * 35 == pytest.approx(15.44, abs=0.02)  # (q - 1) / p x p gamma / (q - 1) = gamma


def test_a_lifetime_of_39_weeks_as_published(cdnow: pl.DataFrame) -> None:
    """BG/NBD x Gamma-Gamma by the book on the cohort's second 39 weeks: 59,932 (70,976 came)."""
    known, fit = btyd.histories(cdnow), btyd.by_likelihood("BG/NBD", btyd.histories(cdnow))
    total = (cdnow["mean_order_value"] * cdnow["purchase_days"] - cdnow["order_value_first"]).to_numpy()
    own = np.where(known.x > 0, total / np.maximum(known.x, 1), 0.0) / 35
    weight, mean, _ = btyd.gamma_gamma(known.x[own > 0], own[own > 0])
    assert fit is not None
    money = 35 * (weight * mean + known.x * own) / (weight + known.x) * btyd.expected_orders(fit, known, 39.0)
    assert money.sum() == pytest.approx(59_932, abs=20)


def test_the_likelier_model_is_taken(cdnow: pl.DataFrame) -> None:
    known = btyd.histories(cdnow)
    both = [btyd.by_likelihood(name, known) for name in ("BG/NBD", "MBG/NBD")]
    rung, text = btyd.rung(cdnow, cdnow, 90)
    better = max((fit for fit in both if fit), key=lambda fit: fit.log_likelihood)
    assert text.startswith(f"{better.name} (log-likelihood {better.log_likelihood:,.1f}) x Gamma-Gamma (p 9.88, q 3.4)")
    assert rung.churn_score is not None and rung.churn_is_probability
    np.testing.assert_allclose(rung.churn_score, 1 - btyd.active(better, known, 90 / 7))


# --- closed forms ---------------------------------------------------------------------------------
def test_active_by_hand() -> None:
    new = btyd.Histories(np.array([0.0]), np.array([0.0]), np.array([1.0]))
    bg = btyd.Fit("BG/NBD", 1.0, 1.0, 1.0, 1.0, 0.0)
    assert btyd.active(bg, new, 2.0)[0] == pytest.approx(1 - 2 / 4)  # surely alive, and yet may not buy
    assert btyd.active(replace(bg, name="MBG/NBD"), new, 2.0)[0] == pytest.approx((1 / 3) * (1 - 2 / 4))
    once = btyd.Histories(np.array([1.0]), np.array([1.0]), np.array([3.0]))
    assert btyd.active(bg, once, 4.0)[0] == pytest.approx(1 / (1 + 4) * (1 - (4 / 8) ** 2))


@KINDS
def test_active_and_orders_are_what_simulated_customers_do(fit: btyd.Fit) -> None:
    weeks = 13.0
    known, later = lives(fit, 200_000, weeks)
    p, orders, silent = btyd.active(fit, known, weeks), btyd.expected_orders(fit, known, weeks), known.now - known.last
    for x in (known.x == 0, known.x == 1, known.x == 2, known.x > 2):
        for quiet in (silent < 15, (silent >= 15) & (silent < 30), silent >= 30):
            rows = x & quiet
            if rows.sum() < 500:
                continue
            bought = later[rows] > 0
            assert abs(p[rows].mean() - bought.mean()) < 4 * np.sqrt(bought.mean() * (1 - bought.mean()) / rows.sum())
            assert abs(orders[rows].mean() - later[rows].mean()) < 4 * later[rows].std() / np.sqrt(rows.sum())
    gap = abs((btyd.alive(fit, known) - (later > 0))[known.x == 0].mean())
    assert gap > 0.1  # 1 - P(alive) is not the churn of a horizon


@KINDS
def test_orders_by_quadrature(fit: btyd.Fit) -> None:
    rows = btyd.Histories(np.array([0.0, 1.0, 7.0]), np.array([0.0, 3.0, 20.0]), np.array([10.0, 12.0, 22.0]))
    chances, shape, rate = rows.x + (fit.name == "MBG/NBD"), fit.r + rows.x, fit.alpha + rows.now
    expected = [
        integrate.quad(
            # alive and leaving with chance p after each order: (1 - E exp(-rate p weeks)) / p orders
            lambda p, i=i: stats.beta.pdf(p, fit.a, fit.b + chances[i])
            * (1 - (rate[i] / (rate[i] + 8 * p)) ** shape[i]) / p, 0, 1)[0]
        for i in range(3)
    ]  # fmt: skip
    np.testing.assert_allclose(btyd.expected_orders(fit, rows, 8.0), btyd.alive(fit, rows) * expected, rtol=1e-5)


@KINDS
def test_the_likelihood_is_the_fitted_ones(fit: btyd.Fit) -> None:
    known, _ = lives(fit, 3000, 1.0)
    found = btyd.by_likelihood(fit.name, known)
    assert found is not None
    assert btyd.log_likelihood(found, known) == pytest.approx(found.log_likelihood, abs=1e-4)
    assert btyd.log_likelihood(replace(found, alpha=found.alpha * 1.1), known) < found.log_likelihood
    one = btyd.Histories(np.zeros(1), np.zeros(1), np.array([4.0]))
    never_left, left = (6 / 10) ** 0.8, 0.7 / 2.7  # after the first order only MBG/NBD lets it leave
    likelihood = never_left if fit is BG else left + (1 - left) * never_left
    assert btyd.log_likelihood(fit, one) == pytest.approx(np.log(likelihood))


@KINDS
def test_with_many_customers_the_penalty_is_nothing(fit: btyd.Fit) -> None:
    known, _ = lives(fit, 8000, 1.0)
    free, held = btyd.by_likelihood(fit.name, known), btyd.penalised(fit.name, known)
    assert free is not None and held is not None and held.penalised
    assert btyd.log_likelihood(held, known) == pytest.approx(free.log_likelihood, abs=0.5)
    np.testing.assert_allclose(btyd.active(held, known, 8.0), btyd.active(free, known, 8.0), atol=0.01)


# --- money ----------------------------------------------------------------------------------------
def test_spend_is_orders_times_value_in_any_unit() -> None:
    everyone = shop(2000)
    rung, _ = btyd.rung(everyone, everyone, 28)
    value, _ = btyd.order_value(everyone, everyone)
    fit = btyd.by_likelihood("MBG/NBD", btyd.histories(everyone))
    assert rung.spend is not None and fit is not None
    np.testing.assert_allclose(rung.spend, btyd.expected_orders(fit, btyd.histories(everyone), 4.0) * value, rtol=1e-6)
    small, _ = btyd.rung(*(m.with_columns(pl.col(btyd.MONEY) * 1024) for m in (everyone, everyone)), 28)
    assert small.spend is not None
    np.testing.assert_allclose(small.spend, rung.spend * 1024, rtol=1e-12)


def test_value_leans_on_the_orders_and_their_number() -> None:
    test = pl.DataFrame(dict(zip(btyd.COLUMNS, ([1, 2, 9, 2], [99] * 4, [9] * 4, [90, 60, 60, 10]), strict=True)))
    value, how = btyd.order_value(shop(3000), test)
    once, twice, often, small = value
    # The shop's own law: p 6, q 4, gamma 15, so (15 x 6 + 6 x its money) / (4 - 1 + 6 x its orders).
    np.testing.assert_allclose(value, [(90 + 6 * m * n) / (3 + 6 * n) for n, m in ((1, 90), (2, 60), (9, 60), (2, 10))],
                               rtol=0.05)  # fmt: skip
    assert once > often > twice > 30 > small > 10 and how.startswith("Gamma-Gamma (p ")


def test_without_amounts_there_is_no_spend() -> None:
    timing = shop(500).select(btyd.TIMING)
    rung, text = btyd.rung(timing, timing, 28)
    assert rung.spend is None and rung.churn_is_probability and "Gamma" not in text


@pytest.mark.parametrize("many", [20, 200])
def test_a_wholesaler_does_not_price_everybody(many: int) -> None:
    everyone = shop(many)
    giant = pl.DataFrame(dict(zip(btyd.COLUMNS, ([40.0], [300.0], [3.0], [30_000.0]), strict=True)))
    alone, _ = btyd.rung(everyone, everyone, 28)
    rung, _ = btyd.rung(pl.concat([everyone, giant]), pl.concat([everyone, giant]), 28)
    assert rung.spend is not None and alone.spend is not None
    assert rung.spend[:-1].sum() < 2.5 * alone.spend.sum()
    assert 30_000 < rung.spend[-1] < 30_000 * 28 / 7 * 2  # it bought once a week


# --- where fits fail ------------------------------------------------------------------------------
EDGES = {
    "no repeats": matrix([1] * 40, list(range(3, 43)), list(range(3, 43)), [20.0] * 40),
    "three customers": matrix([1, 4, 2], [40, 90, 60], [40, 5, 20], [10.0, 30.0, 20.0]),
    "one customer": matrix([1], [1], [1], [10.0]),
    "equal spends": matrix([1, 2, 5, 9] * 20, [90] * 80, [90, 30, 12, 3] * 20, [25.0] * 80),
    "orders of nothing": matrix([1, 2, 5, 9] * 20, [90] * 80, [90, 30, 12, 3] * 20, [0.0] * 80),
    "bought yesterday": matrix([1] * 10 + [3] * 30, [1] * 10 + [80] * 30, [1] * 10 + [10] * 30, [9.0] * 40),
    "every day": matrix([90] * 30, [90] * 30, [1] * 30, [5.0] * 30),
}


HOW = {
    "no repeats": r"NBD, penalised .* x shrunk mean order value \(no repeat order brought money\)",
    "three customers": r"NBD, penalised .* x Gamma-Gamma",
    "equal spends": r"NBD \(log-likelihood .* x Gamma-Gamma \(p",
    "orders of nothing": r"NBD \(log-likelihood .* x shrunk mean order value \(no repeat order brought money\)",
}


@pytest.mark.parametrize("name", EDGES)
def test_edges_give_finite_sensible_numbers(name: str) -> None:
    everyone = EDGES[name]
    rung, text = btyd.rung(everyone, everyone, 28)
    simple = tables.lifetime_rate(everyone, 28).spend
    assert rung.churn_score is not None and rung.spend is not None and simple is not None and text
    assert rung.name == "btyd" and ((rung.churn_score >= 0) & (rung.churn_score <= 1)).all()
    assert (np.isfinite(rung.spend) & (rung.spend >= 0)).all()
    assert simple.sum() / 4 - 1e-6 <= rung.spend.sum() <= 4 * simple.sum() + 1e-6
    order = everyone["mean_order_value"].max()
    assert isinstance(order, float) and rung.spend.max() <= 1.1 * 28 * order  # an order a day at the most


def test_how_the_edges_were_answered() -> None:
    how = {name: btyd.rung(EDGES[name], EDGES[name], 28)[1] for name in HOW}
    assert {name: how[name] for name in HOW if not re.search(HOW[name], how[name])} == {}


def test_equal_spends_are_predicted_again() -> None:
    value, _ = btyd.order_value(EDGES["equal spends"], EDGES["equal spends"])
    np.testing.assert_allclose(value, 25.0, rtol=0.02)


def test_a_fit_that_breaks_its_own_bounds_is_penalised(monkeypatch: pytest.MonkeyPatch) -> None:
    everyone = shop(1500)
    honest, _ = btyd.rung(everyone, everyone, 28)
    monkeypatch.setattr(
        _transactions, "by_likelihood", lambda name, rows: btyd.Fit(name, 1.0, 1.0, 1.0, 1.0, 0.0)
    )  # a = 1: 0/0
    rung, text = btyd.rung(everyone, everyone, 28)
    assert text.startswith("MBG/NBD, penalised (log-likelihood -")
    assert rung.churn_score is not None and honest.churn_score is not None
    np.testing.assert_allclose(rung.churn_score, honest.churn_score, atol=0.03)


def test_a_fit_that_stopped_short_of_the_maximum_is_penalised(monkeypatch: pytest.MonkeyPatch) -> None:
    everyone = shop(1500)
    best = btyd.by_likelihood("MBG/NBD", btyd.histories(everyone))
    assert best is not None
    short = replace(best, alpha=best.alpha * 1.3, log_likelihood=best.log_likelihood - 50)
    for fit, penalised in ((best, False), (short, True)):
        monkeypatch.setattr(_transactions, "by_likelihood", lambda name, rows, fit=fit: fit)
        assert (", penalised" in btyd.rung(everyone, everyone, 28)[1]) is penalised


def test_a_fit_with_absurd_totals_is_not_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    everyone = shop(1500)
    absurd = btyd.Fit("BG/NBD", 500.0, 1.0, 0.01, 50.0, 0.0)  # everybody buys for ever, every day
    monkeypatch.setattr(_transactions, "by_likelihood", lambda name, rows: replace(absurd, name=name))
    assert "penalised" in btyd.rung(everyone, everyone, 28)[1]


def test_without_any_fit_the_lifetime_rate_steps_in(monkeypatch: pytest.MonkeyPatch) -> None:
    everyone = shop(300)
    for name in ("by_likelihood", "penalised"):
        monkeypatch.setattr(_transactions, name, lambda name, rows: None)
    rung, text = btyd.rung(everyone, everyone.head(50), 28)
    simple = tables.lifetime_rate(everyone.head(50), 28, everyone)
    assert (rung.name, rung.churn_is_probability) == ("btyd", False) and "lifetime rate" in text
    assert rung.spend is not None and simple.spend is not None and rung.spend.tolist() == simple.spend.tolist()


def test_a_diverged_total_of_money_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    everyone = shop(300)
    monkeypatch.setattr(_money, "gamma_gamma", lambda x, value: (1e9, 80.0, "Gamma-Gamma (p 1, q 1.01)"))
    rung, text = btyd.rung(everyone, everyone, 28)
    simple = tables.lifetime_rate(everyone, 28)
    assert rung.churn_is_probability and text.endswith("replaced by lifetime rate x shrunk mean order value")
    assert rung.spend is not None and simple.spend is not None and rung.spend.tolist() == simple.spend.tolist()


def test_gamma_gamma_without_a_mean_is_held_at_the_typical_order() -> None:
    random = np.random.default_rng(3)
    x = random.integers(1, 9, 400).astype(float)
    value = 1 / random.gamma(0.6, 1.0, 400)  # the personal means themselves: shape q = .6, no population mean
    value /= tables.typical(value)
    weight, mean, how = btyd.gamma_gamma(x, value)
    assert "mean held" in how and mean == 1.0 and weight > 0
    p, q = btyd.held_mean(x, value)
    assert q > 1 and weight == pytest.approx((q - 1) / p)


# --- rows -----------------------------------------------------------------------------------------
def test_a_row_is_predicted_alike_in_any_company() -> None:
    everyone = shop(800)
    whole, _ = btyd.rung(everyone, everyone, 28)
    some, _ = btyd.rung(everyone, everyone.tail(100), 28)
    assert whole.churn_score is not None and some.churn_score is not None
    np.testing.assert_allclose(some.churn_score, whole.churn_score[-100:], rtol=1e-12)


def test_those_who_never_bought_are_not_learnt_from_and_not_predicted() -> None:
    everyone = shop(500)
    never = pl.DataFrame({c: [0.0 if c == "purchase_days" else None] for c in btyd.COLUMNS}, schema=everyone.schema)
    plain, _ = btyd.rung(everyone, everyone, 28)
    among, _ = btyd.rung(pl.concat([everyone, never]), everyone, 28)
    assert plain.churn_score is not None and among.churn_score is not None
    assert plain.churn_score.tolist() == among.churn_score.tolist()
    with pytest.raises(ValueError, match="days_since_first_purchase is null in 1 of 1 rows"):
        btyd.rung(everyone, never, 28)
    with pytest.raises(ValueError, match="found none among 1"):
        btyd.rung(never, everyone, 28)


def test_a_large_base_is_learnt_from_a_fixed_part(monkeypatch: pytest.MonkeyPatch) -> None:
    everyone = shop(4000)
    whole, _ = btyd.rung(everyone, everyone, 28)
    monkeypatch.setattr(_histories, "FIT_ROWS", 2000)
    part, again = (btyd.rung(everyone, everyone, 28)[0] for _ in range(2))
    assert whole.churn_score is not None and part.churn_score is not None and again.churn_score is not None
    assert part.churn_score.tolist() == again.churn_score.tolist() != whole.churn_score.tolist()
    np.testing.assert_allclose(part.churn_score, whole.churn_score, atol=0.06)
