"""Segments are frozen with the model: blind to the future, blind to others, the same alone as in a batch."""

from __future__ import annotations

import dataclasses
import datetime as dt
import json
import random
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import segmented
import tiny

from churn_clv import bundle, scoretable, segmentation, segments, timeline
from churn_clv.segments import _lifecycle
from churn_clv.service import answers, reading
from churn_clv.service.contract import PredictRequest
from churn_clv.service.replies import Prediction

END = tiny.TRAINED_THROUGH
CUTOFF = END - dt.timedelta(days=140)
COLUMNS = ["customer_id", "cutoff", *segments.COLUMNS]


@pytest.fixture(scope="module")
def served() -> bundle.Bundle:
    return segmented.served()


def scored(own: bundle.Bundle, frame: pl.DataFrame, cutoff: dt.date = CUTOFF) -> pl.DataFrame:
    return own.score_log(frame, cutoff).select(COLUMNS)


@pytest.fixture(scope="module")
def batch(served: bundle.Bundle) -> pl.DataFrame:
    """200 customers, of whom the segments were learnt from 80, 20 weeks before the end; every segment has someone."""
    found = scored(served, segmented.log(200).frame)
    assert found.height > 150
    for column in ("value_tier", "value_risk", "cluster"):
        assert set(found[column].drop_nulls()) == set(served.segments.names(column)), column  # type: ignore[union-attr]
    assert set(found["lifecycle_stage"]) == set(segments.STAGES)
    assert found["stage_percentile"].n_unique() > 20 and found["rfm_group"].n_unique() > 8
    return found


def test_one_customer_alone_is_as_in_the_batch_to_the_bit(served: bundle.Bundle, batch: pl.DataFrame) -> None:
    frame = segmented.log(200).frame
    for customer in random.Random(1).sample(batch["customer_id"].to_list(), 40):
        alone = scored(served, frame.filter(customer_id=customer))
        assert alone.equals(batch.filter(customer_id=customer)), customer


def test_others_do_not_matter(served: bundle.Bundle, batch: pl.DataFrame) -> None:
    """Half of the customers gone: nobody left moves."""
    kept = batch["customer_id"].gather_every(2).to_list()
    found = scored(served, segmented.log(200).frame.filter(pl.col("customer_id").is_in(kept)))
    assert found.equals(batch.filter(pl.col("customer_id").is_in(kept)))


def test_blind_to_the_future(served: bundle.Bundle, batch: pl.DataFrame) -> None:
    """Nothing that happens at or after the cutoff counts, nor more of it."""
    frame, day = segmented.log(200).frame, pl.col("time").dt.date()
    before = frame.filter(day < CUTOFF)
    assert before.height < frame.height
    assert scored(served, before).equals(batch)
    later = pl.concat([frame, frame.filter(day >= CUTOFF).with_columns(amount=pl.col("amount") * 9)])
    assert scored(served, later).equals(batch)
    # and an event on the eve does count
    late = dt.datetime.combine(CUTOFF, dt.time()) - dt.timedelta(microseconds=1)
    eve = before.filter(event_type="purchase").tail(1).with_columns(time=pl.lit(late, dtype=before.schema["time"]))
    assert not scored(served, pl.concat([before, eve])).equals(batch)


def test_row_order_does_not_matter(served: bundle.Bundle, batch: pl.DataFrame) -> None:
    assert scored(served, segmented.log(200).frame.sample(fraction=1, shuffle=True, seed=3)).equals(batch)


def test_several_cutoffs_in_one_call_equal_the_calls_one_by_one(served: bundle.Bundle, batch: pl.DataFrame) -> None:
    frame, other = segmented.log(200).frame, CUTOFF + dt.timedelta(days=30)
    pairs = timeline.pairs_of(frame["customer_id"].unique(), [CUTOFF, other])
    found = served.score_pairs(frame, pairs).select(COLUMNS)
    assert found.equals(pl.concat([batch, scored(served, frame, other)]))


def test_a_saved_bundle_gives_the_same_and_a_changed_file_is_refused(
    served: bundle.Bundle, batch: pl.DataFrame, tmp_path: Path
) -> None:
    folder = tmp_path / "bundle"
    bundle.save(served, folder)
    loaded = bundle.load_bundle(folder)
    assert loaded.segments == bundle.segments_of(folder) == served.segments
    assert scored(loaded, segmented.log(200).frame).equals(batch)
    path = folder / "segments.json"
    path.write_text(path.read_text().replace('"champions"', '"chumps"'))
    with pytest.raises(bundle.BundleError, match=r"1 of \d+ files do not match the manifest \(segments.json\)"):
        bundle.load_bundle(folder)
    assert bundle.segments_of(folder) is None and bundle.segments_of(tmp_path) is None


def test_a_bundle_without_segments_scores_as_before(tiny_bundle: bundle.Bundle) -> None:
    assert tiny_bundle.segments is None
    found = tiny_bundle.score_log(segmented.log().frame, CUTOFF)
    assert not set(segments.COLUMNS) & set(found.columns)
    same = [c for c in found.columns if c != "model_version"]
    assert segmented.served().score_log(segmented.log().frame, CUTOFF).select(same).equals(found.select(same))


def test_the_lean_way_to_score_gives_the_same(served: bundle.Bundle, batch: pl.DataFrame) -> None:
    """Without targets of one's own only the eligible get features; all get segments."""
    core = tuple(h for h in served.heads if h.target not in served.reference.targets)
    bare = dataclasses.replace(served, heads=core, reference=dataclasses.replace(served.reference, targets={}))
    assert scored(bare, segmented.log(200).frame).equals(batch)


def test_history_decides_on_stages_never_the_model(served: bundle.Bundle, batch: pl.DataFrame) -> None:
    """Another model with the same frozen segments: risks and tiers move, stages, scores, groups and clusters do not."""
    other = dataclasses.replace(tiny.tiny_bundle(2), segments=served.segments)
    found = scored(other, segmented.log(200).frame)
    by_history = ["customer_id", *segments.SCORES, "rfm_group", "lifecycle_stage", "cluster"]
    assert found.select(by_history).equals(batch.select(by_history))
    assert not found["stage_percentile"].equals(batch["stage_percentile"])


def test_what_is_learnt_is_learnt_before_the_end() -> None:
    """The rhythm as of a cutoff is the one of a log that ends there; learning twice gives the same."""
    log, own = segmented.log(200), segmented.plain()
    rules = segmented.served().segments.rules.lifecycle  # type: ignore[union-attr]
    early = timeline.until(log, CUTOFF)
    found = segmentation.rhythm(log.frame, CUTOFF, own.definitions, rules)
    assert found == segmentation.rhythm(early.frame, CUTOFF, own.definitions, rules)
    assert segmentation.learn(own, early) == segmentation.learn(own, early)


NOW = dt.datetime(2024, 7, 1, 12, tzinfo=dt.UTC)


def asked(own: bundle.Bundle, names: list[str], **more: Any) -> reading.Histories:
    """A request for some customers of the log, with their whole history."""
    told = tiny.plain_log(200).with_columns(pl.col("time").dt.to_string("iso:strict"))
    events = {
        name: [{k: v for k, v in row.items() if v is not None} for row in rows.drop("customer_id").to_dicts()]
        for (name,), rows in told.filter(pl.col("customer_id").is_in(names)).group_by("customer_id")
    }
    customers = [{"customer_id": name, "events": events.get(name, [])} for name in names]
    body = {"customers": customers, "cutoff": CUTOFF.isoformat(), **more}
    return reading.read(PredictRequest.model_validate_json(json.dumps(body)), own, NOW)


def test_the_service_says_them_as_the_batch_does_to_the_bit(served: bundle.Bundle, batch: pl.DataFrame) -> None:
    """Where they are asked for, among requests answered together; and as the table of scores keeps them."""
    names = random.Random(5).sample(batch["customer_id"].to_list(), 60)
    requests = [asked(served, names[:25], segments=True), asked(served, names[25:40]),
                asked(served, [*names[40:], "nobody"], segments=True, explain=2)]  # fmt: skip
    found = [p for text in answers.answer(requests, served) for p in json.loads(text)["predictions"]]  # type: ignore[arg-type]
    expected = {row.pop("customer_id"): row for row in batch.drop("cutoff").to_dicts()}
    for place, one in enumerate(found):
        wanted = expected.get(one["customer_id"]) if not 25 <= place < 40 else None
        assert one["segments"] == wanted, one["customer_id"]
    assert found[-1]["segments"] is None and found[-1]["reason"] == "unknown"
    kept = served.score_log(segmented.log(200).frame, CUTOFF)
    stored = [json.loads(text) for text in scoretable.answers(kept, served, list(Prediction.model_fields))]
    assert {one["customer_id"]: one["segments"] for one in stored} == expected
    nobody = json.loads(scoretable.spliced(
        scoretable.unknown_answer(kept, served, list(Prediction.model_fields)).encode(), "nobody"))  # fmt: skip
    assert nobody["segments"] is None


def test_other_segments_here_refuse_a_bundle(
    served: bundle.Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle.save(served, tmp_path / "bundle")
    real = _lifecycle.staged
    monkeypatch.setattr(_lifecycle, "staged", lambda *given: real(*given).reverse())
    with pytest.raises(bundle.BundleError, match="belong to other segments here"):
        bundle.load_bundle(tmp_path / "bundle")
