"""RFM scores and groups by hand (definition D25): mid-rank percentiles, ties, empty levels, frozen edges, cells."""

from __future__ import annotations

from collections import Counter
from itertools import product
from typing import Any

import numpy as np
import polars as pl
import pytest
import yaml

from churn_clv import config, segmentation, segments
from churn_clv.errors import UserError
from churn_clv.segments import Edges

RULES = config.segment_rules(config.Config(dataset="x"))


def learnt(values: list[float], *, falling: bool = False) -> Edges:
    return segments.edges(np.array(values), falling=falling)


def scored(own: Edges, values: list[float | None]) -> list[int | None]:
    found = segments.scores(own, np.array(values, dtype=float)).tolist()
    return [score or None for score in found]


def test_five_different_values_have_five_scores() -> None:
    """Mid-ranks .1, .3, .5, .7, .9: 5 times them is .5, 1.5, 2.5, 3.5, 4.5, rounded up 1 to 5."""
    own = learnt([50, 10, 30, 20, 40])
    assert own == Edges((20.0, 30.0, 40.0, 50.0))
    assert scored(own, [10, 20, 30, 40, 50]) == [1, 2, 3, 4, 5]


def test_few_days_are_better_than_many() -> None:
    own = learnt([50, 10, 30, 20, 40], falling=True)
    assert own == Edges((40.0, 30.0, 20.0, 10.0), falling=True)
    assert scored(own, [50, 40, 30, 20, 10]) == [1, 2, 3, 4, 5]
    assert scored(own, [1, 10.5, 49, 51]) == [5, 4, 1, 1]


def test_ties_share_their_middle_rank_and_leave_levels_empty() -> None:
    """Six with 1 order (mid-rank 3/10, score 2), then 2 (6.5/10: 4), 3 (7.5/10: 4), 5 (8.5/10: 5), 8 (9.5/10: 5)."""
    orders = [1.0] * 6 + [2.0, 3.0, 5.0, 8.0]
    own = learnt(orders)
    assert scored(own, [1, 2, 3, 5, 8]) == [2, 4, 4, 5, 5]
    assert own.cuts == (1.0, 2.0, 2.0, 5.0)
    assert segments.empty_levels(own, np.array(orders)) == [1, 3]


def test_a_rank_on_the_edge_is_not_rounded() -> None:
    """Ten: one below and two equal is (1 + 1) / 10 = .2, so ceil(1.0) = 1; five and two equal .6, ceil(3.0) = 3."""
    own = learnt([1, 2, 2, 3, 4, 5, 5, 6, 7, 8])
    assert scored(own, [2, 3, 5, 6]) == [1, 2, 3, 4]


def test_everyone_alike_is_in_the_middle() -> None:
    """One value: mid-rank .5, score 3; nobody is above."""
    own = learnt([7.0] * 9)
    assert own.cuts == (7.0, 7.0, None, None)
    assert scored(own, [6, 7, 8]) == [1, 3, 3]


def test_frozen_edges_place_values_never_seen() -> None:
    own = learnt([10, 20, 30, 40, 50])
    assert scored(own, [-5, 19.99, 20, 29, 1000, None]) == [1, 1, 2, 2, 5, None]


def test_the_shipped_groups_cover_every_cell_once() -> None:
    found = Counter(c for g in RULES.rfm.groups for block in g.cells for c in block.all())
    assert set(found) == set(product(range(1, 6), repeat=3)) and set(found.values()) == {1}


def history(rows: list[tuple[int | None, int, float | None]]) -> pl.DataFrame:
    """days since the last purchase, purchase days, spend."""
    schema = {"days_since_last_purchase": pl.Float64, "purchase_days": pl.Float64, "spend": pl.Float64}
    return pl.DataFrame(rows, schema=schema, orient="row")


EDGES = {
    "rfm_recency": Edges((40.0, 30.0, 20.0, 10.0), falling=True),
    "rfm_frequency": Edges((2.0, 3.0, 4.0, 5.0)),
    "rfm_monetary": Edges((20.0, 30.0, 40.0, 50.0)),
}


def grouped(rules: config.Rfm, edges: dict[str, Edges], people: pl.DataFrame) -> pl.DataFrame:
    return pl.DataFrame(segments.grouped(segments.group_table(rules), edges, people))


def test_groups_by_hand() -> None:
    people = history([(5, 9, 99.0), (5, 9, 5.0), (12, 1, 15.0), (45, 1, 1.0), (45, 7, 1.0), (None, 0, 0.0)])
    found = grouped(RULES.rfm, EDGES, people)
    assert found.rows() == [
        (5, 5, 5, "champions"), (5, 5, 1, "loyal"), (4, 1, 1, "recent"), (1, 1, 1, "hibernating"),
        (1, 5, 1, "cannot_lose"), (None, None, None, "prospect"),
    ]  # fmt: skip


def test_without_money_a_group_is_named_where_it_does_not_depend_on_it() -> None:
    """1-5 is cannot_lose whatever the money; 5-5 is champions or loyal: not said."""
    plain = history([(45, 7, None), (5, 9, None)]).drop("spend")
    edges = {k: v for k, v in EDGES.items() if k != "rfm_monetary"}
    found = grouped(RULES.rfm, edges, plain)
    assert found.rows() == [(1, 5, None, "cannot_lose"), (5, 5, None, None)]
    assert "no source maps 'amount'" in " ".join(segmentation.rfm_edges(plain)[1])


def test_what_is_learnt_of_those_who_bought() -> None:
    """Two who have bought and a prospect: percentiles 1/4 and 3/4, scores 2 and 4; the prospect counts for nothing."""
    found, notes = segmentation.rfm_edges(history([(10, 1, 5.0), (20, 3, 9.0), (None, 0, 0.0)]))
    assert found["rfm_recency"] == Edges((20.0, 10.0, 10.0, None), falling=True)
    assert found["rfm_monetary"].cuts == (5.0, 9.0, 9.0, None)
    assert notes[0] == "rfm_recency: nobody has level 1, 3, 5, as many customers share one days since last purchase"
    assert segmentation.rfm_edges(history([(None, 0, 0.0)])) == ({}, ["nobody has bought: no RFM scores"])


@pytest.mark.parametrize(
    ("groups", "why"),
    [
        ([{"name": "all", "cells": [{"recency": [1, 4]}]}], "25 in no group (first 5-1-1)"),
        ([{"name": "all", "cells": [{}]}, {"name": "top", "cells": [{"recency": [5, 5], "frequency": [5, 5]}]}],
         "5 in several (first 5-5-1)"),
        ([{"name": "all", "cells": [{"recency": [5, 1]}]}], "125 in no group (first 1-1-1)"),
    ],
)  # fmt: skip
def test_groups_that_leave_or_repeat_cells_are_refused(groups: Any, why: str) -> None:
    with pytest.raises(UserError) as error:
        config.load(dataset="x", segments={"rfm": {"groups": groups}})
    assert why in str(error.value) and "segments.rfm" in str(error.value)


def test_names_are_the_users() -> None:
    names = ["老客户", "new ones"]
    groups = [
        {"name": names[0], "cells": [{"frequency": [2, 5]}]},
        {"name": names[1], "cells": [{"frequency": [1, 1]}]},
    ]
    own = config.load(dataset="x", segments={"rfm": {"groups": groups, "without_purchase": "nobody"}})
    rules = config.segment_rules(own)
    found = grouped(rules.rfm, EDGES, history([(5, 9, 99.0), (5, 1, 9.0), (None, 0, 0.0)]))
    assert found["rfm_group"].to_list() == [*names, "nobody"]
    assert rules.clusters == RULES.clusters
    assert config.from_dict(yaml.safe_load(config.to_yaml(own))) == own
