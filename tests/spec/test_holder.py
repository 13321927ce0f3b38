"""The bundle that answers: taken only when it is sound, never given up for one that is not."""

from __future__ import annotations

import hashlib
import json
import logging
import shutil
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import tiny

from churn_clv import bundle, publish
from churn_clv.errors import UserError
from churn_clv.service import holder, proof
from churn_clv.service.holder import POLL_SECONDS, Holder


@pytest.fixture(scope="module")
def other_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A second model."""
    folder = tmp_path_factory.mktemp("other") / "bundle"
    bundle.save(tiny.tiny_bundle(seed=2), folder)
    return folder


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "bundles"


def unproved(folder: Path, poll_seconds: float = POLL_SECONDS) -> Holder:
    """A holder that loads a bundle without trying it in another process first, which takes seconds."""
    return Holder(folder, poll_seconds, prove=lambda _: None)


def version(held: Holder) -> str | None:
    return held.loaded.bundle.version if held.loaded else None


def why(held: Holder) -> str:
    assert held.refused is not None
    return held.refused.why


def wait(until: Callable[[], bool], seconds: float = 20.0) -> None:
    end = time.monotonic() + seconds
    while not until():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.02)


def test_nothing_is_loaded_until_something_is_published(root: Path, tiny_folder: Path) -> None:
    held = unproved(root)
    held.check()
    assert (held.loaded, held.refused) == (None, None)
    sha = publish.publish(tiny_folder, root)
    held.check()
    assert (version(held), held.refused) == (sha, None)


def test_the_thread_follows_current_and_stops(root: Path, tiny_folder: Path, other_folder: Path) -> None:
    held = unproved(root, poll_seconds=0.02)
    held.start()
    held.start()
    try:
        first = publish.publish(tiny_folder, root)
        wait(lambda: version(held) == first)
        second = publish.publish(other_folder, root)
        wait(lambda: version(held) == second)
        publish.publish(tiny_folder, root)
        wait(lambda: version(held) == first)
    finally:
        held.stop()
    publish.publish(other_folder, root)
    time.sleep(0.1)
    assert version(held) == first


def test_it_tells_once_that_all_is_imported_and_before_a_bundle_is_loaded(root: Path, tiny_folder: Path) -> None:
    first, told = publish.publish(tiny_folder, root), list[str | None]()
    held = Holder(root, 0.02, prove=lambda _: None, imported=lambda: told.append(version(held)))
    held.start()
    try:
        wait(lambda: version(held) == first)
    finally:
        held.stop()
    assert told == [None]


def damage(folder: Path) -> Path:
    """Cut a booster short: LightGBM would take the process down with it."""
    path = next(folder.glob("churned_*.txt"))
    path.write_bytes(path.read_bytes()[:-500])
    return path


def test_a_broken_bundle_is_refused_once_and_the_old_one_stays(
    root: Path, tiny_folder: Path, other_folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    held = unproved(root)
    first = publish.publish(tiny_folder, root)
    held.check()
    second = publish.publish(other_folder, root)
    path = damage(root / second)
    for _ in range(3):
        held.check()
    assert version(held) == first
    assert held.refused is not None and held.refused.name == second
    assert path.name in why(held) and str(root) not in why(held)
    assert [r.levelno for r in caplog.records if second in r.message] == [logging.ERROR]
    shutil.copyfile(other_folder / path.name, path)
    held.check()
    assert version(held) == second


def test_a_bundle_under_another_name_is_refused(root: Path, tiny_folder: Path) -> None:
    publish.publish(tiny_folder, root)
    wrong = "0" * 64
    shutil.copytree(tiny_folder, root / wrong)
    (root / "CURRENT").write_text(wrong)
    held = unproved(root)
    held.check()
    assert held.loaded is None and "holds bundle" in why(held)


def test_a_broken_bundle_is_not_loaded_again_and_again(root: Path, tiny_folder: Path) -> None:
    damage(root / publish.publish(tiny_folder, root))
    tries: list[Path] = []
    held = Holder(root, prove=tries.append)
    for _ in range(3):
        held.check()
    assert len(tries) == 1 and held.loaded is None


@pytest.mark.parametrize("text", ["", "latest", "../../etc", "A" * 64])
def test_a_current_that_names_no_bundle_is_refused_and_said_once(
    root: Path, tiny_folder: Path, text: str, caplog: pytest.LogCaptureFixture
) -> None:
    held = unproved(root)
    sha = publish.publish(tiny_folder, root)
    held.check()
    (root / "CURRENT").write_text(text)
    for _ in range(3):
        held.check()
    assert version(held) == sha and "sha256" in why(held)
    assert len([r for r in caplog.records if r.levelno == logging.ERROR]) == 1


def test_a_current_whose_bundle_is_missing_is_refused_until_it_comes(root: Path, tiny_folder: Path) -> None:
    root.mkdir()
    sha = bundle.verify(tiny_folder)["version"]
    (root / "CURRENT").write_text(sha)
    held = unproved(root)
    held.check()
    assert held.loaded is None and "manifest.json" in why(held)
    shutil.copytree(tiny_folder, root / sha)
    held.check()
    assert version(held) == sha


def test_a_bundle_of_other_feature_code_is_refused(root: Path, tiny_folder: Path) -> None:
    """The files match their manifest; the definitions in them are not this installation's."""
    forged = root.parent / "forged"
    shutil.copytree(tiny_folder, forged)
    entries = json.loads((forged / "features.json").read_text())
    entries[0]["hash"] = "0" * 16
    text = json.dumps(entries)
    (forged / "features.json").write_text(text)
    manifest = json.loads((forged / "manifest.json").read_text())
    manifest["files"]["features.json"] = hashlib.sha256(text.encode()).hexdigest()
    (forged / "manifest.json").write_text(json.dumps(manifest))
    publish.publish(forged, root)
    held = unproved(root)
    held.check()
    assert held.loaded is None and entries[0]["name"] in why(held)


def test_an_unexpected_error_is_refused_too_and_tells_no_more_than_its_type(
    root: Path, tiny_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish.publish(tiny_folder, root)

    def broken(_: Path) -> None:
        raise MemoryError("secret")

    monkeypatch.setattr(bundle, "load_bundle", broken)
    held = unproved(root)
    held.check()
    assert held.loaded is None and why(held) == "MemoryError while it was loaded"


# --- tried in a process of its own first ----------------------------------------------------------
def forge(root: Path, source: Path, change: Callable[[str], str]) -> str:
    """Publish a bundle with a changed booster and a manifest made to match; returns its name."""
    forged = root.parent / "forged"
    shutil.rmtree(forged, ignore_errors=True)
    shutil.copytree(source, forged)
    path = next(forged.glob("churned_*.txt"))
    path.write_text(change(path.read_text()))
    manifest = json.loads((forged / "manifest.json").read_text())
    manifest["files"][path.name] = hashlib.sha256(path.read_bytes()).hexdigest()
    (forged / "manifest.json").write_text(json.dumps(manifest))
    return publish.publish(forged, root)


def test_a_booster_that_was_cut_is_refused(root: Path, tiny_folder: Path, other_folder: Path) -> None:
    """Its files match its manifest; LightGBM would end the process."""
    first = publish.publish(tiny_folder, root)
    held = Holder(root)
    held.check()
    second = forge(root, other_folder, lambda text: text[: len(text) // 2])
    for _ in range(2):
        held.check()
    assert version(held) == first and held.refused is not None and held.refused.name == second
    assert "is malformed" in why(held) and str(root) not in why(held)
    assert (held.behind, held.refusals, held.state()["behind"]) == (True, 1, True)
    publish.publish(tiny_folder, root)
    held.check()
    assert (version(held), held.behind, held.refusals) == (first, False, 1)


def test_what_kills_the_process_that_loads_it_is_refused_by_who_lives(
    root: Path, tiny_folder: Path, other_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No booster is known that does, since their texts are looked at first: this process dies whatever it loads."""
    first = publish.publish(tiny_folder, root)
    held = Holder(root)
    held.check()
    dies = tmp_path / "dies"
    dies.write_text("#!/bin/sh\nkill -SEGV $$\n")
    dies.chmod(0o700)
    monkeypatch.setattr(sys, "executable", str(dies))
    second = publish.publish(other_folder, root)
    held.check()
    assert version(held) == first and held.refused is not None and held.refused.name == second
    assert "ends the process that loads it" in why(held) and str(root) not in why(held)


def test_what_takes_too_long_to_load_is_refused_and_tried_again_later(
    root: Path, tiny_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(proof, "SECONDS", 0.01)
    sha = publish.publish(tiny_folder, root)
    with pytest.raises(UserError, match="seconds to load"):
        proof.prove(root / sha)
    monkeypatch.setattr(proof, "SECONDS", 60.0)
    monkeypatch.setattr(holder, "AGAIN_SECONDS", 0.0)
    tries: list[Path] = []

    def slow_once(folder: Path) -> None:
        tries.append(folder)
        if len(tries) == 1:
            raise proof.Unsure("took too long")

    held = Holder(root, prove=slow_once)
    held.check()
    assert version(held) is None and held.behind
    held.check()
    assert version(held) == sha and not held.behind and len(tries) == 2


def test_the_bundle_before_comes_back_at_once_unless_its_files_changed(
    root: Path, tiny_folder: Path, other_folder: Path
) -> None:
    tried: list[str] = []
    held = Holder(root, prove=lambda folder: tried.append(folder.name))
    first, second = publish.publish(tiny_folder, root), ""
    held.check()
    kept = held.loaded
    for _ in range(2):
        second = publish.publish(other_folder, root)
        held.check()
        assert version(held) == second
        publish.publish(tiny_folder, root)
        held.check()
        assert held.loaded is not None and kept is not None and held.loaded.bundle is kept.bundle
    assert tried == [first, second]
    publish.publish(other_folder, root)
    held.check()
    damage(root / first)
    (root / "CURRENT").write_text(first)
    held.check()
    assert version(held) == second and held.behind and tried[2:] == [first]


def test_a_folder_that_is_gone_leaves_what_is_loaded_and_the_clock_runs(root: Path, tiny_folder: Path) -> None:
    held = unproved(root)
    sha = publish.publish(tiny_folder, root)
    held.check()
    root.rename(root.with_name("away"))
    before = held.state()["unseen_seconds"]
    time.sleep(0.05)
    held.check()
    state = held.state()
    assert version(held) == sha == state["version"] and not state["behind"]
    assert state["unseen_seconds"] >= before + 0.05
    root.with_name("away").rename(root)
    held.check()
    assert held.state()["unseen_seconds"] < 0.05
