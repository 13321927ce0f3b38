"""API keys: made once, known by their sums only, compared in constant time, read again when their file changes."""

from __future__ import annotations

import ast
import hashlib
import hmac
import json
import logging
import os
from pathlib import Path

import pytest
from typer.testing import CliRunner

from churn_clv import cli
from churn_clv.errors import UserError
from churn_clv.service import keys
from churn_clv.service.keys import Keys

KEY, LINE = keys.make("shop")
OTHER, OTHER_LINE = keys.make("crm")


def asked(known: Keys, *headers: tuple[str, str | bytes]) -> str | None:
    plain = [(n.encode(), v.encode() if isinstance(v, str) else v) for n, v in headers]
    return known.name_of(plain)


def test_a_key_is_random_and_its_line_holds_its_sum_only() -> None:
    assert KEY != OTHER and len(KEY) >= 43 and KEY not in LINE
    assert f"shop:{hashlib.sha256(KEY.encode()).hexdigest()}" == LINE
    for bad in ("", "a b", "ä", "x" * 51, "-x", "a:b"):
        with pytest.raises(UserError):
            keys.make(bad)


def test_either_header_opens_and_names_the_caller() -> None:
    known = Keys(given=f"{LINE}\n{OTHER_LINE}")
    assert asked(known, ("x-api-key", KEY)) == "shop"
    assert asked(known, ("X-Api-Key", f" {OTHER} ")) == "crm"
    assert asked(known, ("Authorization", f"bearer {KEY}")) == "shop"
    assert asked(known, ("authorization", "Basic eDp5"), ("x-api-key", KEY)) == "shop"


@pytest.mark.parametrize(
    "headers",
    [
        (),
        (("x-api-key", ""),),
        (("x-api-key", KEY[:-1]),),
        (("x-api-key", KEY + "x"),),
        (("x-api-key", KEY.lower()),),
        (("x-api-key", "k" * 100_000),),
        (("x-api-key", "schlüssel".encode()),),
        (("x-api-key", b"\xff\xfe\x00"),),
        (("x-api-key", LINE.partition(":")[2]),),
        (("authorization", KEY),),
        (("authorization", f"Basic {KEY}"),),
        (("authorization", "Bearer "),),
        (("x-api-key", KEY), ("x-api-key", KEY)),
        (("x-api-key", "wrong"), ("authorization", f"Bearer {KEY}")),
        (("cookie", f"x-api-key={KEY}"),),
    ],
)
def test_anything_else_opens_nothing(headers: tuple[tuple[str, str], ...]) -> None:
    assert asked(Keys(given=LINE), *headers) is None
    assert asked(Keys(), *headers) is None


def test_every_known_sum_is_compared_in_constant_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """S7 asks for `compare_digest` itself: the first of two keys is not where the comparison ends."""
    met: list[tuple[bytes, bytes]] = []
    real = hmac.compare_digest

    def counting(one: bytes, two: bytes) -> bool:
        met.append((one, two))
        return real(one, two)

    monkeypatch.setattr(keys.hmac, "compare_digest", counting)
    assert asked(Keys(given=f"{LINE}\n{OTHER_LINE}"), ("x-api-key", KEY)) == "shop"
    assert len(met) == 2 and {len(side) for pair in met for side in pair} == {32}
    tree = ast.parse(Path(keys.__file__).read_text())
    compared = [ast.unparse(n) for n in ast.walk(tree) if isinstance(n, ast.Compare)]
    assert not [text for text in compared if "digest" in text or "given ==" in text]


def test_the_file_is_read_again_when_it_changes_and_two_keys_live_side_by_side(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keys, "LOOK_SECONDS", 0.0)
    path = tmp_path / "keys.txt"
    keys.add(path, LINE)
    known = Keys(path)
    assert path.stat().st_mode & 0o777 == 0o644
    assert (asked(known, ("x-api-key", KEY)), asked(known, ("x-api-key", OTHER))) == ("shop", None)
    keys.add(path, OTHER_LINE)
    assert (asked(known, ("x-api-key", KEY)), asked(known, ("x-api-key", OTHER))) == ("shop", "crm")
    path.write_text(f"# moved\n{OTHER_LINE}\n")
    assert (asked(known, ("x-api-key", KEY)), asked(known, ("x-api-key", OTHER))) == (None, "crm")


def test_a_file_that_is_gone_opens_nothing_and_is_said_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(keys, "LOOK_SECONDS", 0.0)
    path = tmp_path / "keys.txt"
    keys.add(path, LINE)
    known = Keys(path, given=OTHER_LINE)
    path.rename(tmp_path / "away")
    for _ in range(3):
        assert asked(known, ("x-api-key", KEY)) is None
    assert asked(known, ("x-api-key", OTHER)) == "crm"
    assert [r.levelno for r in caplog.records] == [logging.ERROR] and "cannot be read" in caplog.text
    os.rename(tmp_path / "away", path)
    assert asked(known, ("x-api-key", KEY)) == "shop"


def test_a_line_that_is_none_is_left_out_and_named_by_its_number(caplog: pytest.LogCaptureFixture) -> None:
    known = Keys(given=f"{KEY}\n\n# a note\n{LINE},{LINE}\nshop2:abc")
    assert asked(known, ("x-api-key", KEY)) == "shop" and len(known) == 1
    assert [word for word in ("line 1:", "line 5:", "line 6:") if word in caplog.text] == [
        "line 1:",
        "line 5:",
        "line 6:",
    ]
    assert KEY not in caplog.text


def test_a_name_is_added_once(tmp_path: Path) -> None:
    keys.add(tmp_path / "deep" / "keys.txt", LINE)
    with pytest.raises(UserError, match="twice"):
        keys.add(tmp_path / "deep" / "keys.txt", keys.make("shop")[1])
    assert (tmp_path / "deep" / "keys.txt").read_text() == f"{LINE}\n"
    assert [p.name for p in (tmp_path / "deep").iterdir()] == ["keys.txt"]


def test_the_command_shows_the_key_once_and_keeps_its_sum(tmp_path: Path) -> None:
    path = tmp_path / "keys.txt"
    said = CliRunner().invoke(cli.app, ["key", "shop", "--file", str(path), "--json"])
    assert said.exit_code == 0, said.output
    told = json.loads(said.stdout)
    assert asked(Keys(path), ("x-api-key", told["key"])) == "shop"
    assert told["key"] not in path.read_text() and told["line"] in path.read_text()
    shown = CliRunner().invoke(cli.app, ["key", "crm"])
    line = next(word for word in shown.stdout.split() if word.startswith("crm:"))
    key = next(word for word in shown.stdout.split() if word.startswith(keys.PREFIX))
    assert asked(Keys(given=line), ("x-api-key", key)) == "crm" and len(path.read_text().splitlines()) == 1
