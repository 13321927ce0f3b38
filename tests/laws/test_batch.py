"""The batch job writes what one call on the whole log gives, to the bit, however it is cut; and what is served."""

from __future__ import annotations

import dataclasses
import datetime as dt
import json
import sqlite3
from contextlib import closing
from functools import partial
from pathlib import Path

import polars as pl
import pytest
import shop
import tiny
from tiny import Client

from churn_clv import batch, events, matrix, scoretable, scoring, timeline
from churn_clv.bundle import Bundle
from churn_clv.canonical import arrange
from churn_clv.scoring._pieces import gather, mark
from churn_clv.service.app import create_app
from churn_clv.service.bento import gated
from churn_clv.service.holder import Holder, Loaded
from churn_clv.service.replies import Prediction
from churn_clv.timeline import _cuts

NOW = dt.datetime(2024, 6, 3, 18, tzinfo=dt.UTC)


@pytest.mark.parametrize("asked", [{}, {"piece_events": 130, "lines": 60, "part_rows": 3}, {"piece_events": 10**9}])
def test_pieces_and_parts_change_nothing(tiny_bundle: Bundle, tmp_path: Path, asked: dict[str, int]) -> None:
    own = shop.settings(tmp_path)
    log = events.read_log(own)
    whole = scoring.score(tiny_bundle, log)
    told = shop.score(own, tiny_bundle, **asked)
    found = shop.scores(told)
    assert found.drop("previous_churn_band", "score_change").equals(whole)
    assert found["customer_id"].is_sorted() and found["customer_id"].is_unique().all()
    summary = scoring.summary(whole, tiny_bundle)
    assert {k: told[k] for k in ("rows", "eligible", "reasons", "bands", "cutoff")} == {
        k: summary[k] for k in ("rows", "eligible", "reasons", "bands", "cutoff")
    }
    assert told["expected_spend_total"] == pytest.approx(summary["expected_spend_total"], rel=1e-14)
    stored = scoring.stored(own, log, lambda frame: frame, log.ends)
    assert stored is not None and stored[0].equals(found)  # it is this log's, in however many pieces it was cut


def test_only_scores_of_this_log_this_model_and_this_code_are_found_again(tiny_bundle: Bundle, tmp_path: Path) -> None:
    own = shop.settings(tmp_path)
    log = events.read_log(own)
    ask = partial(scoring.stored, own, log, lambda frame: frame, log.ends)
    assert ask() is None
    document = shop.score(own, tiny_bundle)
    manifest = Path(document["files"][0]).parent / scoring.MANIFEST
    assert ask() is not None and ask(version=tiny_bundle.version) is not None and ask(version="another") is None
    assert scoring.stored(own, log, lambda frame: frame, log.ends - dt.timedelta(days=1)) is None
    gone = log.frame["customer_id"][0]
    assert scoring.stored(own, log, lambda frame: frame.filter(pl.col("customer_id") != gone), log.ends) is None
    cent = pl.col("amount") + (pl.int_range(pl.len()) == 4).cast(pl.Int64)
    other = dataclasses.replace(log, frame=log.frame.with_columns(cent))
    assert scoring.stored(own, other, lambda frame: frame, log.ends) is None
    later = dataclasses.replace(log, starts={kind: day + dt.timedelta(days=1) for kind, day in log.starts.items()})
    assert scoring.stored(own, later, lambda frame: frame, log.ends) is None
    told = manifest.read_text(encoding="utf-8")
    manifest.write_text(told.replace(document["made_by"], "churn-clv 0.0.0"), encoding="utf-8")
    assert ask() is None
    manifest.write_text(told, encoding="utf-8")
    Path(document["files"][0]).write_bytes(b"no parquet")
    assert ask() is None


def test_the_same_lines_are_the_same_log_in_any_order(tiny_bundle: Bundle, tmp_path: Path) -> None:
    """Of many pieces, too: the next run finds its work done; a line more, or one cent, and it does not."""
    plain = tiny.plain_log()
    cent = plain.with_columns(
        amount=pl.when(pl.int_range(pl.len()) == 4).then(0.01 + pl.col("amount")).otherwise("amount")
    )
    told = []
    for name, log in (("a", plain), ("b", plain.reverse()), ("c", cent), ("d", pl.concat([plain, plain[3:4]]))):
        told.append(shop.score(shop.settings(tmp_path / name, log), tiny_bundle, piece_events=130)["fingerprint"])
    assert told[0] == told[1] and len({*told}) == 3


def test_the_file_format_changes_nothing(tiny_bundle: Bundle, tmp_path: Path) -> None:
    plain = tiny.plain_log().with_columns(pl.col("time").dt.to_string("iso:strict"))
    expected = shop.scores(shop.score(shop.settings(tmp_path / "parquet", plain), tiny_bundle))
    for suffix, write in (("csv", plain.write_csv), ("jsonl", plain.write_ndjson), ("csv.gz", None)):
        path = tmp_path / f"log.{suffix}"
        plain.write_csv(path, compression="gzip") if write is None else write(path)
        own = shop.reading(path, tmp_path / f"out-{suffix}", plain.columns)
        assert shop.scores(shop.score(own, tiny_bundle, piece_events=600)).equals(expected), suffix


def test_several_files_and_repeats_across_them(tiny_bundle: Bundle, tmp_path: Path) -> None:
    """A repeated event_id is dropped though its two lines are read in two parts; so is a repeated line, if asked."""
    plain = tiny.plain_log().with_row_index("event_id").with_columns(pl.col("event_id").cast(pl.String))
    half = plain.height // 2
    for name, part in (("a", plain[:half]), ("b", plain[half:]), ("c", plain[:40])):
        part.write_parquet(tmp_path / f"log-{name}.parquet")
    own = shop.reading(tmp_path / "log-*.parquet", tmp_path / "out", plain.columns)
    once = shop.reading(tmp_path / "log-[ab].parquet", tmp_path / "once", plain.columns)
    expected = shop.scores(shop.score(once, tiny_bundle))
    assert shop.scores(shop.score(own, tiny_bundle)).equals(expected)
    values = own.model_dump(mode="json", by_alias=True)
    values["events"] |= {"duplicates": "drop"}
    values["out"] = str(tmp_path / "dropped")
    assert shop.scores(shop.score(shop.config.from_dict(values), tiny_bundle)).equals(expected)


@pytest.mark.parametrize("cut", [{"piece_events": 130, "lines": 60}, {"piece_events": 700, "lines": 10**6}])
@pytest.mark.parametrize("identified", [0, 1, 2, 3])
def test_the_pieces_hold_the_log_also_where_only_some_lines_have_an_event_id(
    tmp_path: Path, identified: int, cut: dict[str, int]
) -> None:
    """Files with ids and without, lines that two files hold, and one customer who is forgotten.

    The last event of all is this customer's: the log ends where it did. So are all events of one file.
    """
    plain = tiny.plain_log().with_row_index("event_id").with_columns(pl.col("event_id").cast(pl.String))
    gone = plain.filter(pl.col("time") == pl.col("time").max())["customer_id"][0]
    third = plain.height // 3
    files = [plain[:third], plain[third : 2 * third], plain[2 * third :], plain[third - 20 : third + 20]]
    late = plain.filter(pl.col("customer_id") == gone).tail(1)
    files.append(late.with_columns(event_id=pl.lit("late"), time=pl.col("time") + dt.timedelta(days=3)))
    for number, lines in enumerate(files):
        known = lines if number < identified or number == 3 else lines.with_columns(event_id=pl.lit(None, pl.String))
        known.write_parquet(tmp_path / f"log-{number}.parquet")
    own = shop.reading(tmp_path / "log-*.parquet", tmp_path / "out", plain.columns)
    own = own.model_copy(update={"events": own.events.model_copy(update={"ends": None})})
    log = events.read_log(own)
    # Of the forty lines that stand twice those are known again whose file has ids.
    assert log.frame.height == plain.height + (40, 20, 0, 0)[identified] + 1

    def without(frame: pl.DataFrame) -> pl.DataFrame:
        return frame.filter(pl.col("customer_id") != gone)

    pieces, extent = gather(own, tmp_path / "work", lambda _: None, without, cut["piece_events"], cut["lines"])
    found = pl.concat([piece.frame() for piece in pieces])
    assert arrange(found).equals(without(log.frame)) and extent.events == found.height < log.frame.height
    assert [piece.events for piece in pieces] == [piece.frame().height for piece in pieces]
    assert extent.fingerprint == mark(log, without) and extent.ends == log.ends and extent.starts == log.starts


def test_of_two_with_one_id_the_first_in_time_and_amount_stays_whichever_is_read_first(
    tiny_bundle: Bundle, tmp_path: Path
) -> None:
    plain = tiny.plain_log().with_row_index("event_id").with_columns(pl.col("event_id").cast(pl.String))
    plain.write_parquet(tmp_path / "log-a.parquet")
    plain[:40].with_columns(pl.col("amount") / 2).write_parquet(tmp_path / "log-b.parquet")
    own = shop.reading(tmp_path / "log-*.parquet", tmp_path / "out", plain.columns)
    log = events.read_log(own)
    assert log.frame.height == plain.height
    found = shop.scores(shop.score(own, tiny_bundle))
    assert found.drop("previous_churn_band", "score_change").equals(scoring.score(tiny_bundle, log))


def test_a_stored_answer_is_the_service_s(tiny_bundle: Bundle, tmp_path: Path) -> None:
    """Every customer's, field by field and in the order of the fields, from the same events."""
    plain = tiny.plain_log()
    own = shop.settings(tmp_path, plain)
    shop.score(own, tiny_bundle)
    reader = scoretable.open_reader(batch.table_url(own))
    customers = []
    for (name,), rows in plain.with_columns(pl.col("time").dt.to_string("iso:strict")).group_by(
        "customer_id", maintain_order=True
    ):
        past = [{k: v for k, v in row.items() if k != "customer_id"} for row in rows.iter_rows(named=True)]
        customers.append({"customer_id": name, "cutoff": tiny.TRAINED_THROUGH.isoformat(), "events": past})
    customers.append({"customer_id": "nobody", "cutoff": tiny.TRAINED_THROUGH.isoformat(), "events": []})
    held = Holder(Path("nowhere"))
    held.loaded = Loaded(tiny_bundle, NOW)
    said = Client(gated(create_app(held, lambda: NOW))).post("/predict", {"customers": customers}).json()["predictions"]
    ids = [live["customer_id"] for live in said]
    found = reader.find(own.registered_name, ids)
    assert found.current is not None
    for live in said:
        text = found.answers.get(live["customer_id"])
        if text is None:
            text = scoretable.spliced(found.current.unknown.encode(), live["customer_id"])
            assert not live["eligible"] and live["reason"] == "unknown"
        assert json.loads(text) == live | {"warnings": []}
        assert list(json.loads(text)) == list(Prediction.model_fields)
        Prediction.model_validate_json(text)
    assert sum(live["eligible"] for live in said) > 20 and len(found.answers) < len(ids)


@pytest.mark.parametrize("most", [1, 2, 10**6])
def test_the_table_holds_every_value(tiny_bundle: Bundle, tmp_path: Path, most: int) -> None:
    """Also of one row, and what all rows share, whatever is written in it."""
    told = shop.score(shop.settings(tmp_path), tiny_bundle, table=False)
    scores = shop.scores(told).sort("eligible").head(most)
    band = pl.lit("'it''s\0")
    rows = scoretable.rows_of(scores, tiny_bundle, shop.FIELDS).with_columns(currency=band, churn_band=pl.lit("'a'"))
    file = tmp_path / "scores.db"
    current = scoretable.Current("m", "tiny", "s", NOW.date(), "v", NOW.date(), "UTC", 30, rows.height, "", "", "")
    scoretable.publish(str(file), "m", "tiny", [rows, rows.clear()], lambda: current, [])
    with closing(sqlite3.connect(file)) as connection:
        found = connection.execute("SELECT * FROM churn_clv_scores").fetchall()
    plain = rows.with_columns(pl.col(pl.Date).cast(pl.String), pl.col(pl.Boolean).cast(pl.Int8))
    assert [row[1:] for row in found] == plain.rows() and len(found) == min(most, scores.height)


@pytest.mark.parametrize("days", [0, 200, 490])
def test_features_of_the_ineligible_are_left_out_and_no_score_moves(days: int) -> None:
    """Also at a cutoff at which history is too short for everyone."""
    model = tiny.tiny_bundle()
    model = dataclasses.replace(
        model, heads=model.heads[:3], reference=dataclasses.replace(model.reference, targets={})
    )
    log = model._log(tiny.plain_log())
    cutoff = tiny.TRAINED_THROUGH - dt.timedelta(days=days)
    pairs = timeline.pairs_of(log["customer_id"].unique(), [cutoff])
    whole = model.rows_of(log, pairs)
    assert model.score_log(log, cutoff).equals(model.predict(whole, log))
    met = log.filter(pl.col("event_type").is_in(model.event_types))
    lean, eligible = matrix.build_lean(timeline.Past(met, pairs).known(), model.definitions, ("purchase_days", "spend"))
    with pytest.MonkeyPatch.context() as patch:  # no more is kept in memory than a question needs
        patch.setattr(_cuts, "FEW", 0)
        patch.setattr(_cuts, "MANY", 0)
        past = timeline.Past(met, pairs).known()
        again = matrix.build_lean(past, model.definitions, ("purchase_days", "spend"))
        assert again[0].equals(lean) and again[1].equals(eligible)
    assert eligible.equals(whole.filter("eligible"))
    others = ("customer_id", "cutoff", "eligible", "reason", "days_since_last_purchase", "purchase_days", "spend")
    assert lean.equals(whole.select(others)) and lean.height > eligible.height + 5
