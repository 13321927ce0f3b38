"""Who is left alone to measure by: a keyed hash of customer and salt, a draw to be repeated but not guessed."""

from __future__ import annotations

import hashlib
import hmac

import numpy as np
import polars as pl
from numpy.typing import NDArray

UNIVERSAL = "universal holdout"


def held_out(ids: pl.Series, share: float, key: bytes, salt: str) -> NDArray[np.bool_]:
    """Whether each id is in the holdout of ``salt`` (a campaign's name, or UNIVERSAL), (n,).

    The same id, salt and key give the same answer in every order and company; a larger share keeps those of a smaller.
    """
    own = hmac.digest(key, f"holdout {salt}".encode(), hashlib.sha256)
    drawn = [int.from_bytes(hmac.digest(own, str(i).encode(), hashlib.sha256)[:8], "big") / 2**64 for i in ids]
    return np.array(drawn, dtype=np.float64) < share
