"""From matrix to numbers: what a bundle needs to predict, and nothing that can learn.

A head is one booster for one target and horizon. Raw margins come from LightGBM; all that follows is the same
numpy elementwise code for a batch and for one customer (contract K2).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import lightgbm as lgb
import numpy as np
from numpy.typing import NDArray

from churn_clv.models import onerow
from churn_clv.models.linear import Linear
from churn_clv.models.priced import Priced
from churn_clv.models.renewal import Renewal
from churn_clv.models.steps import Steps

Floats = NDArray[np.float64]
Kind = Literal["hazard", "amount", "event", "count"]

# The feature that a hazard booster has beside the matrix: which part of the horizon is asked about, from 0.
PART = "horizon_part"
# Nobody is certain to stay or to leave; logits and logarithms stay finite.
CERTAIN = 1e-9
SPEND_IF_ACTIVE = "spend_if_active"
# Of LightGBM, at every question the same: it keeps one number of threads for the whole process, and of two questions at
# once (``ahead``) with different numbers one may run a thread more than it has made room for: a segfault [seen].
THREADS = 1
# Up to so many rows go through the trees one by one: a call made for many costs as much as some 8 rows [measured].
FEW_ROWS = 8
# The targets whose heads make expected spend.
SPEND_HEADS = ("spend", SPEND_IF_ACTIVE)


@dataclass(frozen=True)
class Pool:
    """What else has a say in P(no purchase in the horizon) or P(the event): a weighted mean of probabilities.

    The shares of the two models are of 1; the booster has the rest. Where the renewal model knows nothing (a customer
    who never bought) its share is the booster's. A ``table`` has its share of the mean with all of these.
    """

    renewal: Renewal | None
    renewal_share: float
    linear: Linear | None
    linear_share: float
    table: Steps | None = None
    table_share: float = 0.0

    def mixed(self, own: Floats, values: Floats, columns: Sequence[str], days: int) -> Floats:
        """The mean with the booster's ``own`` probabilities (rows,); ``values`` (rows, features)."""
        said = own if self.linear is None else sigmoid(self.linear.margin(values))
        given = own if self.renewal is None else self.renewal.curve(values, columns, [days])[0]
        mean = pooled(own, said, self.linear_share, given, self.renewal_share)
        return mean if self.table is None else mixture(mean, self.table.chance(values, columns), self.table_share)


@dataclass(frozen=True)
class Head:
    """One booster and the map from its margins to a number.

    hazard: the booster gives, for each part of the horizon (``edges`` are the parts' ends in days), the log-odds of a
    purchase in it after none before. Multiplying the complements gives P(no purchase by each edge). At the horizon its
    mean with a second booster that sees the horizon as a ``whole`` (two views err less than either) is pooled with a
    renewal model's and a logistic regression's (``pool``), then mapped by sigmoid(intercept + slope * logit); the other
    edges follow by one power of the survival curve, so that they never contradict it (definition D16).
    amount: scale * exp(intercept + slope * margin) in major units; ``scale`` is the training constant that money
    was divided by (definition D24), ``weight`` the head's share in expected spend and ``priced`` what the sum of both
    heads is then mixed with (``answers``).
    event, count: targets of the user's own (``targets``): P(the event), pooled and mapped as above but of one window;
    an expected count is an amount whose scale is 1.
    """

    target: str
    horizon_days: int
    kind: Kind
    booster: lgb.Booster
    intercept: float = 0.0
    slope: float = 1.0
    scale: float = 1.0
    edges: tuple[int, ...] = ()
    pool: Pool | None = None
    whole: lgb.Booster | None = None
    weight: float = 1.0
    priced: Priced | None = None

    @cached_property
    def columns(self) -> list[str]:
        """The booster's columns, in order; LightGBM makes a list of them anew at every question."""
        return list(self.booster.feature_name())

    def margin(self, values: Floats) -> Floats:
        """Raw scores, (rows,) or for a hazard (parts, rows); ``values`` is (rows, features), NaN where unknown."""
        if self.kind != "hazard":
            return raw_margin(self.booster, values)
        return part_margins(self.booster, values, len(self.edges))

    def predict(self, values: Floats) -> Floats:
        """P(no purchase in the horizon), P(the event), a count, or money in major units; (rows,)."""
        if self.kind == "hazard":
            return np.asarray(self.curve(values)[-1])
        if self.kind == "event":
            own = clipped(sigmoid(self.margin(values)), CERTAIN, 1 - CERTAIN)
            if self.pool is not None:
                own = self.pool.mixed(own, values, self.columns, self.horizon_days)
            return mapped(own, self.intercept, self.slope)
        return np.asarray(self.scale * np.exp(self.intercept + self.slope * self.margin(values)))

    def curve(self, values: Floats) -> Floats:
        """P(no purchase by each of ``edges``), falling; (edges, rows)."""
        raw = survival(self.margin(values))
        last = raw[-1] if self.whole is None else averaged(raw[-1], raw_margin(self.whole, values))
        if self.pool is not None:
            last = self.pool.mixed(last, values, self.columns, self.horizon_days)
        return through(raw, mapped(last, self.intercept, self.slope))


def answers(heads: Sequence[Head], values: Floats) -> tuple[Floats, Floats | None]:
    """Churn curve (edges, rows) and expected spend (rows,), or None without a spend head.

    Expected spend is the weighted mean of the direct model and of P(active) x spend if active, mixed with expected
    orders x order value where that has a share.
    """
    curve, money, priced = np.empty((1, 0)), None, None
    for head in heads:
        if head.kind == "hazard":
            curve = head.curve(values)
        elif head.target in SPEND_HEADS:
            part = head.predict(values) * head.weight
            if head.target == SPEND_IF_ACTIVE:
                part = part * (1 - curve[-1])
            money, priced = part if money is None else money + part, priced or head
    if money is not None and priced is not None and priced.priced is not None:
        money = priced.priced.mixed(money, values, priced.columns, curve[-1])
    return curve, money


def raw_margin(booster: lgb.Booster, values: Floats) -> Floats:
    """The booster's raw scores; (rows,).

    Always of all its trees (the first few are a booster of their own: ``fit.cut``): LightGBM notes how many are asked
    for in the booster itself, so that two threads that ask one for different numbers get what neither asked for.
    """
    if values.shape[0] == 0:
        return np.empty(0)
    if values.shape[0] <= FEW_ROWS and (few := onerow.margins(booster, values)) is not None:
        return few
    # LightGBM ignores column names here: the caller hands the columns in the bundle's order.
    raw = booster.predict(values, raw_score=True, num_threads=THREADS, num_iteration=-1)
    return np.ascontiguousarray(raw, dtype=np.float64)


def part_margins(booster: lgb.Booster, values: Floats, parts: int) -> Floats:
    """Raw scores of a hazard booster for each part of the horizon; (parts, rows)."""
    rows = values.shape[0]
    if rows == 0:
        return np.empty((parts, 0))
    return raw_margin(booster, by_part(values, parts)).reshape(parts, rows)


def by_part(values: Floats, parts: int) -> Floats:
    """The rows once for each part of the horizon, with the part's number behind; (parts * rows, features + 1)."""
    rows, columns = values.shape
    long = np.empty((parts, rows, columns + 1))
    long[:, :, :-1] = values
    long[:, :, -1] = np.arange(parts)[:, None]
    return long.reshape(parts * rows, columns + 1)


def raw_contributions(booster: lgb.Booster, values: Floats) -> tuple[Floats, float]:
    """What each column adds to the booster's raw scores (columns, rows), and the expected score they start from.

    Exact TreeSHAP (Lundberg et al. 2020, Nature Machine Intelligence 2) as LightGBM computes it.
    """
    if values.shape[0] == 0:
        return np.empty((values.shape[1], 0)), 0.0
    found = np.asarray(booster.predict(values, pred_contrib=True, num_threads=THREADS), dtype=np.float64)
    return np.ascontiguousarray(found[:, :-1].T), float(found[0, -1])


# From here on every operation is on whole contiguous rows of one number per customer: numpy picks other code for other
# strides, whose last bit may differ, and one customer must come out as in a batch.
def survival(margins: Floats) -> Floats:
    """P(no purchase by the end of each part) from the log-odds of one in it; (parts, rows)."""
    stay = sigmoid(-margins)
    for part in range(1, len(stay)):
        stay[part] *= stay[part - 1]
    return clipped(stay, CERTAIN, 1 - CERTAIN)


def averaged(survived: Floats, margin: Floats) -> Floats:
    """The mean of a P(no purchase in the horizon) and of another given as log-odds; (rows,)."""
    return clipped((survived + sigmoid(margin)) / 2, CERTAIN, 1 - CERTAIN)


def pooled(own: Floats, said: Floats, said_share: float, given: Floats, given_share: float) -> Floats:
    """Weighted mean of three probabilities (rows,); where ``given`` is NaN its share is that of ``own``."""
    known = np.where(np.isnan(given), own, given)
    mean = (1 - said_share - given_share) * own + said_share * said + given_share * known
    return clipped(mean, CERTAIN, 1 - CERTAIN)


def mixture(own: Floats, other: Floats, share: float) -> Floats:
    """Two probabilities (rows,), the ``share`` of the other."""
    return clipped((1 - share) * own + share * other, CERTAIN, 1 - CERTAIN)


def mapped(probability: Floats, intercept: float, slope: float) -> Floats:
    """sigmoid(intercept + slope * logit) of probabilities (rows,): the calibration map."""
    return clipped(sigmoid(intercept + slope * logit(probability)), CERTAIN, 1 - CERTAIN)


def through(curve: Floats, last: Floats) -> Floats:
    """A survival curve (edges, rows) led to another ``last`` value (rows,), the others in proportion.

    Proportional hazards: every value is raised to the one power that takes the last one there.
    """
    out = np.empty_like(curve)
    out[-1] = last
    power = np.log(last) / np.log(curve[-1])
    for part in range(len(curve) - 1):
        out[part] = clipped(np.exp(power * np.log(curve[part])), last, 1 - CERTAIN)
    return out


def within(curve: Floats, edges: tuple[int, ...], days: int) -> Floats:
    """P(no purchase in ``days``), which lie within the last edge; (rows,).

    At an edge the curve's own value; between two edges, and between now and the first, the same chance each day.
    """
    if not 1 <= days <= edges[-1]:
        raise ValueError(f"{days} days do not lie between 1 and the horizon of {edges[-1]}")
    place = int(np.searchsorted(edges, days))
    if days == edges[place]:
        return np.asarray(curve[place])
    start, before = (edges[place - 1], curve[place - 1]) if place else (0, np.ones_like(curve[0]))
    share = (days - start) / (edges[place] - start)
    found = np.exp(np.log(before) + share * (np.log(curve[place]) - np.log(before)))
    return clipped(found, curve[place], before)


def beyond(curve: Floats, edges: tuple[int, ...], days: int) -> Floats:
    """P(no purchase in ``days``), which lie beyond the last edge: the horizon's chance chained; (rows,). Extrapolated.

    A constant chance per day after the horizon; the customers who stay silent are in truth ever less likely to come.
    """
    if days <= edges[-1]:
        raise ValueError(f"{days} days do not lie beyond the horizon of {edges[-1]}")
    return np.asarray(np.exp(np.log(curve[-1]) * (days / edges[-1])))


def clipped(values: Floats, low: float | Floats, high: float | Floats) -> Floats:
    """``np.clip`` to the bit (NaN stays) at a third of its price for one row."""
    return np.asarray(np.minimum(np.maximum(values, low), high))


def logit(p: Floats) -> Floats:
    """log(p / (1 - p))."""
    return np.asarray(np.log(p) - np.log1p(-p))


def sigmoid(x: Floats) -> Floats:
    """1 / (1 + exp(-x)) without overflow."""
    small = np.exp(-np.abs(x))
    return np.where(x >= 0, 1.0 / (1.0 + small), small / (1.0 + small))
