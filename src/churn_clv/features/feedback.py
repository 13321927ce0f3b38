"""Feedback: what customers say, in numbers and in words that became numbers, and how long they wait for an answer."""

from __future__ import annotations

import polars as pl

from churn_clv.canonical import divide
from churn_clv.features._feature import Feature, count, derived, ratio, statistic, within
from churn_clv.timeline import Definitions

# Surveys whose events hold a value; the days on which there were several count once, with the largest.
SCORES = ("csat", "nps")
# What is waited for: the type of event that opens a case and the one that ends the wait.
WAITS = {
    "complaint_closing": ("complaint", "complaint_closed"),
    "ticket_answer": ("ticket_opened", "ticket_answered"),
    "ticket_closing": ("ticket_opened", "ticket_closed"),
}


def needs(definitions: Definitions) -> str | None:
    """A survey with values, cases and what ends them, or texts that were read."""
    if _scores(definitions) or _waits(definitions) or {"sentiment", "topics"} & {*definitions.columns}:
        return None
    return "the log has no 'nps' or 'csat' with values, nor cases and their answers (ticket_opened, ticket_answered)"


def features(definitions: Definitions) -> list[Feature]:
    """Mean and change of each survey; of each kind of case how many wait and how long they took; what texts say."""
    out = [f for kind in _scores(definitions) for f in _of_score(kind)]
    out += [f for name, kinds in _waits(definitions).items() for f in _of_wait(name, *kinds)]
    out += _of_sentiment(definitions) if "sentiment" in definitions.columns else []
    read = definitions.rules.text if "topics" in definitions.columns else None
    return out + [f for name in (read.names if read else ()) for f in _of_topic(definitions, name)]


def _scores(definitions: Definitions) -> tuple[str, ...]:
    return tuple(k for k in SCORES if k in definitions.event_types) if "value" in definitions.columns else ()


def _waits(definitions: Definitions) -> dict[str, tuple[str, str]]:
    return {name: kinds for name, kinds in WAITS.items() if set(kinds) <= set(definitions.event_types)}


def _of_score(kind: str) -> list[Feature]:
    has = (pl.col("event_type") == kind) & pl.col("value_last").is_not_null()
    value, age = pl.col("value_last").filter(has), pl.col("age_days").filter(has)
    latest = value.filter(age == age.min()).max()
    n, total, last = f"_{kind}_days", f"_{kind}_total", f"_{kind}_latest"
    before = ratio(pl.col(total) - pl.col(last), pl.col(n) - 1)
    return [
        count(n, has.sum().cast(pl.Int64), "touches", of=(kind,)),
        count(total, value.sum(), "touches", of=(kind,)),
        statistic(last, latest, "touches", of=(kind,)),
        derived(f"{kind}_value_mean", divide(ratio(total, n), 1000), f"Mean value of the days with '{kind}' events.",
                "null without a value"),
        derived(f"{kind}_value_change", divide(pl.col(last) - before, 1000),
                f"Value of the latest day with '{kind}' events less the mean of the days before.",
                "null below two days with a value"),
    ]  # fmt: skip


def _of_wait(name: str, opens: str, ends: str) -> list[Feature]:
    """First come, first served: as many of the oldest cases as there are endings are those that ended.

    An ending beyond the cases that were open ends none that opens later: what waits is the balance above its lowest.
    """
    age, number, kind = pl.col("age_days").cast(pl.Int64), pl.col("events"), pl.col("event_type")
    opened = age.repeat_by(number).filter(kind == opens).explode(empty_as_null=False)
    ended = number.filter(kind == ends).sum()
    oldest = opened.sort(descending=True).head(ended).sum()
    spent = (age * number).filter(kind == ends).sum()
    moves = pl.when(kind == opens).then(number).when(kind == ends).then(-number).otherwise(0)
    balance = moves.sort_by(age, kind == ends, descending=[True, False]).cum_sum()
    of, n, done = (opens, ends), f"_{name}_opened", f"_{name}_ended"
    known = pl.col(done) <= pl.col(n)
    return [
        count(n, number.filter(kind == opens).sum(), "touches", of=of),
        count(done, ended, "touches", of=of),
        count(f"_{name}_days", oldest - spent, "touches", of=of),
        count(f"{name}_waiting", balance.last() - pl.min_horizontal(balance.min(), 0), "touches",
              f"'{opens}' events that no '{ends}' event has ended yet.", of=of),
        derived(f"{name}_days_mean", pl.when(known).then(ratio(f"_{name}_days", done)),
                f"Mean days from '{opens}' to '{ends}', the oldest first.",
                f"null without '{ends}' events, or with more of them than of '{opens}'"),
    ]  # fmt: skip


def _of_sentiment(definitions: Definitions) -> list[Feature]:
    """Of the texts with a sentiment, each counted once: the latest day, all, their difference, and how many below 0."""
    w, of = definitions.horizon_window_days, definitions.event_types
    latest = pl.col("age_days") == pl.col("age_days").min()
    n, total, last_n, last = "_texts", "_texts_total", "_texts_last_n", "_texts_last_total"
    mean = ratio(last, last_n)
    before = ratio(pl.col(total) - pl.col(last), pl.col(n) - pl.col(last_n))
    negative, said = pl.col("negative"), "Texts with a sentiment below 0"
    return [
        count(n, pl.col("texts").sum(), "texts", of=of),
        count(total, pl.col("sentiment").sum(), "texts", of=of),
        count(last_n, pl.col("texts").filter(latest).sum(), "texts", of=of),
        count(last, pl.col("sentiment").filter(latest).sum(), "texts", of=of),
        derived("text_sentiment_last", divide(mean, 1000), "Mean sentiment (-1 to 1) of the texts of the latest day.",
                "null without a sentiment"),
        derived("text_sentiment_mean", divide(ratio(total, n), 1000), "Mean sentiment of all texts.",
                "null without a sentiment"),
        derived("text_sentiment_change", divide(mean - before, 1000),
                "Mean sentiment of the latest day less the mean of the texts before.",
                "null below two days with a sentiment"),
        count("text_negative_events", negative.sum(), "texts", f"{said}.", of=of),
        count(f"text_negative_events_last_{w}d", negative.filter(within(w)).sum(), "texts",
              f"{said} in the last {w} days.", w, of),
    ]  # fmt: skip


def _of_topic(definitions: Definitions, name: str) -> list[Feature]:
    w, of = definitions.horizon_window_days, definitions.event_types
    has = pl.col("topics").is_not_null() & pl.col("topics").str.contains(rf"\b{name}\b")
    number, said = pl.col("events"), f"Texts with a word of the topic '{name}'"
    return [
        count(f"topic_{name}_events", number.filter(has).sum(), "topics_days", f"{said}.", of=of, where=has),
        count(f"topic_{name}_events_last_{w}d", number.filter(has & within(w)).sum(), "topics_days",
              f"{said} in the last {w} days.", w, of, has),
    ]  # fmt: skip
