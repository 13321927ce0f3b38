"""Time: what is past, what is future, and which cutoffs are learnt from.

The only module that compares an event's time with a cutoff. A cutoff is a local midnight, held as the date of
the day that starts there: past is [.., cutoff), a window is [cutoff - w, cutoff), the future is
[cutoff, cutoff + horizon). They tile. An event with a ``known_at`` is past only once both its time and its
``known_at`` are before the cutoff.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import polars as pl
from pydantic import BaseModel, ConfigDict

from churn_clv import config, events
from churn_clv.errors import UserError

# Multiples of the horizon that the windows cover; each is rounded to whole weeks (definition D5).
WINDOW_MULTIPLES = (0.25, 0.5, 1.0, 2.0, 4.0, 8.0)
# A validation origin needs so many training cutoffs, unless there is none that has them.
FEW_TRAIN_CUTOFFS = 3


class Definitions(BaseModel):
    """All that decides what a number means; frozen into the bundle and shared by training and serving.

    ``starts`` gives, per event type, the first day from which the log is complete. ``columns`` are the optional
    columns of the log that hold anything. ``censored_gap_days`` is the population's 90% gap between purchases.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    horizon_days: int
    active_within_days: int
    min_history_days: int
    windows_days: tuple[int, ...]
    rules: events.Rules
    starts: dict[str, dt.date]
    columns: tuple[str, ...]
    event_types: tuple[str, ...]
    families: tuple[str, ...] | None
    exclude: tuple[str, ...]
    censored_gap_days: int

    @property
    def horizon_window_days(self) -> int:
        """The window nearest to the horizon."""
        return min(self.windows_days, key=lambda w: (abs(w - self.horizon_days), w))

    @property
    def long_window_days(self) -> int:
        """The longest window but one (the only one where there is one): a year's habit before it is half null."""
        return self.windows_days[-2:][0]

    @property
    def two_windows_days(self) -> tuple[int, ...]:
        """The window nearest to the horizon and the long one, each once, shortest first."""
        return tuple(sorted({self.horizon_window_days, self.long_window_days}))

    @property
    def purchases_start(self) -> dt.date:
        """The first day from which purchases are complete."""
        return self.starts["purchase"]


def default_windows(horizon_days: int) -> tuple[int, ...]:
    """Window lengths in whole weeks, scaled with the horizon, shortest first; at least config.FEWEST_WINDOWS."""
    weeks = {max(1, round(horizon_days * m / 7)) for m in WINDOW_MULTIPLES}
    while len(weeks) < config.FEWEST_WINDOWS:
        weeks.add(2 * max(weeks))
    return tuple(sorted(7 * w for w in weeks))


def define(log: events.Log, settings: config.Config, as_of: dt.date, seen_by: dt.date | None = None) -> Definitions:
    """Freeze the definitions, learning the 90% gap from the log before ``as_of``.

    Which event types and columns there are is learnt from the log before ``seen_by`` (default: ``as_of``): what first
    appears later is no feature, or the judged model would be shaped by its own test window.
    """
    seen_day = pl.max_horizontal(pl.col("time").dt.date(), pl.col("known_at").dt.date())
    before = log.frame.filter(seen_day < (seen_by or as_of))
    seen = set(before["event_type"].unique())
    starts = {kind: day for kind, day in log.starts.items() if kind in seen}
    if "purchase" not in starts:
        kinds = ", ".join(sorted(starts)) or "none"
        raise UserError(
            f"the log has no 'purchase' events before {seen_by or as_of} (event types: {kinds}). Map event_type to "
            f"'purchase', or take a later cutoff."
        )
    return Definitions(
        horizon_days=settings.timeline.horizon_days,
        active_within_days=settings.population.active_within_days,
        min_history_days=settings.timeline.min_history_days or settings.timeline.horizon_days,
        windows_days=tuple(sorted(set(settings.features.windows_days or ())))
        or default_windows(settings.timeline.horizon_days),
        rules=log.rules,
        starts=starts,
        columns=_columns_in_use(before, log.columns),
        event_types=tuple(sorted(starts)),
        families=settings.features.families,
        exclude=settings.features.exclude,
        censored_gap_days=gap_quantile(log.frame, as_of),
    )


def _columns_in_use(frame: pl.DataFrame, columns: Iterable[str]) -> tuple[str, ...]:
    """The optional columns that purchases hold (for ``value``: that any event holds)."""
    bought = frame.filter(pl.col("event_type") == "purchase")
    return tuple(c for c in sorted(columns) if (frame if c == "value" else bought)[c].count() > 0)


# --- past and future ----------------------------------------------------------------------------
def pairs_of(customers: Iterable[str], cutoffs: Sequence[dt.date]) -> pl.DataFrame:
    """Every customer at every cutoff: ``customer_id``, ``cutoff``, sorted by (cutoff, customer_id)."""
    ids = pl.DataFrame({"customer_id": sorted(set(customers))}, schema={"customer_id": pl.String})
    days = pl.DataFrame({"cutoff": sorted(set(cutoffs))}, schema={"cutoff": pl.Date})
    return days.join(ids, how="cross").select("customer_id", "cutoff")


class Past:
    """A customer's history as it was known at a cutoff; the only door through which features see events.

    ``pairs`` (``customer_id``, ``cutoff``) are the rows asked for; the position of a pair is its ``row``.
    """

    def __init__(self, frame: pl.DataFrame, pairs: pl.DataFrame) -> None:
        self.pairs = pairs
        # Group keys are small integers: joining and grouping strings costs several times as much.
        ids = pairs.select("customer_id").unique().sort("customer_id").with_row_index("customer")
        self._pairs = (
            pairs.with_row_index("row")
            .join(ids, on="customer_id", how="left")
            .select("row", "customer", "cutoff")
            .lazy()
        )
        latest = pairs["cutoff"].max() if pairs.height else None
        day = pl.col("time").dt.date()
        late = pl.col("known_at").dt.date()
        # Where nothing became known late, the day alone says what a cutoff sees, at half the cost.
        self._seen = ("seen",) if frame["known_at"].count() else ()
        self._events = (
            frame.lazy()
            .with_columns(day=day, seen=pl.max_horizontal(day, late))
            .filter(pl.col("seen") < pl.lit(latest, dtype=pl.Date))
            .join(ids.lazy(), on="customer_id", how="inner")
            .drop("customer_id")
        )

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
        rows = (
            self._events.filter(where)
            .group_by("customer", "day", *self._seen, *keys)
            .agg(*added, *highest)
            .join(self._pairs, on="customer", how="inner")
            .filter(pl.col(self._seen[0] if self._seen else "day") < pl.col("cutoff"))
            .with_columns(
                age_days=(pl.col("cutoff") - pl.col("day")).dt.total_days().cast(pl.Int32),
                weekday=pl.col("day").dt.weekday(),
            )
            .drop("customer", "cutoff", "day", *self._seen)
        )
        if not self._seen:
            return rows
        # Events of one day that became known on different days are seen apart until both are known.
        return rows.group_by("row", "age_days", "weekday", *keys).agg(
            *(pl.col(name).sum() for name in (sums or {})), *(pl.col(name).max() for name in (maxima or {}))
        )


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


def occasion(purchases: pl.Expr, returns: pl.Expr, net: pl.Expr) -> pl.Expr:
    """Whether a customer's local day is a purchase occasion (definition D2).

    It is when it has a purchase and same-day reversals leave money standing; an order of zero is one too.
    """
    return (purchases > 0) & ((returns == 0) | (net > 0))


def first_event_dates(frame: pl.DataFrame) -> pl.DataFrame:
    """Per customer the first midnight at which any event of theirs is past: ``customer_id``, ``known_from``."""
    seen = pl.max_horizontal(pl.col("time").dt.date(), pl.col("known_at").dt.date())
    return frame.group_by("customer_id").agg(known_from=seen.min() + pl.duration(days=1))


def known_among(frame: pl.DataFrame, pairs: pl.DataFrame) -> pl.DataFrame:
    """The ``pairs`` (``customer_id``, ``cutoff``) with any event before the cutoff, sorted by (cutoff, customer_id)."""
    return (
        pairs.join(first_event_dates(frame), on="customer_id", how="inner")
        .filter(pl.col("known_from") <= pl.col("cutoff"))
        .select("customer_id", "cutoff")
        .sort("cutoff", "customer_id")
    )


def until(log: events.Log, ends: dt.date) -> events.Log:
    """The log as it would have been read at the midnight ``ends``: what came or became known later is not in it."""
    if ends >= log.ends:
        return log
    seen = pl.max_horizontal(pl.col("time").dt.date(), pl.col("known_at").dt.date())
    return replace(log, frame=log.frame.filter(seen < ends), ends=ends)


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


# --- the rhythm of the population ---------------------------------------------------------------
def gap_quantile(frame: pl.DataFrame, as_of: dt.date, share: float = 0.9) -> int:
    """Days within which ``share`` of the gaps between purchase days end, from what was known before ``as_of``.

    Kaplan-Meier with each customer's open gap as censored and one weight per customer (definition D27): finished
    gaps alone are biased short. Where the curve does not fall that far, the longest gap seen.
    """
    bought = _seen_before(frame, as_of).filter(pl.col("event_type") == "purchase")
    spells = gaps(bought.select("customer_id", day=pl.col("time").dt.date()).unique(), as_of)
    if spells.is_empty():
        return 1
    curve = kaplan_meier(spells.with_columns(weight=1.0 / pl.len().over("customer_id")))
    ended = curve.filter(pl.col("alive") <= 1.0 - share + 1e-12)
    return int(ended["gap"].min() if ended.height else curve["gap"].max())  # type: ignore[arg-type]


def occasion_days(frame: pl.DataFrame, as_of: dt.date) -> pl.LazyFrame:
    """Every occasion (definition D2) known before ``as_of``: ``customer_id``, ``day``."""
    bought, reversed_ = pl.col("event_type") == "purchase", pl.col("event_type") == "return"
    net = pl.col("amount").filter(bought | reversed_).sum()
    return (
        _seen_before(frame, as_of)
        .filter(bought | reversed_)
        .group_by("customer_id", day=pl.col("time").dt.date())
        .agg(stands=occasion(bought.sum(), reversed_.sum(), net))
        .filter("stands")
        .select("customer_id", "day")
    )


def gaps(days: pl.LazyFrame, as_of: dt.date) -> pl.DataFrame:
    """The time from each of a customer's distinct ``day``s to the next, or to ``as_of`` where none has come (open).

    Returns ``customer_id``, ``nth`` (0 = after the customer's first day), ``gap`` (days), ``closed``; in that order.
    """
    return (
        days.sort("customer_id", "day")
        .with_columns(end=pl.col("day").shift(-1).over("customer_id"))
        .select(
            "customer_id",
            nth=pl.int_range(pl.len()).over("customer_id"),
            gap=(pl.col("end").fill_null(as_of) - pl.col("day")).dt.total_days(),
            closed=pl.col("end").is_not_null(),
        )
        .collect()
    )


def kaplan_meier(spells: pl.DataFrame) -> pl.DataFrame:
    """The share of gaps that go on, from ``gap`` (days), ``closed`` and ``weight`` of each (Kaplan and Meier 1958).

    One row per length, shortest first: ``gap``, ``at_risk`` and ``ended`` (weights), ``alive``: the share of gaps
    longer than this one. An open gap counts as at risk up to and including its own length.
    """
    return (
        spells.group_by("gap")
        .agg(
            weight=pl.col("weight").sort().sum(),
            ended=pl.col("weight").filter(pl.col("closed")).sort().sum(),
        )
        .sort("gap")
        .with_columns(at_risk=pl.col("weight").cum_sum(reverse=True))
        .select("gap", "at_risk", "ended", alive=(1.0 - pl.col("ended") / pl.col("at_risk")).cum_prod())
    )


def _seen_before(frame: pl.DataFrame, as_of: dt.date) -> pl.LazyFrame:
    """The events known before a midnight."""
    return frame.lazy().filter(pl.max_horizontal(pl.col("time").dt.date(), pl.col("known_at").dt.date()) < as_of)


# --- the temporal plan --------------------------------------------------------------------------
@dataclass(frozen=True)
class Plan:
    """Which cutoffs are learnt from, which validate, and which one judges.

    Every choice (trees, candidate, map, band) is made on ``origins``, cutoffs whose label windows end by ``test``, each
    predicted by a model that learnt only labels ending by that origin (definitions D7 and D8). Training cutoffs lie on
    a grid of ``step_days`` that ends one horizon before ``test``; what ships goes on from ``test`` itself.
    """

    earliest: dt.date
    ends: dt.date
    horizon_days: int
    step_days: int
    most: int
    edges: tuple[int, ...]
    origins: tuple[dt.date, ...]
    test: dt.date
    note: str | None

    def label_ends(self, cutoff: dt.date) -> dt.date:
        """The day after the last day of a cutoff's label window."""
        return cutoff + dt.timedelta(days=self.horizon_days)

    def learnt_by(self, when: dt.date, days: int | None = None) -> tuple[dt.date, ...]:
        """The newest ``most`` training cutoffs whose first ``days`` (default: the horizon) end by ``when``."""
        anchor = self.test if when == self.ends else self.test - dt.timedelta(days=self.horizon_days)
        steps = (when - dt.timedelta(days=days or self.horizon_days) - anchor).days // self.step_days
        return _steps_back(anchor + dt.timedelta(days=steps * self.step_days), self.earliest, self.step_days, self.most)

    @property
    def train(self) -> tuple[dt.date, ...]:
        """What the model of the oldest origin learns from."""
        return self.learnt_by(self.origins[0])

    @property
    def judged(self) -> tuple[dt.date, ...]:
        """What the judged model learns from."""
        return self.learnt_by(self.test)

    @property
    def shipped(self) -> tuple[dt.date, ...]:
        """What the shipped model learns from."""
        return self.learnt_by(self.ends)

    @property
    def all_cutoffs(self) -> tuple[dt.date, ...]:
        """Every cutoff that needs a snapshot, parts of label windows included."""
        return tuple(sorted({*self.judged_cutoffs, *self._learnt(self.ends)}))

    @property
    def judged_cutoffs(self) -> tuple[dt.date, ...]:
        """The same without what only the shipped model learns from."""
        learnt = (c for when in (*self.origins, self.test) for c in self._learnt(when))
        return tuple(sorted({self.test, *self.origins, *learnt}))

    def _learnt(self, when: dt.date) -> set[dt.date]:
        return {c for days in self.edges for c in self.learnt_by(when, days)}

    def rows(self) -> list[dict[str, Any]]:
        """The plan as a table: role, first and last cutoff, number of cutoffs, the end of the last label window."""
        parts = [
            ("train for the first validation", self.train),
            ("train for the last validation", self.learnt_by(self.origins[-1])),
            ("validation", self.origins),
            ("judged refit", self.judged),
            ("test", (self.test,)),
            ("shipped refit", self.shipped),
        ]
        return [
            {
                "role": role,
                "first_cutoff": cutoffs[0].isoformat(),
                "last_cutoff": cutoffs[-1].isoformat(),
                "cutoffs": len(cutoffs),
                "labels_end": self.label_ends(cutoffs[-1]).isoformat(),
            }
            for role, cutoffs in parts
        ]


def sub_windows(horizon_days: int, count: int) -> tuple[int, ...]:
    """Ends of ``count`` disjoint parts of the horizon, in days, as even as whole days allow; the last is its end."""
    count = min(count, horizon_days)
    return tuple(round(horizon_days * (k + 1) / count) for k in range(count))


def make_plan(starts: dt.date, ends: dt.date, settings: config.Timeline) -> Plan:
    """The temporal plan of a log that is complete in [starts, ends).

    Test is the last cutoff whose labels are complete; the validation origins lie one horizon before it and further back
    in steps of half a horizon, as far as each has something to learn from. Raises UserError where the labels do not
    fit, saying what would.
    """
    horizon, day = settings.horizon_days, dt.timedelta(days=1)
    test, half = ends - horizon * day, -(-horizon // 2)
    plan = Plan(
        earliest=starts + (settings.min_history_days or horizon) * day,
        ends=ends,
        horizon_days=horizon,
        step_days=settings.step_days,
        most=settings.max_train_cutoffs,
        edges=sub_windows(horizon, settings.sub_windows),
        origins=tuple(test - (horizon + k * half) * day for k in reversed(range(settings.validation_origins))),
        test=test,
        note=None,
    )
    few = min(FEW_TRAIN_CUTOFFS, plan.most)
    kept = [o for o in plan.origins if len(plan.learnt_by(o)) >= few]
    if not kept:
        kept = [o for o in plan.origins[-1:] if plan.learnt_by(o)]
    if not kept:
        raise UserError(_does_not_fit(starts, ends, settings))
    wanted = len(plan.origins)
    note = f"history is short: {len(kept)} of {wanted} validation cutoffs fit" if len(kept) < wanted else None
    return replace(plan, origins=tuple(kept), note=note)


def _steps_back(newest: dt.date, earliest: dt.date, step: int, most: int) -> tuple[dt.date, ...]:
    room = (newest - earliest).days
    count = min(most, room // step + 1) if room >= 0 else 0
    return tuple(newest - dt.timedelta(days=step * k) for k in reversed(range(count)))


def _does_not_fit(starts: dt.date, ends: dt.date, settings: config.Timeline) -> str:
    """Why no plan fits, with the horizon or the history that would."""
    have, need = (ends - starts).days, _days_needed(settings.horizon_days, settings)
    best = next((h for h in range(max(have, 0) // 3, 0, -1) if _days_needed(h, settings) <= have), 0)
    fits = f"a horizon of {best} days or less would fit" if best else "no horizon fits"
    return (
        f"the labels do not fit: the log covers {have} days ({starts} to {ends}), and a horizon of "
        f"{settings.horizon_days} days needs {need} (history, training, validation and test windows that do not "
        f"overlap). With this log {fits}; or add {need - have} days of history."
    )


def _days_needed(horizon: int, settings: config.Timeline) -> int:
    """Days of log that a plan needs: history, whole steps over the training window, validation and test windows."""
    steps = -(-horizon // settings.step_days)
    return (settings.min_history_days or horizon) + steps * settings.step_days + 2 * horizon
