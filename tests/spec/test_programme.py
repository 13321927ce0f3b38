"""The loyalty programme's cost and effect, by hand: only against customers whom chance left out."""

from __future__ import annotations

import datetime as dt
import random
from typing import Any

import polars as pl
import pytest
import tiny

from churn_clv import config, events, loyalty
from churn_clv.errors import UserError

SINCE = dt.date(2024, 4, 1)
ENDS = SINCE + dt.timedelta(days=28)
ARMS = {"attributes": "club", "column": "arm", "treated": ["in"], "control": ["out"], "control_share": 0.5,
        "since": SINCE, "cost": 100.0}  # fmt: skip


def own(programme: dict[str, Any] | None = None, **more: Any) -> config.Config:
    return config.load(dataset="p", value={"margin_share": 0.5}, loyalty={"programme": programme} | more)


def log(sums: dict[str, tuple[float, float]], arms: dict[str, str] | None, valid: dt.datetime | None = None) -> Any:
    """By customer the money 10 days before the programme and 10 days after its start; 0 is no purchase."""
    rows = [(who, SINCE + dt.timedelta(days=day), money)
            for who, both in sums.items() for day, money in zip((-10, 10), both, strict=True) if money]  # fmt: skip
    rows.append(("somebody", SINCE - dt.timedelta(days=28), 1.0))  # the log begins as long before as it goes on after
    frame = pl.DataFrame(rows, schema=["customer_id", "time", "amount"], orient="row")
    found = events.from_frame(frame, tiny.definitions().rules, ENDS)
    if arms is None:
        return found
    table = pl.DataFrame({"customer_id": [*arms], "arm": [*arms.values()]})
    if valid:
        table = table.with_columns(valid_from=pl.lit(valid))
    return events.Log(**{**vars(found), "attributes": {"club": table}})


def halves(n: int = 60, gain: float = 0.0) -> tuple[dict[str, tuple[float, float]], dict[str, str]]:
    """Every other customer is in; each spends 10 or 20 before and as much after, those in ``gain`` more."""
    names = [f"c{k:03d}" for k in range(2 * n)]
    before = {who: 10.0 * (1 + k // 2 % 2) for k, who in enumerate(names)}
    arms = {who: ("in", "out")[k % 2] for k, who in enumerate(names)}
    return {who: (before[who], before[who] + gain * (arms[who] == "in")) for who in names}, arms


def test_an_effect_by_hand() -> None:
    """4 of money more each is 2 of margin at .5. Margins are cut at 10, which few exceeded before: of the members who
    spent 20 before nothing is left, so 1 on average; 60 members gain 60 for a cost of 100. Nobody lapses."""
    sums, arms = halves(gain=4.0)
    found = loyalty.programme(own(ARMS), log(sums, arms))
    assert found["measurable"] and (found["treated"], found["control"], found["days"]) == (60, 60, 28)
    assert found["cap"] == pytest.approx(10.0)
    assert found["before"]["effect"] == 0.0 and found["lapse"]["effect"] == 0.0
    assert found["margin"]["effect"] == pytest.approx((2 + 0) / 2)  # of those at 5 before all 2, of those at 10 none
    assert (found["gained"], found["profit"]) == (pytest.approx(60.0), pytest.approx(-40.0))
    assert "-40.00" in loyalty.told(found, "EUR") and "left out by chance" in loyalty.told(found, "EUR")


def test_lapse_by_hand() -> None:
    """Of 60 in, 6 bought before and not after; of 60 out, 18: 10% against 30%, 20 points less, about 7 points wide."""
    sums, arms = halves()
    gone = [w for w, a in arms.items() if a == "in"][:6] + [w for w, a in arms.items() if a == "out"][:18]
    found = loyalty.programme(own(ARMS), log(sums | {w: (sums[w][0], 0.0) for w in gone}, arms))
    assert (
        found["lapse"]["effect"] == pytest.approx(-0.2) and -0.36 < found["lapse"]["low"] < found["lapse"]["high"] < 0
    )


def test_no_effect_is_within_its_interval_nearly_always() -> None:
    """A/A: 15 programmes that do nothing, arms by chance: 95% intervals hold 0 in 12 or more."""
    draw, held = random.Random(5), 0
    sums = {f"c{k:03d}": (draw.gammavariate(1, 20), draw.gammavariate(1, 20)) for k in range(200)}
    whole = log(sums, {})
    for _ in range(15):
        names = draw.sample([*sums], len(sums))
        arms = pl.DataFrame({"customer_id": names, "arm": ["in"] * 100 + ["out"] * 100})
        found = loyalty.programme(own(ARMS), events.Log(**{**vars(whole), "attributes": {"club": arms}}))
        held += found["measurable"] and found["margin"]["low"] <= 0 <= found["margin"]["high"]
    assert held >= 12  # fewer by chance once in 180; the seed is fixed


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"control_share": 0.1}, "do not fit a holdout of 10%"),
        ({"since": ENDS}, "no day in the log yet"),
        ({"since": dt.date(2023, 1, 1)}, "began before the log"),
        ({"treated": ["in"], "control": ["late"]}, "fewer than 50 customers"),
    ],
)
def test_what_cannot_be_measured_says_why(changes: dict[str, Any], said: str) -> None:
    sums, arms = halves()
    found = loyalty.programme(own(ARMS | changes), log(sums, arms | {"somebody": "late"}))
    assert not found["measurable"] and said in found["why"] and said in loyalty.told(found, "EUR")


def test_arms_that_were_unlike_before_are_no_comparison() -> None:
    sums, arms = halves()
    chosen = {who: (money[0] + 5 * (arms[who] == "in"), money[1]) for who, money in sums.items()}
    found = loyalty.programme(own(ARMS), log(chosen, arms))
    assert not found["measurable"] and "not drawn by chance" in found["why"]


def test_a_staged_roll_out_ends_where_the_control_may_join() -> None:
    """Until day 5 nobody has bought: both arms alike, and the members' 4 more of day 10 are not seen."""
    sums, arms = halves(gain=4.0)
    found = loyalty.programme(own(ARMS | {"until": SINCE + dt.timedelta(days=5)}), log(sums, arms))
    assert found["days"] == 5 and found["margin"]["effect"] == 0.0 and found["until"] == "2024-04-06"


def test_dated_arms_count_from_before_the_programme() -> None:
    sums, arms = halves()
    late = log(sums, arms, dt.datetime.combine(SINCE, dt.time()) + dt.timedelta(days=1))
    with pytest.raises(UserError, match=r"no customer is of arm in, out"):
        loyalty.programme(own(ARMS), late)
    assert loyalty.programme(own(ARMS), log(sums, arms, dt.datetime(2024, 1, 1)))["measurable"]


def test_without_a_comparison_nothing_is_shown_and_it_is_said_how_to_give_one() -> None:
    sums, arms = halves()
    found = loyalty.programme(own(), log(sums, arms))
    assert not found["measurable"] and "no loyalty programme" in found["why"] and "loyalty.programme" in found["how"]
    seen = loyalty.programme(own(levels={"gold": 100}), log(sums, arms))
    assert "nobody was left out by chance" in loyalty.told(seen, "EUR")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"attributes": "clubs"}, r"there is no 'clubs' in events\.attributes\. Did you mean 'club'"),
        ({"column": "arms"}, "'club' has no column 'arms'. Did you mean 'arm'"),
        ({"control": ["nobody"]}, r"no customer is of arm nobody \(column 'arm' has: in, out\)"),
    ],
)
def test_what_the_config_gets_wrong(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError, match=said):
        loyalty.programme(own(ARMS | changes), log(*halves()))
    for wrong in ({"control": ["in"]}, {"until": SINCE}, {"cost": -1}, {"control_share": 1.0}):
        with pytest.raises(UserError, match=r"loyalty\.programme"):
            own(ARMS | wrong)
