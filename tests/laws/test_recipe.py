"""The recipe judged is the recipe shipped; it learns nothing from after its cutoff, nothing from noise, and scales."""

from __future__ import annotations

import datetime as dt
import random

import numpy as np
import polars as pl
import pytest
import sim

from churn_clv import config, events, labels, matrix, metrics, snapshots, timeline, training
from churn_clv.models import fit
from churn_clv.models.predict import Head

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
        (h.target, h.horizon_days, h.kind, h.intercept, h.slope, h.scale, h.booster.model_to_string()) for h in heads
    ]


def with_other_labels(log: events.Log, test: dt.date, seed: int) -> events.Log:
    """The test window's purchases dealt out again among all customers, at ten times the money; the rest untouched."""
    draw = random.Random(seed)
    in_test = pl.col("time") >= pl.lit(dt.datetime.combine(test, dt.time()))
    dealt = log.frame.filter(in_test)
    everyone = sorted(set(log.frame["customer_id"]))
    dealt = dealt.with_columns(
        customer_id=pl.Series([draw.choice(everyone) for _ in range(dealt.height)]), amount=pl.col("amount") * 10
    )
    return sim.changed(log, pl.concat([log.frame.filter(~in_test), dealt]))


# --- what is judged, and what ships -------------------------------------------------------------
def test_the_judged_model_learnt_nothing_that_ends_after_the_test_cutoff(judged: training.Judged) -> None:
    """Other labels after the cutoff change what it is judged on, and not one byte of the model."""
    other = training.judge(with_other_labels(sim.log(), judged.plan.test, 1), SETTINGS)
    assert other.plan == judged.plan and other.definitions == judged.definitions
    assert substance(other.heads) == substance(judged.heads)
    assert other.predictions.equals(judged.predictions)
    churned = labels.column("churned", judged.plan.horizon_days)
    assert not other.test[churned].equals(judged.test[churned])


def test_the_shipped_model_learnt_them(judged: training.Judged, trained: training.Trained) -> None:
    other = training.train(with_other_labels(sim.log(), judged.plan.test, 1), SETTINGS)
    assert substance(other.bundle.heads) != substance(trained.bundle.heads)
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


def test_the_recipe_judged_is_the_recipe_shipped(judged: training.Judged, trained: training.Trained) -> None:
    """Same trees, same map, same scale, same columns; only the newest labels are more."""
    assert training.judge(sim.log(), SETTINGS).trees == judged.trees
    assert [h.target for h in trained.bundle.heads] == [h.target for h in judged.heads] == ["churned", "spend"]
    for shipped, own in zip(trained.bundle.heads, judged.heads, strict=True):
        assert (shipped.intercept, shipped.slope, shipped.scale) == (own.intercept, own.slope, own.scale)
        assert shipped.booster.num_trees() == own.booster.num_trees() == judged.trees[own.target] > 1
        assert shipped.booster.feature_name() == own.booster.feature_name() == list(trained.bundle.features)
        assert substance((shipped,)) != substance((own,))
    assert (judged.heads[0].slope, judged.heads[1].slope) != (1.0, 1.0)
    assert trained.bundle.trained_through == sim.log().ends


def test_the_map_was_fitted_before_its_cutoff(judged: training.Judged) -> None:
    """Labels that end after the calibration cutoff move neither the model that it maps nor the number of trees."""
    known = snapshots.with_labels(sim.log(), judged.snapshots, SETTINGS, judged.plan.test)
    column, columns = labels.column("churned", 28), tuple(judged.heads[0].booster.feature_name())
    rows = known.filter(pl.col("cutoff").is_in(list(judged.plan.until_calibration)))
    assert rows["cutoff"].max() + 28 * DAY <= judged.plan.calibration  # type: ignore[operator]
    early = fit.booster(rows, column, columns, "probability", 1.0, judged.trees["churned"], SETTINGS.models.churn,
                        SETTINGS.seed, 1)  # fmt: skip
    held = known.filter(pl.col("cutoff") == judged.plan.calibration)
    margin = Head("churned", 28, "probability", early).margin(matrix.values(held, columns))
    assert fit.logistic_map(margin, held[column].to_numpy()) == (judged.heads[0].intercept, judged.heads[0].slope)


def test_only_the_judged_model_is_scored(judged: training.Judged, trained: training.Trained) -> None:
    """Metrics, out-of-time predictions and the reference come from the judged heads, not from those that ship."""
    values = matrix.values(judged.test, trained.bundle.features)
    risk, refitted = (heads[0].predict(values) for heads in (judged.heads, trained.bundle.heads))
    assert trained.oot["churn_probability"].to_list() == risk.tolist() != refitted.tolist()
    labels_ = judged.test[labels.column("churned", 28)].to_numpy()
    found = trained.ladder[0]["metrics"]
    assert found["churn_auroc"] == metrics.churn_metrics(labels_, risk)["churn_auroc"]
    assert {trained.bundle.reference.quantiles[0], trained.bundle.reference.quantiles[-1]} == {risk.min(), risk.max()}
    assert trained.bundle.base_rate == labels_.mean()
    scored = trained.bundle.score_log(sim.log().frame, judged.plan.test)
    assert scored["in_sample"].all()
    assert not trained.bundle.score_log(sim.log().frame, sim.log().ends)["in_sample"].any()


def test_the_same_log_gives_the_same_bytes(trained: training.Trained) -> None:
    again = training.train(sim.changed(sim.log(), sim.log().frame.sample(fraction=1, shuffle=True, seed=4)), SETTINGS)
    assert substance(again.bundle.heads) == substance(trained.bundle.heads)
    assert again.oot.equals(trained.oot)
    assert again.ladder == trained.ladder


# --- controls -----------------------------------------------------------------------------------
def noise(customers: int = 1500, days: int = 280) -> events.Log:
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
    for rung in ("champion", "recency_rule", "logistic"):
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
    assert other.bundle.heads[1].scale == pytest.approx(100 * trained.bundle.heads[1].scale, rel=1e-9)
    risks = pl.DataFrame({"a": trained.oot["churn_probability"], "b": other.oot["churn_probability"]})
    assert risks.select(pl.corr("a", "b", method="spearman")).item() >= 0.999


@pytest.mark.parametrize("most", [1, 2, 3])
def test_few_training_cutoffs_still_make_a_recipe(most: int) -> None:
    """A plan of one or two cutoffs leaves the calibration map something to be fitted with."""
    own = sim.settings(timeline={"max_train_cutoffs": most, "step_days": 7})
    found = training.judge(sim.log(), own)
    assert len(found.plan.train) == len(found.plan.judged) == most
    assert found.heads[0].booster.num_trees() == found.trees["churned"]
    assert isinstance(own, config.Config)
