"""Pseudonyms: the published HMAC-SHA256 answer, a key that is made once and kept private."""

from __future__ import annotations

import stat
import threading
from pathlib import Path

import polars as pl
import pytest

from churn_clv.errors import UserError
from churn_clv.pseudonym import id_key, key_name, pseudonyms

KEY = bytes(range(32))


@pytest.fixture(autouse=True)
def no_key_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CHURN_CLV_ID_KEY", raising=False)


def test_it_is_hmac_sha256() -> None:
    # RFC 4231, test case 1.
    expected = "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7"
    assert pseudonyms(pl.Series(["Hi There"]), b"\x0b" * 20).to_list() == [expected]


def test_equal_ids_get_equal_pseudonyms_in_place_and_null_stays_null() -> None:
    got = pseudonyms(pl.Series("customer_id", ["a", "b", None, "a"]), KEY)
    assert got.name == "customer_key"
    assert got[0] == got[3] != got[1]
    assert got[2] is None
    assert pseudonyms(pl.Series("customer_id", [], dtype=pl.String), KEY).to_list() == []


def test_another_key_gives_other_pseudonyms_and_another_name() -> None:
    ids, other = pl.Series(["a", "b"]), bytes(32)
    assert set(pseudonyms(ids, KEY)).isdisjoint(pseudonyms(ids, other))
    assert key_name(KEY) != key_name(other)
    assert KEY.hex().find(key_name(KEY)) == -1


def test_the_key_file_is_made_once_and_only_its_owner_reads_it(tmp_path: Path) -> None:
    key = id_key(tmp_path / "out")
    assert len(key) == 32
    assert id_key(tmp_path / "out") == key
    assert stat.S_IMODE((tmp_path / "out" / "id.key").stat().st_mode) == 0o600
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["id.key"]
    assert id_key(tmp_path / "elsewhere") != key


def test_many_first_users_agree_on_one_key(tmp_path: Path) -> None:
    keys: list[bytes] = []
    threads = [threading.Thread(target=lambda: keys.append(id_key(tmp_path))) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(keys) == 16
    assert len(set(keys)) == 1


def test_the_environment_wins_and_writes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHURN_CLV_ID_KEY", KEY.hex())
    assert id_key(tmp_path) == KEY
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("text", ["hunter2", "ab" * 31, "zz" * 32, "ab" * 33])
def test_a_key_that_is_not_64_hex_digits_is_refused_without_being_shown(
    text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CHURN_CLV_ID_KEY", text)
    with pytest.raises(UserError, match="64 hex digits") as refused:
        id_key(tmp_path)
    assert text not in str(refused.value)


def test_a_key_file_open_to_others_is_refused(tmp_path: Path) -> None:
    id_key(tmp_path)
    (tmp_path / "id.key").chmod(0o644)
    with pytest.raises(UserError, match="chmod 600"):
        id_key(tmp_path)
