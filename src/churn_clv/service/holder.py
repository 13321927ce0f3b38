"""The bundle that answers: follows ``bundles/CURRENT``, takes only what verifies, keeps the last good (contract K5)."""

from __future__ import annotations

import datetime as dt
import logging
import os
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from churn_clv.errors import UserError

if TYPE_CHECKING:
    from churn_clv.bundle import Bundle

POLL_SECONDS = 2.0
log = logging.getLogger("churn_clv.service")


@dataclass(frozen=True)
class Loaded:
    """A verified bundle and when it was taken."""

    bundle: Bundle
    at: dt.datetime


@dataclass(frozen=True)
class Refused:
    """A published bundle (its folder's name) that was not taken, why, and when that was first seen."""

    name: str | None
    why: str
    at: dt.datetime


class Holder:
    """One reference to the bundle in use, replaced as a whole by a background thread.

    ``folder`` is the bundles folder; it need not exist yet. Readers take ``loaded`` once per request.
    """

    def __init__(self, folder: Path, poll_seconds: float = POLL_SECONDS) -> None:
        self.folder, self.poll_seconds = folder, poll_seconds
        self.loaded: Loaded | None = None
        self.refused: Refused | None = None
        self._tried: object = None
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin to follow CURRENT; returns at once."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._follow, name="bundle holder", daemon=True)
            self._thread.start()

    def stop(self) -> None:
        """Stop following; what is loaded stays."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join(timeout=5)

    def check(self) -> None:
        """Look at CURRENT once and take its bundle if it is another one and sound. Never raises."""
        name = None
        try:
            # Here and not above: LightGBM takes seconds to import, and the port should open before that.
            from churn_clv import publish

            name = publish.current(self.folder)
            seen = (name, _stamp(self.folder / name) if name else None)
            if name is None or seen == self._tried:
                return
            self._tried = seen
            if self.loaded is None or self.loaded.bundle.version != name:
                self._take(name)
        except UserError as error:
            self._refuse(name, str(error).replace(f"{self.folder}{os.sep}", ""))
        except Exception as error:
            self._refuse(name, f"{type(error).__name__} while it was loaded")

    def _take(self, name: str) -> None:
        from churn_clv.bundle import load_bundle

        bundle = load_bundle(self.folder / name)
        if bundle.version != name:
            raise UserError(f"{name} holds bundle {bundle.version}. Publish it again.")
        self.loaded = Loaded(bundle, _now())
        log.info("bundle %s loaded: %s, %d days", name, bundle.config.dataset, bundle.horizon_days)

    def _refuse(self, name: str | None, why: str) -> None:
        """Remember, and log once, that CURRENT was not followed."""
        if self.refused is None or (self.refused.name, self.refused.why) != (name, why):
            self.refused = Refused(name, why, _now())
            log.error("bundle %s refused: %s", name, why)

    def _follow(self) -> None:
        while not self._stop.is_set():
            self.check()
            self._stop.wait(self.poll_seconds)


def _stamp(folder: Path) -> tuple[tuple[str, int, int], ...]:
    """What changes when a folder's files do: a broken bundle is tried again only after someone mended it."""
    try:
        found = [(entry.name, entry.stat().st_size, entry.stat().st_mtime_ns) for entry in os.scandir(folder)]
    except FileNotFoundError:
        return ()
    return tuple(sorted(found))


def _now() -> dt.datetime:
    return dt.datetime.now(dt.UTC).replace(microsecond=0)
