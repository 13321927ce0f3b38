"""Which database: an address as SQLAlchemy writes them, of SQLite or PostgreSQL."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

from churn_clv.config import without_password
from churn_clv.errors import UserError

ENVIRONMENT = "CHURN_CLV_SCORES"
POSTGRES_PORT = 5432


@dataclass(frozen=True)
class Address:
    """An SQLite ``file``, or a PostgreSQL server: ``login`` is what pg8000 connects with. ``shown``: no password."""

    shown: str
    file: Path | None = None
    login: tuple[tuple[str, object], ...] = ()


def address_of(text: str) -> Address:
    """``sqlite:///path`` or a path, or ``postgresql[+pg8000]://user:password@host[:port]/database[?sslmode=require]``.

    Raises UserError for anything else.
    """
    shown = without_password(text)
    scheme, separator, rest = text.partition("://")
    if not separator:
        return Address(shown, Path(text))
    if re.fullmatch(r"sqlite(\+\w+)?", scheme) and rest.startswith("/") and len(rest) > 1:
        return Address(shown, Path(rest[1:]))
    if scheme in ("postgresql", "postgresql+pg8000", "postgres"):
        return Address(shown, login=_login(text, shown))
    raise UserError(
        f"the table of scores {shown}: give sqlite:///path/scores.db or "
        f"postgresql+pg8000://user:password@host/database (service.scores, or {ENVIRONMENT})."
    )


def _login(text: str, shown: str) -> tuple[tuple[str, object], ...]:
    try:
        parts = urlsplit(text)
        found: dict[str, object] = {
            "user": unquote(parts.username or ""), "host": parts.hostname or "localhost",
            "port": parts.port or POSTGRES_PORT, "database": unquote(parts.path.removeprefix("/")) or None,
        }  # fmt: skip
    except ValueError:
        raise UserError(
            f"the address {shown} cannot be read. Encode what is special in a password (%40 for @)."
        ) from None
    if not found["user"]:
        raise UserError(f"the address {shown} names no user. Write postgresql+pg8000://user:password@host/database.")
    if parts.password is not None:
        found["password"] = unquote(parts.password)
    if parse_qs(parts.query).get("sslmode", ["prefer"])[0] in ("require", "verify-ca", "verify-full"):
        found["ssl_context"] = True  # the system's certificates, and the host's name is checked
    return tuple(found.items())
