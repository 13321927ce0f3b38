"""What a column holds, told from its values: times and their format, numbers, ids, words."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass, field
from typing import Literal

import polars as pl

from churn_clv.clock import to_local

Kind = Literal["time", "integer", "number", "text", "yes/no", "empty", "nested"]
# So many distinct values are tried against the time formats; nearly all must fit.
TRIED = 2_000
FITS = 0.99
CLOCKS = ("", " %H:%M", " %H:%M:%S", " %I:%M %p", " %I:%M:%S %p", ", %H:%M", ", %H:%M:%S")
OTHER_FORMATS = (
    "%Y/%m/%d", "%Y/%m/%d %H:%M", "%Y/%m/%d %H:%M:%S", "%Y.%m.%d", "%Y.%m.%d %H:%M:%S", "%Y-%m-%d %H:%M:%S UTC",
    "%Y%m%d %H:%M:%S", "%Y%m%d%H%M%S", "%d %b %Y", "%d %b %Y %H:%M", "%d %b %Y %H:%M:%S", "%d %B %Y", "%b %d, %Y",
    "%B %d, %Y", "%d-%b-%Y", "%d-%b-%y", "%d-%b-%Y %H:%M:%S", "%d%b%Y", "%d%b%Y:%H:%M:%S",
)  # fmt: skip
_DAY = re.compile(r"^\d{1,2}([/.-])\d{1,2}[/.-](\d{4}|\d{2})(?!\d)")
_YEAR_FIRST = r"^(19[89]\d|20\d\d)(0[1-9]|1[0-2])(0[1-9]|[12]\d|3[01])$"
_EPOCH = r"^\d{9,10}$"
_TIME_WORDS = ("time", "date", "day", "stamp", "when", "created", "ordered", "datum", "fecha", "zeit")


@dataclass(frozen=True)
class Column:
    """A column of a sample: its kind and what was counted. Holds no values but in ``series``.

    ``time_format`` is None for ISO 8601 and for typed times; ``either`` is the other order of day and month where
    both can be read. ``zoned``: its times name their offset. ``clocked``: they have a clock time.
    ``commas``: numbers written with decimal commas.
    """

    name: str
    series: pl.Series = field(repr=False)
    kind: Kind
    filled: int
    distinct: int
    numbers: pl.Series | None = field(default=None, repr=False)
    problem: str | None = None
    time_format: str | None = None
    either: str | None = None
    zoned: bool = False
    clocked: bool = False
    commas: bool = False

    @property
    def key(self) -> str:
        """The name in lower-case letters and digits without accents, for comparing."""
        return re.sub(r"[^a-z0-9]", "", _bare(self.name))

    @property
    def evidence(self) -> str:
        """Counts for a comment; never a value."""
        rows = len(self.series)
        empty = f", {(rows - self.filled) / rows:.1%} empty" if self.filled < rows else ""
        return f"{self.kind}, {self.distinct:,} distinct values in {rows:,} lines{empty}"

    @property
    def unique(self) -> bool:
        """Whether nearly every value stands once."""
        return self.filled > 1 and _nearly(self.distinct, self.filled)

    def below_zero(self) -> int:
        """How many numbers are negative."""
        return 0 if self.numbers is None else int((self.numbers < 0).sum())


def _bare(text: str) -> str:
    """Lower-case text without accents: Stück and stuck are one."""
    return "".join(c for c in unicodedata.normalize("NFKD", text.casefold()) if not unicodedata.combining(c))


def describe(series: pl.Series) -> Column:
    """The column's kind and counts."""
    name, dtype = series.name, series.dtype
    if dtype.is_nested() or dtype in (pl.Binary, pl.Object):
        return Column(name, series, "nested", series.count(), 0)
    if dtype == pl.String or isinstance(dtype, (pl.Categorical, pl.Enum)):
        return _describe_text(name, series.cast(pl.String).str.strip_chars().replace("", None))
    kept = series.drop_nulls()
    counted = (kept.len(), kept.n_unique())
    if not kept.len():
        return Column(name, series, "empty", 0, 0)
    if dtype.is_temporal() and dtype not in (pl.Time, pl.Duration):
        zoned = isinstance(dtype, pl.Datetime) and dtype.time_zone is not None
        return Column(name, series, "time", *counted, zoned=zoned, clocked=dtype != pl.Date and _clocked(kept))
    if dtype == pl.Boolean:
        return Column(name, series, "yes/no", *counted)
    if not dtype.is_numeric():
        return Column(name, series, "nested", *counted)
    return _describe_numbers(name, series, series.cast(pl.Float64), series.cast(pl.String), *counted)


def _describe_text(name: str, series: pl.Series) -> Column:
    kept = series.drop_nulls()
    counted = (kept.len(), kept.n_unique())
    if not kept.len():
        return Column(name, series, "empty", 0, 0)
    if set(kept.str.to_lowercase().unique()) <= {"true", "false", "yes", "no", "y", "n"}:
        return Column(name, series, "yes/no", *counted)
    numbers = series.cast(pl.Float64, strict=False)
    if _nearly(numbers.count(), kept.len()):
        return _describe_numbers(name, series, numbers, series, *counted)
    commas = series.str.contains(r"^-?\d{1,3}(\.\d{3})*,\d+$|^-?\d+,\d+$|^-?\d+$").sum()
    if _nearly(int(commas), kept.len()):
        points = series.str.replace_all(".", "", literal=True).str.replace(",", ".", literal=True)
        return Column(name, series, "number", *counted, points.cast(pl.Float64, strict=False), commas=True)
    signed = series.str.contains(r"^-?[$€£¥]?\s*-?\d{1,3}(,?\d{3})*(\.\d+)?\s*[$€£¥]?$").sum()
    if _nearly(int(signed), kept.len()):
        bare = series.str.replace_all(r"[^\d.-]", "").cast(pl.Float64, strict=False)
        return Column(name, series, "number", *counted, bare, "currency signs or thousands separators")
    return _describe_time(name, series, kept, *counted) or Column(name, series, "text", *counted)


def _describe_numbers(
    name: str, series: pl.Series, numbers: pl.Series, text: pl.Series, filled: int, distinct: int
) -> Column:
    """Whole numbers and others; eight digits may be a day, nine or ten a count of seconds."""
    kept = text.drop_nulls()
    timely = any(word in name.lower() for word in _TIME_WORDS)
    if bool(kept.str.contains(_YEAR_FIRST).all()) and (timely or distinct > 1):
        return Column(name, series, "time", filled, distinct, time_format="%Y%m%d")
    if timely and bool(kept.str.contains(_EPOCH).all()):
        return Column(name, series, "time", filled, distinct, time_format="%s", zoned=True, clocked=True)
    whole = bool((numbers.drop_nulls() == numbers.drop_nulls().floor()).all())
    return Column(name, series, "integer" if whole else "number", filled, distinct, numbers)


def _describe_time(name: str, series: pl.Series, kept: pl.Series, filled: int, distinct: int) -> Column | None:
    values = kept.unique(maintain_order=True)
    # spread over the file: the first day alone may not tell days from months
    tried = values.gather_every(-(-values.len() // TRIED))
    formats = [f for f in _candidates(tried) if _reads(tried, f)]
    if not formats:
        return None
    first, either = formats[0], formats[1] if len(formats) > 1 else None
    clocked = bool(tried.str.contains(":", literal=True).any())
    zoned = clocked and first is None and bool(tried.str.contains(r":\d{2}(\.\d+)?\s*(Z|[+-]\d{2}:?\d{2})$").any())
    return Column(
        name, series, "time", filled, distinct, time_format=first, either=either, zoned=zoned, clocked=clocked
    )


def _candidates(tried: pl.Series) -> list[str | None]:
    """The formats that the shape of the first value allows; None is ISO 8601."""
    shape = _DAY.match(tried[0])
    if shape is None:
        return [None, *OTHER_FORMATS]
    separator, year = shape.group(1), "%Y" if len(shape.group(2)) == 4 else "%y"
    days = [separator.join(order) for order in (("%d", "%m", year), ("%m", "%d", year))]
    return [day + clock for clock in CLOCKS for day in days]


def _reads(tried: pl.Series, time_format: str | None) -> bool:
    return _nearly(to_local(tried, "UTC", None, time_format)[0].count(), tried.len())


def _nearly(count: int, of: int) -> bool:
    return count >= FITS * of


def _clocked(times: pl.Series) -> bool:
    return times.dt.truncate("1d").ne(times).any()
