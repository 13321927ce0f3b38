"""The simulator against hand-computed values, numerical integration and its own population."""

from __future__ import annotations

import datetime as dt
import itertools
import math
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import yaml
from polars.testing import assert_frame_equal

from churn_clv import config, events, simulate
from churn_clv.config import Simulate
from churn_clv.errors import UserError
from churn_clv.simulate import Simulated, process, truth

START = dt.date(2024, 1, 1)
HORIZON = 56
NOBODY_LEAVES: dict[str, Any] = {"leave_a": 1e-12, "leave_b": 1.0, "complaint_share": 0.0}
ACTIVE = ["purchase", "visit", "complaint"]
Row = tuple[int, str] | tuple[int, str, float]


def by_hand(rows: list[Row], settings: Simulate, leaves_on: int = 10_000, **latent: Any) -> Simulated:
    """One customer: rows of (day, event type, amount), each purchase an order of its own."""
    order = itertools.count()
    log = [
        {
            "customer_id": "A",
            "time": dt.datetime.combine(START, dt.time(10)) + dt.timedelta(days=row[0]),
            "event_type": row[1],
            "amount": row[2] if len(row) == 3 else None,
            "order_id": f"A-{next(order)}" if row[1] == "purchase" else None,
            "product_id": "P000" if row[1] == "purchase" else None,
        }
        for row in rows
    ]
    state = {"orders_per_day": 0.1, "leave_per_day": 0.01, "mean_order_value": 20.0, "coupons": False, **latent}
    who = {"customer_id": "A", "acquired": START, "left": START + dt.timedelta(days=leaves_on)}
    return Simulated(settings, pl.DataFrame(log, schema=process.LOG_COLUMNS), pl.DataFrame([who | state]))


def at(sim: Simulated, day: int, horizon_days: int) -> dict[str, Any]:
    found = sim.truth(START + dt.timedelta(days=day), horizon_days).to_dicts()
    assert len(found) == 1
    return found[0]


@pytest.fixture(scope="module")
def sim() -> Simulated:
    return simulate.simulate(Simulate(customers=12_000), seed=3)


@pytest.fixture(scope="module")
def judged(sim: Simulated) -> pl.DataFrame:
    """Truth beside what happened, for all known at the last full window's cutoff."""
    cutoff = sim.ends - dt.timedelta(days=HORIZON)
    bought = pl.col("event_type") == "purchase"
    future = sim.log.filter(pl.col("time") >= cutoff).group_by("customer_id")
    past = sim.log.filter(pl.col("time") < cutoff).group_by("customer_id")
    happened = future.agg(bought=bought.any(), net=pl.col("amount").sum())
    rules = past.agg(
        orders=pl.col("order_id").filter(bought).n_unique(),
        silent=(cutoff - pl.col("time").filter(bought).max().dt.date()).dt.total_days(),
        silent_at_all=(cutoff - pl.col("time").filter(pl.col("event_type").is_in([*ACTIVE, "open"])).max().dt.date())
        .dt.total_days(),
        visits=(pl.col("event_type") == "visit").sum(),
    )  # fmt: skip
    joined = sim.truth(cutoff, HORIZON).join(happened, on="customer_id", how="left").join(rules, on="customer_id")
    return joined.with_columns(churned=~pl.col("bought").fill_null(False), net=pl.col("net").fill_null(0.0))


def auc(churned: pl.Series, score: pl.Series) -> float:
    rank = score.rank().to_numpy()
    y = churned.to_numpy()
    return float((rank[y].mean() - (y.sum() + 1) / 2) / (~y).sum())


# --- one customer, by hand ----------------------------------------------------------------------
def test_gamma_posterior_by_hand() -> None:
    s = Simulate(order_shape=2, order_rate_days=10, visits_per_order=0, coupon_share=0, return_share=0,
                 amount_shape=2, amount_prior_shape=3, amount_prior_rate=40, **NOBODY_LEAVES)  # fmt: skip
    one = by_hand([(0, "visit"), (2, "purchase", 10.0), (7, "purchase", 30.0)], s)
    got = at(one, 10, 10)
    assert got["p_churn_bayes"] == pytest.approx((20 / 30) ** 4)  # rate 10 + 10 days, shape 2 + 2 orders
    assert got["spend_bayes"] == pytest.approx(10 * 4 / 20 * 2 * (40 + 40) / (3 + 2 * 2 - 1))


def test_visits_count_like_orders_by_hand() -> None:
    s = Simulate(order_shape=2, order_rate_days=10, visits_per_order=1, coupon_share=0, return_share=0, **NOBODY_LEAVES)
    one = by_hand([(0, "visit"), (2, "purchase", 10.0), (3, "visit"), (3, "visit")], s)
    # the first contact is no news: shape 2 + 1 order + 2 visits, rate 10 + 10 days of orders + 10 days of visits
    assert at(one, 10, 10)["p_churn_bayes"] == pytest.approx((30 / 40) ** 5)


def test_beta_posterior_by_hand() -> None:
    s = Simulate(leave_a=1, leave_b=1, order_shape=1, order_rate_days=1, visits_per_order=0, coupon_share=0)
    one = by_hand([(0, "visit")], s)
    # leaves after day 0: 1/2; else is here on day 1. No order on day 0: 1/2 in either case; on day 1 then: 2/3.
    assert at(one, 1, 1)["p_churn_bayes"] == pytest.approx(0.5 + 0.5 * 2 / 3)


def test_clairvoyant_by_hand() -> None:
    s = Simulate(coupon_share=0, complaint_share=0, return_share=0)
    stays = by_hand([(0, "visit")], s, leave_per_day=0.0)
    assert at(stays, 10, 7)["p_churn_latent"] == pytest.approx(math.exp(-0.7))
    assert at(stays, 10, 7)["spend_latent"] == pytest.approx(0.7 * 20)
    half = by_hand([(0, "visit")], s, leave_per_day=0.5)
    assert at(half, 10, 2)["p_churn_latent"] == pytest.approx(0.5 * math.exp(-0.1) + 0.5 * math.exp(-0.2))
    assert at(half, 10, 2)["spend_latent"] == pytest.approx((0.1 + 0.05) * 20)
    for day, chance in ((10, 1.0), (9, math.exp(-0.7))):  # left on day 10: still here the day before
        gone = by_hand([(0, "visit")], s, leaves_on=10, leave_per_day=0.0)
        assert at(gone, day, 7)["p_churn_latent"] == pytest.approx(chance)


@pytest.mark.parametrize(
    ("age", "late", "horizon", "refund"),
    [
        (1, 0, 7, 10 * 0.5 * 0.5),  # nothing could have come back yet: half the lines will, half their money
        (1, 0, 1, 10 * 0.25 * 0.5),  # the window sees only the first of the two days
        (2, 0, 7, 10 * (1 / 3) * 0.5),  # P(day 2 | not day 1) = .25 / .75
        (2, 1, 7, 10 * 0.25 * 0.5),  # day 1 would not be known yet: only day 2 falls in the window, .25
        (3, 0, 7, 0.0),
    ],
)
def test_pending_refunds_by_hand(age: int, late: int, horizon: int, refund: float) -> None:
    s = Simulate(return_share=0.5, return_within_days=2, return_known_after_days=late)
    one = by_hand([(0, "visit"), (10 - age, "purchase", 10.0)], s, leaves_on=10)
    assert at(one, 10, horizon)["spend_latent"] == pytest.approx(-refund)


def test_a_known_return_leaves_nothing_pending() -> None:
    s = Simulate(return_share=0.5, return_within_days=28)
    one = by_hand([(0, "visit"), (8, "purchase", 10.0)], s, leaves_on=10)
    back = one.log.tail(1).with_columns(
        pl.col("time") + dt.timedelta(days=1), event_type=pl.lit("return"), amount=pl.lit(-5.0)
    )
    assert at(one, 10, 7)["spend_latent"] < 0
    assert at(Simulated(s, pl.concat([one.log, back]), one.latent), 10, 7)["spend_latent"] == 0


def test_kept_share_of_window_orders_by_hand() -> None:
    s = Simulate(return_share=0.5, return_within_days=2, complaint_share=0)
    one = by_hand([(0, "visit")], s, leave_per_day=0.5)
    # of an order on the last window day nothing comes back in time, on the one before half of a quarter, else a quarter
    # (and orders halve from day to day)
    assert at(one, 10, 3)["spend_latent"] == pytest.approx(0.1 * 20 * (0.75 + 0.875 / 2 + 1 / 4))


# --- one customer, by integration ---------------------------------------------------------------
KINDS = ("purchase", "visit", "complaint", "mail", "open", "unsubscribe")
STORIES: dict[str, list[Row]] = {
    "orders": [(0, "visit"), (2, "purchase", 20.0), (2, "purchase", 35.5), (9, "visit"), (11, "purchase", 12.0)],
    "silent": [(0, "visit"), (1, "purchase", 50.0)],
    "prospect": [(0, "visit")],
    "complains": [(0, "visit"), (3, "purchase", 20.0), (3, "complaint"), (8, "purchase", 9.0), (8, "complaint")],
    "coupons": [(0, "visit"), (0, "coupon"), (3, "purchase", 20.0), (5, "visit")],
    "opens": [(0, "visit"), (5, "mail"), (10, "mail"), (10, "open"), (15, "mail"), (15, "open")],
    "unsubscribes": [(0, "visit"), (5, "mail"), (10, "mail"), (10, "open"), (15, "mail"), (15, "unsubscribe")],
}


def integrate(s: Simulate, rows: list[Row], n: int, horizon: int) -> tuple[float, float]:
    """P(no order), E[spend] by adding up every leaving day, order rate and leave rate: no conjugacy, day by day."""
    root = (np.arange(600) + 0.5) / 600  # midpoints of the square roots: finer where the mass is
    rate, leave = 3 * root[:, None] ** 2, root[None, :] ** 2
    prior = rate ** (s.order_shape - 1) * np.exp(-s.order_rate_days * rate) * root[:, None] * root[None, :]
    prior = prior * leave ** (s.leave_a - 1) * (1 - leave) ** (s.leave_b - 1)
    coupon = any(row[1] == "coupon" for row in rows)
    lift = [s.coupon_lift if coupon and day % 84 < 14 else 1.0 for day in range(n + horizon)]
    count = {(day, kind): sum(r[0] == day and r[1] == kind for r in rows) for day in range(n) for kind in KINDS}

    def of_a_day(day: int, active: int) -> Any:
        orders, visits = count[day, "purchase"], count[day, "visit"] - (day == 0)
        got = [count[day, kind] for kind in ("open", "unsubscribe")]
        mail = (0.06, 0.30)[active], (0.02, 0.004)[active]
        like: Any = 1.0
        if count[day, "mail"]:
            like = mail[1] if got[1] else mail[0] if got[0] else 1 - sum(mail)
        if not active:
            return like * float(orders + visits + count[day, "complaint"] == 0)
        like = like * (rate * lift[day]) ** orders * np.exp(-rate * lift[day])
        return like * (rate * s.visits_per_order) ** visits * np.exp(-rate * s.visits_per_order)

    here = prior  # weight of the paths on which the customer is still active
    left = np.zeros_like(prior)
    for day in range(n):
        here, left = here * of_a_day(day, 1), left * of_a_day(day, 0)
        stays = (1 - leave) * (1 - s.complaint_leave_share) ** count[day, "complaint"]
        here, left = here * stays, left + here * (1 - stays)
    total = here.sum() + left.sum()
    quiet, none, money = here, left.copy(), 0.0
    for day in range(n, n + horizon):
        quiet = quiet * np.exp(-rate * lift[day])
        quiet, none = quiet * (1 - leave), none + quiet * leave
    value = s.amount_shape * (s.amount_prior_rate + sum(r[2] for r in rows if len(r) == 3))
    value /= s.amount_prior_shape + s.amount_shape * sum(r[1] == "purchase" for r in rows) - 1
    for day in range(n, n + horizon):
        orders_today = rate * lift[day]
        money += float((here * orders_today).sum() / total) * value
        leaving_by_complaint = 1 - np.exp(-orders_today * s.complaint_share * s.complaint_leave_share)
        here = here * (1 - leave) * (1 - leaving_by_complaint)
    return float((none + quiet).sum() / total), money


@pytest.mark.parametrize("story", STORIES)
def test_bayes_equals_integration(story: str) -> None:
    s = Simulate(order_shape=2, order_rate_days=12, leave_a=2, leave_b=25, coupon_lift=2.5, visits_per_order=0.7,
                 complaint_share=0.4, complaint_leave_share=0.6, return_share=0)  # fmt: skip
    p, spend = integrate(s, STORIES[story], n=20, horizon=14)
    got = at(by_hand(STORIES[story], s), 20, 14)
    assert got["p_churn_bayes"] == pytest.approx(p, abs=1e-6)
    assert got["spend_bayes"] == pytest.approx(spend, rel=1e-5)


# --- a population -------------------------------------------------------------------------------
def test_both_truths_are_calibrated(judged: pl.DataFrame) -> None:
    for name in ("bayes", "latent"):
        p, groups = pl.col(f"p_churn_{name}"), (pl.col(f"p_churn_{name}") * 10).floor()
        by = judged.group_by(groups.alias("bin")).agg(
            n=pl.len(), gap=(pl.col("churned") - p).sum(), sd=(p * (1 - p)).sum().sqrt()
        ).filter((pl.col("n") > 50) & (pl.col("sd") > 1))  # fmt: skip
        assert len(by) >= 9
        assert (by["gap"] / by["sd"]).abs().max() < 3.5  # type: ignore[operator]
        assert abs(float(by["gap"].to_numpy().sum())) < 3 * float(np.linalg.norm(by["sd"]))
        spend = judged["net"] - judged[f"spend_{name}"]
        assert abs(spend.sum()) < 3 * spend.std() * math.sqrt(len(judged))  # type: ignore[operator]


def test_latent_beats_bayes_beats_every_rule(judged: pl.DataFrame) -> None:
    loss = {
        name: -(pl.when("churned").then(p).otherwise(1 - p).clip(1e-12).log()).mean()
        for name, p in (("bayes", pl.col("p_churn_bayes")), ("latent", pl.col("p_churn_latent")))
    }
    losses = judged.select(**loss).row(0, named=True)
    assert losses["latent"] < losses["bayes"]
    buyers = judged.filter(pl.col("silent") <= 112)
    score = {
        c: auc(buyers["churned"], buyers[c]) for c in ("silent", "silent_at_all", "p_churn_bayes", "p_churn_latent")
    }
    score["orders"] = auc(buyers["churned"], -buyers["orders"].cast(pl.Float64))
    score["visits"] = auc(buyers["churned"], -buyers["visits"].cast(pl.Float64))
    best_rule = max(score[c] for c in ("silent", "silent_at_all", "orders", "visits"))
    assert best_rule + 0.02 < score["p_churn_bayes"] < score["p_churn_latent"] - 0.02
    mean_error = [((judged["net"] - judged[f"spend_{name}"]) ** 2).mean() for name in ("latent", "bayes")]
    assert mean_error[0] < mean_error[1] < judged["net"].var()  # type: ignore[operator]


def test_rates_are_the_configured_ones(sim: Simulated) -> None:
    s, day = sim.settings, pl.duration(days=1)
    state = sim.latent.with_columns(
        lived=((pl.min_horizontal("left", pl.lit(sim.ends)) - pl.col("acquired")) / day).cast(pl.Int64)
    )
    exposure = process.cumulative(process.order_lift(s, s.days))
    at_risk = exposure[state["coupons"].cast(pl.Int64).to_numpy(), state["lived"].to_numpy()]
    log = sim.log.join(sim.latent, on="customer_id")
    kinds = dict(log["event_type"].value_counts().iter_rows())
    orders = log.filter(pl.col("event_type") == "purchase")
    n = orders["order_id"].n_unique()

    def near(count: Any, expected: Any) -> bool:
        return bool(abs(count - expected) < 4 * math.sqrt(expected))

    assert state["orders_per_day"].mean() == pytest.approx(s.order_shape / s.order_rate_days, rel=0.03)
    assert state["leave_per_day"].mean() == pytest.approx(s.leave_a / (s.leave_a + s.leave_b), rel=0.03)
    assert state["mean_order_value"].mean() == pytest.approx(30, rel=0.02)  # 6 x 35 / (8 - 1)
    assert near(n, (state["orders_per_day"].to_numpy() * at_risk).sum())
    assert near(kinds["visit"] - len(state), (state["orders_per_day"] * state["lived"]).sum())
    assert near(kinds["complaint"], s.complaint_share * n)
    assert near(state["coupons"].sum(), s.coupon_share * len(state))
    old = orders.filter(pl.col("time") < sim.ends - dt.timedelta(days=s.return_within_days))
    keys = ["order_id", "product_id"]
    returned = old.join(log.filter(pl.col("event_type") == "return"), on=keys, how="semi")
    assert near(len(returned), s.return_share * len(old))
    for active, column in ((True, 1), (False, 0)):
        mails = log.filter((pl.col("time").dt.date() < pl.col("left")) == active)["event_type"].value_counts()
        counts = dict(mails.iter_rows())
        assert near(counts["open"], process.OPEN[column] * counts["mail"])
        assert near(counts["unsubscribe"], process.UNSUBSCRIBE[column] * counts["mail"])
    coupon_day = ((pl.col("time").dt.date() - pl.col("acquired")) / day).cast(pl.Int64) % 84 < 14
    with_coupon = orders.filter("coupons").unique("order_id")
    lifted = with_coupon.filter(coupon_day)["discount"]
    assert (lifted > 0).any() and (with_coupon.filter(~coupon_day)["discount"] == 0).all()


def test_mail_on_the_leaving_day_finds_a_customer_who_left() -> None:
    sim = simulate.simulate(Simulate(customers=6000, leave_a=1, leave_b=4, mail_every_days=1), 1)
    mails = sim.log.join(sim.latent, on="customer_id").with_columns(date=pl.col("time").dt.date())
    for days, chance in ((0, process.OPEN[0]), (1, process.OPEN[1])):  # the leaving day, the day before
        counts = dict(
            mails.filter(pl.col("date") == pl.col("left") - pl.duration(days=days))["event_type"]
            .value_counts()
            .iter_rows()
        )
        assert counts["mail"] > 2000
        assert abs(counts["open"] / counts["mail"] - chance) < 4 * math.sqrt(chance / counts["mail"])


def test_a_complaint_drives_its_share_away(sim: Simulated) -> None:
    first = sim.log.filter(pl.col("event_type") == "complaint").join(sim.latent, on="customer_id")
    day = pl.col("time").dt.date()
    first = first.filter(day < sim.ends - dt.timedelta(days=1))
    gone = (first["left"] == first["time"].dt.date() + dt.timedelta(days=1)).mean()
    sd = math.sqrt(0.25 / len(first))
    assert abs(float(gone) - sim.settings.complaint_leave_share) < 4 * sd + 0.01  # type: ignore[arg-type]


def test_money_and_days(sim: Simulated) -> None:
    log = sim.log.join(sim.latent, on="customer_id").with_columns(date=pl.col("time").dt.date())
    cents = (sim.log["amount"].drop_nulls() * 100).to_numpy()
    assert np.abs(cents - np.rint(cents)).max() < 1e-6
    assert log["date"].min() >= sim.settings.starts and log["date"].max() < sim.ends  # type: ignore[operator]
    assert log.filter(pl.col("event_type").is_in(ACTIVE) & (pl.col("date") >= pl.col("left"))).is_empty()
    assert log.filter(pl.col("date") < pl.col("acquired")).is_empty()
    assert (sim.log.group_by("customer_id").agg(pl.col("time").min().dt.date()).sort("customer_id")["time"]
            == sim.latent["acquired"]).all()  # fmt: skip
    lines = log.filter(pl.col("event_type") == "purchase")
    assert not lines.select("order_id", "product_id").is_duplicated().any()
    orders = lines.group_by("order_id").agg(pl.col("time", "channel", "customer_id").n_unique(), lines=pl.len())
    assert (orders.select("time", "channel", "customer_id").to_numpy() == 1).all() and orders["lines"].max() > 1  # type: ignore[operator]
    back = log.filter(pl.col("event_type") == "return").join(lines, on=["order_id", "product_id"], suffix="_bought")
    assert len(back) == (sim.log["event_type"] == "return").sum()
    part = (-back["amount"] / back["amount_bought"]).filter(back["amount_bought"] > 1)
    assert part.min() > 0.19 and part.max() < 0.81  # type: ignore[operator]
    delay = (back["date"] - back["date_bought"]).dt.total_days()
    assert delay.min() == 1 and delay.max() == sim.settings.return_within_days
    paid = lines.filter(pl.col("discount") > 0)
    assert ((paid["discount"] - paid["amount"] / 9).abs() <= 0.0051).all()


def test_mail_stops_and_coupons_go_on(sim: Simulated) -> None:
    log = sim.log.join(sim.latent, on="customer_id").with_columns(date=pl.col("time").dt.date())
    stopped = log.filter(pl.col("event_type") == "unsubscribe").select("customer_id", stop="date")
    assert not stopped["customer_id"].is_duplicated().any()
    mails = log.filter(pl.col("event_type").is_in(["mail", "open"])).join(stopped, on="customer_id")
    assert (mails["date"] <= mails["stop"]).all()
    coupons = log.filter(pl.col("event_type") == "coupon")
    expected = sum(len(range((sim.ends - day).days)[::84]) for day in sim.latent.filter("coupons")["acquired"])
    assert len(coupons) == expected
    assert ((coupons["date"] - coupons["acquired"]).dt.total_days() % 84 == 0).all()


# --- seeds, chunks, files -----------------------------------------------------------------------
def test_seeds() -> None:
    s = Simulate(customers=300)
    one, same, other = simulate.simulate(s, 5), simulate.simulate(s, 5), simulate.simulate(s, 6)
    assert_frame_equal(one.log, same.log)
    assert_frame_equal(one.latent, same.latent)
    cutoff = START + dt.timedelta(days=400)
    assert_frame_equal(one.truth(cutoff, 56), same.truth(cutoff, 56))
    assert not one.latent.equals(other.latent) and not one.log.equals(other.log)
    assert dict(one.log.schema) == dict(process.LOG_COLUMNS)


def test_truth_reads_nothing_from_the_cutoff_on() -> None:
    sim = simulate.simulate(Simulate(customers=1500), 4)
    cutoff = START + dt.timedelta(days=400)
    past, future = sim.log.filter(pl.col("time") < cutoff), sim.log.filter(pl.col("time") >= cutoff)
    midnight = past.filter(pl.col("event_type") == "purchase").head(500)
    midnight = midnight.with_columns(time=pl.lit(cutoff).cast(pl.Datetime("us")), amount=pl.lit(1e6))
    new = future.with_columns(event_type=pl.lit("complaint"), customer_id=pl.col("customer_id").reverse())
    expected = sim.truth(cutoff, HORIZON)
    for log in (past, pl.concat([past, midnight]), pl.concat([new, past.sample(fraction=1, shuffle=True, seed=1)])):
        assert_frame_equal(Simulated(sim.settings, log, sim.latent).truth(cutoff, HORIZON), expected)
    one_more = past.filter(pl.col("event_type") == "purchase").head(1)
    one_more = one_more.with_columns(time=pl.lit(cutoff).cast(pl.Datetime("us")) - dt.timedelta(microseconds=1))
    changed = Simulated(sim.settings, pl.concat([past, one_more]), sim.latent).truth(cutoff, HORIZON)
    assert (changed["p_churn_bayes"] != expected["p_churn_bayes"]).sum() == 1


def test_returns_known_late() -> None:
    s = Simulate(customers=400, return_known_after_days=3)
    log = simulate.simulate(s, 1).log
    late = log["event_type"] == "return"
    assert ((log["known_at"] - log["time"]).filter(late) == dt.timedelta(days=3)).all() and late.any()
    assert log["known_at"].filter(~late).is_null().all()


def test_chunks_and_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(simulate, "CHUNK_CUSTOMERS", 100)
    s, cutoffs = Simulate(customers=250), [START + dt.timedelta(days=d) for d in (300, 490)]
    whole = simulate.simulate(s, 2)
    assert [len(part.latent) for part in simulate.chunks(s, 2)] == [100, 100, 50]
    assert whole.latent["customer_id"].n_unique() == 250
    simulate.write(simulate.chunks(s, 2), tmp_path / "parts", cutoffs, 56)
    simulate.write(whole, tmp_path / "whole", cutoffs, 56)
    for name in ("log", "latent", "truth"):
        one, other = (pl.read_parquet(tmp_path / folder / f"{name}.parquet") for folder in ("parts", "whole"))
        assert_frame_equal(one, other)
    assert sorted(p.name for p in (tmp_path / "parts").iterdir()) == ["latent.parquet", "log.parquet", "truth.parquet"]
    expected = pl.concat([whole.truth(cutoff, 56) for cutoff in cutoffs])
    assert_frame_equal(pl.read_parquet(tmp_path / "parts" / "truth.parquet"), expected)
    monkeypatch.setattr(truth, "CHUNK_CELLS", 10_000)  # 16 customers at a time
    assert_frame_equal(whole.truth(cutoffs[1], 56), expected.filter(pl.col("cutoff") == cutoffs[1]))


def test_overlay_reads_the_written_log(tmp_path: Path) -> None:
    overlay = yaml.safe_load((Path(__file__).parents[2] / "configs" / "simulator.yaml").read_text())
    overlay["events"]["folder"] = str(tmp_path)
    settings = config.from_dict(overlay)
    one = simulate.simulate(settings.simulate.model_copy(update={"customers": 200}), settings.seed)
    path = Path(settings.events.sources["log"].path or "")
    simulate.write(one, tmp_path / path.parent, [], 56)
    log = events.read_log(settings)
    assert len(log.frame) == len(one.log)
    assert log.frame["amount"].sum() == (one.log["amount"] * 100).round().sum()
    assert log.ends == one.ends


# --- edges --------------------------------------------------------------------------------------
def test_who_is_known() -> None:
    sim = by_hand([(5, "visit")], Simulate())
    assert sim.truth(START + dt.timedelta(days=5), 7).is_empty()
    assert sim.truth(START + dt.timedelta(days=6), 7)["customer_id"].to_list() == ["A"]


@pytest.mark.parametrize(("day", "horizon"), [(0, 7), (547, 7), (100, 0)])
def test_no_truth_outside_the_log(day: int, horizon: int) -> None:
    with pytest.raises(UserError, match="2024-01-01 to 2025-06-30"):
        by_hand([(0, "visit")], Simulate()).truth(START + dt.timedelta(days=day), horizon)


def test_share_of_the_way() -> None:
    assert simulate.share_of_the_way(0.8, 0.9) == pytest.approx(0.75)
    assert simulate.share_of_the_way(0.9, 0.9) == 1
    with pytest.raises(UserError, match="nothing to learn"):
        simulate.share_of_the_way(0.5, 0.5)
