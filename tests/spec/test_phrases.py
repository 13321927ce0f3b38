"""Every feature of every catalogue has a group, a theme and words in each language, and the words are those meant."""

from __future__ import annotations

import string
from typing import Any

import pytest
import tiny
from hypothesis import given
from hypothesis import strategies as st

from churn_clv import config, explain, features
from churn_clv.canonical import LOG_SCHEMA, Rules
from churn_clv.explain._catalogue import ENTRIES, THEMES, Meaning
from churn_clv.explain._words import plain
from churn_clv.text import Reading
from churn_clv.timeline import Definitions

LANGUAGES = ("en", "zh")
SIMULATED = ("cancel", "complaint", "coupon", "mail", "open", "purchase", "renew", "return", "subscribe",
             "unsubscribe", "visit")  # fmt: skip


def of_types(*kinds: str, **more: Any) -> Definitions:
    return tiny.definitions(event_types=kinds, starts=dict.fromkeys(kinds, tiny.START), **more)


def contract(*opens: str) -> config.Contract:
    return config.Contract(opens=config.Predicate(is_in=opens), term_days=28)


CATALOGUES = {
    "tiny": tiny.definitions(),
    "simulator with memberships": of_types(
        *SIMULATED, contracts={"ended": contract("subscribe", "renew")},
        plans={"ended": config.Predicate(column="product_id", is_in=("P200", "P201"), event_types=("renew",))},
        watched={"buys_tea": config.Predicate(column="category", is_in=("tea",), event_types=("purchase",))},
    ),
    "Complete Journey": of_types("campaign", "purchase", "redemption", contracts={}, plans={}, windows_days=(7, 28),
                                 seen_by=("redemption",)),
    "Online Retail": of_types("purchase", "return", watched={}, contracts={}, plans={}, horizon_days=60,
                              columns=("amount", "order_id", "product_id", "quantity")),
    "service desk": of_types("complaint", "complaint_closed", "nps", "purchase", "ticket_answered", "ticket_closed",
                             "ticket_opened", contracts={}, plans={}, watched={}),
    "words": of_types("purchase", "review", columns=("amount", "sentiment", "topics"), watched={}, contracts={},
                      plans={}, rules=Rules("UTC", "EUR", 2, text=Reading(None, (("price", ("price",)),)))),
    "CDNOW": of_types("purchase", watched={}, contracts={}, plans={}, columns=("amount", "quantity")),
    "strange names": of_types("purchase", "Plan change", "days_last_7d", "e-mail", watched={}, contracts={}, plans={}),
}  # fmt: skip


@pytest.mark.parametrize("name", list(CATALOGUES))
@pytest.mark.parametrize("language", LANGUAGES)
def test_every_feature_has_a_theme_and_words(name: str, language: str) -> None:
    definitions, words = CATALOGUES[name], explain.phrases(language)
    known = explain.meanings(definitions)
    assert tuple(known) == features.names(definitions) and set(definitions.columns) <= set(LOG_SCHEMA)
    for meaning in known.values():
        assert meaning.theme in THEMES and words.themes[meaning.theme]
        for value in (0.0, 1.0, 2.5, None):
            text = words.text(meaning, value, 3.0, value == 1.0, "USD")
            assert text and "{" not in text and "None" not in text


def test_each_entry_is_met_and_no_phrase_is_left_over() -> None:
    """An entry that fits nothing, or a phrase that no entry names, would be a typing error."""
    met = {m.about.name for d in CATALOGUES.values() for m in explain.meanings(d).values()}
    assert met == {e.name for e in ENTRIES}
    for language in LANGUAGES:
        words = explain.phrases(language)
        assert set(words.features) == met and set(words.groups) == {e.group for e in ENTRIES}
        assert set(words.themes) == set(THEMES)


def test_the_languages_are_the_files() -> None:
    assert explain.languages() == LANGUAGES and explain.DEFAULT == "en"


def test_both_languages_fill_in_the_same() -> None:
    """What the entry's name knows, and the value; a window that one language leaves out would be a slip."""
    one, other = (explain.phrases(language) for language in LANGUAGES)
    for name, phrase in one.features.items():
        assert fields(phrase) - {"items"} == fields(other.features[name]) - {"items"}, name  # the unit names them
        assert fields(phrase) <= {"value", *(f for _, f, _, _ in string.Formatter().parse(name) if f)}


def fields(phrase: Any) -> set[str]:
    texts = [phrase] if isinstance(phrase, str) else list(phrase.values())
    return {f for text in texts for _, f, _, _ in string.Formatter().parse(text) if f}


def about(name: str, catalogue: str = "tiny") -> Meaning:
    return explain.meanings(CATALOGUES[catalogue])[name]


SAID = [
    ("days_since_last_purchase", 74.0, 30.0, True, "no purchase for 74 days against a usual 30"),
    ("days_since_last_purchase", 1.0, 30.5, False, "no purchase for 1 day (typical: 30.5)"),
    ("purchase_days_last_28d", 0.0, 2.125, True, "no purchase in the last 28 days against a usual 2.12"),
    ("purchase_days_last_28d", 1.0, None, False, "1 purchase in the last 28 days"),
    ("purchase_days_from_7d_to_14d", 3.0, 1.0, True, "3 purchases between 14 and 7 days ago against a usual 1"),
    ("purchase_days_trend_7d_to_14d", -0.4, 0.0, True, "purchases down 40% in the last 7 days against the days before"),
    ("overdue_ratio", 2.5, 1.0, True, "silent for 2.5 times the customer's median gap"),
    ("spend_last_28d", 1250.4, 80.0, True, "1,250 USD spent in the last 28 days against a usual 80 USD"),
    ("discount_share", 0.125, 0.1, False, "12.5% discount on what was bought (typical: 10%)"),
    ("tenure_is_censored", 1.0, 0.0, False, "a customer since the records begin or before"),
    ("gap_days_median", None, 30.0, False, "not known yet: the usual gap between purchases"),
    ("survey_value_last", 3.0, 8.0, False, "the latest survey value is 3 (typical: 8)"),
    ("survey_value_last", 3.0, None, False, "the latest survey value is 3"),
    ("visit_events_last_28d", 0.0, 6.0, True, "no visit in the last 28 days against a usual 6"),
    ("products_new_last_28d", 2.0, 3.0, False, "2 products bought for the first time in the last 28 days (typical: 3)"),
]


@pytest.mark.parametrize(("name", "value", "usual", "own", "text"), SAID)
def test_words_by_hand(name: str, value: float | None, usual: float | None, own: bool, text: str) -> None:
    assert explain.phrases("en").text(about(name), value, usual, own, "USD") == text


def test_words_in_chinese() -> None:
    words = explain.phrases("zh")
    assert words.text(about("days_since_last_purchase"), 74.0, 30.0, True, "USD") == "已有74天没有购买，平时为30天"  # noqa: RUF001
    mail = about("mail_events_last_28d", "simulator with memberships")
    assert words.text(mail, 0.0, 2.0, False, "USD") == "最近28天没有邮件（一般客户为2次）"  # noqa: RUF001


def test_themes_of_kinds_of_events() -> None:
    named = "simulator with memberships"
    themes = {kind: about(f"{kind}_events", named).theme for kind in ("complaint", "coupon", "mail", "visit")}
    assert themes == {"complaint": "service", "coupon": "price", "mail": "engagement", "visit": "engagement"}
    assert about("survey_value_last").theme == "service"


def test_names_that_could_be_read_two_ways_are_read_as_the_definitions_say() -> None:
    known = explain.meanings(CATALOGUES["strange names"])
    assert known["days_since_last_plan_change"].fields == {"kind": "plan_change"}
    assert known["days_last_7d_events_last_28d"].fields == {"kind": "days_last_7d", "w": "28"}


@given(st.floats(-1e12, 1e12))
def test_numbers_are_short_and_near(value: float) -> None:
    found = float(plain(value).replace(",", ""))
    assert abs(found - value) <= max(0.0051, 0.006 * abs(value))
