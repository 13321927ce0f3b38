"""Who changes band or value tier between two runs, whose top tenth is whose, and the money of those who move."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl

# Shares of the customers of a cutoff, highest expected spend first; as the tiers of whatif, which go by CLV.
TIERS = {"top 20%": 0.2, "next 30%": 0.5, "rest": 1.0}
TOP = 0.1
ORDER = ["cutoff", "customer_key"]  # ties are broken by the pseudonym, alike in both runs


def bands(both: pl.DataFrame, edges: Sequence[Sequence[float]], names: Sequence[str]) -> dict[str, Any]:
    """Moves between churn bands, each run's by the edges that its own bundle froze."""
    places = [np.searchsorted(np.asarray(e), both[f"churn_{who}"].to_numpy(), "right")
              for who, e in zip("ab", edges, strict=True)]  # fmt: skip
    return _moves(both, places, names) | {"edges": [list(e) for e in edges]}


def tiers(both: pl.DataFrame) -> dict[str, Any]:
    """Moves between value tiers by expected spend, ranked within each cutoff; a part of a customer goes up."""
    ends = [_rank(both, f"spend_{who}") for who in "ab"]
    counts = pl.len().over("cutoff")
    size = both.select(counts).to_series().to_numpy()
    places = [sum((rank >= np.ceil(share * size)).astype(int) for share in list(TIERS.values())[:-1]) for rank in ends]
    return _moves(both, places, list(TIERS))


def top_tenth(both: pl.DataFrame, column: str) -> dict[str, Any]:
    """How many of one run's top tenth by ``column`` are in the other's; 10% would be there by chance."""
    size = both.select(pl.len().over("cutoff")).to_series().to_numpy()
    first, second = (_rank(both, f"{column}_{who}") < np.ceil(TOP * size) for who in "ab")
    shared = int((first & second).sum())
    return {"n": int(first.sum()), "both": shared, "share": shared / int(first.sum())}


def rank_agreement(both: pl.DataFrame, column: str) -> float | None:
    """Spearman's rank correlation of the two runs, over all rows; None where one of them is constant."""
    found = both.select(pl.corr(f"{column}_a", f"{column}_b", method="spearman")).item()
    return None if found is None or not math.isfinite(found) else float(found)


def _rank(both: pl.DataFrame, column: str) -> Any:
    """0 for the highest of each cutoff, in the frame's row order."""
    numbered = both.select(*ORDER, value=column).with_row_index("row")
    ranked = numbered.sort("cutoff", "value", "customer_key", descending=[False, True, False]).with_columns(
        place=pl.int_range(pl.len()).over("cutoff")
    )
    return ranked.sort("row")["place"].to_numpy()


def _moves(both: pl.DataFrame, places: Sequence[Any], names: Sequence[str]) -> dict[str, Any]:
    """Counts and actual spend by (place in A, place in B), and the sums of those who moved."""
    size, (first, second) = len(names), places
    money = both["spend"].to_numpy() if both["spend"].null_count() == 0 else None
    customers, sums = np.zeros((size, size), dtype=int), np.zeros((size, size))
    np.add.at(customers, (first, second), 1)
    moved = first != second
    found: dict[str, Any] = {
        "names": list(names), "customers": customers.tolist(), "moved": int(moved.sum()),
        "moved_share": float(moved.mean()), "up": int((second > first).sum()), "down": int((second < first).sum()),
        "money": None, "moved_money": None, "moved_money_share": None, "moved_expected": None,
    }  # fmt: skip
    if money is not None:
        np.add.at(sums, (first, second), money)
        of_all = float(money[moved].sum() / money.sum()) if money.sum() > 0 else None
        found |= {"money": sums.tolist(), "moved_money": float(money[moved].sum()), "moved_money_share": of_all}
        if both["spend_a"].null_count() == 0 == both["spend_b"].null_count():
            found["moved_expected"] = [float(both[f"spend_{who}"].to_numpy()[moved].sum()) for who in "ab"]
    return found
