"""Memberships of the simulator: they change nothing else, and follow their law."""

from __future__ import annotations

import datetime as dt
import hashlib
from functools import cache
from pathlib import Path

import polars as pl
import pytest

from churn_clv import config
from churn_clv.config import Simulate
from churn_clv.simulate import Simulated, membership, simulate

KINDS = ["subscribe", "renew", "cancel"]
TERM = 28


@cache
def made(share: float = 0.5, cancel: float = 0.3, customers: int = 6000) -> Simulated:
    terms = {"membership_share": share, "membership_term_days": TERM, "membership_cancel_share": cancel}
    return simulate(Simulate(customers=customers, **terms), seed=4)  # type: ignore[arg-type]


@cache
def members() -> pl.DataFrame:
    """One row per event of a membership: days since the first contact, days since the opening before, and the state."""
    sim = made()
    rows = (
        sim.log.filter(pl.col("event_type").is_in(KINDS)).join(sim.latent, on="customer_id").sort("customer_id", "time")
    )
    day = pl.col("time").dt.date()
    return rows.with_columns(
        day=(day - pl.col("acquired")).dt.total_days(),
        since=(day - day.shift(1).over("customer_id")).dt.total_days(),
        lived=(pl.col("left") - pl.col("acquired")).dt.total_days(),
        nth=pl.int_range(pl.len()).over("customer_id"),
    )


def test_off_by_default() -> None:
    assert Simulate().membership_share == 0
    assert not set(simulate(Simulate(customers=300), 1).log["event_type"]) & set(KINDS)


def test_the_log_without_them_is_what_it_always_was() -> None:
    """A hash from before there were memberships; another numpy may draw another log, memberships may not."""
    sim = simulate(Simulate(customers=3000), 7)
    assert hashlib.sha256(sim.log.write_csv().encode()).hexdigest()[:20] == "2452aa75dbaf271fd793"


def test_the_rest_of_the_log_is_the_same_with_and_without_them() -> None:
    on, off = made(), made(share=0.0)
    assert on.log.filter(~pl.col("event_type").is_in(KINDS)).equals(off.log) and on.latent.equals(off.latent)
    assert on.log.filter(pl.col("event_type").is_in(KINDS))["amount"].null_count() == on.log.height - off.log.height
    assert made().log.equals(simulate(on.settings, 4).log)


def test_who_subscribes() -> None:
    first = members().filter(pl.col("nth") == 0)
    assert set(first["event_type"]) == {"subscribe"} and set(first["day"]) == {0}
    assert first.height / 6000 == pytest.approx(0.5, abs=0.02)
    assert set(members()["product_id"]) == {"P200", "P201"}
    assert members().group_by("customer_id").agg(pl.col("product_id").n_unique())["product_id"].max() == 1
    assert members().filter(pl.col("event_type") == "subscribe").height == first.height  # nobody subscribes twice


def test_renewals_come_at_the_terms_end_a_few_of_them_late_while_active() -> None:
    renewals = members().filter(pl.col("event_type") == "renew")
    assert renewals["since"].min() == TERM and renewals["since"].max() == TERM + membership.LATE_DAYS
    assert (renewals["since"] > TERM).mean() == pytest.approx(membership.LATE_SHARE, abs=0.01)
    assert (renewals["day"] < renewals["lived"]).all()


def test_cancellations() -> None:
    """Of the active within a term, more of one plan; of those who left, on the day that the term ends."""
    cancels = members().filter(pl.col("event_type") == "cancel")
    assert cancels.height == cancels["customer_id"].n_unique()
    last = members().group_by("customer_id").agg(pl.col("event_type").last())
    assert last.filter(pl.col("event_type") == "cancel").height == cancels.height  # nothing comes after
    within, after = cancels.filter(pl.col("since") < TERM), cancels.filter(pl.col("since") == TERM)
    assert within.height + after.height == cancels.height and within["since"].min() == 1
    assert (within["day"] < within["lived"]).all() and (after["day"] + membership.LATE_DAYS >= after["lived"]).all()
    opened = members().filter(pl.col("event_type") != "cancel")
    for plan, chance in zip(("P200", "P201"), membership.CANCEL_ACTIVE, strict=True):
        terms = opened.filter((pl.col("product_id") == plan) & (pl.col("day") + TERM < pl.col("lived"))
                              & (pl.col("time").dt.date() + dt.timedelta(days=TERM) < made().ends))  # fmt: skip
        cancelled = within.filter(pl.col("product_id") == plan).height
        assert cancelled / terms.height == pytest.approx(chance, abs=0.012)


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_after_leaving_a_term_is_cancelled_or_runs_out(share: float) -> None:
    """Terms that end in the log of members who had left by then, and did not cancel before."""
    sim = made(1.0, share, 3000)
    rows = sim.log.filter(pl.col("event_type").is_in(KINDS)).join(sim.latent, on="customer_id")
    last = (
        rows.filter(pl.col("event_type") != "cancel")
        .group_by("customer_id")
        .agg(pl.col("time").max().dt.date(), pl.col("left").first())
    )
    ended = pl.col("time") + dt.timedelta(days=TERM)
    gone = last.filter((pl.col("left") <= ended) & (ended < sim.ends))
    said = gone.join(rows.filter(pl.col("event_type") == "cancel"), on="customer_id", how="semi").height / gone.height
    assert gone.height > 500 and (said == 1 if share else said < 0.12)


def test_the_overlay_asks_about_them() -> None:
    folder = Path(__file__).parents[2] / "configs"
    own = config.load(folder / "simulator.yaml", folder / "membership.yaml")
    target = own.targets["ended"]
    assert own.simulate.membership_share > 0 and target.population == "contract" and target.contract is not None
    assert target.contract.term_days == own.simulate.membership_term_days
    assert target.contract.grace > membership.LATE_DAYS
