"""What a campaign did: intention-to-treat effects with intervals, and the rates behind them, shrunk (D30)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from churn_clv.playbook import Bools, Floats

# The model's probabilities are calibrated, so the holdout lapses at a + b p with a near 0 and b near 1: so far from it.
LEVEL_SD, SLOPE_SD = 0.05, 0.2
TAKES_SD = 0.05  # of what the holdout takes without being offered
LEAST_VARIANCE = 0.01
RATIO_ALARM = 0.001


@dataclass(frozen=True)
class Effect:
    """Mean outcome of the treated less that of the held out, adjusted for the covariate, and its interval."""

    effect: float
    se: float
    low: float
    high: float


def effect(outcome: Floats, treated: Bools, covariate: Floats, confidence: float = 0.95) -> Effect:
    """Intention-to-treat effect on customers (n,), by regression on the centred covariate within each arm.

    Lin (2013), Annals of Applied Statistics 7(1): never less exact than the difference of means as n grows, whatever
    the covariate is worth. Standard errors HC2 (MacKinnon and White 1985). ValueError with fewer than 4 in an arm.
    """
    if min(int(treated.sum()), int((~treated).sum())) < 4:
        raise ValueError("an effect needs at least 4 customers in each arm")
    centred = covariate - covariate.mean()
    t = treated.astype(np.float64)
    columns = [np.ones_like(t), t]
    if min(float(np.ptp(covariate[treated])), float(np.ptp(covariate[~treated]))) > 0:
        columns += [centred, t * centred]
    design = np.column_stack(columns)
    inverse = np.linalg.pinv(design.T @ design)
    beta = inverse @ design.T @ outcome
    leverage = np.minimum(((design @ inverse) * design).sum(axis=1), 1 - 1e-9)
    error = (outcome - design @ beta) ** 2 / (1 - leverage)
    se = float(np.sqrt((inverse @ ((design * error[:, None]).T @ design) @ inverse)[1, 1]))
    reach = float(stats.t.ppf((1 + confidence) / 2, len(t) - len(columns))) * se
    return Effect(float(beta[1]), se, float(beta[1]) - reach, float(beta[1]) + reach)


def sample_ratio(treated: int, held: int, share: float) -> float:
    """How likely arms as uneven as these are if ``share`` was held out: a two-sided binomial p value."""
    return float(stats.binomtest(held, treated + held, share).pvalue) if treated + held and 0 < share < 1 else 1.0


@dataclass(frozen=True)
class Rates:
    """Posterior of one or more rates: ``mean`` and ``sd`` (groups + 1, rates); the last row is a group not seen."""

    mean: Floats
    sd: Floats


def response(
    lapsed: Floats, treated: Bools, lapse: Floats, group: NDArray[np.int64], groups: int, campaign: NDArray[np.int64],
    assumed: tuple[float, float], sd: tuple[float, float],
) -> Rates:  # fmt: skip
    """Save rate and share driven away of each group from who lapsed; columns (save, away).

    Of a treated customer with model probability p: P(lapse) = a + b p - s p + w (1 - p), with a and b of each campaign.
    Linear and normal: s and w of a group lie ``sd`` around those of the action, which lie ``sd`` around ``assumed``.
    All campaigns and groups are one regression, weighted by 1 / p(1 - p), so what is seen little stays near the prior.
    ``group`` is from 0; ``groups`` itself stands for a customer of no group, who tells of the action alone.
    """
    t = treated.astype(np.float64)
    kinds = int(campaign.max()) + 1 if len(campaign) else 0
    own = np.eye(kinds)[campaign]
    base = np.hstack([own, own * lapse[:, None]])
    told = np.hstack([np.zeros(kinds), np.ones(kinds)])
    weight = 1 / np.maximum(lapse * (1 - lapse), LEAST_VARIANCE)
    parts = (-t * lapse, t * (1 - lapse))
    spread = np.repeat([LEVEL_SD, SLOPE_SD], kinds)
    return _hierarchy(base, told, spread, parts, group, groups, lapsed, weight, assumed, sd)


def takers(
    took: Floats, treated: Bools, lapse: Floats, save: Floats, group: NDArray[np.int64], groups: int, assumed: float,
    sd: float,
) -> Rates:  # fmt: skip
    """Take rate of would-be stayers by group: of the treated, p s + (1 - p) t take the offer, besides what all take."""
    t = treated.astype(np.float64)
    rate = float(np.clip(took.mean(), 0.01, 0.99)) if len(took) else 0.5
    weight = np.full(len(t), 1 / (rate * (1 - rate)))
    base = np.ones((len(t), 1))
    rest = took - t * lapse * save
    return _hierarchy(
        base, np.zeros(1), np.array([TAKES_SD]), (t * (1 - lapse),), group, groups, rest, weight, (assumed,), (sd,)
    )


def _hierarchy(
    base: Floats, base_mean: Floats, base_sd: Floats, parts: Sequence[Floats], group: NDArray[np.int64], groups: int,
    outcome: Floats, weight: Floats, assumed: Sequence[float], sd: Sequence[float],
) -> Rates:  # fmt: skip
    """Posterior of assumed + common + own departures, (groups + 1, rates), of a normal linear model."""
    kinds, member = len(parts), np.eye(groups + 1)[group][:, :groups]
    columns = [base, *(part[:, None] for part in parts), *(part[:, None] * member for part in parts)]
    mean = np.concatenate([base_mean, np.array(assumed), np.zeros(kinds * groups)])
    spread = np.concatenate([base_sd, np.array(sd), np.repeat(np.array(sd), groups)])
    design = np.hstack(columns)
    scaled = design * weight[:, None]
    covariance = np.linalg.inv(scaled.T @ design + np.diag(1 / spread**2))
    found = covariance @ (scaled.T @ outcome + mean / spread**2)
    out_mean, out_sd = np.empty((groups + 1, kinds)), np.empty((groups + 1, kinds))
    first = base.shape[1]
    for kind in range(kinds):
        for g in range(groups + 1):
            pick = np.zeros(len(found))
            pick[first + kind] = 1
            extra = 0.0
            if g < groups:
                pick[first + kinds + kind * groups + g] = 1
            else:
                extra = sd[kind] ** 2
            out_mean[g, kind] = pick @ found
            out_sd[g, kind] = np.sqrt(pick @ covariance @ pick + extra)
    return Rates(np.clip(out_mean, 0.0, 1.0), out_sd)
