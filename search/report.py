"""Report: one self-contained HTML page, made of sections of words, tables and plots.

Nothing is loaded from elsewhere: styles and SVG plots are inside the page.
"""

from __future__ import annotations

import html
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from search.errors import StoreError

_STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; color: #222; margin: 2rem auto; max-width: 62rem;
  padding: 0 1rem; }
h1 { line-height: 1.2; } h2 { margin-top: 2.5rem; border-top: 1px solid #ddd; padding-top: 1rem; }
figure { margin: 1rem 0; } figcaption { color: #555; font-size: .9em; }
p { max-width: 46rem; } svg { max-width: 100%; height: auto; }
table { border-collapse: collapse; margin: 1rem 0; font-variant-numeric: tabular-nums; }
th, td { padding: .25rem .9rem .25rem 0; text-align: right; border-bottom: 1px solid #eee; }
th:first-child, td:first-child { text-align: left; }
th { font-weight: 600; vertical-align: bottom; } code { font-size: .85em; overflow-wrap: anywhere; }
td { vertical-align: top; } td.words { text-align: left; }
dl { display: flex; flex-wrap: wrap; gap: .75rem; margin: 1.5rem 0; }
dl div { border: 1px solid #ddd; border-radius: .4rem; padding: .5rem .9rem; min-width: 7rem; }
dt { color: #555; font-size: .8em; } dd { margin: 0; font-size: 1.35em; font-weight: 600; }
dd small { display: block; color: #555; font-size: .6em; font-weight: 400; }
.notice { border-left: .3rem solid #D55E00; background: #fdf3ec; padding: .5rem 1rem; }
"""


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of text under a header; the first column is aligned left, the others right.

    Without a header the rows are pairs of a name and words, all aligned left.
    """

    header: Sequence[str]
    rows: Sequence[Sequence[str]]


@dataclass(frozen=True, slots=True)
class Facts:
    """The few numbers that matter, large: what it is, the number, and a remark or nothing."""

    facts: Sequence[tuple[str, str, str]]


@dataclass(frozen=True, slots=True)
class Notice:
    """Words that must not be missed."""

    text: str


@dataclass(frozen=True, slots=True)
class Plot:
    """A plot as SVG text, and one sentence that says what to see in it."""

    svg: str
    caption: str


@dataclass(frozen=True, slots=True)
class Code:
    """A text to be copied, such as a block string."""

    text: str


Part = str | Table | Plot | Code | Facts | Notice


@dataclass(frozen=True, slots=True)
class Section:
    """A heading and what stands under it, in order; strings are paragraphs."""

    title: str
    parts: Sequence[Part]


def format_report(title: str, lead: str, sections: Sequence[Section]) -> str:
    """Return the page as text."""
    body = [f"<h1>{html.escape(title)}</h1>", f"<p>{html.escape(lead)}</p>"]
    for section in sections:
        body.append(f"<h2>{html.escape(section.title)}</h2>")
        body += map(_part, section.parts)
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f"<title>{html.escape(title)}</title><style>{_STYLE}</style></head>\n<body>\n"
        + "\n".join(body)
        + "\n</body></html>\n"
    )


def write_report(path: Path, text: str) -> None:
    """Write the page whole or not at all.

    Raises:
        StoreError: the folder is missing or not writable, or the disk is full.
    """
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        try:
            draft.write_text(text, encoding="utf-8")
            draft.replace(path)
        finally:
            draft.unlink(missing_ok=True)
    except OSError as error:
        raise StoreError(f"cannot write {path}: {error.strerror}") from error


def _part(part: Part) -> str:
    if isinstance(part, Plot):
        return f"<figure>{part.svg}<figcaption>{html.escape(part.caption)}</figcaption></figure>"
    if isinstance(part, Code):
        return f"<p><code>{html.escape(part.text)}</code></p>"
    if isinstance(part, Table):
        return _table(part)
    if isinstance(part, Facts):
        facts = "".join(
            f"<div><dt>{html.escape(name)}</dt><dd>{html.escape(value)}"
            f"<small>{html.escape(remark)}</small></dd></div>"
            for name, value, remark in part.facts
        )
        return f"<dl>{facts}</dl>"
    if isinstance(part, Notice):
        return f'<p class="notice">{html.escape(part.text)}</p>'
    return f"<p>{html.escape(part)}</p>"


def _table(table: Table) -> str:
    head = "".join(f"<th>{html.escape(cell)}</th>" for cell in table.header)
    opened = "<td>" if table.header else '<td class="words">'
    rows = "".join(
        "<tr>" + "".join(f"{opened}{html.escape(cell)}</td>" for cell in row) + "</tr>"
        for row in table.rows
    )
    header = f"<thead><tr>{head}</tr></thead>" if table.header else ""
    return f"<table>{header}<tbody>{rows}</tbody></table>"
