"""Population x features at given cutoffs: the one table that training, scoring and serving share."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence

import numpy as np
import polars as pl

from churn_clv import config, features, population, timeline
from churn_clv.timeline import Definitions

# What stands before the features.
KEYS = ("customer_id", "cutoff", "eligible", "reason")
# What decides on eligibility.
SINCE = "days_since_last_purchase"


def build(
    frame: pl.DataFrame, pairs: pl.DataFrame, definitions: Definitions, *, eligible_only: bool = False,
    also: Sequence[str] = (),
) -> pl.DataFrame:  # fmt: skip
    """The matrix of the known customers among ``pairs`` (``customer_id``, ``cutoff``).

    Returns KEYS and the features of ``features.names(definitions)`` (Float64, null where undefined), sorted by
    (cutoff, customer_id) (contract K10). A customer without any event before the cutoff is not known and has no
    row. With ``eligible_only``, ineligible customers are dropped before the expensive features are computed.
    ``also`` names columns beside the features, such as ``features.margin.NAMES``.
    """
    if eligible_only:
        pairs = pairs.sort("cutoff", "customer_id")
        pairs = with_eligibility(frame, pairs, definitions).filter("eligible").select("customer_id", "cutoff")
        past = timeline.Past(frame, pairs)
    else:
        past = timeline.Past(frame, pairs.sort("cutoff", "customer_id")).known()
    columns = (*features.names(definitions), *also)
    # A config may switch the column off that decides on eligibility.
    found = features.build(past, definitions, (*columns, *({SINCE} - {*columns})))
    eligible, reason = population.eligibility(pl.col(SINCE), pl.col("cutoff"), definitions)
    status = found.select("customer_id", "cutoff", eligible.alias("eligible"), reason.alias("reason"))
    out = status.hstack(found[list(columns)].get_columns())
    assert out[["customer_id", "cutoff"]].equals(past.pairs[["customer_id", "cutoff"]])
    return out


def build_lean(
    past: timeline.Past, definitions: Definitions, always: Sequence[str], also: Sequence[str] = ()
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The matrix of pairs that are known, in two: of all of them the features ``always``, of the eligible every one.

    (Of all also what decides on eligibility.) Every value is the same as in ``build``, to the bit: of a base that has
    mostly lapsed this takes half the time. ``also``: columns beside the features, of everyone.
    """
    columns = (*features.names(definitions), *also)
    kept = [name for name in dict.fromkeys((SINCE, *always, *also)) if name in columns]
    status = features.build(past, definitions, tuple(dict.fromkeys((SINCE, *kept))))
    eligible, reason = population.eligibility(pl.col(SINCE), pl.col("cutoff"), definitions)
    known = status.select("customer_id", "cutoff", eligible.alias("eligible"), reason.alias("reason"), *kept)
    rest = tuple(name for name in columns if name not in kept)
    asked = known["eligible"]
    full = features.build(past.among(past.pairs["row"].filter(asked)), definitions, rest)
    return known, known.filter(asked).hstack(full[list(rest)]).select(*KEYS, *columns)


def order_hash(matrix: pl.DataFrame) -> str:
    """Hash of the rows' keys in order: permuted rows move a bagged model, so the manifest carries it."""
    keys = matrix.select(pl.concat_str("cutoff", "customer_id", separator="\t")).to_series()
    digest = hashlib.sha256()
    for key in keys:
        digest.update(key.encode())
        digest.update(b"\n")
    return digest.hexdigest()[:16]


def values(matrix: pl.DataFrame, columns: tuple[str, ...]) -> np.ndarray:
    """The features as a C-ordered float64 array of shape (rows, columns), NaN where null."""
    return np.ascontiguousarray(matrix[list(columns)].to_numpy().astype(np.float64, copy=False))


def with_eligibility(frame: pl.DataFrame, pairs: pl.DataFrame, definitions: Definitions) -> pl.DataFrame:
    """``pairs`` with ``eligible`` and ``reason``, in their order, from purchase days alone: cheap."""
    since = features.build(timeline.Past(frame, pairs), definitions, (SINCE,))
    eligible, reason = population.eligibility(pl.col(SINCE), pl.col("cutoff"), definitions)
    return since.select("customer_id", "cutoff", eligible=eligible, reason=reason)


# What decides on populations; a config may switch these off as features.
STATUS = (SINCE, "purchase_days")


def members(
    frame: pl.DataFrame, pairs: pl.DataFrame, targets: Mapping[str, config.Target], definitions: Definitions
) -> pl.DataFrame:
    """Whether each known pair belongs to the population of each target: a bool column by target, in their order.

    ``pairs`` may be a matrix of theirs already.
    """
    keys = pairs.select("customer_id", "cutoff")
    built = {*STATUS} <= {*pairs.columns}
    more = not built or any(t.has or t.has_not or t.contract for t in targets.values())
    past = timeline.Past(frame, keys) if more else None
    status = pairs if built or past is None else features.build(past, definitions, STATUS)
    since, days = map(pl.col, STATUS)
    who = {name: population.asked(t, since, days, pl.col("cutoff"), definitions) for name, t in targets.items()}
    if past is not None:
        who = {name: asked & _had(past, targets[name]) & _covered(past, targets[name]) for name, asked in who.items()}
    return status[["cutoff", *STATUS]].with_row_index("row").select(**who)


def _had(past: timeline.Past, target: config.Target) -> pl.Expr:
    """Whether a pair, numbered by ``row``, has had what ``has`` asks for and nothing that ``has_not`` does."""
    out = pl.lit(True)
    for predicate, wanted in ((target.has, True), (target.has_not, False)):
        if predicate is not None:
            rows = past.by(where=timeline.matching(predicate), sums={}).select("row").unique().collect()
            had = pl.col("row").is_in(rows["row"].implode())
            out = out & (had if wanted else ~had)
    return out


def _covered(past: timeline.Past, target: config.Target) -> pl.Expr:
    """Whether the contract that a target asks about is in force for a pair, numbered by ``row``."""
    return pl.lit(True) if target.contract is None else pl.col("row").is_in(population.in_force(past, target).implode())
