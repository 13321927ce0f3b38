"""Score everyone at a cutoff and write it down: Parquet parts per (cutoff, model version), whole or not at all."""

from __future__ import annotations

import datetime as dt

import polars as pl

from churn_clv.bundle import Bundle
from churn_clv.errors import UserError
from churn_clv.events import Log
from churn_clv.log_parts import Extent
from churn_clv.scoring._assemble import PART_ROWS, checksum, with_percentile
from churn_clv.scoring._changes import changes_folder
from churn_clv.scoring._columns import Column, columns, page
from churn_clv.scoring._past import Scoring, last_before, scorings
from churn_clv.scoring._places import MANIFEST, aside, lock_file, mend, parts_of, scores_folder, table_file, work_folder
from churn_clv.scoring._reasons import reasons_folder
from churn_clv.scoring._run import Asked, Scored, check, run
from churn_clv.scoring._stored import stored
from churn_clv.scoring._summary import summary

__all__ = [
    "MANIFEST",
    "PART_ROWS",
    "Asked",
    "Column",
    "Scored",
    "Scoring",
    "aside",
    "changes_folder",
    "check",
    "checksum",
    "columns",
    "last_before",
    "lock_file",
    "mend",
    "page",
    "parts_of",
    "reasons_folder",
    "run",
    "score",
    "scores_folder",
    "scorings",
    "stored",
    "summary",
    "table_file",
    "work_folder",
]


def score(bundle: Bundle, log: Log, cutoff: dt.date | None = None) -> pl.DataFrame:
    """Every known customer of a log held whole at the cutoff (default: its end), with ``percentile_in_scoring``.

    That is the rank of the risk within this scoring, 0 to 100, ties at their middle (definition D22). Raises UserError
    for a cutoff after the log's end, at which nobody's present would be known.
    """
    cutoff = cutoff or log.ends
    check(bundle, Extent(log.rules, log.starts, log.ends, log.frame.height, log.fingerprint), cutoff)
    scored = bundle.score_log(log.frame, cutoff)
    if scored.is_empty():
        raise UserError(f"nobody is known at {cutoff}: no event of the log lies before it. Give a later cutoff.")
    return with_percentile(scored)
