"""The log's lines: JSON, our own fields, and of others no word that could be a customer's."""

from __future__ import annotations

import json
import logging
import sys
from typing import Any

import pytest

from churn_clv.service import logs
from churn_clv.service.logs import JsonLines

CANARY = "jane.canary@example.com"


def line(
    name: str, level: int, message: Any, *args: Any, error: BaseException | None = None, **fields: Any
) -> dict[str, Any]:
    info = (type(error), error, error.__traceback__) if error else None
    record = logging.LogRecord(name, level, __file__, 1, message, args, info)
    if fields:
        record.fields = fields
    text = JsonLines().format(record)
    assert "\n" not in text
    out: dict[str, Any] = json.loads(text)
    return out


def raised() -> BaseException:
    try:
        raise KeyError(CANARY)
    except KeyError as error:
        return error


def test_our_lines_carry_their_fields() -> None:
    got = line("churn_clv.access", logging.INFO, "request", status=200, ms=1.5)
    assert got.pop("time").endswith("+00:00")
    assert got == {"level": "info", "logger": "churn_clv.access", "message": "request", "status": 200, "ms": 1.5}


def test_an_exception_is_its_type_and_place() -> None:
    got = line("churn_clv.service", logging.ERROR, "it failed", error=raised())
    assert got["error"].startswith("KeyError at ") and "test_logs.py" in got["error"]
    assert CANARY not in json.dumps(got)


@pytest.mark.parametrize("name", ["asyncio", "polars", "py.warnings", "bentomlx", "root"])
def test_of_others_only_the_place_is_told(name: str) -> None:
    got = line(name, logging.ERROR, f"value {CANARY}", error=raised())
    assert CANARY not in json.dumps(got) and got["message"] == "not shown; from test_logs:1"


def test_the_servers_own_words_are_told_below_an_error() -> None:
    assert line("bentoml.serve", logging.INFO, "listening on %s", "x:3")["message"] == "listening on x:3"
    failed = line("bentoml.serve", logging.ERROR, "Exception on %s [%s]", CANARY, "POST", error=raised())
    assert failed["message"] == "Exception on %s [%s]" and CANARY not in json.dumps(failed)
    assert CANARY not in json.dumps(
        line("uvicorn.error", logging.ERROR, "Exception in ASGI application\n", error=raised())
    )


def test_set_up_takes_every_logger_and_what_python_prints(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """In a process of its own kind: hooks and handlers are put back afterwards."""
    root, before = logging.getLogger(), logging.getLogger().handlers[:]
    level, levels = root.level, {n: logging.getLogger(n).level for n in ("churn_clv", "bentoml")}
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)
    import threading

    monkeypatch.setattr(threading, "excepthook", threading.excepthook)
    monkeypatch.setattr(sys, "unraisablehook", sys.unraisablehook)
    other = logging.getLogger("somebody.else")
    other.addHandler(logging.StreamHandler(sys.stderr))
    try:
        logs.set_up()
        other.error("value %s", CANARY)
        logging.getLogger("uvicorn.access").warning("GET /%s", CANARY)
        thread = threading.Thread(target=lambda: {}[CANARY])  # type: ignore[index]
        thread.start()
        thread.join()
        said = capsys.readouterr()
        assert said.err == "" and CANARY not in said.out
        assert [json.loads(text)["level"] for text in said.out.splitlines()] == ["error", "critical"]
    finally:
        root.handlers[:] = before
        root.setLevel(level)
        for name, old in levels.items():
            logging.getLogger(name).setLevel(old)
        for name in logs.SILENT:
            logging.getLogger(name).disabled = False
        logging.captureWarnings(False)
