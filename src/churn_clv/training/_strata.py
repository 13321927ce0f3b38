"""How well each group of customers is predicted at the test cutoff (definition D12)."""

from __future__ import annotations

from typing import Any

import polars as pl

from churn_clv import features, labels, strata, timeline
from churn_clv.events import Log
from churn_clv.timeline import Definitions
from churn_clv.training._judge import Judged


def groups(log: Log, rows: pl.DataFrame, definitions: Definitions) -> dict[str, list[str]]:
    """The stratum of each of ``rows`` (customer_id, cutoff) by number of orders and by the customer's own rhythm."""
    wanted = ("purchase_days", "days_since_last_purchase", "gap_days_median")
    built = features.build(timeline.Past(log.frame, rows), definitions, wanted)
    orders, since, gap = (built[c].to_numpy() for c in wanted)
    return {"orders": strata.by_orders(orders), "rhythm": strata.by_rhythm(since, gap)}


def by_stratum(log: Log, judged: Judged) -> list[dict[str, Any]]:
    """Rows of ``strata.table`` for the judged recipe at its test cutoff."""
    horizon, own = judged.definitions.horizon_days, judged.test.select("customer_id", "cutoff")
    churned, risk = judged.test[labels.column("churned", horizon)], judged.predictions["churn_probability"]
    spend = expected = None
    if "spend" in judged.targets:
        spend = judged.test[labels.column("spend", horizon)].to_numpy()
        expected = judged.predictions["expected_spend"].to_numpy()
    when = own["cutoff"].to_list()
    return [
        row
        for by, names in groups(log, own, judged.definitions).items()
        for row in strata.table(by, names, when, churned.to_numpy(), risk.to_numpy(), spend, expected)
    ]
