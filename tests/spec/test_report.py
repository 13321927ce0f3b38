"""The backtest's report: every number is on the page, which is escaped and whole in itself, with or without money."""

from __future__ import annotations

import base64
import copy
import json
import re
from collections.abc import Iterator
from functools import cache
from html import unescape
from pathlib import Path
from typing import Any

import judged
import pytest
from matplotlib.figure import Figure
from typer.testing import CliRunner

from churn_clv import backtest, backtest_figures, cli, events, forecast, report, timeline, tracking, wording
from churn_clv.config import Config
from churn_clv.errors import UserError
from churn_clv.report import page

PLAIN: dict[str, Any] = json.loads(json.dumps(judged.document(), default=str))
NO_MONEY: dict[str, Any] = json.loads(json.dumps(judged.without_spend(), default=str))


@cache
def text(money: bool = True) -> str:
    """The page's words and numbers, tags taken out."""
    html = page.render(PLAIN if money else NO_MONEY, {})
    return unescape(re.sub(r"<[^>]+>", "\n", html.partition("<body>")[2]))


def cells(html: str, heading: str) -> list[list[str]]:
    """The first table of a section, its head included."""
    section = html[html.index(f"<h2>{heading}") :]
    table = section[section.index("<table>") : section.index("</table>")]
    rows = re.findall(r"<tr[^>]*>(.*?)</tr>", table)
    return [[unescape(cell) for cell in re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row)] for row in rows]


@cache
def drawn() -> dict[str, Figure]:
    return backtest_figures.draw(PLAIN)


def titles(name: str) -> list[str]:
    """A picture's own title and its panels'."""
    return [drawn()[name].get_suptitle(), *(str(axes.get_title(loc="left")) for axes in drawn()[name].axes)]


# --- the page -----------------------------------------------------------------------------------
def test_the_ladder_shows_every_rung_and_number() -> None:
    head, *rows = cells(page.render(PLAIN, {}), "The ladder")
    assert head == ["rung", "AUC", "log loss", "ECE - floor", "lift", "Gini", "MAE", "Tweedie", "total, worst", "EMPC"]
    assert [row[0] for row in rows] == [
        "this model", "recency rule", "last horizon spend", "lifetime rate", "RFM cells", "logistic", "BTYD",
        "single snapshot",
    ]  # fmt: skip
    for row, step in zip(rows, PLAIN["ladder"], strict=True):
        mean = step["mean"]
        gap = None if mean["churn_ece"] is None else mean["churn_ece"] - mean["churn_ece_floor"]
        keys = ("churn_auroc", "churn_log_loss", "", "churn_lift_top_decile", "spend_gini", "spend_mae",
                "spend_tweedie_deviance")  # fmt: skip
        numbers = [mean.get(k, gap) for k in keys] + [step["worst"]["spend_total_ratio"], mean["churn_empc"]]
        shown = zip(row[1:], numbers, (4, 4, 4, 2, 4, 2, 2, 3, 3), strict=True)
        for cell, value, digits in shown:
            assert cell == "-" if value is None else float(cell) == pytest.approx(value, abs=0.51 * 10**-digits)


def numbers_of(rows: list[dict[str, Any]]) -> Iterator[tuple[str, float]]:
    for row in rows:
        yield from ((k, v) for k, v in row.items() if isinstance(v, float))


def test_every_mean_and_every_cutoff_of_the_model_is_on_the_page() -> None:
    said = text().split("\n")
    for step in PLAIN["ladder"]:
        for key, value in numbers_of([step["mean"]]):
            assert wording.number(key, value) in said, (step["rung"], key)
    for row in PLAIN["ladder"][0]["by_cutoff"]:
        for key in ("n", "churn_auroc", "churn_log_loss", "churn_ece_floor", "spend_gini", "spend_total_ratio"):
            assert wording.number(key, row[key]) in said
        assert row["cutoff"] in said


def test_groups_tenths_choices_policies_and_looks_are_on_the_page() -> None:
    said = text().split("\n")
    for row in PLAIN["strata"]:
        assert {f"{row['churn_skill']:+.3f}", f"{row['spend_skill']:+.3f}", f"{row['n']:,}"} <= set(said)
    shares = [r[k] for r in PLAIN["reliability"] for k in ("mean_probability", "churn_rate", "low", "high")]
    shares += [r[k] for r in PLAIN["intervals"] for k in ("miss_above", "miss_below", "worst_decile")]
    assert {f"{share:.1%}" for share in shares} <= set(said)
    assert {f"{r[k]:,.2f}" for r in PLAIN["deciles"] for k in ("spend", "expected_spend")} <= set(said)
    for row in PLAIN["choices"]:
        assert {str(row["churn_trees"]), str(row["spend_trees"]), f"{row['slope']:.3f}"} <= set(said)
    assert {"missing customer", "tills", "13,579", "dropped"} <= set(said)
    assert "2018-02-03" in text() and "feedfacefeedface" in text() and "346 seconds" in text()


def test_the_headline_says_what_was_asked_when_and_of_how_many() -> None:
    asked = wording.question(PLAIN)
    assert asked in text()
    count = sum(2200 + 11 * place for place in range(6))
    assert "last 56 days" in asked and "next 28" in asked and "(USD)" in asked and f"{count:,} times" in asked
    assert "6 cutoffs from 2017-08-07 to 2017-10-16 (3 of them independent" in asked
    alone = PLAIN | {"cutoffs": PLAIN["cutoffs"][:1]}
    assert "at one cutoff, 2017-08-07, " in wording.question(alone)


@pytest.mark.parametrize(("rate", "word"), [(0.2, "churn"), (0.21, "lapse"), (None, "churn")])
def test_where_many_come_back_the_word_is_lapse(rate: float | None, word: str) -> None:
    document = PLAIN | {"label_return_rate": rate}
    html = page.render(document, {})
    assert f"<h1>grocer: {word} and spend over 28 days</h1>" in html
    assert (wording.returning(document) is None) == (rate is None)
    assert ("read lapse, not churn" in html) == (word == "lapse")


def test_the_grade_is_told_with_its_reasons() -> None:
    html = page.render(PLAIN | {"grade": {"letter": "C", "why": "Grade C: the total is off.", "rules": []}}, {})
    assert "<b>C</b>grade" in html and "Grade C: the total is off." in html
    assert "grade" not in page.render(PLAIN, {}).split("</section>")[0]


def test_whether_the_development_line_was_crossed_is_said() -> None:
    assert "No label window ends after 2017-11-13" in wording.look(PLAIN)
    final = PLAIN | {"final": True, "development_until": None}
    assert wording.look(final).startswith("A final backtest") and "so far: 1." in wording.look(final)
    assert wording.season(PLAIN).startswith("Season unseen: labels cover 0.6 years")


def test_everything_that_people_named_is_escaped() -> None:
    evil = '<script>alert("1")</script>&'
    document = copy.deepcopy(PLAIN) | {"dataset": evil, "currency": evil, "season_note": evil}
    document["policies"][0] |= {"source": evil, "policy": evil, "action": evil}
    document["strata"][-1] |= {"by": f"attribute:t.{evil}", "stratum": evil}
    document["ladder"][1] |= {"note": evil, "rung": evil}
    document["champion_minus_best"]["churn_auroc"]["rung"] = evil
    html = page.render(document, {})
    assert "<script" not in html and html.count("&lt;script&gt;") >= 9 and "</script>&amp;" not in html


def test_the_page_needs_nothing_from_outside(tmp_path: Path) -> None:
    path = report.write(judged.document(), tmp_path / "deep")
    html = path.read_text(encoding="utf-8")
    assert not re.search(r"https?:|//|<script|<link|@import|url\(|\son\w+=", re.sub(r"base64,[^\"]*", "", html))
    assert "default-src 'none'" in html and html.count('src="') == len(backtest_figures.NAMES)
    for name in backtest_figures.NAMES:
        png = (tmp_path / "deep" / f"{name}.png").read_bytes()
        assert png.startswith(b"\x89PNG") and base64.b64encode(png).decode() in html
    assert json.loads((tmp_path / "deep" / "backtest.json").read_text()) == PLAIN


def test_a_picture_without_numbers_is_left_out_and_an_old_one_removed(tmp_path: Path) -> None:
    report.write(judged.document(), tmp_path)
    html = report.write(judged.without_spend(), tmp_path).read_text(encoding="utf-8")
    assert {p.stem for p in tmp_path.glob("*.png")} == {"ladder", "reliability", "gains", "strata"}
    assert "Spend by tenth" not in html and "Intervals of spend" not in html and "Gini, spend" not in html


def test_without_money_no_number_of_spend_is_shown() -> None:
    head, *rows = cells(page.render(NO_MONEY, {}), "The ladder")
    assert head == ["rung", "AUC", "log loss", "ECE - floor", "lift", "EMPC"] and len(rows) == 8
    assert "None" not in text(money=False) and "nan" not in text(money=False).split()


def test_a_document_with_nothing_in_its_lists_is_still_a_page() -> None:
    lists = {k: [] for k in ("reliability", "deciles", "lift", "strata", "policies", "choices", "intervals", "looks")}
    bare = PLAIN | lists | {"champion_minus_best": {}, "ladder": PLAIN["ladder"][:1], "label_return_rate": None,
                            "clv": None, "targets": {}, "targets_refused": {}}  # fmt: skip
    html = page.render(bare, {})
    assert "Against the best rung" not in html and "CLV" not in html and "Not told in development" in html
    assert "No line met a policy." in page.render(bare | {"final": True}, {})
    assert backtest_figures.draw(bare).keys() == {"ladder", "totals"}


def test_json_that_cannot_be_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        report.write(judged.document(seconds=float("nan")), tmp_path)
    assert list(tmp_path.iterdir()) == []


# --- the words ----------------------------------------------------------------------------------
def test_the_verdicts_name_the_rung_the_difference_and_its_interval() -> None:
    assert [sentence for _, sentence, _ in wording.verdicts(PLAIN)] == [
        "log loss: ahead of logistic, difference -0.0048 (95% interval -0.0091 to -0.0005), lower is better",
        "AUC: level with logistic, difference +0.0031 (95% interval -0.0012 to +0.0074), higher is better",
        "Tweedie: behind single snapshot, difference +0.52 (95% interval +0.21 to +0.83), lower is better",
        "Gini: ahead of single snapshot, difference +0.0091 (95% interval +0.0048 to +0.0134), higher is better",
    ]
    html = page.render(PLAIN, {})
    assert [html.count(f'<li class="{word}">') for word in ("ahead", "level", "behind")] == [2, 1, 1]


def test_where_it_does_not_win() -> None:
    document = copy.deepcopy(PLAIN)
    own = document["ladder"][0]
    own["mean"]["spend_mae"] = 77.0  # single snapshot has 76.88
    own["by_cutoff"][2] |= {"churn_ece": 0.0250, "churn_ece_floor": 0.0131, "churn_log_loss": 0.299}
    said = wording.where_it_does_not_win(document)
    assert (
        "On AUC it is not shown to be better than logistic (95% interval of the difference -0.0012 to +0.0074)." in said
    )
    assert "On Tweedie it is worse than single snapshot (95% interval of the difference +0.21 to +0.83)." in said
    assert "On average MAE is better for single snapshot (76.88) than for this model (77.00)." in said
    assert any(sentence.startswith("On average EMPC is better for recency rule (4.228), ") for sentence in said)
    assert not any("average lift" in sentence or "average Gini" in sentence for sentence in said)
    assert any(
        s.startswith("At 1 of 6 cutoffs another rung has the lower log loss: 2017-09-04 (logistic") for s in said
    )
    assert any("above the floor at 1 of 6 cutoffs, most at 2017-09-04 (0.0250, floor 0.0131)" in s for s in said)
    total = "The predicted total is outside its band at 1 of 6 cutoffs: 2017-10-16 (1.085, band 0.900 to 1.060)."
    assert total in said
    assert "Its expected spends are no better than the group's own mean for 2-3 orders (-0.018, n 243, few)." in said
    html = page.render(document, {})
    assert all(sentence in unescape(html) for sentence in said)


def test_what_looks_equal_is_not_called_better() -> None:
    document = copy.deepcopy(PLAIN)
    for step in document["ladder"]:
        step["mean"]["churn_empc"] = 4.2171 if step["rung"] == "champion" else 4.21712
    assert not any("EMPC" in sentence for sentence in wording.where_it_does_not_win(document))


def test_a_model_that_is_nowhere_behind_is_said_to_be_so() -> None:
    document = copy.deepcopy(PLAIN) | {"champion_minus_best": {}, "strata": [], "targets": {}}
    document["ladder"] = document["ladder"][:1]
    for row in document["ladder"][0]["by_cutoff"]:
        row["spend_total_ratio"] = 1.0
    [sentence] = wording.where_it_does_not_win(document)
    assert sentence.startswith("In nothing that was measured here")


@pytest.mark.parametrize(
    ("low", "ratio", "high", "inside"),
    [
        (0.9, 1.0, 1.1, True),
        (0.9, 0.9, 1.1, True),
        (0.9, 1.11, 1.1, False),
        (0.9, 0.89, 1.1, False),
        (None, 1.0, None, None),
        (0.9, None, 1.1, None),
    ],
)
def test_a_total_is_in_its_band_or_has_none(low: Any, ratio: Any, high: Any, inside: Any) -> None:
    row = {"spend_total_low": low, "spend_total_ratio": ratio, "spend_total_high": high}
    assert wording.in_band(row) is inside


# --- the pictures -------------------------------------------------------------------------------
def test_the_titles_say_what_the_numbers_say() -> None:
    assert titles("ladder")[0] == "log loss: ahead of logistic; Tweedie: behind single snapshot (6 cutoffs)"
    assert titles("totals")[1] == (
        "The total is off by 8.5% at most (too high, 2017-10-16);\nin its band at 5 of 6 cutoffs"
    )
    assert titles("gains")[1] == "The riskiest fifth holds 58% of those who lapse; logistic: 57%"
    assert titles("strata")[0].startswith("Weakest: 2-3 orders (spend), no better than")
    mean = PLAIN["ladder"][0]["mean"]
    assert f"error {mean['churn_ece']:.4f}, a perfect" in titles("reliability")[1]
    top = PLAIN["deciles"][-1]
    assert f"expected {top['expected_spend']:,.0f}, spent {top['spend']:,.0f} USD" in titles("deciles")[1]


def test_the_ladder_marks_every_cutoff_and_the_mean() -> None:
    churn, spend = drawn()["ladder"].axes
    model = PLAIN["ladder"][0]
    dots, mean = churn.lines[:2]
    assert list(dots.get_xdata()) == [row["churn_log_loss"] for row in model["by_cutoff"]]
    assert list(mean.get_xdata()) == [model["mean"]["churn_log_loss"]]
    assert (len(churn.lines), len(spend.lines)) == (2 * 6, 2 * 6)  # six rungs each have that head
    assert sum(note.get_text() == "does not apply" for note in churn.texts) == 2


def test_the_band_of_the_totals_is_drawn_where_there_is_one() -> None:
    document = copy.deepcopy(PLAIN)
    document["ladder"][0]["by_cutoff"][0] |= {"spend_total_low": None, "spend_total_high": None}
    figure = backtest_figures.totals(document)
    assert figure is not None
    axes = figure.axes[0]
    assert [(bar.get_y(), bar.get_y() + bar.get_height()) for bar in axes.patches] == [pytest.approx((0.9, 1.06))] * 5


# --- the sales forecast ---------------------------------------------------------------------------
def test_a_forecast_has_its_section_picture_and_numbers(tmp_path: Path) -> None:
    html = report.write(judged.document(forecast=judged.forecast()), tmp_path).read_text(encoding="utf-8")
    assert (tmp_path / "forecast.png").read_bytes().startswith(b"\x89PNG")
    assert cells(html, "Sales of the next horizon") == [
        ["of", "expected", "low", "high"], ["known customers", "123,457", "111,119", "134,561"],
        ["new customers", "7,919", "6,007", "9,973"], ["total", "131,376", "117,223", "145,513"],
    ]  # fmt: skip
    said = unescape(html)
    assert "are to bring 131,376 USD, in 9 of 10 cases 117,223 to 145,513; 7,919 of it from customers who" in said
    assert "off by 4.2% on average, and by 5.2% where the last horizon is repeated; 3 of the 4 that had a band" in said
    assert html.count('src="') == len(backtest_figures.NAMES) + 1
    without = report.write(judged.document(forecast=None), tmp_path).read_text(encoding="utf-8")
    assert "Sales of the next" not in without and not (tmp_path / "forecast.png").exists()


# --- the command --------------------------------------------------------------------------------
@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """The command on made-up results: nothing is read, trained or recorded."""
    asked: list[bool] = []

    def judge(settings: Config, log: Any, final: bool = False, say: Any = None) -> dict[str, Any]:
        asked.append(final)
        return judged.document(final=final)

    monkeypatch.setattr(backtest, "run", judge)
    monkeypatch.setattr(events, "read_log", lambda settings: None)
    monkeypatch.setattr(tracking, "prepare", lambda settings: "1")
    monkeypatch.setattr(tracking, "log_backtest", lambda settings, document, folder: f"run of {folder.name}")
    (tmp_path / "shop.yaml").write_text(f"dataset: shop\nout: {tmp_path / 'out'}\n")

    def call(*options: str) -> tuple[Any, list[bool]]:
        return CliRunner().invoke(cli.app, ["backtest", str(tmp_path / "shop.yaml"), *options]), asked

    return call


def test_the_command_prints_ladder_cutoffs_verdicts_groups_and_where_the_report_is(run: Any, tmp_path: Path) -> None:
    result, asked = run()
    assert result.exit_code == 0, result.output
    assert asked == [False]
    shown = " ".join(result.stdout.split())
    for sentence in (wording.question(PLAIN), wording.returning(PLAIN), *wording.where_it_does_not_win(PLAIN)):
        assert sentence in shown
    assert all(sentence in shown for _, sentence, _ in wording.verdicts(PLAIN))
    assert all(wording.rung(step["rung"]) in shown for step in PLAIN["ladder"])
    assert all(row["cutoff"] in shown for row in PLAIN["ladder"][0]["by_cutoff"])
    assert "0.8625" in shown and "2-3 orders" in shown and "3 independent" in shown
    page_at = tmp_path / "out" / "backtest" / "shop-h28" / "report.html"
    assert str(page_at) in shown and page_at.is_file()


def test_the_command_as_json_into_a_folder_of_ones_own(run: Any, tmp_path: Path) -> None:
    result, asked = run("--json", "--final", "--out", str(tmp_path / "mine"))
    document = json.loads(result.stdout)
    assert asked == [True] and document["final"] is True and document["run_id"] == "run of mine"
    assert document["report"] == str(tmp_path / "mine" / "report.html") and (tmp_path / "mine" / "ladder.png").is_file()


def test_the_forecast_stays_before_the_development_line(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """In development the log is cut at the line first; finally it is taken whole; what cannot be foretold is said."""
    cuts: list[Any] = []
    monkeypatch.setattr(forecast, "run", lambda settings, log, say: cuts.append(log) or judged.forecast())
    monkeypatch.setattr(timeline, "until", lambda log, line: f"until {line}")
    result, _ = run("--forecast")
    assert result.exit_code == 0 and "Sales forecast" in result.stdout and "131,376" in result.stdout
    assert json.loads(run("--forecast", "--final", "--json")[0].stdout)["forecast"] == judged.forecast()
    assert cuts == [f"until {PLAIN['development_until']}", None]
    assert json.loads(run("--json")[0].stdout)["forecast"] is None and len(cuts) == 2

    def refuse(settings: Any, log: Any, say: Any) -> Any:
        raise UserError("forecast: no origin fits.")

    monkeypatch.setattr(forecast, "run", refuse)
    result, _ = run("--forecast", "--json")
    assert result.exit_code == 0 and json.loads(result.stdout)["forecast"] is None
    assert "no sales forecast: no origin fits." in " ".join(result.stderr.split())


@pytest.mark.parametrize("final", [False, True])
def test_a_store_that_is_lost_at_the_end_hides_no_ladder(
    run: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, final: bool
) -> None:
    """All is shown, and the error says where it stands and how it gets into the store."""

    def refuse(settings: Any, document: Any, folder: Any) -> str:
        raise tracking.STORE_ERRORS[0]("API request failed\n  with much more")

    monkeypatch.setattr(tracking, "log_backtest", refuse)
    result, _ = run(*["--final"] * final)
    assert "Means over 6 test cutoffs" in result.stdout and "run not recorded" in result.stdout
    assert isinstance(result.exception, UserError)
    said = str(result.exception)
    assert "did not take the run (API request failed)" in said and str(tmp_path / "out") in said
    assert "backtest.json" in said and "run the same command again" in said and ("a second look" in said) is final
    found = json.loads(run("--json")[0].stdout)
    assert found["run_id"] is None and found["not_recorded"] == "API request failed" and Path(found["report"]).is_file()
