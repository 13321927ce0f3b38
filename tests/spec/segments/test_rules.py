"""Tiers, risk and the matrix by hand; growth; rules that are refused; files that say the same when read again."""

from __future__ import annotations

import dataclasses
import datetime as dt
import json
from typing import Any

import drawn
import numpy as np
import polars as pl
import pytest
import yaml

from churn_clv import config, segments
from churn_clv.errors import UserError
from churn_clv.segments import Clusters, Edges, Rhythm, Segments

SETTINGS = config.load(dataset="x", value={"margin_share": 0.5}, clv={"months": [12]})
RULES = config.segment_rules(SETTINGS)
CUTOFF = dt.date(2024, 3, 4)  # 12 months are 365 days
DEFINITIONS = drawn.definitions()  # the window nearest to the horizon has 28 days
QUARTERS = (0.0, 25.0, 50.0, 75.0, 100.0)
OWN = Segments(
    RULES, 5,
    {"rfm_recency": Edges((40.0, 30.0, 20.0, 10.0), True), "rfm_frequency": Edges((2.0, 3.0, 4.0, 5.0)),
     "rfm_monetary": Edges((20.0, 30.0, 40.0, 50.0))},
    Rhythm(10, 40, 30), QUARTERS, {"mature": QUARTERS, "growing": (10.0, 20.0, 30.0)},
    Clusters(("days_since_last_purchase",), (0.0,), (1.0,), ((0.0,), (4.0,)), ("near", "far"), 0.9),
    ("a note",),
)  # fmt: skip


def person(
    since: int | None = 5, first: int | None = 300, orders: int = 10, earned: float | None = 20.0
) -> dict[str, Any]:
    """Half of the money is margin: 20 in 28 days is .357 a day, 130.36 a year."""
    rhythm = {"_gaps": max(0, orders - 1), "_own_gap": 20.0, "_back": None, "_near": 2, "_before": 2}
    return {"customer_id": "c", "cutoff": CUTOFF, "days_since_last_purchase": since, "days_since_first_purchase": first,
            "purchase_days": float(orders), "spend": 100.0, "_earned": earned} | rhythm  # fmt: skip


def score(clv: float | None, risk: float | None = 0.1, **more: Any) -> dict[str, Any]:
    return {"churn_probability": risk, "percentile_in_reference": 50.0, "churn_band": "low", "reason": None,
            "base_rate": 0.2, "clv_12m": clv} | more  # fmt: skip


def assigned(people: list[dict[str, Any]], scores: list[dict[str, Any]], own: Segments = OWN) -> pl.DataFrame:
    history = pl.DataFrame(
        people, infer_schema_length=None, schema_overrides={"_back": pl.Int64, "_own_gap": pl.Float64}
    )
    schema = {"churn_probability": pl.Float64, "clv_12m": pl.Float64, "reason": pl.String, "churn_band": pl.String}
    return segments.assign(own, history, pl.DataFrame(scores, schema_overrides=schema), DEFINITIONS, SETTINGS)


def test_the_tiers_by_hand() -> None:
    """CLV 90 stands at 87.5 of 100: core. 60 is at 62.5, and .164 a day against .357: no growth, low. The same with 3
    earned (.0536 a day, growth 3.07): potential. 45 is below half: low, whatever it grows; but growing stage with
    two orders is potential, with one it is not."""
    people = [person(), person(), person(earned=3.0), person(earned=3.0), person(first=20, orders=2),
              person(first=20, orders=1)]  # fmt: skip
    found = assigned(people, [score(c) for c in (90.0, 60.0, 60.0, 45.0, 5.0, 5.0)])
    assert found["lifecycle_stage"].to_list() == ["mature"] * 4 + ["growing"] * 2
    assert found["value_tier"].to_list() == ["core", "low", "potential", "low", "potential", "low"]


def test_the_matrix_by_hand() -> None:
    """Base rate .2 has odds 1/4: risk is at twice that from 1/3 on. Who lapsed is at risk without a probability."""
    third = 1 / 3
    people = [person()] * 2 + [person(earned=3.0)] * 2 + [person()] * 2 + [person(since=57)]
    given = [(90, 0.3333), (90, 0.3334), (60, third - 1e-9), (60, third + 1e-9), (45, 0.1), (45, 0.9), (90, None)]
    found = assigned(people, [score(float(c), r) for c, r in given])
    assert found["value_risk"].to_list() == ["protect", "win_back", "grow", "win_back", "grow", "let_go", "win_back"]


def test_prospects_have_a_tier_and_no_cell() -> None:
    found = assigned([person(since=None, first=None, orders=0, earned=0.0)], [score(30.0, None, reason="prospect")])
    cells = ("lifecycle_stage", "rfm_group", "value_tier", "value_risk", "cluster", "rfm_recency")
    assert found.select(cells).row(0) == ("prospect", "prospect", "low", None, None, None)


def test_the_percentile_within_the_stage() -> None:
    """50 in the middle of five quantiles is at 50, 60 between the third and fourth at 62.5; 20 of 10, 20, 30 at 50;
    nobody was declining at training: null."""
    people = [person(), person(), person(first=20), person(since=50)]
    found = assigned(people, [score(c) for c in (50.0, 60.0, 20.0, 50.0)])
    assert found["lifecycle_stage"].to_list() == ["mature", "mature", "growing", "declining"]
    assert found["stage_percentile"].to_list() == [50.0, 62.5, 50.0, None]


def test_without_money_only_the_stage_speaks() -> None:
    bare = dataclasses.replace(OWN, clv=(), stage_clv={})
    people = [
        {k: v for k, v in p.items() if k not in ("spend", "_earned")} for p in (person(), person(first=20, orders=3))
    ]
    found = assigned(people, [score(None), score(None)], bare)
    assert found["value_tier"].to_list() == [None, "potential"]
    assert found["value_risk"].to_list() == [None, "grow"] and found["stage_percentile"].null_count() == 2
    assert found["rfm_monetary"].null_count() == 2


def test_growth_of_someone_who_earned_nothing() -> None:
    """1 to come and nothing earned: any growth; nothing and nothing: unknown; a net return is no base either."""
    from churn_clv.segments._columns import growth

    coming, earned = np.array([1.0, 0.0, 1.0, 2.0, 1.0]), np.array([0.0, 0.0, -5.0, 28.0, np.nan])
    found = growth(coming, earned, SETTINGS.value.margin_share, 28)
    assert found.tolist()[:1] == [np.inf] and np.isnan(found[1]) and found[2] == np.inf
    assert found[3] == pytest.approx(2.0 / 0.5) and np.isnan(found[4])
    own = growth(coming[3:4], earned[3:4], np.array([0.1]), 28)  # of one's own margin, where the log tells them
    assert own[0] == pytest.approx(2.0 / 0.1)


def rules(*lines: Any) -> tuple[config.Rule, ...]:
    return tuple(config.Rule.model_validate(line) for line in lines)


def test_the_first_rule_that_holds() -> None:
    """Any line, in it every bound; below leaves its number out; null and absent quantities never hold."""
    own = rules(
        {"name": "a", "when": [{"x": {"at_least": 2, "below": 3}, "w": {"is_in": ["p", "q"]}}, {"x": {"at_least": 9}}]},
        {"name": "b", "when": [{"absent": {"at_least": 0}}, {"x": {"below": 2}}]},
    )
    rows = pl.DataFrame({"x": [2.0, 3.0, 9.0, 1.9, None, 2.5], "w": ["p", "p", None, "r", "p", "r"]})
    assert segments.choose(own, rows).to_list() == ["a", None, "a", "b", None, None]
    rest = (*own, *rules({"name": "rest"}))
    assert segments.choose(rest, rows).to_list() == ["a", "rest", "a", "b", "rest", "rest"]


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"value_tiers": [{"name": "top"}]}, "value_risk.cells has no name for top x at_risk, top x safe"),
        ({"value_tiers": [{"name": "core"}, {"name": "core"}]}, "value_tiers names a segment twice: core, core"),
        ({"value_tiers": [{"name": "core", "when": [{"clv": {"at_leest": 1}}]}]}, "unknown key"),
        ({"value_tiers": [{"name": "core", "when": [{"clv": {}}]}]}, "expected at_least, below or both, or is_in"),
        ({"value_tiers": [{"name": "core", "when": [{}]}]}, "at least 1 value"),
        ({"value_tier": []}, "Did you mean 'value_tiers'?"),
    ],
)
def test_rules_that_do_not_fit_are_refused(changes: dict[str, Any], why: str) -> None:
    with pytest.raises(UserError) as error:
        config.segment_rules(config.load(dataset="x", segments=changes))
    assert why in str(error.value) and "segments" in str(error.value)


@pytest.mark.parametrize(
    ("line", "why"),
    [
        (
            {"clv_percentil": {"at_least": 1}},
            "'clv_percentil' is no quantity or feature of this log. Did you mean 'clv_p",
        ),
        ({"churn_band": {"at_least": 1}}, "'churn_band' holds words, and at_least and below does not fit them"),
        ({"clv": {"is_in": ["a"]}}, "'clv' holds numbers, and is_in does not fit them"),
        ({"value_tier": {"is_in": ["core"]}}, "'value_tier' is no quantity"),
    ],
)
def test_rules_about_what_is_not_there_are_refused(line: dict[str, Any], why: str) -> None:
    own = RULES.model_copy(update={"value_tiers": rules({"name": "core", "when": [line]})})
    with pytest.raises(UserError) as error:
        segments.check(own, {"purchase_days"})
    assert why in str(error.value)
    segments.check(RULES, {"purchase_days"})


def test_a_segment_may_look_at_features_and_engagement() -> None:
    own = RULES.model_copy(update={"value_tiers": rules({"name": "core", "when": [{"engagement": {"at_least": 3}}]},
                                                        {"name": "potential", "when": [{"units": {"below": 9}}]},
                                                        {"name": "low"})})  # fmt: skip
    segments.check(own, {"units"})
    people = [person() | {"engagement": e, "units": u} for e, u in ((3.0, 1.0), (2.0, 8.0), (2.0, 9.0), (None, 9.0))]
    found = assigned(people, [score(1.0)] * 4, dataclasses.replace(OWN, rules=own))
    assert found["value_tier"].to_list() == ["core", "potential", "low", "low"]


def test_the_file_says_the_same_when_read_again() -> None:
    text = json.dumps(segments.to_json(OWN), sort_keys=True, allow_nan=False)
    assert segments.from_json(json.loads(text)) == OWN
    bare = Segments(RULES, 0, {}, Rhythm(1, 1, 1, ("x",)))
    assert segments.from_json(json.loads(json.dumps(segments.to_json(bare)))) == bare


def test_the_shipped_file_is_an_overlay_that_changes_nothing() -> None:
    own = config.load(dataset="x", **yaml.safe_load(config.shipped_text("segments.yaml")))
    assert config.segment_rules(own) == config.segment_rules(config.load(dataset="x"))
    assert own.recipe_hash == config.load(dataset="x").recipe_hash


def test_the_names_in_their_order() -> None:
    assert OWN.names("value_risk") == ("protect", "win_back", "grow", "let_go")
    assert OWN.names("value_tier") == ("core", "potential", "low") and OWN.names("cluster") == ("near", "far")
    assert OWN.names("rfm_group")[0] == "champions" and OWN.names("rfm_group")[-1] == "prospect"
