"""Promotion: equal recipes stay out, better ones come in, and the words say why."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from world import DAY, World, rung

from churn_clv import metrics, promotion
from churn_clv.cli import _champion, _show
from churn_clv.errors import UserError
from churn_clv.promotion import Decision, RungPredictions, decide

NO_RUNGS: dict[str, RungPredictions] = {}


def _check(decision: Decision, name: str) -> promotion.Check:
    return next(check for check in decision.checks if check.name == name)


# --- against the incumbent ----------------------------------------------------------------------
def test_equal_recipes_are_seldom_promoted() -> None:
    promoted = []
    for seed in range(100):
        world = World(1500, seed=seed)
        promoted.append(decide(world.recipe(0.4), world.recipe(0.4), NO_RUNGS, draws=100, seed=seed).promote)
    assert sum(promoted) <= 5


def test_a_better_recipe_is_promoted() -> None:
    world = World(2000)
    decision = decide(world.recipe(0.1), world.recipe(0.9), world.rungs(), draws=300)
    assert decision.promote, decision.why
    assert decision.why.startswith("Promoted: the challenger is ahead of the incumbent's recipe: churn_log_loss (0.")
    assert "Judged on 2,000 predictions for 2,000 customers at 1 cutoff." in decision.why


def test_a_worse_recipe_is_refused_even_as_a_refresh() -> None:
    world = World(2000)
    better, worse = world.recipe(0.1), world.recipe(0.9)
    for refresh in (False, True):
        decision = decide(worse, better, NO_RUNGS, draws=300, same_recipe=refresh, newer_data=refresh)
        assert not decision.promote
        assert decision.why.startswith("Not promoted: ")
        assert "behind on churn_log_loss" in decision.why
        assert not _check(decision, "incumbent.churn_auroc").passed


def test_the_same_recipe_on_newer_data_is_refreshed() -> None:
    world = World(1500, seed=3)
    old = world.recipe(0.3)
    jitter = 1 + 1e-4 * world.random.normal(size=old.height)
    new = old.with_columns(pl.col("churn_probability") * jitter, pl.col("expected_spend") * jitter)
    assert not decide(new, old, NO_RUNGS, draws=300).promote
    assert not decide(new, old, NO_RUNGS, draws=300, same_recipe=True).promote
    assert not decide(new, old, NO_RUNGS, draws=300, newer_data=True).promote
    decision = decide(new, old, NO_RUNGS, draws=300, same_recipe=True, newer_data=True)
    assert decision.promote
    assert decision.why.startswith("Promoted (refreshed): the same recipe on newer data and not worse")


def test_identical_predictions_are_not_ahead() -> None:
    world = World(300)
    same = world.recipe(0.2)
    decision = decide(same, same, NO_RUNGS, draws=50)
    check = _check(decision, "incumbent.churn_log_loss")
    assert not decision.promote
    assert (check.lead, check.low, check.high) == (0.0, 0.0, 0.0)


def test_better_probabilities_do_not_pay_for_worse_spend() -> None:
    world = World(2000)
    better, worse = world.recipe(0.1), world.recipe(0.9)
    mixed = better.with_columns(worse["expected_spend"])
    decision = decide(mixed, worse.with_columns(better["expected_spend"]), NO_RUNGS, draws=300)
    assert _check(decision, "incumbent.ahead").passed
    assert not _check(decision, "incumbent.spend_tweedie_deviance").passed
    assert not decision.promote


def test_better_probabilities_do_not_pay_for_a_worse_ranking() -> None:
    world = World(2000, seed=4)
    sharp = world.recipe(0.3)
    blind = sharp.with_columns(churn_probability=1 / (1 + np.exp(-4.0 * world.logit)))  # ranks best, far too sure
    decision = decide(sharp, blind, NO_RUNGS, draws=300)
    assert _check(decision, "incumbent.churn_log_loss").low > 0  # type: ignore[operator]
    assert not _check(decision, "incumbent.churn_auroc").passed
    assert not decision.promote
    assert "churn_auroc" in decision.why and "by more than 0.005" in decision.why


def test_behind_at_one_cutoff_is_not_ahead() -> None:
    world = World(1500, cutoffs=3)
    good, bad = world.recipe(0.05), world.recipe(1.2)
    last = pl.col("cutoff") == world.frame["cutoff"].max()
    columns = ["churn_probability", "expected_spend"]

    def mixed(first: pl.DataFrame, second: pl.DataFrame) -> pl.DataFrame:
        both = first.hstack(second.select(pl.all().name.suffix("_2")))
        return both.with_columns(pl.when(last).then(f"{c}_2").otherwise(c).alias(c) for c in columns).select(
            first.columns
        )

    decision = decide(mixed(good, bad), mixed(bad, good), NO_RUNGS, draws=300)
    assert _check(decision, "incumbent.churn_log_loss").low > 0  # type: ignore[operator]
    assert not decision.promote
    assert "behind on churn_log_loss at cutoff 2024-04-01" in decision.why


def test_rows_meet_by_customer_and_cutoff() -> None:
    world = World(600, cutoffs=2)
    mine, theirs = world.recipe(0.1), world.recipe(0.8)
    shuffled = theirs.sample(fraction=1.0, shuffle=True, seed=1).filter(pl.col("customer_key") < "c00400")
    decision = decide(mine, shuffled, NO_RUNGS, draws=200)
    inside = mine.filter(pl.col("customer_key") < "c00400")
    assert (decision.rows, decision.customers, decision.cutoffs, decision.unmatched) == (800, 400, 2, 400)
    lead = metrics.log_losses(*_churn(theirs, inside)).mean() - metrics.log_losses(*_churn(mine, inside)).mean()
    assert _check(decision, "incumbent.churn_log_loss").lead == pytest.approx(lead, rel=1e-9)
    assert "400 that only one of the two recipes made were left out" in decision.why


def _churn(recipe: pl.DataFrame, keys: pl.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    some = recipe.join(keys.select("customer_key", "cutoff"), on=["customer_key", "cutoff"], how="semi")
    return some["churned"].cast(pl.Float64).to_numpy(), some["churn_probability"].to_numpy()


def test_no_row_in_common_is_the_users_to_mend() -> None:
    world = World(50)
    other = world.recipe(0.1).with_columns(cutoff=pl.col("cutoff").dt.offset_by("1d"))
    with pytest.raises(UserError, match="none of the challenger's 50 predictions matches"):
        decide(world.recipe(0.1), other, NO_RUNGS, draws=10)


# --- the interval -------------------------------------------------------------------------------
def test_the_interval_is_that_of_the_mean() -> None:
    world = World(2000, seed=8)
    mine, theirs = (m.drop("spend", "expected_spend") for m in (world.recipe(0.2), world.recipe(0.5)))
    check = _check(decide(mine, theirs, NO_RUNGS, draws=2000), "incumbent.churn_log_loss")
    gap = metrics.log_losses(*_churn(theirs, mine)) - metrics.log_losses(*_churn(mine, mine))
    error = gap.std() / np.sqrt(len(gap))
    assert check.low is not None and check.high is not None
    assert check.lead == pytest.approx(gap.mean())
    assert (check.high - check.low) / 2 == pytest.approx(1.96 * error, rel=0.07)


def test_customers_are_resampled_with_all_their_cutoffs() -> None:
    world = World(800, seed=8)
    one, other = world.recipe(0.2), world.recipe(0.5)
    later = [frame.with_columns(cutoff=pl.col("cutoff").dt.offset_by("14d")) for frame in (one, other)]
    once = decide(one, other, NO_RUNGS, draws=600)
    twice = decide(pl.concat([one, later[0]]), pl.concat([other, later[1]]), NO_RUNGS, draws=600)
    for name in ("incumbent.churn_log_loss", "incumbent.churn_auroc", "incumbent.spend_gini"):
        first, second = _check(once, name), _check(twice, name)  # a copy of every row teaches nothing new
        assert second.lead == pytest.approx(first.lead)
        assert second.high - second.low == pytest.approx(first.high - first.low, rel=0.15)  # type: ignore[operator]


def test_intervals_widen_with_what_is_compared_at_once() -> None:
    world = World(1000)
    mine = world.recipe(0.2)
    many = {f"logistic_{k}": rung(world.recipe(0.5)["churn_probability"].to_numpy(), True) for k in range(8)}
    alone = _check(decide(mine, None, {"logistic_0": many["logistic_0"]}, draws=1000), "logistic_0.churn_log_loss")
    among = _check(decide(mine, None, many, draws=1000), "logistic_0.churn_log_loss")
    ratio = (among.high - among.low) / (alone.high - alone.low)  # type: ignore[operator]
    assert 1.2 < ratio < 1.7  # 2.73 / 1.96 were they independent


def test_the_order_of_rows_does_not_matter() -> None:
    world = World(400, cutoffs=2)
    mine, theirs, rungs = world.recipe(0.2), world.recipe(0.4), world.rungs()
    mixed = np.random.default_rng(5).permutation(mine.height)
    moved: dict[str, RungPredictions] = {
        name: {
            "churn_score": None if (s := rung["churn_score"]) is None else s[mixed],
            "churn_is_probability": rung["churn_is_probability"],
            "spend": None if (m := rung["spend"]) is None else m[mixed],
        }
        for name, rung in rungs.items()
    }
    assert decide(mine, theirs, rungs, draws=100).why == decide(mine[mixed], theirs.reverse(), moved, draws=100).why


# --- against the rungs --------------------------------------------------------------------------
def test_the_first_champion_has_only_the_rungs_to_beat() -> None:
    world = World(2000)
    decision = decide(world.recipe(0.1), None, world.rungs(), draws=300)
    assert decision.promote, decision.why
    assert decision.why.startswith("Promoted: there is no incumbent. Rungs: recency_rule is beaten on churn_auroc (")
    names = {check.name for check in decision.checks}
    assert {"recency_rule.churn_auroc", "last_horizon_spend.spend_gini", "logistic.churn_log_loss"} <= names


def test_a_rung_that_is_ahead_stops_the_promotion() -> None:
    world = World(2000)
    decision = decide(world.recipe(0.9), world.recipe(1.8), world.rungs(logistic_noise=0.05), draws=300)
    assert _check(decision, "incumbent.ahead").passed
    assert not decision.promote
    assert "logistic is ahead on churn_log_loss" in decision.why


def test_a_rung_as_good_as_the_challenger_does_not() -> None:
    world = World(2000)
    mine = world.recipe(0.3)
    rungs = world.rungs() | {"logistic": rung(mine["churn_probability"].to_numpy(), True)}
    assert decide(mine, None, rungs, draws=300).promote


def test_the_recency_rule_must_be_beaten_not_met() -> None:
    world = World(2000)
    mine = world.recipe(0.3)
    rungs = world.rungs() | {"recency_rule": rung(mine["churn_probability"].to_numpy())}
    decision = decide(mine, None, rungs, draws=300)
    assert not decision.promote
    assert "recency_rule is not shown to be beaten on churn_auroc" in decision.why


def test_last_horizon_spend_must_be_beaten_on_gini() -> None:
    world = World(2000)
    mine = world.recipe(0.3)
    spend = mine["expected_spend"].to_numpy().copy()
    spend[:5] = 0.0  # no Tweedie deviance for a spend of nothing
    rungs: dict[str, RungPredictions] = {
        "last_horizon_spend": {"churn_score": None, "churn_is_probability": False, "spend": spend}
    }
    decision = decide(mine, None, rungs, draws=300)
    assert not decision.promote
    assert "last_horizon_spend is not shown to be beaten on spend_gini" in decision.why


# --- level --------------------------------------------------------------------------------------
def test_overconfidence_is_refused_unless_the_reference_is_as_bad() -> None:
    world = World(3000)
    overconfident = world.recipe(0.1, stretch=1.6)
    alone = decide(overconfident, None, NO_RUNGS, draws=50)
    assert not alone.promote
    assert "calibration_slope: off by" in alone.why and "churn_ece_above_floor: off by" in alone.why
    worse = world.recipe(0.1, stretch=2.5)
    against = decide(overconfident, worse, NO_RUNGS, draws=300)
    assert against.promote, against.why
    rungs = {"logistic": rung(worse["churn_probability"].to_numpy(), True)}
    assert decide(overconfident, None, rungs, draws=300).promote


def test_totals_are_judged_at_the_worst_cutoff() -> None:
    world = World(3000, cutoffs=2)
    late = pl.when(pl.col("cutoff") == DAY).then(1.0).otherwise(1.5)
    mine = world.recipe(0.1).with_columns(pl.col("expected_spend") * late)
    assert decide(mine, None, NO_RUNGS, draws=50).promote  # no band, no judgement
    decision = decide(mine, None, NO_RUNGS, draws=50, total_band=(0.8, 1.2))
    assert not decision.promote
    assert "total_outside_band: off by 0." in decision.why
    worse = mine.with_columns(pl.col("expected_spend") * 1.5)
    assert decide(mine, worse, NO_RUNGS, draws=200, total_band=(0.8, 1.2)).promote


# --- what it is told ----------------------------------------------------------------------------
@pytest.mark.parametrize("nulls", [True, False])
def test_without_money_only_churn_is_judged(nulls: bool) -> None:
    world = World(1500)
    bare = [m.drop("spend", "expected_spend") for m in (world.recipe(0.1), world.recipe(0.9))]
    if nulls:
        nothing = pl.lit(None, dtype=pl.Float64)
        bare = [m.with_columns(spend=nothing, expected_spend=nothing) for m in bare]
    decision = decide(bare[0], bare[1], world.rungs(), draws=200, total_band=(0.8, 1.2))
    assert decision.promote, decision.why
    assert not [check.name for check in decision.checks if "spend" in check.name or "total" in check.name]


def test_overlapping_cutoffs_are_counted() -> None:
    world = World(200, cutoffs=3, step=14)
    decision = decide(world.recipe(0.1), world.recipe(0.2), NO_RUNGS, draws=20, horizon_days=28)
    assert (decision.cutoffs, decision.independent_cutoffs) == (3, 2)
    assert "at 3 cutoffs (2 independent)" in decision.why


def test_malformed_predictions_are_refused() -> None:
    world = World(20)
    good = world.recipe(0.1)
    with pytest.raises(ValueError, match="each \\(customer_key, cutoff\\) once"):
        decide(pl.concat([good, good]), None, NO_RUNGS)
    with pytest.raises(ValueError, match="incumbent's predictions"):
        decide(good, pl.concat([good, good]), NO_RUNGS)
    with pytest.raises(ValueError, match="churn_probability: 1 of 20 values"):
        decide(good.with_columns(churn_probability=pl.Series([None, *[0.5] * 19])), None, NO_RUNGS)
    with pytest.raises(ValueError, match="rung recency_rule: 3 predictions for 20 rows"):
        decide(good, None, {"recency_rule": rung(np.ones(3))})


def test_a_verdict_is_listed_and_whole_texts_stay_whole() -> None:
    """A ';' in somebody's reason, or within one check, ends no line."""
    checks = ["btyd is ahead: by .1", "not ahead of the incumbent's recipe: a by .1; b by .2"]
    reason = "Black Friday; the CFO; agreed"
    why = f"Forced: {reason} (Not promoted: {'; '.join(checks)}.)"
    assert _show.listed(why, [*checks, reason, None]).split("\n  ") == [
        f"Forced: {reason} (Not promoted: {checks[0]}", f"{checks[1]}.)",
    ]  # fmt: skip
    assert _show.listed("plain; two") == "plain\n  two"


def test_promote_shows_a_reason_as_it_was_given(capsys: pytest.CaptureFixture[str]) -> None:
    document = {"promoted": True, "over": 1, "already_champion": False, "version": 2, "bundle_version": "f" * 64,
                "why": "Forced: x; y (Not promoted: a; b.)", "checks": [{"text": "a"}, {"text": "b"}]}  # fmt: skip
    _champion.print_promotion(document, "x; y")
    assert "Forced: x; y (Not promoted: a\n  b.)" in capsys.readouterr().out
