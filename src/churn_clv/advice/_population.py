"""Who would be judged: population and labels of a log for any horizon, at the cutoffs that a backtest would judge."""

from __future__ import annotations

import dataclasses
import datetime as dt
from collections.abc import Iterable, Iterator

import polars as pl

from churn_clv import config, labels, matrix, timeline
from churn_clv.advice._records import (
    BACKTEST,
    BASE_RATE,
    EACH_CLASS,
    MOST_RETURN,
    RETURN_HORIZONS,
    WEEKS,
    Horizon,
    Judged,
    in_range,
)
from churn_clv.advice._silence import Silences
from churn_clv.errors import UserError
from churn_clv.events import LOG_SCHEMA, Log


class Measure:
    """One log, read once: its silences, and its population and labels for any horizon."""

    def __init__(self, log: Log, settings: config.Config) -> None:
        self.settings, self.log = settings, log
        self.definitions = timeline.define(log, settings, as_of=log.ends)
        self.target = settings.targets["churned"].model_copy(update={"horizon_days": None})
        self.frame = thin(log.frame, [self.target.events.column])
        self.spells = timeline.gaps(timeline.occasion_days(self.frame, log.ends), log.ends)
        if self.spells.is_empty():
            raise UserError("no purchase of the log stands: all are reversed on their own day. Check the mapping.")
        self.buyers = self.spells["customer_id"].unique()
        self.silences = Silences(self.spells)

    def horizons(self) -> Iterator[Horizon]:
        """Every horizon of WEEKS whose temporal plan fits the log, each with the window that the rule gives."""
        for days in (7 * weeks for weeks in WEEKS):
            found = self.silences.window(RETURN_HORIZONS * days)
            measured = self.horizon(days, found[0] if found else None)
            if "plan" in measured.misses:
                return  # nor do longer ones
            yield measured

    def horizon(self, days: int, within: int | None) -> Horizon:
        """A horizon with this activity window, measured; ``misses`` says what is not met."""
        timing = self.settings.timeline.model_copy(update={"horizon_days": days})
        starts, ends = self.definitions.purchases_start, self.log.ends
        try:
            plan = timeline.make_plan(starts, ends, timing)
        except UserError as error:
            return Horizon(days, within, None, 0, False, (), None, {"plan": str(error)})
        fits = _fits(starts, ends - dt.timedelta(days=days), timing)
        back = [ends - dt.timedelta(days=int(-(-days * m // 1))) for m in (BACKTEST if fits else BACKTEST[:1])]
        share = self.silences.return_share(within, RETURN_HORIZONS * days) if within else None
        cutoffs, come_back = self._judge(days, within, back, timing) if within else ((), None)
        found = Horizon(days, within, share, len(plan.train), fits, cutoffs, come_back, {})
        return dataclasses.replace(found, misses=dict(_misses(found)))

    def _judge(
        self, days: int, within: int, cutoffs: list[dt.date], timing: config.Timeline
    ) -> tuple[tuple[Judged, ...], float | None]:
        """The eligible and churned at each cutoff, newest first, and the share of the churned who come back.

        The latter at the newest cutoff whose window for coming back lies inside the log, where there is one.
        """
        history = timing.min_history_days or days
        terms = self.definitions.model_copy(
            update={"horizon_days": days, "active_within_days": within, "min_history_days": history}
        )
        matured = self.log.ends - dt.timedelta(days=(1 + RETURN_HORIZONS) * days)
        pairs = timeline.pairs_of(self.buyers, [*cutoffs, matured])
        status = matrix.with_eligibility(self.frame, pairs, terms)
        pairs = status.filter("eligible").select("customer_id", "cutoff")
        churned = labels.column("churned", days)
        rows = labels.build(
            self.frame, pairs, {"churned": self.target}, days, minor_units=self.log.rules.minor_units,
            ends=self.log.ends,
        )  # fmt: skip
        counts = {c: (n, int(k)) for c, n, k in rows.group_by("cutoff").agg(pl.len(), pl.col(churned).sum()).rows()}
        old = rows.filter(pl.col("cutoff") == matured)
        late = labels.return_rate(
            self.frame, old.select("customer_id", "cutoff"), old[churned], days, RETURN_HORIZONS * days
        )
        return tuple(Judged(c, *counts.get(c, (0, 0))) for c in cutoffs), late


def thin(frame: pl.DataFrame, columns: Iterable[str]) -> pl.DataFrame:
    """The log with one row per customer, day, type and ``columns`` (what targets look at).

    It has the same occasions, population and labels.
    """
    keys = ["customer_id", "time", "known_at", "event_type", *sorted({*columns} - {"event_type"})]
    absent = [pl.lit(None, dtype=kind).alias(c) for c, kind in LOG_SCHEMA.items() if c not in {*keys, "amount"}]
    return (
        frame.lazy()
        .with_columns(pl.col("time", "known_at").dt.truncate("1d"))
        .group_by(keys)
        .agg(pl.col("amount").sum())
        .with_columns(absent)
        .select(*LOG_SCHEMA)
        .collect()
    )


def _fits(starts: dt.date, ends: dt.date, timing: config.Timeline) -> bool:
    try:
        timeline.make_plan(starts, ends, timing)
    except UserError:
        return False
    return True


def _misses(h: Horizon) -> Iterator[tuple[str, str]]:
    """What a measured horizon does not meet."""
    window = RETURN_HORIZONS * h.horizon_days
    if h.return_share is None:
        yield "return", f"too few silences are followed for {window} days more to say who comes back"
    elif h.return_share > MOST_RETURN:
        silent = f"{h.active_within_days} days' silence"
        yield "return", f"{h.return_share:.1%} are back within {window} days after {silent}, above {MOST_RETURN:.0%}"
    if h.base_rate is not None and not in_range(h.base_rate):
        side = f"above {BASE_RATE[1]:.0%}" if h.base_rate > BASE_RATE[1] else f"below {BASE_RATE[0]:.0%}"
        yield "base_rate", f"base rate {h.base_rate:.1%}, {side}"
    if h.cutoffs and min(h.churned, h.stayed) < EACH_CLASS:
        few = "churned" if h.churned <= h.stayed else "stayed"
        yield "classes", f"only {min(h.churned, h.stayed):,} {few} after a cutoff"
