"""The rungs of a contract: how long it has lasted and of which plan it is, and how soon its term ends."""

from __future__ import annotations

import numpy as np
import polars as pl

from churn_clv import timeline
from churn_clv.metrics import Array
from churn_clv.targets._cells import TENTHS, Rows, place, table
from churn_clv.targets._room import Room

FIFTHS = 5


def contract_rungs(room: Room, train: Rows, asked: Rows, label: Array) -> dict[str, Array]:
    """``hazard`` and, with a term, ``days_to_end``: probabilities of ``asked`` rows, learnt at ``train`` rows."""
    contract = room.target.contract
    assert contract is not None
    first, last = _ages(room, train)
    first_asked, last_asked = _ages(room, asked)
    tenure, tenure_asked = place(first, first, FIFTHS), place(first, first_asked, FIFTHS)
    plan, plan_asked = _plans(room, train, asked)
    width = int(max(plan.max(), plan_asked.max())) + 1
    of_tenure = table(tenure, label, tenure_asked)
    cells, cells_asked = tenure * width + plan, tenure_asked * width + plan_asked
    out = {"hazard": table(cells, label, cells_asked, of_tenure)}
    if contract.term_days is not None:
        out["days_to_end"] = table(place(-last, -last, TENTHS), label, place(-last, -last_asked, TENTHS))
    return out


def _openings(room: Room, rows: Rows) -> timeline.Past:
    return timeline.Past(room.shop.log.frame, room.pairs[rows])


def _opens(room: Room) -> pl.Expr:
    assert room.target.contract is not None
    return timeline.matching(room.target.contract.opens)


def _ages(room: Room, rows: Rows) -> tuple[Array, Array]:
    """Days from each row's first and last opening to its cutoff; the last one's fix the days to the term's end."""
    days = _openings(room, rows).by(where=_opens(room))
    found = days.group_by("row").agg(first=pl.col("age_days").max(), last=pl.col("age_days").min()).sort("row")
    ages = found.collect()
    return ages["first"].cast(pl.Float64).to_numpy(), ages["last"].cast(pl.Float64).to_numpy()


def _plans(room: Room, train: Rows, asked: Rows) -> tuple[Rows, Rows]:
    """The plan of each row as a number from 1, 0 for none and for one that was not learnt from."""
    for key in timeline.PLAN_COLUMNS:
        known = _latest(room, train, key)
        if known.null_count() < len(known):
            number = {plan: i + 1 for i, plan in enumerate(known.drop_nulls().unique().sort())}
            learnt, met = (
                s.replace_strict(number, default=0, return_dtype=pl.Int64).fill_null(0).to_numpy().astype(np.intp)
                for s in (known, _latest(room, asked, key))
            )
            return learnt, met
    return np.zeros(len(train), dtype=np.intp), np.zeros(len(asked), dtype=np.intp)


def _latest(room: Room, rows: Rows, key: str) -> pl.Series:
    """The ``key`` of each row's latest opening that has one."""
    moments = _openings(room, rows).by(
        key, where=_opens(room) & pl.col(key).is_not_null(), maxima={"at": pl.col("time")}
    )
    newest = moments.sort("row", "at", key).group_by("row").agg(pl.col(key).last()).collect()
    keys = pl.DataFrame({"row": np.arange(len(rows), dtype=np.uint32)})
    return keys.join(newest, on="row", how="left", maintain_order="left")[key]
