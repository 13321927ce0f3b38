"""What changed: the customer's last window against the one before, and the silence against the own gap."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from churn_clv import explain, features, segments, timeline
from churn_clv.timeline import Definitions

SILENCE, COUNT, ORDERS, SPEND = "days_since_last_purchase", "count", "orders", "spend"
GAP = "gap_days_median"
# Money has no exact test like a count's: it is told where it at least halved. A rise is no warning.
FELL_TO = 0.5
MONEY = ("purchase", "return")


@dataclass(frozen=True)
class Change:
    """One thing that is not as it was. ``what``: days_since_last_purchase, orders, spend or a type of event.

    ``before`` and ``after`` are of the two windows; of the silence the usual gap and the days so far. ``chance``: how
    likely so uneven a split is if nothing changed; null for money and silence.
    """

    what: str
    before: float
    after: float
    chance: float | None

    def told(self) -> dict[str, Any]:
        """For a document."""
        return {"what": self.what, "before": self.before, "after": self.after, "chance": self.chance}


def found(past: timeline.Past, definitions: Definitions, p: float, most: int) -> list[list[Change]]:
    """Of each pair of ``past``, in its order, at most ``most`` changes: the silence first, then the least likely.

    A count (orders, and each type of event besides purchases and returns) is told where one fair coin per event would
    split them so unevenly with a chance below ``p`` (``segments.critical``); a window that starts before the log is not
    compared.
    """
    days = definitions.horizon_window_days
    silent = features.build(past, definitions, (SILENCE, GAP))
    counts, money = _counts(past, days), _orders(past, days)
    out: list[list[Change]] = []
    for row, (cutoff, since, gap) in enumerate(silent.select("cutoff", SILENCE, GAP).iter_rows()):
        known = {k for k, start in definitions.starts.items() if (cutoff - start).days >= 2 * days}
        own = [Change(SILENCE, gap, since, None)] if gap is not None and since is not None and since > gap else []
        told = {k: pair for k, pair in counts.get(row, {}).items() if k in known}
        if "purchase" in known and row in money:
            told[ORDERS] = money[row][:2]
        own += _uneven(told, p)
        if "purchase" in known and row in money and "amount" in definitions.columns:
            own += _spent(money[row][2:], 10**definitions.rules.minor_units)
        out.append(own[:most])
    return out


def _uneven(counts: dict[str, tuple[int, int]], p: float) -> list[Change]:
    rows = []
    for what, (before, after) in counts.items():
        few = min(before, after)
        if few <= segments.critical(before + after, p) and before != after:
            rows.append(Change(what, float(before), float(after), _chance(before + after, few)))
    return sorted(rows, key=lambda c: (c.chance, c.what))


def _chance(events: int, few: int) -> float:
    """P(at most ``few`` of ``events`` fair coins)."""
    total, term = 0, 1
    for k in range(few + 1):
        total += term
        term = term * (events - k) // (k + 1)
    return float(total / 2**events)


def _spent(pair: tuple[int, int], unit: int) -> list[Change]:
    before, after = max(pair[0], 0), max(pair[1], 0)
    if before == 0 or after > FELL_TO * before:
        return []
    return [Change(SPEND, before / unit, after / unit, None)]


def _windows(days: int) -> tuple[pl.Expr, pl.Expr]:
    age = pl.col("age_days")
    return (age > days) & (age <= 2 * days), age <= days


def _counts(past: timeline.Past, days: int) -> dict[int, dict[str, tuple[int, int]]]:
    """Row -> type of event (neither purchases nor returns) -> events in the window before and in the last one."""
    before, after = _windows(days)
    every = past.by("event_type", where=~pl.col("event_type").is_in(MONEY), sums={"events": pl.lit(1)})
    rows = past.collect(
        every.group_by("row", "event_type").agg(
            pl.col("events").filter(before).sum().alias("before"), pl.col("events").filter(after).sum().alias("after")
        )
    )
    out: dict[int, dict[str, tuple[int, int]]] = {}
    for row, kind, one, other in rows.sort("row", "event_type").iter_rows():
        out.setdefault(row, {})[kind] = (one, other)
    return out


def _orders(past: timeline.Past, days: int) -> dict[int, tuple[int, int, int, int]]:
    """Row -> purchase days before and after, net money in minor units before and after."""
    parts = []
    for name, of in (("orders", pl.col("occasion").cast(pl.Int64)), ("net", pl.col("net"))):
        parts += [of.filter(window).sum().alias(f"{name}{i}") for i, window in enumerate(_windows(days))]
    rows = past.collect(features.grain(past, "days").group_by("row").agg(parts))
    return {row: (a, b, c or 0, d or 0) for row, a, b, c, d in rows.iter_rows()}


def words(changes: Sequence[Change], language: str, currency: str) -> str:
    """The changes as one sentence: "no purchase for 74 days against a usual 30; open 6 to 0"."""
    return explain.phrases(language).changed([(c.what, c.before, c.after) for c in changes], currency)
