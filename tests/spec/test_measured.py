"""What a campaign did: effects, rates, Qini and treated labels by hand; intervals that hold in 19 of 20 campaigns."""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import segmented
import sim
import tiny
import yaml
from matplotlib.figure import Figure
from typer.testing import CliRunner

from churn_clv import actions, actions_figure, cli, config, events, playbook
from churn_clv.errors import UserError
from churn_clv.scoring._pieces import gather
from churn_clv.snapshots import untreated

DAY = dt.date(2024, 3, 1)
NONE = np.zeros(0)


# --- effects --------------------------------------------------------------------------------------
def test_an_effect_by_hand() -> None:
    """Treated 1, 2, 3, 2 against 0, 1, 1, 2, no covariate: 2 - 1 = 1; Welch: both variances 2/3, se sqrt(1/3)."""
    outcome = np.array([1.0, 2, 3, 2, 0, 1, 1, 2])
    treated = np.array([True] * 4 + [False] * 4)
    found = actions.effect(outcome, treated, np.zeros(8))
    assert found.effect == pytest.approx(1.0)
    assert found.se == pytest.approx((2 / 3 / 4 * 2) ** 0.5)
    assert (found.high - found.low) / 2 == pytest.approx(2.446912 * found.se, rel=1e-5)  # t of 6, 97.5%


def test_the_covariate_takes_out_what_it_explains() -> None:
    """y = 3 x + 0.5 treated exactly: the effect is .5 without error, whatever the arms' x."""
    draw = np.random.default_rng(0)
    x, treated = draw.normal(size=200), draw.random(200) < 0.8
    found = actions.effect(3 * x + 0.5 * treated, treated, x)
    assert found.effect == pytest.approx(0.5) and found.se < 1e-9
    with pytest.raises(ValueError, match="at least 4"):
        actions.effect(x, np.ones(200, dtype=bool), x)


def test_intervals_hold_in_19_of_20_campaigns() -> None:
    """1,000 campaigns of 800, 15% held out, with savable lapsers, driven-away stayers and skewed money: 93-97% each."""
    draw = np.random.default_rng(5)
    n, inside = 800, {"lapse": 0, "margin": 0}
    for _ in range(1000):
        p, value = draw.beta(1.2, 2.0, n), draw.gamma(1.5, 15.0, n)
        save, away = 0.05 + 0.3 * (value > 20), 0.03 * (p < 0.3)
        treated = draw.random(n) >= 0.15
        lapser, luck = draw.random(n) < p, draw.random(n)
        spent = draw.gamma(1.5, value / 1.5)
        lapsed = {arm: np.where(lapser, luck >= save * arm, luck < away * arm) for arm in (0, 1)}
        margin = {arm: np.minimum(np.where(gone, 0.0, spent), 90.0) for arm, gone in lapsed.items()}
        for name, came, x in (("lapse", lapsed, p), ("margin", margin, (1 - p) * value)):
            # of these customers, with the chances averaged out for lapse; for money as they fell
            true = (away * (1 - p) - save * p).mean() if name == "lapse" else (came[1] - came[0]).mean()
            found = actions.effect(np.where(treated, came[1], came[0]).astype(float), treated, x)
            inside[name] += found.low <= true <= found.high
    assert {k: 930 <= v <= 970 for k, v in inside.items()} == {"lapse": True, "margin": True}, inside


def test_the_sample_ratio_is_checked() -> None:
    assert actions.sample_ratio(900, 100, 0.1) == pytest.approx(1.0)
    assert actions.sample_ratio(900, 50, 0.1) < 0.001
    assert actions.sample_ratio(2, 1, 0.5) == 1.0


# --- rates ----------------------------------------------------------------------------------------
def response(lapsed: Any, treated: Any, p: Any, group: Any, groups: int = 1, **sd: float) -> actions.Effect | Any:
    spread = (sd.get("save", 0.1), sd.get("away", 0.02))
    zeros = np.zeros(len(lapsed), dtype=np.int64)
    return actions.response(np.asarray(lapsed, float), np.asarray(treated, bool), np.asarray(p, float),
                            np.asarray(group, np.int64), groups, zeros, (0.1, 0.01), spread)  # fmt: skip


def test_nothing_seen_leaves_what_was_assumed() -> None:
    found = response(NONE, NONE, NONE, NONE, 2)
    assert found.mean == pytest.approx(np.array([[0.1, 0.01]] * 3))
    assert found.sd == pytest.approx(np.array([[0.1 * 2**0.5, 0.02 * 2**0.5]] * 3))  # both levels


def test_a_rate_by_hand() -> None:
    """p .5, everyone treated (so p is the expectation), away and calibration all but fixed at 0, a and 1.

    100 customers, 40 lapsed: p s = .5 - .4 + .01 x .5 if a is .01: s = .21. Weights 1/(p(1-p)) = 4, precision of s from
    data 100 x 4 x .25 = 100; of the prior 1 / (.1^2 + .1^2) = 50: (100 x .21 + 50 x .1) / 150 = .17333.
    """
    from churn_clv.actions import _effect

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_effect, "LEVEL_SD", 1e-6)
        patch.setattr(_effect, "SLOPE_SD", 1e-6)
        found = response([1.0] * 40 + [0.0] * 60, [True] * 100, [0.5] * 100, [0] * 100, away=1e-6)
    assert found.mean[0, 0] == pytest.approx((100 * 0.21 + 50 * 0.1) / 150, rel=1e-4)
    assert found.sd[0, 0] == pytest.approx(150**-0.5, rel=1e-4)


def test_much_seen_finds_the_rates_of_each_group() -> None:
    draw = np.random.default_rng(2)
    n = 400_000
    p, group, treated = draw.beta(1, 1.5, n), draw.integers(0, 2, n), draw.random(n) < 0.8
    save, away = np.array([0.3, 0.05])[group], np.array([0.0, 0.03])[group]
    lapser, luck = draw.random(n) < p, draw.random(n)
    lapsed = np.where(lapser, ~(treated & (luck < save)), treated & (luck < away))
    found = response(lapsed, treated, p, group, 2)
    assert found.mean[:2, 0] == pytest.approx([0.3, 0.05], abs=0.015)
    assert found.mean[:2, 1] == pytest.approx([0.0, 0.03], abs=0.006)


def back(segments: list[str | None], lapsed: list[float]) -> dict[str, Any]:
    """Rates of an action for the lapsed, p .9, assumed .1, from 100 treated and 100 held out of whom 90 lapse."""
    rows = pl.DataFrame({
        "customer_id": [f"c{i}" for i in range(200)], "arm": ["treated"] * 100 + ["holdout"] * 100, "offer": 0.0,
        "segment": pl.Series(segments + segments, dtype=pl.String), "lapse": 0.9, "campaign": "x", "action": "back",
        "lapsed": lapsed + [1.0] * 90 + [0.0] * 10, "took": pl.Series([None] * 200, dtype=pl.Float64),
    })  # fmt: skip
    mail = {"channel": "email", "contact": 1, "offer": 0, "save_rate": 0.1, "lapse_probability": 0.9, "value": 40}
    document = playbook.actions_of({"actions": {"back": mail}, "playbook": {"all": {"actions": ["back"]}}})
    found = actions.measured_rates(document, rows)["back"]["save_rate"]
    return found  # type: ignore[no-any-return]


def test_customers_without_a_segment_are_of_no_group() -> None:
    """The lapsed have no band. Of them alone: no group, and the rate is the action's. Beside a band of whom no treated
    lapse less, those who do (50 without a band, all saved) must not be counted as its: the band's rate stays lower."""
    none = back([None] * 100, [1.0] * 60 + [0.0] * 40)
    assert none["groups"] == {} and none["otherwise"]["rate"] > 0.12
    mixed = back(["high"] * 50 + [None] * 50, [1.0] * 45 + [0.0] * 55)
    assert set(mixed["groups"]) == {"high"}
    assert mixed["groups"]["high"]["rate"] < mixed["otherwise"]["rate"]


def test_without_segments_the_overlay_has_the_rate_of_everybody() -> None:
    """Of one group of all the posterior moves .1 to .17333 (by hand above), half of it common: a group that nobody has
    seen is at .13667. Everybody was seen, so the next plan takes .17333."""
    document = playbook.load_actions()
    told = {"assumed": 0.1, "otherwise": {"rate": 0.13667, "sd": 0.1}, "groups": {"all": {"rate": 0.17333, "sd": 0.08}}}
    found = yaml.safe_load(actions.overlay(document, {"coupon": {"campaigns": ["x"], "save_rate": told}}))
    assert found["actions"]["coupon"]["save_rate"] == {"otherwise": 0.17333, "assumed": 0.1, "measured": ["x"]}
    bands = told | {"groups": {"high": {"rate": 0.2, "sd": 0.1}}}
    found = yaml.safe_load(actions.overlay(document, {"coupon": {"campaigns": ["x"], "save_rate": bands}}))
    assert found["actions"]["coupon"]["save_rate"] == {
        "by": "churn_band", "rates": {"high": 0.2}, "otherwise": 0.13667, "assumed": 0.1, "measured": ["x"]
    }  # fmt: skip


def test_take_rates() -> None:
    """p .5, s .2: of 1,000 treated (.1 + .5 t) take; 350 takes say t = .5."""
    took = np.concatenate([np.ones(3500), np.zeros(6500), np.zeros(2000)])
    treated = np.arange(12_000) < 10_000
    found = actions.takers(took, treated, np.full(12_000, 0.5), np.full(12_000, 0.2), np.zeros(12_000, dtype=np.int64),
                           1, 1.0, 0.3)  # fmt: skip
    assert found.mean[0, 0] == pytest.approx(0.5, abs=0.01)


# --- Qini and AUUC --------------------------------------------------------------------------------
def test_qini_and_auuc_by_hand() -> None:
    """From the top: treated 1, held 0, treated 0, held 1.

    Qini after each: 1, 1 - 0, 1 - 0 x 2, 1 - 1 x 2/2 = 0; trapezoids of 1/4: (.5 + 1 + 1 + .5) / 4 = .75; less 0;
    per treated .375. Uplift: (1 - 0)/4, (1 - 0) 2/4, (.5 - 0) 3/4, (.5 - .5): .25, .5, .375, 0: area .28125.
    """
    score, outcome = np.array([4.0, 3, 2, 1]), np.array([1.0, 0, 0, 1])
    treated = np.array([True, False, True, False])
    assert actions.qini(score, outcome, treated) == pytest.approx(0.375)
    assert actions.auuc(score, outcome, treated) == pytest.approx(0.28125)
    assert actions.qini(np.zeros(4), outcome, treated) == pytest.approx(0.0)  # no ranking: the straight line
    assert actions.qini(score, outcome, np.ones(4, dtype=bool)) is None
    order = [2, 0, 3, 1]
    assert actions.qini(score[order], outcome[order], treated[order]) == pytest.approx(0.375)


# --- treated labels (D31) -------------------------------------------------------------------------
def test_labels_that_a_campaign_touched_are_left_out() -> None:
    """Contacted on DAY: the cutoffs whose four weeks hold that day; the held out and later cutoffs stay."""
    rows = pl.DataFrame(
        {"customer_id": ["a", "b"], "arm": ["treated", "holdout"], "action": "mail", "channel": "email"}
    )
    sent = actions.events_of([{"name": "spring", "cutoff": DAY, "rows": rows}])
    assert sent["customer_id"].to_list() == ["a"] and sent["event_type"].to_list() == ["campaign_contact"]
    cutoffs = [DAY - dt.timedelta(days=d) for d in (28, 27, 0, -1)]
    snapshots = pl.DataFrame([(who, day) for day in cutoffs for who in ("a", "b")], schema=["customer_id", "cutoff"],
                             orient="row")  # fmt: skip
    plain = tiny.plain_log(4)
    log = segmented.log_of(pl.concat([plain, sent.cast({"time": plain.schema["time"]})], how="diagonal"))
    kept = untreated(log, snapshots, 28)
    assert kept.rows() == [r for r in snapshots.rows() if r not in (("a", cutoffs[1]), ("a", cutoffs[2]))]
    assert untreated(segmented.log_of(plain), snapshots, 28) is snapshots
    assert actions.events_of([]).height == 0


def test_what_was_sent_does_not_move_the_end_of_the_log(tmp_path: Path) -> None:
    """Bought on 1 and 9 March, contacted at the cutoff of 10 March: nothing else is known of that day yet, so the log
    still ends there, read whole or in pieces."""
    (tmp_path / "log.csv").write_text("who,at\na,2024-03-01\nb,2024-03-09\n", encoding="utf-8")
    end = dt.date(2024, 3, 10)
    rows = pl.DataFrame({"customer_id": ["a"], "arm": ["treated"], "action": ["mail"], "channel": ["email"]})
    actions.write_events([{"name": "spring", "cutoff": end, "rows": rows}], tmp_path / "sent.parquet")
    sent = {"path": str(tmp_path / "sent.parquet"), "map": {c: c for c in ("customer_id", "time", "event_type")}}
    bought = {"path": str(tmp_path / "log.csv"), "map": {"customer_id": "who", "time": "at"}}
    made = {"dataset": "d", "out": str(tmp_path), "events": {"currency": "USD", "sources": {"a": bought, "b": sent}}}
    (tmp_path / "c.yaml").write_text(yaml.safe_dump(made), encoding="utf-8")
    settings = config.load(tmp_path / "c.yaml")
    log = events.read_log(settings)
    assert log.ends == end and log.frame.height == 3
    assert gather(settings, tmp_path / "work", lambda _: None, lambda frame: frame)[1].ends == end


# --- from the log, through the commands -----------------------------------------------------------
def shop(folder: Path) -> tuple[Path, list[Path]]:
    """A simulated log to its 12th month and its whole, configs for both, and quick actions."""
    own = sim.settings()
    log = sim.log(customers=1500)
    from churn_clv.simulate import simulate

    made = simulate(sim.settings(simulate={"customers": 1500, "days": 364}).simulate, 1)
    assert made.ends == log.ends
    made.log.write_parquet(folder / "log.parquet")
    columns = [c for c in made.log.columns if made.log[c].null_count() < made.log.height]
    base = {
        "dataset": "sim", "out": str(folder / "out"), "population": {"active_within_days": 84},
        "events": {"currency": "USD", "sources": {"log": {"path": str(folder / "log.parquet"),
                                                          "map": {c: c for c in columns}}}},
    }  # fmt: skip
    ends = made.ends - dt.timedelta(days=own.timeline.horizon_days)
    paths = []
    for name, changes in (("then", {"ends": ends}), ("now", {"ends": made.ends})):
        paths.append(folder / f"{name}.yaml")
        paths[-1].write_text(yaml.safe_dump(base | {"events": base["events"] | changes}), encoding="utf-8")
    (folder / "actions.yaml").write_text(
        yaml.safe_dump({"holdout": {"share": 0.3}, "measure": {"least": 20},
                        "actions": {"reminder": {"contact": 0, "save_rate": 0.2, "driven_away": 0}}}), encoding="utf-8",
    )  # fmt: skip
    return paths[0], [paths[1], folder / "actions.yaml"]


def run(*words: str) -> dict[str, Any]:
    found = CliRunner().invoke(cli.app, [*words, "--json"])
    assert found.exit_code == 0, found.output + repr(found.exception)
    return json.loads(found.stdout)  # type: ignore[no-any-return]


def test_act_send_measure_and_act_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The whole round on a simulated log, with scores of a made-up model."""
    then, (now, own) = shop(tmp_path)
    from churn_clv import scoring

    def scored(_: Any, log: Any, cutoff: Any = None) -> pl.DataFrame:
        ids = sorted(log.frame["customer_id"].unique())
        draw = np.random.default_rng(1)
        risk = draw.beta(2, 2, len(ids))
        return pl.DataFrame({"customer_id": ids, "churn_probability": risk}).with_columns(
            cutoff=pl.lit(log.ends), eligible=pl.lit(True), reason=pl.lit(None, pl.String), horizon_days=pl.lit(28),
            expected_spend=40 * (1 - pl.col("churn_probability")), in_sample=pl.lit(False), model_version=pl.lit("m"),
            churn_band=pl.when(pl.col("churn_probability") < 0.5).then(pl.lit("low")).otherwise(pl.lit("high")),
        )  # fmt: skip

    monkeypatch.setenv("CHURN_CLV_ID_KEY", "07" * 32)  # draws who is held out; else each run has a key of its own
    monkeypatch.setattr(scoring, "score", scored)
    monkeypatch.setattr("churn_clv.cli._act.bundle_of", lambda *_: None)
    with pytest.raises(UserError, match="no campaign was released yet"):
        CliRunner().invoke(cli.app, ["measure", str(then)], catch_exceptions=False)
    plan = run("act", str(then), "--actions", str(own), "--budget", "10")
    assert plan["treated"] > 200 and plan["released"] is None and plan["scores"] == "made in memory"
    folder = Path(plan["folder"])
    assert {p.name for p in folder.iterdir()} == {"plan.parquet", "plan.csv", "plan.json", "plan.png"}
    monkeypatch.setattr(actions_figure, "draw", lambda _: Figure())  # drawn once is enough
    sent = run("act", str(then), "--actions", str(own), "--send")
    assert sent["released"]["new_treated"] == sent["treated"]
    again = run("act", str(then), "--actions", str(own), "--send")
    assert again["released"]["new_treated"] == 0 and again["treated"] == sent["treated"]
    with pytest.raises(UserError, match="was released before with other customers"):
        (tmp_path / "few.yaml").write_text("capacity: 5", encoding="utf-8")
        few = ["--actions", str(own), "--actions", str(tmp_path / "few.yaml")]
        CliRunner().invoke(cli.app, ["act", str(then), *few], catch_exceptions=False)
    before = run("measure", str(then), "--actions", str(own))
    assert "its window ends" in before["campaigns"][0]["why"] and before["overlay"] is None
    found = run("measure", str(now), "--actions", str(own))
    (one,) = found["campaigns"]
    assert one["measurable"] and one["treated"] == sent["treated"]
    # nothing was really done, so the intervals should hold no effect; by this seed they do
    assert one["lapse"]["low"] < 0 < one["lapse"]["high"] and one["margin"]["low"] < 0 < one["margin"]["high"]
    reminder = found["rates"]["reminder"]["save_rate"]
    assert reminder["otherwise"]["rate"] < reminder["assumed"] == 0.2
    later = run("act", str(now), "--actions", str(own), "--actions", found["overlay"])
    assert "reminder" not in later["assumed"] and later["promised_profit"] < sent["promised_profit"]
    shown = CliRunner().invoke(cli.app, ["measure", str(now), "--actions", str(own)])
    assert "intention to treat" in shown.stdout and "shrunk" in shown.stdout
    told = CliRunner().invoke(cli.app, ["act", str(now), "--actions", str(own)])
    assert "promised profit" in told.stdout and "breaks even" in told.stdout
    hook = {"webhook": {"url": "http://127.0.0.1:9/", "retries": 0}}  # nobody listens: released, and the plan is there
    (tmp_path / "hook.yaml").write_text(yaml.safe_dump(hook), encoding="utf-8")
    to = ["--actions", str(own), "--actions", str(tmp_path / "hook.yaml"), "--campaign", "hooked", "--send"]
    with pytest.raises(UserError, match="did not arrive"):
        CliRunner().invoke(cli.app, ["act", str(then), *to], catch_exceptions=False)
    hooked = folder.parent / "hooked"
    assert {p.name for p in hooked.iterdir()} == {"plan.parquet", "plan.csv", "plan.json", "plan.png", "audience"}


def test_outcomes_come_from_the_log(tmp_path: Path) -> None:
    """Lapse and margin of a campaign's customers are the labels of its cutoff: the same as training's."""
    settings, log = sim.settings(), sim.log()
    cutoff = log.ends - dt.timedelta(days=28)
    ids = sorted(log.frame["customer_id"].unique())[:200]
    one = {
        "name": "x", "cutoff": cutoff, "horizon_days": 28, "document": {"margin_share": 0.3, "winsor_cap": 9.0},
        "rows": pl.DataFrame({"customer_id": ids, "arm": "treated"}),
    }  # fmt: skip
    found = actions.outcomes(one, log, settings, ["open"])
    bought = log.frame.filter(
        (pl.col("time").dt.date() >= cutoff) & (pl.col("event_type") == "purchase") & pl.col("customer_id").is_in(ids)
    )
    assert found["lapsed"].sum() == len(ids) - bought["customer_id"].n_unique()
    assert found["margin"].max() == 9.0 and (found["margin"] > 0).sum() == bought["customer_id"].n_unique()
    spent = actions.outcomes(one | {"document": {"margin_share": 0.3}}, log, settings, ())["spend"]
    rates = pl.Series("margin_rate", [0.0, None, 0.6, -0.1] * 50)
    rated = actions.outcomes(one | {"rows": one["rows"].with_columns(rates)}, log, settings, ())
    for money, rate, margin, cut in zip(spent, rates, rated["margin"], rated["spend"], strict=True):
        whole = (0.3 if rate is None else rate) * money
        assert margin == pytest.approx(min(whole, 9.0))
        assert cut == pytest.approx(money if whole <= 9.0 else money * 9.0 / whole)
    opened = log.frame.filter((pl.col("time").dt.date() >= cutoff) & (pl.col("event_type") == "open"))
    assert found["took"].sum() == opened.filter(pl.col("customer_id").is_in(ids))["customer_id"].n_unique()


def test_takes_that_the_log_does_not_know_are_not_counted_as_none() -> None:
    """An offer of 2 at p .5, s .2, t .4: expected .5 x .2 + .5 x .4 = .3 of it, so 100 treated cost 100 x .6 = 60, not
    0; and it is said."""
    from churn_clv.actions._measure import _costs, _notes

    log, settings = sim.log(), sim.settings()
    rows = pl.DataFrame({"customer_id": sorted(log.frame["customer_id"].unique())[:100], "arm": "treated"})
    terms = {"lapse": 0.5, "save_rate": 0.2, "take_rate": 0.4, "offer": 2.0, "contact": 0.0}
    rows = rows.with_columns(pl.lit(v).alias(k) for k, v in terms.items())
    one = {"name": "x", "cutoff": log.ends - dt.timedelta(days=28), "horizon_days": 28, "rows": rows,
           "document": {"margin_share": 0.3}}  # fmt: skip
    paid, counted = _costs(actions.outcomes(one, log, settings, ["redemptoin"]))
    assert (paid, counted) == (pytest.approx(60.0), False)
    opened = actions.outcomes(one, log, settings, ["redemptoin", "open"])
    assert _costs(opened) == (pytest.approx(2.0 * opened["took"].sum()), True) and opened["took"].sum() > 0

    def said(*takes: str) -> str:
        shipped = playbook.load_actions().model_dump()
        return " ".join(_notes(playbook.actions_of(shipped | {"measure": {"takes": list(takes)}}), log))

    assert "no events of type redemptoin" in said("redemptoin") and "counted as expected" in said("redemptoin")
    assert "redemptoin" in said("open", "redemptoin") and "as expected" not in said("open", "redemptoin")
    assert said("open") == said() == ""
