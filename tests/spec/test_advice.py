"""The advice, by hand: how gaps end, the window that the rule gives, who is judged, and when no horizon will do."""

from __future__ import annotations

import dataclasses
import datetime as dt
import json
import random
from functools import cache
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import sim
from typer.testing import CliRunner
from written import CUTOFF, back, buy, event, frame

from churn_clv import advice, advice_figure, cli, config, events, timeline
from churn_clv.advice import Advice, Horizon, Judged, Silences
from churn_clv.errors import UserError

DAY = dt.timedelta(days=1)
ENDS = dt.date(2024, 1, 1)
RULES = events.Rules("UTC", "USD", 2)


def spells(*rows: tuple[int, bool, int]) -> pl.DataFrame:
    """So many gaps of a length, closed or open."""
    gaps = [(gap, closed) for gap, closed, times in rows for _ in range(times)]
    return pl.DataFrame(gaps, schema={"gap": pl.Int64, "closed": pl.Boolean}, orient="row")


# --- Kaplan-Meier -------------------------------------------------------------------------------
def test_kaplan_meier_by_weight() -> None:
    gaps = pl.DataFrame(
        {
            "gap": [10, 10, 5, 40, 5],
            "closed": [True, True, False, True, False],
            "weight": [0.25, 0.25, 0.5, 0.5, 0.5],
        }
    )
    # At 5 nothing ends, 1 of 2 leaves unseen. At 10 half of the 1 at risk ends, at 40 the rest.
    assert timeline.kaplan_meier(gaps).rows() == [(5, 2.0, 0.0, 1.0), (10, 1.0, 0.5, 0.5), (40, 0.5, 0.5, 0.0)]


def test_a_gap_left_open_at_a_length_at_which_others_end_is_still_at_risk() -> None:
    gaps = pl.DataFrame({"gap": [7, 7, 7, 9], "closed": [True, False, False, False], "weight": 1.0})
    assert timeline.kaplan_meier(gaps).select("gap", "at_risk", "alive").rows() == [(7, 4.0, 0.75), (9, 1.0, 0.75)]


def test_gaps_lie_between_occasions_and_the_last_is_open() -> None:
    def other(days: int) -> dict[str, Any]:
        return buy(days) | {"customer_id": "d"}

    log = frame([
        buy(50), buy(50), buy(30), buy(20), back(20), buy(9), event("visit", 2), buy(0), buy(-3), other(4), back(60),
    ])  # fmt: skip
    found = timeline.gaps(timeline.occasion_days(log, CUTOFF), CUTOFF)  # what was taken back on its day is no occasion
    assert found.rows() == [("c", 0, 20, True), ("c", 1, 21, True), ("c", 2, 9, False), ("d", 0, 4, False)]


def test_an_occasion_that_became_known_late_is_not_there_before() -> None:
    late = buy(9, known_at=dt.datetime.combine(CUTOFF, dt.time()))
    assert timeline.occasion_days(frame([late]), CUTOFF).collect().is_empty()
    assert timeline.occasion_days(frame([late]), CUTOFF + DAY).collect().height == 1


# --- silences -----------------------------------------------------------------------------------
# 100 gaps: 50 end after 10 days, 30 after 20, 20 are open since 60 days: nobody saw their 60th day.
THREE = spells((10, True, 50), (20, True, 30), (60, False, 20))


@pytest.mark.parametrize(
    ("silent", "window", "share"),
    [
        (1, 9, 0.0),  # the next purchase would lie 1 to 9 days after the last one
        (1, 10, 0.5),  # the tenth day is inside
        (10, 1, 0.5),  # silent for 10 days, seen on the morning of the tenth: it may still come on that day
        (11, 9, 0.0),
        (11, 10, 0.6),  # 30 of the 50 that lasted so long
        (21, 20, 0.0),
    ],
)
def test_the_return_after_a_silence(silent: int, window: int, share: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("churn_clv.advice._silence.FEWEST", 20)
    assert Silences(THREE).return_share(silent, window) == pytest.approx(share)


def test_what_is_not_followed_is_not_said() -> None:
    found = Silences(spells((10, True, 50), (20, True, 30), (60, False, 30)))
    assert found.return_share(21, 38) == 0.0  # 59 days: the last that was seen of the open ones
    assert found.return_share(21, 39) is None
    assert found.return_share(500, 1) is None
    assert Silences(spells((10, True, 50), (60, False, 29))).return_share(21, 20) is None  # 29 are too few


def test_the_window_is_the_fewest_whole_weeks_after_which_few_come_back() -> None:
    # 7 days: .8 come back within 28 more; 14 days: 30 of 50; 21 days: none.
    assert Silences(spells((10, True, 100), (20, True, 60), (60, False, 40))).window(28) == (21, 0.0)
    # 50 of 100 end after 10 days, and 20% of what is left after 30: that is few enough.
    on_the_limit = Silences(spells((10, True, 100), (30, True, 20), (90, False, 80)))
    assert on_the_limit.window(21) == (14, pytest.approx(0.2))
    just_above = Silences(spells((10, True, 100), (30, True, 21), (90, False, 79)))
    assert just_above.window(21)[0] == 35  # type: ignore[index]


def test_without_a_low_share_the_window_has_the_lowest_and_says_so() -> None:
    # Within 14 days 150 of 200 are back after 7 days of silence, 50 of 100 after 14; nobody is silent for 35.
    assert Silences(spells((10, True, 100), (20, True, 50), (30, True, 50))).window(14) == (14, 0.5)
    assert Silences(spells((3, True, 50))).window(14) is None


@cache
def simulated(customers: int = 3000) -> events.Log:
    return sim.log(customers, 364)


def test_the_share_is_what_a_count_at_cutoffs_shows() -> None:
    """And weights of one over a customer's number of gaps would not be: they know whether the gap has ended."""
    log, silent, window = simulated(), 28, 56
    found = timeline.gaps(timeline.occasion_days(log.frame, log.ends), log.ends)
    days: dict[str, list[dt.date]] = {}
    for customer, day in timeline.occasion_days(log.frame, log.ends).sort("customer_id", "day").collect().rows():
        days.setdefault(customer, []).append(day)
    seen = returned = 0
    for back_days in range(window, 330):
        cutoff = log.ends - back_days * DAY
        for own in days.values():
            if cutoff - silent * DAY in own and not any(cutoff - silent * DAY < d < cutoff for d in own):
                seen += 1
                returned += any(cutoff <= d < cutoff + window * DAY for d in own)
    assert seen > 2000
    assert Silences(found).return_share(silent, window) == pytest.approx(returned / seen, abs=0.02)
    weighed = timeline.kaplan_meier(found.with_columns(weight=1.0 / pl.len().over("customer_id")))
    left = [weighed.filter(pl.col("gap") < n)["alive"].min() for n in (silent, silent + window)]
    assert 1 - left[1] / left[0] < returned / seen - 0.1  # type: ignore[operator]


# --- who is judged ------------------------------------------------------------------------------
def counted(log: events.Log, h: Horizon, cutoff: dt.date) -> Judged:
    """The eligible and the churned of a cutoff in plain Python."""
    eligible = churned = 0
    for _, rows in timeline.occasion_days(log.frame, log.ends).collect().group_by("customer_id"):
        own = rows["day"].to_list()
        since = min(((cutoff - d).days for d in own if d < cutoff), default=10**6)
        if since <= (h.active_within_days or 0):
            eligible += 1
            churned += not any(cutoff <= d < cutoff + h.horizon_days * DAY for d in own)
    return Judged(cutoff, eligible, churned)


@cache
def advised(customers: int = 3000) -> Advice:
    return advice.advise(simulated(customers), sim.settings())


def test_the_chosen_horizon_keeps_every_promise() -> None:
    found, log = advised(), simulated()
    chosen = found.chosen
    assert chosen and chosen.firm and chosen.return_share and chosen.return_share <= 0.2
    assert all(not h.firm for h in found.horizons if h.horizon_days < chosen.horizon_days)
    silences = Silences(timeline.gaps(timeline.occasion_days(log.frame, log.ends), log.ends))
    less = silences.return_share((chosen.active_within_days or 0) - 7, 2 * chosen.horizon_days)
    assert less and less > 0.2
    h = chosen.horizon_days
    assert [c.cutoff for c in chosen.cutoffs] == [log.ends - n * DAY for n in (h, -(-3 * h // 2), 2 * h)]
    assert chosen.cutoffs == tuple(counted(log, chosen, c.cutoff) for c in chosen.cutoffs)
    assert min(chosen.churned, chosen.stayed) >= 300
    assert str(found.reason).startswith("The shortest acceptable horizon that also holds")


def test_horizons_end_where_the_plan_no_longer_fits() -> None:
    longest = advised().horizons[-1]
    # 91 would fill the 364 days, had its training window whole steps of 14 days: it needs 98.
    assert longest.horizon_days == 84
    assert not longest.backtest_fits and len(longest.cutoffs) == 1
    fits = [h.horizon_days for h in advised().horizons if h.backtest_fits]
    assert max(fits) == 70  # and five of 70, with the newest test cutoff moved back by one


def test_the_config_stands_beside() -> None:
    own = advised().configured
    assert (own.horizon_days, own.active_within_days, own.misses) == (28, 84, {})
    assert own.cutoffs[0] == counted(simulated(), own, own.cutoffs[0].cutoff)


def horizon(days: int, *rates: float, share: float | None = 0.1, eligible: int = 1000, **changes: Any) -> Horizon:
    cutoffs = tuple(Judged(CUTOFF, eligible, round(rate * eligible)) for rate in rates)
    return dataclasses.replace(Horizon(days, 56, share, 16, True, cutoffs, None, {}), **changes)


def test_firm_is_acceptable_at_each_cutoff_of_a_backtest() -> None:
    assert horizon(28, 0.5, 0.6).firm
    assert not horizon(28, 0.5, 0.61).firm  # .555 on the whole, but not at each
    assert not horizon(28, 0.5, backtest_fits=False).firm
    assert not horizon(28, 0.5, misses={"return": "too many"}).firm


def test_the_shortfall_adds_up_what_is_missing() -> None:
    assert horizon(28, 0.5).shortfall == 0
    assert horizon(28, 0.7, share=0.25).shortfall == pytest.approx(0.1 + 0.05)
    assert horizon(28, 0.5, eligible=300).shortfall == pytest.approx(0.5)  # 150 of 300
    assert (horizon(28, 0.5, 0.3).churned, horizon(28, 0.5, 0.3).stayed) == (300, 500)


# --- no such horizon ----------------------------------------------------------------------------
def log_of(rows: list[tuple[str, int]]) -> events.Log:
    """Purchases of 10.00 so many days before the end."""
    plain = pl.DataFrame(
        {"customer_id": [c for c, _ in rows], "time": [ENDS - days * DAY for _, days in rows], "amount": 10.0}
    )
    return events.from_frame(plain, RULES, ENDS)


def test_too_few_customers() -> None:
    found = advice.advise(sim.log(200, 364), sim.settings())
    assert found.chosen is None and found.nearest is not None
    assert "300 churned or stayed" in found.reason and found.reason.startswith("No horizon meets everything")
    assert all("classes" in h.misses for h in found.horizons if h.cutoffs)
    assert "no such horizon" in advice_figure.draw(found).get_suptitle()


def test_customers_who_never_pause() -> None:
    """Everyone buys every third day: nobody churns at any horizon, and no silence is long enough to be followed."""
    found = advice.advise(log_of([(f"c{n}", 3 * k + n % 3 + 1) for n in range(700) for k in range(60)]), sim.settings())
    assert found.chosen is None and found.horizons
    assert all(h.base_rate is None and "return" in h.misses for h in found.horizons)
    assert found.configured.base_rate == 0 and "below 10%" in found.configured.misses["base_rate"]
    assert found.gaps[-1].marks == {"50%": 3, "80%": 3, "90%": 3}
    advice_figure.draw(found)


def test_a_log_too_short_for_a_week() -> None:
    found = advice.advise(log_of([("a", 20), ("b", 1)]), sim.settings())
    assert (found.chosen, found.nearest, found.horizons) == (None, None, ())
    assert found.reason == "The log covers 20 days, and not even a horizon of one week fits its temporal plan."
    assert "the labels do not fit" in found.configured.misses["plan"]
    advice_figure.draw(found)


def test_a_log_without_purchases_is_refused() -> None:
    plain = pl.DataFrame({"customer_id": ["a"], "time": [ENDS - DAY], "event_type": ["visit"]})
    with pytest.raises(UserError, match="no 'purchase' events"):
        advice.advise(events.from_frame(plain, RULES), sim.settings())


# --- laws ---------------------------------------------------------------------------------------
def test_neither_the_order_of_rows_nor_what_comes_after_the_end_changes_anything() -> None:
    log = sim.log(600, 364)
    whole = advice.as_document(advice.advise(log, sim.settings()))
    order = list(range(log.frame.height))
    random.Random(4).shuffle(order)
    later = log.frame.filter(pl.col("event_type") == "purchase").with_columns(pl.col("time") + dt.timedelta(days=400))
    newcomers = later.with_columns(pl.col("customer_id") + "-new")
    for changed in (log.frame[order], pl.concat([log.frame, later, newcomers])):
        assert advice.as_document(advice.advise(dataclasses.replace(log, frame=changed), sim.settings())) == whole


# --- the picture and the command ----------------------------------------------------------------
def test_the_picture_shows_the_numbers() -> None:
    found = advised()
    figure, chosen = advice_figure.draw(found), found.chosen
    assert chosen is not None
    n, h = chosen.active_within_days, chosen.horizon_days
    assert figure.get_suptitle() == f"simulated: horizon {h} days, active within {n}"
    titles = [axes.get_title(loc="left") for axes in figure.axes]
    half = {g.name: g.marks["50%"] for g in found.gaps}["all"]
    fit = sum(h.acceptable for h in found.horizons)
    assert titles == [
        f"Half of all gaps end within {half} days",
        f"{fit} of {len(found.horizons)} horizons are acceptable",
        f"After {n} days of silence {chosen.return_share:.0%} come back",
    ]
    curve = max(figure.axes[2].lines, key=lambda line: len(line.get_xydata()))
    assert dict(curve.get_xydata())[n] == chosen.return_share


def run(tmp_path: Path, *extra: str, customers: int = 200) -> Any:
    plain = sim.log(customers, 364).frame.filter(pl.col("event_type") == "purchase")
    plain.select("customer_id", "time", amount=pl.col("amount") / 100).write_csv(tmp_path / "orders.csv")
    mapping = {"customer_id": "customer_id", "time": "time", "amount": "amount"}
    sources = {"orders": {"path": str(tmp_path / "orders.csv"), "map": mapping}}
    (tmp_path / "shop.yaml").write_text(
        config.to_yaml(config.load(dataset="shop", out=str(tmp_path / "out"), events={"sources": sources}))
    )
    return CliRunner().invoke(cli.app, ["advise", str(tmp_path / "shop.yaml"), *extra])


def test_the_command_prints_the_table_and_draws(tmp_path: Path) -> None:
    result = run(tmp_path)
    assert result.exit_code == 0, result.output
    assert "no such horizon" in result.output and "Your config: horizon 28, active within 56" in result.output
    assert (tmp_path / "out" / "advice.png").read_bytes().startswith(b"\x89PNG")


def test_the_command_as_json(tmp_path: Path) -> None:
    picture = tmp_path / "deep" / "mine.png"
    document = json.loads(run(tmp_path, "--json", "--out", str(picture)).stdout)
    assert document["chosen"] is None and document["nearest"]["horizon_days"]
    assert document["configured"]["cutoffs"][0].keys() == {"cutoff", "eligible", "churned"}
    assert document["limits"]["base_rate"] == [0.1, 0.6] and document["rule"] and document["reason"]
    assert document["picture"] == str(picture) and picture.is_file()


def test_a_picture_of_another_kind_is_refused(tmp_path: Path) -> None:
    error = run(tmp_path, "--out", str(tmp_path / "advice.pdf")).exception
    assert isinstance(error, UserError) and "does not end in .png" in str(error)
