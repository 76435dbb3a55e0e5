"""A report's content once, as sections of blocks, and two ways to write it: Markdown and one HTML page."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

from sparsegen.formats.files import write_bytes
from sparsegen.tables import markdown_table


@dataclass(frozen=True)
class Text:
    """A paragraph."""

    text: str


@dataclass(frozen=True)
class Bullets:
    items: Sequence[str]


@dataclass(frozen=True)
class Table:
    """`left` columns of words, then columns of numbers. `bold` are rows to stand out."""

    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    left: int = 1
    bold: Sequence[int] = ()


@dataclass(frozen=True)
class Plot:
    """An SVG drawing."""

    svg: str
    caption: str


@dataclass(frozen=True)
class Picture:
    """A PNG file's bytes."""

    png: bytes
    caption: str


Block = Text | Bullets | Table | Plot | Picture


@dataclass(frozen=True)
class Section:
    title: str
    blocks: Sequence[Block]


@dataclass(frozen=True)
class Document:
    title: str
    sections: Sequence[Section]


def write(document: Document, folder: Path, name: str) -> None:
    """Write `name`.html, `name`.md and the figures that the latter shows, each file whole or not at all."""
    figures = _figure_names(document, f"{name}_figures/")
    for block, file in figures.items():
        write_bytes(folder / file, block.svg.encode() if isinstance(block, Plot) else block.png)
    write_bytes(folder / f"{name}.md", to_markdown(document, figures).encode())
    write_bytes(folder / f"{name}.html", to_html(document).encode())
    for path in (folder / f"{name}_figures").glob("[0-9]*"):
        if f"{name}_figures/{path.name}" not in figures.values():
            path.unlink()  # an earlier report had more


def to_markdown(document: Document, figures: Mapping[Plot | Picture, str] | None = None) -> str:
    """The words and tables, and links to the files of `figures`."""
    parts = [f"# {document.title}"]
    for section in document.sections:
        texts = [text for block in section.blocks if (text := _block_markdown(block, figures or {}))]
        if texts:
            parts += [f"## {section.title}"] * bool(section.title) + texts
    return "\n\n".join(parts) + "\n"


def to_html(document: Document) -> str:
    """One page that needs no other file and no network."""
    title = escape(document.title)
    sections = "\n".join(_section_html(section) for section in document.sections)
    return (
        f'<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n<title>{title}</title>\n'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">\n<style>{_STYLE}</style>\n'
        f"</head>\n<body>\n<main>\n<h1>{title}</h1>\n{sections}\n</main>\n</body>\n</html>\n"
    )


def _figure_names(document: Document, prefix: str) -> dict[Plot | Picture, str]:
    every = [b for section in document.sections for b in section.blocks if isinstance(b, Plot | Picture)]
    return {b: f"{prefix}{n:02}.{'svg' if isinstance(b, Plot) else 'png'}" for n, b in enumerate(every)}


def _block_markdown(block: Block, figures: Mapping[Plot | Picture, str]) -> str:
    if isinstance(block, Text):
        return block.text
    if isinstance(block, Bullets):
        return "\n".join(f"- {item}" for item in block.items)
    if isinstance(block, Table):
        return markdown_table(block.header, block.rows, block.left)
    return f"![{block.caption}]({figures[block]})" if block in figures else ""


def _section_html(section: Section) -> str:
    title = f"<h2>{escape(section.title)}</h2>\n" if section.title else ""
    return f"<section>\n{title}" + "\n".join(map(_block_html, section.blocks)) + "\n</section>"


def _block_html(block: Block) -> str:
    if isinstance(block, Text):
        return f"<p>{escape(block.text)}</p>"
    if isinstance(block, Bullets):
        return "<ul>" + "".join(f"<li>{escape(item)}</li>" for item in block.items) + "</ul>"
    if isinstance(block, Table):
        return _table_html(block)
    caption = escape(block.caption)
    if isinstance(block, Plot):
        return f"<figure>{block.svg}<figcaption>{caption}</figcaption></figure>"
    source = base64.b64encode(block.png).decode()
    picture = f'<img src="data:image/png;base64,{source}" alt="{caption}">'
    return f'<figure class="picture">{picture}<figcaption>{caption}</figcaption></figure>'


def _table_html(table: Table) -> str:
    def row(cells: Sequence[str], tag: str, style: str = "") -> str:
        kinds = [' class="words"' if i < table.left else "" for i in range(len(cells))]
        inner = "".join(f"<{tag}{k}>{escape(c)}</{tag}>" for c, k in zip(cells, kinds, strict=True))
        return f"<tr{style}>{inner}</tr>"

    head = row(table.header, "th")
    body = "\n".join(
        row(cells, "td", ' class="bold"' if i in table.bold else "") for i, cells in enumerate(table.rows)
    )
    return f'<div class="table"><table>\n<thead>{head}</thead>\n<tbody>\n{body}\n</tbody></table></div>'


_STYLE = """
:root { color-scheme: light; --ink: #1d2330; --soft: #667085; --line: #e4e7ec; --tint: #f7f8fa; }
* { box-sizing: border-box; }
body { margin: 0; background: #fff; color: var(--ink); font: 15px/1.55 system-ui, sans-serif; }
main { max-width: 1240px; margin: 0 auto; padding: 40px 24px 80px; }
h1 { font-size: 26px; font-weight: 650; margin: 0 0 8px; letter-spacing: -0.01em; }
h2 { font-size: 18px; font-weight: 620; margin: 0 0 12px; }
section { margin-top: 32px; padding-top: 24px; border-top: 1px solid var(--line); }
section:first-of-type { border: 0; margin-top: 0; padding-top: 0; }
p { max-width: 76ch; margin: 0 0 12px; }
ul { padding-left: 18px; margin: 0 0 12px; color: var(--soft); max-width: 100ch; font-size: 14px; }
.table { overflow-x: auto; margin: 0 0 16px; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: 14px; }
th { text-align: right; font-weight: 600; color: var(--soft); border-bottom: 1px solid #98a2b3; }
td { text-align: right; border-bottom: 1px solid var(--line); }
th, td { padding: 6px 12px; white-space: nowrap; }
.words { text-align: left; padding-left: 0; }
tr.bold td { font-weight: 620; }
tbody tr:hover { background: var(--tint); }
figure { margin: 16px 0; }
figure svg { max-width: 100%; height: auto; display: block; }
figcaption { color: var(--soft); font-size: 13px; margin-top: 4px; max-width: 100ch; }
.picture img { display: block; max-width: 100%; height: auto; }
"""
