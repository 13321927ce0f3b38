"""What the report's pictures share: sizes, words."""

from __future__ import annotations

# Inches of a picture whose letters can still be read on a phone.
NARROW = 5.4


def words(name: str) -> str:
    """A name as people write it."""
    return plain(name.replace("_", " "))


def plain(text: str) -> str:
    """Text of the data or the config as it stands: between two dollar signs matplotlib would read mathematics."""
    return text.replace("$", r"\$")
