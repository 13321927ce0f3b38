"""Runs that the tracking store could not take: kept whole under <out>/unsent, sent by ``churn-clv sync``.

A folder there appears complete or not at all, and goes when its run is recorded, registered and judged. Sending is
done twice without harm: what a sync that was killed had sent already is found again by the id it was kept under.
"""

from __future__ import annotations

import json
import shutil
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml
from filelock import FileLock, Timeout

from churn_clv import config, succession, tracking
from churn_clv.errors import UserError
from churn_clv.training import Trained

FOLDER, STATE, BUNDLE, RUN, CONFIG = "unsent", "state.json", "bundle", "run", "config.yaml"
_HIDDEN = "."

Say = Callable[[str], None]


def keep(settings: config.Config, trained: Trained, document: dict[str, Any], bundle: Path, run_id: str | None) -> Path:
    """Write everything that a later ``send`` needs; returns the folder. ``run_id``: the run, where it was recorded.

    Raises OSError or the store's errors where the disk cannot take it either; nothing is left behind then.
    """
    kept_id = uuid.uuid4().hex[:12]
    target = Path(settings.out) / FOLDER / kept_id
    draft = target.with_name(f"{_HIDDEN}{kept_id}")
    try:
        draft.mkdir(parents=True)
        shutil.copytree(bundle, draft / BUNDLE)
        (draft / CONFIG).write_text(config.to_yaml(settings), encoding="utf-8")
        state = {"kept_id": kept_id, "model": settings.registered_name, "run_id": run_id, "document": document}
        (draft / STATE).write_text(json.dumps(state, indent=2, default=str), encoding="utf-8")
        if run_id is None:
            _keep_run(settings, trained, document | {"promoted": False}, bundle, draft / RUN)
        draft.rename(target)
    except BaseException:
        shutil.rmtree(draft, ignore_errors=True)
        raise
    return target


def _keep_run(settings: config.Config, trained: Trained, document: dict[str, Any], bundle: Path, folder: Path) -> None:
    """Record the run in ``folder``. A plot or a card that cannot be made does not cost the training: it is left out."""
    folder.mkdir()
    try:
        tracking.keep_run(settings, trained, document, bundle, folder)
    except Exception:
        shutil.rmtree(folder)
        again = folder.with_name(f"{RUN}-bare")  # MLflow holds on to the file of a path that it knows
        again.mkdir()
        try:
            tracking.keep_run(settings, trained, document, bundle, again, True)
            again.rename(folder)
        except tracking.STORE_ERRORS:
            raise
        except Exception:
            shutil.rmtree(again)  # bundle and document stay, and sync says what is missing


def waiting(settings: config.Config) -> list[Path]:
    """The kept runs' folders, oldest first."""
    there = (Path(settings.out) / FOLDER).glob("*/" + STATE)
    return [p.parent for p in sorted(there, key=lambda p: p.stat().st_mtime) if not p.parent.name.startswith(_HIDDEN)]


def send(settings: config.Config, say: Say = lambda _: None) -> dict[str, Any]:
    """Record, register and judge every kept run of the config's registered model.

    A run whose training said "promote" is judged again, by the rules of ``succession.promote``, against the champion
    of now; any other stays challenger. Keys: sent (a list of kept_id, run_id, model_version, promoted, why), left (how
    many kept runs belong to other models), others (their model, and the config that sends them), failed (a list of
    kept_id, folder, why: those that cannot be sent, which stop no other). Raises UserError where the store is still
    away; what was sent stays sent.
    """
    tracking.prepare(settings)
    with _alone(settings):
        mine, others, sent, failed = [], [], [], []
        for folder in waiting(settings):
            try:
                state = json.loads((folder / STATE).read_text(encoding="utf-8"))
            except ValueError as error:
                failed.append({"kept_id": folder.name, "folder": str(folder), "why": f"{STATE}: {error}"})
                continue
            if state["model"] == settings.registered_name:
                mine.append((folder, state))
            else:
                others.append({"model": state["model"], "config": str(folder / CONFIG)})
        for folder, state in mine:
            say(f"sending {folder.name}")
            try:
                sent.append(_send(settings, folder, state))
                _remove(folder)
            except UserError as error:
                say(f"{folder.name} cannot be sent: {error}")
                failed.append({"kept_id": folder.name, "folder": str(folder), "why": str(error)})
        return {"sent": sent, "left": len(others), "others": others, "failed": failed}


def _send(settings: config.Config, folder: Path, state: dict[str, Any]) -> dict[str, Any]:
    kept = yaml.safe_load((folder / CONFIG).read_text(encoding="utf-8"))
    own = config.from_dict(kept | {"tracking": settings.tracking.model_dump(), "out": settings.out}, where=str(folder))
    if not (state["run_id"] or (folder / RUN).is_dir()):
        raise UserError(f"it has no run, which could not be written. Its bundle is whole in {folder / BUNDLE}.")
    run_id = state["run_id"] or tracking.send_run(own, folder / RUN, state["kept_id"])
    version = tracking.version_of_run(own, run_id)
    if version is None:
        version = tracking.register(own, run_id, folder / BUNDLE)
    document = state["document"] | {"run_id": run_id, "model_version": str(version)}
    told = {"kept_id": state["kept_id"], "run_id": run_id, "model_version": str(version)}
    tracking.keep_document(own, run_id, document | {"promoted": False})
    if not document["promoted"]:
        return told | {"promoted": False, "why": document["why"]}
    found = succession.promote(own, str(version))
    # Also where it is champion already: a sync that broke off after the crowning wrote "not promoted" just now.
    why = document["why"] if found["already_champion"] else found["why"]
    tracking.keep_document(own, run_id, document | {"promoted": found["promoted"], "why": why})
    return told | {"promoted": found["promoted"], "why": found["why"]}


def _remove(folder: Path) -> None:
    """Out of sight at once, then away: half a folder is never sent again."""
    hidden = folder.with_name(f"{_HIDDEN}{folder.name}")
    folder.rename(hidden)
    shutil.rmtree(hidden, ignore_errors=True)


@contextmanager
def _alone(settings: config.Config) -> Iterator[None]:
    path = Path(settings.out) / FOLDER / f"{_HIDDEN}lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(path, timeout=0):
            yield
    except Timeout:
        raise UserError(f"another `churn-clv sync` is sending from {path.parent}. Wait for it.") from None
