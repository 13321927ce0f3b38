"""Reading a bounded sample of a file whose format and separator nobody has stated."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from churn_clv.errors import UserError
from churn_clv.sources import COMPRESSIONS, SUFFIXES, Format

SAMPLE_LINES = 10_000
# One or two columns are read further than the sample: to tell days from months, and to measure gaps.
LONG_LINES = 1_000_000
SEPARATORS = (",", ";", "\t", "|")
_VALUE = re.compile(
    r"^\s*([-+]?\d+([.,]\d+)*|\d{4}-\d{2}-\d{2}.*|\d{1,2}[/.]\d{1,2}[/.]\d{2,4}.*|\S+@\S+)(_duplicated_\d+)?\s*$"
)


@dataclass(frozen=True)
class Sample:
    """The first lines of a file. ``whole``: that is all of it. ``stated``: whether its name tells its format."""

    path: Path
    format: Format
    separator: str
    stated: bool
    frame: pl.DataFrame

    @property
    def whole(self) -> bool:
        """Whether the sample is the whole file."""
        return self.frame.height < SAMPLE_LINES

    def columns(self, *names: str) -> pl.DataFrame:
        """Some columns of up to LONG_LINES lines."""
        if self.whole:
            return self.frame.select(names)
        try:
            return self._scan().select(names).head(LONG_LINES).collect()
        except (pl.exceptions.PolarsError, OSError) as error:
            raise unreadable(self.path, self.format, error) from None

    def _scan(self) -> pl.LazyFrame:
        if self.format == "parquet":
            return pl.scan_parquet(self.path, glob=False)
        if self.format == "jsonl":
            return pl.scan_ndjson(self.path, infer_schema_length=SAMPLE_LINES)
        return pl.scan_csv(self.path, separator=self.separator, infer_schema=False, glob=False)


def read(path: Path) -> Sample:
    """The sample of a file. Raises UserError where it is missing, empty, unreadable or has no header."""
    if not path.is_file():
        kind = "is a folder, not a file" if path.is_dir() else "was not found"
        raise UserError(f"{path} {kind}. Give the path of a CSV, Parquet or JSON Lines file.")
    if path.stat().st_size == 0:
        raise UserError(f"{path} is empty. Give a file with a header and lines.")
    file_format, stated = _format(path)
    try:
        separator, frame = _frame(path, file_format)
    except (pl.exceptions.PolarsError, OSError, ValueError) as error:
        raise unreadable(path, file_format, error) from None
    if frame.height == 0:
        raise UserError(f"{path} has {frame.width} columns and no lines: nothing to guess from.")
    if file_format == "csv":
        _check_header(path, frame)
    return Sample(path, file_format, separator, stated, frame)


def unreadable(path: Path, file_format: Format, error: Exception) -> UserError:
    """What a user can do about an unreadable file. The reader's own words may quote data: only their kind is told."""
    return UserError(
        f"{path} cannot be read as {file_format} ({type(error).__name__}). Check that it is whole, that text is UTF-8, "
        "and that every line has the header's columns."
    )


def _format(path: Path) -> tuple[Format, bool]:
    """By the file's name, else by its first bytes; and whether the name told it."""
    suffixes = [s.lower() for s in path.suffixes if s.lower() not in COMPRESSIONS]
    if suffixes and suffixes[-1] in SUFFIXES:
        return SUFFIXES[suffixes[-1]], True
    try:
        with path.open("rb") as file:
            head = file.read(64).lstrip()
    except OSError as error:
        raise unreadable(path, "csv", error) from None
    if head.startswith(b"["):
        raise UserError(f"{path} is one JSON list. Write JSON Lines: one object on each line.")
    return ("parquet" if head.startswith(b"PAR1") else "jsonl" if head.startswith(b"{") else "csv"), False


def _frame(path: Path, file_format: Format) -> tuple[str, pl.DataFrame]:
    if file_format == "parquet":
        return ",", pl.scan_parquet(path, glob=False).head(SAMPLE_LINES).collect()
    if file_format == "jsonl":
        return ",", pl.read_ndjson(path, n_rows=SAMPLE_LINES, infer_schema_length=None)
    separator = _separator(path)
    return separator, pl.read_csv(path, separator=separator, infer_schema=False, n_rows=SAMPLE_LINES, glob=False)


def _separator(path: Path) -> str:
    """The separator that gives the widest table that can be read."""
    widths: dict[str, int] = {}
    failed: Exception | None = None
    for separator in SEPARATORS:
        try:
            widths[separator] = pl.read_csv(path, separator=separator, infer_schema=False, n_rows=100, glob=False).width
        except (pl.exceptions.PolarsError, ValueError) as error:
            failed = error
    if failed and max(widths.values(), default=1) == 1:
        raise failed  # one column fits anything; the separator that failed is the likelier one
    return max(SEPARATORS, key=lambda s: widths.get(s, 0))


def _check_header(path: Path, frame: pl.DataFrame) -> None:
    """Refuse a file whose first line holds data: its values would be taken for names. Nothing of it is repeated."""
    values = sum(_VALUE.match(s.name) is not None or (s == s.name).any() for s in frame.get_columns())
    if 3 * values >= frame.width:
        raise UserError(
            f"{path} has no header: {values} of {frame.width} names in its first line look like values. "
            "Add a first line with the columns' names."
        )
    if frame.width == 1:
        raise UserError(
            f"{path} has one column only: its lines are not separated by a comma, semicolon, tab or |. "
            "Save it as CSV with one of these (a single space or fixed widths are not read)."
        )
