"""Who is champion, and how that changes: crowned by a training or by hand, rolled back, and the history of it.

The service's folder is made ready before the alias moves, and CURRENT is replaced after: what can fail fails first.
Should the last step fail all the same, the alias stands, the error says so, and ``churn-clv publish`` mends it.
"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

from churn_clv import publish, tracking
from churn_clv.bundle import load_bundle
from churn_clv.config import Config
from churn_clv.errors import UserError
from churn_clv.succession._judged import check_judged
from churn_clv.succession._verdict import Kinship, judge, kinship, lost

__all__ = [
    "Kinship",
    "UnpublishedError",
    "check_judged",
    "crown",
    "history",
    "judge",
    "kinship",
    "lost",
    "promote",
    "rollback",
]


class UnpublishedError(UserError):
    """A version became champion and its bundle could not be published; ``churn-clv publish`` mends it."""


def crown(
    settings: Config, version: int, bundle: Path, why: str, over: int | None, move: str = tracking.PROMOTE,
    forced: bool = False,
) -> str:  # fmt: skip
    """Make ``version`` champion and publish its bundle; returns the bundle's sha256.

    Raises UserError, with nothing changed, where the folder serves another model or cannot be written, or where
    another version became champion since ``over``; and, with the alias moved, where CURRENT could not be replaced or
    another version has followed already.
    """
    root = settings.bundles_folder
    try:
        publish.check_owner(settings)
        publish.make_ready(bundle, root)
    except OSError as error:
        raise UserError(
            f"{root} cannot take the bundle ({error.strerror or error}), so version {version} was not promoted. Mend "
            f"the folder (service.bundles or CHURN_CLV_BUNDLES), then `churn-clv promote {version}`."
        ) from None
    tracking.promote(settings, version, why, over, move, forced)
    return publish_champion(settings, version, bundle)


def publish_version(settings: Config, which: str = tracking.CHAMPION) -> str:
    """Publish a registered version (number or alias) as it is; returns the bundle's sha256.

    The champion's bundle is published only while it is champion: a promotion meanwhile publishes its own. Raises
    UserError where there is no such version, where the folder serves another model, or where it was overtaken.
    """
    publish.check_owner(settings)
    version = tracking.number_of(settings, which)
    bundle = tracking.fetch(settings, version)
    if which != tracking.CHAMPION:
        return publish.publish(bundle, settings.bundles_folder)
    with tracking.reigning(settings, version):
        return publish.publish(bundle, settings.bundles_folder)


def publish_champion(settings: Config, version: int, bundle: Path) -> str:
    """Publish the champion's bundle, unless another has become champion: it publishes its own, before or after."""
    root = settings.bundles_folder
    try:
        with tracking.reigning(settings, version):
            return publish.publish(bundle, root)
    except tracking.OvertakenError as error:
        raise UnpublishedError(
            f"version {version} became champion, and another version after it before it was published, so {root} was "
            f"left to that one. {error} `churn-clv history` tells what stands there."
        ) from error
    except (*tracking.STORE_ERRORS, UserError) as error:
        raise UnpublishedError(
            f"version {version} of '{settings.registered_name}' is champion now, but {root} still serves the bundle "
            f"of before ({error}). Mend the folder, then run `churn-clv publish`: it publishes the champion."
        ) from error


def promote(settings: Config, which: str, reason: str | None = None, force: bool = False) -> dict[str, Any]:
    """Make a stored run champion where it passes the rules of a training against the champion of now.

    Keys: promoted, already_champion, forced, version, run_id, over, why, checks, bundle_version. A run that loses is
    refused (``promoted`` false) unless ``force``, which needs a ``reason``. Raises UserError where the run has no
    registered version, belongs to another registered model, or answers another question than the config.
    """
    if force and not (reason and reason.strip()):
        raise UserError(
            '--force needs a reason, which the history keeps: --reason "what you know and the rules do not".'
        )
    tracking.prepare(settings)
    mine, champion = tracking.find(settings, which), tracking.champion(settings)
    if mine.version is None:
        raise UserError(f"run {mine.run_id} was never registered, so it has no bundle. Train again.")
    _check_ours(settings, mine)
    known = {"version": mine.version, "run_id": mine.run_id}
    if champion and champion.version == mine.version:
        if champion.bundle is None:
            raise UserError(
                f"version {mine.version} is champion already, and its bundle is of a format that this version does not "
                f"read. Train again."
            )
        publish.check_owner(settings)
        sha = publish_champion(settings, mine.version, champion.bundle)
        why = f"Already champion: version {mine.version}."
        return known | _outcome(True, why, champion.version, sha, already=True)
    check_judged(mine.run_id, mine.document, mine.oot)
    if champion:
        check_judged(champion.run_id, champion.document, champion.oot)
    decision = judge(settings, mine, champion)
    over = champion.version if champion else None
    checks = [asdict(check) for check in decision.checks]
    if not (decision.promote or force):
        return known | _outcome(False, decision.why, over, None, checks)
    forced = force and not decision.promote
    why = f"Forced: {reason} ({decision.why})" if forced else " ".join(filter(None, [reason, decision.why]))
    try:
        sha = crown(settings, mine.version, _servable(settings, mine.version), why, over, forced=forced)
    except UnpublishedError:
        _keep(settings, mine, why)  # champion all the same
        raise
    _keep(settings, mine, why)
    return known | _outcome(True, why, over, sha, checks, forced=forced)


def rollback(settings: Config, reason: str, to: int | None = None) -> dict[str, Any]:
    """Make the champion before this one champion again, or version ``to``, and publish its bundle.

    Keys: version, over, why, bundle_version. A second rollback goes further back. Raises UserError without a reason or
    where there is nothing to go back to: a version that was never champion is promoted, not rolled back to.
    """
    if not reason.strip():
        raise UserError('a rollback needs a reason, which the history keeps: --reason "what went wrong".')
    tracking.prepare(settings)
    tracking.check_same_question(settings)
    moves, now = tracking.history(settings)
    line, name = tracking.line(moves, now), settings.registered_name
    if now is None:
        raise UserError(f"'{name}' has no champion, so there is nothing to roll back.")
    reigned = {v for move in moves if move.happened for v in (move.version, move.over)} - {None, now}
    if to is None and len(line) < 2:
        raise UserError(f"version {now} of '{name}' is the first champion on record: nothing to roll back to.")
    if to is not None and to not in reigned:
        there = ", ".join(str(v) for v in sorted(v for v in reigned if v is not None)) or "none"
        raise UserError(
            f"version {to} of '{name}' is no former champion (there are: {there}). `churn-clv promote {to}` judges it."
        )
    version = line[-2] if to is None else to
    why = f"Rolled back: {reason}"
    sha = crown(settings, version, _servable(settings, version), why, now, tracking.ROLLBACK)
    return {"version": version, "over": now, "why": why, "bundle_version": sha}


def history(settings: Config) -> dict[str, Any]:
    """Every move of the champion, oldest first, where the alias stands and what the service's folder holds.

    Keys: model, champion, published, in_step (whether the folder holds the champion), moves (at, move, version, over,
    who, why, forced, bundle, happened), unrecorded (whether the alias was moved without a record).
    """
    tracking.prepare(settings)
    moves, now = tracking.history(settings)
    happened = [move for move in moves if move.happened]
    published = publish.current(settings.bundles_folder)
    return {
        "model": settings.registered_name,
        "champion": now,
        "published": published,
        "in_step": now is None or tracking.bundle_of(settings, now) == published,
        "unrecorded": now is not None and (happened[-1].version if happened else None) != now,
        "moves": [asdict(move) for move in moves],
    }


def _check_ours(settings: Config, mine: tracking.Stored) -> None:
    """Raise UserError where the run is another registered model's or answers another question than the config.

    A whole run id is found wherever it is, and its version's number counts in its own model only.
    """
    name = settings.registered_name
    if mine.model != name:
        raise UserError(
            f"run {mine.run_id} is version {mine.version} of '{mine.model}', and this config's model is '{name}'. "
            f"Give the config that it was trained with, or name a version of '{name}'."
        )
    tracking.check_same_question(settings)
    if not tracking.same_question(settings, mine.tags):
        raise UserError(
            f"run {mine.run_id} (version {mine.version} of '{name}') answers another question than this config. "
            f"Train again."
        )


def _servable(settings: Config, version: int) -> Path:
    """A verified copy of the version's bundle that the installed code can load."""
    bundle = tracking.fetch(settings, version)
    load_bundle(bundle)
    return bundle


def _keep(settings: Config, mine: tracking.Stored, why: str) -> None:
    """The run's stored document says that it was promoted; the registry's record is what counts."""
    tracking.keep_document(settings, mine.run_id, mine.document | {"promoted": True, "why": why})


def _outcome(
    promoted: bool, why: str, over: int | None, sha: str | None, checks: list[dict[str, Any]] | None = None,
    already: bool = False, forced: bool = False,
) -> dict[str, Any]:  # fmt: skip
    return {
        "promoted": promoted, "already_champion": already, "forced": forced, "over": over, "why": why,
        "checks": checks or [], "bundle_version": sha,
    }  # fmt: skip
