"""From a log to a bundle on disk to scores, and every way in which that can be refused."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any

import pandas as pd
import polars as pl
import pytest
import sim
import yaml

from churn_clv import bundle, config, events, features, labels, metrics, scoring, segments, training
from churn_clv.errors import UserError

ROOT = Path(__file__).parents[2]
DAY = dt.timedelta(days=1)
START = dt.date(2024, 1, 1)


def plain(log: events.Log) -> pl.DataFrame:
    """The log's events as a user has them: money in major units."""
    scale = 10**log.rules.minor_units
    return log.frame.with_columns(pl.col("amount", "discount") / scale, pl.col("quantity", "value") / 1000)


@pytest.fixture(scope="module")
def trained() -> training.Trained:
    return training.train(sim.log(2000), sim.settings())


@pytest.fixture(scope="module")
def loaded(trained: training.Trained, tmp_path_factory: pytest.TempPathFactory) -> bundle.Bundle:
    folder = tmp_path_factory.mktemp("trained") / "bundle"
    version = bundle.save(trained.bundle, folder)
    out = bundle.load_bundle(folder)
    assert out.version == version == bundle.verify(folder)["version"]
    return out


# --- the whole way ------------------------------------------------------------------------------
def test_the_model_learns_what_the_simulator_hid(trained: training.Trained) -> None:
    by_rung = {row["rung"]: row["metrics"] for row in trained.ladder}
    assert list(by_rung) == [
        "champion", "recency_rule", "last_horizon_spend", "lifetime_rate", "rfm_cells", "logistic", "btyd",
        "single_snapshot",
    ]  # fmt: skip
    assert all(set(found) >= set(metrics.METRIC_KEYS) for found in by_rung.values())
    champion = by_rung["champion"]
    assert champion["churn_auroc"] > max(0.7, by_rung["recency_rule"]["churn_auroc"])
    assert champion["spend_gini"] > max(0.5, by_rung["last_horizon_spend"]["spend_gini"])
    assert 0.8 < champion["spend_total_ratio"] < 1.25
    assert champion["n"] == trained.oot.height == trained.data["eligible_at_test"] > 500


def test_the_report_says_what_the_data_were(trained: training.Trained) -> None:
    log, data = sim.log(2000), trained.data
    assert (data["rows"], data["customers"]) == (log.frame.height, log.frame["customer_id"].n_unique())
    assert data["features"] >= 80 and data["targets_refused"] == {}
    assert 0 < data["label_return_rate"] < 1 and data["label_return_within_days"] == 84
    assert data["new_customers_in_test_window"] > 0
    assert data["known_at_test"] >= data["eligible_at_test"]
    assert data["fingerprint"] == log.fingerprint and data["ends"] == log.ends.isoformat()


def test_a_saved_bundle_scores_as_the_trained_one(trained: training.Trained, loaded: bundle.Bundle) -> None:
    log = sim.log(2000)
    ours, theirs = (b.score_log(log.frame, log.ends).drop("model_version") for b in (trained.bundle, loaded))
    assert ours.equals(theirs)
    assert ours.height == log.frame["customer_id"].n_unique()
    eligible = ours.filter("eligible")
    assert eligible["churn_probability"].is_between(0, 1, closed="none").all()
    assert (eligible["expected_spend"] >= 0).all() and eligible["churn_band"].n_unique() == 3
    others = ours.filter(~pl.col("eligible"))
    assert others.height and set(others["reason"]) <= {"lapsed", "prospect", "history_too_short"}
    assert others["churn_probability"].null_count() == others["expected_spend"].null_count() == others.height


def test_more_of_a_customers_value(loaded: bundle.Bundle) -> None:
    """Orders, the next order, P(active) and CLV's bounds, of one customer and of all, never against another number."""
    log = sim.log(2000)
    scores = loaded.score_log(log.frame, log.ends)
    own = scores.filter("eligible")
    active = 1 - own["churn_probability"]
    assert (own["expected_orders"] >= active).all() and own["expected_orders"].max() > 2  # type: ignore[operator]
    assert (own["expected_orders"] * own["expected_order_value"]).to_numpy() == pytest.approx(own["expected_spend"])
    # The last parts of a pause: the chance that a silence of four horizons follows is the loss, to the bit.
    assert own["next_order_learnt_days"].unique().to_list() == [112]
    silent = loaded.no_purchase(plain(log), log.ends, 112)
    assert isinstance(silent, pl.DataFrame)
    assert silent["probability"].equals(scores["loss_probability"].rename("probability"))
    for earlier, later in (("7", "14"), ("14", "30"), ("30", "60"), ("60", "90")):
        assert (own[f"next_order_within_{later}d"] >= own[f"next_order_within_{earlier}d"]).all()
    assert (own["next_order_within_14d"] == 1 - own["churn_probability_14d"]).all()
    assert (own["next_order_within_30d"] >= active).all()
    for before, after in ((1, 3), (3, 6), (6, 12)):
        assert (own[f"active_probability_{after}m"] <= own[f"active_probability_{before}m"]).all()
    assert (own["active_probability_1m"] <= active).all() and own["active_probability_12m"].min() > 0  # type: ignore[operator]
    for m in (3, 6):
        assert (own[f"clv_{m}m_low"] <= own[f"clv_{m}m"]).all() and (own[f"clv_{m}m"] <= own[f"clv_{m}m_high"]).all()
    assert (own["clv_6m_high"] >= own["clv_3m_high"]).all() and (own["clv_3m_high"] > own["clv_3m"]).any()
    assert scores["clv_12m_high"].null_count() == scores.height  # a year and two horizons are more than the log holds
    told = scoring.summary(scores, loaded)
    assert told["clv_total_low"]["6"] < told["clv_total"]["6"] < told["clv_total_high"]["6"]
    assert told["clv_total_low"]["12"] is None


def test_plain_frames_of_either_kind_score_alike(loaded: bundle.Bundle) -> None:
    log = sim.log(2000)
    few = plain(log).filter(pl.col("customer_id").is_in(log.frame["customer_id"].unique().sort()[:40].to_list()))
    expected = loaded.score_log(log.frame, log.ends).filter(
        pl.col("customer_id").is_in(few["customer_id"].unique().to_list())
    )
    polars, pandas = loaded.score(few, log.ends), loaded.score(few.to_pandas(), log.ends.isoformat())
    assert isinstance(polars, pl.DataFrame) and isinstance(pandas, pd.DataFrame)
    assert polars.equals(expected)
    assert pandas["churn_probability"].fillna(-1).tolist() == expected["churn_probability"].fill_null(-1).to_list()


def test_scoring_the_whole_base(loaded: bundle.Bundle, tmp_path: Path) -> None:
    log = sim.log(2000)
    scores = scoring.score(loaded, log)
    assert scores["cutoff"].unique().to_list() == [log.ends]
    ranks = scores["percentile_in_scoring"].drop_nulls()
    assert ranks.mean() == pytest.approx(50) and ranks.len() == scores["eligible"].sum()
    frame = plain(log)
    frame.write_parquet(tmp_path / "log.parquet")
    source = {"path": str(tmp_path / "log.parquet"), "map": {name: name for name in frame.columns}}
    read = config.Events.model_validate({"sources": {"log": source}, "ends": log.ends})
    own = sim.settings().model_copy(update={"out": str(tmp_path / "out"), "events": read})
    done = scoring.run(own, loaded, scoring.Asked(csv=True, part_rows=700), lambda _: None, lambda events: events)
    parts = pl.concat(pl.read_parquet(path) for path in scoring.parts_of(done.folder))
    assert parts.drop("previous_churn_band", "score_change").equals(scores) and done.manifest["rows"] == scores.height
    text = pl.read_csv(done.folder / "scores.csv", infer_schema=False)
    for column in ("percentile_in_reference", "percentile_in_scoring"):
        assert text[column].drop_nulls().str.split(".").list.last().str.len_chars().max() <= 3  # type: ignore[operator]
        assert text[column].cast(pl.Float64).to_list() == scores[column].round(3).to_list()
    assert text["churn_probability"].cast(pl.Float64).equals(scores["churn_probability"])
    told, known = scoring.summary(scores, loaded)["clv_total"], scores["clv_12m"]
    assert told["12"] == pytest.approx(known.sum()) and 0 < told["3"] < told["6"] < told["12"] < told["24"]
    assert known.null_count() == 0 and (scores["historic_value"] + scores["clv_24m"]).equals(scores["total_value"])


def test_a_trained_model_knows_segments(loaded: bundle.Bundle) -> None:
    """Their columns are in the scores; everyone has a stage, clusters were found, the core is a fifth."""
    log, own = sim.log(2000), loaded.segments
    assert own is not None and own.clusters is not None and own.clusters.agreement >= 0.8
    scores = scoring.score(loaded, log)
    assert set(segments.COLUMNS) <= set(scores.columns)
    assert own.customers == scores.height and scores["lifecycle_stage"].null_count() == 0
    core = scores.filter(value_tier="core").height / scores.height
    assert core == pytest.approx(0.2, abs=0.01)
    assert set(scores.filter(reason="lapsed")["lifecycle_stage"]) == {"lapsed"}
    assert set(scores.filter(reason="prospect")["lifecycle_stage"]) == {"prospect"}


def test_cdnow_from_its_package(tmp_path: Path) -> None:
    """A real log of orders alone: the families it cannot feed are left out, and the model ranks."""
    overlay = tmp_path / "sample.yaml"
    models = {"churn": sim.QUICK | {"learning_rate": 0.05}, "spend": sim.QUICK | {"learning_rate": 0.05}, "threads": 1}
    overlay.write_text(yaml.safe_dump({"models": models, "events": {"sources": {"orders": {"table": "sample"}}}}))
    settings = config.load(ROOT / "configs" / "cdnow.yaml", overlay)
    log = events.read_log(settings)
    assert (log.frame.height, log.frame["customer_id"].n_unique()) == (6919, 2357)
    found = training.train(log, settings)
    assert set(found.data["families_left_out"]) == {"engagement", "price", "returns", "channel"}
    champion = found.ladder[0]["metrics"]
    assert champion["churn_auroc"] > 0.7 and champion["spend_gini"] > 0.4
    assert 0.1 < found.data["label_return_rate"] < 0.5
    folder = tmp_path / "bundle"
    bundle.save(found.bundle, folder)
    assert bundle.load_bundle(folder).score_log(log.frame, log.ends)["eligible"].sum() > 100


# --- what a log may lack ------------------------------------------------------------------------
def test_without_amounts_churn_is_trained_and_spend_refused(tmp_path: Path) -> None:
    bare = plain(sim.log()).select("customer_id", "time", "event_type").filter(pl.col("event_type") != "return")
    log = events.from_frame(bare, sim.log().rules, sim.log().ends)
    found = training.train(log, sim.settings())
    assert list(found.data["targets_refused"]) == ["spend"]
    assert "'amount', which no source maps" in found.data["targets_refused"]["spend"]
    assert {"monetary", "returns", "price"} <= set(found.data["families_left_out"])
    rungs = [row["rung"] for row in found.ladder]
    assert rungs == [
        "champion", "recency_rule", "lifetime_rate", "rfm_cells", "logistic", "btyd", "single_snapshot",
    ]  # fmt: skip
    assert all(row["metrics"]["spend_mae"] is None for row in found.ladder)
    champion = found.ladder[0]["metrics"]
    assert champion["churn_auroc"] > 0.6 and champion["spend_gini"] is None
    bundle.save(found.bundle, tmp_path / "bundle")
    scores = bundle.load_bundle(tmp_path / "bundle").score_log(log.frame, log.ends)
    assert scores["expected_spend"].null_count() == scores.height
    assert scores["churn_probability"].count() > 100
    # Orders and activity need no money.
    own = scores.filter("eligible")
    assert (own["expected_orders"] >= 1 - own["churn_probability"]).all() and own["active_probability_12m"].min() > 0  # type: ignore[operator]
    for column in ("expected_order_value", "clv_3m", "clv_3m_high", "historic_value"):
        assert scores[column].null_count() == scores.height, column


@pytest.mark.parametrize("windows", [[5, 10, 30, 45, 91], [40, 1, 2, 28, 3, 4]])
def test_any_five_windows_make_a_model(windows: list[int]) -> None:
    settings = sim.settings(features={"windows_days": windows})
    found = training.judge(sim.log(), settings)
    assert found.definitions.windows_days == tuple(sorted(windows))
    assert f"purchase_days_last_{windows[0]}d" in features.names(found.definitions)


def test_switching_families_off_reaches_the_bundle() -> None:
    settings = sim.settings(features={"families": ["recency", "frequency"], "exclude": ["clumpiness"]})
    own = config.from_dict(
        settings.model_dump(by_alias=True) | {"targets": {"churned": settings.targets["churned"].model_dump()}}
    )
    found = training.train(sim.log(), own)
    assert "clumpiness" not in found.bundle.features and "spend" not in found.bundle.features
    assert set(found.bundle.features) == set(features.names(found.bundle.definitions))
    assert [h.target for h in found.bundle.heads] == ["churned"]


# --- refusals -----------------------------------------------------------------------------------
def log_of(rows: list[dict[str, Any]], days: int) -> events.Log:
    return events.from_frame(pl.DataFrame(rows), sim.log().rules, START + days * DAY)


def every(step: int, days: int, customers: int, phase: int = 0) -> list[dict[str, Any]]:
    """Customers who buy every ``step`` days."""
    return [
        {"customer_id": f"c{n}", "time": START + (day + n % (phase or 1)) * DAY, "amount": 5.0}
        for n in range(customers)
        for day in range(0, days - phase, step)
    ]


def refused(log: events.Log, **sections: Any) -> str:
    with pytest.raises(UserError) as error:
        training.train(log, sim.settings(**sections))
    return str(error.value)


def test_nobody_churned() -> None:
    why = refused(log_of(every(5, 300, 50), 300))
    assert "of which 0 churned" in why
    assert "shorter timeline.horizon_days than 28" in why


def test_everybody_churned() -> None:
    why = refused(log_of(every(61, 300, 50), 300), population={"active_within_days": 400})
    assert "churned and 0 did not" in why and "longer timeline.horizon_days" in why


def test_one_customer() -> None:
    why = refused(log_of(every(20, 300, 1), 300))
    assert "at least 10 of each are needed" in why


def test_a_log_too_short_for_its_horizon() -> None:
    why = refused(log_of(every(20, 100, 50), 100))
    assert "the log covers 100 days" in why and "needs 112" in why
    assert "a horizon of 24 days or less would fit" in why and "add 12 days" in why


def test_a_log_without_purchases() -> None:
    visits = [row | {"event_type": "visit"} for row in every(5, 300, 20)]
    why = refused(log_of(visits, 300))
    assert "purchase" in why and "map" in why.lower()


def test_an_empty_log() -> None:
    with pytest.raises(UserError, match="empty"):
        log_of([{"customer_id": "c", "time": START + 20 * DAY, "amount": 1.0}], 10)


def test_a_cutoff_the_log_does_not_reach(loaded: bundle.Bundle) -> None:
    log = sim.log(2000)
    with pytest.raises(UserError, match=f"lies after the log's end {log.ends}"):
        scoring.score(loaded, log, log.ends + DAY)
    with pytest.raises(UserError, match="before the first event"):
        scoring.score(loaded, log, START)
    with pytest.raises(UserError, match="is not a date"):
        loaded.score(plain(log), "tomorrow")


def test_targets_that_nobody_can_train() -> None:
    churned = {"events": {"is_in": ["purchase"]}, "measure": "absent"}
    settings = sim.settings().model_dump(by_alias=True)
    for targets, why in (
        ({"churnt": churned}, "churned"),
        ({"spend": churned | {"measure": "amount"}}, "'churned' is needed, and it is not declared"),
        ({"churned": churned | {"events": {"is_in": ["cancel"]}}}, "events of type cancel"),
        ({"churned": churned | {"measure": "present"}}, "measure must be 'absent'"),
        ({"churned": churned, "spend": churned | {"measure": "count"}}, "measure must be 'amount'"),
        ({"churned": churned, "spend": churned | {"measure": "amount"}}, "at_least 0 or more"),
        ({"churned": churned | {"population": "known"}}, "asked of the eligible"),
        ({"churned": churned, "money": churned | {"measure": "amount"}}, "targets.money.at_least must be 0 or more"),
        ({"churned": churned | {"horizon_days": 7}}, "may have its own"),
    ):
        with pytest.raises(UserError, match=why):
            training.train(sim.log(), config.from_dict(settings | {"targets": targets}))


@pytest.mark.parametrize(
    ("own", "why"),
    [({"families": ["recencyy"]}, "did you mean|recency"), ({"exclude": ["overdue_ratioo"]}, "overdue_ratio")],
)
def test_unknown_feature_names(own: dict[str, Any], why: str) -> None:
    with pytest.raises(UserError, match=why):
        training.judge(sim.log(), sim.settings(features=own))


def test_event_types_that_would_share_a_feature_name() -> None:
    twins = plain(sim.log()).with_columns(
        event_type=pl.when(pl.col("event_type") == "visit").then(pl.lit("E-mail")).otherwise(
            pl.when(pl.col("event_type") == "mail").then(pl.lit("e mail")).otherwise("event_type"))
    )  # fmt: skip
    log = events.from_frame(twins, sim.log().rules, sim.log().ends)
    with pytest.raises(UserError, match="e_mail_events"):
        training.judge(log, sim.settings())


def test_return_rate_counts_those_who_came_back() -> None:
    """Four churned for 28 days; one buys on the last day of the 84 that follow, one a day later, one in between."""
    first, day = START, [28, 28 + 83, 28 + 84, 60]
    rows = [{"customer_id": f"c{n}", "time": first + late * DAY, "amount": 1.0} for n, late in enumerate(day)]
    log = log_of(rows, 300)
    pairs = pl.DataFrame({"customer_id": ["c0", "c1", "c2", "c3", "c4"], "cutoff": [first] * 5})
    churned = pl.Series([1.0, 1.0, 1.0, 1.0, 0.0])
    assert labels.return_rate(log.frame, pairs, churned, 28, 84) == 3 / 4
    assert labels.return_rate(log.frame, pairs, churned * 0, 28, 84) is None
