"""A store that is gone when a training ends: the run is kept, and sent once, whatever breaks off meanwhile."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import kept
import pytest
from typer.testing import CliRunner

from churn_clv import config, figures, publish, recording, succession, tracking, unsent
from churn_clv.bundle import verify
from churn_clv.cli import app
from churn_clv.errors import UserError
from churn_clv.tracking import owner
from churn_clv.tracking.store import connect, experiment
from churn_clv.training import Trained
from tests.e2e.test_tracking import a_training, copy_database

REFUSE = (
    "CREATE TRIGGER refuse BEFORE INSERT ON runs BEGIN SELECT RAISE(ABORT, 'attempt to write a readonly database'); END"
)


@pytest.fixture(scope="session")
def bundle(bundles: list[Path]) -> Path:
    return bundles[0]


@pytest.fixture
def own(store: Path, monkeypatch: pytest.MonkeyPatch) -> config.Config:
    kept.without_wrapper(monkeypatch)
    monkeypatch.setattr(figures, "draw", lambda *_: {})
    monkeypatch.setattr(succession, "load_bundle", verify)
    return kept.settings(store)


def sql(own: config.Config, text: str) -> None:
    with closing(sqlite3.connect(Path(own.out) / "mlflow.db")) as database:
        database.execute(text)
        database.commit()


def finished(own: config.Config, **changes: Any) -> tuple[Trained, dict[str, Any]]:
    """A training at its end, and its document."""
    trained = a_training(own)
    found: dict[str, Any] = {
        "promoted": True, "why": "Promoted: there is no incumbent.", "checks": [kept.PASSED], "compared_with": None,
        "total_band": None, "plan": trained.plan.rows(),
        "data": trained.data | {"ends": kept.ENDS, "targets_refused": {}},
        "ladder": trained.ladder, "targets": {}, "bundle_version": "",
        "grade": {"letter": "B", "why": "Grade B: so.", "rules": []},
    }  # fmt: skip
    return trained, found | changes


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, empty_database: Path, bundle: Path) -> Path:
    """A folder that was kept because the store refused to take the run."""
    out = tmp_path_factory.mktemp("kept") / "out"
    out.mkdir()
    copy_database(empty_database, out / "mlflow.db")
    migrated = tracking.keep_run

    def on_a_copy(*given: Any) -> None:  # its tables are made in seconds, and not what is tested
        copy_database(empty_database, given[-1] / "run.db")
        migrated(*given)

    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        patch.setattr(figures, "draw", lambda *_: {})
        patch.setattr(tracking, "keep_run", on_a_copy)
        own = kept.settings(out)
        sql(own, REFUSE)
        with pytest.raises(UserError, match=r"did not take the run \(.*readonly database.*churn-clv sync") as told:
            recording._registered(own, *finished(own), bundle)
    [folder] = unsent.waiting(own)
    assert str(folder) in str(told.value)
    return out


@pytest.fixture
def waiting(made: Path, own: config.Config) -> config.Config:
    """A fresh store with that folder beside it."""
    shutil.copytree(made / "unsent", Path(own.out) / "unsent")
    shutil.copy(made / "id.key", Path(own.out) / "id.key")
    return own


def runs(own: config.Config) -> list[Any]:
    return list(connect(own).search_runs([experiment(own)]))


def test_a_kept_run_is_sent_whole_promoted_published_and_gone(
    waiting: config.Config, bundle: Path, tmp_path: Path
) -> None:
    trained, document = finished(waiting)
    [sent] = unsent.send(waiting)["sent"]
    assert (
        sent["promoted"]
        and unsent.waiting(waiting) == []
        and unsent.send(waiting) == {"sent": [], "left": 0, "others": [], "failed": []}
    )
    assert publish.current(waiting.bundles_folder) == verify(bundle)["version"]
    direct = connect(waiting).get_run(tracking.log_run(waiting, trained, document, bundle))
    [copied] = [run for run in runs(waiting) if run.info.run_id != direct.info.run_id]
    assert copied.info.status == "FINISHED" and copied.info.run_name == direct.info.run_name
    assert copied.data.metrics == direct.data.metrics and copied.data.params == direct.data.params
    ours = {"kept_id", owner.PROCESS, owner.HOST, "mlflow.log-model.history"}
    assert {k: v for k, v in copied.data.tags.items() if k not in ours} == {
        k: v for k, v in direct.data.tags.items() if k not in ours
    }
    assert copied.inputs.dataset_inputs[0].dataset.digest == direct.inputs.dataset_inputs[0].dataset.digest
    names = [sorted(a.path for a in connect(waiting).list_artifacts(r.info.run_id)) for r in (copied, direct)]
    assert names[0] == names[1]
    champion = tracking.champion(waiting)
    assert champion and champion.document["promoted"] and champion.document["run_id"] == copied.info.run_id
    assert champion.oot.height == trained.oot.height


def breaks(*_: Any, **__: Any) -> None:
    raise KeyboardInterrupt


@pytest.mark.parametrize(
    "where",
    ["log_batch", "create_model_version", "_remove",
     *(pytest.param(name, marks=pytest.mark.check) for name in
       ("log_artifacts", "set_terminated", "create_logged_model", "set_registered_model_alias"))],
)  # fmt: skip
def test_a_sync_that_breaks_off_anywhere_is_continued_and_sends_one_run(
    waiting: config.Config, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    client = type(connect(waiting))
    with monkeypatch.context() as patch:
        patch.setattr(unsent if where == "_remove" else client, where, breaks)
        with pytest.raises(KeyboardInterrupt):
            unsent.send(waiting)
    [sent] = unsent.send(waiting)["sent"]
    assert sent["promoted"]
    [run] = runs(waiting)
    assert (run.info.status, run.info.run_id) == ("FINISHED", sent["run_id"])
    versions = connect(waiting).search_model_versions(f"name = '{waiting.registered_name}'")
    assert [int(v.version) for v in versions] == [1] and succession.history(waiting)["champion"] == 1
    assert tracking.find(waiting, "champion").document["promoted"]


def test_a_sync_that_could_not_publish_leaves_the_champion_promoted_the_second_time(
    waiting: config.Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(publish, "_replace_text", breaks)
        with pytest.raises(KeyboardInterrupt):
            unsent.send(waiting)
    [sent] = unsent.send(waiting)["sent"]
    assert sent["promoted"] and tracking.find(waiting, "champion").document["promoted"]


def test_a_run_that_was_recorded_but_not_registered_is_only_registered(
    own: config.Config, bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def gone(*_: Any) -> int:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(tracking, "register", gone)
        with pytest.raises(UserError, match=r"No space left on device.*churn-clv sync"):
            recording._registered(own, *finished(own), bundle)
    [folder] = unsent.waiting(own)
    assert not (folder / "run").exists()
    [sent] = unsent.send(own)["sent"]
    assert [run.info.run_id for run in runs(own)] == [sent["run_id"]] and sent["promoted"]


def test_a_kept_run_meets_the_champion_of_the_moment_it_is_sent(waiting: config.Config, bundle: Path) -> None:
    """Another training won meanwhile, on other rows: the kept run was never compared with it."""
    succession.promote(waiting, str(kept.registered(waiting, bundle, kept.three()[1])))
    [sent] = unsent.send(waiting)["sent"]
    assert not sent["promoted"] and "nothing to compare" in sent["why"]
    found = tracking.find(waiting, "challenger")
    assert found.run_id == sent["run_id"] and not found.document["promoted"]


def test_a_run_that_lost_in_training_stays_challenger(waiting: config.Config) -> None:
    [folder] = unsent.waiting(waiting)
    state = json.loads((folder / "state.json").read_text())
    state["document"] |= {"promoted": False, "why": "Not promoted: behind."}
    (folder / "state.json").write_text(json.dumps(state))
    [sent] = unsent.send(waiting)["sent"]
    assert (sent["promoted"], sent["why"]) == (False, "Not promoted: behind.")
    assert tracking.champion(waiting) is None


def test_one_that_cannot_be_sent_stops_no_other(waiting: config.Config) -> None:
    [good] = unsent.waiting(waiting)
    bad = shutil.copytree(good, good.with_name("bad"))
    (bad / "config.yaml").write_text("gone_since: 1\n")
    broken = shutil.copytree(good, good.with_name("broken"))
    (broken / "state.json").write_text("{")
    for place, folder in enumerate((broken, bad, good)):
        os.utime(folder / "state.json", (place, place))
    overlay = Path(waiting.out) / "own.yaml"
    overlay.write_text(config.to_yaml(waiting))
    done = CliRunner().invoke(app, ["sync", str(overlay), "--json"])
    assert isinstance(done.exception, UserError)
    assert "2 kept run(s) cannot be sent. To drop one, remove its folder" in str(done.exception)
    assert str(bad) in str(done.exception) and str(broken) in str(done.exception)
    told = json.loads(done.stdout)
    assert [one["kept_id"] for one in told["failed"]] == ["broken", "bad"] and len(told["sent"]) == 1
    assert unsent.waiting(waiting) == [broken, bad]


def test_a_kept_run_goes_to_the_users_store_not_to_the_one_written_down(
    waiting: config.Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is written down lacks the password."""
    uri, asked = "postgresql+pg8000://u:s3cret@h/d", []
    [folder] = unsent.waiting(waiting)
    own = waiting.model_copy(update={"tracking": config.Tracking(uri=uri)})
    (folder / "config.yaml").write_text(config.to_yaml(own))
    assert "s3cret" not in (folder / "config.yaml").read_text()

    def send(given: config.Config, *_: Any) -> str:
        asked.append(given.tracking_uri)
        raise KeyboardInterrupt

    monkeypatch.setattr(tracking, "prepare", lambda _: "")
    monkeypatch.setattr(tracking, "send_run", send)
    with pytest.raises(KeyboardInterrupt):
        unsent.send(own)
    assert asked == [uri]


def test_runs_of_other_models_are_left(waiting: config.Config) -> None:
    other = waiting.model_copy(update={"model_name": "other"})
    (kept,) = unsent.waiting(waiting)
    left = {"model": waiting.registered_name, "config": str(kept / "config.yaml")}
    assert unsent.send(other) == {"sent": [], "left": 1, "others": [left], "failed": []}
    assert len(unsent.waiting(waiting)) == 1 and config.load(left["config"]).registered_name == left["model"]


@pytest.mark.parametrize("error", [KeyboardInterrupt, ZeroDivisionError])
def test_whatever_ends_the_recording_the_run_is_kept(
    own: config.Config, bundle: Path, monkeypatch: pytest.MonkeyPatch, error: type[BaseException]
) -> None:
    def fails(*_: Any) -> str:
        raise error

    monkeypatch.setattr(tracking, "register", fails)
    with pytest.raises(error) as told:
        recording._registered(own, *finished(own), bundle)
    assert "churn-clv sync" in told.value.__notes__[0] and len(unsent.waiting(own)) == 1


def test_a_plot_that_cannot_be_drawn_does_not_cost_the_training(
    own: config.Config, bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def bug(*_: Any) -> None:
        raise ZeroDivisionError

    with monkeypatch.context() as patch:
        patch.setattr(figures, "draw", bug)
        with pytest.raises(ZeroDivisionError) as told:
            recording._registered(own, *finished(own), bundle)
    assert "churn-clv sync" in told.value.__notes__[0]
    [sent] = unsent.send(own)["sent"]
    run = connect(own).get_run(sent["run_id"])
    assert sent["promoted"] and run.data.tags["missing"] == "note, plots, card"
    assert tracking.find(own, "champion").oot.height == 200


def test_where_not_even_a_bare_run_can_be_written_bundle_and_document_are_kept(
    own: config.Config, bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def bug(*_: Any) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(tracking, "log_run", bug)
    monkeypatch.setattr(tracking, "keep_run", bug)
    with pytest.raises(ZeroDivisionError):
        recording._registered(own, *finished(own), bundle)
    [folder] = unsent.waiting(own)
    assert verify(folder / "bundle") and json.loads((folder / "state.json").read_text())["document"]["ladder"]
    [failed] = unsent.send(own)["failed"]
    assert "it has no run" in failed["why"]


def test_where_nothing_can_be_kept_nothing_is_left_and_it_is_said(
    own: config.Config, bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(tracking, "log_run", full)
    monkeypatch.setattr(shutil, "copytree", full)
    with pytest.raises(UserError, match=r"could not be recorded .*nor kept under .*No space left"):
        recording._registered(own, *finished(own), bundle)
    assert list((Path(own.out) / "unsent").iterdir()) == []


# --- whose run is it ----------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("change", "gone"),
    [
        (lambda tags: tags, False),
        (lambda tags: tags | {owner.PROCESS: "999999999:1:x"}, True),
        (lambda tags: tags | {owner.PROCESS: tags[owner.PROCESS] + "0"}, True),  # the number again, another process
        (lambda tags: tags | {owner.HOST: "elsewhere", owner.PROCESS: "999999999:1:x"}, False),
        (lambda tags: {}, False),
    ],
)
def test_a_process_is_gone_only_where_that_can_be_known(
    change: Callable[[dict[str, str]], dict[str, str]], gone: bool
) -> None:
    assert owner.gone(change(owner.tags())) is gone


def test_a_process_that_is_hidden_is_not_called_gone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """proc mounted with hidepid=2: the process of another user answers EPERM, and its stat is not there."""

    def refused(*_: Any) -> None:
        raise PermissionError

    live = owner.tags()
    monkeypatch.setattr(os, "kill", refused)
    monkeypatch.setattr(owner, "STAT", str(tmp_path / "{}"))
    assert not owner.gone(live)
    assert owner.gone(live | {owner.PROCESS: live[owner.PROCESS] + "0"})  # of a boot before this one


def test_two_machines_of_one_name_do_not_judge_each_others_runs(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Host name and process namespace are the same on both; the second has no machine-id, only a boot."""
    dead = {owner.PROCESS: "999999999:1:x"}
    first = owner.tags() | dead
    assert owner.gone(first)
    machine, boot = tmp_path / "machine-id", tmp_path / "boot_id"
    monkeypatch.setattr(owner, "MACHINE", machine)
    monkeypatch.setattr(owner, "BOOT", boot)
    machine.write_text("another\n")
    assert not owner.gone(first) and owner.gone(owner.tags() | dead) and "another" in owner.here()
    machine.write_text("")
    boot.write_text("a-boot\n")
    assert not owner.gone(first) and owner.gone(owner.tags() | dead) and "a-boot" in owner.here()


def test_preparing_the_store_closes_what_a_dead_process_left(own: config.Config, bundle: Path) -> None:
    client, place = connect(own), experiment(own)
    dead = owner.tags() | {owner.PROCESS: "999999999:1:x"}
    mine, stale, foreign = (
        client.create_run(place, tags=tags).info.run_id
        for tags in (owner.tags(), dead, dead | {owner.HOST: "elsewhere"})
    )
    half = [client.create_logged_model(place, name="bundle", tags=tags).model_id for tags in (owner.tags(), dead)]
    tracking.prepare(own)
    assert [client.get_run(r).info.status for r in (mine, stale, foreign)] == ["RUNNING", "KILLED", "RUNNING"]
    assert [m.model_id for m in client.search_logged_models([place])] == half[:1]
