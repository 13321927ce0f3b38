"""One customer's numbers depend on that customer's events alone: not on others, order, batch, threads or cutoffs."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from pathlib import Path

import drawn
import numpy as np
import oracle
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from churn_clv import bundle, config, events, golden, matrix, timeline
from churn_clv.simulate import simulate

ROOT = Path(__file__).parents[2]
ALL = drawn.WAYS["all"]


def rows_of(rows: pl.DataFrame, customers: list[str]) -> pl.DataFrame:
    return rows.filter(pl.col("customer_id").is_in(customers))


def each_alone_equals_batch(
    frame: pl.DataFrame, customers: list[str], batch: pl.DataFrame, d: timeline.Definitions
) -> None:
    """The law: a customer asked about alone, from their own events, gets the batch's row to the last bit."""
    for customer in customers:
        own, pairs = (
            frame.filter(customer_id=customer),
            batch.filter(customer_id=customer).select("customer_id", "cutoff"),
        )
        found = matrix.build(own, pairs, d)
        assert found.equals(batch.filter(customer_id=customer)), differing(found, batch.filter(customer_id=customer))


def differing(found: pl.DataFrame, expected: pl.DataFrame) -> str:
    wrong = [c for c in found.columns if not found[c].equals(expected[c])]
    return "; ".join(f"{c}: {found[c].to_list()} != {expected[c].to_list()}" for c in wrong[:5])


# --- others and order ---------------------------------------------------------------------------
@given(mine=drawn.drawn(ALL), seed=st.integers(0, 10**6))
@settings(max_examples=15, deadline=None)
def test_others_and_order_do_not_matter_drawn(mine: list[oracle.Event], seed: int) -> None:
    others = drawn.histories(drawn.seeded(seed), ALL, ["other 1", "zz", ""], 20)
    together = random.Random(seed).sample([*mine, *others], len(mine) + len(others))
    expected = drawn.matrix_of(mine, ALL, drawn.CUTOFFS)
    found = rows_of(drawn.matrix_of(together, ALL, drawn.CUTOFFS), list({e["customer_id"] for e in mine}))
    assert found.equals(expected), differing(found, expected)


def test_row_order_does_not_matter_in_bulk() -> None:
    mine = drawn.bulk(4, 200, ALL, 14)
    expected = drawn.matrix_of(mine, ALL, drawn.CUTOFFS)
    for seed in range(3):
        found = drawn.matrix_of(random.Random(seed).sample(mine, len(mine)), ALL, drawn.CUTOFFS)
        assert found.equals(expected), differing(found, expected)


def test_late_knowledge_of_one_customer_does_not_touch_another() -> None:
    """A log without late events is read by a shorter way: both ways give one answer."""
    prompt = [e | {"known_at": None} for e in drawn.bulk(6, 100, ALL)]
    late = prompt[0] | {"customer_id": "late", "known_at": oracle.midnight(drawn.CUTOFF)}
    expected = drawn.matrix_of(prompt, ALL, drawn.CUTOFFS)
    found = drawn.matrix_of([*prompt, late], ALL, drawn.CUTOFFS).filter(pl.col("customer_id") != "late")
    assert found.equals(expected), differing(found, expected)


# --- cutoffs ------------------------------------------------------------------------------------
def test_several_cutoffs_in_one_call_equal_the_calls_one_by_one() -> None:
    mine = drawn.bulk(7, 150, ALL)
    together = drawn.matrix_of(mine, ALL, drawn.CUTOFFS)
    assert together.equals(pl.concat(drawn.matrix_of(mine, ALL, [c]) for c in drawn.CUTOFFS))


def test_customers_may_have_different_cutoffs_in_one_call() -> None:
    mine = drawn.bulk(8, 150, ALL)
    every = drawn.matrix_of(mine, ALL, drawn.CUTOFFS)
    pairs = every.select("customer_id", "cutoff").sample(fraction=0.4, seed=8, shuffle=True)
    assert pairs["cutoff"].n_unique() == len(drawn.CUTOFFS)
    found = matrix.build(drawn.frame(mine), pairs, ALL)
    expected = every.join(pairs, on=["customer_id", "cutoff"], how="semi", maintain_order="left")
    assert found.equals(expected), differing(found, expected)


def test_eligible_only_gives_the_eligible_rows_of_the_whole() -> None:
    mine = drawn.bulk(9, 200, ALL)
    pairs = timeline.pairs_of({e["customer_id"] for e in mine}, drawn.CUTOFFS)
    whole = matrix.build(drawn.frame(mine), pairs, ALL)
    only = matrix.build(drawn.frame(mine), pairs.sample(fraction=1, shuffle=True, seed=1), ALL, eligible_only=True)
    assert 0 < only.height < whole.height
    assert only.equals(whole.filter("eligible"))


# --- one customer and a batch -------------------------------------------------------------------
@pytest.mark.parametrize("way", drawn.WAYS)
def test_one_customer_equals_the_batch(way: str) -> None:
    d = drawn.WAYS[way]
    frame = drawn.frame(drawn.bulk(10, 60, d, 14))
    batch = matrix.build(frame, timeline.pairs_of(frame["customer_id"], drawn.CUTOFFS), d)
    customers = batch["customer_id"].unique().sort().to_list()[:12]
    each_alone_equals_batch(frame, customers, batch, d)
    # and at one cutoff: a matrix of a single row
    for customer in customers:
        one = batch.filter(customer_id=customer).head(1)
        found = matrix.build(frame.filter(customer_id=customer), one.select("customer_id", "cutoff"), d)
        assert found.equals(one), differing(found, one)


def test_simulated_customers_equal_the_batch_in_features_and_margins(tiny_bundle: bundle.Bundle) -> None:
    """Features and raw margins to the bit, for customers as the simulator makes them."""
    settings_ = config.from_dict({"dataset": "sim", "simulate": {"customers": 300, "days": 400}})
    made = simulate(settings_.simulate, 3)
    log = events.from_frame(made.log, events.rules_of(settings_.events), made.ends)
    d = tiny_bundle.definitions.model_copy(
        update={"starts": dict.fromkeys(tiny_bundle.definitions.starts, settings_.simulate.starts)}
    )
    frame = log.frame.filter(pl.col("event_type").is_in(d.event_types))
    batch = matrix.build(frame, timeline.pairs_of(frame["customer_id"], [made.ends]), d)
    customers = random.Random(1).sample(batch["customer_id"].to_list(), 30)
    each_alone_equals_batch(frame, customers, batch, d)
    for head in tiny_bundle.heads:
        margins = head.margin(tiny_bundle.values(batch, head))
        assert len(np.unique(margins)) > 5
        for customer in customers:
            row = batch.filter(customer_id=customer)
            at = batch["customer_id"].index_of(customer)
            alone = head.margin(tiny_bundle.values(row, head))
            assert alone.tobytes() == margins[..., at : at + 1].tobytes()


def test_golden_customers_alone_equal_the_golden_batch() -> None:
    frame, cutoff = golden.histories(ALL)
    batch = matrix.build(frame, timeline.pairs_of(frame["customer_id"], [cutoff]), ALL)
    assert batch.height == golden.CUSTOMERS
    each_alone_equals_batch(frame, batch["customer_id"].to_list(), batch, ALL)


# --- at scale -----------------------------------------------------------------------------------
def digest_with(threads: int, customers: int) -> str:
    """The matrix's digest from a process with so many Polars threads."""
    code = f"import drawn; print(drawn.digest(drawn.many({customers})))"
    path = os.pathsep.join([str(ROOT / "tests"), *(p for p in sys.path if p)])
    environment = os.environ | {"POLARS_MAX_THREADS": str(threads), "PYTHONPATH": path}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def parity(customers: int, alone: int, folder: Path) -> None:
    """The law at scale: threads, file or frame, the others there or not, alone or in a batch."""
    log, d = drawn.many(customers), drawn.definitions()
    expected = drawn.digest(log)
    assert digest_with(1, customers) == expected
    assert digest_with(2, customers) == expected
    log.write_parquet(folder / "log.parquet", row_group_size=log.height // 7)
    assert drawn.digest(pl.scan_parquet(folder / "log.parquet").collect()) == expected
    assert drawn.digest(pl.concat([log[1::2], log[::2]], rechunk=False)) == expected
    half = sorted(set(log["customer_id"]))[::2]
    kept = log.filter(pl.col("customer_id").is_in(half))
    assert drawn.digest(kept) == drawn.digest(log, half) != expected
    batch = matrix.build(log, timeline.pairs_of(log["customer_id"], drawn.CUTOFFS[:1]), d)
    each_alone_equals_batch(log, random.Random(2).sample(batch["customer_id"].to_list(), alone), batch, d)


def test_parity_of_ten_thousand(tmp_path: Path) -> None:
    parity(10_000, 20, tmp_path)


@pytest.mark.soak
def test_parity_of_a_hundred_thousand(tmp_path: Path) -> None:
    parity(100_000, 100, tmp_path)
