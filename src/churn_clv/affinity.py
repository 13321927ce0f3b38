"""What is bought after what, and what a customer buys next (definition D34).

Occasions of one customer follow each other. For an ordered pair (a, b) the question is whether b is in the occasion
after one with a more often than in a random order of this customer's occasions; all customers are added up as by Mantel
and Haenszel (1959). So neither who buys much nor what everyone buys makes a pair. Of all pairs those are kept that
Benjamini and Hochberg (1995) keep at a false-discovery rate.
"""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import polars as pl

from churn_clv import kpis, timeline
from churn_clv.events import Log
from churn_clv.models.predict import Floats

# The commonest items are compared; customers beyond so many are left out by a hash of their id.
MOST_ITEMS, MOST_CUSTOMERS, MOST_PAIRS = 60, 50_000, 20
# A pair needs so many expected; the share of false pairs among those kept; occasions of everyone's taste in a guess.
LEAST_EXPECTED, FALSE_SHARE, PRIOR = 5.0, 0.05, 5.0
TOP = 3
CHUNK = 100_000
RULES = ("popularity", "own", "affinity")


def document(log: Log, end: dt.date, within_days: int) -> dict[str, Any]:
    """``pairs``: ``first``, ``then``, ``times``, ``expected``, ``lift``, ``p``, most significant first; ``tested``.

    ``next``: hit@3 of three rules for the first occasion of the last ``within_days``, learnt before; ``best`` of them.
    ``column`` says whether items are categories or products; ``missing`` where there are none.
    """
    column = "category" if "category" in log.columns else "product_id" if "product_id" in log.columns else None
    if column is None:
        return {"missing": "purchases name neither product nor category", "how": "map product_id or category"}
    lines = _lines(log, end, column)
    baskets = _common(lines)
    items = baskets["item"].unique().sort().to_list()
    out: dict[str, Any] = {"column": column, "items": len(items), "within_days": within_days,
                           "customers": baskets["customer_id"].n_unique()}  # fmt: skip
    if len(items) < 2:
        return out | {"missing": f"purchases have {len(items)} {column} known", "how": f"map {column}"}
    pairs = followed(baskets, items, within_days)
    kept = discovered(pairs)
    return out | {"missing": None, "how": None, "tested": len(pairs), "kept": len(kept), "pairs": kept[:MOST_PAIRS],
                  "next": _judged(log, lines, column, end, within_days)}  # fmt: skip


def next_items(log: Log, end: dt.date, within_days: int, rule: str) -> pl.DataFrame:
    """``customer_id``, ``items``: the three likeliest of each customer's next occasion by a rule of ``RULES``."""
    column = "category" if "category" in log.columns else "product_id"
    baskets = _common(_lines(log, end, column))
    items = baskets["item"].unique().sort().to_list()
    if not items:
        return pl.DataFrame(schema={"customer_id": pl.String, "items": pl.List(pl.String)})
    names, ranked = _guess(baskets, items, within_days)[rule]
    return pl.DataFrame({"customer_id": names, "items": [[items[i] for i in row] for row in ranked]},
                        schema_overrides={"items": pl.List(pl.String)})  # fmt: skip


def _lines(log: Log, end: dt.date, column: str) -> pl.DataFrame:
    """``customer_id``, ``day``, ``item`` of occasions known before ``end``, each once."""
    seen = timeline.seen_before(log.frame, end).filter(pl.col("event_type") == "purchase")
    lines = seen.select("customer_id", day=pl.col("time").dt.date(), item=column).drop_nulls("item").unique()
    return lines.join(timeline.occasion_days(log.frame, end), on=["customer_id", "day"], how="semi").collect()


def _common(held: pl.DataFrame) -> pl.DataFrame:
    """Of lines those of the commonest items; sorted."""
    common = held.group_by("item").agg(who=pl.col("customer_id").n_unique(), occasions=pl.len())
    common = common.sort("who", "occasions", "item", descending=[True, True, False]).head(MOST_ITEMS)
    held = held.join(common.select("item"), on="item", how="semi")
    if held["customer_id"].n_unique() > MOST_CUSTOMERS:
        who = held.select("customer_id").unique().sort(pl.col("customer_id").hash(7)).head(MOST_CUSTOMERS)
        held = held.join(who, on="customer_id", how="semi")
    return held.sort("customer_id", "day", "item")


def followed(baskets: pl.DataFrame, items: list[str], within_days: int) -> list[dict[str, Any]]:
    """Every ordered pair of different items with enough expected: ``first``, ``then``, ``times``, ``expected``,
    ``lift``, ``p`` (one-sided)."""
    times, expected, variance = _tables(baskets, items, within_days)
    out = []
    for i, first in enumerate(items):
        for j, then in enumerate(items):
            if i != j and expected[i, j] >= LEAST_EXPECTED and variance[i, j] > 0:
                z = (times[i, j] - expected[i, j]) / math.sqrt(variance[i, j])
                out.append({
                    "first": first, "then": then, "times": int(times[i, j]), "expected": float(expected[i, j]),
                    "lift": float(times[i, j] / expected[i, j]), "p": 0.5 * math.erfc(z / math.sqrt(2)),
                })  # fmt: skip
    return out


def discovered(pairs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Those that Benjamini and Hochberg keep, most significant first."""
    ordered = sorted(pairs, key=lambda pair: (pair["p"], -pair["lift"], pair["first"], pair["then"]))
    last = max((k for k, pair in enumerate(ordered, 1) if pair["p"] <= FALSE_SHARE * k / len(ordered)), default=0)
    return ordered[:last]


def _tables(
    baskets: pl.DataFrame, items: list[str], within_days: int, spread: bool = True
) -> tuple[Floats, Floats, Floats]:  # fmt: skip
    """(items, items): how often b followed a, how often in a random order of each customer's occasions, its variance.

    Of T occasions with N followings, a on n_a of them, b on n_b, both on n_ab: N (n_a n_b - n_ab) / (T (T - 1)). No
    occasion follows itself; were that forgotten, a random order would seem to alternate. The variance is that of N
    independent draws, N p (1 - p) of each customer: a little more than that of an order. Who always buys both adds
    as many as expected and no variance. It takes .1 ms a customer; not ``spread``: it is left out.
    """
    size = len(items)
    times, expected, less = (np.zeros((size, size)) for _ in range(3))
    for marks, starts, follows in _chains(baskets, items, within_days):
        times += marks[:-1][follows].T @ marks[1:][follows]
        t = np.diff(np.append(starts, len(marks))).astype(float)
        n = np.add.reduceat(np.append(follows, False).astype(float), starts)
        counts = np.add.reduceat(marks, starts, axis=0)
        weight = n / (t * (t - 1))
        expected += (counts * weight[:, None]).T @ counts - (
            marks * np.repeat(weight, t.astype(int))[:, None]
        ).T @ marks
        for own, share, of in zip(np.split(marks, starts[1:]), weight, n, strict=True) if spread else ():
            count = own.sum(axis=0)
            less += (share * (np.outer(count, count) - own.T @ own)) ** 2 / of
    return times, expected, np.maximum(expected - less, 0.0)


def _chains(baskets: pl.DataFrame, items: list[str], within_days: int) -> Iterator[tuple[Floats, Any, Any]]:
    """Occasions that follow another within the days or are followed so, as 0/1 (occasions, items); the row at which
    each customer starts; whether the next row follows. Whole customers at a time.
    """
    days = baskets.group_by("customer_id", "day", maintain_order=True).agg("item")
    wait = (pl.col("day").shift(-1).over("customer_id") - pl.col("day")).dt.total_days()
    days = days.with_columns(follows=(wait <= within_days).fill_null(False))
    before = pl.col("follows").shift(1).over("customer_id").fill_null(False)
    days = days.filter(pl.col("follows") | before).with_columns(who=pl.col("customer_id").rle_id())
    days = days.with_columns(chunk=pl.int_range(pl.len()).first().over("who") // CHUNK)
    for part in days.partition_by("chunk", maintain_order=True):
        who = part["who"].to_numpy()
        starts = np.flatnonzero(np.diff(who, prepend=np.uint32(who[0]) + np.uint32(1)))
        yield _marks(part["item"], items), starts, part["follows"].to_numpy()[:-1]


def _marks(lists: pl.Series, items: list[str]) -> Floats:
    """0/1 (rows, items)."""
    places = pl.DataFrame({"item": lists}).with_row_index("row").explode("item")
    column = places["item"].replace_strict(items, range(len(items)), return_dtype=pl.Int64).to_numpy()
    out = np.zeros((len(lists), len(items)))
    out[places["row"].to_numpy(), column] = 1.0
    return out


# --- what comes next --------------------------------------------------------------------------------
def _guess(baskets: pl.DataFrame, items: list[str], within_days: int) -> dict[str, tuple[list[str], Any]]:
    """By rule: the customers, and of each the places of the three likeliest items.

    popularity: the items most occasions of everyone hold. own: those of most of the customer's own occasions, shrunk to
    everyone's by PRIOR occasions. affinity: own x the mean lift of the items of the last occasion.
    """
    names = baskets["customer_id"].unique().sort().to_list()
    days = baskets.group_by("customer_id", "day", maintain_order=True).agg("item")
    marks = _marks(days["item"], items)
    who = days["customer_id"].rle_id().to_numpy()
    starts = np.flatnonzero(np.diff(who, prepend=np.uint32(1) + np.uint32(who[0])))
    n = np.diff(np.append(starts, len(who))).astype(float)[:, None]
    popular = marks.sum(axis=0) / len(marks)
    own = (np.add.reduceat(marks, starts, axis=0) + PRIOR * popular) / (n + PRIOR)
    last = marks[np.append(starts[1:], len(who)) - 1]
    times, expected, _ = _tables(baskets, items, within_days, spread=False)
    lift = (times + LEAST_EXPECTED) / (expected + LEAST_EXPECTED)
    np.fill_diagonal(lift, 1.0)
    follows = own * (last @ lift) / np.maximum(1.0, last.sum(axis=1, keepdims=True))
    everyone = np.repeat(popular[None, :], len(names), axis=0)
    return {rule: (names, np.argsort(-scores, axis=1, kind="stable")[:, :TOP])
            for rule, scores in zip(RULES, (everyone, own, follows), strict=True)}  # fmt: skip


def _judged(log: Log, lines: pl.DataFrame, column: str, end: dt.date, within_days: int) -> dict[str, Any]:
    """hit@3: is any of the three in the first occasion of the last ``within_days``; learnt from what was known before.

    So are the commonest items. An occasion of other items alone is a miss.
    """
    split = end - dt.timedelta(days=within_days)
    past, later = _common(_lines(log, split, column)), lines.filter(pl.col("day") >= split)
    items = past["item"].unique().sort().to_list()
    first = later.filter(pl.col("day") == pl.col("day").min().over("customer_id"))
    if past.is_empty() or first.is_empty():
        return {"missing": f"nobody bought both before and after {split}", "rules": {}, "best": "own", "n": 0}
    found: dict[str, kpis.Estimate] = {}
    for rule, (names, ranked) in _guess(past, items, within_days).items():
        guess = pl.DataFrame({"customer_id": names, "item": [[items[i] for i in row] for row in ranked]})
        hits = first.join(guess.explode("item"), on=["customer_id", "item"], how="semi")["customer_id"].unique()
        asked = first.select("customer_id").unique().join(guess.select("customer_id"), on="customer_id", how="semi")
        frame = asked.select("customer_id", x=pl.col("customer_id").is_in(hits.implode()).cast(pl.Float64), y=1.0)
        if frame.is_empty():
            return {"missing": f"nobody bought both before and after {split}", "rules": {}, "best": "own", "n": 0}
        estimate = kpis.estimate(kpis.Sample(frame.sort("customer_id"), "bought again"))
        assert estimate is not None
        found[rule] = estimate
    best = max(RULES, key=lambda rule: found[rule].value)
    other = max((r for r in RULES if r != best), key=lambda rule: found[rule].value)
    return {
        "missing": None, "split": split.isoformat(), "n": found["own"].n, "best": best, "next_best": other,
        "p": kpis.p_of_change(found[best], found[other]),
        "rules": {r: {"hit": f.value, "low": f.low, "high": f.high} for r, f in found.items()},
    }  # fmt: skip
