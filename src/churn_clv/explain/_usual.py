"""Whom customers are compared with, learnt at training (``models.usual``)."""

from __future__ import annotations

import numpy as np

from churn_clv.models.predict import Floats, Head, by_part, raw_contributions
from churn_clv.models.usual import Usual

# Contributions take milliseconds a row; the mean of so many is near enough to any other reference.
ROWS = 500


def learn(head: Head, values: Floats) -> Usual:
    """Medians and mean parts of those whom the head is asked about, ``values`` (rows, its columns)."""
    some = np.ascontiguousarray(values[:: -(-len(values) // ROWS)])
    pool = head.pool
    terms = np.zeros(values.shape[1])
    for place, term in pool.linear.terms(values) if pool is not None and pool.linear is not None else ():
        terms[place] = term.mean()
    table = None if pool is None or pool.table is None else pool.table.chance(values, head.columns)
    known = [column[~np.isnan(column)] for column in values.T]
    return Usual(
        medians=tuple(float(np.median(column)) if len(column) else None for column in known),
        parts=_parts(head, some) if head.kind == "hazard" else (),
        linear=tuple(terms.tolist()) if pool is not None and pool.linear is not None else (),
        table=0.0 if table is None else float(table.mean()),
    )


def _parts(head: Head, values: Floats) -> tuple[float, ...]:
    """What each part of the horizon adds to the hazard booster's margin, on average."""
    last = raw_contributions(head.booster, by_part(values, len(head.edges)))[0][-1]
    return tuple(last.reshape(len(head.edges), len(values)).mean(axis=1).tolist())
