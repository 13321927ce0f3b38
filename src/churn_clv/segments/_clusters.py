"""Which frozen centre a customer is nearest to (definition D34): elementwise numpy only, as the service computes it."""

from __future__ import annotations

import numpy as np
import polars as pl
from numpy.typing import NDArray

from churn_clv.quantiles import Floats
from churn_clv.segments._state import CLUSTER, Clusters

# A value farther off than so many widths of the middle half counts as that far: a few would make clusters of their own.
FAR = 3.0


def assigned(own: Clusters | None, history: pl.DataFrame) -> pl.Series:
    """The name of the nearest centre of each row of ``history``; null for those who have not bought.

    All are null where no clusters were found, or where a feature that they are made of is not there.
    """
    names = np.full(history.height, None, dtype=object)
    if own is not None and set(own.features) <= set(history.columns):
        bought = ~np.isnan(history["days_since_last_purchase"].to_numpy())
        rows = placed(own, logs(history, own.features)[bought])
        names[bought] = np.array(own.names, dtype=object)[nearest_centre(own, rows)]
    return pl.Series(CLUSTER, names.tolist(), dtype=pl.String)


def logs(history: pl.DataFrame, features: tuple[str, ...]) -> Floats:
    """log1p of the features, what is below 0 as 0; (rows, features), NaN where null."""
    values = [np.asarray(history[name].to_numpy(), dtype=np.float64) for name in features]
    return (
        np.column_stack([np.log1p(np.maximum(v, 0.0)) for v in values]) if features else np.empty((history.height, 0))
    )


def placed(own: Clusters, rows: Floats) -> Floats:
    """Rows of ``logs`` in units of the middle half's width around the median, FAR at most; 0 where not known."""
    found = np.clip((rows - np.array(own.middle)) / np.array(own.scale), -FAR, FAR)
    return np.where(np.isnan(found), 0.0, found)


def nearest_centre(own: Clusters, rows: Floats) -> NDArray[np.int64]:
    """The number of the nearest centre of each of the ``placed`` rows; the first where several are as near.

    One feature after the other: a matrix product would sum in another order for one row than for many (contract K2).
    """
    centres = np.array(own.centres)
    distance = np.zeros((len(rows), len(centres)))
    for place in range(rows.shape[1]):
        distance += (rows[:, place, None] - centres[None, :, place]) ** 2
    return np.asarray(np.argmin(distance, axis=1), dtype=np.int64)
