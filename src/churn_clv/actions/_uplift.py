"""How well a ranking finds those whom an action moves, where both arms exist: Qini and AUUC.

Radcliffe (2007), Direct Marketing Analytics Journal; Devriendt et al. (2020), arXiv:2002.05897, on the variants.
"""

from __future__ import annotations

import numpy as np

from churn_clv.playbook import Bools, Floats


def curves(score: Floats, outcome: Floats, treated: Bools) -> tuple[Floats, Floats, Floats]:
    """Share of customers from the highest score down, Qini and uplift curve at it; each begins with 0.

    Of the first k with N_t treated and N_c held out and sums of outcome Y_t, Y_c: Qini = Y_t - Y_c N_t / N_c, uplift =
    (Y_t / N_t - Y_c / N_c) k / n. Equal scores are taken together; an arm still empty counts as 0.
    """
    order = np.argsort(-score, kind="stable")
    ends = np.append(np.flatnonzero(np.diff(score[order])), len(score) - 1)
    t = treated[order].astype(np.float64)
    n_t, n_c = np.cumsum(t)[ends], np.cumsum(1 - t)[ends]
    y_t, y_c = np.cumsum(t * outcome[order])[ends], np.cumsum((1 - t) * outcome[order])[ends]
    held = y_c / np.maximum(n_c, 1)
    share = (ends + 1) / len(score)
    uplift = (y_t / np.maximum(n_t, 1) - held) * share
    return tuple(np.append(0.0, v) for v in (share, y_t - held * n_t, uplift))  # type: ignore[return-value]


def qini(score: Floats, outcome: Floats, treated: Bools) -> float | None:
    """Area between the Qini curve and the straight line to its end, per treated customer; None with an empty arm.

    0: no better than chance; its unit is that of ``outcome``.
    """
    if not treated.any() or treated.all():
        return None
    share, found, _ = curves(score, outcome, treated)
    return float((np.trapezoid(found, share) - found[-1] / 2) / treated.sum())


def auuc(score: Floats, outcome: Floats, treated: Bools) -> float | None:
    """Area under the uplift curve; half the effect for a ranking by chance; None with an empty arm."""
    if not treated.any() or treated.all():
        return None
    share, _, found = curves(score, outcome, treated)
    return float(np.trapezoid(found, share))
