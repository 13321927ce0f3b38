"""The recipe judged is the recipe shipped; it learns nothing from after its cutoff, nothing from noise, and scales."""

from __future__ import annotations

import dataclasses
import datetime as dt
import random
from typing import Any

import numpy as np
import polars as pl
import pytest
import sim

from churn_clv import config, events, labels, ladder, matrix, metrics, recipe, snapshots, timeline, training
from churn_clv.models import fit
from churn_clv.models.baseline import CS, fit_linear
from churn_clv.models.predict import SPEND_IF_ACTIVE, Head, answers, logit, part_margins, raw_margin, sigmoid, survival
from churn_clv.recipe import Lesson, Workshop

SETTINGS = sim.settings()
DAY = dt.timedelta(days=1)


@pytest.fixture(scope="module")
def judged() -> training.Judged:
    return training.judge(sim.log(), SETTINGS)


@pytest.fixture(scope="module")
def trained() -> training.Trained:
    return training.train(sim.log(), SETTINGS)


def substance(heads: tuple[Head, ...]) -> list[tuple[object, ...]]:
    """All that a head predicts with."""
    return [
        (h.target, h.horizon_days, h.kind, h.intercept, h.slope, h.scale, h.edges, h.pool, h.weight,
         h.booster.model_to_string(), h.whole and h.whole.model_to_string())
        for h in heads
    ]  # fmt: skip


def choices(chosen: recipe.Choice) -> dict[str, object]:
    """What the validation origins chose, without the predictions that it rests on."""
    return {f.name: getattr(chosen, f.name) for f in dataclasses.fields(chosen) if f.name != "validation"}


def shop_of(log: events.Log, own: config.Config = SETTINGS) -> tuple[Workshop, timeline.Plan]:
    """A workshop and its plan, nothing fitted yet."""
    targets, _ = training.answerable(log, own)
    plan = timeline.make_plan(log.starts["purchase"], log.ends, own.timeline)
    return Workshop(log, own, [plan], targets, lambda _: None), plan


def with_other_labels(log: events.Log, test: dt.date, seed: int) -> events.Log:
    """The events from ``test`` on dealt out again among all customers, at ten times the money; the rest untouched."""
    draw = random.Random(seed)
    in_test = pl.col("time") >= pl.lit(dt.datetime.combine(test, dt.time()))
    dealt = log.frame.filter(in_test)
    everyone = sorted(set(log.frame["customer_id"]))
    dealt = dealt.with_columns(
        customer_id=pl.Series([draw.choice(everyone) for _ in range(dealt.height)]), amount=pl.col("amount") * 10
    )
    return sim.changed(log, pl.concat([log.frame.filter(~in_test), dealt]))


@pytest.fixture(scope="module")
def dealt() -> training.Judged:
    """The same recipe on a log whose events from the test cutoff on are others."""
    return training.judge(with_other_labels(sim.log(), dt.date(2024, 12, 2), 1), SETTINGS)


# --- what is judged, and what ships -------------------------------------------------------------
def test_the_judged_model_learnt_nothing_that_ends_after_the_test_cutoff(
    judged: training.Judged, dealt: training.Judged
) -> None:
    """Other labels after the cutoff change what it is judged on, and not one byte of the model."""
    assert dealt.plan == judged.plan and dealt.definitions == judged.definitions
    assert judged.plan.test == dt.date(2024, 12, 2)
    assert substance(dealt.heads) == substance(judged.heads)
    assert dealt.predictions.equals(judged.predictions)
    churned = labels.column("churned", judged.plan.horizon_days)
    assert not dealt.test[churned].equals(judged.test[churned])


def test_labels_that_end_after_the_test_cutoff_choose_nothing(judged: training.Judged, dealt: training.Judged) -> None:
    assert choices(dealt.chosen) == choices(judged.chosen)
    assert dealt.chosen.validation.equals(judged.chosen.validation)
    assert dealt.interval == judged.interval is not None
    for origin in judged.plan.origins:
        assert judged.plan.label_ends(origin) <= judged.plan.test


def test_a_part_of_the_customers_is_drawn_without_looking_ahead(judged: training.Judged) -> None:
    """Where there is more to learn from than ``max_snapshots``, what is left out depends on nothing to come."""
    own = sim.settings(timeline={"max_train_cutoffs": 12, "step_days": 7}, models={"max_snapshots": 1000})
    (shop, plan), (other, same) = (
        shop_of(log, own) for log in (sim.log(), with_other_labels(sim.log(), judged.plan.test, 1))
    )
    assert plan == same and plan.test == judged.plan.test
    drawn = [w.snapshots[w.learning(plan.judged)].select("customer_id", "cutoff") for w in (shop, other)]
    everyone = [w.snapshots[w.rows(plan.judged)].select("customer_id", "cutoff") for w in (shop, other)]
    assert everyone[0].equals(everyone[1]) and 500 < drawn[0].height < 1500 < everyone[0].height
    assert drawn[0].equals(drawn[1])
    assert drawn[0].filter(cutoff=plan.judged[0]).height > 30 < drawn[0].filter(cutoff=plan.judged[-1]).height


def test_the_shipped_model_learnt_them(judged: training.Judged, trained: training.Trained) -> None:
    other = training.train(with_other_labels(sim.log(), judged.plan.test, 1), SETTINGS)
    for theirs, ours in zip(other.bundle.heads, trained.bundle.heads, strict=True):
        assert theirs.booster.model_to_string() != ours.booster.model_to_string()
    assert other.oot["churn_probability"].equals(trained.oot["churn_probability"])


def test_what_was_learnt_late_is_not_learnt_early(judged: training.Judged) -> None:
    """Purchases before the test cutoff that became known only at it: neither label nor feature of the judged model."""
    log, test = sim.log(), judged.plan.test
    late = log.frame.filter(pl.col("event_type") == "purchase").with_columns(
        time=pl.lit(dt.datetime.combine(test - 20 * DAY, dt.time(12))), amount=pl.lit(99_999, dtype=pl.Int64)
    )[:300]
    for known_at, changes in ((test, False), (test - DAY, True)):
        extra = late.with_columns(known_at=pl.lit(dt.datetime.combine(known_at, dt.time())).cast(pl.Datetime("us")))
        other = training.judge(sim.changed(log, pl.concat([log.frame, extra])), SETTINGS)
        assert (substance(other.heads) != substance(judged.heads)) == changes
        assert other.chosen.validation.equals(judged.chosen.validation) != changes


def test_the_recipe_judged_is_the_recipe_shipped(judged: training.Judged, trained: training.Trained) -> None:
    """Same trees, same map, same shares, same columns; only the newest labels are more.

    Money's scale and balance are of what a model learnt from: they are fitted again with it. The renewal model learns
    no label and stays that of the test cutoff.
    """
    names = [h.target for h in judged.heads]
    assert names[0] == "churned" and 1 <= len({*names} & {"spend", SPEND_IF_ACTIVE}) == len(names) - 1
    assert [h.target for h in trained.bundle.heads] == names
    assert trained.bundle.report["choice"] == training.chosen_as_json(judged)
    for shipped, own in zip(trained.bundle.heads, judged.heads, strict=True):
        assert (shipped.slope, shipped.edges, shipped.weight) == (own.slope, own.edges, own.weight)
        assert shipped.booster.num_trees() == own.booster.num_trees() == judged.trees[own.target] > 1
        assert shipped.booster.feature_name() == own.booster.feature_name()
        assert shipped.booster.model_to_string() != own.booster.model_to_string()
        for one in (shipped.whole, own.whole):
            assert (one is not None) == (own.target == "churned") and (
                one is None or one.num_trees() == own.booster.num_trees()
            )
        assert shipped.booster.feature_name()[: len(trained.bundle.features)] == list(trained.bundle.features)
    churn, own = trained.bundle.heads[0], judged.heads[0]
    assert churn.intercept == own.intercept and own.slope != 1
    assert (churn.pool is None) == (own.pool is None)
    if churn.pool and own.pool:
        assert churn.pool.renewal == own.pool.renewal
        for pool in (churn.pool, own.pool):
            assert (pool.renewal_share, pool.linear_share) == (judged.chosen.renewal_share, judged.chosen.linear_share)
        assert own.pool.linear is None or churn.pool.linear != own.pool.linear
    assert sum(h.weight for h in judged.heads[1:]) == 1
    assert trained.bundle.trained_through == sim.log().ends


# --- how it chooses -----------------------------------------------------------------------------
def test_what_validates_is_the_recipe_itself_fitted_up_to_each_origin(judged: training.Judged) -> None:
    """The heads of the chosen recipe at an origin's own date predict what the choice rests on, to the bit."""
    shop, plan = judged.shop, judged.plan
    assert judged.chosen.validation["cutoff"].unique().sort().to_list() == list(plan.origins)
    for origin in plan.origins:
        rows = judged.chosen.validation.filter(cutoff=origin)
        curve, money = answers(recipe.heads(shop, plan, judged.chosen, origin), shop.values[shop.rows([origin])])
        assert money is not None and rows.height > 100
        assert curve[-1].tolist() == rows["churn_probability"].to_list()
        np.testing.assert_allclose(money, rows["expected_spend"].to_numpy(), rtol=1e-12)
        known = shop.table([origin], plan.test)
        for column in ("churned", "spend"):
            assert rows[column].equals(known[labels.column(column, 28)].rename(column))


@pytest.mark.parametrize("place", [0, -1])
def test_what_predicts_an_origin_knows_nothing_from_it_on(judged: training.Judged, place: int) -> None:
    """Every event at or after an origin replaced: given the choices, its predictions stay, and only its labels move."""
    origin, mine = judged.plan.origins[place], judged.shop
    other, plan = shop_of(with_other_labels(sim.log(), origin, 2))
    assert plan == judged.plan and other.definitions == mine.definitions
    for fresh in (False, True):  # with all trees; the heads below take the first
        lesson = Lesson(plan, origin, fresh)
        for learn in (Workshop.hazard, Workshop.whole):
            found = [learn(shop, lesson, 40).model_to_string() for shop in (mine, other)]
            assert found[0] == found[1]
        for active_only in (False, True):
            paid = [shop.balanced(lesson, 40, active_only) for shop in (mine, other)]
            assert paid[0][0].model_to_string() == paid[1][0].model_to_string() and paid[0][1:] == paid[1][1:]
    heads = [recipe.heads(shop, plan, judged.chosen, origin) for shop in (mine, other)]
    assert substance(heads[0]) == substance(heads[1])
    assert all(mine.linear(Lesson(plan, origin), c) == other.linear(Lesson(plan, origin), c) for c in CS)
    assert mine.renewal(origin, 28) == other.renewal(origin, 28) is not None
    at = [shop.values[shop.rows([origin])] for shop in (mine, other)]
    np.testing.assert_array_equal(at[0], at[1])
    churned = [shop.table([origin], None)[labels.column("churned", 28)] for shop in (mine, other)]
    assert not churned[0].equals(churned[1])
    later = [recipe.heads(shop, plan, judged.chosen, plan.test) for shop in (mine, other)]
    assert substance(later[0]) != substance(later[1])


def test_what_is_learnt_beforehand_is_all_that_two_recipes_ask_for(
    judged: training.Judged, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same choices and heads as without, nothing left to learn, and rows binned once for both recipes."""
    plan, own = judged.plan, SETTINGS.model_dump(mode="json", by_alias=True)
    for head in ("churn", "spend"):
        own["models"][head] |= {"num_leaves": 4, "max_rounds": 24}
    shop = judged.shop.under(SETTINGS)
    shop._linears, shop._renewals, shop._values = {}, {}, {}
    shops = (shop, shop.under(config.from_dict(own)))
    fresh = tuple(judged.shop.under(s.settings) for s in shops)
    apart = [(chosen := recipe.choose(s, plan), recipe.heads(s, plan, chosen, plan.test)) for s in fresh]
    made: list[str] = []

    def counted(name: str) -> None:
        whole: Any = getattr(fit, name)
        monkeypatch.setattr(fit, name, lambda *given: made.append(name) or whole(*given))

    counted("binned")
    counted("learnt")

    def learn(wishes: list[recipe.Wish]) -> None:
        for group in recipe.grouped(wishes):
            recipe.learn(group)

    learn([w for s in shops for w in recipe.for_choice(s, plan)])
    origins = len(plan.origins)
    assert made.count("learnt") == 2 * 5 * origins  # of two recipes: parts, fresh parts, whole, spend, if active
    assert made.count("binned") == 4 * origins  # the whole horizon and spend are learnt from the same rows
    kept, before = [dict(k) for k in (shop._linears, shop._renewals, shop._values)], len(made)
    chosen = [recipe.choose(s, plan) for s in shops]
    assert len(made) == before and kept == [shop._linears, shop._renewals, shop._values]
    learn([w for s, c in zip(shops, chosen, strict=True) for w in recipe.for_heads(s, plan, c)])
    kept, before = [dict(k) for k in (shop._linears, shop._renewals, shop._values)], len(made)
    heads = [recipe.heads(s, plan, c, plan.test) for s, c in zip(shops, chosen, strict=True)]
    assert len(made) == before and kept == [shop._linears, shop._renewals, shop._values]
    assert [choices(c) for c in chosen] == [choices(c) for c, _ in apart]
    assert [substance(h) for h in heads] == [substance(h) for _, h in apart]
    assert substance(heads[0]) != substance(heads[1])


def test_threads_change_no_number(judged: training.Judged) -> None:
    """Models learnt two at a time, each with threads of its own: the same choices and predictions, to the bit."""
    own = sim.settings(models={"threads": 4})
    assert SETTINGS.models.threads == 1 and own.models.churn == SETTINGS.models.churn
    other = training.judge(sim.log(), own)
    assert choices(other.chosen) == choices(judged.chosen)
    assert other.predictions.equals(judged.predictions)
    assert other.chosen.validation.equals(judged.chosen.validation)


def test_trees_and_fresh_parts_have_the_least_validation_loss(judged: training.Judged) -> None:
    shop, plan, chosen = judged.shop, judged.plan, judged.chosen
    churned = chosen.validation["churned"].to_numpy()

    cutoffs = chosen.validation["cutoff"].to_numpy()

    def losses(fresh: bool, trees: int) -> list[float]:
        """The mean log loss of all origins, then of each."""
        both = []
        for o in plan.origins:
            lesson, rows = Lesson(plan, o, fresh), shop.values[shop.rows([o])]
            parts = survival(part_margins(fit.cut(shop.hazard(lesson, trees), trees), rows, 4))[-1]
            both.append((parts + sigmoid(raw_margin(fit.cut(shop.whole(lesson, trees), trees), rows))) / 2)
        loss = metrics.log_losses(churned, np.concatenate(both))
        return [float(loss.mean()), *(float(loss[cutoffs == o].mean()) for o in np.unique(cutoffs))]

    found = {(f, t): losses(f, t) for f in (False, True) for t in fit.tree_counts(SETTINGS.models.churn)}
    assert len({row[0] for row in found.values()}) == len(found)
    plain, new = (min((f for f in found if f[0] == fresh), key=lambda f: found[f][0]) for fresh in (False, True))
    better = all(b < a for a, b in zip(found[plain][1:], found[new][1:], strict=True))
    assert (chosen.fresh, chosen.trees["churned"]) == (new if better else plain)


def test_the_logistic_penalty_has_the_least_validation_loss(judged: training.Judged) -> None:
    """Of regressions that learnt what ended by each origin; the rung and the pool are given the same one."""
    shop, plan, chosen = judged.shop, judged.plan, judged.chosen
    churned = chosen.validation["churned"].to_numpy()

    def loss(c: float) -> float:
        said = []
        for o in plan.origins:
            rows, known = shop.learning(plan.learnt_by(o)), shop.label("churned", 28, plan.test)
            said.append(fit_linear(shop.values[rows], known[rows], c).margin(shop.values[shop.rows([o])]))
        return float(metrics.log_losses(churned, sigmoid(np.concatenate(said))).mean())

    found = {c: loss(c) for c in CS}
    assert chosen.linear_c == min(found, key=lambda c: found[c]) and len(set(found.values())) == len(CS)
    rung = next(r for r in ladder.rungs(shop, plan, judged.test) if r.name == "logistic")
    rows = shop.learning(plan.judged)
    own = fit_linear(shop.values[rows], shop.label("churned", 28, plan.test)[rows], chosen.linear_c)
    assert rung.churn_score is not None
    assert rung.churn_score.tolist() == sigmoid(own.margin(shop.values[shop.rows([plan.test])])).tolist()
    pooled = recipe.heads(shop, plan, dataclasses.replace(chosen, linear_share=0.3), plan.test)[0].pool
    assert pooled is not None and pooled.linear == own


def test_the_map_is_that_of_the_pooled_validation(judged: training.Judged) -> None:
    """What the boosters and the pool say at the origins, unmapped, gives the map that is judged."""
    shop, plan, chosen = judged.shop, judged.plan, judged.chosen
    bare = dataclasses.replace(chosen, intercept=0.0, slope=1.0)
    said = [recipe.heads(shop, plan, bare, o)[0].predict(shop.values[shop.rows([o])]) for o in plan.origins]
    origin = np.repeat(np.arange(len(said)), [len(s) for s in said])
    margin, churned = logit(np.concatenate(said)), chosen.validation["churned"].to_numpy()
    found = fit.shrunk_map(margin, churned, origin, timeline.independent(plan.origins, 28))
    assert found == pytest.approx((chosen.intercept, chosen.slope), rel=1e-9)
    assert (judged.heads[0].intercept, judged.heads[0].slope) == (chosen.intercept, chosen.slope)


@pytest.mark.parametrize(
    ("days", "expected"), [([], 0), ([0], 1), ([0, 14, 28], 2), ([28, 0, 14], 2), ([0, 27, 54], 2), ([0, 28, 56], 3)]
)
def test_independent_cutoffs_are_a_horizon_apart(days: list[int], expected: int) -> None:
    assert timeline.independent([dt.date(2024, 1, 1) + d * DAY for d in days], 28) == expected


# --- what is scored -----------------------------------------------------------------------------
def test_only_the_judged_model_is_scored(judged: training.Judged, trained: training.Trained) -> None:
    """Metrics, out-of-time predictions and the reference come from the judged heads, not from those that ship."""
    values = matrix.values(judged.test, trained.bundle.features)
    risk, refitted = (heads[0].predict(values) for heads in (judged.heads, trained.bundle.heads))
    assert trained.oot["churn_probability"].to_list() == risk.tolist() != refitted.tolist()
    assert trained.oot["expected_spend"].to_list() == judged.predictions["expected_spend"].to_list()
    assert judged.predictions["expected_spend"].to_list() != answers(trained.bundle.heads, values)[1].tolist()  # type: ignore[union-attr]
    labels_ = judged.test[labels.column("churned", 28)].to_numpy()
    found = trained.ladder[0]["metrics"]
    assert found["churn_auroc"] == metrics.churn_metrics(labels_, risk)["churn_auroc"]
    assert {trained.bundle.reference.quantiles[0], trained.bundle.reference.quantiles[-1]} == {risk.min(), risk.max()}
    assert trained.bundle.base_rate == labels_.mean()
    assert trained.bundle.reference.interval == judged.interval
    scored = trained.bundle.score_log(sim.log().frame, judged.plan.test)
    assert scored["in_sample"].all()
    assert not trained.bundle.score_log(sim.log().frame, sim.log().ends)["in_sample"].any()


def test_the_same_log_gives_the_same_bytes(trained: training.Trained) -> None:
    again = training.train(sim.changed(sim.log(), sim.log().frame.sample(fraction=1, shuffle=True, seed=4)), SETTINGS)
    assert substance(again.bundle.heads) == substance(trained.bundle.heads)
    assert again.oot.equals(trained.oot)
    assert again.ladder == trained.ladder
    assert again.bundle.reference == trained.bundle.reference


# --- controls -----------------------------------------------------------------------------------
def noise(customers: int = 1500, days: int = 240) -> events.Log:
    """Everyone buys by chance, on any day alike: the past says nothing of the future."""
    rng = np.random.default_rng(6)
    per_day = 0.93 / 28
    at = np.argwhere(rng.random((customers, days)) < per_day)
    start = np.datetime64("2024-01-01", "us")
    frame = pl.DataFrame(
        {
            "customer_id": [f"c{n}" for n in at[:, 0]],
            "time": start + at[:, 1] * 86_400_000_000,
            "amount": rng.integers(1, 9000, len(at)) / 100,
        }
    )
    return events.from_frame(frame, events.rules_of(SETTINGS.events), dt.date(2024, 1, 1) + days * DAY)


def test_pure_noise_scores_no_better_than_chance() -> None:
    found = training.train(noise(), SETTINGS)
    by_rung = {row["rung"]: row["metrics"] for row in found.ladder}
    assert found.oot.height > 1000
    for rung in ("champion", "recency_rule", "logistic", "single_snapshot", "rfm_cells", "btyd", "lifetime_rate"):
        assert 0.45 < by_rung[rung]["churn_auroc"] < 0.55, rung
    assert abs(by_rung["champion"]["spend_gini"]) < 0.1


def test_a_leak_would_show_in_the_score(monkeypatch: pytest.MonkeyPatch) -> None:
    """Control of the control: one column from the future takes the same noise to near 1."""
    build = snapshots.build

    def leaky(log: events.Log, cutoffs: list[dt.date], definitions: timeline.Definitions) -> pl.DataFrame:
        rows = build(log, cutoffs, definitions)
        pairs = rows.select("customer_id", "cutoff")
        seen = timeline.future(log.frame, pairs, 28).group_by("row").agg(leak=pl.len()).collect()
        rows = rows.with_row_index("row").join(seen, on="row", how="left", maintain_order="left").drop("row")
        return rows.with_columns(days_since_first_purchase=pl.col("leak").fill_null(0).cast(pl.Float64)).drop("leak")

    monkeypatch.setattr(snapshots, "build", leaky)
    found = training.judge(noise(), SETTINGS)
    churned = found.test[labels.column("churned", 28)].to_numpy()
    assert metrics.churn_metrics(churned, found.predictions["churn_probability"].to_numpy())["churn_auroc"] > 0.9


def test_money_times_a_hundred_keeps_ranks_and_totals(trained: training.Trained) -> None:
    """Definition D24: Spearman >= .999, totals within .5%; churn hardly moves."""
    log = sim.log()
    dear = sim.changed(log, log.frame.with_columns(pl.col("amount", "discount") * 100))
    other = training.train(dear, SETTINGS)
    assert other.oot.select("customer_id", "churned").equals(trained.oot.select("customer_id", "churned"))
    ours, theirs = trained.oot["expected_spend"], other.oot["expected_spend"] / 100
    assert pl.DataFrame({"a": ours, "b": theirs}).select(pl.corr("a", "b", method="spearman")).item() >= 0.999
    assert theirs.sum() == pytest.approx(ours.sum(), rel=0.005)
    for dear_head, head in zip(other.bundle.heads[1:], trained.bundle.heads[1:], strict=True):
        assert dear_head.scale == pytest.approx(100 * head.scale, rel=1e-9)
    risks = pl.DataFrame({"a": trained.oot["churn_probability"], "b": other.oot["churn_probability"]})
    assert risks.select(pl.corr("a", "b", method="spearman")).item() >= 0.999


@pytest.mark.parametrize("most", [1, 2, 3])
def test_few_training_cutoffs_still_make_a_recipe(most: int) -> None:
    """Every origin has a model of as many cutoffs, and so has the map something to be fitted with."""
    own = sim.settings(timeline={"max_train_cutoffs": most, "step_days": 7})
    found = training.judge(sim.log(), own)
    assert {len(found.plan.learnt_by(when)) for when in (*found.plan.origins, found.plan.test)} == {most}
    assert found.heads[0].booster.num_trees() == found.trees["churned"]
    assert found.chosen.validation["cutoff"].n_unique() == 3
    assert metrics.churn_metrics(
        found.test[labels.column("churned", 28)].to_numpy(), found.predictions["churn_probability"].to_numpy()
    )["churn_auroc"] > 0.6  # fmt: skip


# --- who a campaign reached ---------------------------------------------------------------------
def test_nobody_is_learnt_from_or_judged_whom_a_campaign_reached_in_the_label_window() -> None:
    """Two campaigns, one inside the test window: those snapshots go, all others stay."""
    log = sim.log()
    plain, plan = shop_of(log)
    days = [plan.test + 3 * DAY, plan.test - 30 * DAY]
    some = sorted(set(log.frame["customer_id"]))[::3]
    sent = pl.DataFrame(
        {"customer_id": some * 2, "event_type": "campaign_contact"}, schema_overrides={"customer_id": pl.String}
    ).with_columns(time=pl.Series([day for day in days for _ in some]).cast(log.frame.schema["time"]))
    frame = pl.concat([log.frame, sent], how="diagonal").sort("time", maintain_order=True)
    shop, same = shop_of(sim.changed(log, frame))
    assert same == plan
    horizon = dt.timedelta(days=plan.horizon_days)
    reached = {(who, cutoff) for who in some for cutoff in plain.snapshots["cutoff"].unique() for day in days
               if cutoff <= day < cutoff + horizon}  # fmt: skip
    pairs = plain.snapshots.select("customer_id", "cutoff").rows()
    assert shop.snapshots.select("customer_id", "cutoff").rows() == [pair for pair in pairs if pair not in reached]
    assert shop.treated == len(pairs) - shop.snapshots.height > 100
    at_test = shop.table([plan.test], None)
    assert not set(at_test["customer_id"]) & set(some) and at_test.height > 100
