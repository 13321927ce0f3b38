"""Hand a bundle to the service: copy it to ``bundles/<sha256>/``, verify the copy, point CURRENT at it (contract K5).

The service only ever reads this folder. A reader never sees half a bundle: a copy is made under a hidden name,
flushed to disk, verified and renamed in one step; CURRENT is replaced in one step. Names are the content's own
hash, so doing it twice, or twice at once, changes nothing.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import shutil
import tempfile
import time
from pathlib import Path

import yaml

from churn_clv import config
from churn_clv.bundle import MANIFEST, verify
from churn_clv.disk import flush
from churn_clv.errors import UserError

CURRENT = "CURRENT"
_HIDDEN = ".incoming-"
_ABANDONED_AFTER_SECONDS = 86_400


def publish(bundle_folder: str | Path, bundles_root: str | Path) -> str:
    """Copy, verify and make current; returns the bundle's sha256 (64 hex digits). Raises BundleError if damaged."""
    sha = keep(bundle_folder, bundles_root).name
    if _read(Path(bundles_root) / CURRENT) != sha:
        _replace_text(Path(bundles_root) / CURRENT, sha + "\n")
    return sha


def make_ready(bundle_folder: str | Path, bundles_root: str | Path) -> None:
    """All of a publish that can fail, short of making it current: the copy, and room beside CURRENT to write another.

    Raises OSError where the folder cannot be written, BundleError where the bundle is damaged.
    """
    sha, current_file = keep(bundle_folder, bundles_root).name, Path(bundles_root) / CURRENT
    if current_file.is_dir():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(current_file))
    handle, name = tempfile.mkstemp(prefix=_HIDDEN, dir=bundles_root)
    with contextlib.closing(os.fdopen(handle, "w", encoding="ascii")) as probe:
        Path(name).unlink()
        probe.write(sha)


def check_owner(settings: config.Config) -> None:
    """Refuse a folder that serves another model: who asks the service that follows it would get the wrong answers.

    Raises UserError naming both models.
    """
    root = settings.bundles_folder
    sha = current(root)
    stored = root / str(sha) / "config.yaml"
    if sha is None or not stored.is_file():
        return
    there = _registered_name(stored)
    if there != settings.registered_name:
        raise UserError(
            f"{root} serves the model '{there}', and this config asks for '{settings.registered_name}'. Give this one "
            f"a folder of its own (service.bundles or CHURN_CLV_BUNDLES), or train and publish it there."
        )


def _registered_name(stored: Path) -> str:
    """Of a bundle's config, which another version may have written: only the keys that make the name are read."""
    values = yaml.safe_load(stored.read_text(encoding="utf-8"))
    try:
        horizon = config.Timeline.model_construct(horizon_days=values["timeline"]["horizon_days"])
        named = {"dataset": values["dataset"], "model_name": values["model_name"], "timeline": horizon}
    except (KeyError, TypeError) as error:
        raise UserError(f"{stored} names no model ({error}). Publish the bundle again.") from None
    return config.Config.model_construct(**named).registered_name


def current(bundles_root: str | Path) -> str | None:
    """The sha256 that CURRENT names, or None before the first publish. Raises UserError when it is not a sha256."""
    path = Path(bundles_root) / CURRENT
    sha = _read(path)
    if sha is not None and not re.fullmatch("[0-9a-f]{64}", sha):
        raise UserError(f"{path} does not hold a bundle's sha256. Run `churn-clv publish` to write it again.")
    return sha


def keep(bundle_folder: str | Path, root: str | Path) -> Path:
    """A verified copy of a bundle at ``root``/<sha256>, made only if it is not there whole; returns its folder."""
    source, root = Path(bundle_folder), Path(root)
    manifest = verify(source)
    target = root / str(manifest["version"])
    if is_whole(target):
        return target
    root.mkdir(parents=True, exist_ok=True)
    _sweep(root)
    draft = Path(tempfile.mkdtemp(prefix=_HIDDEN, dir=root))
    try:
        _copy(source, draft, [*manifest["files"], MANIFEST])
        if verify(draft)["version"] != target.name:
            raise UserError(f"{source} changed while it was copied. Publish again once nothing writes to it.")
        _move_in(draft, target)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return target


def is_whole(folder: Path) -> bool:
    """Whether ``folder`` is named after the bundle it holds and every file matches its manifest."""
    try:
        return bool(verify(folder)["version"] == folder.name)
    except UserError:
        return False


def _copy(source: Path, draft: Path, names: list[str]) -> None:
    """Copy the named files and flush them to disk; readable by a service that runs as another user."""
    for name in names:
        shutil.copyfile(source / name, draft / name)
        (draft / name).chmod(0o644)
        flush(draft / name)
    draft.chmod(0o755)
    flush(draft)


def _move_in(draft: Path, target: Path) -> None:
    """Rename the finished copy into place; if another publisher was first, theirs holds the same bytes."""
    try:
        draft.rename(target)
    except OSError:
        if is_whole(target):
            return
        # What stands there is damaged. It is moved aside first: a folder cannot be replaced in one step.
        target.rename(Path(tempfile.mkdtemp(prefix=_HIDDEN, dir=target.parent)) / "damaged")
        draft.rename(target)
    flush(target.parent)


def _replace_text(path: Path, text: str) -> None:
    """Write a small file so that a reader sees the old text or the new one, also after a power cut."""
    handle, name = tempfile.mkstemp(prefix=_HIDDEN, dir=path.parent)
    draft = Path(name)
    try:
        with os.fdopen(handle, "w", encoding="ascii") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        draft.chmod(0o644)
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)
    flush(path.parent)


def _read(path: Path) -> str | None:
    try:
        return path.read_text(encoding="ascii", errors="replace").strip()
    except FileNotFoundError:
        return None


def _sweep(root: Path) -> None:
    """Remove what a killed publisher left behind a day or more ago."""
    for path in root.glob(f"{_HIDDEN}*"):
        with contextlib.suppress(FileNotFoundError):
            if time.time() - path.stat().st_mtime > _ABANDONED_AFTER_SECONDS:
                shutil.rmtree(path) if path.is_dir() else path.unlink()
