"""The report: every section is there or says what is missing; escaped, whole in itself, with the parts' numbers."""

from __future__ import annotations

import copy
import csv
import dataclasses
import datetime as dt
import json
import math
import re
from html import unescape
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import segmented
import shop
import tiny
from reported import base, drawn, settings
from typer.testing import CliRunner

from churn_clv import (
    bundle,
    cli,
    config,
    events,
    ledger,
    overview,
    overview_figure,
    overview_page,
    playbook,
    publish,
    scoring,
)
from churn_clv.errors import UserError
from churn_clv.overview_page import _words

END = tiny.TRAINED_THROUGH
HORIZON = dt.timedelta(days=tiny.HORIZON)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("report")


def page(document: dict[str, Any]) -> str:
    """Without its pictures, which take seconds to write."""
    return overview_page.render(document, {})


def text(html: str) -> str:
    return unescape(re.sub(r"<[^>]+>", "\n", html.partition("<body>")[2]))


# --- the document -----------------------------------------------------------------------------------
def test_every_section_is_there_or_says_what_is_missing(place: Path) -> None:
    document = base(place)
    for name in overview.SECTIONS:
        assert (document[name]["missing"] is None) == (document[name]["how"] is None), name
    gone = {name for name in overview.SECTIONS if document[name]["missing"] is not None}
    assert gone == {"realised", "ledger"}
    json.dumps(document, allow_nan=False)


def test_its_numbers_are_those_of_the_parts(place: Path) -> None:
    document = base(place)
    scores = segmented.served().score_log(segmented.log().frame, END)
    assert document["customers"] == scores.height and document["eligible"] == scores.filter("eligible").height
    rows = {row["name"]: row for row in document["kpis"]["rows"]}
    assert rows["clv"]["value"] == pytest.approx(scores["clv_24m"].mean())
    assert rows["clv:core"]["n"] == scores.filter(pl.col("value_tier") == "core").height
    assert rows["clv:core"]["before"]["value"] is not None  # the earlier date was scored as well
    balance = document["kpis"]["balance"]
    assert balance["active_end"] == balance["active_start"] - balance["lapsed"] + balance["new"] + balance["won_back"]
    assert document["plan"]["value_at_risk"] == pytest.approx(document["drivers"]["at_risk"], rel=1e-6)


def test_drivers_add_up_to_the_money_at_risk(place: Path) -> None:
    found = base(place)["drivers"]
    whole = math.fsum(row["raises"] + row["lowers"] for row in found["themes"])
    assert found["base"] + whole == pytest.approx(found["at_risk"])


def test_drivers_by_hand() -> None:
    """From log-odds 0 (one half) to ln 3 (three quarters): 25 of 100 more, shared 2 to -1. At the base: its slope."""
    parts = np.array([[2 * math.log(3), 1.0], [-math.log(3), -1.0]])
    found = overview.in_money(0.0, parts, np.array([100.0, 100.0]))
    assert found[:, 0] == pytest.approx([50, -25])
    assert found[:, 1] == pytest.approx([25, -25])


def test_tenths_by_hand() -> None:
    frame = pl.DataFrame({"churn_probability": [k / 20 for k in range(20)], "churned": [0.0] * 18 + [1.0, 1.0],
                          "expected_spend": [10.0] * 20, "spend": [float(k) for k in range(20)]})  # fmt: skip
    rows = overview.tenths(frame.sample(fraction=1, shuffle=True, seed=1))
    assert [row["n"] for row in rows] == [2] * 10
    assert rows[0]["predicted"] == pytest.approx(0.025) and rows[9]["predicted"] == pytest.approx(0.925)
    assert [row["lapsed"] for row in rows] == [0] * 9 + [1]
    assert (rows[9]["spend"], rows[9]["expected_spend"]) == (37, 20)


def test_a_closed_scoring_is_held_to_account(place: Path) -> None:
    """A scoring written by hand, one horizon before the end: two of three lapsed."""
    own = settings(place / "closed")
    day = dt.datetime(2024, 5, 10)
    log = events.from_frame(
        pl.DataFrame({"customer_id": ["a", "b", "c", "a"], "amount": [5.0, 5.0, 5.0, 30.0],
                      "time": [dt.datetime(2024, 4, 20)] * 3 + [day], "event_type": ["purchase"] * 4}),
        events.rules_of(own.events), END)  # fmt: skip
    cutoff = END - HORIZON
    folder = scoring.scores_folder(own) / f"cutoff={cutoff}" / "model=x"
    folder.mkdir(parents=True)
    pl.DataFrame({"customer_id": ["a", "b", "c", "d"], "eligible": [True, True, True, False], "in_sample": [False] * 4,
                  "churn_probability": [0.2, 0.5, 0.8, None], "expected_spend": [20.0, 10.0, 0.0, None]}
                 ).write_parquet(folder / "part-00000.parquet")  # fmt: skip
    manifest = {"format": 2, "cutoff": str(cutoff), "model_version": "x", "rows": 4, "horizon_days": tiny.HORIZON}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    (one,) = overview.realised(own, log, tiny.HORIZON)["scorings"]
    assert (one["n"], one["predicted"], one["lapsed"]) == (3, pytest.approx(0.5), pytest.approx(2 / 3))
    assert (one["expected_spend"], one["spend"], one["ratio"]) == (30, 30, 1)
    early = dataclasses.replace(log, ends=END - dt.timedelta(days=1))
    assert "can be held" in overview.realised(own, early, tiny.HORIZON)["missing"]


def test_the_dates_must_fit_the_log(place: Path) -> None:
    log = segmented.log()
    for cutoff, against in ((END + dt.timedelta(days=1), None), (tiny.START, None), (END, END)):
        with pytest.raises(UserError, match="lie"):
            overview.run(settings(place), segmented.served(), log, cutoff, against)


# --- bad input: it is said, and nothing crashes -----------------------------------------------------
def run(out: Path, plain: pl.DataFrame, own: Any = None, **more: Any) -> dict[str, Any]:
    log = segmented.log_of(plain)
    return overview.run(settings(out), own or segmented.served(), log, **more)


def can_be_drawn(document: dict[str, Any]) -> str:
    """The page; its pictures are made, too."""
    assert drawn(document)
    return page(document)


def test_a_log_without_products_feedback_or_other_events(place: Path) -> None:
    plain = tiny.plain_log(40).with_columns(product_id=None, category=None, quantity=None, channel=None, value=None)
    document = run(place, plain.filter(pl.col("event_type") == "purchase"))
    assert "neither product nor category" in document["affinity"]["missing"]
    assert "no events besides purchases" in document["journey"]["missing"]
    rows = {row["name"]: row for row in document["kpis"]["rows"]}
    assert "survey" in rows["nps"]["missing"] and "kpis.costs" in rows["cac"]["how"]
    html = can_be_drawn(document)
    assert "neither product nor category" in text(html)


def test_everyone_is_new(place: Path) -> None:
    """All first came in the last two weeks: nobody was there to be retained, or to be scored before."""
    plain = tiny.plain_log(30).filter(pl.col("event_type") == "purchase").unique("customer_id", maintain_order=True)
    times = [dt.datetime(2024, 5, 20) + dt.timedelta(hours=7 * k) for k in range(plain.height)]
    document = run(place, plain.with_columns(time=pl.Series(times)))
    balance = document["kpis"]["balance"]
    assert (balance["active_start"], balance["new"], balance["active_end"]) == (0, plain.height, plain.height)
    rows = {row["name"]: row for row in document["kpis"]["rows"]}
    assert rows["retention"]["missing"] == "nobody to count" and rows["clv"]["before"]["value"] is None
    assert document["segments"]["empty"] and document["segments"]["migration"] is None
    assert "Nobody was scored at the earlier date" in text(can_be_drawn(document))


def test_nobody_is_eligible(place: Path) -> None:
    """All lapsed long ago: no risk, so no drivers, and the plan says why it is empty."""
    plain = tiny.plain_log(30).filter(pl.col("time") < dt.datetime(2023, 10, 1))
    document = run(place, plain)
    assert document["eligible"] == 0 and "no customer is eligible" in document["drivers"]["missing"]
    assert document["plan"]["missing"] is None and document["plan"]["treated"] == 0 and document["plan"]["notes"]
    can_be_drawn(document)


NOBODY = {
    "actions": {"mail": {"channel": "email", "contact": 1.0, "offer": 0, "save_rate": 0.1,
                         "eligible": [{"column": "churn_band", "is_in": ["nobody"]}]}},
    "playbook": {"all": {"actions": ["mail"]}},
}  # fmt: skip


@pytest.mark.parametrize("change", [{"budget": 0.0}, NOBODY])
def test_a_budget_of_zero_or_no_eligible_action(place: Path, change: dict[str, Any]) -> None:
    book = playbook.actions_of(playbook.load_actions().model_dump() | change)
    document = run(place, tiny.plain_log(40), book=book)
    assert document["plan"]["treated"] == 0 and document["plan"]["promised_profit"] == 0
    assert "0 treated" in text(can_be_drawn(document))


def test_a_bundle_without_segments_is_said(place: Path) -> None:
    """Made for 24 months: so its CLV is called, though the config asks for 36 by now."""
    changed = settings(place, clv={"months": [6, 36]})
    log = segmented.log_of(tiny.plain_log(40))
    document = overview.run(changed, segmented.plain(), log)
    assert document["months"] == 24
    assert next(r["title"] for r in document["kpis"]["rows"] if r["name"] == "clv") == "CLV of 24 months, mean"
    one = overview.customer(changed, segmented.plain(), log, log.frame["customer_id"][0])
    assert (one["months"], one["clv"] is None) == (24, False)
    assert "before there were segments" in document["segments"]["missing"]
    assert document["kpis"]["missing"] is None and "clv:core" not in {r["name"] for r in document["kpis"]["rows"]}
    can_be_drawn(document)


# --- the page ---------------------------------------------------------------------------------------
def whole_in_itself(html: str) -> None:
    """No script, nothing from elsewhere, a sentence under every picture, links that go to sections."""
    assert not re.search(r"<script|https?://|src=\"(?!data:)|href=\"(?!#)", html)
    pictures = re.findall(r"<figure.*?</figure>(.{0,30})", html)
    assert len(pictures) >= 9 and all(after.startswith('<p class="says">') for after in pictures)
    names = set(re.findall(r'href="#(\w+)"', html))
    assert names == set(overview.SECTIONS) == set(re.findall(r'<section id="(\w+)"', html))


def test_every_kpi_is_on_the_page(place: Path) -> None:
    document = base(place)
    said = text(page(document))
    for row in document["kpis"]["rows"]:
        assert row["title"] in said
        told = _words.number(row["value"], row["unit"]) if row["value"] is not None else row["missing"]
        assert told in said, row["name"]
    assert "Ann <b>" in said and "<b>Ann" not in page(document)


def test_what_comes_from_data_is_escaped(place: Path) -> None:
    bad = "<script>alert(1)</script>"
    document = copy.deepcopy(base(place))
    document["dataset"] = bad
    document["journey"]["paths"]["lapse"] = [{"path": bad, "n": 1, "share": 1.0}]
    document["watch"] = {
        "missing": None,
        "how": None,
        "customers": [{"customer_id": bad, "changed": bad, "reasons": []}],
    }
    document["ledger"] = {"missing": None, "how": None, "sentences": [bad],
                          "tables": [{"title": bad, "rows": [{bad: bad, "n": 3}]}]}  # fmt: skip
    html = page(document)
    assert "<script>" not in html and html.count("&lt;script&gt;") >= 6


def test_dollar_signs_in_names_are_no_mathematics(place: Path) -> None:
    """Matplotlib reads what stands between two of them as a formula, and fails on one that is none."""
    bad = r"Off_$100% \foo_$ now"
    whole = copy.deepcopy(base(place))
    document = {name: whole[name] for name in ("kpis", "cohorts", "journey", "drivers", "realised", "reliability")}
    document |= {"currency": "USD", "affinity": {"pairs": [{"first": bad, "then": "b", "lift": 1.5}], "within_days": 9}}
    document["journey"]["transitions"] = [{"from": bad, "to": "silence", "n": 1, "share": 1.0}]
    document["journey"]["steps"][0]["event_type"] = bad
    made = overview_figure.draw(document)
    overview_figure.png({name: made[name] for name in ("affinity", "transitions", "steps")})
    one = {"orders": [], "touches": [{"event_type": bad, "day": "2024-01-01"}], "cutoff": "2024-02-01",
           "currency": "USD", "profile": {}, "scores_over_time": []}  # fmt: skip
    overview_figure.png(overview_figure.draw_customer(one))


def test_a_watch_list_that_was_made_is_shown(place: Path) -> None:
    row = {
        "customer_id": "c1", "value_at_risk": 12.5, "churn_probability": 0.61, "since": "2024-05-01",
        "theme": "rhythm", "changed": "opens 6 to 0",
        "reasons": [{"text": "no order for 74 days", "direction": "raises"}],
    }  # fmt: skip
    document = base(place) | {"watch": {"missing": None, "how": None, "customers": [row], "record": {
        "why": None, "cutoffs": [{"cutoff": "2024-05-06"}],
        "lists": {"watch": {"precision": 0.52, "value_caught": 0.088},
                  "recency": {"precision": 0.5, "value_caught": None}},
    }}}  # fmt: skip
    said = text(page(document))
    for part in ("c1", "12.50", "61%", "2024-05-01", "rhythm", "opens 6 to 0", "no order for 74 days",
                 "at 2024-05-06", "52.0%", "8.8%", "the longest silent"):  # fmt: skip
        assert part in said


def test_tables_are_written_whole_and_old_ones_go(place: Path) -> None:
    document, file = base(place), place / "tables" / "report.html"
    folder = overview_page.tables_folder(file)
    folder.mkdir(parents=True)
    for name in ("realised", "segments_cluster", "migration_cluster", "my_notes"):
        (folder / f"{name}.csv").write_text("x")
    document = document | {"segments": {"missing": "no segments", "how": "train"}}
    paths = overview_page.write_tables(document, file)
    assert sorted(p.name for p in folder.iterdir()) == sorted([*(p.name for p in paths), "my_notes.csv"])
    assert all(overview.is_table(p.stem) for p in [*paths, *(Path(name) for name in overview.tables(base(place)))])
    assert {"kpis.csv", "cohorts_retention.csv", "drivers.csv", "plan_curve.csv"} <= {p.name for p in paths}
    with (folder / "kpis.csv").open(newline="") as lines:
        rows = {row["name"]: row for row in csv.DictReader(lines)}
    for row in document["kpis"]["rows"]:
        assert rows[row["name"]]["value"] == ("" if row["value"] is None else str(row["value"]))
        assert rows[row["name"]]["missing"] == (row["missing"] or "")


def test_no_cell_of_a_table_is_a_formula(place: Path) -> None:
    """Ids, items and owners come from elsewhere; numbers below 0 stay numbers."""
    document = copy.deepcopy(base(place))
    bad = ["=cmd|'/c calc'!A1", "+1", "-1", "@SUM(A1)", "\t=1", "tea"]
    document["affinity"]["pairs"] = [{"first": text, "then": "x=y", "lift": -2.5} for text in bad]
    overview_page.write_tables(document, place / "formula.html")
    found = pl.read_csv(overview_page.tables_folder(place / "formula.html") / "affinity.csv")
    assert found["first"].to_list() == [f"'{text}" for text in bad[:-1]] + ["tea"]
    assert found["then"].to_list() == ["x=y"] * 6 and found["lift"].to_list() == [-2.5] * 6


# --- one customer -----------------------------------------------------------------------------------
def test_a_customers_page(place: Path) -> None:
    own, log = segmented.served(), segmented.log()
    scores = own.score_log(log.frame, END)
    who = scores.filter("eligible")["customer_id"][0]
    document = overview.customer(settings(place), own, log, who)
    row = scores.filter(pl.col("customer_id") == who).row(0, named=True)
    assert document["scores"]["churn_probability"] == row["churn_probability"]
    assert document["segments"]["lifecycle_stage"] == row["lifecycle_stage"]
    assert document["reasons"]["reasons"] and document["profile"]["orders"] == len(document["orders"])
    html = overview_page.render_customer(document, overview_figure.png(overview_figure.draw_customer(document)))
    said = text(html)
    for part in (who, f"{row['churn_probability']:.0%}", document["reasons"]["reasons"][0]["text"]):
        assert part in said
    assert not re.search(r"<script|https?://", html)


def test_pages_of_customers_with_little(place: Path) -> None:
    """A prospect, someone who lapsed, and one nobody knows."""
    own, log = segmented.served(), segmented.log()
    scores = own.score_log(log.frame, END)
    for reason in ("lapsed", "prospect"):
        who = scores.filter(pl.col("reason") == reason)["customer_id"][0]
        document = overview.customer(settings(place), own, log, who)
        html = overview_page.render_customer(document, overview_figure.png(overview_figure.draw_customer(document)))
        assert f"not eligible ({reason})" in text(html)
    with pytest.raises(UserError, match="not known"):
        overview.customer(settings(place), own, log, "nobody")


def test_a_customers_page_needs_a_day_of_the_log_and_the_models_money(place: Path) -> None:
    """After the log's end nobody's silence is known; amounts in whole yen are no cents."""
    own, log = segmented.served(), segmented.log()
    who = log.frame["customer_id"][0]
    with pytest.raises(UserError, match="after the log's end"):
        overview.customer(settings(place), own, log, who, END + HORIZON)
    yen = dataclasses.replace(log, rules=dataclasses.replace(log.rules, currency="JPY", minor_units=0))
    with pytest.raises(UserError, match="the model was trained on"):
        overview.customer(settings(place), own, yen, who)


def test_scores_over_time_are_of_one_question(place: Path) -> None:
    """Two stored scorings of a customer: that of another horizon is no point of the line."""
    own, log = settings(place / "line"), segmented.log()
    who = segmented.served().score_log(log.frame, END).filter("eligible")["customer_id"][0]
    for days_ago, horizon, risk in ((60, tiny.HORIZON, 0.2), (30, 2 * tiny.HORIZON, 0.1)):
        cutoff = END - dt.timedelta(days=days_ago)
        folder = scoring.scores_folder(own) / f"cutoff={cutoff}" / "model=x"
        folder.mkdir(parents=True)
        pl.DataFrame({"customer_id": [who], "churn_probability": [risk], "expected_spend": [1.0]}).write_parquet(
            folder / "part-00000.parquet"
        )
        manifest = {"format": 2, "cutoff": str(cutoff), "model_version": "x", "rows": 1, "horizon_days": horizon}
        (folder / "manifest.json").write_text(json.dumps(manifest))
    found = overview.customer(own, segmented.served(), log, who)["scores_over_time"]
    assert [row["cutoff"] for row in found] == [str(END - dt.timedelta(days=60)), str(END)]
    assert found[0]["churn_probability"] == 0.2


# --- the command ------------------------------------------------------------------------------------
def test_the_command(tmp_path: Path) -> None:
    log = tiny.plain_log()
    log.write_parquet(tmp_path / "log.parquet")
    sources = {"log": {"path": str(tmp_path / "log.parquet"), "map": {c: c for c in log.columns}}}
    own = config.load(dataset="tiny", out=str(tmp_path / "out"),
                      events={"timezone": tiny.ZONE, "sources": sources, "ends": END})  # fmt: skip
    overlay = tmp_path / "shop.yaml"
    overlay.write_text(config.to_yaml(own))
    bundle.save(segmented.served(), tmp_path / "bundle")
    publish.publish(tmp_path / "bundle", own.bundles_folder)
    file = tmp_path / "made" / "report.html"
    runner = CliRunner()
    shown = runner.invoke(cli.app, ["report", str(overlay), "--out", str(file), "--json"])
    assert shown.exit_code == 0, shown.output
    document = json.loads(shown.stdout)
    assert document["customers"] == 80 and all(Path(p).is_file() for p in document["tables"])
    whole_in_itself(file.read_text(encoding="utf-8"))
    one = runner.invoke(cli.app, ["report", str(overlay), "--out", str(file.with_name("c.html")), "--customer", "c001"])
    assert one.exit_code == 0 and "Customer c001" in file.with_name("c.html").read_text()
    refused = runner.invoke(cli.app, ["report", str(overlay), "--out", str(tmp_path / "x.pdf")])
    assert isinstance(refused.exception, UserError) and "ends in .html" in str(refused.exception)


# --- what other commands tell -----------------------------------------------------------------------
def test_ledger_and_loyalty_are_the_commands_own(tmp_path: Path) -> None:
    """A scoring whose window has closed: the ledger's numbers as rows, the alarm as a sentence; nothing from later."""
    targets = {
        "churned": {"events": {"is_in": ["purchase"]}, "measure": "absent"},
        "spend": {"events": {"is_in": ["purchase", "return"]}, "measure": "amount", "at_least": 0},
    }
    own, log = shop.settings(tmp_path, targets=targets), segmented.log()
    early = END - HORIZON
    shop.score(own, segmented.served(), table=False, cutoff=early)
    document = overview.run(own, segmented.served(), log)
    expected = ledger.run(own, log, playbook.load_actions(), [])["scorings"][0]
    found = document["ledger"]
    assert found["missing"] is None and "no alarm is possible yet" in found["sentences"][0]
    (row,) = found["tables"][0]["rows"]
    assert row["cutoff"] == early.isoformat() and row["in_sample"] and row["customers"] == expected["customers"]
    assert row["lapse_realised"] == expected["lapse"]["realised"] and row["low"] <= row["lapse_realised"] <= row["high"]
    assert found["tables"][1]["rows"] == []
    shown = text(page(document))
    assert "Scorings against what came" in shown and f"{row['lapse_predicted']:,.4g}" in shown
    assert len(document["watch"]["customers"]) > 10
    assert document["loyalty"]["tables"][0]["rows"][0]["quintile"] == 1
    then = overview.run(own, segmented.served(), log, early)
    assert document["realised"]["scorings"][0]["cutoff"] == early.isoformat() and then["realised"]["missing"]
    assert then["ledger"]["missing"] and {c["cutoff"] for c in then["watch"]["customers"]} == {early.isoformat()}
    assert then["loyalty"]["cutoff"] == early.isoformat()
