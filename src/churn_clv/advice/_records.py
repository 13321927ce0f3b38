"""The advice and what it rests on: what a horizon must give, what each was found to give, how gaps end."""

from __future__ import annotations

import datetime as dt
from dataclasses import asdict, dataclass
from typing import Any

# What a horizon must give (definition D27).
BASE_RATE = (0.1, 0.6)
EACH_CLASS = 300
MOST_RETURN = 0.2
RETURN_HORIZONS = 2
# Fewer silences than this, observed to their end, say nothing about a share.
FEWEST = 30
WEEKS = (*range(1, 27), 30, 35, 39, 44, 52)
MARKS = (0.5, 0.8, 0.9)
# Horizons from the end of the log at which a backtest judges.
BACKTEST = (1.0, 1.5, 2.0)
RULE = (
    "the shortest acceptable horizon that also holds at each of a backtest's cutoffs: it answers soonest and leaves "
    "the most history to learn from"
)


def in_range(rate: float) -> bool:
    """Whether a base rate is one that can be learnt well."""
    return BASE_RATE[0] <= rate <= BASE_RATE[1]


@dataclass(frozen=True)
class Gaps:
    """How a kind of gap ends. ``ended``: share of the gaps that ended within so many ``days`` (ascending).

    ``marks``: days within which that share had ended, None where the log does not see it.
    """

    name: str
    gaps: int
    open: int
    days: tuple[int, ...]
    ended: tuple[float, ...]
    marks: dict[str, int | None]


@dataclass(frozen=True)
class Judged:
    """The eligible of one cutoff, and how many of them churned."""

    cutoff: dt.date
    eligible: int
    churned: int


@dataclass(frozen=True)
class Horizon:
    """What a horizon gives on this log; shares in 0..1.

    ``active_within_days`` is the smallest that the rule allows, else the one after which fewest come back (None where
    nothing can be measured); ``return_share`` of those silent so long buy within RETURN_HORIZONS horizons.
    ``base_rate`` is over all ``cutoffs``, ``churned`` and ``stayed`` are the fewest at any. ``come_back``: share of
    the churned who buy within RETURN_HORIZONS horizons after. ``misses``: topic -> what is not met.
    """

    horizon_days: int
    active_within_days: int | None
    return_share: float | None
    train_cutoffs: int
    backtest_fits: bool
    cutoffs: tuple[Judged, ...]
    come_back: float | None
    misses: dict[str, str]

    @property
    def base_rate(self) -> float | None:
        """Share that churned, over all cutoffs."""
        eligible = sum(c.eligible for c in self.cutoffs)
        return sum(c.churned for c in self.cutoffs) / eligible if eligible else None

    @property
    def rates(self) -> tuple[float, ...]:
        """Share that churned at each cutoff."""
        return tuple(c.churned / c.eligible for c in self.cutoffs if c.eligible)

    @property
    def churned(self) -> int:
        """The fewest that churned after any cutoff."""
        return min((c.churned for c in self.cutoffs), default=0)

    @property
    def stayed(self) -> int:
        """The fewest that stayed after any cutoff."""
        return min((c.eligible - c.churned for c in self.cutoffs), default=0)

    @property
    def acceptable(self) -> bool:
        """Whether everything is met."""
        return not self.misses

    @property
    def firm(self) -> bool:
        """Acceptable, a backtest fits, and no single cutoff leaves the range of the base rate."""
        return self.acceptable and self.backtest_fits and all(in_range(r) for r in self.rates)

    @property
    def shortfall(self) -> float:
        """How far it is from acceptable: the sum of what is missing, each as a share."""
        rate = 0.0 if self.base_rate is None else self.base_rate
        returning = 1.0 if self.return_share is None else self.return_share
        few = max(0, EACH_CLASS - min(self.churned, self.stayed)) / EACH_CLASS
        return max(0.0, BASE_RATE[0] - rate, rate - BASE_RATE[1]) + max(0.0, returning - MOST_RETURN) + few


@dataclass(frozen=True)
class Advice:
    """The advice and all that it rests on. ``chosen`` is None where no horizon fits; ``reason`` says why either way.

    ``configured`` are the config's own values, measured the same way; ``nearest`` is the horizon that misses by least
    where none fits. ``return_by_silence``: for silences of 1, 2, ... days, the share that buys within the window of
    ``shown`` (RETURN_HORIZONS horizons of it), None where too few are seen.
    """

    dataset: str
    first_day: dt.date
    ends: dt.date
    customers: int
    gaps: tuple[Gaps, ...]
    horizons: tuple[Horizon, ...]
    chosen: Horizon | None
    nearest: Horizon | None
    configured: Horizon
    reason: str
    return_by_silence: tuple[float | None, ...]

    @property
    def shown(self) -> Horizon:
        """The horizon to look at: the chosen one, else the nearest, else the config's."""
        return self.chosen or self.nearest or self.configured


def as_document(advice: Advice) -> dict[str, Any]:
    """The advice as plain values for ``--json``."""
    found = asdict(advice)
    found["horizons"] = [_row(h) for h in advice.horizons]
    for name in ("chosen", "nearest", "configured"):
        horizon = getattr(advice, name)
        found[name] = _row(horizon) if horizon else None
    limits = {"base_rate": BASE_RATE, "each_class": EACH_CLASS, "most_return": MOST_RETURN}
    return found | {"rule": RULE, "limits": limits | {"return_horizons": RETURN_HORIZONS}}


def _row(horizon: Horizon) -> dict[str, Any]:
    own = {name: getattr(horizon, name) for name in ("base_rate", "churned", "stayed", "acceptable", "firm")}
    return asdict(horizon) | own
