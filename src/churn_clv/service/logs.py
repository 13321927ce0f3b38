"""The log: one JSON object a line, holding counts and places, and no value of a request or of a customer.

Our own lines carry named fields. Of other libraries only the level, the place and, from the server itself, the message
are told: an exception's text may quote the value it stumbled over, so of errors there is the type and the place.
"""

from __future__ import annotations

import datetime as dt
import json
import logging
import sys
import threading
import traceback
from types import TracebackType
from typing import Any

OURS = "churn_clv"
# Whose messages name addresses, processes and start-up steps; above a warning they may quote a request.
SERVER = ("bentoml", "circus", "uvicorn")
# The server's own lines for each request hold the caller's address and the path as it was sent.
SILENT = ("bentoml.access", "uvicorn.access")


class JsonLines(logging.Formatter):
    """A record as one line of JSON."""

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        moment = dt.datetime.fromtimestamp(record.created, dt.UTC).isoformat(timespec="milliseconds")
        line: dict[str, Any] = {"time": moment, "level": record.levelname.lower(), "logger": record.name}
        line["message"] = _message(record)
        line |= getattr(record, "fields", {})
        if record.exc_info and record.exc_info[1] is not None:
            line["error"] = described(record.exc_info[1])
        return json.dumps(line)


def _message(record: logging.LogRecord) -> str:
    top = record.name.partition(".")[0]
    if top == OURS or (top in SERVER and record.levelno < logging.ERROR and not record.exc_info):
        return record.getMessage()
    if top in SERVER:
        return str(record.msg).partition("\n")[0][:200]
    return f"not shown; from {record.module}:{record.lineno}"


def described(error: BaseException) -> str:
    """An exception's type and place."""
    frames = traceback.extract_tb(error.__traceback__)
    where = f" at {frames[-1].filename}:{frames[-1].lineno} in {frames[-1].name}" if frames else ""
    return f"{type(error).__name__}{where}"


def set_up() -> None:
    """Make every logger of this process, and what Python prints of errors that nobody caught, write such lines."""
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(JsonLines())
    logging.captureWarnings(True)
    for name in list(logging.root.manager.loggerDict):
        logger = logging.getLogger(name)
        logger.handlers.clear()
        logger.propagate = True
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    for name in (OURS, "bentoml"):
        logging.getLogger(name).setLevel(logging.INFO)
    for name in SILENT:
        logging.getLogger(name).disabled = True
    _catch_all()


def _catch_all() -> None:
    log = logging.getLogger("churn_clv.service")

    def told(kind: type[BaseException], error: BaseException | None, trace: TracebackType | None) -> None:
        if error is not None and not issubclass(kind, KeyboardInterrupt | SystemExit):
            log.critical("an error that nobody caught", extra={"fields": {"error": described(error)}})

    sys.excepthook = told
    threading.excepthook = lambda args: told(args.exc_type, args.exc_value, args.exc_traceback)
    sys.unraisablehook = lambda args: told(args.exc_type, args.exc_value, args.exc_traceback)
