"""The temporal plan: which cutoffs are learnt from, which validate, and which one judges."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

from churn_clv import config
from churn_clv.errors import UserError

# A validation origin needs so many training cutoffs, unless there is none that has them.
FEW_TRAIN_CUTOFFS = 3


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

    def __repr__(self) -> str:
        return (
            f"Plan(horizon {self.horizon_days} days: {len(self.judged)} training and {len(self.origins)} validation "
            f"cutoffs, test {self.test}, labels until {self.ends})"
        )

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


def independent(cutoffs: Iterable[dt.date], horizon_days: int) -> int:
    """How many cutoffs can be picked so that no two label windows overlap."""
    last, count = None, 0
    for date in sorted(cutoffs):
        if last is None or (date - last).days >= horizon_days:
            last, count = date, count + 1
    return count


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
