"""The one error type for mistakes a user can mend; doors print it without a traceback."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class UserError(Exception):
    """What is wrong, how many and where, and what to do. Printed as is; exit code 2."""


def nearest(word: str, options: Iterable[str]) -> str:
    """A hint naming the closest option, or the options when nothing is close.

    Returns a sentence that starts with a space, so that it can be appended to a message.
    """
    known = sorted(set(options))
    close = difflib.get_close_matches(word, known, n=1, cutoff=0.6)
    if close:
        return f" Did you mean '{close[0]}'?"
    if not known:
        return ""
    shown = ", ".join(known[:20]) + (", ..." if len(known) > 20 else "")
    return f" Known: {shown}."
