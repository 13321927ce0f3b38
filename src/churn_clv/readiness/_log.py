"""What the log itself says, whatever the labels: policies, holes, cut weeks, clocks, giants."""

from __future__ import annotations

import datetime as dt
import itertools
from collections.abc import Iterator

import polars as pl

from churn_clv import timeline
from churn_clv.events import Log
from churn_clv.readiness._records import Data, Finding, Severity, share

# One customer's day with more than this share of all money rules every total.
GIANT_SHARE = 0.01
GAP_DAYS = 7
THIN_WEEK = 1 / 3
ONE_PURCHASE_SHARE = 0.7
RETURN_SHARE = 0.3
NIGHT_SHARE = 0.25
# Fewer events of a type than this say nothing about its clock; fewer weeks nothing about the usual week.
CLOCK_EVENTS = 20
WEEKS = 4

# policy -> the column, what met it, what to do, the share of its source's lines above which it is a warning
POLICIES: dict[str, tuple[str | None, str, str, float]] = {
    "duplicates": (
        None, "lines equal an earlier line in every column",
        "Where an export repeats lines set events.duplicates: drop; one product scanned twice looks the same.", 0.05,
    ),
    "missing_customer": (
        "customer_id", "lines have no customer id",
        "Fill in the ids that can be found: these lines are missing from every total.", 0.1,
    ),
    "missing_amount": ("amount", "purchases have no amount", "Fill them in: they count as purchases of nothing.", 0.01),
    "zero_amount": (
        "amount", "purchases have an amount of zero",
        "They count as purchases; where they are none, set events.zero_amount: drop.", 0.1,
    ),
    "negative_amount": (
        "amount", "purchases have a negative amount",
        "Map them to event_type return where a column tells them apart.", 0.1,
    ),
    "missing_margin": (
        "margin", "purchases have an amount and no margin",
        "Their money counts at the rate that CLV expects of the customer; fill in what is known.", 0.1,
    ),
    "margin_above_amount": (
        "margin", "purchases have a margin above their amount",
        "Check what is mapped: a share in place of money, or costs below zero.", 0.01,
    ),
    "negative_discount": ("discount", "discounts have a minus sign", "Nothing, if a discount is meant.", 1.0),
    "after_end": ("time", "events are dated at or after events.ends", "Move events.ends if they should count.", 0.1),
    "nonexistent_time": ("time", "times were skipped by their zone's clock", "Check the source's timezone.", 0.001),
    "identity_unmapped": ("customer_id", "events have ids without an entry in events.identity", "Add them there.", 0.1),
}  # fmt: skip
UNKNOWN_POLICY = (None, "lines met this policy", "Check that it does what you want.", 0.1)
VOLUMES = ("lines", "events", "attribute_lines")


def customer_days(frame: pl.DataFrame) -> pl.DataFrame:
    """One row per customer and day with a purchase or return.

    customer_id, day, purchases and returns (lines), zeros (purchase lines of nothing), gross and given_back (minor
    units), net, occasion (definition D2).
    """
    bought, returned = pl.col("event_type") == "purchase", pl.col("event_type") == "return"
    return (
        frame.lazy()
        .filter(bought | returned)
        .group_by("customer_id", day=pl.col("time").dt.date())
        .agg(
            purchases=bought.sum(),
            returns=returned.sum(),
            zeros=(bought & (pl.col("amount") == 0)).sum(),
            gross=pl.col("amount").filter(bought).sum(),
            given_back=pl.col("amount").filter(returned).sum(),
        )
        .with_columns(net=pl.col("gross") + pl.col("given_back"))
        .with_columns(occasion=timeline.occasion(pl.col("purchases"), pl.col("returns"), pl.col("net")))
        .collect()
    )


def findings(log: Log, data: Data, days: pl.DataFrame) -> Iterator[Finding]:
    """Every finding about the log; ``days`` are its customer days."""
    yield from _policies(log)
    yield from _attributes(log)
    yield from _holes(log, days)
    yield from _thin_weeks(log, days)
    yield from _clocks(log)
    yield from _numbers(log, data, days)


def _policies(log: Log) -> Iterator[Finding]:
    """A finding for each counted policy that met a line."""
    lines = {c.source: c.rows for c in log.counts if c.policy in ("lines", "attribute_lines")}
    for c in log.counts:
        if c.rows == 0 or c.policy in VOLUMES:
            continue
        column, met, do, limit = POLICIES.get(c.policy, UNKNOWN_POLICY)
        if c.policy.startswith("unparsable_"):
            column = c.policy.removeprefix("unparsable_")
            met, do, limit = f"values of {column} cannot be read", "Correct them in the source.", 0.0
        part = share(c.rows, lines.get(c.source, 0))
        severity: Severity = "warning" if part is not None and part > limit else "note"
        yield Finding(severity, c.policy, f"{c.rows:,} {met}: {c.action}.", do, c.source, column, c.rows, part)


def _attributes(log: Log) -> Iterator[Finding]:
    for name, frame in log.attributes.items():
        if "valid_from" not in frame.columns:
            yield Finding(
                "warning", "attributes_undated",
                "These attributes have no valid_from: used in segments and reports, refused as features, because "
                "today's values would leak into past cutoffs.",
                f"Set events.attributes.{name}.valid_from if the table has such a column.",
                source=name, column="valid_from", rows=frame.height,
            )  # fmt: skip


def _purchases_by_day(days: pl.DataFrame) -> dict[dt.date, int]:
    """Purchase lines of each day that has any, in order."""
    found = days.group_by("day").agg(pl.col("purchases").sum()).filter(pl.col("purchases") > 0).sort("day")
    return dict(found.iter_rows())


def _holes(log: Log, days: pl.DataFrame) -> Iterator[Finding]:
    """Stretches without a purchase by anyone; the last one makes everybody look churned."""
    if "purchase" not in log.starts:
        return
    one = dt.timedelta(days=1)
    inside = [d for d in _purchases_by_day(days) if log.starts["purchase"] <= d < log.ends]
    edges = [log.starts["purchase"] - one, *inside, log.ends]
    holes = [(a + one, b) for a, b in itertools.pairwise(edges) if (b - a).days - 1 > GAP_DAYS]
    if holes and holes[-1][1] == log.ends:
        since = holes.pop()[0]
        yield Finding(
            "error", "ends_without_purchases",
            f"The log ends before {log.ends}, but nobody buys from {since} on: everyone looks churned there.",
            f"Set events.ends: {since}, or add the missing purchases.", where=f"{since} to {log.ends - one}",
        )  # fmt: skip
    if holes:
        longest = max((b - a).days for a, b in holes)
        yield Finding(
            "warning", "gap_in_log",
            f"{len(holes)} stretch(es) of more than {GAP_DAYS} days without a purchase by anyone; the longest has "
            f"{longest} days.",
            "Check whether the business was closed or lines are missing.",
            where=", ".join(f"{a} to {b - one}" for a, b in holes[:3]),
        )  # fmt: skip


def _thin_weeks(log: Log, days: pl.DataFrame) -> Iterator[Finding]:
    """The first and the last seven days against the median of the whole weeks before the end."""
    start = log.starts.get("purchase", log.ends)
    weeks = (log.ends - start).days // 7
    if weeks < WEEKS:
        return
    counts, opening = [0] * weeks, 0
    for day, count in _purchases_by_day(days).items():
        week = ((log.ends - day).days - 1) // 7
        if 0 <= week < weeks:
            counts[week] += count
        opening += count if 0 <= (day - start).days < 7 else 0
    usual = sorted(counts)[weeks // 2]
    edges = (
        ("first", opening, start, "If the log starts late in that week, set the source's log_starts."),
        ("last", counts[0], log.ends - dt.timedelta(days=7), "If the log was cut, set events.ends earlier."),
    )
    for name, count, where, do in edges:
        if count < THIN_WEEK * usual:
            text = f"The {name} week has {count:,} purchase lines, the usual one {usual:,}: the log may be cut."
            yield Finding("warning", f"thin_{name}_week", text, do, rows=count, where=f"week from {where}")


def _clocks(log: Log) -> Iterator[Finding]:
    """Types dated by the day only, days that a time zone has moved, and a zone that nobody chose."""
    clock, hour = pl.col("time").dt.time(), pl.col("time").dt.hour()
    kinds = log.frame.group_by("event_type").agg(
        n=pl.len(), clocks=clock.n_unique(), midnight=(clock == dt.time()).mean(), night=(hour < 6).mean()
    )
    timed = False
    for row in kinds.sort("event_type").iter_rows(named=True):
        kind, n = row["event_type"], row["n"]
        if row["midnight"] == 1:
            text = f"Events of type {kind} are dated by the day, without a clock time."
            do = "Nothing: no time zone moves them. Their order within a day is unknown."
            yield Finding("note", "date_only", text, do, column="time", rows=n, share=1.0)
            continue
        timed = True
        if n >= CLOCK_EVENTS and row["clocks"] <= 2:
            text = f"Events of type {kind} all stand at one or two clock times: days that a time zone has moved."
            do = "Write them as days, or leave the source's timezone out."
            yield Finding("warning", "moved_days", text, do, column="time", rows=n)
        elif kind == "purchase" and n >= CLOCK_EVENTS and row["night"] - row["midnight"] > NIGHT_SHARE:
            text = f"{row['night']:.0%} of the purchases fall between midnight and 6 in {log.rules.timezone}."
            do = "Check events.timezone and the source's timezone: a wrong zone puts purchases on the wrong day."
            yield Finding("warning", "night", text, do, column="time", share=row["night"])
    if timed and log.rules.timezone == "UTC":
        do = "Set events.timezone to where the business is, if it is elsewhere."
        yield Finding("note", "timezone", "Days are cut at midnight UTC.", do, column="time")


def _one_day(once: float, data: Data, days: pl.DataFrame) -> Finding:
    """Most customers have one day of purchases: what that leaves to learn from, and which question helps more."""
    own = days.filter("occasion").group_by("customer_id").len()
    more = own.filter(pl.col("len") > 1).height
    text = (
        f"{once:.0%} of the customers bought on one day only: their history says little about them. "
        f"{f'{more:,} of {own.height:,}' if more else 'Nobody'} ever came back."
    )
    rate = "" if data.base_rate_at_test is None else f" (here {data.base_rate_at_test:.0%})"
    do = (
        f"First check that customers keep their id from order to order. If they do, ready means that training runs, "
        f"and not that it will tell much: most probabilities lie near the base rate{rate}, and only who came back has "
        f"a rhythm to learn from. The better question is then who places a second order: a target with population: "
        f"one_order (docs/targets.md)."
    )
    return Finding("warning", "one_purchase", text, do, rows=own.height - more, share=once)


def _numbers(log: Log, data: Data, days: pl.DataFrame) -> Iterator[Finding]:
    """One-time buyers, returns, and one order that rules the total."""
    once, returned, giant = data.one_purchase_customer_share, data.return_money_share, data.largest_customer_day_share
    if once is not None and once > ONE_PURCHASE_SHARE:
        yield _one_day(once, data, days)
    if returned is not None and returned > RETURN_SHARE:
        do = "Check the mapping of event_type and the sign of amounts."
        text = f"Returns give back {returned:.0%} of the money."
        yield Finding("warning", "returns", text, do, column="amount", share=returned)
    if giant is not None and giant > GIANT_SHARE:
        day = days.sort("gross", "day", descending=[True, False]).row(0, named=True)
        amount = f"{day['gross'] / 10**log.rules.minor_units:,.{log.rules.minor_units}f} {data.currency}"
        undone = ", given back the same day" if day["net"] <= 0 else ""
        text = f"One customer's day holds {giant:.1%} of all the money: {amount}{undone}."
        do = "Check that it is real: one such order moves every total."
        yield Finding("warning", "giant_order", text, do, column="amount", share=giant, where=str(day["day"]))
