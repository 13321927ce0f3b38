"""Why a setting is refused, in the words of whoever writes YAML: what is expected, and what was found."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

EXPECTED = {
    "bool": "true or false",
    "int": "a whole number",
    "float": "a number",
    "string": "text",
    "date": "a date such as 2024-05-31",
    "tuple": "a list, such as [a, b]",
    "list": "a list, such as [a, b]",
    "set": "a list, such as [a, b]",
    "dict": "keys and values",
    "mapping": "keys and values",
    "model": "keys and values",
}
BOUNDS = {
    "greater_than": ("above", "gt"),
    "greater_than_equal": ("at least", "ge"),
    "less_than": ("below", "lt"),
    "less_than_equal": ("at most", "le"),
}


def expected(item: Mapping[str, Any]) -> str:
    """One of pydantic's errors as 'expected a whole number, found text'.

    Text is never repeated: it may be a password. Where a check of our own speaks, its words stand.
    """
    kind, context = str(item["type"]), item.get("ctx", {})
    if kind in BOUNDS:
        word, key = BOUNDS[kind]
        return f"expected a number {word} {_plain(context[key])}, found {found(item['input'])}"
    if kind in ("literal_error", "enum"):
        return f"expected {context['expected']}, found {found(item['input'])}"
    if kind in ("too_short", "too_long"):
        word, key = ("at least", "min_length") if kind == "too_short" else ("at most", "max_length")
        count = context[key]
        return f"expected {word} {count} value{'' if count == 1 else 's'}, found {context['actual_length'] or 'none'}"
    if kind == "finite_number":
        return f"expected a finite number, found {found(item['input'])}"
    if kind == "string_pattern_mismatch":
        return f"this text has not the form {context['pattern']}"
    if kind in ("string_too_short", "string_too_long"):
        word, key = ("at least", "min_length") if kind == "string_too_short" else ("at most", "max_length")
        return f"expected text of {word} {context[key]} character{'' if context[key] == 1 else 's'}"
    of, _, why = kind.partition("_")
    if why and of in EXPECTED:
        return f"expected {EXPECTED[of]}, found {found(item['input'])}"
    return str(item["msg"]).removeprefix("Value error, ")


def found(value: Any) -> str:
    """What was given: a number as it is, all else by its kind."""
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return _plain(value)
    if isinstance(value, str):
        return "text"
    return "a list" if isinstance(value, list | tuple) else "keys and values" if isinstance(value, dict) else "a date"


def _plain(value: Any) -> str:
    return f"{value:.12g}" if isinstance(value, float) else str(value)
