"""Files and folders that are there whole or not at all."""

from __future__ import annotations

from pathlib import Path

import pytest

from churn_clv import disk


def held(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text(encoding="utf-8") for path in sorted(folder.iterdir())}


def test_a_folder_is_replaced_whole(tmp_path: Path) -> None:
    target = tmp_path / "lists" / "today"
    for names in (("a", "b"), ("b", "c")):
        with disk.folder_written(target) as new:
            for name in names:
                (new / name).write_text(f"{name} of {names}", encoding="utf-8")
            assert new.parent.parent == target.parent  # the same disk, so that it can be renamed
    assert held(target) == {"b": "b of ('b', 'c')", "c": "c of ('b', 'c')"}
    assert [path.name for path in target.parent.iterdir()] == ["today"]


def test_files_join_what_is_there(tmp_path: Path) -> None:
    target = tmp_path / "campaign"
    target.mkdir()
    (target / "kept").write_text("kept", encoding="utf-8")
    (target / "plan").write_text("old", encoding="utf-8")
    with disk.files_written(target) as new:
        (new / "plan").write_text("new", encoding="utf-8")
    assert held(target) == {"kept": "kept", "plan": "new"}
    assert [path.name for path in tmp_path.iterdir()] == ["campaign"]


def test_the_last_file_is_moved_when_the_others_stand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    order = []
    moves = disk.os.replace
    monkeypatch.setattr(disk.os, "replace", lambda a, b: (order.append(Path(b).name), moves(a, b)))
    with disk.files_written(tmp_path / "plan", last="b.json") as new:
        for name in ("a.csv", "b.json", "c.parquet"):
            (new / name).write_text(name, encoding="utf-8")
    assert order == ["a.csv", "c.parquet", "b.json"]


@pytest.mark.parametrize("way", [disk.folder_written, disk.files_written])
def test_an_error_leaves_what_stood_there(tmp_path: Path, way: object) -> None:
    target = tmp_path / "today"
    target.mkdir()
    (target / "a").write_text("old", encoding="utf-8")
    with pytest.raises(RuntimeError, match="broken"), way(target) as new:  # type: ignore[operator]
        (new / "a").write_text("half", encoding="utf-8")
        raise RuntimeError("broken")
    assert held(target) == {"a": "old"} and [path.name for path in tmp_path.iterdir()] == ["today"]


def test_a_killed_writers_draft_is_not_written_on_in(tmp_path: Path) -> None:
    """Who appends, or opens a database, would else go on in the middle of it."""
    (tmp_path / ".log.draft").write_text("half of an earlier ")
    with disk.written(tmp_path / "log") as draft, draft.open("a") as file:
        file.write("whole")
    assert (tmp_path / "log").read_text() == "whole"
    assert [path.name for path in tmp_path.iterdir()] == ["log"]
