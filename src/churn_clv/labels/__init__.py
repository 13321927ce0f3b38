"""What happened next, per target and horizon. Services never reach this module.

A label is null until its window is complete. "Purchase" means an occasion: a customer's local day with a
purchase that same-day reversals do not bring to zero or below (definition D2).
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection, Mapping, Sequence

import polars as pl

from churn_clv import config, timeline
from churn_clv.canonical import divide
from churn_clv.errors import nearest
from churn_clv.labels._contract import ended

ROW = "row"


def column(name: str, horizon_days: int) -> str:
    """The label column of a target and horizon, for example ``churned_28d``."""
    return f"{name}_{horizon_days}d"


def build(
    frame: pl.DataFrame,
    pairs: pl.DataFrame,
    targets: Mapping[str, config.Target],
    horizon_days: int,
    *,
    minor_units: int,
    ends: dt.date,
    known_by: dt.date | None = None,
) -> pl.DataFrame:
    """Labels of each pair (``customer_id``, ``cutoff``), in the order of ``pairs``.

    One nullable Float64 column per target and horizon: 0/1, a count of occasions or events, or money in major
    units. Also ``net_spend_<h>d``, the money before it is clipped at zero (definition D3). Null where the window
    (of a contract with a term: the window and its grace) ends after ``ends``.
    """
    out = pairs.with_row_index(ROW)
    for name, target in targets.items():
        horizon = target.looks_days(horizon_days)
        if target.contract:
            found = ended(frame, pairs, target, horizon, known_by)
        else:
            found = _measure(timeline.future(frame, pairs, horizon, known_by), target, minor_units).collect()
        mature = pl.col("cutoff") + pl.duration(days=target.reach_days(horizon_days)) <= pl.lit(ends)
        label = column(name, horizon)
        out = out.join(found.rename({"measured": label}), on=ROW, how="left", maintain_order="left").with_columns(
            _finish(pl.col(label), target, mature).alias(label)
        )
        if target.measure == "amount" and target.at_least is not None:
            raw = column(f"net_{name}", horizon)
            out = out.with_columns(pl.col(label).alias(raw)).with_columns(pl.col(label).clip(target.at_least))
    return out.drop(ROW)


def by_parts(
    frame: pl.DataFrame,
    pairs: pl.DataFrame,
    target: config.Target,
    edges: Sequence[int],
    *,
    ends: dt.date,
    known_by: dt.date | None = None,
) -> pl.DataFrame:
    """Whether nothing that ``target`` counts came within the first ``edges`` days: ``churned_<edge>d``, 0/1 Float64.

    In the order of ``pairs``; null where the part ends after ``ends``. The last edge agrees with ``build``.
    """
    rows = timeline.known_before(frame.lazy().with_columns(day=pl.col("time").dt.date()), known_by)
    if _occasions_count(target):
        counted = _occasion_days(rows, "customer_id", target.events)
    else:
        counted = rows.filter(timeline.matching(target.events)).select("customer_id", "day").unique()
    days = counted.with_columns(next=pl.col("day")).sort("day").collect()
    found = (
        pairs.with_row_index(ROW)
        .sort("cutoff")
        .join_asof(days, left_on="cutoff", right_on="day", by="customer_id", strategy="forward", check_sortedness=False)
        .sort(ROW)
        .with_columns(away=(pl.col("next") - pl.col("cutoff")).dt.total_days())
    )
    return found.select(
        pl.when(pl.col("cutoff") + pl.duration(days=edge) <= pl.lit(ends))
        .then((pl.col("away") >= edge).fill_null(True).cast(pl.Float64))
        .alias(column("churned", edge))
        for edge in edges
    )


def by_windows(
    frame: pl.DataFrame,
    pairs: pl.DataFrame,
    spend: config.Target | None,
    days: int,
    *,
    minor_units: int,
    ends: dt.date,
) -> pl.DataFrame:
    """Purchase days and money of each pair in each window of ``days`` after its cutoff: window 0 is the horizon.

    ``row`` (the pair's position), ``window``, ``orders`` (occasions) and ``money`` (major units, not below what
    ``spend`` clips at; 0 without it), one row where anything happened. Only windows that end by ``ends``.
    """
    rows = frame.lazy().with_columns(day=pl.col("time").dt.date())
    bought, reversed_ = pl.col("event_type") == "purchase", pl.col("event_type") == "return"
    paid = timeline.matching(spend.events, spend.kinds) if spend else pl.lit(False)
    both = pl.col("amount").filter(bought | reversed_).sum()
    daily = rows.group_by("customer_id", "day").agg(
        occasion=timeline.occasion(bought.sum(), reversed_.sum(), both), minor=pl.col("amount").filter(paid).sum()
    )
    flat = daily.select(
        "customer_id", "occasion", "minor", time=pl.col("day").cast(pl.Datetime("us")),
        known_at=pl.lit(None, dtype=pl.Datetime("us")),
    ).collect()  # fmt: skip
    longest = max(((ends - cutoff).days for cutoff in pairs["cutoff"].unique()), default=0)
    money = divide(pl.col("minor").sum(), 10**minor_units)
    return (
        timeline.future(flat, pairs, longest)
        .with_columns(window=(pl.col("day") - pl.col("cutoff")).dt.total_days() // days)
        .filter(pl.col("cutoff") + pl.duration(days=days) * (pl.col("window") + 1) <= pl.lit(ends))
        .group_by(ROW, "window")
        .agg(orders=pl.col("occasion").sum().cast(pl.Float64), money=money)
        .with_columns(pl.col("money").clip(spend.at_least) if spend and spend.at_least is not None else pl.col("money"))
        .sort(ROW, "window")
        .collect()
    )


def return_rate(
    frame: pl.DataFrame, pairs: pl.DataFrame, churned: pl.Series, horizon_days: int, within_days: int
) -> float | None:
    """Share of the customers labelled churned who bought within ``within_days`` after the horizon (definition D6).

    ``churned`` (0/1) goes with ``pairs``, whose confirmation windows must lie inside the log. None where nobody
    churned.
    """
    lost = pairs.filter(churned == 1)
    if lost.is_empty():
        return None
    return int(returned(frame, lost, horizon_days, within_days).sum()) / lost.height


def returned(frame: pl.DataFrame, lost: pl.DataFrame, horizon_days: int, within_days: int) -> pl.Series:
    """Whether each pair of ``lost`` bought within ``within_days`` after the horizon, in their order."""
    later = lost.with_columns(pl.col("cutoff") + pl.duration(days=horizon_days))
    back = _occasions(timeline.future(frame, later, within_days)).collect()
    return pl.int_range(lost.height, eager=True).is_in(back.filter(pl.col("measured") > 0)[ROW].implode())


def refused(
    targets: Mapping[str, config.Target],
    event_types: Collection[str],
    columns: Collection[str],
    values: Mapping[str, Collection[str]] | None = None,
) -> dict[str, str]:
    """The targets that the log cannot answer, each with what is missing.

    ``values`` holds what each column of the log holds (``values_of``); without it only columns and types are looked at.
    """
    out = {}
    for name, target in targets.items():
        asked = _asked(target)
        why = [_missing(verb, p, kinds, event_types, columns, values or {}) for verb, p, kinds in asked]
        if target.measure == "amount" and "amount" not in columns:
            why.append("it needs the column 'amount', which no source maps")
        if found := next(filter(None, why), None):
            out[name] = found
    return out


def _asked(target: config.Target) -> list[tuple[str, config.Predicate, Sequence[str]]]:
    """What a target needs of a log: in words, the predicate, and its event types."""
    contract = target.contract
    out: list[tuple[str, config.Predicate, Sequence[str]]] = []
    if contract is None or contract.term_days is None:  # a term that runs out is an end of its own
        out.append(("it counts", target.events, target.kinds))
    more = [("it asks those who had", target.has), ("it asks those who had no", target.has_not)]
    more.append(("its contracts open by", contract.opens if contract else None))
    return out + [(verb, p, p.kinds) for verb, p in more if p]


def values_of(frame: pl.DataFrame, targets: Mapping[str, config.Target]) -> dict[str, tuple[str, ...]]:
    """What the columns hold that the targets ask for by value, other than event types."""
    columns = {
        p.column
        for t in targets.values()
        for p in t.predicates
        if p.column != "event_type" and p.column in frame.columns
    }
    return {c: tuple(frame[c].drop_nulls().unique().sort().to_list()) for c in sorted(columns)}


def unknown(
    targets: Mapping[str, config.Target], event_types: Collection[str], values: Mapping[str, Collection[str]]
) -> dict[str, list[str]]:
    """By target what it asks for that the log does not hold, beside something that it does: perhaps a slip."""
    out: dict[str, list[str]] = {}
    for name, target in targets.items():
        for asked in (p for p in (target.events, target.has, target.has_not) if p):
            wanted = asked.kinds if asked.column == "event_type" else (*asked.is_in, *(asked.event_types or ()))
            held = {*event_types, *values.get(asked.column, ())}
            out.setdefault(name, []).extend(v for v in wanted if v not in held)
    return {name: found for name, found in out.items() if found}


def _missing(
    verb: str, asked: config.Predicate, kinds: Sequence[str], event_types: Collection[str], columns: Collection[str],
    values: Mapping[str, Collection[str]],
) -> str | None:  # fmt: skip
    """Why a log has no event that a predicate means; None where it may."""
    if not set(kinds) & set(event_types):
        there = ", ".join(sorted(event_types))
        return f"{verb} events of type {', '.join(kinds)}, and the log has only {there}: map such events"
    if asked.column == "event_type":
        return None
    if asked.column not in columns:
        return f"it needs the column '{asked.column}', which no source maps"
    held = values.get(asked.column)
    if held is None or set(asked.is_in) & set(held):
        return None
    hint = nearest(asked.is_in[0], held)
    return f"no event has the {asked.column} {', '.join(asked.is_in)}.{hint.removesuffix('.')}"


def _measure(future: pl.LazyFrame, target: config.Target, minor_units: int) -> pl.LazyFrame:
    """``row`` and ``measured`` for the pairs with any matching event."""
    match = timeline.matching(target.events, target.kinds)
    if target.measure == "amount":
        # One division of one exact integer: the same in every engine.
        money = divide(pl.col("amount").filter(match).sum(), 10**minor_units)
        return future.group_by(ROW).agg(measured=money)
    if _occasions_count(target):
        return _occasions(future, target.events)
    return future.group_by(ROW).agg(measured=match.sum().cast(pl.Float64))


def _occasions_count(target: config.Target) -> bool:
    """Whether the target counts occasions: purchase days, not purchases."""
    return set(target.kinds) == {"purchase"}


def _occasions(future: pl.LazyFrame, of: config.Predicate | None = None) -> pl.LazyFrame:
    """Number of purchase days that same-day reversals leave standing."""
    return _occasion_days(future, ROW, of).group_by(ROW).agg(measured=pl.len().cast(pl.Float64))


def _occasion_days(rows: pl.LazyFrame, who: str, of: config.Predicate | None = None) -> pl.LazyFrame:
    """``who`` and ``day`` of each purchase day that same-day reversals leave standing.

    Of products, categories or channels (``of``) only their own purchases and reversals count, each value's apart.
    """
    of_value = []
    if of is not None and of.column != "event_type":
        rows, of_value = rows.filter(timeline.matching(of, ("purchase", "return"))), [of.column]
    bought, reversed_ = pl.col("event_type") == "purchase", pl.col("event_type") == "return"
    net = pl.col("amount").filter(bought | reversed_).sum()
    days = rows.group_by(who, "day", *of_value).agg(occasion=timeline.occasion(bought.sum(), reversed_.sum(), net))
    found = days.filter("occasion").select(who, "day")
    return found.unique() if of_value else found


def _finish(measured: pl.Expr, target: config.Target, mature: pl.Expr) -> pl.Expr:
    value = measured.fill_null(0.0)
    if target.measure == "absent":
        value = (value == 0).cast(pl.Float64)
    elif target.measure == "present":
        value = (value > 0).cast(pl.Float64)
    return pl.when(mature).then(value)
