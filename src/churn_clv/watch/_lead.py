"""How many days earlier than the recency rule a list names who lapses, at as many alerts (definition D32)."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl
from scipy import stats

MOST_APART, FEWEST = 7, 8  # days between cutoffs, and cutoffs
CONFIDENCE = 0.95
EPISODE = ("customer_id", "began")


def lead(past: Sequence[pl.DataFrame], capacity: int) -> dict[str, Any] | None:
    """Of the watch list (``watch``) and of the likeliest to lapse (``risk``): ``alerts``, ``precision``, and the lead.

    ``past``: rows of ``outcomes`` by cutoff, earliest first; None where they are too few or too far apart. An episode
    is a silence, named once, on the first cutoff on which it is among the ``capacity``. The recency rule names whoever
    has been silent for ``silent_days``, so many that it raises as many alerts (of equals the fewest). ``median_days``:
    by how much later it names the episodes that ended in a lapse, with a distribution-free interval. What either named
    at the first cutoff, or before it, is left out: since when is not known.
    """
    past = [*{rows["cutoff"][0]: rows for rows in past}.values()]  # of two scorings of one day the last
    days = [rows["cutoff"][0] for rows in past]
    apart = max(((b - a).days for a, b in itertools.pairwise(days)), default=0)
    if len(days) < FEWEST or apart > MOST_APART:
        return None
    rows = pl.concat([part.select("customer_id", "cutoff", "by", "risk", "silent", "lapsed") for part in past])
    rows = rows.with_columns(pl.col("silent").cast(pl.Int64))
    rows = rows.with_columns(began=pl.col("cutoff") - pl.duration(days=pl.col("silent")))
    found = {name: _list(rows, by, capacity) for name, by in (("watch", "by"), ("risk", "risk"))}
    return {"cutoffs": len(days), "first": days[0].isoformat(), "last": days[-1].isoformat(), "apart": apart} | found


def _list(rows: pl.DataFrame, by: str, capacity: int) -> dict[str, Any]:
    order = rows.sort("cutoff", by, "customer_id", descending=[False, True, False], nulls_last=True)
    top = order.group_by("cutoff", maintain_order=True).head(capacity)
    ended = rows.group_by(EPISODE).agg(lapsed=pl.col("lapsed").max())
    own = _named(top, rows).join(ended, on=EPISODE)
    silent, rule = _rule(rows, own.height)
    rule = rule.join(ended, on=EPISODE)
    lapsed = own.filter(pl.col("lapsed") == 1).with_columns(then=pl.col("began") + pl.duration(days=silent))
    # the rule must have named it, and not before the first day
    lasting = rows.group_by(EPISODE).agg(reached=pl.col("silent").max())
    late = lapsed.join(lasting, on=EPISODE).filter(pl.col("then") > rows["cutoff"].min())
    both = late.filter(pl.col("reached") >= silent)
    ahead = (both["then"] - both["named"]).dt.total_days().sort().to_numpy()
    low, high = _middle(ahead)
    missed = rule.filter(pl.col("lapsed") == 1).join(own, on=EPISODE, how="anti").height
    return {
        "alerts": own.height, "precision": own["lapsed"].mean(), "silent_days": silent, "rule_alerts": rule.height,
        "rule_precision": rule["lapsed"].mean(), "named_by_both": len(ahead),
        "not_by_the_rule": late.height - len(ahead),
        "by_the_rule_alone": missed, "median_days": float(np.median(ahead)) if len(ahead) else None, "low": low,
        "high": high, "earlier": int((ahead > 0).sum()), "later": int((ahead < 0).sum()),
    }  # fmt: skip


def _named(top: pl.DataFrame, rows: pl.DataFrame) -> pl.DataFrame:
    """EPISODE and the cutoff on which it was first ``named``, without those of the first cutoff."""
    first = top.group_by(EPISODE).agg(named=pl.col("cutoff").min())
    return first.filter(pl.col("named") > rows["cutoff"].min())


def _rule(rows: pl.DataFrame, alerts: int) -> tuple[int, pl.DataFrame]:
    """So many silent days that most nearly so many alerts are raised, and these."""
    ends = rows.group_by(EPISODE).agg(most=pl.col("silent").max(), least=pl.col("silent").min(),
                                      first=pl.col("cutoff").min())  # fmt: skip
    there = ends["first"] == rows["cutoff"].min()
    # an episode that is there on the first day is new to a rule that it does not meet yet
    begins = np.where(there.to_numpy(), ends["least"].to_numpy(), 0)
    most = ends["most"].to_numpy()
    days = np.arange(1, int(most.max()) + 1)
    count = np.array([((most >= d) & (begins < d)).sum() for d in days])
    silent = int(days[np.abs(count - alerts).argmin()])
    return silent, ends.filter(pl.Series((most >= silent) & (begins < silent))).select(EPISODE)


def _middle(ahead: np.ndarray[Any, Any]) -> tuple[float | None, float | None]:
    """Distribution-free interval of the median from sorted values; None where there are too few."""
    n = len(ahead)
    k = int(stats.binom.ppf((1 - CONFIDENCE) / 2, n, 0.5)) if n else 0
    return (float(ahead[k - 1]), float(ahead[n - k])) if k >= 1 else (None, None)
