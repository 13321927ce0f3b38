"""Evidence against the scores, scoring by scoring: a sequential test by betting (docs/ledger.md).

Each bet multiplies its stake by a factor whose expectation is at most 1 while the scores hold, so that the whole
wealth is a supermartingale and reaches 1 / a at any time with a chance of at most a (Ville 1939; Grunwald, de Heide,
Koolen 2024, "Safe testing"). Arrays in, numbers out; nothing here knows of logs.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from churn_clv.metrics import Order

Floats = NDArray[np.float64]
LAPSE, SPEND, LEAD = "lapse", "spend", "lead"
# How far beyond the tolerance a shift of the log-odds is bet on, and how boldly on standard errors.
SHIFTS = np.array([0.1, 0.2, 0.4, 0.8])
BOLD = np.array([0.5, 1.0, 2.0])
# On money, whose sums are skewed, timidly: at the edge of what is tolerated bolder bets would win by the skewness.
TIMID = np.array([0.25, 0.5])
FARTHEST = 5.0  # standard errors; beyond, a normal approximation says nothing
LEAST = 30  # customers of each kind before ranks or sums are bet on
CAP = 0.99  # actual spend counts up to this quantile in the ranking: one wholesaler decides nothing


@dataclass(frozen=True)
class Seen:
    """A scoring and what came, customer by customer; all arrays of one length.

    ``risk``: predicted P(lapse); ``lapsed``: 0/1; ``silent``: days since the last purchase. Money in major units, None
    without a spend model: ``expected``, ``spend``, ``last`` (spend of the last horizon before the cutoff).
    """

    risk: Floats
    lapsed: Floats
    silent: Floats
    expected: Floats | None = None
    spend: Floats | None = None
    last: Floats | None = None


@dataclass(frozen=True)
class Limits:
    """What still counts as holding: a shift of the log-odds of lapse, a share of the spend, points of AUC or Gini."""

    log_odds: float
    spend: float
    lead: float


@dataclass(frozen=True)
class Bet:
    """One way in which the scores may fail, its share of the first stake, and what is said if it wins."""

    family: str
    name: str
    stake: float
    says: str


def bets() -> list[Bet]:
    """All bets, in the order of ``factors``: a third of the stake on lapse, on spend and on the lead each."""
    out = []
    for part, where in (("all", ""), ("low", " among the less risky half"), ("high", " among the riskier half")):
        for way in ("more", "fewer"):
            out.append(Bet(LAPSE, f"{part} {way}", 1 / 18, f"{way} customers lapse than predicted{where}"))
    for way in ("more", "less"):
        out.append(Bet(SPEND, way, 1 / 6, f"customers spend {way} than predicted"))
    out.append(Bet(LEAD, "recency_rule", 1 / 6, "the risk ranks no better than the days since the last purchase"))
    out.append(Bet(LEAD, "last_horizon_spend", 1 / 6, "expected spend ranks no better than the last horizon's spend"))
    return out


WIDTH = max(len(SHIFTS), len(BOLD))


def factors(seen: Seen, limits: Limits) -> Floats:
    """Logarithms of what each bet's stakes are multiplied by: (bets, WIDTH); NaN where a bet has fewer stakes."""
    rows = []
    odds = _logit(seen.risk)
    half = seen.risk <= np.median(seen.risk)
    for part in (np.ones(len(odds), dtype=bool), half, ~half):
        for way in (1.0, -1.0):
            rows.append(shifted(odds[part], seen.lapsed[part], way, limits.log_odds))
    ratio = _spend(seen, limits.spend)
    rows += [daring(ratio[0], TIMID), daring(ratio[1], TIMID)]
    rows += [daring(_below(lead, limits.lead), BOLD) for lead in leads(seen)]
    out = np.full((len(rows), WIDTH), np.nan)
    for place, row in enumerate(rows):
        out[place, : len(row)] = row
    return out


def shifted(odds: Floats, lapsed: Floats, way: float, tolerance: float) -> Floats:
    """Log likelihood ratios of log-odds moved beyond the tolerance by each of SHIFTS against moved by the tolerance.

    Bernoulli outcomes with a common shift are an exponential family in the number of lapses, so for every shift within
    the tolerance the ratio's expectation is at most 1: exp(A(t + d) - A(t) - [A(T + d) - A(T)]) with A convex, t <= T.
    """
    if not len(odds):
        return np.zeros(len(SHIFTS))
    edge = odds + way * tolerance
    base = np.logaddexp(0.0, edge)
    return np.array([way * d * lapsed.sum() - (np.logaddexp(0.0, edge + way * d) - base).sum() for d in SHIFTS])


def daring(z: float | None, bold: Floats) -> Floats:
    """exp(b z - b^2 / 2) for each boldness b, in logarithms: at most 1 on average where z is normal with mean <= 0."""
    return np.zeros(len(bold)) if z is None else bold * np.clip(z, -FARTHEST, FARTHEST) - bold**2 / 2


def wealth(logs: Floats) -> Floats:
    """What each bet's stake has become, (bets,): the mean of its boldnesses times its share of the first stake."""
    shares = np.array([b.stake for b in bets()])
    return np.asarray(shares * np.nanmean(np.exp(np.minimum(logs, 700.0)), axis=1))


def _spend(seen: Seen, tolerance: float) -> tuple[float | None, float | None]:
    """How many standard errors spend lies above what is tolerated, and below; None where too few spend."""
    if seen.spend is None or seen.expected is None or (seen.spend > 0).sum() < LEAST:
        return None, None
    out = []
    for way in (1.0, -1.0):
        off = way * (seen.spend - (1 + way * tolerance) * seen.expected)
        out.append(unskewed(off) if np.ptp(off) > 0 else None)
    return out[0], out[1]


def unskewed(values: Floats) -> float:
    """How many standard errors the mean lies above 0, its skewness taken out (Hall 1992)."""
    n, spread = len(values), values.std(ddof=1)
    t = values.mean() / spread
    skew = ((values - values.mean()) ** 3).mean() / spread**3
    return float(np.sqrt(n) * (t + skew * t**2 / 3 + skew**2 * t**3 / 27 + skew / (6 * n)))


def leads(seen: Seen) -> list[tuple[float, float] | None]:
    """How far the model is ahead of each rung, with its standard error: AUC over the recency rule's, normalised Gini
    over the last horizon's spend's; None where there is too little to rank."""
    out: list[tuple[float, float] | None] = [None, None]
    if min(seen.lapsed.sum(), (1 - seen.lapsed).sum()) >= LEAST:
        out[0] = auc_lead(seen.lapsed, seen.risk, seen.silent)
    if seen.spend is not None and seen.expected is not None and seen.last is not None:
        capped = np.minimum(seen.spend, np.quantile(seen.spend, CAP))
        if (capped > 0).sum() >= LEAST and np.ptp(capped) > 0:
            out[1] = gini_lead(capped, seen.expected, seen.last)
    return out


def _below(lead: tuple[float, float] | None, least: float) -> float | None:
    if lead is None or lead[1] <= 0:
        return None
    return (least - lead[0]) / lead[1]


def auc_lead(lapsed: Floats, one: Floats, other: Floats) -> tuple[float, float]:
    """AUC of ``one`` less that of ``other`` with its standard error (DeLong, DeLong, Clarke-Pearson 1988)."""
    yes = lapsed > 0
    parts = [_placements(yes, score) for score in (one, other)]
    up, down = parts[0][0] - parts[1][0], parts[0][1] - parts[1][1]
    return float(up.mean()), float(np.sqrt(up.var(ddof=1) / len(up) + down.var(ddof=1) / len(down)))


def _placements(yes: NDArray[np.bool_], score: Floats) -> tuple[Floats, Floats]:
    """Of each lapsed the share of stayers below, of each stayer the share of lapsed above; ties count half."""
    ranks = Order(score).ranks()
    n, m = int(yes.sum()), int((~yes).sum())
    above = (ranks[yes] - Order(score[yes]).ranks()) / m
    below = 1 - (ranks[~yes] - Order(score[~yes]).ranks()) / n
    return np.asarray(above), np.asarray(below)


def gini_lead(spend: Floats, one: Floats, other: Floats) -> tuple[float, float]:
    """Normalised Gini of ``one`` less that of ``other``, with its standard error by the projection of both sums."""
    ideal, mine, theirs = (_projection(spend, score) for score in (spend, one, other))
    whole = ideal.mean() / 2
    lead = float((mine.mean() - theirs.mean()) / 2 / whole)
    own = (mine - theirs - lead * ideal) / whole
    return lead, float(own.std(ddof=1) / np.sqrt(len(own)))


def _projection(spend: Floats, score: Floats) -> Floats:
    """What each customer adds to the mean over pairs of spend_i x ([score_j < score_i] - 1/2): as i and as j."""
    order, n = Order(score), len(score)
    sums = order.sums(spend)
    above = sums.sum() - np.cumsum(sums) + sums / 2
    group = np.repeat(np.arange(len(order.starts)), np.diff(np.append(order.starts, n)))
    over = np.empty(n)
    over[order.order] = above[group]
    rank = (order.ranks() - 0.5) / n - 0.5
    return np.asarray(spend * rank + over / n - spend.mean() / 2)


def _logit(risk: Floats) -> Floats:
    p = np.clip(risk, 1e-12, 1 - 1e-12)
    return np.asarray(np.log(p) - np.log1p(-p))
