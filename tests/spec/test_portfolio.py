"""The document, the pictures and the command of segments; logs that lack something: said, nothing made up."""

from __future__ import annotations

import dataclasses
import datetime as dt
import json
import math
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import segmented
import tiny
from typer.testing import CliRunner

from churn_clv import bundle, cli, config, portfolio, portfolio_figure, publish, segmentation, segments
from churn_clv.errors import UserError

END = tiny.TRAINED_THROUGH
BEFORE = END - dt.timedelta(days=84)


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    return portfolio.run(segmented.served(), segmented.log(), against=BEFORE)


def test_every_customer_is_counted_once(document: dict[str, Any]) -> None:
    scores = segmented.served().score_log(segmented.log().frame, END)
    assert document["customers"] == scores.height
    for column, rows in document["segments"].items():
        assert sum(r["customers"] for r in rows) == scores.height
        assert math.fsum(r["clv"] or 0.0 for r in rows) == pytest.approx(scores["clv_24m"].sum())
        for row in rows:
            own = scores.filter(pl.col(column).fill_null("none") == row["segment"])
            assert row["customers"] == own.height
            if own.height:
                assert row["clv"] == pytest.approx(own["clv_24m"].sum())
                assert row["share"] == own.height / scores.height


def test_the_matrix_is_the_tiers_by_the_cells(document: dict[str, Any]) -> None:
    rows = document["matrix"]
    assert [(r["tier"], r["risk"], r["cell"]) for r in rows] == [
        ("core", ["safe"], "protect"), ("core", ["at_risk"], "win_back"), ("potential", ["safe"], "grow"),
        ("potential", ["at_risk"], "win_back"), ("low", ["safe"], "grow"), ("low", ["at_risk"], "let_go"),
    ]  # fmt: skip
    cells = {r["segment"]: r["customers"] for r in document["segments"]["value_risk"]}
    for name in ("protect", "win_back", "grow", "let_go"):
        assert sum(r["customers"] for r in rows if r["cell"] == name) == cells[name]


def test_the_flows_add_up_to_both_scorings(document: dict[str, Any]) -> None:
    served, frame = segmented.served(), segmented.log().frame
    before = served.score_log(frame, BEFORE)
    for column, moves in document["migration"].items():
        flows = moves["flows"]
        assert moves["stayed"] + moves["moved"] == before.height and moves["gone"] == 0
        for row in document["segments"][column]:
            assert sum(f["customers"] for f in flows if f["to"] == row["segment"]) == row["customers"]
        for name, count in before[column].fill_null("none").value_counts().rows():
            assert sum(f["customers"] for f in flows if f["from"] == name) == count
        total = math.fsum(f["money_before"] or 0.0 for f in flows)
        assert total == pytest.approx(before["clv_24m"].sum())
    assert document["in_sample"] and not portfolio.run(served, segmented.log())["in_sample"]


def test_the_pictures(document: dict[str, Any], tmp_path: Path) -> None:
    drawn = portfolio_figure.draw(document)
    assert set(drawn) == {"segments_matrix", "segments_flows_lifecycle_stage", "segments_flows_value_tier"}
    words = [t.get_text() for t in drawn["segments_matrix"].axes[0].texts]
    first = document["matrix"][0]
    assert "protect" in words and any(w.startswith(f"{first['customers']:,} customers") for w in words)
    assert set(portfolio_figure.draw(document | {"migration": None})) == {"segments_matrix"}


def test_what_cannot_be_asked_is_refused() -> None:
    served, log = segmented.served(), segmented.log()
    with pytest.raises(UserError, match="does not lie before the cutoff"):
        portfolio.run(served, log, against=END)
    with pytest.raises(UserError, match=r"before there were segments\. Train again"):
        portfolio.run(segmented.plain(), log)


# --- logs that lack something ---------------------------------------------------------------------
def learnt(plain: pl.DataFrame, **changes: Any) -> tuple[dict[str, Any], pl.DataFrame]:
    """The document and the scores of a log by a bundle whose segments were learnt from it."""
    own = dataclasses.replace(segmented.plain(), **changes)
    log = segmented.log_of(plain)
    own = dataclasses.replace(own, segments=segmentation.learn(own, log))
    return portfolio.run(own, log), own.score_log(log.frame, log.ends)


def bought(*days_ago: int, count: int = 30, kind: str = "purchase") -> pl.DataFrame:
    """So many customers with one event each so many days before the end."""
    times = [dt.datetime.combine(END, dt.time(12)) - dt.timedelta(days=d) for d in days_ago]
    rows = [{"customer_id": f"n{n}", "time": t, "event_type": kind, "amount": 10.0 + n if kind == "purchase" else None}
            for n in range(count) for t in times]  # fmt: skip
    return pl.DataFrame(rows, schema_overrides={"amount": pl.Float64})


def said(document: dict[str, Any]) -> str:
    return " | ".join(document["notes"] + document["empty"])


def test_everyone_is_new() -> None:
    document, scores = learnt(bought(3))
    assert set(scores["lifecycle_stage"]) == {"new"} and scores["cluster"].null_count() == 30
    words = said(document)
    assert "the log does not reach the median time from first to second purchase: 56 days are taken" in words
    assert "nobody 'mature' at training, 10 are needed: no percentile within that stage" in words
    few, scores = learnt(bought(3, count=9))
    assert "9 'new' at training, 10 are needed" in said(few) and scores["stage_percentile"].null_count() == 9
    assert "no clusters: 30 customers have bought, 200 are needed" in words
    assert "rfm_recency: nobody has level 1, 2, 4, 5" in words and "lifecycle_stage 'lapsed': nobody" in words
    assert portfolio_figure.draw(document)


def test_nobody_has_bought() -> None:
    document, scores = learnt(bought(3, kind="visit"))
    assert set(scores["lifecycle_stage"]) == set(scores["rfm_group"]) == {"prospect"}
    assert scores["value_risk"].null_count() == 30 and scores["rfm_recency"].null_count() == 30
    assert "nobody has bought: no RFM scores" in said(document)
    assert "segments_flows_value_tier" not in portfolio_figure.draw(document)


def test_without_money() -> None:
    """No CLV: stages and RFM stay, tiers only where the stage tells one."""
    reference = dataclasses.replace(segmented.plain().reference, retention=None)
    document, scores = learnt(tiny.plain_log(), reference=reference)
    assert scores["stage_percentile"].null_count() == scores.height
    assert set(scores["value_tier"].drop_nulls()) == {"potential"}
    assert "nobody has a CLV" in said(document)
    assert all(r["clv"] is None for rows in document["segments"].values() for r in rows)
    assert portfolio_figure.draw(document)


def test_without_products_or_discounts_clusters_say_what_they_do_without() -> None:
    own = tiny.tiny_bundle(columns=("amount",), watched={}, contracts={}, plans={})
    heads = tuple(h for h in own.heads if h.target in ("churned", "spend", "spend_if_active"))
    bare = dataclasses.replace(own, heads=heads, reference=dataclasses.replace(own.reference, targets={}))
    found = segmentation.learn(bare, segmented.log(260))
    assert "clusters do without discount_share: this log has no such feature" in found.notes


def test_a_rule_about_engagement_that_the_log_has_not_is_said() -> None:
    own = tiny.tiny_bundle(event_types=("purchase", "return"), contracts={}, plans={})
    heads = tuple(h for h in own.heads if h.target in ("churned", "spend", "spend_if_active"))
    rules = [{"name": n, "when": [{"engagement": {"at_least": 1}}]} for n in ("core", "potential", "low")]
    settings = config.load(dataset="tiny", segments={"value_tiers": rules})
    bare = dataclasses.replace(
        own, heads=heads, config=settings, reference=dataclasses.replace(own.reference, targets={})
    )
    found = segmentation.learn(bare, segmented.log())
    assert "rules name engagement, and the log has no events beside purchases and returns" in found.notes
    served = dataclasses.replace(bare, segments=found)
    assert served.score_log(segmented.log().frame, END)["value_tier"].null_count() > 0


def test_rules_about_features_are_checked_before_training() -> None:
    """A feature of the log is taken; what is none is refused, with the nearest name; so are rules that do not fit."""

    def own(name: str) -> config.Config:
        tiers = [{"name": n, "when": [{name: {"at_least": 1}}]} for n in ("core", "potential", "low")]
        return config.load(dataset="tiny", events={"timezone": tiny.ZONE}, segments={"value_tiers": tiers})

    segmentation.check(segmented.log(), own("visit_events"))
    segmentation.check(segmented.log(), own("spend"))
    with pytest.raises(
        UserError, match=r"'visit_event' is no quantity or feature of this log\. Did you mean 'visit_even"
    ):
        segmentation.check(segmented.log(), own("visit_event"))


# --- the command ----------------------------------------------------------------------------------
def shop(folder: Path) -> Path:
    """A config whose log is the tiny bundle's own, with a bundle with segments published."""
    log = tiny.plain_log()
    log.write_parquet(folder / "log.parquet")
    sources = {"log": {"path": str(folder / "log.parquet"), "map": {c: c for c in log.columns}}}
    own = config.load(dataset="tiny", out=str(folder / "out"),
                      events={"timezone": tiny.ZONE, "sources": sources, "ends": END})  # fmt: skip
    (folder / "shop.yaml").write_text(config.to_yaml(own))
    bundle.save(segmented.served(), folder / "bundle")
    publish.publish(folder / "bundle", own.bundles_folder)
    return folder / "shop.yaml"


def test_the_command(tmp_path: Path) -> None:
    path = shop(tmp_path)
    given = CliRunner().invoke(cli.app, ["segments", str(path), "--json"])
    assert given.exit_code == 0, given.output
    found = json.loads(given.stdout)
    assert (
        found["migration"] is None and found["pictures"] == [] and set(found["segments"]) == set(segments.SEGMENTATIONS)
    )
    own = ["--against", str(BEFORE), "--out", str(tmp_path / "pictures")]
    shown = CliRunner().invoke(cli.app, ["segments", str(path), *own])
    assert shown.exit_code == 0, shown.output
    for words in (
        "Value tiers (value_tier)",
        f"Lifecycle from {BEFORE} to {END}",
        "the largest moves by CLV",
        "in sample",
    ):
        assert words in shown.stdout, words
    assert len(list((tmp_path / "pictures").glob("*.png"))) == 3
    wrong = CliRunner().invoke(cli.app, ["segments", str(path), "--against", "soon"])
    assert isinstance(wrong.exception, UserError) and "not a date" in str(wrong.exception)
