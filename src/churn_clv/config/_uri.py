"""A store's address as it may be written down."""

from __future__ import annotations

import re

# What a query may name a secret by; an ODBC connection string holds one among other things.
_SECRET = re.compile(r"([?&](?:password|passwd|pwd|sslpassword|odbc_connect)=)[^&#]*", re.IGNORECASE)


def without_password(uri: str) -> str:
    """The address without its password, and without a lone user of a web server, which may be a token.

    A password may hold any character, also those that belong encoded (/ ? # @ :), so it ends at the last @. An address
    with a port and an @ further on is shortened too much by that: it is to be read, and nothing connects with it.
    """
    scheme, found, rest = _SECRET.sub(r"\1", uri).partition("://")
    if not found or rest.startswith("/"):  # a file's, as sqlite:///path
        return f"{scheme}{found}{rest}"
    rest = re.sub(r"^([^:]*):.*@", r"\1@", rest, flags=re.DOTALL)
    if scheme.lower().startswith("http"):
        rest = re.sub(r"^[^/?#]*@", "", rest)
    return f"{scheme}://{rest}"
