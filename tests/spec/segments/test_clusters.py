"""Clusters (definition D34): the nearest frozen centre by hand, how many, their names, and who keeps one."""

from __future__ import annotations

import dataclasses
from math import e

import numpy as np
import polars as pl
import pytest

from churn_clv import config, segments
from churn_clv.models import kmeans
from churn_clv.segmentation import _clusters
from churn_clv.segments import Clusters
from churn_clv.segments._clusters import assigned

WORDS = {
    "days_since_last_purchase": ("recent", "silent"),
    "purchase_days_per_week": ("rare", "frequent"),
    "mean_order_value": ("small orders", "large orders"),
    "days_since_first_purchase": ("young", "old"),
}
RULES = config.Clusters(
    features=tuple(config.ClusterFeature(name=name, low=low, high=high) for name, (low, high) in WORDS.items())
)
FEATURES = ("days_since_last_purchase", "mean_order_value")
# log1p(e - 1) = 1 and log1p(e^2 - 1) = 2; in widths: (log - 1) / .5
OWN = Clusters(FEATURES, (1.0, 1.0), (0.5, 0.5), ((0.0, 0.0), (2.0, 0.0), (0.0, 1.5)), ("mid", "far", "dear"), 0.9)


def people(*rows: tuple[float | None, float | None]) -> pl.DataFrame:
    return pl.DataFrame(rows, schema=dict.fromkeys(FEATURES, pl.Float64), orient="row")


def test_the_nearest_centre_by_hand() -> None:
    """e - 1 is at 0, e^2 - 1 at 2; a value not known at 0; below 0 counts as 0 (at -2); nobody who has not bought.

    e^3 - 1 and e^5.5 - 1 are at 4 and 9, where the third centre would be nearer (72.25 against 85): both count as 3,
    where the second is (10 against 11.25).
    """
    rows = [(e - 1, e - 1), (e**2 - 1, e - 1), (e - 1, e**2 - 1), (e - 1, None), (e**2 - 1, -7.0), (None, 5.0),
            (e**3 - 1, e**5.5 - 1)]  # fmt: skip
    assert assigned(OWN, people(*rows)).to_list() == ["mid", "far", "dear", "mid", "far", None, "far"]


def test_equally_near_is_the_first() -> None:
    row = np.array([[1.0, 0.0], [0.0, 0.75], [1.01, 0.0]])
    assert segments.nearest_centre(OWN, row).tolist() == [0, 0, 1]


def test_without_clusters_or_their_features_nobody_is_in_one() -> None:
    assert assigned(None, people((1.0, 1.0))).to_list() == [None]
    assert assigned(OWN, people((1.0, 1.0)).drop("mean_order_value")).to_list() == [None]


def blobs(centres: list[tuple[float, ...]], each: int = 100, seed: int = 1, spread: float = 0.08) -> pl.DataFrame:
    """Customers around centres in log1p of recency, frequency, order value and age."""
    draw = np.random.default_rng(seed)
    rows = np.concatenate([np.array(c) + draw.normal(0, spread, (each, 4)) for c in centres])
    names = ("days_since_last_purchase", "purchase_days_per_week", "mean_order_value", "days_since_first_purchase")
    ids = [f"c{n:04d}" for n in range(len(rows))]
    return pl.DataFrame(np.expm1(rows), schema=list(names)).with_columns(customer_id=pl.Series(ids))


FIVE = [(1.0, 1.0, 3.0, 5.0), (4.0, 1.0, 3.0, 5.0), (1.0, 3.0, 3.0, 5.0), (1.0, 1.0, 6.0, 5.0), (4.0, 3.0, 3.0, 2.0)]


def learn(frame: pl.DataFrame, previous: Clusters | None = None, rules: config.Clusters = RULES) -> Clusters:
    found, notes = _clusters.learn(rules, frame, 7, previous)
    assert found is not None, notes
    return found


@pytest.fixture(scope="module")
def five() -> Clusters:
    return learn(blobs(FIVE))


def test_the_number_on_which_resampled_customers_agree(five: Clusters) -> None:
    labels = assigned(five, blobs(FIVE))
    assert len(five.names) == 5 and five.agreement >= 0.8
    assert [labels[100 * k : 100 * (k + 1)].n_unique() for k in range(5)] == [1] * 5
    assert labels.n_unique() == 5
    assert learn(blobs(FIVE)) == five  # the same twice


def test_names_are_the_words_of_the_farthest_medians(five: Clusters) -> None:
    """Of the five the third buys often, the fourth dearly; the fifth is silent, young and less dear: two words."""
    labels = assigned(five, blobs(FIVE))
    assert labels[200] == "frequent" and labels[300] == "large orders" and labels[400] == "silent, young"
    words, features = RULES.features, five.features
    assert _clusters.word_for(words, features, np.array([0.9, 0.1, -2.0, 1.5])) == "small orders, old"
    assert _clusters.word_for(words, features, np.array([0.2, 0.1, -0.24, 0.0])) == "typical"
    assert _clusters._unique("typical", {"typical", "typical 2"}) == "typical 3"


def test_a_cluster_of_the_same_customers_keeps_its_name(five: Clusters) -> None:
    """Renamed, then learnt again on other draws: names stay with their customers, whatever the order of centres."""
    renamed = dataclasses.replace(five, names=("A", "B", "C", "D", "E"))
    again = learn(blobs(FIVE, seed=2), renamed)
    both = blobs(FIVE, seed=3)
    assert assigned(again, both).to_list() == assigned(renamed, both).to_list()
    # a sixth that the last model had not is called anew
    more = learn(blobs([*FIVE, (2.5, 2.0, 1.0, 2.0)], seed=4), renamed)
    assert set("ABCDE") < set(more.names) and len(more.names) == 6


def test_no_clusters_rather_than_made_up_ones() -> None:
    """One round cloud: no number is agreed on. Few customers, or all alike: said."""
    found, notes = _clusters.learn(RULES, blobs([(3.0,) * 4], 400, spread=0.5), 7)
    assert found is None and "resampled customers agree on no number from 4 to 8" in notes[0]
    found, notes = _clusters.learn(RULES, blobs(FIVE, 10), 7)
    assert found is None and notes == ["no clusters: 50 customers have bought, 200 are needed"]
    found, notes = _clusters.learn(
        RULES, blobs(FIVE).with_columns(pl.lit(3.0).alias(f.name) for f in RULES.features), 7
    )
    assert found is None and "all customers are alike in it" in notes[0] and "no feature of theirs varies" in notes[1]


def test_a_feature_that_the_log_has_not_is_said() -> None:
    found, notes = _clusters.learn(RULES, blobs(FIVE).drop("mean_order_value"), 7)
    assert notes[0] == "clusters do without mean_order_value: this log has no such feature"
    assert found is not None and "mean_order_value" not in found.features


def test_agreement_and_pairs_by_hand() -> None:
    """The same with other numbers is 1; pairs take the largest shared count in all, each once."""
    assert kmeans.agreement(np.array([0, 0, 1, 1]), np.array([5, 5, 2, 2])) == 1.0
    assert kmeans.paired(np.array([[5, 4], [6, 1]])) == [(0, 1), (1, 0)]
