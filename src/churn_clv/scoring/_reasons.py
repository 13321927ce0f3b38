"""Why: the strongest reasons of the riskiest customers of a scoring, or of all who have a score."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from churn_clv import config, explain, timeline
from churn_clv.bundle import Bundle
from churn_clv.disk import written
from churn_clv.scoring._pieces import Piece
from churn_clv.scoring._places import parts_of

FILE = "reasons.parquet"
EACH = 3  # reasons of a customer
Say = Callable[[str], None]


def reasons_folder(settings: config.Config) -> Path:
    """Where the reasons of all scorings of a data set lie: ``out``/reasons/<dataset>."""
    return Path(settings.out) / "reasons" / settings.dataset


def riskiest(parts: Sequence[Path], most: int | None) -> pl.DataFrame:
    """``customer_id`` and ``churn_probability`` of the ``most`` likely to lapse (None: of all with a score), in order.

    Ties are told apart by the id.
    """
    scored = pl.scan_parquet([*parts]).select("customer_id", "churn_probability").drop_nulls().collect()
    order = scored.sort("churn_probability", "customer_id", descending=[True, False])
    return order if most is None else order.head(most)


def write_reasons(
    target: Path, settings: config.Config, bundle: Bundle, pieces: Sequence[Piece], cutoff: dt.date, most: int | None,
    language: str, say: Say,
) -> dict[str, Any]:  # fmt: skip
    """Explain them and write ``reasons.parquet``: customer_id, cutoff, churn_probability, reasons; riskiest first."""
    asked = riskiest(parts_of(target), most)
    found = []
    for piece in pieces:
        log = piece.frame()
        own = log["customer_id"].unique().to_frame().join(asked, on="customer_id", how="semi")["customer_id"]
        if len(own):
            mine = log.filter(pl.col("customer_id").is_in(own.implode()))
            found.append(explain.frame(bundle, mine, timeline.pairs_of(own, [cutoff]), EACH, language))
            say(f"reasons: {sum(f.height for f in found):,} of {asked.height:,} customers")
    empty = pl.DataFrame(schema=explain.SCHEMA)
    table = asked.join(pl.concat(found) if found else empty, on="customer_id", how="left", maintain_order="left")
    path = reasons_folder(settings) / target.parent.name / target.name / FILE
    path.parent.mkdir(parents=True, exist_ok=True)
    with written(path) as draft:
        table.select("customer_id", "cutoff", "churn_probability", "reasons").write_parquet(draft)
    return {"path": str(path), "rows": table.height, "each": EACH, "language": language}
