"""The SQL table of scores: one row per customer, the current answer, in SQLite or PostgreSQL (docs/scores.md).

A scoring replaces the one before in one step; a reader sees the old or the new one, never a mix. The service reads it
through ``open_reader``; only ``publish`` and ``forget`` write.
"""

from __future__ import annotations

from churn_clv.scoretable._address import ENVIRONMENT, address_of
from churn_clv.scoretable._answers import answers, spliced, unknown_answer
from churn_clv.scoretable._rows import COLUMNS, Current, rows_of
from churn_clv.scoretable._tables import Reader, TableError, current, forget, open_reader, publish

__all__ = [
    "COLUMNS",
    "ENVIRONMENT",
    "Current",
    "Reader",
    "TableError",
    "address_of",
    "answers",
    "current",
    "forget",
    "open_reader",
    "publish",
    "rows_of",
    "spliced",
    "unknown_answer",
]
