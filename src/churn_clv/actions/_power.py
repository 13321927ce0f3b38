"""What a holdout can show before anything is spent (definition D30)."""

from __future__ import annotations

import math
from statistics import NormalDist


def detectable(rate: float, treated: float, held: float, confidence: float, power: float) -> float | None:
    """The smallest change of a share that such arms show with this power, two-sided: a difference of shares.

    (z_{(1+confidence)/2} + z_power) sqrt(rate (1 - rate) (1/treated + 1/held)); None without both arms or variance.
    """
    if treated <= 0 or held <= 0 or not 0 < rate < 1:
        return None
    z = NormalDist().inv_cdf((1 + confidence) / 2) + NormalDist().inv_cdf(power)
    return z * math.sqrt(rate * (1 - rate) * (1 / treated + 1 / held))


def needed(rate: float, effect: float, share: float, confidence: float, power: float) -> int | None:
    """Customers, both arms together, of whom ``share`` are held out, that show ``effect``; None where none can."""
    if effect <= 0 or not 0 < share < 1 or not 0 < rate < 1:
        return None
    z = NormalDist().inv_cdf((1 + confidence) / 2) + NormalDist().inv_cdf(power)
    return math.ceil(z**2 * rate * (1 - rate) / (effect**2 * share * (1 - share)))
