"""Publishing: a bundle appears whole or not at all, under its own hash, however often and by however many."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import threading
from pathlib import Path

import pytest

from churn_clv import config
from churn_clv.bundle import FORMAT, BundleError, verify
from churn_clv.errors import UserError
from churn_clv.publish import check_owner, current, is_whole, keep, publish


def a_bundle(folder: Path, text: str, files: int = 3) -> Path:
    """A folder that verifies as a bundle; nothing in it is ever parsed here."""
    folder.mkdir(parents=True)
    sums = {}
    for number in range(files):
        data = f"{text} {number}\n".encode()
        (folder / f"part{number}.txt").write_bytes(data)
        sums[f"part{number}.txt"] = hashlib.sha256(data).hexdigest()
    (folder / "manifest.json").write_text(json.dumps({"format": FORMAT, "files": sums}))
    return folder


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return a_bundle(tmp_path / "source", "first")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "bundles"


def names(root: Path) -> list[str]:
    return sorted(path.name for path in root.iterdir())


def test_publish_lays_out_the_folder_the_service_reads(source: Path, root: Path) -> None:
    assert current(root) is None
    sha = publish(source, root)
    assert sha == hashlib.sha256((source / "manifest.json").read_bytes()).hexdigest()
    assert names(root) == sorted([sha, "CURRENT"])
    assert (root / "CURRENT").read_text() == sha + "\n"
    assert current(root) == sha
    assert verify(root / sha)["version"] == sha
    assert names(root / sha) == names(source)


def test_a_service_of_another_user_can_read_what_is_published(source: Path, root: Path) -> None:
    sha = publish(source, root)
    assert (root / sha).stat().st_mode & 0o777 == 0o755
    assert {p.stat().st_mode & 0o777 for p in [root / "CURRENT", *(root / sha).iterdir()]} == {0o644}


def test_publishing_again_changes_nothing(source: Path, root: Path) -> None:
    publish(source, root)
    before = {path: (path.stat().st_ino, path.stat().st_mtime_ns) for path in root.rglob("*")}
    publish(source, root)
    assert {path: (path.stat().st_ino, path.stat().st_mtime_ns) for path in root.rglob("*")} == before


def test_the_next_bundle_becomes_current_and_the_last_one_stays(source: Path, root: Path, tmp_path: Path) -> None:
    first = publish(source, root)
    second = publish(a_bundle(tmp_path / "other", "second"), root)
    assert current(root) == second != first
    assert is_whole(root / first)
    assert publish(root / first, root) == current(root) == first  # going back needs no copy


def test_files_that_the_manifest_does_not_name_are_left_behind(source: Path, root: Path) -> None:
    (source / "notes.txt").write_text("a customer's name")
    sha = publish(source, root)
    assert "notes.txt" not in names(root / sha)


def test_a_folder_that_a_bundle_of_another_version_serves_still_says_whose_it_is(source: Path, root: Path) -> None:
    """Its config has a key that is gone since; a train must not end there."""
    own = config.from_dict({"dataset": "shop", "service": {"bundles": str(root)}})
    stored = root / publish(source, root) / "config.yaml"
    stored.write_text(config.to_yaml(own) + "gone_since: 1\n")
    check_owner(own)
    with pytest.raises(UserError, match="serves the model 'churn-clv-shop-h28', and"):
        check_owner(own.model_copy(update={"dataset": "other"}))
    stored.write_text("[]")
    with pytest.raises(UserError, match="names no model"):
        check_owner(own)


def test_a_damaged_bundle_is_refused_and_nothing_appears(source: Path, root: Path, tmp_path: Path) -> None:
    good = publish(source, root)
    bad = a_bundle(tmp_path / "bad", "bad")
    (bad / "part1.txt").write_text("changed")
    with pytest.raises(BundleError, match=r"1 of 3 files .*part1\.txt"):
        publish(bad, root)
    assert names(root) == sorted([good, "CURRENT"])
    assert current(root) == good


def test_a_copy_that_breaks_off_leaves_no_trace(
    source: Path, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    good, real, seen = publish(source, root), shutil.copyfile, []

    def breaks(src: Path, dst: Path) -> None:
        seen.append(dst)
        if len(seen) == 2:
            raise OSError("No space left on device")
        real(src, dst)

    monkeypatch.setattr(shutil, "copyfile", breaks)
    with pytest.raises(OSError, match="No space left"):
        publish(a_bundle(tmp_path / "other", "second"), root)
    assert len(seen) == 2
    assert names(root) == sorted([good, "CURRENT"])
    assert current(root) == good


def test_a_source_that_changes_while_it_is_copied_is_refused(
    source: Path, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, other = shutil.copyfile, a_bundle(tmp_path / "other", "second")
    monkeypatch.setattr(shutil, "copyfile", lambda src, dst: real(other / Path(src).name, dst))
    with pytest.raises(UserError, match="changed while it was copied"):
        publish(source, root)
    assert names(root) == []


def test_a_damaged_published_copy_is_replaced_by_a_whole_one(source: Path, root: Path) -> None:
    sha = publish(source, root)
    (root / sha / "part0.txt").write_text("rot")
    assert not is_whole(root / sha)
    assert publish(source, root) == sha
    assert is_whole(root / sha)


def test_a_bundle_under_another_name_is_not_taken_for_it(source: Path, root: Path) -> None:
    root.mkdir()
    wrong = root / ("0" * 64)
    shutil.copytree(source, wrong)
    assert not is_whole(wrong)
    assert keep(source, root) != wrong


def test_drafts_of_killed_publishers_go_after_a_day(source: Path, root: Path, tmp_path: Path) -> None:
    publish(source, root)
    old, young = root / ".incoming-old", root / ".incoming-young"
    for draft in (old, young):
        draft.mkdir()
        (draft / "half").write_text("x")
    os.utime(old, (1, 1))
    publish(a_bundle(tmp_path / "other", "second"), root)
    assert not old.exists()
    assert young.exists()


def test_a_current_file_that_names_no_bundle_is_an_error_that_can_be_mended(source: Path, root: Path) -> None:
    sha = publish(source, root)
    (root / "CURRENT").write_text("latest\n")
    with pytest.raises(UserError, match="CURRENT does not hold a bundle's sha256"):
        current(root)
    assert publish(source, root) == sha == current(root)


def test_readers_see_only_whole_bundles_while_publishers_race(root: Path, tmp_path: Path) -> None:
    sources = [a_bundle(tmp_path / f"source{n}", f"text {n}", files=12) for n in range(3)]
    publish(sources[0], root)
    stop, torn, errors = threading.Event(), [], []

    def read() -> None:
        while not stop.is_set():
            sha = current(root)
            if sha is None or not is_whole(root / sha):
                torn.append(sha)
            torn.extend(p.name for p in root.glob("[0-9a-f]*") if not is_whole(p))

    def write(first: int) -> None:
        try:
            for n in range(9):
                publish(sources[(first + n) % 3], root)
        except Exception as error:
            errors.append(error)

    reader, writers = threading.Thread(target=read), [threading.Thread(target=write, args=(n,)) for n in range(3)]
    for thread in [reader, *writers]:
        thread.start()
    for thread in writers:
        thread.join()
    stop.set()
    reader.join()
    assert (errors, torn) == ([], [])
    assert len(names(root)) == 4  # three bundles and CURRENT, no drafts
