"""The pieces of a report's page: HTML with its pictures inside, no scripts and no outside addresses."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping, Sequence
from html import escape

POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
STYLE = """
:root { color-scheme: light; }
body { font: 16px/1.5 system-ui, "Segoe UI", Roboto, "DejaVu Sans", sans-serif; color: #222; background: #fff;
  max-width: 60rem; margin: 0 auto; padding: 1rem; overflow-wrap: break-word; }
h1 { font-size: 1.7rem; line-height: 1.2; margin: .5rem 0; } h2 { font-size: 1.25rem; margin: 2.2rem 0 .6rem; }
.wide { overflow-x: auto; } table { border-collapse: collapse; font-size: .9rem; margin: .5rem 0; }
th, td { padding: .3rem .6rem; text-align: right; border-bottom: 1px solid #ddd; font-variant-numeric: tabular-nums;
  white-space: nowrap; }
th { border-bottom: 2px solid #888; vertical-align: bottom; } td.t, th.t { text-align: left; }
td.s { white-space: normal; min-width: 14rem; } tr.own { background: #eaf3fa; font-weight: 600; }
figure { margin: 1rem 0; overflow-x: auto; } img { max-width: 100%; height: auto; display: block; }
figure.broad img { min-width: 36rem; } figure.full img { min-width: 58rem; }
.small { font-size: .85rem; color: #555; }
.facts { display: flex; flex-wrap: wrap; gap: .75rem; padding: 0; margin: 1rem 0; }
.facts div { flex: 1 1 9rem; border: 1px solid #ccc; border-radius: .4rem; padding: .5rem .8rem; }
.facts b { display: block; font-size: 1.4rem; } dt { font-weight: 600; } dd { margin: 0 0 .4rem 1rem; }
.ahead::before { content: "\\25B2  "; color: #0072B2; } .level::before { content: "=  "; color: #767676; }
.behind::before { content: "\\25BC  "; color: #D55E00; }
nav { display: flex; flex-wrap: wrap; gap: .3rem 1rem; margin: 1rem 0; } a { color: #0072B2; }
p.missing { border-left: .3rem solid #767676; padding-left: .7rem; color: #444; }
p.says { margin: -.4rem 0 1rem; font-style: italic; }
h3 { font-size: 1.05rem; margin: 1.4rem 0 .4rem; }
li { margin: .2rem 0; } ul.plain { list-style: none; padding: 0; }
@media print { nav { display: none; }
  body { font-size: 10.5pt; max-width: none; padding: 0; } .wide { overflow: visible; }
  table { font-size: 7.5pt; } th, td { padding: 2pt 4pt; } figure, tr, .facts { break-inside: avoid; }
  h2, h3, figure { break-after: avoid; } p.says { break-inside: avoid; }
  img, figure.broad img, figure.full img { min-width: 0; max-height: 12cm; } }
"""


def page(title: str, parts: Iterable[str]) -> str:
    """The whole page of its sections, empty ones left out."""
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">\n<title>{escape(title)}</title>\n'
        f"<style>{STYLE}</style>\n</head>\n<body>\n" + "\n".join(p for p in parts if p) + "\n</body>\n</html>\n"
    )


def table(
    heads: Sequence[str], rows: Iterable[Sequence[str]], own: int | None = None, text: Sequence[int] = (0,),
    wrapped: Sequence[int] = (),
) -> str:  # fmt: skip
    """A table of texts, escaped here; columns in ``text`` are left-aligned, those in ``wrapped`` hold sentences.

    The row ``own`` stands out.
    """
    kinds = [' class="t s"' if i in wrapped else ' class="t"' if i in text else "" for i in range(len(heads))]
    top = "".join(f"<th{kind}>{escape(head)}</th>" for kind, head in zip(kinds, heads, strict=True))
    lines = [
        ('<tr class="own">' if i == own else "<tr>")
        + "".join(f"<td{kind}>{escape(cell)}</td>" for kind, cell in zip(kinds, row, strict=True))
        + "</tr>"
        for i, row in enumerate(rows)
    ]
    return f'<div class="wide"><table><thead><tr>{top}</tr></thead><tbody>{"".join(lines)}</tbody></table></div>'


def section(title: str, body: str, name: str | None = None) -> str:
    """``name`` is what a link within the page goes to."""
    start = f'<section id="{escape(name)}">' if name else "<section>"
    return f"{start}<h2>{escape(title)}</h2>{body}</section>"


def links(names: Mapping[str, str]) -> str:
    """Links to sections of the page, by name."""
    each = "".join(f'<a href="#{escape(name)}">{escape(title)}</a>' for name, title in names.items())
    return f"<nav>{each}</nav>"


def facts(cells: Mapping[str, str]) -> str:
    """Numbers in boxes, by what they are."""
    boxes = "".join(f"<div><b>{escape(value)}</b>{escape(name)}</div>" for name, value in cells.items())
    return f'<div class="facts">{boxes}</div>' if cells else ""


def paragraph(text: str, kind: str | None = None) -> str:
    start = f'<p class="{kind}">' if kind else "<p>"
    return f"{start}{escape(text)}</p>"


def picture(alt: str, png: bytes, broad: bool, full: bool = False) -> str:
    """A PNG inside the page; a ``broad`` one keeps its width and scrolls, a ``full`` one a width for many panes."""
    data = base64.b64encode(png).decode()
    kind = ' class="broad full"' if full else ' class="broad"' if broad else ""
    return f'<figure{kind}><img alt="{escape(alt)}" src="data:image/png;base64,{data}"></figure>'
