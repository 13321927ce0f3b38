"""``score_valid_until`` against every coming day scored: equal to the bit until then, different on it."""

from __future__ import annotations

import dataclasses
import datetime as dt
import random
from collections.abc import Callable

import polars as pl
import pytest
import tiny
from tiny import TRAINED_THROUGH

from churn_clv import timeline
from churn_clv.bundle import Bundle
from churn_clv.bundle._valid import VALID
from churn_clv.events import canonical
from churn_clv.models.outlook import Outlook
from churn_clv.models.predict import Pool

DAY = dt.timedelta(days=1)
LOOKED = 75  # days: past the longest silence of the eligible and any month
SCORE = ("eligible", "reason", "churn_probability", "churn_probability_7d", "churn_probability_21d", "churn_band",
         "percentile_in_reference", "loss_probability", "expected_spend", "expected_spend_low", "expected_spend_high",
         "expected_orders", "expected_order_value", "next_order_within_7d", "next_order_within_90d", "reliability",
         "active_probability_1m", "active_probability_12m", "clv_3m", "clv_6m", "clv_12m", "clv_24m", "clv_3m_low",
         "clv_6m_high", "clv_extrapolated_share", "margin_rate", "historic_value", "total_value")  # fmt: skip
CUTOFFS = (dt.date(2024, 1, 30), dt.date(2024, 2, 29))


def only_trees(own: Bundle) -> Bundle:
    """The same without the parts that move each day: no renewal model, no regression; orders follow silence alone."""
    (hazard, *others), outlook = own.heads, own.reference.outlook
    assert hazard.pool is not None and outlook is not None
    zeros = (0.0,) * len(outlook.orders.linear.weight)
    orders = dataclasses.replace(outlook.orders, linear=dataclasses.replace(outlook.orders.linear, weight=zeros))
    spend = [dataclasses.replace(h, priced=None) for h in others]
    return dataclasses.replace(
        own,
        heads=(dataclasses.replace(hazard, pool=Pool(None, 0.0, None, 0.0)), *spend),
        reference=dataclasses.replace(own.reference, outlook=Outlook(orders, outlook.silence, outlook.bounds)),
    )


def without_money(own: Bundle) -> Bundle:
    """Nobody's spend is known: of the lapsed and prospects nothing ever moves."""
    kept = tuple(h for h in own.heads if not h.target.startswith("spend"))
    return dataclasses.replace(own, heads=kept, reference=dataclasses.replace(own.reference, retention=None))


def young(own: Bundle) -> Bundle:
    """A log that began two days before the end of training, and 28 are wanted; till then CLV is a mean."""
    starts = dict.fromkeys(tiny.TYPES, TRAINED_THROUGH - 2 * DAY)
    learnt = dataclasses.replace(tiny.RETENTION, spend=tiny.RETENTION.spend | {"history_too_short": 6.0},
                                 money=dict(tiny.RETENTION.money) | {"history_too_short": (1.0, 0.5)})  # fmt: skip
    reference = dataclasses.replace(own.reference, retention=learnt)
    definitions = own.definitions.model_copy(update={"starts": starts})
    return dataclasses.replace(own, definitions=definitions, reference=reference)


def histories(seed: int) -> pl.DataFrame:
    """Random ones with all that a log has, some of it known late, many just active or just lapsed."""
    draw, plain = random.Random(seed), tiny.plain_log(30, seed, TRAINED_THROUGH + 20 * DAY)
    late = [draw.random() < 0.05 for _ in range(plain.height)]
    known = [
        row + draw.randint(1, 60) * DAY if is_late else None for row, is_late in zip(plain["time"], late, strict=True)
    ]
    return plain.with_columns(known_at=pl.Series(known, dtype=pl.Datetime("us")))


@pytest.mark.parametrize("change", [only_trees, without_money, young])
def test_the_score_moves_then_and_not_before(tiny_bundle: Bundle, change: Callable[[Bundle], Bundle]) -> None:
    agrees(change(tiny_bundle), TRAINED_THROUGH, seed=3)


@pytest.mark.parametrize("cutoff", CUTOFFS)
def test_whatever_the_cutoff(tiny_bundle: Bundle, cutoff: dt.date) -> None:
    """At the ends of months too, where the same day some months on is not so many days ahead."""
    agrees(tiny_bundle, cutoff, seed=cutoff.day)


def agrees(own: Bundle, cutoff: dt.date, seed: int) -> None:
    log = canonical(histories(seed), own.definitions.rules)
    told = own.score_log(log, cutoff)
    past = timeline.seen_before(log, cutoff).collect()
    names = told["customer_id"].to_list()
    later = own.predict(own.rows_of(past, timeline.pairs_of(names, [cutoff + k * DAY for k in range(LOOKED)])))
    moved: dict[str, dt.date] = {}
    now: dict[str, tuple[object, ...]] = {}
    for row in later.select("customer_id", "cutoff", *SCORE).iter_rows():
        name, day, score = row[0], row[1], row[2:]
        if now.setdefault(name, score) != score:
            moved.setdefault(name, day)
    end = cutoff + LOOKED * DAY
    for name, day in zip(told["customer_id"], told[VALID], strict=True):
        assert moved.get(name) == (day if day is None or day < end else None), name
    kinds = set(told["reason"])
    assert len(kinds) > 1 and all(v is not None for v, e in zip(told[VALID], told["eligible"], strict=True) if e)


def test_trees_alone_hold_for_days(tiny_bundle: Bundle) -> None:
    """Else the search of the test above would never have gone beyond the first day."""
    own = only_trees(tiny_bundle)
    log = canonical(histories(3), own.definitions.rules)
    told = own.score_log(log, TRAINED_THROUGH).filter("eligible")
    ahead = (told[VALID] - TRAINED_THROUGH).dt.total_days()
    assert ahead.min() == 1 and (ahead > 1).sum() > 3
    without_log = own.predict(own.rows_of(log, told.select("customer_id", "cutoff")))
    assert set(without_log[VALID]) == {TRAINED_THROUGH + DAY}  # never later than the first day it may move


def test_a_matrix_without_the_silence_is_looked_at_day_by_day(tiny_bundle: Bundle) -> None:
    """Who is too young a customer of the log lapses by a silence that the features need not hold."""
    own = young(tiny_bundle)
    log = canonical(histories(3), own.definitions.rules)
    some = log["customer_id"].unique().sort().head(14)
    rows = own.rows_of(log, timeline.pairs_of(some, [TRAINED_THROUGH]))
    scored = own.predict(rows, log)
    short = rows.filter(pl.col("reason") == "history_too_short").drop("days_since_last_purchase")
    told = scored.filter(pl.col("reason") == "history_too_short")
    none = own.values(rows.head(0))
    assert own._ageing.column(short, told, none, log).to_list() == told[VALID].to_list()
    assert own._ageing.column(short, told, none, None).to_list() == [TRAINED_THROUGH + DAY] * short.height
    assert told[VALID].n_unique() > 1


def test_nobody_known_is_no_row(tiny_bundle: Bundle) -> None:
    log = canonical(histories(3), tiny_bundle.definitions.rules)
    assert tiny_bundle.score_log(log, tiny.START).is_empty()
