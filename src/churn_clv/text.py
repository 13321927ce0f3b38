"""Texts of feedback -> numbers, at the border: what is read of them enters the log, they themselves never do.

The sentiment comes from TextBlob's lexicon of English words and its rules for negation and emphasis (the optional
extra ``text``; docs/adr/0008), topics from word lists of the config. Each text is read alone, so one customer's events
give what the whole log gives.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from importlib import metadata, util
from pathlib import Path
from typing import Any

import polars as pl

from churn_clv import config
from churn_clv.errors import UserError

# A plain column that the log does not keep.
TEXT = "text"
SEEN = 1_000  # characters that are read of a text: more would let a few hostile ones hold a process for minutes
PAUSE = 100  # texts between looks at the clock of who waits
INSTALL = "pip install 'churn-clv[text]'"
# Scripts from here on are written without spaces, so that their words have no edges to look for.
_NO_SPACES = "\u2e80"


@dataclass(frozen=True)
class Reading:
    """How texts are read; frozen into the bundle, so that batch and service read them alike.

    ``engine`` names the reader of sentiments with its version and its lexicon's hash, None where sentiments are not
    read. ``topics`` are names, each with the words that tell it.
    """

    engine: str | None
    topics: tuple[tuple[str, tuple[str, ...]], ...] = field(repr=False)

    @property
    def names(self) -> tuple[str, ...]:
        """The topics' names, sorted."""
        return tuple(name for name, _ in self.topics)


def reading(section: config.Text) -> Reading | None:
    """How the config wants texts read, None where it does not. Raises UserError where the extra is not installed."""
    if not section.read:
        return None
    topics = tuple((name, words) for name, words in sorted(section.topics.items()) if words)
    return Reading(engine() if section.sentiment else None, topics)


def engine() -> str:
    """The installed reader of sentiments: two of one name say the same of every text. UserError where there is none."""
    found = _installed()
    if found is None:
        raise UserError(
            "events.text.sentiment: the sentiment of texts is read with TextBlob, which is not installed. "
            f"{INSTALL}, or set events.text.sentiment: false (topics need no library)."
        )
    return found


def require(reading: Reading | None) -> None:
    """Have the reader ready that a model was trained with. Raises UserError where another or none is installed."""
    if reading is None or reading.engine is None:
        return
    if (found := engine()) != reading.engine:
        raise UserError(
            f"the model was trained on texts read with {reading.engine}, here is {found}. Install that version of "
            "TextBlob, or retrain."
        )
    _analyzer()


def in_numbers(plain: pl.DataFrame, reading: Reading | None, pause: Callable[[], None] = lambda: None) -> pl.DataFrame:
    """Plain columns with ``sentiment`` (-1 to 1) and ``topics`` (names) in the place of ``text``.

    What the columns of these names say already stays. A text has no sentiment where no word of it is in the lexicon.
    ``pause`` is called every few texts and may raise. Raises UserError where texts are not to be read.
    """
    if TEXT not in plain.columns:
        return plain
    if reading is None:
        raise UserError(f"events have a column '{TEXT}', and events.text.read is false: switch it on, or leave it out.")
    dtype = plain.schema[TEXT]
    if not (dtype == pl.String or dtype == pl.Null or isinstance(dtype, (pl.Categorical, pl.Enum))):
        raise UserError(f"{TEXT} is {dtype}; expected text.")
    texts = plain[TEXT].cast(pl.String).str.slice(0, SEEN).str.replace_all("\u2019", "'", literal=True)
    read = {"topics": topics(texts, reading.topics)}
    if reading.engine is not None:
        read["sentiment"] = sentiments(texts, pause)
    own = [name for name in read if name in plain.columns]
    added = pl.DataFrame([series.alias(name) for name, series in read.items() if name not in own])
    filled = [plain[name].cast(pl.String, strict=False).zip_with(plain[name].is_not_null(), read[name].cast(pl.String))
              for name in own]  # fmt: skip
    return plain.drop(TEXT).with_columns(filled).hstack(added)


def sentiments(texts: pl.Series, pause: Callable[[], None] = lambda: None) -> pl.Series:
    """Of each text its polarity, -1 to 1, to three decimals; null where no word of it is in the lexicon."""
    said = texts.str.replace_all(r"(?i)n't\b", " not").str.replace_all("\0", " ", literal=True)
    different = said.drop_nulls().unique()
    found: list[float | None] = []
    for place, one in enumerate(different.to_list()):
        if place % PAUSE == 0:
            pause()
        found.append(_sentiment(one))
    return said.replace_strict(different, pl.Series(found, dtype=pl.Float64), default=None, return_dtype=pl.Float64)


def topics(texts: pl.Series, lists: Sequence[tuple[str, tuple[str, ...]]]) -> pl.Series:
    """Of each text the names of the topics that it has a word of, with a space between; null where it has none."""
    if not lists:
        return pl.Series([None] * len(texts), dtype=pl.String)
    has = [pl.when(pl.col(TEXT).str.contains(_pattern(words))).then(pl.lit(name)) for name, words in lists]
    named = pl.concat_str(has, separator=" ", ignore_nulls=True)
    return pl.DataFrame({TEXT: texts}).select(pl.when(named != "").then(named).alias("topics")).to_series()


def _pattern(words: Sequence[str]) -> str:
    """Any of some words or phrases, whole; one that ends in * is a beginning. Case does not count."""
    return "(?i)" + "|".join(map(_word, words))


def _word(word: str) -> str:
    whole, more = word.removesuffix("*"), r"\w*" if word.endswith("*") else ""
    inner = r"\s+".join(pl.select(pl.lit(part).str.escape_regex()).item() for part in whole.split())
    before, after = (r"\b" if edge.isalnum() and edge < _NO_SPACES else "" for edge in (whole[0], whole[-1]))
    return f"{before}{inner}{more}{after}"


def _sentiment(text: str) -> float | None:
    found = _analyzer().analyze(text, keep_assessments=True)
    return round(float(found.polarity), 3) if found.assessments else None


@lru_cache(maxsize=1)
def _analyzer() -> Any:
    """TextBlob's analyzer by rules, which takes seconds to import; no corpus and no trained model is touched."""
    from textblob.en.sentiments import PatternAnalyzer

    return PatternAnalyzer()


@lru_cache(maxsize=1)
def _installed() -> str | None:
    """Name, version and lexicon of TextBlob, without importing it."""
    found = util.find_spec("textblob")
    if found is None or found.origin is None:
        return None
    lexicon = (Path(found.origin).parent / "en" / "en-sentiment.xml").read_bytes()
    return f"textblob {metadata.version('textblob')} (lexicon {hashlib.sha256(lexicon).hexdigest()[:8]})"
