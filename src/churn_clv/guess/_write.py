"""Writing YAML by hand, because the comments are the point. Every text goes through ``scalar``."""

from __future__ import annotations

import re
from typing import Any

import yaml

_PLAIN = re.compile(r"[A-Za-z_/.][A-Za-z0-9_./-]*( [A-Za-z0-9_./-]+)*")


def scalar(value: str | int | bool) -> str:
    """A YAML scalar that reads back as ``value``, on one line."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if _PLAIN.fullmatch(value) and yaml.safe_load(value) == value:
        return value
    return str(yaml.safe_dump(value, default_style='"', width=float("inf"), allow_unicode=False)).strip()


def flow(value: Any) -> str:
    """A mapping, list or scalar in YAML's one-line style."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{scalar(k)}: {flow(v)}" for k, v in value.items()) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(flow(v) for v in value) + "]"
    return scalar(value)


def listed(names: list[str] | tuple[str, ...], most: int = 8) -> str:
    """Names for a comment."""
    return ", ".join(scalar(n) for n in names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def entry(depth: int, key: str, value: Any = None, comment: str = "") -> str:
    """``key: value  # comment``, indented."""
    line = "  " * depth + f"{scalar(key)}:" + ("" if value is None else f" {flow(value)}")
    return f"{line:<44}  # {comment}" if comment else line


def note(depth: int, text: str) -> str:
    """A comment on a line of its own."""
    return "  " * depth + f"# {text}"
