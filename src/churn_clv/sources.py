"""Reading files and adapter tables into frames, as they are: nothing is mapped, converted or dropped here."""

from __future__ import annotations

import glob
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

import polars as pl

from churn_clv import datasets
from churn_clv.errors import UserError, nearest

Format = Literal["csv", "parquet", "jsonl"]
SUFFIXES: dict[str, Format] = {
    ".csv": "csv",
    ".tsv": "csv",
    ".txt": "csv",
    ".parquet": "parquet",
    ".pq": "parquet",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
}
UTF16_MARKS = (b"\xff\xfe", b"\xfe\xff")
COMPRESSIONS = (".gz", ".zst")
BYTES_A_LINE = 60  # of text, to guess how many lines a file has


class Place(Protocol):
    """Where a table comes from: the keys that sources, attributes and identity share in the config."""

    @property
    def path(self) -> str | None: ...
    @property
    def table(self) -> str | None: ...
    @property
    def format(self) -> Format | None: ...
    @property
    def separator(self) -> str: ...


@dataclass(frozen=True)
class Table:
    """The lines of one source as read. ``files``: (name, number of lines) in order; ``first``: the first line's number.

    ``as_text`` is true where every column is text (CSV).
    """

    frame: pl.DataFrame
    files: tuple[tuple[str, int], ...]
    first: int
    as_text: bool

    def where(self, mask: pl.Series) -> str:
        """The first three true positions of ``mask`` as 'orders.csv line 4, 9, 12'."""
        found: dict[str, list[str]] = {}
        for position in mask.arg_true().head(3).to_list():
            for name, count in self.files:
                if position < count:
                    found.setdefault(name, []).append(str(position + self.first))
                    break
                position -= count
        return "; ".join(f"{name} line {', '.join(lines)}" for name, lines in found.items())


class Tables:
    """Opens tables by their place in the config; an adapter runs once, when first needed."""

    def __init__(self, adapter: str | None, folder: str | None) -> None:
        if adapter is not None and adapter not in datasets.ADAPTERS:
            raise UserError(f"events.adapter: no adapter '{adapter}'.{nearest(adapter, datasets.ADAPTERS)}")
        self._adapter = adapter
        self._folder = Path(folder).expanduser() if folder else None
        self._tables: datasets.Tables | None = None

    def open(self, key: str, place: Place, needed: dict[str, str]) -> Table:
        """Read the table at ``place``; ``needed`` maps each column it must have to the key that asks for it.

        Raises UserError naming ``key``, the file and the missing column's nearest name.
        """
        if place.table is not None:
            return self._from_adapter(key, place.table, needed)
        assert place.path is not None  # config: exactly one of path and table
        frames = []
        names = _matches(key, place.path, self._folder)
        file_format = place.format or _format_of(key, names[0])
        for path in names:
            frame = _read(key, path, file_format, place.separator)
            _check_columns(key, path.name, frame.columns, needed)
            frames.append(frame)
        counts = tuple((path.name, frame.height) for path, frame in zip(names, frames, strict=True))
        return Table(_stack(key, frames), counts, 2 if file_format == "csv" else 1, file_format == "csv")

    def batches(self, key: str, place: Place, needed: dict[str, str], lines: int) -> Iterator[Table]:
        """The table of ``open`` in parts of about ``lines`` lines, with the ``needed`` columns only.

        A table of an adapter comes in one part. Raises UserError likewise.
        """
        if place.path is None:
            yield self.open(key, place, needed)
            return
        names = _matches(key, place.path, self._folder)
        file_format = place.format or _format_of(key, names[0])
        for path in names:
            first = 2 if file_format == "csv" else 1
            for frame in _batches(key, path, file_format, place.separator, needed, lines):
                yield Table(frame, ((path.name, frame.height),), first, file_format == "csv")
                first += frame.height

    def look(self, key: str, place: Place) -> None:
        """Raise UserError where the files at ``place`` are not there; nothing is opened."""
        if place.path is not None:
            _matches(key, place.path, self._folder)
        elif self._adapter is None:
            raise UserError(f"{key}.table: '{place.table}' belongs to an adapter, but events.adapter is not set.")

    def lines(self, key: str, place: Place) -> int:
        """About how many lines the table at ``place`` has: counted where that is cheap, else guessed from its size."""
        if place.path is None:
            return self.open(key, place, {}).frame.height
        names = _matches(key, place.path, self._folder)
        if (place.format or _format_of(key, names[0])) == "parquet":
            return sum(_lines_of(key, path) for path in names)
        packed = sum(path.stat().st_size for path in names if path.suffix.lower() in COMPRESSIONS)
        plain = sum(path.stat().st_size for path in names) - packed
        return (plain + 6 * packed) // BYTES_A_LINE

    def _from_adapter(self, key: str, table: str, needed: dict[str, str]) -> Table:
        if self._adapter is None:
            raise UserError(f"{key}.table: '{table}' belongs to an adapter, but events.adapter is not set.")
        if self._tables is None:
            self._tables = datasets.ADAPTERS[self._adapter](self._folder)
        if table not in self._tables:
            raise UserError(f"{key}.table: {self._adapter} has no table '{table}'.{nearest(table, self._tables)}")
        try:
            frame = self._tables[table].collect()
        except (pl.exceptions.PolarsError, OSError) as error:
            raise UserError(f"{key}: table '{table}' of {self._adapter} cannot be read: {_first_line(error)}") from None
        _check_columns(key, table, frame.columns, needed)
        return Table(frame, ((table, frame.height),), 1, False)


def _matches(key: str, pattern: str, folder: Path | None) -> list[Path]:
    try:
        full = Path(pattern).expanduser()
        full = folder / full if folder is not None else full
        if full.is_file():
            return [full]
    except (OSError, RuntimeError):  # a name too long, a ~user that is not there
        raise UserError(f"{key}.path: {pattern:.100} is not a path here. Correct it.") from None
    if full.is_dir():
        raise UserError(f"{key}.path: {full} is a folder. Give a file or a glob, such as {full / '*.csv'}.")
    names = sorted(Path(name) for name in glob.glob(str(full), recursive=True))
    files = [name for name in names if name.is_file()]
    if not files:
        kind = "no file matches" if glob.has_magic(str(full)) else "file not found:"
        raise UserError(f"{key}.path: {kind} {full}. Paths are relative to events.folder, else to where you run.")
    return files


def _format_of(key: str, path: Path) -> Format:
    suffixes = [s.lower() for s in path.suffixes if s.lower() not in COMPRESSIONS]
    found = SUFFIXES.get(suffixes[-1]) if suffixes else None
    if found is None:
        raise UserError(
            f"{key}: cannot tell the format of {path.name} from its name. Give format: csv, parquet or jsonl."
        )
    return found


def _read(key: str, path: Path, file_format: Format, separator: str) -> pl.DataFrame:
    try:
        if file_format == "parquet":
            return pl.read_parquet(path)
        _check_text(key, path)
        if file_format == "jsonl":
            return pl.read_ndjson(path, infer_schema_length=None)
        return pl.read_csv(path, infer_schema=False, separator=separator)
    except (pl.exceptions.PolarsError, OSError, ValueError) as error:
        raise _unreadable(key, path, file_format, error) from None


def _check_text(key: str, path: Path) -> None:
    """Refuse a text file that is empty or in another encoding, which Polars would misread."""
    if path.stat().st_size == 0:
        raise UserError(f"{key}: {path} is empty. Leave it out or write it again.")
    with path.open("rb") as file:
        if file.read(2) in UTF16_MARKS:
            raise UserError(f"{key}: {path} is UTF-16 text. Save it as UTF-8.")


def _unreadable(key: str, path: Path, file_format: Format, error: Exception) -> UserError:
    return UserError(
        f"{key}: {path} cannot be read as {file_format}: {_first_line(error)} "
        "Check that the file is whole and UTF-8, and that format and separator fit it."
    )


def _batches(
    key: str, path: Path, file_format: Format, separator: str, needed: dict[str, str], lines: int
) -> Iterator[pl.DataFrame]:
    """One file part by part; an empty one gives one part without lines."""
    given = _scan(key, path, file_format, separator)
    try:
        _check_columns(key, path.name, given.collect_schema().names(), needed)
        wanted = given.select(*needed)
        parts: Iterable[pl.DataFrame]
        if file_format == "parquet":
            whole = _lines_of(key, path)
            parts = (wanted.slice(start, lines).collect() for start in range(0, max(whole, 1), lines))
        else:
            parts = wanted.collect_batches(chunk_size=lines, maintain_order=True)
        yield from parts
    except (pl.exceptions.PolarsError, OSError, ValueError) as error:
        raise _unreadable(key, path, file_format, error) from None


def _scan(key: str, path: Path, file_format: Format, separator: str) -> pl.LazyFrame:
    """The file, not yet read, as ``_read`` would type its columns."""
    try:
        if file_format == "parquet":
            return pl.scan_parquet(path)
        _check_text(key, path)
        if file_format == "jsonl":
            return pl.scan_ndjson(path, infer_schema_length=None)
        return pl.scan_csv(path, infer_schema=False, separator=separator)
    except (pl.exceptions.PolarsError, OSError, ValueError) as error:
        raise _unreadable(key, path, file_format, error) from None


def _lines_of(key: str, path: Path) -> int:
    """The lines of a Parquet file, from its footer."""
    try:
        return int(pl.scan_parquet(path).select(pl.len()).collect().item())
    except (pl.exceptions.PolarsError, OSError, ValueError) as error:
        raise _unreadable(key, path, "parquet", error) from None


def _check_columns(key: str, name: str, columns: list[str], needed: dict[str, str]) -> None:
    for column, asked_by in needed.items():
        if column not in columns:
            other = len(columns) == 1 and re.search(r"[;|\t]", columns[0])
            hint = f" Its columns seem separated by {other[0]!r}: set separator." if other else nearest(column, columns)
            raise UserError(f"{key}.{asked_by}: column '{column}' is not in {name}.{hint}")
        if f"{column}_duplicated_0" in columns:  # what Polars makes of a name that stands in the header twice
            raise UserError(f"{key}.{asked_by}: column '{column}' stands more than once in {name}. Rename one of them.")


def _stack(key: str, frames: list[pl.DataFrame]) -> pl.DataFrame:
    if len(frames) == 1:
        return frames[0]
    try:
        return pl.concat(frames, how="diagonal_relaxed")
    except pl.exceptions.PolarsError as error:
        raise UserError(f"{key}: its files do not fit together: {_first_line(error)}") from None


def _first_line(error: Exception) -> str:
    """The first line of a library's message, without the values it quotes (they may be a customer's)."""
    text = re.sub(r"`[^`]*(`|$)", "a value", str(error).strip()).splitlines()
    line = text[0].strip() if text else type(error).__name__
    return line if line.endswith(".") else line + "."
