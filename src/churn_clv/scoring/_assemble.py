"""Scored pieces -> the scoring: sorted by customer, with what takes all of them to know, in parts and a manifest."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from churn_clv.disk import flush
from churn_clv.scoring._places import CSV, MANIFEST

PART_ROWS = 100_000
# A part is made of a few rows of every piece: of a file in one block all would be read for them [measured: 2.5 times].
BLOCK_ROWS = 4_096
_BLOCK = 1 << 20
Say = Callable[[str], None]


def with_percentile(scores: pl.DataFrame) -> pl.DataFrame:
    """``percentile_in_scoring``: the rank of the risk among those who have one, 0 to 100, ties at their middle."""
    risk = pl.col("churn_probability")
    middle = (risk.rank("average") - 0.5) / risk.count() * 100
    return scores.with_columns(percentile_in_scoring=middle)


def write_parts(
    pieces: Sequence[Path], folder: Path, finish: Callable[[pl.DataFrame], pl.DataFrame], say: Say,
    rows: int = PART_ROWS, look: Callable[[pl.DataFrame], None] = lambda _: None,
) -> list[dict[str, Any]]:  # fmt: skip
    """Write ``folder``/part-*.parquet of ``rows`` customers each; returns file, rows and sha256 of each.

    ``finish`` adds a part's last columns, ``look`` is shown every part. Each piece is sorted by customer_id, so its
    rows of a part stand together.
    """
    out: list[dict[str, Any]] = []
    done = 0
    for number, frame in enumerate(_merged(pieces, rows)):
        whole = finish(frame)
        look(whole)
        path = folder / f"part-{number:05d}.parquet"
        whole.write_parquet(path)
        flush(path)
        done += whole.height
        out.append({"file": path.name, "rows": whole.height, "sha256": checksum([path])})
        say(f"writing: {done:,} customers")
    return out


def _merged(pieces: Sequence[Path], rows: int) -> Iterator[pl.DataFrame]:
    """All customers in the order of their ids, ``rows`` at a time, with ``percentile_in_scoring``."""
    keys = [pl.scan_ipc(path).select("customer_id", "churn_probability").collect() for path in pieces]
    numbered = [frame.with_columns(piece=pl.lit(i)).with_row_index("at") for i, frame in enumerate(keys)]
    order = with_percentile(pl.concat(numbered)).sort("customer_id")
    for start in range(0, order.height, rows):
        block = order.slice(start, rows)
        spans = block.group_by("piece").agg(first=pl.col("at").min(), last=pl.col("at").max()).sort("piece")
        found = [pl.scan_ipc(pieces[i]).slice(a, b - a + 1) for i, a, b in spans.iter_rows()]
        frame = pl.concat(found).collect().sort("customer_id")
        if not frame["customer_id"].equals(block["customer_id"]):
            raise AssertionError("a scored piece is not sorted by customer_id, or holds a customer of another")
        yield frame.with_columns(block["percentile_in_scoring"])


def write_manifest(folder: Path, manifest: dict[str, Any]) -> None:
    """The last file of a scoring: with it the scoring is complete."""
    path = folder / MANIFEST
    path.write_text(json.dumps(manifest, indent=1), encoding="utf-8")
    flush(path)


def write_csv(parts: Sequence[Path], path: Path) -> None:
    """One CSV of all parts. People read it: 55.3, not 55.300000000000004."""
    with path.open("wb") as file:
        for number, part in enumerate(parts):
            frame = pl.read_parquet(part).with_columns(pl.col("^percentile_.*$").round(3))
            frame.write_csv(file, include_header=number == 0)
    flush(path)


def checksum(paths: Sequence[Path]) -> str:
    """The SHA-256 sum of files, one after the other."""
    digest = hashlib.sha256()
    for path in paths:
        with path.open("rb") as file:
            while block := file.read(_BLOCK):
                digest.update(block)
    return digest.hexdigest()


__all__ = ["CSV", "PART_ROWS", "checksum", "with_percentile", "write_csv", "write_manifest", "write_parts"]
