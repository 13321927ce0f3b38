"""docs/accuracy.md is what the documents say: a section each, no number of money without money, weaknesses by name."""

from __future__ import annotations

import copy
import json
from typing import Any

import judged
import pytest

from churn_clv import wording
from churn_clv.cli import _lab
from scripts import accuracy

PLAIN: dict[str, Any] = json.loads(json.dumps(judged.document(), default=str))
NO_MONEY: dict[str, Any] = json.loads(json.dumps(judged.without_spend(), default=str))
BOTH = {"cdnow": PLAIN, "completejourney": NO_MONEY}


def section(text: str, title: str) -> str:
    """What stands under a heading."""
    return text.split(f"\n## {title}\n")[1].split("\n## ")[0]


def table(text: str, first: str) -> list[list[str]]:
    """The rows of the table whose first column has this head."""
    lines = text[text.index(f"| {first} |") :].split("\n\n")[0].splitlines()
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if not line.startswith("| ---")]


def weak(document: dict[str, Any]) -> str:
    """The paragraph on where CDNOW does not win."""
    return section(accuracy.page({"cdnow": document}), "Where it does not win")


def test_each_data_set_has_its_section() -> None:
    text = accuracy.page(BOTH)
    heads = [line for line in text.splitlines() if line.startswith("#")]
    assert heads == ["# How good it is", "## CDNOW", "## Complete Journey", "## Where it does not win"]
    own = section(text, "CDNOW")
    assert wording.question(PLAIN) in own and "Log until 2018-01-01; the run took 346 s." in own
    head, *rows = table(own, "rung")
    assert head == ["rung", "AUC", "log loss", "ECE - floor", "lift", "EMPC", "Gini", "MAE", "Tweedie", "total, worst"]
    assert [row[0] for row in rows] == [wording.rung(step["rung"]) for step in PLAIN["ladder"]]
    champion, worst = PLAIN["ladder"][0]["mean"], PLAIN["ladder"][0]["worst"]["spend_total_ratio"]
    assert (rows[0][1], rows[0][6], rows[0][-1]) == (
        f"{champion['churn_auroc']:.4f}", f"{champion['spend_gini']:.4f}", f"{worst:.3f}",
    )  # fmt: skip
    assert all(f"- {sentence}\n" in own for _, sentence, _ in wording.verdicts(PLAIN))


def test_clv_by_tenths() -> None:
    head, *rows = table(section(accuracy.page(BOTH), "CDNOW"), "tenth")
    assert head == ["tenth", "customers", "this model", "BTYD", "came"] and len(rows) == 10
    assert rows[0] == ["1", "469", "31.50", "29.50", "30.25"] and rows[9] == ["10", "469", "315.00", "295.00", "302.50"]


def test_each_other_target_has_its_ladder() -> None:
    own = section(accuracy.page(BOTH), "CDNOW")
    event, count = PLAIN["targets"].values()
    for found in (event, count):
        assert f"Target {wording.target(found)}." in own
        assert all(f"- {wording.target_verdict(m, v)}" in own for m, v in found["minus_best"].items())
    asked = "within 42 days, of those with one purchase day with mail before"
    assert f"second_order, {asked}: 2,718 customers' rows at 2 cutoffs, 20.3% of them." in own
    assert f"tea_days, {asked} and no unsubscribe before: 2,718 customers' rows at 2 cutoffs, 0.2031 on average." in own
    assert "| this run | 0.7931 | 0.4127 | 0.0143 | 3.1700 |" in own and "| base rate | 1.0390 |" in own
    assert "| this run | 0.6347 | 1.2730 | 2.1910 | 1.0372 |" in own
    assert "log loss: ahead of logistic by 0.0117 (-0.0160 to -0.0074)" in own
    assert "Target" not in section(accuracy.page(BOTH), "Complete Journey")
    level = "Target tea_days: on Tweedie it is not shown to be better than last horizon (95% interval of the difference"
    assert f"{level} -0.5290 to +0.0910)." in weak(PLAIN) and "second_order" not in weak(PLAIN)
    noisy = copy.deepcopy(PLAIN)
    noisy["targets"]["second_order"]["ladder"][0]["mean"]["ece"] = 0.0231
    assert "Target second_order: its calibration error is 0.0102 above chance." in weak(noisy)


def test_each_cutoff_has_its_row_and_each_group_but_attributes() -> None:
    own = section(accuracy.page(BOTH), "CDNOW")
    head, *rows = table(own, "cutoff")
    assert [row[0] for row in rows] == PLAIN["cutoffs"]
    shown = dict(zip(head, rows[2], strict=True))
    assert (shown["customers"], shown["total"], shown["band"]) == ("2,222", "0.992", "0.900 to 1.060")
    assert (shown["base rate"], shown["floor"]) == (
        "13.6%",
        "0.0139",
    )  # .1354 and .0131, each .0008 more at this cutoff
    assert [row[0] for row in table(own, "group")[1:]] == ["1 order", "2-3 orders", "4+ orders", "on time", "overdue"]
    assert own.count("% above and ") == 6 and "9.3% above and 6.1% below; 9.7% above and 6.4% below;" in own


def test_without_money_it_is_said_not_to_be_measured() -> None:
    own = section(accuracy.page(BOTH), "Complete Journey")
    head, *rows = table(own, "cutoff")
    assert {row[head.index("band")] for row in rows} == {"not measured"}
    assert {row[head.index("total")] for row in rows} == {row[head.index("Gini")] for row in rows} == {"-"}
    assert "(meant: 10% above, at most 10% below): not measured." in own
    assert "- to -" not in own and "None" not in own and "nan" not in own
    shown = [_lab._measured_cutoff(row)["band"] for row in NO_MONEY["ladder"][0]["by_cutoff"]]
    assert set(shown) == {"not measured"}
    assert _lab._measured_cutoff(PLAIN["ladder"][0]["by_cutoff"][0])["band"] == "0.900 to 1.060"


def test_below_a_lower_end_of_nought_nothing_lies() -> None:
    document = copy.deepcopy(PLAIN)
    document["intervals"] = [{"cutoff": "2017-08-07", "miss_above": 0.087, "miss_below": None, "worst_decile": 0.06}]
    own = section(accuracy.page({"cdnow": document}), "CDNOW")
    assert "below): 8.7% above and none below (the lower ends are 0).\n" in own


def test_the_looks_are_told_once_for_the_sets_there_are() -> None:
    text = accuracy.page(BOTH)
    cdnow, journey = accuracy.LOOKED["cdnow"], accuracy.LOOKED["completejourney"]
    told = f"were looked at about {cdnow} times for CDNOW, {journey} times for Complete Journey, with other numbers"
    assert told in text
    assert "counts the runs of one folder only: 1 for CDNOW, 1 for Complete Journey." in text
    assert text.count("looked at") == 1 and text.count("log of looks") == 1 and "Online Retail" not in text
    seen = accuracy.page({"cdnow": PLAIN | {"looks": [*PLAIN["looks"], *PLAIN["looks"]]}})
    assert "folder only: 2 for CDNOW." in seen


def test_where_it_does_not_win_follows_from_the_numbers() -> None:
    said = weak(PLAIN)
    assert said.strip() == f"**CDNOW.** {' '.join(wording.where_it_does_not_win(PLAIN))}"
    assert "On AUC it is not shown to be better than logistic" in said and "outside its band at 1 of 6" in said
    better = copy.deepcopy(PLAIN)
    better["champion_minus_best"]["churn_auroc"]["verdict"] = "ahead"
    better["ladder"][0]["by_cutoff"][-1]["spend_total_ratio"] = 1.0
    assert "On AUC" not in weak(better) and "outside its band" not in weak(better)
    worse = copy.deepcopy(PLAIN)
    worse["champion_minus_best"]["spend_gini"]["verdict"] = "behind"
    assert "On Gini it is worse than single snapshot" in weak(worse) and "On Gini" not in said


@pytest.mark.parametrize("drawn", [set(), {"cdnow_ladder", "cdnow_totals", "completejourney_ladder"}])
def test_only_pictures_that_were_drawn_are_shown(drawn: set[str]) -> None:
    text = accuracy.page(BOTH, drawn)
    assert text.count("![") == len(drawn) and all(f"(accuracy/{name}.png)" in text for name in drawn)


def test_rungs_that_do_better_on_clv_are_named() -> None:
    assert "On CLV" not in weak(PLAIN)
    worse = copy.deepcopy(PLAIN)
    worse["clv"]["rungs"][0] |= {"total_ratio": 1.152, "gini": 0.795}
    said = weak(worse)
    assert "On CLV the total is nearer for BTYD (0.871) than for this model (1.152)." in said
    assert "On CLV Gini is better for nobody ever lapses (0.8000) than for this model (0.7950)." in said


def test_bounds_and_orders_are_told() -> None:
    told = wording.clv(PLAIN["clv"])
    assert "Gini 0.8100 (of the first window alone 0.8000)." in told
    assert (
        "judged at 2017-10-01 on 2,345 customers: 8.7% lie above (9.4% had the total been right) and 6.0% below" in told
    )
    assert "is 1.050, within its band of 0.81 to 1.23." in wording.clv(PLAIN["clv"])
    none = PLAIN["clv"] | {"bounds": PLAIN["clv"]["bounds"] | {"miss_below": None, "total_inside": False}}
    assert "none below (the lower ends are 0)" in wording.clv(none) and "outside its band" in wording.clv(none)
    assert "Its bounds are not judged" in wording.clv(PLAIN["clv"] | {"bounds": None})
    assert (
        "the predicted total over the actual is 1.020 (last horizon's orders 1.400), Poisson deviance 1.2000 (1.7456)"
        in (wording.orders(PLAIN))
    )
