"""Out-of-sample scores of the past: stored scorings, and what the champion was judged on."""

from __future__ import annotations

import datetime as dt

import polars as pl

from churn_clv import config, scoring
from churn_clv.pseudonym import id_key, pseudonyms
from churn_clv.watch._record import Earlier

SCORED, JUDGED = "stored scoring", "out-of-time predictions"
COLUMNS = ("customer_id", "churn_probability", "expected_spend")


def of_scorings(settings: config.Config, horizon_days: int, before: dt.date) -> list[Earlier]:
    """The stored scorings of that horizon and of cutoffs before ``before`` that are not in sample: of each cutoff the
    one written last. One that cannot be read is left out."""
    found: dict[dt.date, Earlier] = {}
    for one in scoring.scorings(scoring.scores_folder(settings)):
        told = one.manifest
        if told["horizon_days"] != horizon_days or told.get("in_sample", True) or one.cutoff >= before:
            continue
        try:
            every = pl.scan_parquet(scoring.parts_of(one.folder), hive_partitioning=False)
            held = every.collect_schema().names()
            rows = every.filter("eligible").select(c for c in COLUMNS if c in held).collect()
        except (OSError, pl.exceptions.PolarsError):
            continue
        found[one.cutoff] = Earlier(one.cutoff, SCORED, rows)
    return [found[day] for day in sorted(found)]


def of_predictions(settings: config.Config, stored: pl.DataFrame, ids: pl.Series) -> list[Earlier]:
    """A run's out-of-time predictions (``customer_key``, ``cutoff``, ...) with the ids of the log put back.

    Whom the log no longer has, or another key hid, is left out.
    """
    names = ids.unique().sort()
    known = pl.DataFrame({"customer_id": names, "customer_key": pseudonyms(names, id_key(settings.out))})
    rows = stored.join(known, on="customer_key").filter(pl.col("churn_probability").is_not_null())
    return [
        Earlier(day, JUDGED, own.select(c for c in COLUMNS if c in own.columns))
        for (day,), own in sorted(rows.partition_by("cutoff", as_dict=True).items())
        if isinstance(day, dt.date)
    ]
