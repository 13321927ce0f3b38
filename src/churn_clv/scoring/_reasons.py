"""Why: the strongest reasons of the highest numbers of a scoring, or of all: churn's and those of own targets."""

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

FILE = Path("reasons.parquet")
CHURN = "churn_probability"
EACH = 3  # reasons of a customer
Say = Callable[[str], None]


def reasons_folder(settings: config.Config) -> Path:
    """Where the reasons of all scorings of a data set lie: ``out``/reasons/<dataset>."""
    return Path(settings.out) / "reasons" / settings.dataset


def highest(parts: Sequence[Path], number: str, most: int | None) -> pl.DataFrame:
    """``customer_id`` and a ``number`` of the ``most`` who have most of it (None: of all who have it), in order.

    Ties are told apart by the id.
    """
    scored = pl.scan_parquet([*parts]).select("customer_id", number).drop_nulls().collect()
    order = scored.sort(number, "customer_id", descending=[True, False])
    return order if most is None else order.head(most)


def write_reasons(
    folder: Path, settings: config.Config, bundle: Bundle, pieces: Sequence[Piece], cutoff: dt.date, most: int | None,
    language: str, say: Say,
) -> dict[str, Any]:  # fmt: skip
    """Explain the scoring in ``folder``: ``reasons.parquet`` of churn, ``reasons-<target>.parquet`` of each own target.

    Each has customer_id, cutoff, the number that is explained and reasons, of those with the highest numbers first.
    """
    own = explain.own_targets(bundle)
    numbers = {None: CHURN} | {h.target: bundle.columns_of(h)[0] for h in bundle.own_heads if h.target in own}
    parts = parts_of(folder)
    asked = {target: highest(parts, number, most) for target, number in numbers.items()}
    ids = pl.concat([table.select("customer_id") for table in asked.values()]).unique()
    found: dict[str | None, list[pl.DataFrame]] = {target: [pl.DataFrame(schema=explain.SCHEMA)] for target in numbers}
    done = 0
    for piece in pieces:
        log = piece.frame()
        here = log["customer_id"].unique().to_frame().join(ids, on="customer_id", how="semi")["customer_id"]
        if not len(here):
            continue
        mine = log.filter(pl.col("customer_id").is_in(here.implode()))
        rows = bundle.rows_of(mine, timeline.pairs_of(here, [cutoff]))
        for target, table in asked.items():
            some = rows.filter(pl.col("customer_id").is_in(table["customer_id"].implode()))
            found[target].append(explain.of_matrix(bundle, some, EACH, language, target))
        done += len(here)
        say(f"reasons: {done:,} of {ids.height:,} customers")
    place = reasons_folder(settings) / folder.parent.name / folder.name
    place.mkdir(parents=True, exist_ok=True)
    told = {}
    for target, table in asked.items():
        path = place / (FILE if target is None else f"{FILE.stem}-{target}{FILE.suffix}")
        whole = table.join(pl.concat(found[target]), on="customer_id", how="left", maintain_order="left")
        with written(path) as draft:
            whole.select("customer_id", "cutoff", numbers[target], "reasons").write_parquet(draft)
        told[target] = {"path": str(path), "rows": whole.height}
    churn = told.pop(None)
    return churn | {"each": EACH, "language": language, "targets": told}
