"""Keyed pseudonyms for customer ids: HMAC-SHA256, so that whoever lacks the key can neither reverse nor guess them.

A plain hash of a customer number is undone by hashing every number; a keyed one is not (EDPB Guidelines
01/2025 on pseudonymisation: a secret kept apart from the data). The key is never stored beside what it hides.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import re
import secrets
from pathlib import Path

import polars as pl

from churn_clv.errors import UserError

VARIABLE = "CHURN_CLV_ID_KEY"
FILE = "id.key"
KEY_BYTES = 32


def id_key(folder: str | Path) -> bytes:
    """The 32-byte key: CHURN_CLV_ID_KEY (64 hex digits) first, then ``folder``/id.key, made once with mode 0600.

    Raises UserError when the key is not 64 hex digits or its file is open to other users.
    """
    given = os.environ.get(VARIABLE)
    if given:
        return _parse(given, f"the environment variable {VARIABLE}")
    path = Path(folder) / FILE
    if not path.exists():
        _create(path)
    return _read(path)


def known_key(path: str | Path | None) -> bytes | None:
    """The key that there is: CHURN_CLV_ID_KEY first, then the file ``path``; None without one, and none is made."""
    given = os.environ.get(VARIABLE)
    if given:
        return _parse(given, f"the environment variable {VARIABLE}")
    return _read(Path(path)) if path is not None and Path(path).exists() else None


def pseudonyms(ids: pl.Series, key: bytes) -> pl.Series:
    """One 64-digit hex pseudonym per id (a String series of the same length, named customer_key); null stays null."""
    names = ids.cast(pl.String)
    once = names.drop_nulls().unique()
    hashed = [hmac.digest(key, name.encode(), hashlib.sha256).hex() for name in once]
    return names.replace_strict(once, hashed, default=None, return_dtype=pl.String).rename("customer_key")


def key_name(key: bytes) -> str:
    """Eight hex digits that tell two keys apart and reveal neither: pseudonyms of different keys never match."""
    return hmac.digest(key, b"churn_clv key name", hashlib.sha256).hex()[:8]


def _read(path: Path) -> bytes:
    if os.name == "posix" and path.stat().st_mode & 0o077:
        raise UserError(f"the key file {path} is open to other users: run `chmod 600 {path}`.")
    return _parse(path.read_text(encoding="ascii", errors="replace"), f"the key file {path}")


def _create(path: Path) -> None:
    """Write a new key aside and link it into place: of two processes one wins, none reads half a key."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{FILE}.{secrets.token_hex(8)}")
    handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "w", encoding="ascii") as file:
        file.write(secrets.token_hex(KEY_BYTES) + "\n")
        file.flush()
        os.fsync(file.fileno())
    try:
        os.link(draft, path)
    except FileExistsError:
        pass
    finally:
        draft.unlink()


def _parse(text: str, where: str) -> bytes:
    if not re.fullmatch(rf"[0-9a-fA-F]{{{2 * KEY_BYTES}}}", text.strip()):
        raise UserError(
            f"{where} does not hold {2 * KEY_BYTES} hex digits. Make one with "
            f"`python -c 'import secrets; print(secrets.token_hex({KEY_BYTES}))'`."
        )
    return bytes.fromhex(text.strip())
