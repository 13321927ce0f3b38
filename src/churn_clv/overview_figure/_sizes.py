"""What the report's pictures share: sizes, words."""

from __future__ import annotations

# Inches of a picture whose letters can still be read on a phone.
NARROW = 5.4


def words(name: str) -> str:
    """A name as people write it."""
    return name.replace("_", " ")
