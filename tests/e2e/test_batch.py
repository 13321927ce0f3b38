"""`churn-clv score` and `forget`: what they write, what a second run leaves alone, who changed, which model scores."""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import sqlite3
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import kept
import polars as pl
import pytest
import shop
import tiny
from typer.testing import CliRunner

from churn_clv import batch, bundle, cli, config, events, explain, forgetting, forgotten, publish, scoring, tracking
from churn_clv.bundle import Bundle
from churn_clv.cli import _score
from churn_clv.errors import UserError
from churn_clv.scoretable import _sqlite
from churn_clv.scoring import _assemble
from churn_clv.tracking import moves

EARLIER = tiny.TRAINED_THROUGH - dt.timedelta(days=28)


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("CHURN_CLV_SCORES", "CHURN_CLV_ID_KEY", "CHURN_CLV_BUNDLES", "MLFLOW_TRACKING_URI"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """Another model of the same question."""
    folder = tmp_path_factory.mktemp("other") / "bundle"
    bundle.save(tiny.tiny_bundle(2), folder)
    return bundle.load_bundle(folder)


def bytes_of(folder: Path) -> dict[str, str]:
    """Every file below a folder, by its content."""
    found = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in found}


def rows(own: config.Config, query: str) -> list[Any]:
    with closing(sqlite3.connect(batch.table_url(own))) as connection:
        return connection.execute(query).fetchall()


def test_a_second_run_says_so_and_changes_nothing(tiny_bundle: Bundle, tmp_path: Path) -> None:
    own = shop.settings(tmp_path)
    said: list[str] = []
    first = shop.score(own, tiny_bundle, said.append)
    before = bytes_of(tmp_path / "out")
    assert not first["already_scored"] and any(line.startswith("scoring: the customers of") for line in said)
    assert not (tmp_path / "out" / "work").exists()
    second = shop.score(own, tiny_bundle)
    assert second["already_scored"] and bytes_of(tmp_path / "out") == before
    again = shop.score(own, tiny_bundle, again=True)
    assert not again["already_scored"] and bytes_of(tmp_path / "out") == before
    # A file that was damaged since is made again, a log that has changed is scored again.
    Path(first["files"][2]).write_bytes(b"damaged")
    assert not shop.score(own, tiny_bundle)["already_scored"] and bytes_of(tmp_path / "out") == before
    shop.settings(tmp_path, tiny.plain_log().slice(3))
    assert not shop.score(own, tiny_bundle)["already_scored"] and bytes_of(tmp_path / "out") != before


def test_the_manifest_says_what_was_written(tiny_bundle: Bundle, tmp_path: Path) -> None:
    own = shop.settings(tmp_path)
    told = shop.score(own, tiny_bundle, csv=True)
    folder = Path(told["path"])
    assert folder == tmp_path / f"out/scores/tiny/cutoff={tiny.TRAINED_THROUGH}/model={tiny_bundle.version[:16]}"
    manifest = json.loads((folder / "manifest.json").read_text())
    parts = [folder / part["file"] for part in manifest["parts"]]
    assert [str(p) for p in parts] == told["files"] and len(parts) == 5
    for part, path in zip(manifest["parts"], parts, strict=True):
        assert part["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
        assert part["rows"] == pl.read_parquet(path).height
    whole = hashlib.sha256(b"".join(path.read_bytes() for path in parts))
    assert manifest["sha256"] == whole.hexdigest()
    assert manifest["rows"] == 80 == sum(part["rows"] for part in manifest["parts"])
    assert manifest["config_hash"] == own.recipe_hash and manifest["model_version"] == tiny_bundle.version
    found = shop.scores(told)
    assert [column["name"] for column in manifest["columns"]] == found.columns
    plain = pl.read_csv(folder / "scores.csv", infer_schema=False)
    assert plain["churn_probability"].cast(pl.Float64).equals(found["churn_probability"])
    assert plain.height == 80 and plain["customer_id"].to_list() == found["customer_id"].to_list()


def test_a_csv_that_is_asked_for_later_is_made_without_scoring(
    tiny_bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = shop.settings(tmp_path)
    shop.score(own, tiny_bundle)
    monkeypatch.setattr(Bundle, "score_log", None)
    told = shop.score(own, tiny_bundle, csv=True)
    assert told["already_scored"] and (Path(told["path"]) / "scores.csv").exists()


def test_what_changed_since_the_last_scoring(tiny_bundle: Bundle, tmp_path: Path) -> None:
    """Compared in plain Python with the two scorings; customers that the last one had not met count as unknown."""
    plain = tiny.plain_log()
    late = plain.filter(pl.col("customer_id") == "c007").with_columns(
        customer_id=pl.lit("newcomer"), time=pl.lit(EARLIER + dt.timedelta(days=3)).cast(pl.Datetime("us"))
    )
    own = shop.settings(tmp_path, pl.concat([plain, late]))
    first = shop.score(own, tiny_bundle, cutoff=EARLIER, changes=True)
    assert first["changes"] is None and shop.scores(first)["score_change"].null_count() == first["rows"]
    told = shop.score(own, tiny_bundle, changes=True, csv=True)
    was = {row["customer_id"]: row for row in shop.scores(first).iter_rows(named=True)}
    now = shop.scores(told)
    nobody = {"eligible": False, "reason": "unknown", "churn_band": None, "churn_probability": None}
    expected = {}
    for row in now.iter_rows(named=True):
        before = was.get(row["customer_id"], nobody)
        assert row["previous_churn_band"] == before["churn_band"]
        both = None not in (row["churn_probability"], before["churn_probability"])
        assert row["score_change"] == (row["churn_probability"] - before["churn_probability"] if both else None)
        if any(row[k] != before[k] for k in ("eligible", "reason", "churn_band")):
            expected[row["customer_id"]] = tuple(before[k] for k in nobody) + tuple(row[k] for k in nobody)
    changes = pl.read_parquet(told["changes"]["path"])
    found = changes.select("customer_id", *(f"{k}_before" for k in nobody), *nobody)
    assert {row[0]: row[1:] for row in found.iter_rows()} == expected
    assert 10 < len(expected) < 80 and told["changes"]["rows"] == len(expected)
    assert told["changes"]["previous_cutoff"] == EARLIER.isoformat() and told["changes"]["joined"] >= 1
    assert changes["previous_cutoff"].unique().to_list() == [EARLIER]
    assert found.filter(customer_id="newcomer")["reason_before"].to_list() == ["unknown"]
    assert Path(told["changes"]["path"]).with_suffix(".csv").exists()


def test_reasons_of_the_riskiest_or_of_all(tiny_bundle: Bundle, tmp_path: Path) -> None:
    own = shop.settings(tmp_path)
    done = shop.score(own, tiny_bundle, reasons=5)
    scores = pl.concat([pl.read_parquet(path) for path in done["files"]])
    found = pl.read_parquet(done["explained"]["path"])
    risk = scores.filter("eligible").sort("churn_probability", "customer_id", descending=[True, False])
    assert found["customer_id"].to_list() == risk["customer_id"].head(5).to_list()
    whole = events.read_log(own).frame
    for row in found.iter_rows(named=True):
        alone = whole.filter(pl.col("customer_id") == row["customer_id"])
        one = explain.frame(tiny_bundle, alone, found.select("customer_id", "cutoff")[:0].vstack(
            pl.DataFrame({"customer_id": [row["customer_id"]], "cutoff": [row["cutoff"]]})), 3)  # fmt: skip
        assert row["reasons"] == one["reasons"].to_list()[0] and len(row["reasons"]) == 3
    every = shop.score(own, tiny_bundle, reasons=None)
    assert every["already_scored"] and every["explained"]["rows"] == risk.height
    assert [*done["explained"]["targets"]] == ["back", "visits", "tea", "ended"] == [*every["explained"]["targets"]]
    for head in tiny_bundle.own_heads:
        number = tiny_bundle.columns_of(head)[0]
        order = scores.drop_nulls(number).sort(number, "customer_id", descending=[True, False])
        told = pl.read_parquet(every["explained"]["targets"][head.target]["path"])
        assert told.columns == ["customer_id", "cutoff", number, "reasons"]
        assert told.select("customer_id", number).equals(order.select("customer_id", number))
        if told.is_empty():  # of one order, with a contract: nobody is in this log
            assert head.target in ("tea", "ended")
            continue
        pairs = told.select("customer_id", "cutoff")
        one = explain.frame(tiny_bundle, whole, pairs.tail(1), 3, target=head.target)
        assert told["reasons"].to_list()[-1] == one["reasons"].to_list()[0] != []
    forgetting.forget(own, [risk["customer_id"][0]], lambda _: None)
    left = pl.read_parquet(every["explained"]["path"])
    assert left["customer_id"].to_list() == risk["customer_id"].to_list()[1:]
    of_back = pl.read_parquet(every["explained"]["targets"]["back"]["path"])
    assert of_back.height and risk["customer_id"][0] not in of_back["customer_id"]


def test_the_last_scoring_may_be_another_model_s(tiny_bundle: Bundle, other: Bundle, tmp_path: Path) -> None:
    own = shop.settings(tmp_path)
    shop.score(own, tiny_bundle)
    told = shop.score(own, other, changes=True)
    assert told["previous"] == {"cutoff": tiny.TRAINED_THROUGH.isoformat(), "model_version": tiny_bundle.version}
    assert told["changes"]["previous_model_version"] == tiny_bundle.version
    assert shop.scores(told)["score_change"].drop_nulls().abs().max() > 0  # type: ignore[operator]


# --- the table ---------------------------------------------------------------------------------------
def test_the_table_holds_the_current_scoring(tiny_bundle: Bundle, other: Bundle, tmp_path: Path) -> None:
    own = shop.settings(tmp_path)
    told = shop.score(own, tiny_bundle)
    scores = shop.scores(told).sort("customer_id")
    query = "SELECT customer_id, churn_probability, churn_band, eligible FROM churn_clv_current ORDER BY customer_id"
    columns = ("customer_id", "churn_probability", "churn_band", "eligible")
    assert [tuple(r) for r in rows(own, query)] == scores.select(columns).rows()
    # An older cutoff does not take its place, unless that is asked for; nor does a rival's scoring by default.
    assert not shop.score(own, tiny_bundle, cutoff=EARLIER)["table"]["published"]
    assert [tuple(r) for r in rows(own, query)] == scores.select(columns).rows()
    assert shop.score(own, tiny_bundle, cutoff=EARLIER, table=True)["table"]["published"]
    assert rows(own, "SELECT DISTINCT cutoff FROM churn_clv_current") == [(EARLIER.isoformat(),)]
    assert shop.score(own, other, table=False)["table"]["why"] == "not asked for"
    assert shop.score(own, other)["table"]["published"]
    assert rows(own, "SELECT DISTINCT model_version FROM churn_clv_current") == [(other.version,)]
    assert rows(own, "SELECT count(*) FROM churn_clv_scores") == [(80,)]


def test_two_models_share_a_table(tiny_bundle: Bundle, tmp_path: Path) -> None:
    place = {"scores": f"sqlite:///{tmp_path / 'shared.db'}"}
    ours = shop.settings(tmp_path / "a", service=place)
    theirs = shop.settings(tmp_path / "b", tiny.plain_log(30, 5), service=place, dataset="theirs")
    shop.score(ours, tiny_bundle)
    shop.score(theirs, tiny_bundle)
    told = shop.score(ours, tiny_bundle, cutoff=EARLIER, table=True)
    with closing(sqlite3.connect(tmp_path / "shared.db")) as connection:
        found = connection.execute("SELECT model, count(*) FROM churn_clv_current GROUP BY model").fetchall()
    assert dict(found) == {theirs.registered_name: 30, ours.registered_name: told["rows"]}


def test_a_database_of_others_is_never_replaced(tiny_bundle: Bundle, tmp_path: Path) -> None:
    theirs = tmp_path / "theirs.db"
    with closing(sqlite3.connect(theirs)) as connection:
        connection.execute("CREATE TABLE precious (x)")
        connection.commit()
    before = theirs.read_bytes()
    own = shop.settings(tmp_path, service={"scores": f"sqlite:///{theirs}"})
    with pytest.raises(UserError, match="is another database"):
        shop.score(own, tiny_bundle)
    assert theirs.read_bytes() == before
    for wrong, why in (("mysql://a@b/c", "give sqlite"), ("postgresql://h/d", "names no user")):
        bad = shop.settings(tmp_path / "bad", service={"scores": wrong})
        with pytest.raises(UserError, match=why):
            shop.score(bad, tiny_bundle, table=True)


def test_a_scoring_that_breaks_off_leaves_the_table(
    tiny_bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its rows were on their way there while the files were being written."""
    own = shop.settings(tmp_path)
    table = Path(shop.score(own, tiny_bundle)["table"]["url"])
    before, there = table.read_bytes(), sorted(table.parent.iterdir())
    begun, real = [], _sqlite._insert

    def insert(*asked: Any) -> None:
        begun.append(asked)
        real(*asked)

    def torn(_: object) -> None:
        while not begun:
            time.sleep(0.01)
        raise OSError(28, "No space left on device")

    shop.settings(tmp_path, tiny.plain_log().slice(5))
    with monkeypatch.context() as patch:
        patch.setattr(_sqlite, "_insert", insert)
        patch.setattr(_assemble, "flush", torn)
        with pytest.raises(OSError, match="No space"):
            shop.score(own, tiny_bundle)
    assert begun and table.read_bytes() == before and sorted(table.parent.iterdir()) == there
    assert shop.score(own, tiny_bundle)["table"]["published"] and table.read_bytes() != before


def test_a_table_that_cannot_be_written_leaves_the_files(
    tiny_bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = shop.settings(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(_sqlite, "INDEXES", "CREATE INDEX a ON nowhere (b)")
        with pytest.raises(UserError, match=r"the table of scores .*no such table"):
            shop.score(own, tiny_bundle)
    assert not Path(batch.table_url(own)).exists()
    told = shop.score(own, tiny_bundle)
    assert told["already_scored"] and told["table"]["published"]
    assert rows(own, "SELECT count(*) FROM churn_clv_current") == [(shop.scores(told).height,)]


# --- which model -------------------------------------------------------------------------------------
def test_an_old_cutoff_is_scored_by_the_champion_of_that_day(
    store: Path, tmp_path: Path, tiny_folder: Path, other: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept.without_wrapper(monkeypatch)
    poor, good, _ = kept.three()
    again = tmp_path / "again"
    bundle.save(tiny.tiny_bundle(2), again)
    own = shop.published(shop.settings(tmp_path, service={"bundles": str(tmp_path / "bundles")}), again)
    own = own.model_copy(update={"out": str(store)})
    day = dt.date(2024, 5, 6)
    assert _score._champion_of(own, day) == (None, f"nobody is recorded as champion on {day}")
    for folder, oot, at in ((tiny_folder, poor, "2024-04-01"), (again, good, "2024-05-20")):
        version = kept.registered(own, folder, oot)
        monkeypatch.setattr(moves, "next_instant", lambda _, at=at: f"{at}T12:00:00.000000+00:00")
        tracking.promote(own, version, "a test", version - 1 or None)
    chosen, told = _score._chosen(own, None, day)
    first = bundle.verify(tiny_folder)["version"]
    assert chosen.version == first and told["model_chosen"] == "champion then"
    assert told["model_note"] == "version 1 was champion on 2024-05-06 (since 2024-04-01)"
    # The day of a promotion belongs to the new one: the scoring runs some hours after the cutoff.
    for when, version in ((dt.date(2024, 5, 19), first), (dt.date(2024, 5, 20), other.version)):
        assert _score._chosen(own, None, when)[0].version == version
    early, told = _score._chosen(own, None, dt.date(2024, 3, 31))
    assert early.version == other.version and told["model_chosen"] == "published"
    assert "nobody is recorded as champion on 2024-03-31; the first recorded promotion was on 2024-04-01" in str(
        told["model_note"]
    )
    assert _score._chosen(own, "1", dt.date(2024, 5, 20))[0].version == first
    assert _score._chosen(own, None, None)[0].version == other.version


def test_the_commands(tmp_path: Path, tiny_folder: Path) -> None:
    own = shop.published(shop.settings(tmp_path), tiny_folder)
    (tmp_path / "own.yaml").write_text(config.to_yaml(own))
    run = CliRunner()
    first = run.invoke(cli.app, ["score", str(tmp_path / "own.yaml"), "--csv", "--changes"])
    assert first.exit_code == 0, first.output
    assert "80 customers known at 2024-06-03" in first.output and "no earlier scoring" in first.output
    assert "is in the table of scores" in first.output
    told = json.loads(run.invoke(cli.app, ["score", str(tmp_path / "own.yaml"), "--json"]).stdout)
    assert told["already_scored"] and told["table"]["published"] and told["model_chosen"] == "published"
    old = run.invoke(cli.app, ["score", str(tmp_path / "own.yaml"), "--cutoff", EARLIER.isoformat()])
    assert "nobody is recorded as champion on 2024-05-06: scored with the published bundle instead" in old.output
    assert "in sample" in old.output and "holds a later cutoff" in old.output
    gone = run.invoke(cli.app, ["forget", str(tmp_path / "own.yaml"), "--id", "c003"])
    assert gone.exit_code == 0 and "c003: forgotten" in gone.output and "the raw log" in gone.output
    (tmp_path / "ids.txt").write_text("c003\n\nnever-there\n")
    more = run.invoke(cli.app, ["forget", str(tmp_path / "own.yaml"), "--ids-file", str(tmp_path / "ids.txt")])
    assert "c003: forgotten before" in more.output and "no scoring has ever known this id" in more.output
    told = json.loads(run.invoke(cli.app, ["forget", str(tmp_path / "own.yaml"), "--id", "c004", "--json"]).stdout)
    assert told["customers"] == [{"id": "c004", "state": "forgotten", "was_scored": True}]


# --- forget ------------------------------------------------------------------------------------------
CANARY = "jane.canary@example.com"


def holding(folder: Path, text: bytes) -> list[str]:
    """The files below a folder that hold some bytes anywhere, compressed Parquet read first."""
    found = []
    for path in sorted(folder.rglob("*")):
        if not path.is_file():
            continue
        content = path.read_bytes()
        if path.suffix == ".parquet":
            content += pl.read_parquet(path).write_csv().encode()
        if text in content:
            found.append(str(path.relative_to(folder)))
    return found


def renamed(customer: str) -> pl.DataFrame:
    return tiny.plain_log().with_columns(
        customer_id=pl.when(pl.col("customer_id") == customer).then(pl.lit(CANARY)).otherwise("customer_id")
    )


def test_a_forgotten_customer_is_in_no_file_and_does_not_come_back(tiny_bundle: Bundle, tmp_path: Path) -> None:
    own = shop.settings(tmp_path, renamed("c003"))
    out = tmp_path / "out"
    shop.score(own, tiny_bundle, cutoff=EARLIER, csv=True)
    shop.score(own, tiny_bundle, csv=True, changes=True)
    (out / "work" / "score-tiny" / "log").mkdir(parents=True)  # as a scoring that was killed leaves it
    (out / "work" / "score-tiny" / "log" / "piece-00000.arrow").write_bytes(CANARY.encode())
    assert len(holding(out, CANARY.encode())) >= 6  # two Parquet files, two CSV, the table, the work
    told = forgetting.forget(own, [f" {CANARY} "], shop.quiet)
    assert holding(out, CANARY.encode()) == []
    assert told["customers"] == [{"id": CANARY, "state": "forgotten", "was_scored": True}]
    assert told["rows_removed"] >= 3 and told["never_known"] == []
    assert rows(own, "SELECT count(*) FROM churn_clv_current") == [(79,)]
    assert rows(own, "SELECT rows FROM churn_clv_scorings") == [(79,)]
    for one in scoring.scorings(scoring.scores_folder(own)):
        parts = scoring.parts_of(one.folder)
        assert one.manifest["rows"] == sum(pl.read_parquet(path).height for path in parts)
        assert one.manifest["sha256"] == scoring.checksum(parts)
        assert [part["file"] for part in one.manifest["parts"]] == [path.name for path in parts]
    before = bytes_of(out)
    again = forgetting.forget(own, [CANARY], shop.quiet)
    assert again["rows_removed"] == 0 and again["customers"][0]["state"] == "forgotten before"
    assert {k: v for k, v in bytes_of(out).items() if "scores.db" not in k} == {
        k: v for k, v in before.items() if "scores.db" not in k
    }
    assert shop.score(own, tiny_bundle)["rows"] == 79  # the log still holds her
    assert holding(out, CANARY.encode()) == []
    with pytest.MonkeyPatch.context() as patch:  # another key would not know her again
        patch.setenv("CHURN_CLV_ID_KEY", "ab" * 32)
        with pytest.raises(UserError, match="made with another key"):
            shop.score(own, tiny_bundle)


def test_forgetting_whoever_was_never_known(tmp_path: Path) -> None:
    own = shop.settings(tmp_path)
    told = forgetting.forget(own, ["nobody"], shop.quiet)
    assert told["never_known"] == ["nobody"] and told["removed"] == []
    assert len(forgotten.keys(own)) == 1
    for wrong in ([], [" "]):
        with pytest.raises(UserError, match="no id given"):
            forgetting.forget(own, wrong, shop.quiet)


def test_forgetting_goes_on_where_it_broke_off(
    tiny_bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the two renames of a folder, the worst moment: nothing is lost, and the next run finishes."""
    own = shop.settings(tmp_path, renamed("c003"))
    told = shop.score(own, tiny_bundle)
    real, done = forgetting.put_in_place, []

    def broken(new: Path, target: Path, old: Path) -> None:
        target.rename(old)
        done.append(target)
        raise KeyboardInterrupt

    monkeypatch.setattr(forgetting, "put_in_place", broken)
    with pytest.raises(KeyboardInterrupt):
        forgetting.forget(own, [CANARY], shop.quiet)
    assert done == [Path(told["path"])] and not done[0].exists()
    monkeypatch.setattr(forgetting, "put_in_place", real)
    forgetting.forget(own, [CANARY], shop.quiet)
    assert holding(tmp_path / "out", CANARY.encode()) == []
    assert pl.read_parquet(scoring.parts_of(done[0])).height == 79


def test_a_table_that_scoring_did_not_write_is_named(tiny_bundle: Bundle, tmp_path: Path) -> None:
    own = shop.settings(tmp_path)
    (tmp_path / "out" / "mine").mkdir(parents=True)
    pl.DataFrame({"customer_id": ["c003"], "note": ["x"]}).write_csv(tmp_path / "out" / "mine" / "list.csv")
    told = forgetting.forget(own, ["c003"], shop.quiet)
    assert told["remains"][0]["place"].endswith("mine/list.csv") and "yourself" in told["remains"][0]["why"]
    assert publish.current(own.bundles_folder) is None
