"""From a booster's own contributions to those of the calibrated score: through every step that the score takes.

A sum or mean of parts adds their contributions. An elementwise map f multiplies all contributions to its input by one
number, (f(x) - f(x0)) / (x - x0) between the base customer's input and this one's: the rescale rule of DeepLIFT
(Shrikumar, Greenside, Kundaje 2017, "Learning important features through propagating activation differences"). So at
each step they sum to what the step differs from the base customer's.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from math import factorial

import lightgbm as lgb
import numpy as np

from churn_clv.models import predict
from churn_clv.models.predict import CERTAIN, Floats, Head, Pool
from churn_clv.models.renewal import COUNT, FIRST, LAST, Renewal
from churn_clv.models.steps import Steps
from churn_clv.models.usual import Usual

INPUTS = (COUNT, FIRST, LAST)
# Nearer to the base than this, relatively, the derivative is more exact than the quotient of two rounded differences.
NEAR = 1e-12


@dataclass(frozen=True)
class Step:
    """A quantity on its way to the score: its value (rows,), the base customer's, what each column adds to that
    (columns, rows)."""  # fmt: skip

    value: Floats
    base: float
    parts: Floats

    def through(self, value: Floats, base: float, slope: Floats) -> Step:
        """The same after an elementwise map that makes ``value`` of this value and ``base`` of this base.

        ``slope`` (rows,) is the map's derivative at the value.
        """
        gap = self.value - self.base
        near = np.abs(gap) <= NEAR * abs(self.base)
        rise = np.where(near, slope, (value - base) / np.where(near, 1.0, gap))
        return Step(value, base, self.parts * rise)


def score(head: Head, usual: Usual, values: Floats) -> Step:
    """The log-odds of the head's probability, its base and contributions; ``values`` (rows, columns).

    Of a head that gives a count or money the logarithm of it.
    """
    if head.kind in ("amount", "count"):
        return _logarithm(head, _margin(head.booster, values))
    step = _hazard(head, usual, values) if head.kind == "hazard" else _event(head, values)
    if head.whole is not None:
        step = _averaged(step, _margin(head.whole, values))
    if head.pool is not None:
        step = _pooled(step, head.pool, usual, values, head)
    mean, base = step.value, np.array([step.base])
    value = predict.logit(predict.mapped(mean, head.intercept, head.slope))
    start = float(predict.logit(predict.mapped(base, head.intercept, head.slope))[0])
    return step.through(value, start, head.slope / (mean * (1 - mean)))


def _event(head: Head, values: Floats) -> Step:
    """P(the event) of the booster alone."""
    step = _sigmoid(_margin(head.booster, values))
    return _clipped(step, np.clip(step.value, CERTAIN, 1 - CERTAIN))


def _logarithm(head: Head, margin: Step) -> Step:
    """Of the expected count or money: the margin moved and stretched."""
    start = float(np.log(head.scale)) + head.intercept
    slope = np.full_like(margin.value, head.slope)
    return margin.through(start + head.slope * margin.value, start + head.slope * margin.base, slope)


def totals(parts: Floats) -> Floats:
    """The sum over columns (rows,): one after the other, so that one row comes out as in a batch to the bit."""
    return np.asarray(
        np.add.accumulate(parts, axis=0)[-1]
    )  # a plain sum adds the columns of a single row in another order


def _hazard(head: Head, usual: Usual, values: Floats) -> Step:
    """P(no purchase in the horizon) of the hazard booster alone: the product of the parts' chances to stay silent."""
    count, rows = len(head.edges), len(values)
    margins = head.margin(values)
    found, expected = predict.raw_contributions(head.booster, predict.by_part(values, count))
    each = found[:-1].reshape(-1, count, rows)
    logs, start, parts = np.zeros(rows), 0.0, np.zeros((len(each), rows))
    for part in range(count):
        base = expected + usual.parts[part]
        own = Step(margins[part], base, _closed(np.ascontiguousarray(each[:, part]), margins[part] - base))
        silent, silent_base = _log_silent(margins[part]), float(_log_silent(np.array([base]))[0])
        own = own.through(silent, silent_base, -predict.sigmoid(margins[part]))
        logs, start, parts = logs + own.value, start + own.base, parts + own.parts
    whole = np.exp(logs)
    value, base = predict.survival(margins)[-1], float(np.clip(np.exp(np.array([start])), CERTAIN, 1 - CERTAIN)[0])
    return Step(logs, start, parts).through(
        value, base, np.where((whole > CERTAIN) & (whole < 1 - CERTAIN), whole, 0.0)
    )


def _closed(parts: Floats, total: Floats) -> Floats:
    """Contributions (columns, rows) that sum to ``total`` (rows,).

    What the part of the horizon adds beyond its average is its interplay with the customer's columns: they share it by
    their size. Where none has any say nothing is left but rounding.
    """
    rest, size = total - totals(parts), totals(np.abs(parts))
    some = size > 0
    return np.asarray(np.where(some, parts + np.abs(parts) * (rest / np.where(some, size, 1.0)), 0.0))


def _log_silent(margin: Floats) -> Floats:
    """log(1 - sigmoid(margin)) without overflow."""
    return np.asarray(-(np.maximum(margin, 0.0) + np.log1p(np.exp(-np.abs(margin)))))


def _margin(booster: lgb.Booster, values: Floats) -> Step:
    """A booster's raw score."""
    parts, base = predict.raw_contributions(booster, values)
    value = predict.raw_margin(booster, values)
    return Step(value, base, _closed(parts, value - base))


def _sigmoid(step: Step) -> Step:
    value, base = predict.sigmoid(step.value), float(predict.sigmoid(np.array([step.base]))[0])
    return step.through(value, base, value * (1 - value))


def _averaged(step: Step, margin: Step) -> Step:
    """As ``predict.averaged``."""
    other = _sigmoid(margin)
    mean = (step.value + other.value) / 2
    both = Step(mean, (step.base + other.base) / 2, (step.parts + other.parts) / 2)
    return _clipped(both, predict.averaged(step.value, margin.value))


def _pooled(own: Step, pool: Pool, usual: Usual, values: Floats, head: Head) -> Step:
    """As ``Pool.mixed``; where the renewal model knows nothing of a customer, it is that there was no purchase."""
    columns = head.columns[: values.shape[1]]
    said = own if pool.linear is None else _sigmoid(_linear(pool, usual, values))
    shares = (1 - pool.linear_share - pool.renewal_share, pool.linear_share, pool.renewal_share)
    given = own if pool.renewal is None else _renewal(pool.renewal, usual, values, columns, head.horizon_days, own)
    mean = shares[0] * own.value + shares[1] * said.value + shares[2] * given.value
    base = shares[0] * own.base + shares[1] * said.base + shares[2] * given.base
    parts = shares[0] * own.parts + shares[1] * said.parts + shares[2] * given.parts
    alone = replace(pool, table=None).mixed(own.value, values, columns, head.horizon_days)
    step = _clipped(Step(mean, base, parts), alone)
    return step if pool.table is None else _tabled(step, pool.table, pool.table_share, usual, values, columns)


def _tabled(step: Step, table: Steps, share: float, usual: Usual, values: Floats, columns: Sequence[str]) -> Step:
    """The mean with what a table says: all of that is its column's."""
    said = table.chance(values, columns)
    parts = (1 - share) * step.parts
    parts[columns.index(table.column)] += share * (said - usual.table)
    mean, base = (1 - share) * step.value + share * said, (1 - share) * step.base + share * usual.table
    return _clipped(Step(mean, base, parts), predict.mixture(step.value, said, share))


def _clipped(step: Step, value: Floats) -> Step:
    """After the clip that keeps everyone from certainty; ``value`` (rows,) is what came of it."""
    base = float(np.clip(np.array([step.base]), CERTAIN, 1 - CERTAIN)[0])
    return step.through(value, base, ((step.value > CERTAIN) & (step.value < 1 - CERTAIN)).astype(np.float64))


def _linear(pool: Pool, usual: Usual, values: Floats) -> Step:
    """The logistic regression's log-odds: its terms less their means."""
    assert pool.linear is not None
    parts, base = np.zeros((values.shape[1], len(values))), pool.linear.intercept
    value = np.full(len(values), pool.linear.intercept)
    for place, term in pool.linear.terms(values):
        parts[place] = term - usual.linear[place]
        base += usual.linear[place]
        value += term
    return Step(value, base, parts)


def _renewal(renewal: Renewal, usual: Usual, values: Floats, columns: Sequence[str], days: int, own: Step) -> Step:
    """P(no purchase) of the renewal model by exact Shapley values over its three inputs, against the median customer.

    Shapley 1953; with three inputs all eight mixtures of the two customers are worked out.
    """
    places = [list(columns).index(name) for name in INPUTS]
    theirs = [np.ascontiguousarray(values[:, place]) for place in places]
    median = [usual.medians[place] for place in places]
    usually = [np.full(len(values), 1.0 if m is None else m) for m in median]

    sets = list(_subsets(range(len(INPUTS))))
    mixed = [np.concatenate([(theirs if i in mine else usually)[i] for mine in sets]) for i in range(len(INPUTS))]
    chances = renewal.curve(np.column_stack(mixed), INPUTS, [days])[0].reshape(len(sets), len(values))
    known = dict(zip(sets, chances, strict=True))
    base, full = known[frozenset()], known[frozenset(range(len(INPUTS)))]
    parts = np.zeros((values.shape[1], len(values)))
    unknown = np.isnan(full)
    for i, place in enumerate(places):
        fair = sum((weight * (known[mine | {i}] - known[mine]) for mine, weight in _orders(i, len(INPUTS))),
                   np.zeros(len(values)))  # fmt: skip
        parts[place] = np.where(unknown, 0.0, fair)
    start = float(base[0]) if len(values) else 0.0
    parts = np.where(unknown, own.parts, parts)
    parts[places[0]] = np.where(unknown, parts[places[0]] + (own.base - start), parts[places[0]])
    return Step(np.where(unknown, own.value, full), start, parts)


def _subsets(items: Sequence[int] | range) -> Iterator[frozenset[int]]:
    for size in range(len(items) + 1):
        yield from (frozenset(some) for some in combinations(items, size))


def _orders(one: int, count: int) -> Iterator[tuple[frozenset[int], float]]:
    """Which others may come before ``one``, and in what share of all orders they do."""
    for before in _subsets([i for i in range(count) if i != one]):
        yield before, factorial(len(before)) * factorial(count - len(before) - 1) / factorial(count)
