"""Promote, roll back, and the history of both: in a real store, with real bundles, on stored predictions."""

from __future__ import annotations

import dataclasses
import datetime as dt
import hashlib
import json
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import kept
import polars as pl
import pytest
import tiny
from typer.testing import CliRunner

from churn_clv import bundle, config, metrics, publish, succession, tracking
from churn_clv.bundle import BundleError, _files, load_bundle, verify
from churn_clv.cli import app
from churn_clv.errors import UserError
from churn_clv.tracking import moves
from churn_clv.tracking.store import connect

POOR, GOOD, MIDDLING = kept.three()


@pytest.fixture
def own(store: Path, monkeypatch: pytest.MonkeyPatch) -> config.Config:
    monkeypatch.setenv("CHURN_CLV_USER", "ada")
    kept.without_wrapper(monkeypatch)
    monkeypatch.setattr(succession, "load_bundle", verify)  # loading proves it again, a second or more each time
    return kept.settings(store)


def served(own: config.Config) -> str | None:
    return publish.current(own.bundles_folder)


def sha(folder: Path) -> str:
    return str(verify(folder)["version"])


def full(*_: Any) -> None:
    raise OSError(28, "No space left on device")


def aliases(own: config.Config) -> dict[str, int]:
    return dict(connect(own).get_registered_model(own.registered_name).aliases)


# --- promote ------------------------------------------------------------------------------------
def test_a_better_run_is_promoted_published_and_recorded(own: config.Config, bundles: list[Path]) -> None:
    first = kept.registered(own, bundles[0], POOR)
    assert succession.promote(own, str(first))["promoted"]
    second = kept.registered(own, bundles[1], GOOD)
    assert aliases(own) == {"champion": first, "challenger": second}
    found = succession.promote(own, "challenger", reason="looked at it")
    assert found["promoted"] and not found["forced"] and found["why"].startswith("looked at it Promoted: ")
    assert aliases(own) == {"champion": second}
    assert served(own) == sha(bundles[1]) == found["bundle_version"]
    told = succession.history(own)
    assert (told["champion"], told["in_step"], told["unrecorded"]) == (second, True, False)
    assert [(m["version"], m["over"], m["who"], m["forced"]) for m in told["moves"]] == [
        (first, None, "ada", False),
        (second, first, "ada", False),
    ]
    again = succession.promote(own, str(second))
    assert again["already_champion"] and len(succession.history(own)["moves"]) == 2
    assert tracking.find(own, "champion").document["promoted"]


def test_a_run_that_loses_is_refused_unless_forced_with_a_reason(own: config.Config, bundles: list[Path]) -> None:
    good = kept.registered(own, bundles[0], GOOD)
    succession.promote(own, str(good))
    poor = kept.registered(own, bundles[1], POOR)
    found = succession.promote(own, str(poor))
    assert not found["promoted"] and "behind on churn_log_loss" in found["why"]
    assert aliases(own)["champion"] == good and served(own) == sha(bundles[0])
    for reason in (None, "  "):
        with pytest.raises(UserError, match="--force needs a reason"):
            succession.promote(own, str(poor), reason, force=True)
    forced = succession.promote(own, str(poor), "the good one leaks", force=True)
    assert forced["promoted"] and forced["forced"]
    last = succession.history(own)["moves"][-1]
    assert last["forced"] and last["why"].startswith("Forced: the good one leaks (Not promoted: ")


def test_an_equal_run_is_refused(own: config.Config, bundles: list[Path]) -> None:
    succession.promote(own, str(kept.registered(own, bundles[0], GOOD)))
    found = succession.promote(own, str(kept.registered(own, bundles[1], GOOD)))
    assert not found["promoted"] and "not ahead of the incumbent's recipe" in found["why"]


def test_predictions_of_money_that_were_not_judged_are_refused(own: config.Config, bundles: list[Path]) -> None:
    """The churn is as judged, and the money is that of a model that has seen it."""
    saw = GOOD.with_columns(expected_spend=pl.col("spend") * 0.9 + 1)
    said = [{"rung": "champion", "metrics": metrics.churn_metrics(GOOD["churned"], GOOD["churn_probability"])
             | metrics.spend_metrics(GOOD["spend"], GOOD["expected_spend"])}]  # fmt: skip
    for oot in (saw, GOOD.with_columns(expected_spend=pl.lit(None, dtype=pl.Float64))):
        version = kept.registered(own, bundles[0], oot, ladder=said)
        with pytest.raises(UserError, match=r"give a Tweedie deviance of .* not the out-of-time predictions"):
            succession.promote(own, str(version))
    assert "champion" not in aliases(own)
    last = said[0]["metrics"] | {"spend_gini": 0.5}
    with pytest.raises(UserError, match=r"give a Gini of .* judged at 0\.5"):
        succession.check_judged("x", {"ladder": [{"metrics": last}], "plan": kept.PLAN}, GOOD)


def test_the_same_recipe_by_newer_code_is_promoted_where_it_is_not_worse(
    own: config.Config, bundles: list[Path]
) -> None:
    succession.promote(own, str(kept.registered(own, bundles[0], GOOD)))
    found = succession.promote(own, str(kept.registered(own, bundles[1], GOOD, tags={"code_hash": "newer"})))
    assert found["promoted"] and "refreshed" in found["why"]


def test_two_codes_do_not_refresh_each_other_in_turn(own: config.Config, bundles: list[Path]) -> None:
    old = kept.registered(own, bundles[0], GOOD)
    new = kept.registered(own, bundles[1], GOOD, tags={"code_hash": "newer"})
    assert succession.promote(own, str(old))["promoted"] and succession.promote(own, str(new))["promoted"]
    back = succession.promote(own, str(old))
    assert not back["promoted"] and "not ahead of the incumbent's recipe" in back["why"]


@pytest.mark.parametrize(("ends", "recipe"), [("2024-06-03", "other"), ("2024-07-01", "same")])
def test_only_the_later_run_refreshes(ends: str, recipe: str) -> None:
    mine = {"core_hash": "c", "recipe_hash": recipe, "code_hash": "x"}
    theirs = mine | {"recipe_hash": "same"}
    days = [dt.date.fromisoformat(day) for day in (ends, kept.ENDS)]
    found = [succession.kinship(mine, theirs, *days, after).newer for after in (True, False)]
    assert found == [True, False]


@pytest.mark.parametrize(
    ("grade", "said"),
    [({"letter": "C"}, "the grade is C, and B is required"), (None, "the run has no grade"), ({}, "has no grade")],
)
def test_the_grade_is_held_against_the_config_of_now(
    own: config.Config, bundles: list[Path], grade: dict[str, str] | None, said: str
) -> None:
    passed = kept.PASSED | {"name": "grade", "text": "Grade C. Required: C."}
    version = kept.registered(own, bundles[0], GOOD, checks=[kept.PASSED, passed], grade=grade)
    strict = own.model_copy(update={"grade": own.grade.model_copy(update={"required": "B"})})
    found = succession.promote(strict, str(version))
    assert not found["promoted"] and said in found["why"] and "champion" not in aliases(own)
    assert succession.promote(own, str(version))["promoted"] == bool(grade)  # C is required
    assert succession.promote(strict, str(version), "I looked at it", force=True)["promoted"]


def test_a_runs_own_failed_check_still_counts(own: config.Config, bundles: list[Path]) -> None:
    failed = kept.registered(own, bundles[0], GOOD, checks=[kept.FAILED])
    found = succession.promote(own, str(failed))
    assert not found["promoted"] and "recency_rule is not shown to be beaten" in found["why"]
    succession.promote(own, str(kept.registered(own, bundles[1], POOR)))
    assert not succession.promote(own, str(failed))["promoted"]  # ahead of the champion, and still not of the rung


def test_a_run_that_lost_the_money_is_refused(own: config.Config, bundles: list[Path]) -> None:
    succession.promote(own, str(kept.registered(own, bundles[0], POOR)))
    bare = GOOD.with_columns(expected_spend=pl.lit(None, dtype=pl.Float64))
    found = succession.promote(own, str(kept.registered(own, bundles[1], bare)))
    assert not found["promoted"] and "predicts spend and this run cannot" in found["why"]


@pytest.mark.parametrize(
    ("over", "tags", "said"),
    [
        ("2024-04-01", {}, "this run was judged at 2024-03-04 and version 1 at 2024-04-01"),
        (None, {"id_key": "00000000"}, "hidden behind another key"),
    ],
)
def test_what_cannot_be_compared_is_refused_unless_it_was_compared_in_training(
    own: config.Config, bundles: list[Path], over: str | None, tags: dict[str, str], said: str
) -> None:
    later = POOR.with_columns(cutoff=pl.lit(over).str.to_date()) if over else POOR
    first = kept.registered(own, bundles[0], later, tags=tags)
    succession.promote(own, str(first))
    found = succession.promote(own, str(kept.registered(own, bundles[1], GOOD)))
    assert not found["promoted"] and said in found["why"]
    judged = kept.registered(own, bundles[1], GOOD, compared_with=first)
    assert succession.promote(own, str(judged))["promoted"]


def test_who_is_asked_for_by_run_prefix_or_not_at_all(own: config.Config, bundles: list[Path]) -> None:
    run_id = kept.record(own, bundles[0], GOOD)
    for which in (run_id, run_id[:8]):
        with pytest.raises(UserError, match="never registered"):
            succession.promote(own, which)
    version = tracking.register(own, run_id, bundles[0])
    assert tracking.find(own, run_id[:8]).version == tracking.find(own, str(version)).version == version
    with pytest.raises(UserError, match=r"'challengr' is no run.*Did you mean 'challenger'"):
        succession.promote(own, "challengr")


def test_a_run_of_another_model_is_no_version_of_this_one(own: config.Config, bundles: list[Path]) -> None:
    """Both have a version 1: the good one was judged, and the poor one would have been crowned."""
    poor = kept.registered(own, bundles[0], POOR)
    other = own.model_copy(update={"model_name": "other"})
    run_id = kept.record(other, bundles[1], GOOD)
    assert tracking.register(other, run_id, bundles[1]) == poor
    for force in (False, True):
        with pytest.raises(UserError, match=rf"is version {poor} of 'other', and this config's model is"):
            succession.promote(own, run_id, "drill", force)
    assert "champion" not in aliases(own) and served(own) is None
    assert tracking.find(other, run_id).model == "other"


def test_a_run_of_another_question_is_refused(own: config.Config, bundles: list[Path]) -> None:
    version = kept.registered(own, bundles[0], GOOD, tags={"question": "0" * 16})
    with pytest.raises(UserError, match="answers another question than this config"):
        succession.promote(own, str(version), "drill", force=True)
    assert "champion" not in aliases(own)


def test_who_is_champion_already_does_not_take_anothers_folder(own: config.Config, bundles: list[Path]) -> None:
    version = kept.registered(own, bundles[0], GOOD)
    succession.promote(own, str(version))
    other = tiny.tiny_bundle(1)
    stranger = own.model_copy(update={"model_name": "stranger"})
    theirs = Path(own.out) / "theirs"
    bundle.save(dataclasses.replace(other, config=stranger), theirs)
    publish.publish(theirs, own.bundles_folder)
    with pytest.raises(UserError, match="serves the model 'stranger'"):
        succession.promote(own, str(version))
    assert served(own) == sha(theirs)


def test_a_bundle_that_the_installed_code_cannot_load_is_not_crowned(
    own: config.Config, bundles: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its files are whole, and made by other feature code."""
    monkeypatch.setattr(succession, "load_bundle", load_bundle)
    other = tmp_path / "other"
    shutil.copytree(bundles[0], other)
    entries = json.loads((other / "features.json").read_text())
    entries[0]["hash"] = "0" * len(entries[0]["hash"])
    text = json.dumps(entries)
    (other / "features.json").write_text(text)
    manifest = json.loads((other / "manifest.json").read_text())
    manifest["files"]["features.json"] = hashlib.sha256(text.encode()).hexdigest()
    (other / "manifest.json").write_text(json.dumps(manifest))
    version = kept.registered(own, other, GOOD)
    with pytest.raises(BundleError):
        succession.promote(own, str(version))
    assert "champion" not in aliases(own) and served(own) is None


def of_format(folder: Path, number: int, into: Path) -> Path:
    """The bundle as a version with another format would have written it."""
    shutil.copytree(folder, into)
    manifest = json.loads((into / "manifest.json").read_text())
    (into / "manifest.json").write_text(json.dumps(manifest | {"format": number}))
    return into


@pytest.mark.parametrize("force", [False, True])
def test_a_champion_of_an_older_format_is_followed_and_never_published(
    own: config.Config, bundles: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, force: bool
) -> None:
    first = kept.registered(own, bundles[0], GOOD if force else POOR)
    assert succession.promote(own, str(first))["promoted"]
    monkeypatch.setattr(_files, "FORMAT", _files.FORMAT + 1)
    champion = tracking.champion(own)
    assert champion is not None and (champion.version, champion.bundle) == (first, None)
    with pytest.raises(UserError, match="version 1 is champion already, and its bundle is of a format"):
        succession.promote(own, str(first))
    newer = of_format(bundles[1], _files.FORMAT, tmp_path / "newer")
    second = kept.registered(own, newer, POOR if force else GOOD)
    found = succession.promote(own, str(second), "new format", force)
    assert (found["promoted"], found["forced"], served(own)) == (True, force, sha(newer))
    with pytest.raises(BundleError, match="bundle format"):
        succession.rollback(own, "back")
    assert aliases(own)["champion"] == second and served(own) == sha(newer)


def test_damage_that_looks_like_another_format_is_still_damage(own: config.Config, bundles: list[Path]) -> None:
    succession.promote(own, str(kept.registered(own, bundles[0], GOOD)))
    shutil.rmtree(Path(own.out) / "cache")
    [manifest] = (Path(own.out) / "artifacts").rglob("manifest.json")
    manifest.write_text(manifest.read_text().replace(f'"format": {_files.FORMAT}', '"format": 4'))
    with pytest.raises(BundleError, match="bundle format 4"):
        tracking.champion(own)


# --- what fails on the way ----------------------------------------------------------------------
def test_a_folder_that_cannot_take_the_bundle_stops_the_promotion(own: config.Config, bundles: list[Path]) -> None:
    version = kept.registered(own, bundles[0], GOOD)
    own.bundles_folder.parent.mkdir(parents=True)
    own.bundles_folder.write_text("in the way")
    with pytest.raises(UserError, match=f"so version {version} was not promoted"):
        succession.promote(own, str(version))
    assert "champion" not in aliases(own) and tracking.history(own) == ([], None)


def test_a_publish_that_fails_after_the_alias_moved_is_mended_by_publish(
    own: config.Config, bundles: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    succession.promote(own, str(kept.registered(own, bundles[0], POOR)))
    second = kept.registered(own, bundles[1], GOOD)
    with monkeypatch.context() as patch:
        patch.setattr(
            publish, "_replace_text", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left on device"))
        )
        with pytest.raises(UserError, match=r"is champion now, but .* still serves.*churn-clv publish"):
            succession.promote(own, str(second))
    told = succession.history(own)
    assert (told["champion"], told["in_step"], served(own)) == (second, False, sha(bundles[0]))
    assert tracking.find(own, "champion").document["promoted"]
    succession.publish_version(own)  # what `churn-clv publish` does
    assert succession.history(own)["in_step"] and served(own) == sha(bundles[1])


def test_who_was_overtaken_before_it_was_published_leaves_the_folder_to_the_champion(
    own: config.Config, bundles: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = kept.registered(own, bundles[0], POOR), kept.registered(own, bundles[1], GOOD)
    move = tracking.promote

    def and_another(*given: Any) -> None:
        move(*given)
        monkeypatch.setattr(tracking, "promote", move)
        assert succession.promote(own, str(second))["promoted"]

    monkeypatch.setattr(tracking, "promote", and_another)
    with pytest.raises(succession.UnpublishedError, match=rf"version {first} became champion, and another"):
        succession.promote(own, str(first))
    assert served(own) == sha(bundles[1]) and succession.history(own)["in_step"]


def test_what_is_published_again_gives_way_to_a_promotion_meanwhile(
    own: config.Config, bundles: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = kept.registered(own, bundles[0], POOR), kept.registered(own, bundles[1], GOOD)
    succession.promote(own, str(first))
    fetch = tracking.fetch

    def and_a_promotion(*given: Any) -> Path:
        monkeypatch.setattr(tracking, "fetch", fetch)
        found = fetch(*given)
        assert succession.promote(own, str(second))["promoted"]
        return found

    monkeypatch.setattr(tracking, "fetch", and_a_promotion)
    with pytest.raises(tracking.OvertakenError, match=rf"version {first} is champion no more"):
        succession.publish_version(own)
    assert served(own) == sha(bundles[1]) and succession.history(own)["in_step"]
    assert succession.publish_version(own, str(first)) == served(own) == sha(bundles[0])  # asked for by number


def test_a_move_that_broke_off_is_told_as_such(
    own: config.Config, bundles: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    first = kept.registered(own, bundles[0], POOR)
    succession.promote(own, str(first))
    second = kept.registered(own, bundles[1], GOOD)
    client = type(connect(own))
    with monkeypatch.context() as patch:
        patch.setattr(client, "set_registered_model_alias", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            succession.promote(own, str(second))
    told = succession.history(own)
    assert told["champion"] == first and not told["unrecorded"]
    assert [m["happened"] for m in told["moves"]] == [True, False]
    succession.promote(own, str(second))
    assert [m["happened"] for m in succession.history(own)["moves"]] == [True, False, True]
    assert succession.rollback(own, "back")["version"] == first


def test_two_promotions_at_once_leave_one_champion_and_its_record(own: config.Config, bundles: list[Path]) -> None:
    versions = [kept.registered(own, folder, GOOD) for folder in bundles]

    def go(version: int) -> bool:
        try:
            tracking.promote(own, version, "mine", over=None)
        except tracking.OvertakenError:
            return False
        return True

    with ThreadPoolExecutor(2) as pool:
        won = list(pool.map(go, versions))
    told = succession.history(own)
    assert sorted(won) == [False, True]
    assert [m["version"] for m in told["moves"]] == [told["champion"]] == [versions[won.index(True)]]


# --- rollback -----------------------------------------------------------------------------------
def test_rolling_back_goes_to_the_champion_before_and_then_further(own: config.Config, bundles: list[Path]) -> None:
    versions = []
    for oot, folder in ((POOR, bundles[0]), (MIDDLING, bundles[1]), (GOOD, bundles[0])):
        versions.append(kept.registered(own, folder, oot))
        assert succession.promote(own, str(versions[-1]))["promoted"]
    found = succession.rollback(own, "complaints")
    assert (found["version"], found["over"]) == (versions[1], versions[2])
    assert served(own) == sha(bundles[1]) and aliases(own)["champion"] == versions[1]
    assert succession.rollback(own, "more complaints")["version"] == versions[0]
    with pytest.raises(UserError, match="first champion on record"):
        succession.rollback(own, "still")
    assert succession.rollback(own, "forth again", to=versions[2])["version"] == versions[2]
    told = succession.history(own)
    assert [m["move"] for m in told["moves"]] == ["promote"] * 3 + ["rollback"] * 3
    assert told["moves"][3]["why"] == "Rolled back: complaints" and told["in_step"]


def test_a_rollback_asks_for_a_reason_and_a_former_champion(own: config.Config, bundles: list[Path]) -> None:
    with pytest.raises(UserError, match="has no champion"):
        succession.rollback(own, "why not")
    versions = [kept.registered(own, bundles[0], POOR), kept.registered(own, bundles[1], GOOD)]
    succession.promote(own, str(versions[0]))
    with pytest.raises(UserError, match="needs a reason"):
        succession.rollback(own, " ")
    with pytest.raises(UserError, match=rf"version {versions[1]} .* no former champion .*promote {versions[1]}"):
        succession.rollback(own, "try it", to=versions[1])


def test_a_champion_from_before_there_was_a_record_can_be_gone_back_to(own: config.Config, bundles: list[Path]) -> None:
    old = kept.registered(own, bundles[0], POOR)
    connect(own).set_registered_model_alias(own.registered_name, "champion", str(old))
    assert succession.history(own)["unrecorded"]
    succession.promote(own, str(kept.registered(own, bundles[1], GOOD)))
    assert succession.rollback(own, "back")["version"] == old


# --- the record itself --------------------------------------------------------------------------
def moved(kind: str, version: int, over: int | None, happened: bool = True) -> moves.Move:
    return moves.Move("2024-01-01T00:00:00", kind, version, over, "ada", "", False, "", happened)


@pytest.mark.parametrize(
    ("found", "now", "line"),
    [
        ([], None, []),
        ([], 4, [4]),
        ([("promote", 1, None), ("promote", 2, 1), ("promote", 3, 2)], 3, [1, 2, 3]),
        ([("promote", 1, None), ("promote", 2, 1), ("promote", 3, 2), ("rollback", 2, 3)], 2, [1, 2]),
        ([("promote", 1, None), ("promote", 2, 1), ("rollback", 1, 2), ("promote", 3, 1)], 3, [1, 3]),
        ([("promote", 5, 4)], 5, [4, 5]),
        ([("promote", 1, None), ("promote", 3, 2)], 3, [1, 2, 3]),
        ([("promote", 1, None)], 7, [1, 7]),
        ([("promote", 1, None), ("promote", 2, 1), ("promote", 1, 2), ("promote", 3, 1), ("rollback", 1, 3)], 1,
         [1, 2, 1]),
    ],
)  # fmt: skip
def test_the_line_of_champions(found: list[Any], now: int | None, line: list[int]) -> None:
    assert moves.line([moved(*one) for one in found], now) == line


@pytest.mark.parametrize("letter", ["a", "é", "\u2603", '"', "\n", "\udc80"])
def test_a_long_reason_fits_the_column_of_every_store(letter: str) -> None:
    long = dataclasses.replace(moved("promote", 1, None), why=letter * 4990, who="ada" * 60)
    text = moves.encoded(long)
    assert len(text) <= 5000 and text.encode()
    [told] = moves.told({"move.x": text}, 1)
    assert told.why.endswith(" ...") and len(told.why) > 2000 and told.who == long.who
    short = dataclasses.replace(long, why=letter * 100)
    assert len(moves.told({"move.x": moves.encoded(short)}, 1)[0].why) == 100


def test_a_clock_that_went_back_does_not_put_the_record_out_of_order() -> None:
    late = "2999-01-01T00:00:00.000000+00:00"
    tags = {"move.x": json.dumps({**vars(moved("promote", 1, None)), "at": late} | {"happened": True})}
    assert moves.next_instant(tags) == "2999-01-01T00:00:00.000001+00:00"


# --- the command line ---------------------------------------------------------------------------
def test_the_commands(own: config.Config, bundles: list[Path], tmp_path: Path) -> None:
    (tmp_path / "own.yaml").write_text(config.to_yaml(own))
    where, run = str(tmp_path / "own.yaml"), CliRunner()
    versions = [kept.registered(own, bundles[0], POOR), kept.registered(own, bundles[1], GOOD)]
    assert run.invoke(app, ["promote", str(versions[1]), where]).exit_code == 0
    refused = run.invoke(app, ["promote", str(versions[0]), where, "--json"])
    assert refused.exit_code == 3 and not json.loads(refused.stdout)["promoted"]
    assert run.invoke(app, ["promote", str(versions[0]), where, "--force", "--reason", "drill"]).exit_code == 0
    back = run.invoke(app, ["rollback", where, "--reason", "drill over", "--json"])
    assert json.loads(back.stdout)["version"] == versions[1]
    told = run.invoke(app, ["history", where])
    assert told.exit_code == 0 and "forced promote" in told.stdout and "3. Rolled back: drill over" in told.stdout
    turned = run.invoke(app, ["promote", where, str(versions[0])])
    assert isinstance(turned.exception, UserError) and "runs come first" in str(turned.exception)
