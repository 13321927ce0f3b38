"""Past and future of a customer at a cutoff, and what was known when."""

from __future__ import annotations

import copy
import datetime as dt
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TypeVar

import polars as pl

from churn_clv import config, events
from churn_clv.canonical import PLAIN


def pairs_of(customers: Iterable[str], cutoffs: Sequence[dt.date]) -> pl.DataFrame:
    """Every customer at every cutoff: ``customer_id``, ``cutoff``, sorted by (cutoff, customer_id)."""
    ids = pl.DataFrame({"customer_id": sorted(set(customers))}, schema={"customer_id": pl.String})
    days = pl.DataFrame({"cutoff": sorted(set(cutoffs))}, schema={"cutoff": pl.Date})
    return days.join(ids, how="cross").select("customer_id", "cutoff")


Frame = TypeVar("Frame", pl.DataFrame, pl.LazyFrame)

# Up to so many events are few: a query's planning costs more than its work, and is done plainly. Answers are the same:
# all that crosses rows is exact.
FEW = 200_000
# Up to so many, what every question asks again is made once and kept in memory.
MANY = 2_000_000
# How many days before the cutoff, and on which day of the week.
AGED = (
    (pl.col("cutoff") - pl.col("day")).dt.total_days().cast(pl.Int32).alias("age_days"),
    pl.col("day").dt.weekday().alias("weekday"),
)


class Past:
    """A customer's history as it was known at a cutoff; the only door through which features see events.

    ``pairs`` (``row``, ``customer_id``, ``cutoff``) are what is asked for; ``row`` is a pair's position among those
    that were given. ``few`` tells whether there is little of it: then a query is planned once, plainly, and run as a
    whole.
    """

    def __init__(self, frame: pl.DataFrame, pairs: pl.DataFrame) -> None:
        self.pairs = pairs.with_row_index("row")
        size = frame.height + pairs.height
        self.few = size <= FEW
        latest = pairs["cutoff"].max() if pairs.height else None
        late = pl.col("known_at").dt.date()
        # Where nothing became known late, the day alone says what a cutoff sees, at half the cost.
        self._seen = ("seen",) if frame["known_at"].count() else ()
        day = pl.col("time").dt.date()
        events = frame.lazy().with_columns(day=day, seen=pl.max_horizontal(day, late) if self._seen else day)
        self._met: pl.DataFrame | None = None
        self._shared: dict[str, pl.DataFrame] = {}
        if size <= MANY and pairs["customer_id"].n_unique() == pairs.height:
            # One cutoff each: the events meet it at once, instead of once for every question.
            self._met = self.collect(_meet(events, self.pairs.lazy()))
            return
        # Group keys are small integers: joining and grouping strings costs several times as much.
        ids = pairs.select("customer_id").unique().sort("customer_id").with_row_index("customer")
        self._pairs = self.pairs.join(ids, on="customer_id", how="left").select("row", "customer", "cutoff").lazy()
        self._events = (
            events.filter(pl.col("seen") < pl.lit(latest, dtype=pl.Date))
            .join(ids.lazy(), on="customer_id", how="inner")
            .drop("customer_id")
        )

    def among(self, rows: pl.Series) -> Past:
        """The past of some pairs, by their ``row``; what was made already is not made again."""
        if len(rows) == self.pairs.height:
            return self
        # Half the price of a semi join that keeps the order.
        own, kept = copy.copy(self), pl.col("row").is_in(rows.implode())
        own.pairs = self.pairs.filter(kept)
        if self._met is None:
            own._pairs = self._pairs.filter(kept)
            return own
        own._met = self._met.filter(kept)
        own._shared = {name: found.filter(kept) for name, found in self._shared.items()}
        return own

    def known(self) -> Past:
        """The past of those pairs that have any."""
        if self._met is not None:
            return self.among(self._met["row"].unique().sort())
        first = self._events.group_by("customer").agg(first=pl.col("seen").min())
        met = self._pairs.join(first, on="customer", how="inner").filter(pl.col("first") < pl.col("cutoff"))
        return self.among(met.select("row").sort("row").collect()["row"])

    def shared(self, name: str, make: Callable[[], pl.LazyFrame]) -> pl.LazyFrame:
        """Rows (with ``row``) that several questions begin with, made once where there is room to keep them."""
        if self._met is None:
            return make()
        if name not in self._shared:
            self._shared[name] = self.collect(make())
        return self._shared[name].lazy()

    def collect(self, query: pl.LazyFrame) -> pl.DataFrame:
        """The query's rows."""
        return query.collect(optimizations=PLAIN) if self.few else query.collect()

    def held(self, query: pl.LazyFrame) -> pl.LazyFrame:
        """The same query; where there is much of it, its rows, so that no more than one step is in memory."""
        return query if self.few else query.collect().lazy()

    def by(
        self,
        *keys: str,
        where: pl.Expr,
        sums: Mapping[str, pl.Expr] | None = None,
        maxima: Mapping[str, pl.Expr] | None = None,
    ) -> pl.LazyFrame:
        """Events ``where`` holds, one row per pair, day and ``keys``, as seen at the pair's cutoff.

        Returns ``row``, ``age_days`` (days from the event's day to the cutoff, at least 1), ``weekday`` (1 = Monday),
        ``keys``, and the ``sums`` (Int64) and ``maxima`` of per-event expressions. Events are reduced to days before
        they meet the cutoffs, which is exact because a cutoff is a midnight.
        """
        added = [e.cast(pl.Int64).sum().alias(name) for name, e in (sums or {}).items()]
        highest = [e.max().alias(name) for name, e in (maxima or {}).items()]
        if self._met is not None:
            return self._met.lazy().filter(where).group_by("row", "age_days", "weekday", *keys).agg(*added, *highest)
        rows = (
            self._events.filter(where)
            .group_by("customer", "day", *self._seen, *keys)
            .agg(*added, *highest)
            .join(self._pairs, on="customer", how="inner")
            .filter(pl.col(self._seen[0] if self._seen else "day") < pl.col("cutoff"))
            .with_columns(*AGED)
            .drop("customer", "cutoff", "day", *self._seen)
        )
        if not self._seen:
            return rows
        # Events of one day that became known on different days are seen apart until both are known.
        return rows.group_by("row", "age_days", "weekday", *keys).agg(
            *(pl.col(name).sum() for name in (sums or {})), *(pl.col(name).max() for name in (maxima or {}))
        )


def _meet(events: pl.LazyFrame, pairs: pl.LazyFrame) -> pl.LazyFrame:
    """The events that are past at the one cutoff of their customer, with the pair's ``row``."""
    met = events.join(pairs, on="customer_id", how="inner").filter(pl.col("seen") < pl.col("cutoff"))
    return met.with_columns(*AGED).drop("customer_id", "cutoff", "day", "seen")


def future(
    frame: pl.DataFrame, pairs: pl.DataFrame, horizon_days: int, known_by: dt.date | None = None
) -> pl.LazyFrame:
    """Events in [cutoff, cutoff + horizon) of each pair's customer, with the pair's ``row`` and the event's ``day``.

    With ``known_by``, events that only became known at or after that midnight are left out: a label learnt from
    at a test cutoff may hold only what was known then.
    """
    day = pl.col("time").dt.date()
    first, last = pairs["cutoff"].min(), pairs["cutoff"].max()
    rows = known_before(frame.lazy().with_columns(day=day), known_by)
    window_end = pl.col("cutoff") + pl.duration(days=horizon_days)
    return (
        rows.filter(pl.col("day") >= pl.lit(first, dtype=pl.Date))
        .filter(pl.col("day") < pl.lit(last, dtype=pl.Date) + pl.duration(days=horizon_days))
        .join(pairs.with_row_index("row").lazy(), on="customer_id", how="inner")
        .filter((pl.col("day") >= pl.col("cutoff")) & (pl.col("day") < window_end))
    )


def known_before(rows: pl.LazyFrame, when: dt.date | None) -> pl.LazyFrame:
    """The events that had become known by the midnight ``when`` (None: all)."""
    if when is None:
        return rows
    return rows.filter(pl.col("known_at").is_null() | (pl.col("known_at").dt.date() < when))


def matching(predicate: config.Predicate, kinds: Sequence[str] | None = None) -> pl.Expr:
    """Whether an event is one that the predicate means; ``kinds`` replaces its event types."""
    of_kind = pl.col("event_type").is_in(list(kinds or predicate.kinds))
    if predicate.column == "event_type":
        return of_kind
    return of_kind & pl.col(predicate.column).is_in(list(predicate.is_in))


def occasion(purchases: pl.Expr, returns: pl.Expr, net: pl.Expr) -> pl.Expr:
    """Whether a customer's local day is a purchase occasion (definition D2).

    It is when it has a purchase and same-day reversals leave money standing; an order of zero is one too.
    """
    return (purchases > 0) & ((returns == 0) | (net > 0))


def first_event_dates(frame: Frame) -> Frame:
    """Per customer the first midnight at which any event of theirs is past: ``customer_id``, ``known_from``."""
    seen = pl.max_horizontal(pl.col("time").dt.date(), pl.col("known_at").dt.date())
    return frame.group_by("customer_id").agg(known_from=seen.min() + pl.duration(days=1))


def not_past(frame: pl.DataFrame, pairs: pl.DataFrame) -> pl.DataFrame:
    """How many events of each pair's customer are not past at its cutoff: ``customer_id``, ``later``; none, no row.

    ``pairs`` has a customer once.
    """
    first = pairs["cutoff"].min()
    # Ends cost less to find than days.
    latest = max((end.date() for end in (frame["time"].max(), frame["known_at"].max()) if isinstance(end, dt.datetime)),
                 default=dt.date.min)  # fmt: skip
    if not isinstance(first, dt.date) or latest < first:
        return pl.DataFrame(schema={"customer_id": pl.String, "later": pl.UInt32})
    seen = frame.select("customer_id", seen=pl.max_horizontal(pl.col("time").dt.date(), pl.col("known_at").dt.date()))
    met = seen.lazy().join(pairs.lazy(), on="customer_id", how="inner").filter(pl.col("seen") >= pl.col("cutoff"))
    return met.group_by("customer_id").agg(later=pl.len()).collect()


def known_among(frame: pl.DataFrame, pairs: pl.DataFrame) -> pl.DataFrame:
    """The ``pairs`` (``customer_id``, ``cutoff``) with any event before the cutoff, sorted by (cutoff, customer_id)."""
    met = pairs.lazy().join(first_event_dates(frame.lazy()), on="customer_id", how="inner")
    known = met.filter(pl.col("known_from") <= pl.col("cutoff")).select("customer_id", "cutoff")
    few = frame.height + pairs.height <= FEW
    return known.sort("cutoff", "customer_id").collect(optimizations=PLAIN if few else pl.QueryOptFlags())


def until(log: events.Log, ends: dt.date) -> events.Log:
    """The log as it would have been read at the midnight ``ends``: what came or became known later is not in it.

    Nor is an event type, a column or an attribute's value that only came later, or a count that may hold later lines.
    """
    if ends >= log.ends:
        return log
    seen = pl.max_horizontal(pl.col("time").dt.date(), pl.col("known_at").dt.date())
    attributes = {
        name: frame.filter(pl.col("valid_from").dt.date() < ends) if "valid_from" in frame.columns else frame
        for name, frame in log.attributes.items()
    }
    return events.narrowed(log, log.frame.filter(seen < ends), ends, attributes)


def attributes_at(frame: pl.DataFrame, pairs: pl.DataFrame) -> pl.DataFrame:
    """Attributes as they were known at each pair's cutoff, in the order of ``pairs``; null where none were yet.

    A table without ``valid_from`` has no dates: its values are taken as they are.
    """
    keys = pairs.select("customer_id", "cutoff").with_row_index("row")
    if "valid_from" not in frame.columns:
        return keys.join(frame, on="customer_id", how="left", maintain_order="left").sort("row")
    dated = frame.with_columns(valid=pl.col("valid_from").dt.date()).sort("valid_from")
    found = keys.join(dated, on="customer_id", how="left", maintain_order="left")
    before = found.filter(pl.col("valid") < pl.col("cutoff")).unique("row", keep="last", maintain_order=True)
    return keys.select("row").join(before, on="row", how="left", maintain_order="left")


def seen_before(frame: pl.DataFrame, as_of: dt.date) -> pl.LazyFrame:
    """The events known before a midnight."""
    return frame.lazy().filter(pl.max_horizontal(pl.col("time").dt.date(), pl.col("known_at").dt.date()) < as_of)
