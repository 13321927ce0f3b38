"""Texts become numbers at the border and are nowhere after it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl
import pytest

from churn_clv import config, events, text
from churn_clv.canonical import LOG_SCHEMA, Rules, canonical
from churn_clv.errors import UserError
from churn_clv.text import Reading

LISTS = (("delivery", ("deliver*", "parcel")), ("price", ("price", "too much", "贵")))
TOPICS_ONLY = Rules("UTC", "EUR", 2, text=Reading(None, LISTS))


def named(*texts: str | None) -> list[str | None]:
    return text.topics(pl.Series(texts, dtype=pl.String), LISTS).to_list()


def test_topics_by_hand() -> None:
    """Whole words, beginnings with *, phrases over any spaces, any case; names in order, each once."""
    assert named("The Delivery of my PARCEL: price?", "delivered", "prices", "priceless", "parcels") == [
        "delivery price", "delivery", None, None, None]  # fmt: skip
    assert named("it is too\n  much", "too, much", "这个太贵了", "", None) == ["price", None, "price", None, None]
    assert text.topics(pl.Series(["price"]), ()).to_list() == [None]
    assert text.topics(pl.Series(["a.b", "axb", "c++"]), (("dots", ("a.b", "c++")),)).to_list() == [
        "dots",
        None,
        "dots",
    ]


def test_hostile_texts_are_read_or_not_and_never_raise() -> None:
    hostile = [
        "\0price\0",
        "😀 price",
        "x" * 1_000_000 + " price",
        "price" + " " * 1_000_000,
        "\u202eprice",
        "(" * 5000,
    ]
    read = text.in_numbers(pl.DataFrame({"text": hostile}), TOPICS_ONLY.text)
    assert read["topics"].to_list() == ["price", "price", None, "price", "price", None] and read.columns == ["topics"]


def plain(**columns: Any) -> pl.DataFrame:
    rows = max(len(v) for v in columns.values())
    return pl.DataFrame({"customer_id": ["a"] * rows, "time": ["2024-01-05"] * rows, **columns})


def test_no_column_of_the_log_holds_a_word() -> None:
    log = canonical(plain(event_type=["review"], text=["Such a secret PRICE"]), TOPICS_ONLY)
    assert "text" not in LOG_SCHEMA and log["topics"].to_list() == ["price"]
    assert "secret" not in log.write_json() and log["sentiment"].to_list() == [None]


def test_own_numbers_win() -> None:
    """From a tool of one's own, for other languages: sentiment -1 to 1, topics by name."""
    both = plain(event_type=["review"] * 3, text=["price", "parcel", None], topics=["delivery", None, None],
                 sentiment=["-0.25", None, "1"])  # fmt: skip
    log = canonical(both, TOPICS_ONLY).sort("sentiment", nulls_last=True)
    assert log.select("sentiment", "topics").rows() == [(-250, "delivery"), (1000, None), (None, "delivery")]
    with pytest.raises(UserError, match=r"sentiment: 1 of 1 values cannot be read as a number from -1 to 1"):
        canonical(plain(sentiment=[1.01]), TOPICS_ONLY)


def test_texts_that_nobody_asked_to_read_are_refused() -> None:
    with pytest.raises(UserError, match=r"column 'text', and events\.text\.read is false"):
        canonical(plain(text=["well"]), Rules("UTC", "EUR", 2))
    with pytest.raises(UserError, match="text is List"):
        canonical(plain(text=[["well"]]), TOPICS_ONLY)


def own(folder: Path, **texts: Any) -> config.Config:
    mapped = {"customer_id": "who", "time": "day", "event_type": "kind", "amount": "money", "text": "words"}
    lines = ["who,day,kind,money,words", "a,2024-01-03,purchase,5,", "a,2024-01-05,review,,Late delivery!",
             "b,2024-01-05,review,,xyzzy", "b,2024-01-06,purchase,2,", "b,2024-01-06,purchase,2,"]  # fmt: skip
    (folder / "log.csv").write_text("\n".join(lines) + "\n")
    source = {"path": str(folder / "log.csv"), "map": mapped}
    return config.load(dataset="d", events={"sources": {"log": source}, "text": texts})


def test_a_source_with_texts(tmp_path: Path) -> None:
    log = events.read_log(own(tmp_path, read=True, sentiment=False))
    assert log.columns == {"amount", "topics"} and log.frame["topics"].drop_nulls().to_list() == ["delivery"]
    assert "delivery" in log.rules.text.names and "Late" not in log.frame.write_json()  # type: ignore[union-attr]
    with pytest.raises(
        UserError, match=r"events\.sources\.log\.map: texts are mapped, and events\.text\.read is false"
    ):
        events.read_log(own(tmp_path))


def test_topics_are_added_by_a_line_and_switched_off_by_an_empty_list(tmp_path: Path) -> None:
    said = own(tmp_path, read=True, sentiment=False, topics={"price": [], "tea": ["tea"]}).events
    assert "tea" in events.rules_of(said).text.names  # type: ignore[union-attr]
    assert "price" not in events.rules_of(said).text.names  # type: ignore[union-attr]
    for topics in ({"Not a name": ["tea"]}, {"tea": [" "]}):
        with pytest.raises(UserError, match=r"events\.text\.topics"):
            own(tmp_path, read=True, topics=topics)


def test_switched_off_the_recipe_is_that_of_before(tmp_path: Path) -> None:
    off, on = own(tmp_path, topics={"tea": ["tea"]}), own(tmp_path, read=True)
    assert off.recipe_hash == own(tmp_path).recipe_hash != on.recipe_hash
    assert on.recipe_hash != own(tmp_path, read=True, topics={"tea": ["tea"]}).recipe_hash


def test_without_the_extra_it_is_said_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text, "_installed", lambda: None)
    with pytest.raises(UserError, match=r"not installed\. pip install 'churn-clv\[text\]', or set"):
        events.read_log(own(tmp_path, read=True))


def test_a_bundle_that_read_texts_with_another_version_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text, "_installed", lambda: "textblob 9 (lexicon b)")
    text.require(None)
    text.require(Reading(None, LISTS))
    with pytest.raises(UserError, match=r"read with textblob 8 \(lexicon a\), here is textblob 9 \(lexicon b\)"):
        text.require(Reading("textblob 8 (lexicon a)", LISTS))


class TestSentiment:
    """With TextBlob, which the locked requirements of the tests hold."""

    pytestmark = pytest.mark.skipif(text._installed() is None, reason="the extra `text` is not installed")

    def test_by_hand(self) -> None:
        """Lexicon: late and rude -.3 each, good .7, which a negation turns by half: -.35. great .8, thanks! .25."""
        said = ["The delivery was late and the driver rude.", "Not good at all", "It isn't good", "It isn\u2019t good",
                "great, thanks!", "Das Paket", "送货太慢了", "", "\0", "😀", None]  # fmt: skip
        read = text.in_numbers(pl.DataFrame({"text": said}), Reading(text.engine(), LISTS))
        assert read["sentiment"].to_list() == [-0.3, -0.35, -0.35, -0.35, 0.525, *[None] * 6]

    def test_each_text_is_read_alone(self) -> None:
        said = [f"{word} {n}" for n in range(40) for word in ("good", "awful", "xyzzy", "not bad", "late!")]
        whole = text.sentiments(pl.Series(said))
        assert [text.sentiments(pl.Series([one]))[0] for one in said] == whole.to_list()

    def test_a_megabyte_is_read_in_no_time_and_who_waits_is_looked_at(self) -> None:
        looks: list[int] = []
        said = pl.DataFrame({"text": ["good " * 250_000, ":-)" * 300_000, *map(str, range(250))]})
        read = text.in_numbers(said, Reading(text.engine(), LISTS), lambda: looks.append(1))
        assert read["sentiment"].to_list()[:2] == [0.7, 0.5] and len(looks) == 3

    def test_a_source(self, tmp_path: Path) -> None:
        log = events.read_log(own(tmp_path, read=True))
        assert log.frame["sentiment"].drop_nulls().to_list() == [-375]  # late! is -.3 x 1.25
        counts = {c.policy: c.rows for c in log.counts}
        assert counts["text_without_sentiment"] == 1  # xyzzy


def test_the_extra_is_in_the_locks_of_the_tests() -> None:
    """Else the class above would be left out in silence."""
    root = Path(__file__).parents[2]
    assert "\ntextblob==" in (root / "requirements" / "dev.txt").read_text()
