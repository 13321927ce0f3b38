"""What a number means: horizon, windows, population and what the log holds, frozen at a cutoff."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable
from typing import Literal

import polars as pl
from pydantic import BaseModel, ConfigDict

from churn_clv import config, events
from churn_clv.errors import UserError
from churn_clv.timeline._cuts import matching, seen_before
from churn_clv.timeline._rhythm import gap_quantile

# Multiples of the horizon that the windows cover; each is rounded to whole weeks (definition D5).
WINDOW_MULTIPLES = (0.25, 0.5, 1.0, 2.0, 4.0, 8.0)

# Where the plan of a contract stands: the first of these columns that its openings have; so many plans at most.
PLAN_COLUMNS: tuple[Literal["product_id", "channel"], ...] = ("product_id", "channel")
MOST_PLANS = 12
# Columns that events besides purchases are known by.
OF_ANY = ("value", "sentiment", "topics")


class Definitions(BaseModel):
    """All that decides what a number means; frozen into the bundle and shared by training and serving.

    ``starts`` gives, per event type, the first day from which the log is complete. ``columns`` are the optional
    columns of the log that hold anything. ``censored_gap_days`` is the population's 90% gap between purchases.
    ``watched`` has, by target, the products, categories or channels whose past is looked at, ``contracts`` what opens
    a contract, ``plans`` the products (or channels) that tell its plans apart, ``seen_by`` the types of events besides
    purchases by which a customer shows up.
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
    watched: dict[str, config.Predicate] = {}
    contracts: dict[str, config.Contract] = {}
    plans: dict[str, config.Predicate] = {}
    seen_by: tuple[str, ...] = ()

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


def define(log: events.Log, settings: config.Config, as_of: dt.date, known_by: dt.date | None = None) -> Definitions:
    """Freeze the definitions, learning the 90% gap from the log before ``as_of``.

    Which event types and columns there are is learnt from what was known by ``known_by`` (default: ``as_of``): what
    first appears later is no feature, or the judged model would be shaped by its own test window.
    """
    before = seen_before(log.frame, known_by or as_of).collect()
    seen = set(before["event_type"].unique())
    starts = {kind: day for kind, day in log.starts.items() if kind in seen}
    if "purchase" not in starts:
        kinds = ", ".join(sorted(starts)) or "none"
        raise UserError(
            f"the log has no 'purchase' events before {known_by or as_of} (event types: {kinds}). Map event_type to "
            f"'purchase', or take a later cutoff."
        )
    columns = _columns_in_use(before, log.columns)
    there = {n: t.contract for n, t in settings.targets.items() if t.contract}
    contracts = {n: c for n, c in there.items() if c.opens.column in (*columns, "event_type")}
    return Definitions(
        horizon_days=settings.timeline.horizon_days,
        active_within_days=settings.population.active_within_days,
        min_history_days=settings.timeline.min_history_days or settings.timeline.horizon_days,
        windows_days=tuple(sorted(set(settings.features.windows_days or ())))
        or default_windows(settings.timeline.horizon_days),
        rules=log.rules,
        starts=starts,
        columns=columns,
        event_types=tuple(sorted(starts)),
        families=settings.features.families,
        exclude=settings.features.exclude,
        censored_gap_days=gap_quantile(log.frame, as_of),
        watched={n: t.events for n, t in settings.targets.items() if _held(before, t.events)},
        contracts=contracts,
        seen_by=tuple(sorted(seen & set(settings.features.seen_by))),
        plans={n: found for n, c in contracts.items() if (found := _plans(before, c.opens))},
    )


def _held(frame: pl.DataFrame, asked: config.Predicate) -> bool:
    """Whether any event of the asked types holds the column, where that is not the event type itself."""
    if asked.column == "event_type" or asked.column not in frame.columns:
        return False
    return frame.filter(pl.col("event_type").is_in(list(asked.kinds)))[asked.column].count() > 0


def _plans(frame: pl.DataFrame, opens: config.Predicate) -> config.Predicate | None:
    """The commonest products of the openings, or where they have none their channels; None where all are alike."""
    opened = frame.filter(matching(opens))
    for column in PLAN_COLUMNS:
        if opens.column in ("event_type", column) and opened[column].count():
            common = opened.group_by(column).len().drop_nulls().sort(["len", column], descending=[True, False])
            names = tuple(sorted(common[column].head(MOST_PLANS)))
            return config.Predicate(column=column, is_in=names, event_types=opens.kinds) if len(names) > 1 else None
    return None


def _columns_in_use(frame: pl.DataFrame, columns: Iterable[str]) -> tuple[str, ...]:
    """The optional columns that purchases hold (for those of ``OF_ANY``: that any event holds)."""
    bought = frame.filter(pl.col("event_type") == "purchase")
    return tuple(c for c in sorted(columns) if (frame if c in OF_ANY else bought)[c].count() > 0)
