"""A finished training on its way into the store: recorded, registered, promoted and published, or kept on disk."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from churn_clv import bundle, config, succession, tracking, unsent
from churn_clv.errors import UserError
from churn_clv.recipe import Say
from churn_clv.training import Trained


def record(settings: config.Config, trained: Trained, document: dict[str, Any], say: Say) -> dict[str, Any]:
    """Save the bundle, log and register the run, and promote and publish where the verdict says so.

    Returns the ``document`` with run_id, model_version and bundle_version. Raises UserError where the store does not
    take the run (it is then kept on disk), and where it cannot be promoted or published.
    """
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "bundle"
        sha = bundle.save(trained.bundle, folder)
        bundle.load_bundle(folder)  # what cannot be loaded again is never registered
        say("recording the run in MLflow")
        document |= {"bundle_version": sha}
        run_id, version = _registered(settings, trained, document, folder)
        document |= {"run_id": run_id, "model_version": str(version)}
        if document["promoted"]:
            say("promoting and publishing")
            _crown(settings, document, folder)
            tracking.keep_document(settings, run_id, document)
    return document


def _registered(settings: config.Config, trained: Trained, document: dict[str, Any], folder: Path) -> tuple[str, int]:
    """Record and register the run; what the store cannot take is kept on disk, for ``churn-clv sync`` to send later.

    Hours of training are not lost to a server that went away meanwhile, nor to whoever stops waiting for it.
    """
    run_id = None
    try:
        tracking.prepare(settings)
        run_id = tracking.log_run(settings, trained, document, folder)
        version = tracking.register(settings, run_id, folder)
        # Until the alias has moved the stored document says that it has not.
        told = {"run_id": run_id, "model_version": str(version), "promoted": False}
        tracking.keep_document(settings, run_id, document | told)
        return run_id, version
    except (Exception, KeyboardInterrupt) as error:
        reason = _first_line(error)
        try:
            place = unsent.keep(settings, trained, document, folder, run_id)
        except Exception as second:
            raise UserError(
                f"the run could not be recorded ({reason}), nor kept under {settings.out}/{unsent.FOLDER} "
                f"({_first_line(second, error)}). Mend what is said, then train again."
            ) from error
        kept = (
            f"the run is kept in {place}. Once the store can be written, `churn-clv sync` with the same config files, "
            f"or with {place / unsent.CONFIG}, sends it."
        )
        if isinstance(error, (*tracking.STORE_ERRORS, UserError)):
            raise UserError(f"the tracking store did not take the run ({reason}); {kept}") from error
        error.add_note(kept)
        raise


def _first_line(error: BaseException, before: BaseException | None = None) -> str:
    """What was at the bottom of it: a store's own words wrap the refused connection or the full disk.

    ``before`` is what was being handled when it came, which is not its reason.
    """
    while not isinstance(error, UserError) and (deeper := error.__cause__ or error.__context__) not in (None, before):
        assert deeper is not None
        error = deeper
    return next(iter(str(error).strip().splitlines()), type(error).__name__)


def _crown(settings: config.Config, document: dict[str, Any], folder: Path) -> None:
    """Promote and publish; where another training was faster, judge again against the champion that it made."""
    version = int(document["model_version"])
    try:
        succession.crown(settings, version, folder, document["why"], document["compared_with"])
    except succession.UnpublishedError:
        tracking.keep_document(settings, document["run_id"], document)  # champion all the same
        raise
    except tracking.OvertakenError:
        found = succession.promote(settings, str(version))
        document |= {key: found[key] for key in ("promoted", "why", "checks")} | {"compared_with": found["over"]}
    except tracking.STORE_ERRORS as error:
        raise UserError(
            f"the run is recorded, and registered as version {version}, but it was not promoted: {_first_line(error)} "
            f"Once the store can be written, `churn-clv promote {version} CONFIG...` goes on."
        ) from error
