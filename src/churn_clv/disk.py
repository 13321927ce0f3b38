"""Files that are there whole or not at all, and the lock of a folder that only one process may write to."""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def written(path: Path) -> Iterator[Path]:
    """A draft beside ``path`` to write to; it is flushed to disk and renamed at the end, removed on any error."""
    draft = path.with_name(f".{path.name}.draft")
    draft.unlink(missing_ok=True)  # a killed writer's: not all who write begin at the start of the file
    try:
        yield draft
        flush(draft)
        os.replace(draft, path)
    finally:
        draft.unlink(missing_ok=True)
    flush(path.parent)


@contextmanager
def folder_written(target: Path) -> Iterator[Path]:
    """A new folder beside ``target`` to write to; at the end it takes its place, files flushed, all or nothing.

    ``target`` may be missing for a moment. Its writers hold a lock, or accept that the last one wins.
    """
    with _beside(target) as aside:
        (new := aside / "new").mkdir()
        yield new
        for path in new.iterdir():
            flush(path)
        put_in_place(new, target, aside / "old")


@contextmanager
def files_written(folder: Path, last: str | None = None) -> Iterator[Path]:
    """A new folder to write files to; at the end they move into ``folder`` by name; whatever else is there stays.

    The file ``last`` moves last: who finds it finds the others.
    """
    with _beside(folder) as aside:
        yield aside
        folder.mkdir(exist_ok=True)
        for path in sorted(aside.iterdir(), key=lambda path: (path.name == last, path.name)):
            flush(path)
            os.replace(path, folder / path.name)
    flush(folder)


@contextmanager
def _beside(target: Path) -> Iterator[Path]:
    target.parent.mkdir(parents=True, exist_ok=True)
    aside = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
    try:
        yield aside
    finally:
        shutil.rmtree(aside, ignore_errors=True)


@contextmanager
def numbered(place: Path) -> Iterator[None]:
    """Give an error of Polars' writers the number that the system gave it: a full disk is then known as one."""
    try:
        yield
    except OSError as error:
        found = re.search(r"\(os error (\d+)\)", str(error)) if error.errno is None else None
        if found is None:
            raise
        raise OSError(int(found[1]), os.strerror(int(found[1])), str(place)) from None


def flush(path: Path) -> None:
    """Have a file or folder on the disk, not only in memory."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def put_in_place(new: Path, target: Path, old: Path) -> None:
    """Make the finished folder ``new`` the folder ``target``; what stood there goes to ``old`` and is removed.

    A folder cannot be replaced in one step. Between the two renames ``target`` is missing: ``recover`` mends that.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    flush(new)
    if target.exists():
        os.replace(target, old)
    os.replace(new, target)
    flush(target.parent)
    shutil.rmtree(old, ignore_errors=True)


def recover(new: Path, target: Path, old: Path) -> None:
    """Finish what a process was killed in the middle of: ``old`` is there only while ``put_in_place`` renames."""
    if old.exists() and not target.exists():
        os.replace(new if new.exists() else old, target)
    shutil.rmtree(old, ignore_errors=True)
    shutil.rmtree(new, ignore_errors=True)


@contextmanager
def alone(path: Path, say: Callable[[str], None]) -> Iterator[None]:
    """Hold the lock file ``path``; wait, and say so, while another process does. It is freed with its holder's end."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+", encoding="ascii") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            say(f"another process ({file.read(20).strip() or 'just started'}) writes to {path.parent}: waiting for it")
            fcntl.flock(file, fcntl.LOCK_EX)
        file.truncate(0)
        file.write(f"pid {os.getpid()}")
        file.flush()
        try:
            yield
        finally:
            file.truncate(0)
