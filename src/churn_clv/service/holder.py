"""The bundle that answers: follows ``bundles/CURRENT``, takes only what verifies, keeps the last good (contract K5)."""

from __future__ import annotations

import contextlib
import datetime as dt
import logging
import math
import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from churn_clv.errors import UserError
from churn_clv.service import proof

if TYPE_CHECKING:
    from churn_clv.bundle import Bundle

POLL_SECONDS = 2.0
# A bundle that failed for want of memory or time, and may be sound, is tried again after so long.
AGAIN_SECONDS = 60.0
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

    ``folder`` is the bundles folder; it need not exist yet. Readers take ``loaded`` once per request. ``prove`` raises
    UserError for a bundle that must not be loaded; it is asked before this process touches one. The bundle before the
    one in use stays in memory, so that a rollback to it takes no longer than a look at CURRENT. ``imported`` is called
    once, by the thread that follows CURRENT, when all that a bundle needs is imported and none is loaded yet.
    """

    def __init__(
        self, folder: Path, poll_seconds: float = POLL_SECONDS, prove: Callable[[Path], None] = proof.prove,
        imported: Callable[[], None] = lambda: None,
    ) -> None:  # fmt: skip
        self.folder, self.poll_seconds, self._prove, self._imported = folder, poll_seconds, prove, imported
        self.loaded: Loaded | None = None
        self.refused: Refused | None = None
        self.refusals = 0
        self.behind = False
        self._seen = self._since = time.monotonic()
        self._kept: dict[object, Bundle] = {}
        self._tried: object = None
        self._again = math.inf
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
            if name is None:
                return
            self._seen = time.monotonic()
            seen = (name, _stamp(self.folder / name))
            if seen != self._tried or self._seen >= self._again:
                self._tried, self._again = seen, math.inf
                if self.loaded is None or self.loaded.bundle.version != name:
                    self._take(name, seen)
            self.behind = self.loaded is None or self.loaded.bundle.version != name
        except UserError as error:
            self._refuse(name, str(error).replace(f"{self.folder}{os.sep}", ""), again=isinstance(error, proof.Unsure))
        except Exception as error:
            self._refuse(name, f"{type(error).__name__} while it was loaded", again=True)

    def state(self) -> dict[str, Any]:
        """What the metrics tell."""
        now, bundle = time.monotonic(), self.loaded.bundle if self.loaded else None
        return {
            "version": bundle and bundle.version,
            "dataset": bundle and bundle.config.dataset,
            "horizon_days": bundle and bundle.horizon_days,
            "loaded_seconds": now - self._since,
            "unseen_seconds": now - self._seen,
            "refusals": self.refusals,
            "behind": self.behind,
        }

    def _take(self, name: str, seen: object) -> None:
        bundle = self._kept.get(seen) or self._load(name, seen)
        self._kept = {key: old for key, old in self._kept.items() if self.loaded and old is self.loaded.bundle}
        self._kept[seen] = bundle
        self.loaded, self._since = Loaded(bundle, _now()), time.monotonic()
        log.info("bundle %s loaded: %s, %d days", name, bundle.config.dataset, bundle.horizon_days)

    def _load(self, name: str, seen: object) -> Bundle:
        if not proof.remembered(seen):
            self._prove(self.folder / name)
        from churn_clv.bundle import load_bundle

        bundle = load_bundle(self.folder / name)
        if bundle.version != name:
            raise UserError(f"{name} holds bundle {bundle.version}. Publish it again.")
        proof.remember(seen)
        return bundle

    def _refuse(self, name: str | None, why: str, again: bool = False) -> None:
        """Remember, and log and count once, that CURRENT was not followed; ``again``: it may be the machine's fault."""
        self.behind = True
        if again:
            self._again = time.monotonic() + AGAIN_SECONDS
        if self.refused is None or (self.refused.name, self.refused.why) != (name, why):
            self.refused, self.refusals = Refused(name, why, _now()), self.refusals + 1
            log.error("bundle %s refused: %s", name, why)

    def _follow(self) -> None:
        with contextlib.suppress(Exception):  # ``check`` imports them, too, and tells what is wrong
            import churn_clv.bundle
            import churn_clv.publish  # noqa: F401

        self._imported()
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
