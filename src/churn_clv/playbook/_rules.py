"""Tests on columns of the scores as expressions: a closed grammar, nothing is evaluated."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl
from numpy.typing import NDArray

from churn_clv.errors import UserError
from churn_clv.playbook._document import Actions, Criterion, Rate

Bools = NDArray[np.bool_]
Floats = NDArray[np.float64]


def lacking(tests: Sequence[Criterion], scores: pl.DataFrame) -> list[str]:
    """The columns that the tests name and the scores do not have."""
    return sorted({test.column for test in tests} - set(scores.columns))


def holds(tests: Sequence[Criterion], scores: pl.DataFrame) -> Bools:
    """Whether all tests hold, (rows,); an empty value holds none. UserError where a number is asked of text."""
    every = [_one(test, scores) for test in tests]
    if not every:
        return np.ones(scores.height, dtype=bool)
    return scores.select(pl.all_horizontal(every).fill_null(False)).to_series().to_numpy().astype(bool)


def offered(document: Actions, scores: pl.DataFrame, *, ranked: bool = True) -> tuple[Bools, pl.Series, list[str]]:
    """Which actions the playbook and their own eligibility allow, (rows, actions); each row's rule; notes.

    The first rule that holds decides; rules and actions that ask for columns which the scores lack are left out, and
    unless ``ranked`` those that rank the rows among one another (``top_share``).
    """
    names = list(document.actions)
    taken = np.full(scores.height, "", dtype=object)
    allowed = np.zeros((scores.height, len(names)), dtype=bool)
    notes = []
    for rule, own in document.playbook.items():
        if not ranked and _ranks(own.when):
            continue
        if missing := lacking(own.when, scores):
            notes.append(f"playbook.{rule} is left out: the scores have no {', '.join(missing)}")
            continue
        here = holds(own.when, scores) & (taken == "")
        taken[here] = rule
        for known in own.actions:
            allowed[here, names.index(known)] = True
    for place, (name, action) in enumerate(document.actions.items()):
        if not ranked and _ranks(action.eligible):
            allowed[:, place] = False
            continue
        if missing := lacking(action.eligible, scores):
            notes.append(f"actions.{name} is left out: the scores have no {', '.join(missing)}")
            allowed[:, place] = False
            continue
        allowed[:, place] &= holds(action.eligible, scores)
    return allowed, pl.Series("rule", taken, dtype=pl.String).replace("", None), notes


def _ranks(tests: Sequence[Criterion]) -> bool:
    return any(test.top_share is not None for test in tests)


def shares(rate: Rate, scores: pl.DataFrame, where: str) -> Floats:
    """A rate for each row. UserError where it goes by a column that is not there."""
    if rate.by is None:
        return np.full(scores.height, rate.otherwise)
    if rate.by not in scores.columns:
        raise UserError(f"{where}.by: the scores have no column '{rate.by}'. Name another, or give one rate for all.")
    found = scores[rate.by].cast(pl.String).replace_strict(rate.rates, default=None, return_dtype=pl.Float64)
    return found.fill_null(rate.otherwise).to_numpy()


def _one(test: Criterion, scores: pl.DataFrame) -> pl.Expr:
    column, dtype = pl.col(test.column), scores.schema[test.column]
    for values, wanted in ((test.is_in, True), (test.is_not_in, False)):
        if values is not None:
            return _among(column, dtype, values) == wanted
    if not dtype.is_numeric():
        raise UserError(f"'{test.column}' is {dtype}: at_least, below and top_share need a number. Use is_in.")
    if test.at_least is not None:
        return column >= test.at_least
    if test.below is not None:
        return column < test.below
    # ties at the cut are all in
    return column.rank("min", descending=True) <= pl.lit(test.top_share) * column.count()


def _among(column: pl.Expr, dtype: pl.DataType, values: Sequence[object]) -> pl.Expr:
    """Numbers are compared as numbers: as text 1 would not be 1.0, and is_not_in would let everybody in."""
    if not dtype.is_numeric():
        return column.cast(pl.String).is_in([_text(v) for v in values])
    found = []
    for value in values:
        try:
            found.append(float(str(value)))
        except ValueError:
            continue  # no number is that word
    return column.cast(pl.Float64).is_in(found)


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
