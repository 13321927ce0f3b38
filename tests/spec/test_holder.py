"""The bundle that answers: taken only when it is sound, never given up for one that is not."""

from __future__ import annotations

import hashlib
import json
import logging
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import tiny

from churn_clv import bundle, publish
from churn_clv.service.holder import Holder


@pytest.fixture(scope="module")
def other_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A second model."""
    folder = tmp_path_factory.mktemp("other") / "bundle"
    bundle.save(tiny.tiny_bundle(seed=2), folder)
    return folder


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "bundles"


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
    held = Holder(root)
    held.check()
    assert (held.loaded, held.refused) == (None, None)
    sha = publish.publish(tiny_folder, root)
    held.check()
    assert (version(held), held.refused) == (sha, None)


def test_the_thread_follows_current_and_stops(root: Path, tiny_folder: Path, other_folder: Path) -> None:
    held = Holder(root, poll_seconds=0.02)
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


def damage(folder: Path) -> Path:
    """Cut a booster short: LightGBM would take the process down with it."""
    path = next(folder.glob("churned_*.txt"))
    path.write_bytes(path.read_bytes()[:-500])
    return path


def test_a_broken_bundle_is_refused_once_and_the_old_one_stays(
    root: Path, tiny_folder: Path, other_folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    held = Holder(root)
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
    held = Holder(root)
    held.check()
    assert held.loaded is None and "holds bundle" in why(held)


def test_a_broken_bundle_is_not_loaded_again_and_again(
    root: Path, tiny_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    damage(root / publish.publish(tiny_folder, root))
    tries: list[Path] = []
    real = bundle.load_bundle

    def counting(folder: Path) -> bundle.Bundle:
        tries.append(folder)
        return real(folder)

    monkeypatch.setattr(bundle, "load_bundle", counting)
    held = Holder(root)
    for _ in range(3):
        held.check()
    assert len(tries) == 1 and held.loaded is None


@pytest.mark.parametrize("text", ["", "latest", "../../etc", "A" * 64])
def test_a_current_that_names_no_bundle_is_refused_and_said_once(
    root: Path, tiny_folder: Path, text: str, caplog: pytest.LogCaptureFixture
) -> None:
    held = Holder(root)
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
    held = Holder(root)
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
    held = Holder(root)
    held.check()
    assert held.loaded is None and entries[0]["name"] in why(held)


def test_an_unexpected_error_is_refused_too_and_tells_no_more_than_its_type(
    root: Path, tiny_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish.publish(tiny_folder, root)

    def broken(_: Path) -> None:
        raise MemoryError("secret")

    monkeypatch.setattr(bundle, "load_bundle", broken)
    held = Holder(root)
    held.check()
    assert held.loaded is None and why(held) == "MemoryError while it was loaded"
