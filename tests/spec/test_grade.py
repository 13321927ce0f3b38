"""The grade: each rule by hand, a planted failure of each, and the words that say why."""

from __future__ import annotations

from typing import Any

import judged
import pytest

from churn_clv import config, grade
from churn_clv.errors import UserError
from churn_clv.promotion import Check

RULES = ("rungs", "calibration_slope", "calibration_error", "totals", "strata")
SETTINGS = config.from_dict({"dataset": "toy"}).grade


def cutoff(name: str = "2024-03-04", **over: float | None) -> dict[str, Any]:
    """A cutoff at which nothing is wrong: slope 1.05, error .004 above chance, total .95 in its band."""
    values = {"churn_calibration_slope": 1.05, "churn_ece": 0.016, "churn_ece_floor": 0.012,
              "spend_total_ratio": 0.95, "spend_total_low": 0.9, "spend_total_high": 1.1}  # fmt: skip
    return {"cutoff": name} | values | over


def stratum(name: str, n: int, churn: float | None = 0.2, spend: float | None = 0.1) -> dict[str, Any]:
    return {"by": "orders", "stratum": name, "n": n, "churn_skill": churn, "spend_skill": spend}


GOOD = [stratum("1", 500), stratum("4+", 900)]


def graded(
    rows: list[Any] | None = None, strata: list[Any] | None = None, lost: tuple[str, ...] = (), **over: Any
) -> grade.Grade:
    settings = config.from_dict({"dataset": "toy", "grade": over}).grade
    return grade.grade(rows or [cutoff()], GOOD if strata is None else strata, lost, 9, settings)


def letters(found: grade.Grade) -> dict[str, str | None]:
    return {rule.name: rule.letter for rule in found.rules}


def test_a_run_with_nothing_wrong_has_an_a() -> None:
    found = graded()
    assert letters(found) == dict.fromkeys(RULES, "A")
    assert (found.letter, found.why) == ("A", "Grade A: every rule is met.")
    assert [rule.value for rule in found.rules] == pytest.approx([0, 0.05, 0.004, 0, 0])


@pytest.mark.parametrize(
    ("rule", "planted", "letter", "said"),
    [
        # |0.85 - 1| = 0.15 is above 0.1 and at most 0.2
        ("calibration_slope", {"churn_calibration_slope": 0.85}, "B", "calibration slope 0.850 at 2024-04-01"),
        ("calibration_slope", {"churn_calibration_slope": 1.25}, "C", "calibration slope 1.250"),
        ("calibration_slope", {"churn_calibration_slope": 0.5}, "D", "calibration slope 0.500"),
        # 0.034 - 0.012 = 0.022 is above 0.01 and at most 0.025
        ("calibration_error", {"churn_ece": 0.034}, "B", "0.0340 at 2024-04-01, +0.0220 against chance"),
        ("calibration_error", {"churn_ece": 0.0615}, "C", "+0.0495"),
        ("calibration_error", {"churn_ece": 0.08}, "D", "+0.0680"),
        # 0.9 - 0.87 = 0.03 below the band; 1.2 - 1.1 = 0.1 above it
        ("totals", {"spend_total_ratio": 0.87}, "B", "total 0.870 at 2024-04-01, band 0.900 to 1.100"),
        ("totals", {"spend_total_ratio": 1.2}, "C", "total 1.200"),
        ("totals", {"spend_total_ratio": 1.6}, "D", "total 1.600"),
    ],
)
def test_the_worst_cutoff_counts(rule: str, planted: dict[str, float], letter: str, said: str) -> None:
    found = graded([cutoff(), cutoff("2024-04-01", **planted), cutoff("2024-05-06")])
    assert letters(found) == dict.fromkeys(RULES, "A") | {rule: letter}
    assert found.letter == letter and said in found.why and f": {letter}, where an A allows" in found.why
    assert next(r for r in found.rules if r.name == rule).at == "2024-04-01"


@pytest.mark.parametrize(("skill", "letter"), [(-0.001, "B"), (-0.02, "B"), (-0.04, "C"), (-0.3, "D")])
@pytest.mark.parametrize("key", ["churn", "spend"])
def test_no_group_may_be_predicted_worse_than_by_its_own_mean(key: str, skill: float, letter: str) -> None:
    found = graded(strata=[*GOOD, stratum("2-3", 300, **{key: skill})])
    assert letters(found) == dict.fromkeys(RULES, "A") | {"strata": letter}
    assert f"skill {skill:+.3f} of the" in found.why and "2-3 orders (300)" in found.why
    assert graded(strata=[*GOOD, stratum("2-3", 299, **{key: skill})]).letter == "A"  # too few to say


def test_a_rung_that_is_ahead_makes_a_d() -> None:
    found = graded(lost=("logistic is ahead on log loss",))
    assert letters(found) == dict.fromkeys(RULES, "A") | {"rungs": "D"}
    assert found.why == "Grade D: logistic is ahead on log loss."


def test_the_worst_rule_is_the_grade_and_every_reason_is_told() -> None:
    found = graded([cutoff(churn_calibration_slope=0.85, churn_ece=0.05)])
    assert found.letter == "C"
    assert "slope 0.850" in found.why and "error 0.0500" in found.why and "total" not in found.why


def test_what_could_not_be_judged_keeps_a_run_from_an_a() -> None:
    found = graded([cutoff(spend_total_low=None, spend_total_high=None)])
    assert (letters(found)["totals"], found.letter) == (None, "B")
    assert found.why == "Grade B: the total has no band to lie in."
    assert grade.grade([cutoff()], GOOD, (), 0, SETTINGS).letter == "B"
    assert graded(strata=[stratum("1", 20)]).letter == "B"


def test_a_band_that_holds_anything_makes_no_a() -> None:
    wide = cutoff(spend_total_low=0.4, spend_total_high=2.5, spend_total_ratio=1.6)
    found = graded([cutoff(), wide])
    assert letters(found) == dict.fromkeys(RULES, "A") | {"totals": "B"}
    assert "B, as a band reaches 2.500, where an A allows 2" in found.why
    assert graded([wide], widest_band=3).letter == "A"
    assert graded([wide | {"spend_total_ratio": 2.6}]).letter == "C"  # .1 outside of it


def test_a_run_without_money_is_not_judged_on_it() -> None:
    found = graded([cutoff(spend_total_ratio=None, spend_total_low=None, spend_total_high=None)])
    assert (letters(found)["totals"], found.letter) == (None, "A")


def test_thresholds_are_the_configs() -> None:
    rows = [cutoff(churn_calibration_slope=0.85)]
    assert [graded(rows, slope_off=limits).letter for limits in ([0.2] * 3, [0.1, 0.1, 0.1])] == ["A", "D"]
    assert graded(strata=[stratum("1", 50, -1.0)], stratum_least=50).letter == "D"
    with pytest.raises(UserError, match="slope_off must not fall from A to C"):
        config.from_dict({"dataset": "toy", "grade": {"slope_off": [0.2, 0.1, 0.3]}})


def test_grades_are_ordered() -> None:
    found = graded([cutoff(churn_calibration_slope=0.85)])
    assert [found.at_least(letter) for letter in "ABCD"] == [False, True, True, True]
    assert [grade.POINTS[letter] for letter in "ABCD"] == [4, 3, 2, 1]


def test_the_gate_changes_no_recipe() -> None:
    plain, strict = (config.from_dict({"dataset": "toy", "grade": {"required": r}}) for r in "DA")
    assert plain.recipe_hash == strict.recipe_hash and plain.core_hash == strict.core_hash


# --- from a training and from a backtest --------------------------------------------------------
def test_a_training_is_judged_on_its_one_cutoff_and_by_its_rung_checks() -> None:
    named = {"logistic.churn_log_loss": True, "incumbent.ahead": False, "calibration_slope": False,
             "recency_rule.churn_auroc": True}  # fmt: skip
    checks = [Check(name, passed, True, "told") for name, passed in named.items()]
    own = {k: v for k, v in cutoff().items() if k not in ("cutoff", "spend_total_low", "spend_total_high")}
    found = grade.of_training(own, "2024-03-04", (0.9, 1.1), GOOD, checks, SETTINGS)
    assert found.letter == "A" and "(2 compared)" in found.rules[0].text
    lost = [*checks, Check("btyd.spend_tweedie_deviance", False, True, "btyd is ahead on it")]
    assert grade.of_training(own, "2024-03-04", (0.9, 1.1), GOOD, lost, SETTINGS).why == "Grade D: btyd is ahead on it."
    assert letters(grade.of_training(own, "2024-03-04", (0.96, 1.1), GOOD, checks, SETTINGS))["totals"] == "B"


def backtest(**rungs: dict[str, str]) -> dict[str, Any]:
    """A backtest's document with the verdict on each rung, by metric."""
    document = judged.document(strata=GOOD)
    document["ladder"][0]["by_cutoff"] = [cutoff("2024-03-04"), cutoff("2024-04-01")]
    plain = {"rung": "logistic", "difference": 0.0, "low": 0.0, "high": 0.0, "verdict": "level"}
    document["champion_minus_best"] = {metric: plain | {"rungs": found} for metric, found in rungs.items()}
    return document


BEATEN: dict[str, dict[str, str]] = {
    "churn_log_loss": {"logistic": "level", "btyd": "ahead"},
    "churn_auroc": {"logistic": "level", "recency_rule": "ahead"},
    "spend_tweedie_deviance": {"btyd": "level"},
    "spend_gini": {"btyd": "level", "last_horizon_spend": "ahead"},
}


def test_a_backtest_is_judged_on_all_its_cutoffs() -> None:
    found = grade.of_backtest(backtest(**BEATEN), SETTINGS)
    assert found.letter == "A" and "(5 compared)" in found.rules[0].text  # logistic and btyd; btyd; one ranking each
    behind = BEATEN | {"spend_tweedie_deviance": {"btyd": "behind"}}
    assert grade.of_backtest(backtest(**behind), SETTINGS).why == "Grade D: BTYD is ahead on Tweedie."
    # what has a loss is not compared by its ranking
    better = BEATEN | {"churn_auroc": {"logistic": "behind", "recency_rule": "ahead"}}
    assert grade.of_backtest(backtest(**better), SETTINGS).letter == "A"
    level = BEATEN | {"churn_auroc": {"logistic": "level", "recency_rule": "level"}}
    assert "recency rule is not shown to be beaten on AUC" in grade.of_backtest(backtest(**level), SETTINGS).why
