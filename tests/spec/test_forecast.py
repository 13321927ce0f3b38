"""The forecast's parts by hand: money of known and new, the trend of the new, the band; then the whole of it."""

from __future__ import annotations

import dataclasses
import datetime as dt
import json
import math
from functools import cache
from pathlib import Path
from typing import Any

import drawn
import judged
import polars as pl
import pytest
import sim
from typer.testing import CliRunner

from churn_clv import cli, config, events, forecast, forecast_figure, retention, strata, timeline, wording
from churn_clv.errors import UserError
from churn_clv.forecast._band import Pair, band
from churn_clv.forecast._known import MOST, WANTED, origin_plans, plain
from churn_clv.forecast._money import Money, Takings
from churn_clv.forecast._new import ahead

DAY = dt.timedelta(days=1)
START = dt.date(2024, 1, 1)


# --- money ----------------------------------------------------------------------------------------
def takings(rows: list[tuple[str, str, int, float | None]], late: dict[int, int] | None = None) -> Takings:
    """Events (customer, type, day from START, amount); ``late``: row -> the day on which it became known."""
    known = {n: dt.datetime.combine(START + day * DAY, dt.time(9)) for n, day in (late or {}).items()}
    plain_rows = [
        {"customer_id": who, "event_type": kind, "time": dt.datetime.combine(START + day * DAY, dt.time(8)),
         "amount": amount, "known_at": known.get(n)}
        for n, (who, kind, day, amount) in enumerate(rows)
    ]  # fmt: skip
    schema = {"customer_id": pl.String, "event_type": pl.String, "time": pl.Datetime("us"), "amount": pl.Float64,
              "known_at": pl.Datetime("us")}  # fmt: skip
    own = sim.settings()
    log = events.from_frame(pl.DataFrame(plain_rows, schema=schema), events.rules_of(own.events), START + 80 * DAY)
    return Takings(log, own.targets["spend"], drawn.definitions(horizon_days=10, censored_gap_days=12))


def test_who_is_known_and_what_is_new() -> None:
    """Days 20 to 29: at the first and after the last, a visitor before them, a return, a net below 0."""
    found = takings([
        ("old", "purchase", 5, 100.0), ("old", "purchase", 20, 7.0), ("old", "purchase", 30, 50.0),
        ("visitor", "visit", 19, None), ("visitor", "purchase", 29, 3.0),
        ("back", "purchase", 2, 90.0), ("back", "return", 21, -90.0),
        ("fresh", "visit", 20, None), ("fresh", "purchase", 22, 40.0), ("fresh", "return", 23, -15.0),
        ("later", "purchase", 31, 1000.0),
    ])  # fmt: skip
    assert found.at(START + 20 * DAY) == Money(known=10.0, new=25.0)
    assert found.at(START + 20 * DAY).total == 35.0


def test_what_was_not_known_yet_does_not_count() -> None:
    """A purchase of day 22 that was booked on day 35: unknown on day 30 and 35, known on day 36."""
    found = takings([("a", "purchase", 1, 5.0), ("a", "purchase", 22, 8.0)], late={1: 35})
    window = START + 20 * DAY
    assert [found.at(window, START + day * DAY).known for day in (30, 35, 36)] == [0.0, 0.0, 8.0]
    assert found.at(window).known == 8.0


def test_windows_end_where_asked_and_begin_when_settled() -> None:
    found = takings([("a", "purchase", 0, 5.0)])
    assert found.settled == START + 12 * DAY
    assert found.newest(START + 45 * DAY, found.settled, 10) == [START + d * DAY for d in (15, 25, 35)]
    assert found.newest(START + 22 * DAY, found.settled, 10) == [found.settled]
    assert found.newest(START + 21 * DAY, found.settled, 10) == []


# --- the new ones ---------------------------------------------------------------------------------
def test_the_method_with_the_smallest_errors_is_chosen() -> None:
    """Windows 10, 20, ..., 60. Asked about the fifth and sixth: last says 40, 50 (off by 10 each), mean 30, 40 (20
    each), drift 50, 60 (none); a season of 365 days is 12 windows of 30 and has nothing to read.
    """
    assert ahead([10.0, 20.0, 30.0, 40.0, 50.0, 60.0], 30) == (70.0, "drift")


def test_the_newest_window_judges_too() -> None:
    """Of the fifth drift is off by 3.3 and last by 10, of the sixth by 20 and 10: together 23.3 and 20."""
    assert ahead([0.0, 20.0, 30.0, 40.0, 50.0, 40.0], 30) == (40.0, "last")


def test_what_jumps_about_a_level_is_its_mean() -> None:
    """30, 60, 30, 60, 30, 60: last is off by 30 each time, the mean of three by 20 or 10; drift by 20 and more."""
    assert ahead([30.0, 60.0, 30.0, 60.0, 30.0, 60.0], 30) == (50.0, "mean")


def test_a_year_back_wins_where_seasons_repeat() -> None:
    """Horizon 91: 4 windows a year; the fourth always brings ten times as much. Next is a fourth one."""
    assert ahead([1.0, 1.0, 1.0, 10.0, 1.0, 1.0, 1.0, 10.0, 1.0, 1.0, 1.0], 91) == (10.0, "season")


def test_never_below_nothing_and_the_simplest_where_little_is_known() -> None:
    assert ahead([100.0, 80.0, 60.0, 40.0, 20.0, 0.0], 30) == (0.0, "drift")  # 0 - 20 is no money
    assert ahead([9.0, 4.0], 30) == (4.0, "last")
    assert ahead([0.0] * 8, 30) == (0.0, "last")


# --- the band -------------------------------------------------------------------------------------
def pairs(said: list[float], came: list[float], step: int = 30) -> list[Pair]:
    return [Pair(START + k * step * DAY, s, c) for k, (s, c) in enumerate(zip(said, came, strict=True))]


def test_a_band_of_ratios_turns_round() -> None:
    """Said / came 1.25 and .8: RMS of the logs .22314, t(.95; 2) 2.91999, x sqrt(1.5): the reach is .79801."""
    low, high = band(100.0, pairs([125.0, 80.0], [100.0, 100.0]), [], 30) or (0, 0)
    assert (low, high) == pytest.approx((100 * math.exp(-0.79801), 100 * math.exp(0.79801)), rel=1e-4)


def test_overlapping_windows_count_once() -> None:
    """Three origins half a horizon apart: two of them stand alone."""
    found = band(100.0, pairs([110.0, 90.0, 105.0], [100.0] * 3, step=15), [], 30)
    low, high = strata.total_band([1.1, 0.9, 1.05], 2)
    assert found == (100 / high, 100 / low)


def test_where_nothing_came_differences_count() -> None:
    """Off by 3 and by -4: RMS sqrt(12.5), t(.95; 2) 2.91999, x sqrt(1.5): 12.644; money is not below 0."""
    off = pairs([3.0, 1.0], [0.0, 5.0])
    assert band(20.0, off, [], 30) == pytest.approx((20 - 12.644, 20 + 12.644), rel=1e-4)
    assert band(5.0, off, [], 30) == pytest.approx((0.0, 5 + 12.644), rel=1e-4)
    assert band(5.0, pairs([0.0, 0.0], [0.0, 0.0]), [], 30) == (5.0, 5.0)


def test_an_unseen_season_widens_and_never_narrows() -> None:
    near, far = pairs([101.0, 99.0], [100.0] * 2), pairs([150.0, 70.0], [100.0] * 2)
    alone, moved = band(100.0, near, [], 30), band(100.0, far, [], 30)
    assert band(100.0, near, far, 30) == moved and band(100.0, far, near, 30) == moved
    assert alone and moved and moved[0] < alone[0] and moved[1] > alone[1]
    assert band(100.0, [], far, 30) is None


# --- origins --------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("horizon", "days", "step", "count"),
    [
        (28, 112 + 5 * 28, 28, 6),  # history, training, validation and the window itself take 112 days
        (28, 111 + 5 * 28, 14, 10),
        (28, 112, 28, 1),
        (28, 111, 28, 0),
        (28, 2000, 28, MOST),
        (91, 4 * 91, 91, 1),
        (91, 4 * 91 + 5 * 49, 49, 6),  # whole weeks: the half is, too
        (91, 4 * 91 + 5 * 35, 35, 6),
        (90, 91 + 3 * 90 + 45, 45, 2),  # 90 days hold no whole weeks; training takes 13 of them
    ],
)
def test_origins_lie_a_horizon_apart_where_six_fit_else_nearer(horizon: int, days: int, step: int, count: int) -> None:
    own = plain(config.load(dataset="x", timeline={"horizon_days": horizon}))
    log = dataclasses.replace(sim.log(300, 196), starts={"purchase": sim.log(300, 196).ends - days * DAY})
    plans, found = origin_plans(log, own)
    assert (len(plans), found) == (count, step)
    tests = [plan.test for plan in plans]
    assert tests == [log.ends - (horizon + k * step) * DAY for k in reversed(range(count))]


# --- the whole ------------------------------------------------------------------------------------
LOG = (800, 259)


@cache
def whole() -> dict[str, Any]:
    return forecast.run(sim.settings(), sim.log(*LOG))


def test_a_backtest_shows_and_records_all_of_it() -> None:
    """The keys that the report, its picture and MLflow's metrics read are those that a forecast has."""
    made = judged.forecast()
    assert made.keys() <= whole().keys() and made["origins"][0].keys() <= whole()["origins"][0].keys()
    assert wording.forecast_rows(whole())[2]["expected"] == f"{whole()['total']['expected']:,.0f}"


def test_the_parts_add_up_and_what_came_is_all_that_came() -> None:
    found, log = whole(), sim.log(*LOG)
    rows, horizon = found["origins"], found["horizon_days"]
    assert len(rows) == found["independent_origins"] == WANTED
    assert found["origins_note"] == "6 origins, 6 of them independent"
    for row in (*rows, {f"{p}_predicted": found[p]["expected"] for p in ("known", "new", "total")}):
        assert row["known_predicted"] + row["new_predicted"] == pytest.approx(row["total_predicted"])
    for row in rows:
        first = dt.date.fromisoformat(row["cutoff"])
        inside = log.frame.filter(pl.col("time").dt.date().is_between(first, first + (horizon - 1) * DAY))
        each = inside.filter(pl.col("event_type").is_in(["purchase", "return"])).group_by("customer_id")
        assert row["total_actual"] == pytest.approx(each.agg(pl.col("amount").sum())["amount"].clip(0).sum() / 100)
        assert row["ratio"] == pytest.approx(row["total_predicted"] / row["total_actual"])
    off = [abs(r["total_predicted"] / r["total_actual"] - 1) for r in rows]
    assert found["mape"] == pytest.approx(sum(off) / len(off))
    # Origins a horizon apart: what one repeats is what came at the one before.
    assert [r["last_horizon"] for r in rows[1:]] == pytest.approx([r["total_actual"] for r in rows[:-1]])
    assert found["last_horizon"] == pytest.approx(rows[-1]["total_actual"])


def test_who_is_not_eligible_brings_the_mean_of_the_kind() -> None:
    """As in CLV's first window: the retention's means, learnt apart here."""
    found, log, own = whole()["known"], sim.log(*LOG), sim.settings()
    earliest = log.starts["purchase"] + own.timeline.horizon_days * DAY
    definitions = timeline.define(log, own, as_of=log.ends)
    means = retention.learn(log, definitions, own.targets["spend"], earliest).spend
    assert set(means) == {"lapsed", "prospect", "history_too_short"} and found["unpredicted"] == 0
    rest = sum(n * means[kind] for kind, n in found["customers"].items() if kind != "eligible")
    assert found["expected"] - found["eligible_expected"] == pytest.approx(rest) and rest > 0
    assert sum(found["customers"].values()) == log.frame["customer_id"].n_unique()
    assert all(0.6 < row["ratio"] < 1.6 for row in whole()["origins"])


def test_the_first_origins_have_no_band_and_the_others_only_from_before() -> None:
    found = whole()
    rows = found["origins"]
    assert rows[0]["total_low"] is None and found["banded_origins"] == len(rows) - 1
    banded = [r for r in rows if r["total_low"] is not None]
    assert found["inside_band"] == sum(r["total_low"] <= r["total_actual"] <= r["total_high"] for r in banded)
    for part in ("known", "new", "total"):
        assert found[part]["low"] <= found[part]["expected"] <= found[part]["high"]


def test_nothing_after_an_origin_moves_it() -> None:
    """All money after the middle origin tenfold: up to it nothing moves, to the bit; the later ones do."""
    found, log = whole(), sim.log(*LOG)
    middle = len(found["origins"]) // 2
    line = dt.date.fromisoformat(found["origins"][middle]["cutoff"])
    after = pl.col("time").dt.date() >= line
    later = sim.changed(
        log, log.frame.with_columns(amount=pl.when(after).then(10 * pl.col("amount")).otherwise("amount"))
    )
    other = forecast.run(sim.settings(), later)["origins"]
    said = [k for k in found["origins"][0] if k.endswith(("predicted", "low", "high", "horizon", "method"))]
    for place, (one, two) in enumerate(zip(found["origins"], other, strict=True)):
        assert ([one[k] for k in said] == [two[k] for k in said]) == (place <= middle)
    assert other[middle]["total_actual"] > 5 * found["origins"][middle]["total_actual"]


def test_without_money_or_with_too_short_a_log_it_says_so() -> None:
    only = {"churned": sim.settings().targets["churned"]}
    with pytest.raises(UserError, match="no money to forecast: the config declares no target 'spend'"):
        forecast.run(sim.settings().model_copy(update={"targets": only}), sim.log())
    with pytest.raises(UserError, match=r"no origin fits before .*: the labels do not fit: the log covers 100 days"):
        forecast.run(sim.settings(), timeline.until(sim.log(), sim.log().starts["purchase"] + 100 * DAY))
    with pytest.raises(UserError, match=r"customer rows of the train slice .* churned .* who spent are needed"):
        forecast.run(sim.settings(), sim.log(12, 196))


def test_the_command_writes_a_picture_and_says_what_the_document_says(tmp_path: Path) -> None:
    plain_log = sim.log(300, 168).frame.filter(pl.col("event_type") == "purchase")
    plain_log.select("customer_id", "time", amount=pl.col("amount") / 100).write_csv(tmp_path / "orders.csv")
    mapping = {"customer_id": "customer_id", "time": "time", "amount": "amount"}
    sources = {"orders": {"path": str(tmp_path / "orders.csv"), "map": mapping}}
    own = config.to_yaml(sim.settings(events={"sources": sources})).replace("dataset: simulated", "dataset: shop")
    own = own.replace("out: out", f"out: {tmp_path / 'out'}")
    (tmp_path / "shop.yaml").write_text(own)
    shown = CliRunner().invoke(cli.app, ["forecast", str(tmp_path / "shop.yaml")])
    assert shown.exit_code == 0, shown.output
    place = tmp_path / "out" / "forecast" / "shop-h28"
    document = json.loads((place / "forecast.json").read_text())
    assert (place / "forecast.png").read_bytes()[:4] == b"\x89PNG" and str(place / "forecast.png") in shown.stdout
    assert {"cutoff", "known", "new", "total", "season", "origins", "mape", "naive_mape", "inside_band"} <= set(
        document
    )
    assert document["origins_note"].endswith("the log holds too little for 6") and len(document["origins"]) < WANTED
    for said in (f"{document['total']['expected']:,.0f}", document["origins_note"], f"{document['mape']:.1%}"):
        assert said in shown.stdout


# --- the picture ----------------------------------------------------------------------------------
def test_the_picture_shows_the_documents_numbers() -> None:
    found = whole()
    figure = forecast_figure.draw(found)
    left, right = figure.axes
    heights = [bar.get_height() for bar in left.containers[0]]
    assert heights == [row["known"] for row in found["history"][-forecast_figure.MOST_BARS :]]
    assert f"{found['total']['expected']:,.0f} USD" in str(figure.get_suptitle())
    dots = next(line for line in right.lines if line.get_label() == "forecast").get_ydata()
    assert list(dots) == pytest.approx([row["ratio"] for row in found["origins"]])
