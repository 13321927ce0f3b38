"""A card's sections as Markdown and as HTML."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape

from churn_clv.report.html import page, paragraph, picture, section, table


@dataclass(frozen=True)
class Table:
    """Texts in columns: ``text`` are left-aligned, ``wrapped`` hold sentences; the row ``own`` stands out."""

    heads: Sequence[str]
    rows: Sequence[Sequence[str]]
    text: Sequence[int] = (0,)
    own: int | None = None
    wrapped: Sequence[int] = ()


@dataclass(frozen=True)
class Points:
    """A list of sentences."""

    lines: Sequence[str]


Block = str | Table | Points


@dataclass(frozen=True)
class Section:
    """A heading ("" for none) and what stands under it; ``pictures``: names of those that belong there."""

    title: str
    blocks: Sequence[Block]
    pictures: Sequence[str] = ()


def as_markdown(title: str | None, sections: Iterable[Section]) -> str:
    """GitHub's Markdown, which MLflow's page shows too."""
    parts = [f"# {_plain(title)}"] if title else []
    for one in sections:
        parts += [f"## {_plain(one.title)}"] if one.title else []
        parts += [_block(block) for block in one.blocks]
    return "\n\n".join(part for part in parts if part) + "\n"


def as_html(title: str, sections: Iterable[Section], alts: Mapping[str, str], pictures: Mapping[str, bytes]) -> str:
    """One page with its pictures inside."""
    parts = [f"<h1>{escape(title)}</h1>"]
    for one in sections:
        body = "".join(_html(block) for block in one.blocks)
        body += "".join(picture(alts[n], pictures[n], False) for n in one.pictures if n in pictures)
        parts.append(section(one.title, body) if one.title else body)
    return page(title, parts)


def _block(block: Block) -> str:
    if isinstance(block, Points):
        return "\n".join(f"- {_plain(line)}" for line in block.lines)
    if isinstance(block, Table):
        rule = ["---" if i in (*block.text, *block.wrapped) else "---:" for i in range(len(block.heads))]
        lines = [block.heads, rule, *block.rows]
        return "\n".join("| " + " | ".join(_plain(cell) for cell in line) + " |" for line in lines)
    return _plain(block)


def _html(block: Block) -> str:
    if isinstance(block, Points):
        return f"<ul>{''.join(f'<li>{escape(line)}</li>' for line in block.lines)}</ul>"
    if isinstance(block, Table):
        return table(block.heads, block.rows, own=block.own, text=block.text, wrapped=block.wrapped)
    return paragraph(block)


def _plain(text: str) -> str:
    """Text that means itself in Markdown: names come from users' files."""
    for mark in ("\\", "|", "<", "`", "*", "["):
        text = text.replace(mark, f"\\{mark}")
    return text.replace("\n", " ")
