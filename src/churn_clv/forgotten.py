"""Whom a data set has forgotten: keyed hashes, so that a later scoring leaves them out and no id is kept.

The list is ``out``/forgotten/<dataset>.json. Its hashes are the same key's as the pseudonyms of stored predictions, but
of another domain: one does not tell of the other. With another key nobody would be recognised, so it is refused.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Callable, Iterable
from pathlib import Path

import polars as pl

from churn_clv import config
from churn_clv.disk import written
from churn_clv.errors import UserError
from churn_clv.pseudonym import id_key, key_name

DIGITS = 64


def file_of(settings: config.Config) -> Path:
    """The list of a data set."""
    return Path(settings.out) / "forgotten" / f"{settings.dataset}.json"


def key_of(key: bytes, dataset: str, customer_id: str) -> str:
    """The keyed hash by which a forgotten id is known again: 64 hex digits."""
    return hmac.digest(_domain(key, dataset), customer_id.encode(), hashlib.sha256).hex()


def keys(settings: config.Config) -> frozenset[str]:
    """The hashes of everyone forgotten. Raises UserError for a damaged list, or one of another key."""
    path = file_of(settings)
    if not path.exists():
        return frozenset()
    try:
        found = json.loads(path.read_text(encoding="ascii"))
        name, listed = str(found["key"]), [str(key) for key in found["customer_keys"]]
    except (ValueError, KeyError, TypeError):
        raise UserError(f"{path} is damaged: who was forgotten is not known. Restore it from a backup.") from None
    if listed and name != key_name(id_key(settings.out)):
        raise UserError(
            f"{path} was made with another key ({name}): who was forgotten would come back. Give that key "
            f"(CHURN_CLV_ID_KEY, or {Path(settings.out) / 'id.key'})."
        )
    return frozenset(listed)


def add(settings: config.Config, ids: Iterable[str]) -> list[str]:
    """Put ids on the list (a second time changes nothing); returns their hashes, in their order."""
    key = id_key(settings.out)
    own = [key_of(key, settings.dataset, name) for name in ids]
    known = keys(settings)
    path = file_of(settings)
    if not set(own) <= known:
        path.parent.mkdir(parents=True, exist_ok=True)
        document = {"key": key_name(key), "customer_keys": sorted(known | set(own))}
        with written(path) as draft:
            draft.write_text(json.dumps(document, indent=1) + "\n", encoding="ascii")
    return own


def without(settings: config.Config) -> Callable[[pl.DataFrame], pl.DataFrame]:
    """What takes the forgotten out of a frame of events; the frame itself where nobody was."""
    known = keys(settings)
    if not known:
        return lambda frame: frame
    domain = _domain(id_key(settings.out), settings.dataset)

    def sift(frame: pl.DataFrame) -> pl.DataFrame:
        ids = frame["customer_id"].unique()
        gone = [n for n in ids if hmac.digest(domain, n.encode(), hashlib.sha256).hex() in known]
        return frame.filter(~pl.col("customer_id").is_in(gone)) if gone else frame

    return sift


def _domain(key: bytes, dataset: str) -> bytes:
    return hmac.digest(key, b"churn_clv forgotten\0" + dataset.encode(), hashlib.sha256)
