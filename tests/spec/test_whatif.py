"""What a change is worth: by hand, by finite differences against scoring again, and against the simulator's truth."""

from __future__ import annotations

import dataclasses
import datetime as dt
import json
import math
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import sim
import tiny
from typer.testing import CliRunner

from churn_clv import bundle, cli, config, events, publish, scoring, training, whatif
from churn_clv.errors import UserError
from churn_clv.models.predict import SPEND_IF_ACTIVE
from churn_clv.models.retention import Retention, kinds, values
from churn_clv.simulate import simulate

CUTOFF = dt.date(2024, 1, 1)
CURVE = Retention(
    window_days=30, matured=2, money={"1": (1.0, 0.5), "4+": (1.0, 0.8), "lapsed": (1.0, 1.0)}, spend={"lapsed": 2.0}
)


# --- by hand --------------------------------------------------------------------------------------
def scored(rows: list[tuple[str, float | None, str | None, float | None]]) -> pl.DataFrame:
    """(id, churn probability, why not eligible, first window's spend): CLV of 2 months (60 days), margin .3, 10%."""
    out = []
    for name, risk, reason, spend in rows:
        stratum = reason or ("1" if name.startswith("one") else "4+")
        value = None if spend is None else 0.3 * spend * CURVE.coefficient(stratum, 60, 0.1)[0]
        reliability = None if reason else {"1": "low", "4+": "high"}[stratum]
        out.append((name, CUTOFF, reason is None, reason, risk, reliability, value))
    schema = {"customer_id": pl.String, "cutoff": pl.Date, "eligible": pl.Boolean, "reason": pl.String,
              "churn_probability": pl.Float64, "reliability": pl.String, "clv_2m": pl.Float64}  # fmt: skip
    return pl.DataFrame(out, schema=schema, orient="row")


def test_each_change_by_hand() -> None:
    """100 in the next 30 days at risk .2: 125 if active, so a point of lapse is 1.25, of margin .3, from day 15.

    Discounting at 10% to the middles: .99609 on day 15, .98833 on day 45; at 9% .99647 and .98944.
    """
    rows = whatif.effects(scored([("many", 0.2, None, 100.0)]), CURVE, 0.3, 0.1, 2)
    found = rows.row(0, named=True)
    near, far = 1.1 ** (-15 / 365.25), 1.1 ** (-45 / 365.25)
    assert (near, far) == pytest.approx((0.99609, 0.98833), abs=1e-5)
    assert found["horizon"] == pytest.approx(30 * near) and found["value"] == pytest.approx(30 * (near + 0.8 * far))
    assert found["lapse_horizon"] == pytest.approx(0.3 * 1.25 * near)
    assert found["lapse"] == pytest.approx(0.3 * 1.25 * (near + 0.8 * far))
    assert found["order_value"] == pytest.approx(0.02 * found["value"])
    assert found["margin"] == pytest.approx(0.01 * 100 * (near + 0.8 * far))
    nearer, farther = 1.09 ** (-15 / 365.25), 1.09 ** (-45 / 365.25)
    assert found["discount"] == pytest.approx(30 * (nearer - near + 0.8 * (farther - far)))
    assert found["discount_horizon"] == pytest.approx(30 * (nearer - near))


def test_the_edges_of_each_change() -> None:
    """Risk .004 falls by .004 and no further; who lapsed has no risk to lower; a rate of 0 and a margin of 1 stay."""
    rows = scored(
        [("many", 0.004, None, 100.0), ("gone", None, "lapsed", 2.0), ("young", None, "history_too_short", None)]
    )
    found = whatif.effects(rows, CURVE, 0.3, 0.005, 2)
    assert found["customer_id"].to_list() == ["many", "gone"]
    assert (found["lapse"] / found["value"]).to_list() == pytest.approx([0.004 / 0.996, 0.0])
    to_nothing = CURVE.coefficient("lapsed", 60, 0.0)[0] / CURVE.coefficient("lapsed", 60, 0.005)[0] - 1
    assert found["discount"][1] / found["value"][1] == pytest.approx(to_nothing)
    assert whatif.effects(rows, CURVE, 0.3, 0.0, 2)["discount"].to_list() == [0.0, 0.0]
    assert whatif.effects(rows, CURVE, 1.0, 0.1, 2)["margin"].to_list() == [0.0, 0.0]


def test_tiers_by_value_ties_by_id() -> None:
    """Seven customers: two (1.4) on top, two more (to 3.5) next, three the rest."""
    rows = scored([(f"one{n}", 0.5, None, money) for n, money in enumerate((5.0, 40.0, 5.0, 5.0, 5.0, 90.0, 60.0))])
    found = whatif.effects(rows, CURVE, 0.3, 0.1, 2)
    assert found["customer_id"].to_list() == ["one5", "one6", "one1", "one0", "one2", "one3", "one4"]
    assert found["tier"].to_list() == ["top 20%"] * 2 + ["next 30%"] * 2 + ["rest"] * 3
    top = whatif._tier(found, "top 20%")
    assert (top["n"], top["eligible"], top["cut"]) == (2, 2, found["value"][1])
    assert top["value"] == pytest.approx(found["value"][:2].sum())
    assert [whatif._tier(found, tier)["tied"] for tier in (*whatif.TIERS, whatif.ALL)] == [0, 3, 0, 0]


def test_the_interval_is_the_bootstraps() -> None:
    """400 customers, a change of 1 for half of them, none for the others: a sum of 200 with sd sqrt(400 x .25) = 10."""
    zero = dict.fromkeys([f"{name}{end}" for name in whatif.CHANGES for end in ("", "_horizon")], 0.0)
    people = pl.DataFrame([{"tier": "rest", "value": 10.0, "horizon": 1.0} | zero | {"lapse": float(n % 2)}
                           for n in range(400)])  # fmt: skip
    found = whatif._intervals(people, 4000, 1)[whatif.ALL, "lapse"]
    assert found["change"] == 200.0 and found["share"] == pytest.approx(0.05)
    assert (found["low"], found["high"]) == pytest.approx((200 - 19.6, 200 + 19.6), abs=1.5)
    assert whatif._intervals(people, 4000, 1)[whatif.ALL, "lapse"] == found


# --- finite differences ---------------------------------------------------------------------------
@cache
def trained() -> bundle.Bundle:
    return training.train(sim.log(), sim.settings()).bundle


def value_of(served: bundle.Bundle, log: events.Log) -> tuple[float, pl.DataFrame]:
    scores = served.score_log(log.frame, log.ends)
    return math.fsum(scores["clv_24m"]), scores


def added(document: dict[str, Any], name: str, tier: str = whatif.ALL) -> dict[str, Any]:
    change = next(c for c in document["changes"] if c["change"] == name)
    return next(t for t in change["tiers"] if t["tier"] == tier)


@pytest.mark.parametrize(
    ("name", "section", "key", "to"),
    [("margin", "value", "margin_share", 0.31), ("discount", "clv", "discount_rate", 0.09)],
)
def test_margin_and_discount_are_what_scoring_again_gives(name: str, section: str, key: str, to: float) -> None:
    """To one part in a billion of the change."""
    own, log = trained(), sim.log()
    part = getattr(own.config, section).model_copy(update={key: to})
    other = dataclasses.replace(own, config=own.config.model_copy(update={section: part}))
    found = whatif.run(own, log)
    before, after = value_of(own, log)[0], value_of(other, log)[0]
    assert added(found, name)["change"] == pytest.approx(after - before, rel=1e-9)
    assert next(t for t in found["tiers"] if t["tier"] == whatif.ALL)["value"] == pytest.approx(before, rel=1e-12)


def test_lapse_is_what_a_two_part_model_gives_at_a_lower_risk() -> None:
    """A bundle whose spend is P(active) x spend if active: the risk lowered in it, value made again; to 1e-9."""
    own = tiny.tiny_bundle()
    parts = {h.target: h for h in own.heads}
    only = (parts["churned"], dataclasses.replace(parts[SPEND_IF_ACTIVE], weight=1.0))
    own = dataclasses.replace(own, heads=only)
    log = events.from_frame(tiny.plain_log(), own.definitions.rules, tiny.TRAINED_THROUGH, own.definitions.starts)
    rows = own.rows_of(log.frame, log.frame.select("customer_id", cutoff=pl.lit(log.ends)).unique()).filter("eligible")
    inputs, scores = own.values(rows), scoring.score(own, log).filter("eligible")
    risk, if_active = only[0].predict(inputs), only[1].predict(inputs)
    strata = [{"low": "1", "medium": "2-3", "high": "4+"}[r] for r in scores["reliability"]]
    lower, margin = np.clip(risk - 0.01, 0, None), own.config.value.margin_share
    worth = [
        math.fsum(
            values(tiny.RETENTION, kinds(strata, [log.ends] * len(strata)), margin * (1 - p) * if_active, 24, 0.1)[0]
        )
        for p in (risk, lower)
    ]
    assert added(whatif.run(own, log), "lapse")["change"] == pytest.approx(worth[1] - worth[0], rel=1e-9)


def test_dearer_orders_are_what_training_and_scoring_again_gives() -> None:
    """All amounts doubled, trained anew: value rises by fifty times what 2% add, to one part in a thousand."""
    twice = sim.changed(sim.log(), sim.log().frame.with_columns(pl.col("amount") * 2))
    after = value_of(training.train(twice, sim.settings()).bundle, twice)[0]
    before = value_of(trained(), sim.log())[0]
    assert 50 * added(whatif.run(trained(), sim.log()), "order_value")["change"] == pytest.approx(
        after - before, rel=1e-3
    )


# --- the simulator's truth ------------------------------------------------------------------------
def truth(leave: float = 1.0) -> pl.DataFrame:
    """What is true of each customer in the horizon after the log's end, with all chances to leave times ``leave``."""
    own = sim.settings(simulate={"customers": 600, "days": 364})
    made = simulate(own.simulate, 1)
    latent = made.latent.with_columns(pl.col("leave_per_day") * leave)
    return dataclasses.replace(made, latent=latent).truth(made.ends, own.timeline.horizon_days)


def test_a_point_of_lapse_is_worth_what_the_best_possible_scores_say() -> None:
    """The same sum from the Bayes truth (risk and spend that nobody could know better): 1.4% apart, 5% allowed."""
    own, log = trained(), sim.log()
    eligible = value_of(own, log)[1].filter("eligible").select("customer_id")
    best = truth().join(eligible, on="customer_id")
    risk, spend = best["p_churn_bayes"].to_numpy(), best["spend_bayes"].to_numpy()
    rate = own.config.value.margin_share * 1.1 ** (-14 / 365.25)  # the middle of 28 days
    right = math.fsum(rate * np.minimum(risk, 0.01) / (1 - risk) * spend)
    assert added(whatif.run(own, log), "lapse")["horizon_change"] == pytest.approx(right, rel=0.05)


def test_leaving_later_is_worth_more_than_the_lapse_that_it_prevents() -> None:
    """All leave a tenth less likely: true spend of the horizon rises by 1.65 times what the fall in lapse explains.

    Who stays longer also buys more often: a point of lapse is not all that an action would move.
    """
    scores = value_of(trained(), sim.log())[1].filter("eligible")
    both = scores.join(truth(), on="customer_id").join(truth(0.9), on="customer_id", suffix="_later")
    less = both["p_churn_latent"] - both["p_churn_latent_later"]
    said = math.fsum(less * both["expected_spend"] / (1 - both["churn_probability"]))
    came = math.fsum(both["spend_latent_later"] - both["spend_latent"])
    assert less.min() >= -1e-12 and 0.0005 < less.sum() / both.height < 0.005  # type: ignore[operator]
    assert 1.3 < came / said < 2.0


# --- the command ----------------------------------------------------------------------------------
def shop(tmp_path: Path) -> Path:
    """A config whose log is the tiny bundle's own."""
    log = tiny.plain_log()
    log.write_parquet(tmp_path / "log.parquet")
    sources = {"log": {"path": str(tmp_path / "log.parquet"), "map": {c: c for c in log.columns}}}
    own = config.load(dataset="tiny", out=str(tmp_path / "out"),
                      events={"timezone": tiny.ZONE, "sources": sources, "ends": tiny.TRAINED_THROUGH})  # fmt: skip
    (tmp_path / "shop.yaml").write_text(config.to_yaml(own))
    return tmp_path / "shop.yaml"


def test_the_command_shows_the_published_bundles_document(tmp_path: Path, tiny_folder: Path) -> None:
    path = shop(tmp_path)
    settings = config.load(path)
    none = CliRunner().invoke(cli.app, ["whatif", str(path)])
    assert (
        none.exit_code == 1
        and isinstance(none.exception, UserError)
        and "no bundle is published" in str(none.exception)
    )
    publish.publish(tiny_folder, settings.bundles_folder)
    shown = CliRunner().invoke(cli.app, ["whatif", str(path), "--json"])
    assert shown.exit_code == 0, shown.output
    document = json.loads(shown.stdout)
    assert [c["change"] for c in document["changes"]] == list(whatif.CHANGES)
    assert sum(t["n"] for t in document["tiers"][:-1]) == document["customers"] == document["tiers"][-1]["n"]
    for change in document["changes"]:
        *tiers, every = change["tiers"]
        assert every["change"] == pytest.approx(sum(t["change"] for t in tiers))
        assert all(t["low"] <= t["change"] <= t["high"] for t in change["tiers"])
    people = CliRunner().invoke(cli.app, ["whatif", str(path)])
    assert "one point less lapse" in people.stdout and document["intervals"][:40] in people.stdout


def test_a_bundle_without_money_is_refused(tiny_bundle: bundle.Bundle) -> None:
    bare = dataclasses.replace(tiny_bundle, reference=dataclasses.replace(tiny_bundle.reference, retention=None))
    with pytest.raises(UserError, match="this bundle predicts no money"):
        whatif.run(bare, sim.log())
