"""Where the recipe is good and where not: strata, deciles, the intervals' misses and gains (D12, D20)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl

from churn_clv import features, strata, timeline, training
from churn_clv.backtest._looks import Look, labels_at, pool, rung_at, rung_names
from churn_clv.events import Log
from churn_clv.models import interval

# Attributes with more values than this are no strata, and a stratum below this says nothing.
MOST_VALUES, SMALLEST = 12, 50


def by_stratum(log: Log, looks: Sequence[Look]) -> list[dict[str, Any]]:
    """Skill by number of orders, by the customer's own rhythm, and by every attribute (definition D12)."""
    own = pl.concat([look.judged.test.select("customer_id", "cutoff") for look in looks])
    groups = training.groups(log, own, looks[0].judged.definitions) | attributes(log, own)
    churned, risk = pool(looks, "churned"), pool(looks, "churn_probability")
    money = "spend" in looks[0].judged.targets
    spend, expected = (pool(looks, c) if money else None for c in ("spend", "expected_spend"))
    out = []
    for by, names in groups.items():
        found = strata.table(by, names, own["cutoff"].to_list(), churned, risk, spend, expected)
        out += [row for row in found if row["n"] >= SMALLEST]
    return out


def attributes(log: Log, rows: pl.DataFrame) -> dict[str, list[str]]:
    """Each attribute of few values, as of each row's cutoff: ``attribute:<table>.<column>`` to the rows' values."""
    out = {}
    for table, frame in log.attributes.items():
        known = timeline.attributes_at(frame, rows)
        for column in (c for c in frame.columns if c not in ("customer_id", "valid_from")):
            values = known[column].cast(pl.String).fill_null("unknown")
            if 2 <= values.n_unique() <= MOST_VALUES:
                out[f"attribute:{table}.{column}"] = values.to_list()
    return out


def deciles(looks: Sequence[Look]) -> list[dict[str, Any]]:
    """Expected and actual spend by tenths of the first; none without money."""
    if "spend" not in looks[0].judged.targets:
        return []
    return strata.decile_table(*(pool(looks, c) for c in ("expected_spend", "spend", "churn_probability", "churned")))


def coverage(log: Log, look: Look) -> dict[str, Any]:
    """How often spend lies outside its interval at a cutoff, the tails apart (definition D20)."""
    judged = look.judged
    if judged.interval is None:
        return {"cutoff": look.cutoff.isoformat(), "miss_above": None, "miss_below": None, "worst_decile": None}
    past = timeline.Past(log.frame, judged.test.select("customer_id", "cutoff"))
    orders = features.build(past, judged.definitions, ("purchase_days",))["purchase_days"].to_numpy()
    money, spend = judged.predictions["expected_spend"].to_numpy(), labels_at(look)[1]
    assert spend is not None, "an interval comes with spend"
    found = interval.coverage(judged.interval, money, spend, orders)
    worst = max((d["miss_above"] for d in found["deciles"]), key=lambda share: abs(share - 0.1))
    parts = {"miss_above": found["miss_above"], "miss_below": found["miss_below"], "worst_decile": worst}
    return {"cutoff": look.cutoff.isoformat()} | parts


def gains(looks: Sequence[Look]) -> list[dict[str, Any]]:
    """Share of all churners found in the riskiest tenths, mean over the cutoffs, by rung."""
    curves = {}
    for name in rung_names(looks):
        if all(rung_at(look, name).churn_score is not None for look in looks):
            found = [strata.gains(labels_at(look)[0], np.asarray(rung_at(look, name).churn_score)) for look in looks]
            curves[name] = np.mean(found, axis=0)
    return [{"share": (i + 1) / 10} | {name: float(curve[i]) for name, curve in curves.items()} for i in range(10)]
