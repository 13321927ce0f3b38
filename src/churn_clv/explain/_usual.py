"""Whom customers are compared with, learnt at training (``models.usual``)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from churn_clv.models.predict import Floats, Head, by_part, raw_contributions
from churn_clv.models.usual import Usual

# Contributions take milliseconds a row; the mean of so many is near enough to any other reference.
ROWS = 500


def learn(heads: Sequence[Head], values: Floats) -> Usual:
    """Medians and mean parts of the eligible, ``values`` (rows, core columns), for the hazard head among ``heads``."""
    head = next(h for h in heads if h.kind == "hazard")
    some = np.ascontiguousarray(values[:: -(-len(values) // ROWS)])
    last = raw_contributions(head.booster, by_part(some, len(head.edges)))[0][-1].reshape(len(head.edges), len(some))
    linear = head.pool.linear if head.pool is not None else None
    terms = np.zeros(values.shape[1])
    for place, term in linear.terms(values) if linear is not None else ():
        terms[place] = term.mean()
    known = [column[~np.isnan(column)] for column in values.T]
    return Usual(
        medians=tuple(float(np.median(column)) if len(column) else None for column in known),
        parts=tuple(last.mean(axis=1).tolist()),
        linear=tuple(terms.tolist()) if linear is not None else (),
    )
