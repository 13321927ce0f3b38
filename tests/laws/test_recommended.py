"""The best action of each customer: in the scoring's files, in the table and in the service's answer the same."""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import segmented
import shop
import tiny

from churn_clv import batch, playbook, scoretable
from churn_clv.bundle import Bundle
from churn_clv.service import answers, reading
from churn_clv.service.contract import PredictRequest

NOW = dt.datetime(2024, 7, 1, 12, tzinfo=dt.UTC)
OWN = """
on_top: false
actions:
  mail: {channel: email, contact: 0.001, offer: 0, save_rate: 0.05, take_rate: 0}
  coupon: {channel: email, contact: 0.1, offer: 2, save_rate: 0.5, take_rate: 0.3}
playbook:
  ranked: {when: [{column: clv_12m, top_share: 0.5}], actions: []}
  steady: {when: [{column: lifecycle_stage, is_in: [mature, growing]}], actions: [mail]}
  all: {actions: [mail, coupon]}
"""


@pytest.fixture(scope="module")
def served() -> Bundle:
    return segmented.served()


@pytest.fixture
def own(tmp_path: Path) -> playbook.Actions:
    path = tmp_path / "own.yaml"
    path.write_text(OWN, encoding="utf-8")
    found = playbook.own([path])
    assert found is not None
    return found


def request(plain: pl.DataFrame, served: Bundle, **more: Any) -> reading.Histories:
    told = plain.with_columns(pl.col("time").dt.to_string("iso:strict"))
    customers = [
        {"customer_id": name, "events": [{k: v for k, v in row.items() if v is not None} for row in
                                         rows.drop("customer_id").to_dicts()]}
        for (name,), rows in told.group_by("customer_id", maintain_order=True)
    ]  # fmt: skip
    body = {"customers": customers, "cutoff": tiny.TRAINED_THROUGH.isoformat(), **more}
    return reading.read(PredictRequest.model_validate_json(json.dumps(body)), served, NOW)


def test_files_table_and_service_say_the_same(served: Bundle, own: playbook.Actions, tmp_path: Path) -> None:
    plain = tiny.plain_log()
    settings = shop.settings(tmp_path, plain)
    told = shop.score(settings, served, actions=own)
    scores = shop.scores(told)
    expected = {row["customer_id"]: {c: row[c] for c in playbook.COLUMNS} for row in scores.to_dicts()}
    assert scores["recommended_action"].n_unique() == 3  # mail, coupon and none
    steady = pl.col("lifecycle_stage").is_in(["mature", "growing"])
    assert set(scores.filter(steady)["recommended_action"].drop_nulls()) == {"mail"}
    assert "mail" not in scores.filter(~steady)["recommended_action"]
    mixed = [request(plain, served, action=True), request(plain, served), request(plain, served, segments=True)]
    asked, without, placed = (
        json.loads(text)["predictions"]
        for text in answers.answer(mixed, served, actions=own)  # type: ignore[arg-type]
    )
    reader = scoretable.open_reader(batch.table_url(settings))
    kept = reader.find(settings.registered_name, list(expected)).answers
    assert kept.keys() == expected.keys()
    for one in asked:
        name = one["customer_id"]
        if name not in expected:
            assert one["action"] is None
            continue
        wanted = expected[name] if expected[name]["value_at_risk"] is not None else None
        assert one["action"] == json.loads(kept[name])["action"] == wanted
        assert one["segments"] is None
    assert sum(one["action"] is not None for one in asked) > 20
    assert all(one["action"] is None for one in (*without, *placed))


def test_without_actions_there_are_no_columns_and_with_others_the_scoring_is_made_anew(
    served: Bundle, own: playbook.Actions, tmp_path: Path
) -> None:
    """The shipped rates are nobody's: a scoring without files of actions recommends nothing."""
    settings = shop.settings(tmp_path)
    first = shop.score(settings, served)
    assert not set(playbook.COLUMNS) & set(shop.scores(first).columns)
    second = shop.score(settings, served, actions=own)
    assert not second["already_scored"] and set(playbook.COLUMNS) <= set(shop.scores(second).columns)
    assert shop.score(settings, served, actions=own)["already_scored"]
    dearer = own.model_copy(update={"margin_share": 0.9})
    third = shop.score(settings, served, actions=dearer)
    assert not third["already_scored"]
    found = shop.score(settings, served)
    assert not found["already_scored"] and shop.scores(found).equals(shop.scores(first))
    text = answers.answer([request(tiny.plain_log(), served, action=True)], served)[0]
    assert all(one["action"] is None for one in json.loads(text)["predictions"])  # type: ignore[arg-type]


def test_others_do_not_matter(served: Bundle, own: playbook.Actions) -> None:
    scores = served.score_log(segmented.log(200).frame, tiny.TRAINED_THROUGH)
    whole = playbook.recommend(own, scores, 0.3)
    half = playbook.recommend(own, scores.gather_every(2), 0.3)
    assert half.equals(whole.gather_every(2)) and whole["recommended_action"].n_unique() == 3
    assert playbook.recommend(own, scores.clear(), 0.3).is_empty()
