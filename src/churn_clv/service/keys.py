"""API keys: random, known only by their SHA-256 sums, compared in constant time, read again when their file changes.

A line is ``name:sum``; the name stands in the log and has a rate of its own. A key holds 256 random bits, so a plain
sum cannot be undone (a password's could). Two keys may live side by side: add the new one, move the callers to it,
remove the old.
"""

from __future__ import annotations

import hashlib
import hmac
import logging
import os
import re
import secrets
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path

from churn_clv.errors import UserError

VARIABLE = "CHURN_CLV_KEYS"
PREFIX = "ck_"
LONGEST = 200
LOOK_SECONDS = 1.0
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,49}")
_LINE = re.compile(rf"(?P<name>{NAME.pattern}):(?P<sum>[0-9a-f]{{64}})")
log = logging.getLogger("churn_clv.service")

Known = tuple[tuple[str, bytes], ...]


def make(name: str) -> tuple[str, str]:
    """A new key and the line that knows it. Raises UserError for a name that is none."""
    if not NAME.fullmatch(name):
        raise UserError(f"'{name}' is no name for a key. Use up to 50 letters, digits, dots, dashes and underscores.")
    key = PREFIX + secrets.token_urlsafe(32)
    return key, f"{name}:{hashlib.sha256(key.encode()).hexdigest()}"


def parse(text: str, where: str) -> tuple[Known, list[str]]:
    """The keys of a text, one a line (or parted by commas), and what is wrong with its other lines, by number."""
    known, wrong = {}, []
    for number, line in enumerate(text.replace(",", "\n").splitlines(), 1):
        line = line.strip()
        if not line or line.startswith("#"):
            continue
        found = _LINE.fullmatch(line)
        if found is None:
            wrong.append(f"{where}, line {number}: not `name:` and 64 hex digits")
        elif found["name"] in known:
            wrong.append(f"{where}, line {number}: the name '{found['name']}' stands there twice")
        else:
            known[found["name"]] = bytes.fromhex(found["sum"])
    return tuple(known.items()), wrong


def add(path: Path, line: str) -> None:
    """Append a line; a reader sees the file as it was or as it is. Raises UserError for a name already there."""
    before = path.read_text(encoding="utf-8") if path.exists() else ""
    _, wrong = parse(f"{before.rstrip()}\n{line}\n", str(path))
    if wrong:
        raise UserError(f"{wrong[0]}. Nothing was added.")
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, draft = tempfile.mkstemp(prefix=".keys-", dir=path.parent)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(f"{before.rstrip()}\n{line}\n".lstrip())
            file.flush()
            os.fsync(file.fileno())
        # Sums of random keys tell nothing, and the service may run as another user.
        os.chmod(draft, path.stat().st_mode & 0o777 if path.exists() else 0o644)
        os.replace(draft, path)
    finally:
        Path(draft).unlink(missing_ok=True)


class Keys:
    """The keys that open the service: those of the environment and those of the file, as it is now.

    A file that is gone or cannot be read opens nothing; a line that cannot be read is left out. Both are logged, once.
    """

    def __init__(self, path: Path | None = None, given: str = "") -> None:
        self.path = path
        self._fixed, wrong = parse(given, VARIABLE)
        self._known: Known = self._fixed
        self._stamp: object = ()
        self._next_look = 0.0
        _complain(wrong)
        self.look()

    def __len__(self) -> int:
        return len(self._known)

    def look(self) -> None:
        """Read the file again where it changed."""
        if self.path is None:
            return
        try:
            found = self.path.stat()
            stamp: object = (found.st_mtime_ns, found.st_size, found.st_ino)
            if stamp == self._stamp:
                return
            known, wrong = parse(self.path.read_text(encoding="utf-8"), self.path.name)
        except (OSError, UnicodeDecodeError) as error:
            known, wrong, stamp = (), [f"{self.path.name} cannot be read ({type(error).__name__})"], type(error)
        if stamp != self._stamp:
            _complain(wrong)
        self._stamp, self._known = stamp, self._fixed + known

    def name_of(self, headers: Iterable[tuple[bytes, bytes]]) -> str | None:
        """Whose key a request carries (X-API-Key, or Authorization: Bearer); None for none, a wrong one or two."""
        now = time.monotonic()
        if now >= self._next_look:
            self._next_look = now + LOOK_SECONDS
            self.look()
        given = _given(headers)
        if given is None or not 0 < len(given) <= LONGEST:
            return None
        digest, found = hashlib.sha256(given).digest(), None
        for name, known in self._known:
            if hmac.compare_digest(digest, known):
                found = name
        return found


def _given(headers: Iterable[tuple[bytes, bytes]]) -> bytes | None:
    """The one key of a request; of two it is not clear which one was meant. A proxy may use Authorization: Basic."""
    found = []
    for name, value in headers:
        name = name.lower()
        if name == b"x-api-key":
            found.append(value.strip())
        elif name == b"authorization" and value[:7].lower() == b"bearer ":
            found.append(value[7:].strip())
    return found[0] if len(found) == 1 else None


def _complain(wrong: list[str]) -> None:
    for what in wrong:
        log.error("API keys: %s", what)
