"""Who is who, and what is known about them: the identity map and the tables of customer attributes."""

from __future__ import annotations

import polars as pl

from churn_clv.canonical import Rules, as_text
from churn_clv.clock import to_local
from churn_clv.config import Attributes, Identity
from churn_clv.errors import UserError
from churn_clv.policies import Count, blank, without_point_zero
from churn_clv.sources import Table, Tables


class IdentityMap:
    """The map from source ids to customers; checked once, applied to every source and attribute table."""

    def __init__(self, place: Identity, tables: Tables, counts: list[Count]) -> None:
        self.unmapped = place.unmapped
        key = "events.identity"
        table = tables.open(key, place, {place.source_id: "source_id", place.customer_id: "customer_id"})
        counts.append(Count("lines", "identity", table.frame.height, "read"))
        pairs = pl.DataFrame({name: _ids(key, table, getattr(place, name)) for name in ("source_id", "customer_id")})
        missing = pairs.select(pl.any_horizontal(pl.all().is_null())).to_series()
        counts.append(Count("identity_blank", "identity", int(missing.sum()), "dropped"))
        self.pairs = pairs.filter(~missing).unique(maintain_order=True)
        conflicting = self.pairs.filter(self.pairs["source_id"].is_duplicated())["source_id"].unique()
        counts.append(Count("identity_conflicts", "identity", conflicting.len(), "none met"))
        if conflicting.len():
            raise UserError(
                f"{key}: {conflicting.len():,} source ids point to more than one customer "
                f"({table.where(pairs['source_id'].is_in(conflicting.implode()).fill_null(False))}). "
                "Give each source id one customer_id."
            )

    def resolve(self, source: str, frame: pl.DataFrame, counts: list[Count]) -> pl.DataFrame:
        """Replace source ids in ``customer_id`` by customer ids; those that the map lacks by policy."""
        found = frame["customer_id"].replace_strict(
            self.pairs["source_id"], self.pairs["customer_id"], default=None, return_dtype=pl.String
        )
        unmapped = found.null_count()
        if unmapped and self.unmapped == "error":
            raise UserError(
                f"events: {unmapped:,} of {frame.height:,} lines of '{source}' have ids that events.identity does not "
                "map. Add them or set events.identity.unmapped: keep or drop."
            )
        action = {"drop": "dropped", "keep": "kept under their own id", "error": "none met"}[self.unmapped]
        counts.append(Count("identity_unmapped", source, unmapped, action))
        if self.unmapped == "drop":
            return frame.with_columns(customer_id=found).filter(found.is_not_null())
        return frame.with_columns(customer_id=found.zip_with(found.is_not_null(), frame["customer_id"]))


def read_attributes(
    name: str, place: Attributes, tables: Tables, rules: Rules, identity: IdentityMap | None, counts: list[Count]
) -> pl.DataFrame:
    """One attribute table: customer_id, valid_from (local time) where dated, and the values as they are.

    Lines without a customer or without a readable valid_from are dropped, and of lines for the same customer and
    moment the first is kept; each is counted.
    """
    key = f"events.attributes.{name}"
    needed = {place.customer_id: "customer_id"} | dict.fromkeys(place.columns or (), "columns")
    if place.valid_from:
        needed[place.valid_from] = "valid_from"
    table = tables.open(key, place, needed)
    frame = table.frame
    values = place.columns or tuple(c for c in frame.columns if c not in (place.customer_id, place.valid_from))
    if taken := {"customer_id", "valid_from"} & set(values):
        raise UserError(f"{key}: value column {sorted(taken)} has a name of the log; rename it or list other columns.")
    keys = [_ids(key, table, place.customer_id).alias("customer_id")]
    if place.valid_from:
        try:
            keys.append(to_local(frame[place.valid_from], rules.timezone)[0].alias("valid_from"))
        except UserError as error:
            raise UserError(f"{key}.valid_from: {error}") from None
    out = pl.DataFrame(keys).hstack(frame.select(values))
    counts.append(Count("lines", name, out.height, "read"))
    for column in keys:
        missing = out[column.name].is_null()
        counts.append(Count(f"missing_{column.name}", name, int(missing.sum()), "dropped"))
        out = out.filter(~missing)
    if identity is not None:
        out = identity.resolve(name, out, counts)
    names = [column.name for column in keys]
    unique = out.unique(names, keep="first", maintain_order=True)
    counts.append(Count("repeated_attributes", name, out.height - unique.height, "dropped"))
    return unique.sort(names)


def _ids(key: str, table: Table, column: str) -> pl.Series:
    """A column of ids as the log writes them; null where missing."""
    ids = table.frame[column]
    try:
        text = table.frame.select(as_text(pl.col(column), ids.dtype, column)).to_series()
    except UserError as error:
        raise UserError(f"{key}: {error}") from None
    text = text.set(blank(ids), None)
    return pl.select(without_point_zero(pl.lit(text))).to_series() if table.as_text else text
